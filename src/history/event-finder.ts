import { ONLY_SOURCE } from '../common/only-source.js';
import { createLabelMatch } from './label-match.js';
import type { HistoryEvent, HistoryRecord } from './record.js';

/** What is asked of the events. Times are when a sound began, ms since the epoch. */
export interface EventQuery {
  /** Inclusive. */
  readonly sinceMs?: number | undefined;
  /** Exclusive. */
  readonly untilMs?: number | undefined;
  /** Name (in any case), slug or MID of a label, or name or slug of a group. */
  readonly label?: string | undefined;
  readonly source?: string | undefined;
  /** At most so many events; 100 by default. */
  readonly limit?: number | undefined;
  /** Of an earlier page: the events that follow it, that is the older ones. */
  readonly cursor?: string | undefined;
}

/** One sound: its `ended` where it has ended, else its `started`. */
export type HistoryRow = HistoryEvent & {
  /** What somebody said of it; null where nobody has said anything. */
  readonly right: boolean | null;
};

export interface EventPage {
  /** By when they began, newest first. */
  readonly events: readonly HistoryRow[];
  /** Where the next page begins; null where there is none. */
  readonly cursor: string | null;
}

export const DEFAULT_LIMIT = 100;
/** Judgements that are looked at in one query, so that it has its memory in bounds. */
const MAX_JUDGEMENTS = 100_000;

interface Found {
  readonly atMs: number;
  readonly id: string;
  event: HistoryEvent;
  /** Its beginning has been seen: nothing more comes of it. */
  hasBegun: boolean;
  fits: boolean;
}

/** Where a page ends: its last event. */
export function cursorOf({ atMs, id }: Pick<Found, 'atMs' | 'id'>): string {
  return `${atMs}.${id}`;
}

/** The cursor of an event as the history gives it. */
export function cursorOfRow(row: HistoryRow): string {
  return cursorOf({ atMs: Date.parse(row.started_at), id: row.id });
}

function positionOf(cursor: string): { atMs: number; id: string } | null {
  const [, atMs, id] = /^(-?\d{1,16})\.(.+)$/s.exec(cursor) ?? [];
  return id === undefined ? null : { atMs: Number(atMs), id };
}

/** Whether this can be a cursor. */
export function isCursor(text: string): boolean {
  return positionOf(text) !== null;
}

/** Newest first; events of one moment by their ids, so that there is one order. */
function inOrder(one: Pick<Found, 'atMs' | 'id'>, other: Pick<Found, 'atMs' | 'id'>): number {
  if (one.atMs !== other.atMs) return other.atMs - one.atMs;
  if (one.id === other.id) return 0;
  return one.id > other.id ? -1 : 1;
}

/**
 * Puts the answer to a query together. It is given the records of the files, the newest file first and within a file
 * in order. Pure, and in bounded memory: what of a file cannot be in the answer is forgotten at its end.
 */
export interface EventFinder {
  /** Records about earlier and later times cannot change the answer any more. */
  readonly fromMs: number;
  readonly toMs: number;
  take(record: HistoryRecord): void;
  fileEnds(): void;
  end(): EventPage;
}

export function createEventFinder(query: EventQuery): EventFinder {
  const { sinceMs = -Infinity, untilMs = Infinity, source, limit = DEFAULT_LIMIT } = query;
  const after = query.cursor === undefined ? null : positionOf(query.cursor);
  const isLabel = query.label === undefined ? null : createLabelMatch(query.label);
  const mid = query.label?.trim();
  const rows = new Map<string, Found>();
  const judged = new Map<string, { right: boolean; file: number }>();
  let file = 0;
  let fromMs = sinceMs;

  function fits({ label, group, mid: own, source: from = ONLY_SOURCE }: HistoryEvent): boolean {
    if (source !== undefined && source !== from) return false;
    return isLabel === null || isLabel(label) || own === mid || (group !== null && isLabel(group));
  }

  function takeEvent(atMs: number, event: HistoryEvent): void {
    const { id } = event;
    if (atMs < fromMs || atMs >= untilMs) return;
    if (after !== null && inOrder({ atMs, id }, after) <= 0) return;
    const begins = event.event_type === 'started';
    const row = rows.get(id);
    if (row === undefined) {
      rows.set(id, { atMs, id, event, hasBegun: begins, fits: fits(event) });
      return;
    }
    row.hasBegun ||= begins;
    // Of a group the label at the beginning may be another one than that at the end; it was heard as both.
    row.fits ||= fits(event);
    if (!begins) row.event = event;
  }

  /** Those in the answer, and one more where there are more. */
  const best = (): Found[] =>
    [...rows.values()]
      .filter((row) => row.fits)
      .sort(inOrder)
      .slice(0, limit + 1);

  return {
    get fromMs() {
      return fromMs;
    },
    toMs: Math.min(untilMs, after === null ? Infinity : after.atMs),
    take(record) {
      if (record.kind === 'event') takeEvent(record.atMs, record.event);
      if (record.kind !== 'judged') return;
      // Newer files come first, and within a file the newest word last.
      const { file: said = file } = judged.get(record.id) ?? {};
      if (said === file && judged.size < MAX_JUDGEMENTS) judged.set(record.id, { right: record.right, file });
    },
    fileEnds() {
      file += 1;
      const kept = new Set(best());
      if (kept.size > limit) fromMs = [...kept].at(-1)!.atMs;
      for (const [id, row] of rows) {
        // The beginning of one that has only ended so far may fit yet.
        const mayFit = !row.fits && !row.hasBegun && row.atMs >= fromMs;
        if (!kept.has(row) && !mayFit) rows.delete(id);
      }
    },
    end() {
      const found = best();
      const last = found.length > limit ? found[limit - 1] : undefined;
      return {
        events: found
          .slice(0, limit)
          .map(({ id, event }) => ({ ...event, right: judged.get(id)?.right ?? null })),
        cursor: last === undefined ? null : cursorOf(last),
      };
    },
  };
}
