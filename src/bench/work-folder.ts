import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The kernel's number for a file system in memory (linux/magic.h). */
const TMPFS = 0x01021994;

/** A process that was just killed may still be at work in the folder for a moment. */
const REMOVAL = { recursive: true, force: true, maxRetries: 5, retryDelay: 50 } as const;

export interface WorkFolder {
  folder: string;
  remove(): Promise<void>;
}

/**
 * A new folder for large files: in the system's place for temporary files, or, where that is in memory (containers,
 * recent Debian), in the data folder. It is also removed when this process exits before `remove` is called.
 * @param purpose a part of its name
 */
export async function createWorkFolder(dataDir: string, purpose: string): Promise<WorkFolder> {
  const inMemory = (await statfs(tmpdir())).type === TMPFS;
  const parent = inMemory ? dataDir : tmpdir();
  await mkdir(parent, { recursive: true });
  const folder = await mkdtemp(join(parent, `soundpost-${purpose}-`));
  const removeNow = () => {
    try {
      rmSync(folder, REMOVAL);
    } catch {
      // The process is ending: there is nobody left to tell.
    }
  };
  process.once('exit', removeNow);
  return {
    folder,
    async remove() {
      await rm(folder, REMOVAL);
      process.removeListener('exit', removeNow);
    },
  };
}
