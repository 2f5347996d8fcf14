import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { bodyOf } from '../common/checked-line.js';

/** A pipe in the place of a file must not hold up anybody. */
const OPEN_FLAGS =
  constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NONBLOCK | constants.O_NOCTTY;
/** What is heard in a home is nobody else's business. */
const MODE = 0o600;
const NEWLINE = 0x0a;
/** More than any line has. */
const TAIL_BYTES = 128 * 1024;

/**
 * Appends whole lines to the file at `path`, which is made where there is none. Resolves to the size of the file then,
 * in bytes; rejects with what the disk says, and half a line may then be at its end.
 * @param options.mend the end is looked at first: half a line, which a kill or a full disk has left, is taken off
 * @param options.sync the lines are safe from a loss of power when it resolves
 */
export async function appendLines(
  path: string,
  lines: readonly Buffer[],
  options: { mend: boolean; sync: boolean },
): Promise<number> {
  const file = await open(path, OPEN_FLAGS, MODE);
  try {
    if (!(await file.stat()).isFile()) throw new Error('it is not a plain file');
    if (options.mend) await mendEnd(file);
    await file.appendFile(Buffer.concat(lines));
    if (options.sync) await file.datasync();
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}

async function mendEnd(file: FileHandle): Promise<void> {
  const { size } = await file.stat();
  if (size === 0) return;
  const from = Math.max(0, size - TAIL_BYTES);
  const tail = Buffer.alloc(size - from);
  const { bytesRead } = await file.read(tail, 0, tail.length, from);
  if (bytesRead < tail.length || tail.at(-1) === NEWLINE) return;
  const begin = tail.lastIndexOf(NEWLINE) + 1;
  // Only its newline is missing, or it is longer than a line can be and there is no telling where it begins.
  const isLine = bodyOf(tail.subarray(begin)) !== null || (begin === 0 && from > 0);
  if (isLine) await file.appendFile('\n');
  else await file.truncate(from + begin);
}
