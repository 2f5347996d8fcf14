import type { Label } from '../models/labels.js';
import type { Found } from './look.js';
import { ROUNDING_MS } from './row.js';
import type { OnItem, TagEvent } from './tag-event.js';
import type { WatchedItem } from './watch.js';

/** A stretch of sound in which an item is heard; an event once it has an id. */
export interface Run {
  id: string | null;
  /** Of the event where there is one, else of the first frame in which the item was over. */
  startedAt: number;
  /** The same as the values have it, with what they smear over the edges. */
  rawStart: number;
  /** End of the last frame in which it was heard, as the values have it. */
  heardUntil: number;
  /** How much of the time since then was never looked at. */
  unseenMs: number;
  spreadMs: number;
  confirmed: boolean;
  lastScore: number;
  peak: number;
  peakLabel: Label;
}

/** A run that begins with a frame at `startMs` in which a label was found. */
export function beginRun({ label, score }: Found, startMs: number, spreadMs: number): Run {
  return {
    id: null,
    startedAt: startMs + spreadMs,
    rawStart: startMs,
    heardUntil: startMs,
    unseenMs: 0,
    spreadMs,
    confirmed: false,
    lastScore: score,
    peak: score,
    peakLabel: label!,
  };
}

/** The item is heard in a frame that ends at `endMs`. */
export function hear(run: Run, { label, score }: Found, endMs: number): void {
  run.heardUntil = endMs;
  run.unseenMs = 0;
  run.lastScore = score;
  if (label !== null) raisePeak(run, score, label);
}

export function raisePeak(run: Run, score: number, label: Label): void {
  if (score <= run.peak) return;
  run.peak = score;
  run.peakLabel = label;
}

/** How long it lasts, in ms. A short, weak sound may reach less far than others smear. */
export function lastedMs(run: Run): number {
  return Math.max(0, run.heardUntil - run.rawStart - 2 * run.spreadMs);
}

/** Whether it is over by `endMs`, the end of a frame in which the item is not heard. */
export function isOver(run: Run, endMs: number, minGapMs: number): boolean {
  // A sound that began right now would reach back over a part of the gap, as the last one reaches into it.
  return endMs - run.heardUntil - run.unseenMs + 2 * run.spreadMs >= minGapMs - ROUNDING_MS;
}

/** Where a run ends, without what the values smear over its end. */
function offsetOf(run: Run): number {
  return Math.max(run.startedAt, run.heardUntil - run.spreadMs);
}

/** The event of a run whose id is `id`. */
export function eventOf(
  type: 'started' | 'ended',
  item: WatchedItem,
  run: Run,
  id: string,
  decidedMs: number,
): TagEvent {
  const endedAt = type === 'ended' ? offsetOf(run) : null;
  return {
    id,
    event_type: type,
    slug: item.slug,
    label: run.peakLabel.name,
    mid: run.peakLabel.mid,
    group: item.group,
    score: run.lastScore,
    peak: run.peak,
    started_at: run.startedAt,
    ended_at: endedAt,
    duration_s: endedAt === null ? null : (endedAt - run.startedAt) / 1000,
    detected_at: decidedMs,
  };
}

/** What is on with a run whose id is `id`. */
export function onItemOf(item: WatchedItem, run: Run, id: string): OnItem {
  return {
    id,
    name: item.name,
    slug: item.slug,
    label: run.peakLabel.name,
    mid: run.peakLabel.mid,
    group: item.group,
    peak: run.peak,
    started_at: run.startedAt,
    last_heard_at: offsetOf(run),
  };
}
