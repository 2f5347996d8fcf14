import { mkdir, mkdtemp, rmdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { writeFileAtomic } from '../common/atomic-file.js';
import { messageOf, SoundpostError } from '../common/errors.js';

/** A report to be written: the flag that asked for it, where to, and what. */
export interface ReportFile {
  flag: string;
  path: string;
  text: string;
}

/**
 * Makes sure before long work that its reports can be written after it: creates the folders, and tries whether they
 * can be written into.
 * @throws SoundpostError `usage` naming the flag.
 */
export async function checkReportFiles(files: readonly Pick<ReportFile, 'flag' | 'path'>[]): Promise<void> {
  for (const { flag, path } of files) {
    try {
      const kind = await kindOf(path);
      if (kind === 'folder') throw new Error('it is a folder; name a file');
      if (kind === 'other') continue;
      const folder = dirname(resolve(path));
      await mkdir(folder, { recursive: true });
      // Asking for the right to write says nothing to root, nor of a file system that is read-only.
      await rmdir(await mkdtemp(join(folder, '.soundpost-')));
    } catch (error) {
      throw new SoundpostError('usage', `${flag} ${path}: cannot be written: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
}

/** Writes every report that can be written. Returns what went wrong with the others, for people. */
export async function writeReportFiles(files: readonly ReportFile[]): Promise<string[]> {
  const problems: string[] = [];
  for (const { flag, path, text } of files) {
    // One that cannot be written must not cost the others: a run may have taken hours.
    await writeReport(path, text).catch((error: unknown) =>
      problems.push(`${flag} ${path}: cannot be written: ${messageOf(error)}`),
    );
  }
  return problems;
}

/** A file appears whole or not at all; a device or a pipe (/dev/stdout) must not be replaced by a file. */
async function writeReport(path: string, text: string): Promise<void> {
  if ((await kindOf(path)) === 'other') await writeFile(path, text);
  else await writeFileAtomic(resolve(path), text);
}

async function kindOf(path: string): Promise<'none' | 'file' | 'folder' | 'other'> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return 'none';
  return found.isFile() ? 'file' : found.isDirectory() ? 'folder' : 'other';
}
