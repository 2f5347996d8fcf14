import { readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { z } from 'zod';
import { writeFileAtomic } from './atomic-file.js';
import { createBackoff } from './backoff.js';
import { isPassing, readBounded } from './bounded-read.js';
import { codeOfErrno } from './errno.js';
import { messageOf } from './errors.js';

/** Waits of the writer; tests have shorter ones. */
export interface JsonMemoryTuning {
  firstRetryMs: number;
  maxRetryMs: number;
  /** Nobody waits longer than this for a disk that does not answer. */
  patienceMs: number;
}

const defaultTuning: JsonMemoryTuning = { firstRetryMs: 1000, maxRetryMs: 60_000, patienceMs: 3000 };

/** A small file that is to say what the program knows, whatever the disk does meanwhile. */
export interface JsonMemory {
  /**
   * The content has changed. Resolves to whether it is on the disk, or is not now: then it is written again, with
   * growing delays, until it stands. Never rejects.
   */
  save(): Promise<boolean>;
  /** Resolves once no write is on its way any more. */
  settled(): Promise<void>;
  /** A last attempt for what is not on the disk yet. Nothing is tried again afterwards. */
  stop(): Promise<boolean>;
}

/**
 * Keeps `path` at what `content` gives: one write at a time, each whole or not at all, changes that come meanwhile
 * together with the next one.
 * @param options.failing called with the first of a row of failures
 * @param options.saved called with the success that ends the row
 */
export function createJsonMemory(options: {
  path: string;
  content: () => string;
  failing: (error: unknown) => void;
  saved?: () => void;
  /** Of a file that is made; what everybody may read by default. */
  mode?: number;
  tuning?: Partial<JsonMemoryTuning>;
}): JsonMemory {
  const { path, content, failing, saved, mode } = options;
  const { firstRetryMs, maxRetryMs, patienceMs } = { ...defaultTuning, ...options.tuning };
  const backoff = createBackoff({ firstMs: firstRetryMs, maxMs: maxRetryMs });
  let isFailing = false;
  let stopped = false;
  let queued: Promise<void> | null = null;
  let last = Promise.resolve();
  let timer: NodeJS.Timeout | null = null;

  async function write(): Promise<void> {
    queued = null;
    if (timer !== null) clearTimeout(timer);
    timer = null;
    try {
      await writeFileAtomic(path, content(), mode === undefined ? {} : { mode });
      backoff.reset();
      if (isFailing) saved?.();
      isFailing = false;
    } catch (error) {
      if (!isFailing) failing(error);
      isFailing = true;
      if (stopped) return;
      timer = setTimeout(() => void enqueue(), backoff.next());
      timer.unref();
    }
  }

  function enqueue(): Promise<void> {
    if (queued === null) {
      queued = last.then(write);
      last = queued;
    }
    return queued;
  }

  /** What `work` comes to, or false for a disk that does not answer. */
  async function inPatience(work: Promise<boolean>): Promise<boolean> {
    let patience: NodeJS.Timeout | undefined;
    const limit = new Promise<boolean>((resolve) => (patience = setTimeout(resolve, patienceMs, false)));
    return Promise.race([work, limit]).finally(() => clearTimeout(patience));
  }

  const save = () => inPatience(enqueue().then(() => !isFailing));

  return {
    save,
    settled: () => last,
    async stop() {
      // A write that is on its way may fail yet.
      await inPatience(last.then(() => true));
      stopped = true;
      if (timer !== null) clearTimeout(timer);
      timer = null;
      return isFailing ? save() : true;
    },
  };
}

/** Set aside for whoever wants to look at them; older ones go. */
const KEPT_ASIDE = 3;

/**
 * What a file of `createJsonMemory` says, or why not. `fate` is what became of a file that is none of ours (no JSON,
 * no plain file, too large): it is set aside, so that the next write has its place. Never waits, never throws.
 */
export type JsonRead =
  /** `text` is what the file says to the letter. */
  | { value: unknown; text: string }
  | { problem: 'none' }
  | { problem: 'unreadable' | 'broken'; reason: string; fate: string };

export function readJsonMemory(path: string, maxBytes: number, setsAside = true): JsonRead {
  const read = readBounded(path, maxBytes);
  if ('bytes' in read) {
    try {
      const text = new TextDecoder().decode(read.bytes);
      return { value: JSON.parse(text) as unknown, text };
    } catch {
      return { problem: 'broken', reason: 'is no JSON', fate: setsAside ? setAside(path) : '' };
    }
  }
  const { problem: reason, error } = read;
  if (['ENOENT', 'ENOTDIR'].includes(codeOfErrno(error))) return { problem: 'none' };
  if (isPassing(error) || !setsAside) return { problem: 'unreadable', reason, fate: '' };
  return { problem: 'unreadable', reason, fate: setAside(path) };
}

/** What a file of a known form says, or why not; see `JsonRead`. */
export type CheckedRead<T> = { value: T; text: string } | Exclude<JsonRead, { value: unknown }>;

/** The same of a file that has to be of this form: one of another form is none of ours either. */
export function readCheckedMemory<T>(path: string, maxBytes: number, schema: z.ZodType<T>): CheckedRead<T> {
  const read = readJsonMemory(path, maxBytes);
  if (!('value' in read)) return read;
  const parsed = schema.safeParse(read.value);
  if (parsed.success) return { value: parsed.data, text: read.text };
  return { problem: 'broken', reason: 'is not what this program writes', fate: setAside(path) };
}

/** Renames the file; returns what became of it, for people. */
export function setAside(path: string): string {
  const aside = `${path}.broken-${new Date().toISOString().replace(/[:.]/g, '-')}`;
  try {
    renameSync(path, aside);
    const others = readdirSync(dirname(path)).filter((name) => name.startsWith(`${basename(path)}.broken-`));
    for (const name of others.sort().reverse().slice(KEPT_ASIDE)) {
      rmSync(join(dirname(path), name), { recursive: true, force: true });
    }
    return `it was set aside as ${aside}`;
  } catch (error) {
    return `it could not be set aside (${messageOf(error)})`;
  }
}
