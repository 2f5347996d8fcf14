import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { codeOfErrno } from './errno.js';
import { megabytes } from './size-text.js';

/** The content of a file, or why there is none in words that complete "the file …". */
export type BoundedRead = { bytes: Buffer } | { problem: string; error: unknown };

/** Opening a pipe without this waits for somebody who writes into it. */
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/**
 * The bytes of a plain file. Never waits, and never reads more than one byte past `maxBytes`, whatever the path leads
 * to: what is no plain file (a pipe, a device, a folder, a socket) is told by its kind.
 */
export function readBounded(path: string, maxBytes: number): BoundedRead {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, OPEN_FLAGS);
    const found = fstatSync(descriptor);
    if (!found.isFile()) return isNoFile(kindOf(found));
    if (found.size > maxBytes) return isTooLarge(maxBytes);
    // Files of the kernel say 0 and have something in them.
    const buffer = Buffer.alloc(
      found.size === 0 ? Math.min(maxBytes, KERNEL_FILE_BYTES) + 1 : found.size + 1,
    );
    let length = 0;
    while (length < buffer.length) {
      const count = readSync(descriptor, buffer, length, buffer.length - length, null);
      if (count === 0) break;
      length += count;
    }
    return length > maxBytes ? isTooLarge(maxBytes) : { bytes: buffer.subarray(0, length) };
  } catch (error) {
    return { problem: sentenceOf(error), error };
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/** The same without holding up the process while the disk is slow. */
export async function readPlain(path: string, maxBytes: number): Promise<BoundedRead> {
  try {
    const file = await open(path, OPEN_FLAGS);
    try {
      const found = await file.stat();
      if (!found.isFile()) return isNoFile(kindOf(found));
      if (found.size > maxBytes) return isTooLarge(maxBytes);
      const buffer = Buffer.alloc(found.size + 1);
      let length = 0;
      while (length < buffer.length) {
        const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
        if (bytesRead === 0) break;
        length += bytesRead;
      }
      return length > maxBytes ? isTooLarge(maxBytes) : { bytes: buffer.subarray(0, length) };
    } finally {
      await file.close();
    }
  } catch (error) {
    return { problem: sentenceOf(error), error };
  }
}

/** Whether the same file may be readable later, for nothing is wrong with the file itself. */
export function isPassing(error: unknown): boolean {
  return ['EACCES', 'EPERM', 'EMFILE', 'ENFILE', 'ENOMEM', 'ESTALE', 'EBUSY'].includes(codeOfErrno(error));
}

const KERNEL_FILE_BYTES = 64 * 1024;

type Kind = Pick<ReturnType<typeof fstatSync>, 'isDirectory' | 'isFIFO' | 'isSocket'>;

function kindOf(found: Kind): string {
  if (found.isDirectory()) return 'a folder';
  if (found.isFIFO()) return 'a pipe';
  return found.isSocket() ? 'a socket' : 'a device';
}

function isNoFile(kind: string): BoundedRead {
  return { problem: `is ${kind}, not a plain file`, error: new Error(`it is ${kind}`) };
}

function isTooLarge(maxBytes: number): BoundedRead {
  const limit = maxBytes < 10 * 1024 * 1024 ? `${Math.round(maxBytes / 1024)} KiB` : megabytes(maxBytes);
  return { problem: `is larger than ${limit}`, error: new Error('it is too large') };
}

function sentenceOf(error: unknown): string {
  const code = codeOfErrno(error);
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'does not exist';
  if (code === 'EACCES' || code === 'EPERM') return 'may not be read by this user';
  if (code === 'EISDIR') return 'is a folder, not a plain file';
  if (code === 'ENXIO') return 'is a socket, not a plain file';
  if (code === 'ELOOP') return 'is a link that leads to itself';
  return `cannot be read (${code})`;
}
