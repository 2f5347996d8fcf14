import { bodyOf, checkedLine } from '../common/checked-line.js';
import type { EventPayload } from '../mqtt/contract.js';
import { onsetsOfText, textOfOnsets, type FiringHour, type Firings } from './firing-hour.js';

/*
 * What the files of the history hold: lines as `checked-line.ts` has them, with the body `<kind> <time> <JSON>`. The
 * time (ms since the epoch) is that of what the line is about, so that lines of other times need not be read any
 * further. Each line can be read without the others, and may stand there twice: after a write that failed it is
 * written again.
 */

/** An event as it was published; without `source` it is that of the only one. */
export type HistoryEvent = EventPayload & { readonly source?: string | undefined };

export type HistoryRecord =
  /** `atMs` is when the sound began, at its end as well. */
  | { readonly kind: 'event'; readonly atMs: number; readonly event: HistoryEvent }
  /** What somebody said about the event `id`; `atMs` is when its sound began. */
  | { readonly kind: 'judged'; readonly atMs: number; readonly id: string; readonly right: boolean }
  /** The highest scores of the minute that begins at `atMs`. */
  | {
      readonly kind: 'scores';
      readonly atMs: number;
      readonly source: string;
      readonly scores: readonly (readonly [name: string, score: number])[];
      /** No label that was watched and is not in `scores` had more than this; null where all are there. */
      readonly rest: number | null;
    }
  /** What would have started with other thresholds; `atMs` is its `fromMs`. */
  | { readonly kind: 'firings'; readonly atMs: number; readonly hour: FiringHour };

export type RecordKind = HistoryRecord['kind'];

/** A whole line, of which the content has not been looked at yet. */
export interface LineHead {
  readonly kind: RecordKind;
  readonly atMs: number;
  /** The content as JSON; a view of the line. */
  readonly json: Buffer;
}

const SPACE = 0x20;
const KINDS: readonly string[] = ['event', 'judged', 'scores', 'firings'] satisfies RecordKind[];
const LAST_TIME_MS = 8.64e15;

/** The line of a record, with its newline. */
export function encodeRecord(record: HistoryRecord): Buffer {
  return checkedLine(Buffer.from(`${record.kind} ${record.atMs} ${JSON.stringify(contentOf(record))}`));
}

function contentOf(record: HistoryRecord): unknown {
  switch (record.kind) {
    case 'event':
      return record.event;
    case 'judged':
      return { id: record.id, right: record.right };
    case 'scores':
      return { source: record.source, scores: record.scores, rest: record.rest };
    case 'firings':
      return firingsContent(record.hour);
  }
}

/** Of a line without its newline; null where it is not whole, or of a kind that is not known. */
export function headOf(line: Uint8Array): LineHead | null {
  const body = bodyOf(line);
  if (body === null) return null;
  const first = body.indexOf(SPACE);
  const second = body.indexOf(SPACE, first + 1);
  if (first < 0 || second < 0) return null;
  const kind = body.toString('latin1', 0, first);
  const atMs = Number(body.toString('latin1', first + 1, second));
  if (!KINDS.includes(kind) || !isTime(atMs)) return null;
  return { kind: kind as RecordKind, atMs, json: body.subarray(second + 1) };
}

/** The record of a line, or null where its content is not what this program writes. */
export function recordOf({ kind, atMs, json }: LineHead): HistoryRecord | null {
  const content = parse(json);
  if (content === null) return null;
  switch (kind) {
    case 'event':
      return isEvent(content) ? { kind, atMs, event: content } : null;
    case 'judged': {
      const { id, right } = content;
      return typeof id === 'string' && typeof right === 'boolean' ? { kind, atMs, id, right } : null;
    }
    case 'scores': {
      const { source, scores, rest } = content;
      if (typeof source !== 'string' || !isScores(scores)) return null;
      return { kind, atMs, source, scores, rest: typeof rest === 'number' ? rest : null };
    }
    case 'firings': {
      const hour = hourOf(content, atMs);
      return hour === null ? null : { kind, atMs, hour };
    }
  }
}

function parse(json: Buffer): Record<string, unknown> | null {
  try {
    const content: unknown = JSON.parse(json.toString());
    return typeof content === 'object' && content !== null ? (content as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

/** The check of the line says that the rest is as this program, or an older or newer one, has written it. */
function isEvent(content: object): content is HistoryEvent {
  const event = content as Partial<HistoryEvent>;
  return (
    typeof event.id === 'string' &&
    typeof event.label === 'string' &&
    (event.event_type === 'started' || event.event_type === 'ended')
  );
}

function isScores(value: unknown): value is [string, number][] {
  return (
    Array.isArray(value) &&
    value.every((pair: unknown) => {
      const [name, score] = Array.isArray(pair) ? (pair as unknown[]) : [];
      return typeof name === 'string' && typeof score === 'number';
    })
  );
}

/** Whether `ms` is a moment that a `Date` can have. */
export function isTime(ms: number): boolean {
  return Number.isInteger(ms) && Math.abs(ms) <= LAST_TIME_MS;
}

/** Most items have the same rules: they stand there once, and items name their place. */
function firingsContent({ source, model, heardMs, rest, items }: FiringHour): unknown {
  const rules = [...new Set([...(rest === null ? [] : [rest]), ...items.map((item) => item.rules)])];
  return {
    source,
    model,
    heard: heardMs,
    rules,
    rest: rest !== null,
    items: items.map((item) => [item.name, rules.indexOf(item.rules), textOfOnsets(item.onsets)]),
  };
}

function hourOf(content: Record<string, unknown>, fromMs: number): FiringHour | null {
  const { source, model, heard, rules, rest, items } = content;
  if (typeof source !== 'string' || typeof model !== 'string' || typeof heard !== 'number') return null;
  if (!(heard >= 0) || !Array.isArray(rules) || !Array.isArray(items)) return null;
  const known = rules as unknown[];
  const all: Firings[] = [];
  for (const item of items as unknown[]) {
    const [name, place, text] = Array.isArray(item) ? (item as unknown[]) : [];
    const own = typeof place === 'number' ? known[place] : undefined;
    const onsets = typeof text === 'string' ? onsetsOfText(text) : null;
    if (typeof name !== 'string' || typeof own !== 'string' || onsets === null) return null;
    all.push({ name, rules: own, onsets });
  }
  const restRules = rest === true && typeof known[0] === 'string' ? known[0] : null;
  return { fromMs, source, model, heardMs: heard, rest: restRules, items: all };
}
