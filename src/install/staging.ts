import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder } from '../common/atomic-file.js';
import { readPlain } from '../common/bounded-read.js';
import { codeOfErrno, isLeftBehind, processIsAlive } from '../common/errno.js';
import { messageOf, SoundpostError } from '../common/errors.js';
import { forget } from './download.js';

/*
 * Folders with a dot in front, which the registry leaves alone, carry what is not a model yet or no longer:
 * `.installing-<id>-<pid>`, `.removing-<id>-<pid>`, and `.downloads`.
 */

const INSTALLING = '.installing-';
const REMOVING = '.removing-';
export const DOWNLOADS = '.downloads';

/** What has lain about for so long will not be gone on with. */
const FORGOTTEN_MS = 7 * 24 * 3600 * 1000;

/**
 * Fills a folder out of sight and then makes it the model `<root>/<id>` with one rename: there is never half a
 * model. What stands there already (a broken one: the caller has looked) is replaced. The folder that is filled
 * has the model's name too.
 * @throws what `fill` throws, or SoundpostError `data_dir` where nothing can be written.
 */
export async function installAtomically(
  root: string,
  id: string,
  fill: (folder: string) => Promise<void>,
): Promise<void> {
  const staging = join(root, `${INSTALLING}${id}-${process.pid}`);
  const folder = join(staging, id);
  try {
    await rm(staging, { recursive: true, force: true });
    await mkdir(folder, { recursive: true }).catch((error: unknown) => {
      throw new SoundpostError('data_dir', `Nothing can be written into ${root}: ${messageOf(error)}.`, {
        cause: error,
      });
    });
    await fill(folder);
    await syncFiles(folder);
    const target = join(root, id);
    await rename(target, join(staging, 'replaced')).catch(ignoreMissing);
    await rename(folder, target);
    await syncFolder(root);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

/** Removes a model: gone from sight with one rename, then from the disk. */
export async function removeAtomically(root: string, id: string): Promise<void> {
  const going = join(root, `${REMOVING}${id}-${process.pid}`);
  await rename(join(root, id), going);
  await rm(going, { recursive: true, force: true });
}

/** Removes what installations and removals that were cut short have left behind, and old downloads. */
export async function removeLeftovers(root: string, nowMs: number): Promise<string[]> {
  const removed: string[] = [];
  const drop = async (path: string) => {
    await rm(path, { recursive: true, force: true }).catch(() => undefined);
    removed.push(path);
  };
  for (const name of await namesIn(root)) {
    const pid = /^\.(?:installing|removing)-.+-(\d+)$/.exec(name)?.[1];
    // Another process may be at it right now.
    if (pid !== undefined && isLeftBehind(Number(pid))) await drop(join(root, name));
  }
  const downloads = join(root, DOWNLOADS);
  for (const name of await namesIn(downloads)) {
    const path = join(downloads, name);
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && nowMs - found.mtimeMs > FORGOTTEN_MS) await drop(path);
  }
  return removed;
}

/** Unfinished and kept downloads together may have so many bytes; and there may be so many of them. */
const MAX_KEPT_BYTES = 2 * 2 ** 30;
const MAX_KEPT_FILES = 4;

/**
 * Removes the oldest downloads that lie about until the rest is within bounds; `name` is the one that is about to be
 * gone on with. So whoever may send commands cannot fill the disk with beginnings.
 */
export async function boundDownloads(root: string, name: string): Promise<void> {
  const folder = join(root, DOWNLOADS);
  const files: { path: string; bytes: number; atMs: number }[] = [];
  for (const found of await namesIn(folder)) {
    if (found.startsWith(name) || found.endsWith('.lock') || found.endsWith('.json')) continue;
    // Another process is at it.
    const base = found.replace(/\.part$/, '');
    if (processIsAlive(await holderOf(join(folder, `${base}.lock`)))) continue;
    const path = join(folder, base);
    const stats = await stat(join(folder, found)).catch(() => undefined);
    if (stats !== undefined) files.push({ path, bytes: stats.size, atMs: stats.mtimeMs });
  }
  files.sort((a, b) => b.atMs - a.atMs);
  let bytes = 0;
  for (const [position, file] of files.entries()) {
    bytes += file.bytes;
    if (position < MAX_KEPT_FILES && bytes <= MAX_KEPT_BYTES) continue;
    await forgetDownload(file.path);
  }
}

/** Removes what has come of a download. */
export async function forgetDownload(path: string): Promise<void> {
  await rm(path, { force: true });
  await forget(path);
}

/** Runs `work` while no other process downloads the same file. */
export async function whileLocked<T>(path: string, what: string, work: () => Promise<T>): Promise<T> {
  const lock = `${path}.lock`;
  await takeLock(lock, what);
  try {
    return await work();
  } finally {
    await rm(lock, { force: true });
  }
}

async function takeLock(lock: string, what: string): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      const file = await open(lock, 'wx');
      await file.writeFile(String(process.pid));
      await file.close();
      return;
    } catch (error) {
      if (codeOfErrno(error) !== 'EEXIST') {
        throw new SoundpostError('data_dir', `${lock} cannot be written: ${messageOf(error)}.`, {
          cause: error,
        });
      }
    }
    const holder = await holderOf(lock);
    if (tries > 0 || (holder !== process.pid && processIsAlive(holder))) {
      throw new SoundpostError('busy', `${what} is being fetched by another process (${holder}) already.`);
    }
    await rm(lock, { force: true });
  }
}

async function holderOf(lock: string): Promise<number> {
  const read = await readPlain(lock, 64);
  return 'bytes' in read ? Number(read.bytes.toString('latin1')) : NaN;
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

async function syncFiles(folder: string): Promise<void> {
  for (const name of await namesIn(folder)) {
    const file = await open(join(folder, name), 'r');
    await file.sync().finally(() => file.close());
  }
  await syncFolder(folder);
}

function ignoreMissing(error: unknown): void {
  if (codeOfErrno(error) !== 'ENOENT') throw error;
}
