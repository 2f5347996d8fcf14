import type { FramesSpec } from '../models/manifest.js';

/** The frames of a window that are new and final, with where they lie in the stream; times are seconds of it. */
export interface FrameCut {
  /** Numbers of the frames in the window: those that are looked at once more, then from `fresh` on the new ones. */
  readonly from: number;
  readonly fresh: number;
  /** Not included. */
  readonly to: number;
  /** Where the first new one begins: where the ones before ended, if no sound lies between. */
  readonly startSeconds: number;
  /** Where the grid of the frames has the beginning of the first new one. */
  readonly gridSeconds: number;
  readonly hopSeconds: number;
}

/** Frames of a window that are not exactly on its grid are still there. */
const ROUNDING = 1e-6;

/**
 * Cuts the frames of a window at what was taken before, so that each piece of sound is taken once, whatever the
 * windows' ends and hops. The grids of two windows need not agree: a frame belongs to what is new where its middle
 * does, and the first one is stretched or cut to join.
 *
 * @param window where it begins and ends in the stream, seconds
 * @param takenUntil up to where frames were taken before, seconds of the stream
 * @param isLast no more sound will come: frames count as final up to the window's end
 * @returns null where no frame is new
 */
export function cutFrames(
  spec: Pick<FramesSpec, 'hop_seconds' | 'offset_seconds' | 'context_seconds' | 'lookback_seconds'>,
  window: { startSeconds: number; endSeconds: number },
  takenUntil: number,
  isLast: boolean,
): FrameCut | null {
  const { hop_seconds: hop, offset_seconds: offset, context_seconds: context } = spec;
  const length = window.endSeconds - window.startSeconds;
  const to = isLast
    ? Math.round((length - offset) / hop)
    : Math.floor((length - context - offset) / hop + ROUNDING);
  const earliest = Math.max(takenUntil, window.startSeconds);
  /** The first frame whose middle lies behind a time of the stream. */
  const firstBehind = (seconds: number) =>
    Math.max(0, Math.ceil((seconds - window.startSeconds - offset) / hop - 0.5 - ROUNDING));
  const fresh = firstBehind(earliest);
  if (to <= fresh) return null;
  const from = Math.min(
    fresh,
    firstBehind(Math.max(window.startSeconds, takenUntil - spec.lookback_seconds)),
  );
  const gridSeconds = window.startSeconds + offset + fresh * hop;
  const joins = Math.abs(gridSeconds - earliest) <= hop * (0.5 + ROUNDING);
  return {
    from,
    fresh,
    to,
    startSeconds: joins ? earliest : gridSeconds,
    gridSeconds,
    hopSeconds: hop,
  };
}

/** Where the last of the new frames of a cut ends, of which so many were there: seconds of the stream. */
export function endOfFrames(cut: FrameCut, count: number, windowEndSeconds: number): number {
  const end = Math.min(cut.gridSeconds + count * cut.hopSeconds, windowEndSeconds);
  return Math.max(end, cut.startSeconds);
}
