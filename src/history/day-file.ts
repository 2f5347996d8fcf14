/*
 * The files of the history: `<stream>-<place>-<day>.log`. Places count up in the order in which files were begun, so
 * that a clock that was wrong for a while does not change which file is the oldest. A file has what was written on one
 * day (UTC), and is followed by another where it grows large.
 */

/**
 * What is looked for together lies together: events with what is said about them, scores, and what would have started
 * with other thresholds.
 */
export type Stream = 'events' | 'scores' | 'firings';
export const STREAMS: readonly Stream[] = ['events', 'scores', 'firings'];

/** From the earliest to the latest time that lines are about, ms since the epoch. */
export interface TimeRange {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface DayFile {
  readonly name: string;
  readonly stream: Stream;
  readonly place: number;
  /** Days since the epoch. */
  readonly day: number;
  bytes: number;
  /** What this life of the service has written into it; null where it has not. */
  written: TimeRange | null;
  /** What was found in it when all of it was read. */
  found: TimeRange | null;
  /** Whether `written` and `found` are all that is in it. */
  isKnown: boolean;
}

export const DAY_MS = 86_400_000;
/** 9999-12-31: what an ISO date says in four digits of a year. */
const LAST_DAY = 2_932_896;
/** What a file takes on a disk at least. */
const BLOCK_BYTES = 4096;

/** The day of a moment, in days since the epoch; a clock that is out of its senses counts as the nearest day. */
export function dayOf(ms: number): number {
  return Math.min(LAST_DAY, Math.max(0, Math.floor((Number.isFinite(ms) ? ms : 0) / DAY_MS)));
}

export function dayFile(stream: Stream, place: number, day: number): DayFile {
  const date = new Date(day * DAY_MS).toISOString().slice(0, 10);
  const name = `${stream}-${String(place).padStart(10, '0')}-${date}.log`;
  return { name, stream, place, day, bytes: 0, written: null, found: null, isKnown: false };
}

/** The file of a name, or null where it is another file. */
export function dayFileOf(name: string): DayFile | null {
  const [, stream, place, date] =
    /^(events|scores|firings)-(\d{10})-(\d{4}-\d{2}-\d{2})\.log$/.exec(name) ?? [];
  const ms = Date.parse(date ?? '');
  if (stream === undefined || Number.isNaN(ms) || ms < 0) return null;
  return dayFile(stream as Stream, Number(place), dayOf(ms));
}

/** What a file takes on the disk, in bytes. */
export function roomOf({ bytes }: Pick<DayFile, 'bytes'>): number {
  return Math.max(1, Math.ceil(bytes / BLOCK_BYTES)) * BLOCK_BYTES;
}

/** The range of both. */
export function union(one: TimeRange | null, other: TimeRange | null): TimeRange | null {
  if (one === null || other === null) return one ?? other;
  return { fromMs: Math.min(one.fromMs, other.fromMs), toMs: Math.max(one.toMs, other.toMs) };
}

/** Whether lines about times from `fromMs` to `toMs` (both inclusive) may be in it. */
export function mayHold(file: DayFile, fromMs: number, toMs: number): boolean {
  if (!file.isKnown) return true;
  const range = union(file.found, file.written);
  return range !== null && range.fromMs <= toMs && range.toMs >= fromMs;
}
