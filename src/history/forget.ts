import { join } from 'node:path';
import { syncFolder, writeFileAtomic } from '../common/atomic-file.js';
import { codeOfErrno } from '../common/errno.js';
import type { DayFiles } from './day-files.js';
import { readLines } from './read-lines.js';

/**
 * Takes from the files everything about times before `beforeMs` (ms since the epoch; Infinity for all), and what of
 * them is damaged, since nobody can tell what it is about. A file is written anew or removed. Resolves to the bytes
 * that are gone; rejects with what the disk says, and a part may be gone then.
 */
export async function forgetFiles(files: DayFiles, folder: string, beforeMs: number): Promise<number> {
  let gone = 0;
  for (const file of [...files.files]) {
    const before = file.bytes;
    const kept: Buffer[] =
      beforeMs === Infinity ? [] : await linesFrom(join(folder, file.name), file.bytes, beforeMs);
    const bytes = kept.reduce((sum, line) => sum + line.length + 1, 0);
    if (kept.length === 0) await files.remove(file);
    else if (bytes < before) {
      await writeFileAtomic(join(folder, file.name), kept.map((line) => `${line.toString()}\n`).join(''), {
        mode: 0o600,
      });
      file.bytes = bytes;
    }
    gone += before - (kept.length === 0 ? 0 : Math.min(bytes, before));
  }
  await syncFolder(folder);
  return gone;
}

async function linesFrom(path: string, bytes: number, fromMs: number): Promise<Buffer[]> {
  const kept: Buffer[] = [];
  try {
    await readLines(
      path,
      (head, line) => {
        if (head.atMs >= fromMs) kept.push(Buffer.from(line));
      },
      { bytes },
    );
  } catch (error) {
    if (codeOfErrno(error) !== 'ENOENT') throw error;
  }
  return kept;
}
