import { mkdir, mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The kernel's number for a file system in memory (linux/magic.h). */
const TMPFS = 0x01021994;

/**
 * A new folder for large files: in the system's place for temporary files, or, where that is in memory (containers,
 * recent Debian), in the data folder.
 */
export async function createWorkFolder(
  dataDir: string,
): Promise<{ folder: string; remove(): Promise<void> }> {
  const inMemory = (await statfs(tmpdir())).type === TMPFS;
  const parent = inMemory ? dataDir : tmpdir();
  await mkdir(parent, { recursive: true });
  const folder = await mkdtemp(join(parent, 'soundpost-bench-'));
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}
