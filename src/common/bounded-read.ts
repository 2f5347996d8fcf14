import { closeSync, openSync, readSync } from 'node:fs';
import { codeOfErrno } from './errno.js';

/**
 * The bytes of a file, or why there are none in words that complete "the file …". Never reads more than one byte
 * past `maxBytes`, whatever the path leads to.
 */
export function readBounded(path: string, maxBytes: number): { bytes: Buffer } | { problem: string } {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, 'r');
    const buffer = Buffer.alloc(maxBytes + 1);
    let length = 0;
    while (length < buffer.length) {
      const count = readSync(descriptor, buffer, length, buffer.length - length, null);
      if (count === 0) break;
      length += count;
    }
    if (length > maxBytes) return { problem: `is larger than ${Math.round(maxBytes / 1024)} KiB` };
    return { bytes: buffer.subarray(0, length) };
  } catch (error) {
    return { problem: errnoSentence(codeOfErrno(error)) };
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function errnoSentence(code: string): string {
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'does not exist';
  if (code === 'EACCES' || code === 'EPERM') return 'may not be read by this user';
  if (code === 'EISDIR') return 'is a folder';
  return `cannot be read (${code})`;
}
