import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat, statfs, utimes } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { cpus, freemem } from 'node:os';
import { join } from 'node:path';
import { processIsAlive } from '../common/errno.js';
import { sha256OfFile } from '../models/files.js';
import { containerLimitBytes } from './network-memory.js';

/*
 * ONNX Runtime spends most of the time of a load on rewriting the graph for this processor, and can save what comes
 * of it. Such a copy is as large as the model and good for this kind of processor and this version only, so it is made
 * on the device, kept in the data folder, and never shipped.
 *
 * A copy is `<id>.<key>.<sha256 of the file>.onnx`: a change in whatever it was made from is another key, and bytes
 * that have changed are noticed. While it is being loaded it has another name, and gets its own back once the model
 * has proven itself: a copy that crashes its process is not tried twice.
 */

/** Where the copies are kept. */
export function optimizedFolderIn(dataDir: string): string {
  return join(dataDir, 'optimized');
}

/** How many copies are kept, of all models together. */
const MAX_COPIES = 6;
/** What a load that was cut short has left is removed after so long. */
const ABANDONED_MS = 10 * 60_000;
/** The disk is not filled up with copies: so much stays free, beside twice the model. */
const FREE_BYTES = 500e6;
/** Saving holds the network in memory several times. */
const MEMORY_OF_SAVING = 4;

const TRYING = '.trying-';
const DRAFT = '.draft-';

/** The optimised copy of one model on this machine. */
export interface OptimizedCopy {
  /** The path of a copy that is whole, now out of sight; null where there is none. */
  take(): Promise<string | null>;
  /**
   * A path for a new copy; null where there is no room for one.
   * @param savedBy who writes it: ONNX Runtime holds the network in memory several times meanwhile
   */
  draft(modelBytes: number, savedBy?: 'runtime' | 'us'): Promise<string | null>;
  /** The copy that was taken or drafted is good: it gets its name, and the oldest ones go. */
  keep(): Promise<void>;
  /** It is of no use. */
  discard(): Promise<void>;
  /** Whether there is one that nobody has taken. */
  exists(): Promise<boolean>;
}

/**
 * @param madeFrom whatever decides what the copy looks like: the digest of the model, versions, the processor
 */
export function optimizedCopy(folder: string, id: string, madeFrom: readonly string[]): OptimizedCopy {
  const key = copyKey(madeFrom);
  const prefix = `${id}.${key}.`;
  const copyName = new RegExp(`^${prefix.replaceAll('.', '\\.')}([0-9a-f]{64})\\.onnx$`);
  /** What is in work, and the digest where it is known. */
  let path: string | null = null;
  let digest: string | null = null;

  return {
    async take() {
      for (const name of await namesIn(folder)) {
        const [, wanted] = copyName.exec(name) ?? [];
        if (wanted === undefined) continue;
        path = join(folder, `${TRYING}${process.pid}-${randomUUID()}`);
        await rename(join(folder, name), path);
        // What is no plain file has none.
        digest = await sha256OfFile(path).catch(() => null);
        if (digest === wanted) return path;
        await this.discard();
      }
      return null;
    },
    async draft(modelBytes, savedBy = 'runtime') {
      if (savedBy === 'runtime' && freeMemoryBytes() < MEMORY_OF_SAVING * modelBytes) return null;
      await mkdir(folder, { recursive: true });
      await removeAbandonedCopies(folder);
      const { bavail, bsize } = await statfs(folder);
      if (bavail * bsize < 2 * modelBytes + FREE_BYTES) return null;
      digest = null;
      return (path = join(folder, `${DRAFT}${process.pid}-${randomUUID()}`));
    },
    async keep() {
      if (path === null) return;
      digest ??= await sha256OfFile(path);
      const target = join(folder, `${prefix}${digest}.onnx`);
      const now = new Date();
      await utimes(path, now, now);
      await rename(path, target);
      path = null;
      await removeOld(folder);
    },
    exists: async () => (await namesIn(folder)).some((name) => copyName.test(name)),
    async discard() {
      if (path !== null) await rm(path, { force: true });
      path = null;
    },
  };
}

/** What is made from other things has another key. */
export function copyKey(madeFrom: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(madeFrom)).digest('hex').slice(0, 16);
}

/** Removes the copies of a model that goes. */
export async function removeOptimizedCopies(folder: string, id: string): Promise<void> {
  for (const name of await namesIn(folder)) {
    if (name.startsWith(`${id}.`)) await rm(join(folder, name), { force: true });
  }
}

/**
 * Removes what loads that were cut short have left, which is as large as a model each: at the start, and before another
 * copy is made.
 */
export async function removeAbandonedCopies(folder: string): Promise<void> {
  for (const name of await namesIn(folder)) {
    const [, pid] = /^\.(?:trying|draft)-(?:(\d+)-)?[0-9a-f]{8}-/.exec(name) ?? [];
    if (!name.startsWith(TRYING) && !name.startsWith(DRAFT)) continue;
    const path = join(folder, name);
    const found = await stat(path).catch(() => null);
    // Names of version 0.1 do not say whose they are.
    const isAbandoned = pid !== undefined && !processIsAlive(Number(pid));
    const isOld = found !== null && Date.now() - found.ctimeMs > ABANDONED_MS;
    if (isAbandoned || isOld) await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** The processor, as far as ONNX Runtime chooses its kernels by it. */
export function processorOf(): string {
  const [cpu] = cpus();
  return [process.arch, cpu?.model ?? '', featuresOf()].join(' ');
}

/** The instruction sets of the first core: `flags` on x86, `Features` on Arm. */
function featuresOf(): string {
  try {
    return /^(?:flags|Features)\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'latin1'))?.[1] ?? '';
  } catch {
    return '';
  }
}

/** What this process may still take: of the machine, or of the container's limit. */
export function freeMemoryBytes(): number {
  return Math.min(freemem(), containerLimitBytes() - process.memoryUsage.rss());
}

async function removeOld(folder: string): Promise<void> {
  await removeAbandonedCopies(folder);
  const copies: { path: string; usedMs: number }[] = [];
  for (const name of await namesIn(folder)) {
    const path = join(folder, name);
    const found = await stat(path).catch(() => null);
    if (found === null) continue;
    const isUnfinished = name.startsWith(TRYING) || name.startsWith(DRAFT);
    if (!isUnfinished && name.endsWith('.onnx')) copies.push({ path, usedMs: found.mtimeMs });
  }
  copies.sort((one, other) => other.usedMs - one.usedMs);
  for (const { path } of copies.slice(MAX_COPIES)) await rm(path, { force: true });
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}
