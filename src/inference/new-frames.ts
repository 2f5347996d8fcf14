import { embeddingOf } from './embedding-kind.js';
import type { InferenceResult } from './engine.js';
import { endOfFrames } from './frame-cut.js';
import type { StreamRequest } from './model-stream.js';
import type { Manifest } from '../models/manifest.js';

/** The learnt labels among the values of frames. */
export interface LearntColumns {
  /** The first of them: they stand behind the labels of the model. They are on the scale of the thresholds, always. */
  readonly from: number;
  /** Their values are those of the window and hold for the new frames alone: those before them are not looked at again. */
  readonly once: boolean;
}

/** The sound that is new with a window, in frames; times are seconds of the stream. */
export interface NewFrames {
  readonly startSeconds: number;
  readonly endSeconds: number;
  readonly frameSeconds: number;
  /** How many are new. */
  readonly count: number;
  /** How many frames in front of them are looked at once more. */
  readonly before: number;
  /** Float32Array, [(before + count) × labels], 0 … 1; the learnt labels stand behind those of the model. */
  readonly values: Float32Array;
  readonly spreadSeconds: number;
  readonly role: 'scores' | 'location';
  /** Left out where there are none. */
  readonly learnt?: LearntColumns;
}

/**
 * Frames of sound that no window before has told of; times are milliseconds of whatever the origin is: the epoch in
 * the service, its own beginning for a recording.
 */
export interface FreshFrames {
  startMs: number;
  endMs: number;
  frameMs: number;
  /** How many are new. */
  count: number;
  /** How many frames in front of them are looked at once more. */
  before: number;
  /** Float32Array, [(before + count) × labels], 0 … 1. */
  values: Float32Array;
  spreadMs: number;
  role: NewFrames['role'];
  learnt?: LearntColumns;
}

/**
 * What a window says of the sound that is new with it. A model that cannot say when has one frame: the whole of the
 * new sound, with the window's scores.
 *
 * @param takenUntil up to where sound was told of before, seconds of the stream
 * @returns null where nothing is new
 */
export function newFramesOf(
  { output }: Pick<Manifest, 'output'>,
  request: StreamRequest,
  result: InferenceResult,
  takenUntil: number,
): NewFrames | null {
  const { cut, startSeconds, endSeconds } = request;
  const { scores, heads } = result;
  const learnt =
    heads.length === 0
      ? undefined
      : { from: scores.length - heads.length, once: embeddingOf({ output })?.kind === 'window' };
  if (output.frames === null) {
    const start = Math.max(takenUntil, startSeconds);
    if (endSeconds <= start) return null;
    return {
      startSeconds: start,
      endSeconds,
      frameSeconds: endSeconds - start,
      count: 1,
      before: 0,
      values: scores,
      spreadSeconds: 0,
      role: 'scores',
      ...(learnt !== undefined && { learnt }),
    };
  }
  if (cut === null || result.frames === null) return null;
  const before = cut.fresh - cut.from;
  const count = Math.floor(result.frames.length / scores.length) - before;
  if (count <= 0) return null;
  return {
    startSeconds: cut.startSeconds,
    endSeconds: endOfFrames(cut, count, endSeconds),
    frameSeconds: cut.hopSeconds,
    count,
    before,
    values: result.frames,
    spreadSeconds: output.frames.spread_seconds,
    role: output.frames.role,
    ...(learnt !== undefined && { learnt }),
  };
}

/** A stretch of sound in which nothing was heard, as one frame. */
export function silentFrame(startSeconds: number, endSeconds: number, noScores: Float32Array): NewFrames {
  return {
    startSeconds,
    endSeconds,
    frameSeconds: endSeconds - startSeconds,
    count: 1,
    before: 0,
    values: noScores,
    spreadSeconds: 0,
    role: 'scores',
  };
}

/** The same frames in milliseconds, `originMs` being the time of the stream's beginning. */
export function inMilliseconds(frames: NewFrames, originMs: number): FreshFrames {
  const { startSeconds, endSeconds, frameSeconds, count, before, values, spreadSeconds, role, learnt } =
    frames;
  return {
    startMs: originMs + startSeconds * 1000,
    endMs: originMs + endSeconds * 1000,
    frameMs: frameSeconds * 1000,
    count,
    before,
    values,
    spreadMs: spreadSeconds * 1000,
    role,
    ...(learnt !== undefined && { learnt }),
  };
}
