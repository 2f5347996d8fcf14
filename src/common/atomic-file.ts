import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isLeftBehind } from './errno.js';

/**
 * Writes a file so that a reader, or the machine after a loss of power, finds the old content or the new one and
 * nothing between. Creates the folder. With `durable` false the content may be lost in a loss of power (but
 * is never torn by a crash of the program); that spares a memory card what is written every few seconds.
 *
 * Rejects with the error of the file system; the old file is then untouched.
 */
export async function writeFileAtomic(
  path: string,
  content: string | Uint8Array,
  options: { durable?: boolean; mode?: number } = {},
): Promise<void> {
  const durable = options.durable ?? true;
  const folder = dirname(path);
  await mkdir(folder, { recursive: true });
  const temporary = join(folder, `.${basename(path)}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`);
  try {
    const file = await open(temporary, 'wx', options.mode ?? 0o644);
    try {
      await file.writeFile(content);
      if (durable) await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
  if (durable) await syncFolder(folder);
}

/** Removes what writers that were killed have left in a folder. */
export async function removeTemporaries(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const pid = Number(/^\..+\.(\d+)\.[0-9a-f]{8}\.tmp$/.exec(name)?.[1]);
    if (pid > 0 && isLeftBehind(pid)) await rm(join(folder, name), { force: true }).catch(() => undefined);
  }
}

/** Makes the rename last; file systems that cannot sync a folder have no need to. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined);
  if (!handle) return;
  try {
    await handle.sync();
  } catch {
    // The content is complete either way.
  } finally {
    await handle.close();
  }
}
