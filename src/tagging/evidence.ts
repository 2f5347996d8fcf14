import type { Label } from '../models/labels.js';
import type { Found } from './look.js';
import { ROUNDING_MS, type Row } from './row.js';

/** A hop that had frames in which an item was over. */
interface Hit {
  /** Number of the hop in its row. */
  readonly sequence: number;
  /** Of the first frame in which the item was over. */
  readonly startedAt: number;
  readonly atMs: number;
  score: number;
  label: Label;
}

/** Where an item was over of late, while it is off: what confirms an onset. */
export interface Evidence {
  /** One of each hop that counts, in order. */
  readonly hits: Hit[];
  /** Stretches in which it was over in every frame; the last one may be open, up to Infinity. */
  readonly overs: { since: number; until: number }[];
}

export function noEvidence(): Evidence {
  return { hits: [], overs: [] };
}

export function forgetEvidence({ hits, overs }: Evidence): void {
  hits.length = 0;
  overs.length = 0;
}

/**
 * Counts the hop of a frame in which an item is over, unless the sound only reaches into it.
 * @param n of how many hops it is looked at whether the item was over
 * @param found what the look at the frame found
 */
export function countHop({ hits, overs }: Evidence, row: Row, frame: number, n: number, found: Found): void {
  const { frames, oldest } = row;
  const startMs = frames.starts[frame]!;
  if (overs.at(-1)?.until !== Infinity) overs.push({ since: startMs, until: Infinity });
  const { since } = overs.at(-1)!;
  while (overs[0]!.until < oldest.startMs) overs.shift();
  const own = row.hopOf(frame);
  // Frames of the oldest hop that is still looked at may yet be confirmed by those before it.
  while (hits.length > 0 && hits[0]!.sequence <= oldest.sequence - n) hits.shift();
  // A clap on the border of two hops is in both, and yet is one.
  const reachesIn = since < own.startMs - ROUNDING_MS;
  if (reachesIn && frames.ends[frame]! - since < own.endMs - own.startMs - ROUNDING_MS) return;
  const last = hits.at(-1);
  if (last?.sequence !== own.sequence) {
    const times = { startedAt: startMs + frames.hop.spreadMs, atMs: startMs };
    hits.push({ sequence: own.sequence, ...times, score: found.score, label: found.label! });
  } else if (found.score > last.score) {
    last.score = found.score;
    last.label = found.label!;
  }
}

/** The item is not over any more in a frame that begins at `atMs`. */
export function endOver({ overs }: Evidence, atMs: number): void {
  const last = overs.at(-1);
  if (last?.until === Infinity) last.until = atMs;
}

/** How many hops behind the number `oldest` had the item over. */
export function hitsAfter({ hits }: Evidence, oldest: number): number {
  let count = 0;
  for (const hit of hits) if (hit.sequence > oldest) count += 1;
  return count;
}

/** Forgets what frames from `fromMs` on have said: they are looked at once more. */
export function rewindEvidence({ hits, overs }: Evidence, fromMs: number): void {
  while (overs.length > 0 && overs.at(-1)!.since >= fromMs - ROUNDING_MS) overs.pop();
  const last = overs.at(-1);
  if (last !== undefined && last.until > fromMs + ROUNDING_MS) last.until = Infinity;
  while (hits.length > 0 && hits.at(-1)!.atMs >= fromMs - ROUNDING_MS) hits.pop();
}
