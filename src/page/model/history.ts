import { request, type Answered } from '../api/request.js';
import type { ScorePoint } from '../lib/firings.js';
import type { HeardEvent } from './device.js';

/** More of one day nobody looks through, and a phone would have to draw them all. */
const MOST_EVENTS = 2000;
const PAGE = 500;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** As many points as one reply may have. */
const MOST_POINTS = 2000;
/** So many days are asked for one by one, a point a minute; longer spans in one go. */
const MOST_DAYS_BY_MINUTES = 7;

/** The events that began between two moments, newest first. */
export async function eventsBetween(
  since: Date,
  until: Date,
): Promise<{ events: HeardEvent[]; isWhole: boolean }> {
  const events: HeardEvent[] = [];
  let cursor: string | undefined;
  do {
    const page: Answered<'history'> = await request('history', {
      since: since.toISOString(),
      until: until.toISOString(),
      limit: PAGE,
      ...(cursor !== undefined && { cursor }),
    });
    events.push(...page.events);
    cursor = page.cursor ?? undefined;
  } while (cursor !== undefined && events.length < MOST_EVENTS);
  return { events, isWhole: cursor === undefined };
}

/** One event, by its id and when it began; null where the history does not have it (any more). */
export async function findEvent(id: string, at: string): Promise<HeardEvent | null> {
  const since = new Date(at);
  // Several may begin in the same millisecond, but not as many as this.
  const { events } = await request('history', {
    since: since.toISOString(),
    until: new Date(since.getTime() + 1).toISOString(),
    limit: PAGE,
  });
  return events.find((event) => event.id === id) ?? null;
}

/** The scores of a label over time. */
export interface Curve {
  points: ScorePoint[];
  stepMs: number;
}

/** How often a label would have started with each threshold, as the device has counted it. */
export interface Counted {
  /** By hundredths: the first is that of 0.01. */
  onsets: readonly number[];
  heardMs: number;
}

/** Null where nothing was counted, or where there are several sources and none of them was chosen. */
export async function countedLately(
  label: string,
  source: string | null,
  days: number,
): Promise<Counted | null> {
  try {
    const { suggestions } = await request('thresholds/suggest', {
      label,
      ...(source !== null && { source }),
      days,
    });
    const [only, another] = suggestions;
    if (only?.onsets === undefined || another !== undefined) return null;
    return { onsets: only.onsets, heardMs: only.heard_hours * 3_600_000 };
  } catch {
    // It is not watched any more: there are its scores all the same.
    return null;
  }
}

/** @param source null: the highest of all sources */
export async function scoresBetween(
  label: string,
  source: string | null,
  sinceMs: number,
  untilMs: number,
): Promise<Curve> {
  const days = (untilMs - sinceMs) / DAY_MS;
  const pieces = days > MOST_DAYS_BY_MINUTES ? 1 : Math.max(1, Math.ceil(days));
  const points: ScorePoint[] = [];
  let stepMs = MINUTE_MS;
  // From minute to minute, or the last of one piece would be the first of the next.
  const edge = (piece: number): number =>
    piece === pieces
      ? untilMs
      : Math.floor((sinceMs + ((untilMs - sinceMs) * piece) / pieces) / MINUTE_MS) * MINUTE_MS;
  for (let piece = 0; piece < pieces; piece += 1) {
    const reply = await request('history/scores', {
      label,
      ...(source !== null && { source }),
      since: new Date(edge(piece)).toISOString(),
      until: new Date(edge(piece + 1)).toISOString(),
      points: MOST_POINTS,
    });
    stepMs = Math.max(stepMs, reply.step_seconds * 1000);
    for (const { ts, score } of reply.points) points.push({ atMs: Date.parse(ts), score });
  }
  return { points, stepMs };
}
