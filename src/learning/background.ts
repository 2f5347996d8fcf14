import { join } from 'node:path';
import { createDiskRetry } from '../common/disk-retry.js';
import { createGroupWriter } from '../common/group-writer.js';
import type { Logger } from '../common/log.js';
import { within } from '../common/within.js';
import { createBackgroundFiles } from './background-files.js';
import type { Moment } from './background-record.js';
import { createDraw } from './draw.js';
import { quantise, type QuantisedRows } from './quantised.js';
import type { Rows } from './rows.js';

export type { Moment } from './background-record.js';

/** A stretch of time, ms since the epoch. */
export interface TimeSpan {
  readonly fromMs: number;
  readonly toMs: number;
}

/** What the device has heard, as embeddings. */
export interface HeardBackground {
  /** Of all moments, in their order. */
  readonly rows: QuantisedRows;
  readonly moments: readonly {
    readonly atMs: number;
    readonly seconds: number;
    readonly source: string;
    /** Its rows: from `first` on, so many. */
    readonly first: number;
    readonly count: number;
  }[];
  /** The sum of the moments' lengths. */
  readonly heardSeconds: number;
}

/**
 * What the device hears day in, day out: embeddings, and no sound. It is what a taught label is told apart from, and
 * what its threshold is set by. Bounded, with every day represented alike.
 */
export interface BackgroundStore {
  /** Takes a copy. Never waits and never fails: what the disk does not take in time is left out. */
  add(modelSha256: string, moment: { atMs: number; seconds: number; source: string; embeddings: Rows }): void;
  /**
   * All of a model's moments but those that touch `without`: the moments of the examples themselves. Rejects with what
   * the disk says.
   */
  read(
    modelSha256: string,
    options?: { without?: readonly TimeSpan[]; signal?: AbortSignal },
  ): Promise<HeardBackground>;
  /** What it takes on the disk. */
  bytes(): Promise<number>;
  /** Forgets everything. */
  clear(): Promise<void>;
  /** Resolves when what was added is on the disk, or cannot be written now. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

/** Waits and bounds; tests have smaller ones. */
export interface BackgroundTuning {
  /** So many moments are written together. */
  together: number;
  /** So many wait in memory where the disk does not take them; the oldest go. */
  mostWaiting: number;
  patienceMs: number;
  firstRetryMs: number;
  maxRetryMs: number;
  closeMs: number;
}

const defaultTuning: BackgroundTuning = {
  together: 16,
  mostWaiting: 128,
  patienceMs: 5000,
  firstRetryMs: 5000,
  maxRetryMs: 600_000,
  closeMs: 3000,
};

const MEGABYTE = 1024 * 1024;
/** A sound has no sharp edges: what is so near to an example may be it. */
const MARGIN_MS = 1000;

/** Opens `<data_dir>/background`; nothing is read or written before it is needed. */
export function openBackground(options: {
  dataDir: string;
  maxMb: number;
  log: Logger;
  tuning?: Partial<BackgroundTuning>;
}): BackgroundStore {
  const { log } = options;
  const tuning = { ...defaultTuning, ...options.tuning };
  const folder = join(options.dataDir, 'background');
  const seed = Date.now() >>> 0;
  const files = createBackgroundFiles({
    folder,
    maxBytes: options.maxMb * MEGABYTE,
    draw: createDraw(seed),
  });
  const disk = createDiskRetry({
    what: `The background in ${folder}`,
    code: 'background_not_written',
    meanwhile: 'what is heard meanwhile is not in it',
    firstRetryMs: tuning.firstRetryMs,
    maxRetryMs: tuning.maxRetryMs,
    log,
    again: () => void writer.write(),
  });
  let waiting: { model: string; moment: Moment }[] = [];
  let closed = false;
  let isAsked = false;
  let turn: Promise<unknown> = Promise.resolve();

  /** One thing at a time is done to the files. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = turn.then(work);
    turn = done.catch(() => undefined);
    return done;
  }

  async function writeSome(): Promise<void> {
    // Moments of one model lie together in a file; after a change of models the others have their turn.
    const { model } = waiting[0]!;
    const other = waiting.findIndex((one) => one.model !== model);
    const batch = other < 0 ? waiting : waiting.slice(0, other);
    await files.append(
      model,
      batch.map(({ moment }) => moment),
    );
    const written = new Set(batch);
    waiting = waiting.filter((one) => !written.has(one));
    disk.worked();
  }

  const isDue = (): boolean => waiting.length > 0 && (isAsked || closed || waiting.length >= tuning.together);
  const writer = createGroupWriter({
    next: () => (isDue() && !disk.isWaiting && !(closed && disk.failing) ? () => inTurn(writeSome) : null),
    patienceMs: tuning.patienceMs,
    fail: (error) => disk.failed(error),
  });

  async function settled(): Promise<void> {
    isAsked = true;
    await writer.write();
    isAsked = false;
  }

  return {
    add(model, { embeddings, ...moment }) {
      if (closed || embeddings.count === 0) return;
      waiting.push({ model, moment: { ...moment, rows: quantise(embeddings) } });
      if (waiting.length > tuning.mostWaiting) waiting.shift();
      if (isDue()) void writer.write();
    },
    async read(model, { without = [], signal } = {}) {
      await settled();
      const found: Moment[] = [];
      const { damaged } = await inTurn(() => files.read(model, (moment) => found.push(moment), signal));
      if (damaged > 0)
        log.warn(
          { code: 'background_damaged' },
          `The background in ${folder} is damaged in ${damaged} places; what can be read is used.`,
        );
      // What the disk has not taken was heard all the same.
      for (const one of waiting) if (one.model === model) found.push(one.moment);
      // A write that failed half-way is made again, and what it had written already stands there twice.
      const once = new Map(found.map((moment) => [`${moment.source} ${moment.atMs}`, moment]));
      return heardOf([...once.values()].filter((moment) => !touches(moment, without)));
    },
    bytes: () => inTurn(() => files.bytes()),
    async clear() {
      waiting = [];
      await inTurn(() => files.clear());
    },
    settled,
    async close() {
      if (closed) return;
      closed = true;
      disk.close();
      await within(writer.write(), tuning.closeMs);
    },
  };
}

function touches({ atMs, seconds }: Moment, spans: readonly TimeSpan[]): boolean {
  const endMs = atMs + seconds * 1000;
  return spans.some(({ fromMs, toMs }) => atMs < toMs + MARGIN_MS && endMs > fromMs - MARGIN_MS);
}

/** Moments in the order of their times, with all rows in one piece; those of another width are left out. */
export function heardOf(moments: readonly Moment[]): HeardBackground {
  const dim = moments[0]?.rows.dim ?? 0;
  const sorted = moments.filter(({ rows }) => rows.dim === dim).sort((one, other) => one.atMs - other.atMs);
  const count = sorted.reduce((sum, { rows }) => sum + rows.count, 0);
  const codes = new Int8Array(count * dim);
  const scales = new Float32Array(count);
  let first = 0;
  let heardSeconds = 0;
  const places = sorted.map(({ atMs, seconds, source, rows }) => {
    codes.set(rows.codes, first * dim);
    scales.set(rows.scales, first);
    const place = { atMs, seconds, source, first, count: rows.count };
    first += rows.count;
    heardSeconds += seconds;
    return place;
  });
  return { rows: { codes, scales, count, dim }, moments: places, heardSeconds };
}
