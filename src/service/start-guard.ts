/*
 * Tells a service that comes up from one that a model or a setting ends again and again. Pure: the record goes in and
 * comes out, whoever calls keeps it on the disk (`start-record.ts`).
 *
 * Invariants:
 * - a start that was cut off (killed, or the memory was out) counts only where it had not come to work: what kills a
 *   service at work is outside of it, or was told to;
 * - a start that ends by a fault of the program counts until it has settled; a long life wipes what was before it;
 * - a start that was cut off together with the whole machine does not count: that was the mains, not a setting;
 * - only failures that follow each other within `CHAIN_MS` count together;
 * - safe mode begins at `FAILURES` of them and ends only by what a person does: another configuration, another
 *   version or build, or a model that was chosen over MQTT.
 */

/** A start that has lived so long has settled. */
export const SETTLED_AFTER_MS = 120_000;
/** So many failed starts in a row are a loop. */
export const FAILURES = 3;
/** A failure that comes later than this after the one before has nothing to do with it. */
const CHAIN_MS = 15 * 60_000;
/** More need not be known. */
const KEPT = 10;
const FIRST_DELAY_MS = 2_000;
const MAX_DELAY_MS = 5 * 60_000;
/** The wait where the count cannot be kept, so that it cannot grow from start to start. */
export const UNCOUNTED_DELAY_MS = 60_000;

export interface StartRecord {
  /** When starts failed, in ms since the epoch, oldest first. */
  readonly failures: readonly number[];
  /** When the start began that has neither settled nor ended; null: there is none. */
  readonly pending: number | null;
  /** Whether that one has come to work. */
  readonly atWork: boolean;
  /** The life of the machine in which the last start began, as its kernel names it; null: not known. */
  readonly boot: string | null;
  /** What was started: a digest of the version, the build and the configuration. */
  readonly setup: string;
  readonly safe: boolean;
}

/** What a start is told apart by. */
export type StartOf = Pick<StartRecord, 'setup' | 'boot'>;

export const noStarts: StartRecord = {
  failures: [],
  pending: null,
  atWork: false,
  boot: null,
  setup: '',
  safe: false,
};

function withFailure(record: StartRecord, at: number): StartRecord {
  const last = record.failures.at(-1);
  // A clock that was set in between, as on boards without one of their own, breaks the chain too.
  const chained = last !== undefined && Math.abs(at - last) <= CHAIN_MS ? record.failures : [];
  const failures = [...chained, at].slice(-KEPT);
  return {
    ...record,
    failures,
    pending: null,
    atWork: false,
    safe: record.safe || failures.length >= FAILURES,
  };
}

/**
 * A start begins at `now` (ms since the epoch). One that is still pending was cut off: by a crash, a kill, the lack
 * of memory; or by the end of the machine's life, which is nobody's failure.
 */
export function startBegins(record: StartRecord, now: number, { setup, boot }: StartOf): StartRecord {
  if (record.setup !== setup) return { ...noStarts, pending: now, setup, boot };
  const cutOff = record.pending !== null && !record.atWork && record.boot === boot;
  const known = cutOff ? withFailure(record, now) : record;
  return { ...known, pending: now, atWork: false, boot };
}

/** It does what it is there for: a window was answered, or it is whole and connected. */
export function startAtWork(record: StartRecord): StartRecord {
  return record.pending === null ? record : { ...record, atWork: true };
}

/** It has lived for `SETTLED_AFTER_MS`. */
export function startSettled(record: StartRecord): StartRecord {
  return { ...record, failures: [], pending: null, atWork: false };
}

/** The process ends: `orderly` where somebody asked for it. */
export function startEnds(record: StartRecord, now: number, orderly: boolean): StartRecord {
  if (record.pending === null) return record;
  return orderly ? { ...record, pending: null, atWork: false } : withFailure(record, now);
}

/** Somebody chose a model that works: from the next start on everything holds again. */
export function modelChosen(record: StartRecord): StartRecord {
  return { ...record, failures: [], safe: false };
}

/**
 * How long to wait before the process ends, so that a loop of starts is a slow one. In milliseconds.
 * @param kept whether the record is on the disk, where the next start finds it
 */
export function delayBeforeEnd({ failures }: StartRecord, kept = true): number {
  if (failures.length === 0) return 0;
  if (!kept) return UNCOUNTED_DELAY_MS;
  return Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (failures.length - 1));
}
