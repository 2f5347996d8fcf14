import type { FreshFrames, LearntColumns } from '../inference/new-frames.js';

/**
 * The sound that came since the result before, cut into frames, with what the network says of each. Frames are
 * contiguous and in order; no sound is in two of them, and none in the new frames of two hops. In front of the new ones
 * may stand some that were new before: what the network says of them now that it has heard more.
 */
export interface Hop {
  /** Milliseconds since the epoch of the beginning of the first new frame. */
  readonly startMs: number;
  /** Of the end of the last one. */
  readonly endMs: number;
  /** Length of a frame. The first one may be up to half of it shorter or longer, so that it joins the hop before. */
  readonly frameMs: number;
  /** How many frames are new. */
  readonly frames: number;
  /** How many stand in front of them. */
  readonly before: number;
  /** Of the end of the window: nothing was heard that is later. */
  readonly windowEndMs: number;
  /** [(before + frames) × labels], 0 … 1, by frame and `Label.index`. */
  readonly values: ArrayLike<number>;
  /** How far a sound reaches in `values` beyond where it is, to each side. */
  readonly spreadMs: number;
  /**
   * `scores`: the values are on the scale of the thresholds. `location`: they say where a label is that the window's
   * scores say is there.
   */
  readonly role: 'scores' | 'location';
  /** The labels that were learnt, behind those of the model; left out where there are none. */
  readonly learnt?: LearntColumns;
  /** Of the whole window, [labels], 0 … 1, by `Label.index`. */
  readonly scores: ArrayLike<number>;
}

/**
 * What is new with a window, for the tagger.
 * @param scores of the whole window, [labels]
 * @param windowEndMs the end of the window
 */
export function hopOf(fresh: FreshFrames, scores: ArrayLike<number>, windowEndMs: number): Hop {
  const { count: frames, ...others } = fresh;
  return { ...others, frames, windowEndMs, scores };
}

/**
 * A value of the role `location` from which on a label is in a frame; for labels with a low threshold it is twice that
 * threshold, for what is weak in the window is weak in its frames. Measured with mn04_as on sounds at known times; see
 * docs/detection.md.
 */
export function hereFrom(onThreshold: number): number {
  return Math.min(0.5, 2 * onThreshold);
}

/**
 * What the new sound held: for each label its highest frame or, with the role `location`, the window's score where any
 * frame says that it is here (from 0.5 on), else 0. A value that is not a number counts as 0.
 *
 * @param out Float32Array, [labels]; written over.
 */
export function hopScores(hop: Hop, out: Float32Array): void {
  const labels = Math.min(out.length, hop.scores.length);
  out.fill(0);
  for (let frame = hop.before; frame < hop.before + hop.frames; frame += 1) {
    for (let label = 0; label < labels; label += 1) {
      const value = hop.values[frame * hop.scores.length + label]!;
      if (isScore(hop, label)) {
        if (value > out[label]!) out[label] = value;
      } else if (value >= 0.5) {
        out[label] = hop.scores[label]!;
      }
    }
  }
}

/** Whether what frames say of a label is on the scale of the thresholds: that of learnt labels always is. */
export function isScore({ role, learnt }: Hop, label: number): boolean {
  return role === 'scores' || (learnt !== undefined && label >= learnt.from);
}

/** Where a frame begins, those in front of the new ones counted as well. */
export function frameStartMs(hop: Hop, frame: number): number {
  return frame === hop.before ? hop.startMs : hop.endMs - (hop.before + hop.frames - frame) * hop.frameMs;
}
