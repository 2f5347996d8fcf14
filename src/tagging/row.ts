import { frameStartMs, type Hop } from './hop.js';

/** Times are sums of fractions. */
export const ROUNDING_MS = 1e-3;

const BACKWARD_TOLERANCE_MS = 2_000;
const FORWARD_LIMIT_MS = 600_000;

/** A hop, as far as its frames may be looked at once more. */
export interface Past {
  /** Its number in the row. */
  readonly sequence: number;
  readonly startMs: number;
  readonly endMs: number;
}

/** The frames of the hop that was taken last, with their times. */
export interface Frames {
  readonly hop: Hop;
  /** Float64Arrays: the beginning and the end of each frame, in order; longer than `count`. */
  readonly starts: Float64Array;
  readonly ends: Float64Array;
  /** How many there are, those that are looked at once more included. */
  readonly count: number;
}

/** The hops that follow each other, and the times of their frames: within a row they never run backwards. */
export interface Row {
  /** The end of the last hop; null where a new row begins. */
  readonly nowMs: number | null;
  readonly frames: Frames;
  /** The oldest hop of which frames may still be looked at. */
  readonly oldest: Past;
  /** Whether the time of a hop fits behind the last one. */
  fits(hop: Hop): boolean;
  /** The next hop begins a new row. */
  breakOff(): void;
  /** Takes the next hop. Returns how many ms between it and the one before were never looked at. */
  take(hop: Hop): number;
  /** The hop that a frame was new in. */
  hopOf(frame: number): Past;
}

export function createRow(): Row {
  let sequence = 0;
  let nowMs: number | null = null;
  /** The newest last. */
  let past: Past[] = [];
  /** One object for all hops, so that none is made per hop. */
  const frames = { hop: emptyHop, starts: new Float64Array(64), ends: new Float64Array(64), count: 0 };

  function takeTimes(hop: Hop): void {
    const count = hop.before + hop.frames;
    if (frames.starts.length < count) {
      frames.starts = new Float64Array(2 * count);
      frames.ends = new Float64Array(2 * count);
    }
    const firstMs = Math.max(nowMs ?? -Infinity, hop.startMs);
    let atMs = -Infinity;
    for (let frame = 0; frame < count; frame += 1) {
      const isNew = frame >= hop.before;
      const startMs = Math.max(atMs, isNew ? firstMs : -Infinity, frameStartMs(hop, frame));
      const next = frame === count - 1 ? hop.endMs : frameStartMs(hop, frame + 1);
      frames.starts[frame] = isNew ? startMs : Math.min(startMs, firstMs);
      atMs = Math.max(startMs, isNew ? next : Math.min(next, firstMs));
      frames.ends[frame] = atMs;
    }
    frames.hop = hop;
    frames.count = count;
  }

  return {
    get nowMs() {
      return nowMs;
    },
    frames,
    get oldest() {
      return past[0]!;
    },
    fits: ({ startMs, endMs }) =>
      nowMs === null || !(endMs < nowMs - BACKWARD_TOLERANCE_MS || startMs > nowMs + FORWARD_LIMIT_MS),
    breakOff() {
      nowMs = null;
    },
    take(hop) {
      sequence += 1;
      if (nowMs === null) past = [];
      if (hop.frames === 0) return 0;
      takeTimes(hop);
      const firstMs = frames.starts[hop.before]!;
      const endMs = frames.ends[frames.count - 1]!;
      const unseenMs = nowMs === null ? 0 : firstMs - nowMs;
      past = past.filter((hopBefore) => hopBefore.endMs > frames.starts[0]! - ROUNDING_MS);
      past.push({ sequence, startMs: firstMs, endMs });
      nowMs = endMs;
      return unseenMs;
    },
    hopOf(frame) {
      const middleMs = (frames.starts[frame]! + frames.ends[frame]!) / 2;
      for (let at = past.length - 1; at > 0; at -= 1) if (past[at]!.startMs <= middleMs) return past[at]!;
      return past[0]!;
    },
  };
}

const emptyHop: Hop = {
  startMs: 0,
  endMs: 0,
  frameMs: 0,
  frames: 0,
  before: 0,
  windowEndMs: 0,
  values: [],
  spreadMs: 0,
  role: 'scores',
  scores: [],
};
