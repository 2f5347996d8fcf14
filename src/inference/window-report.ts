import { isSilence } from '../models/labels.js';
import type { InstalledModel } from '../models/registry.js';
import type { InferenceEngine, InferenceResult } from './engine.js';
import type { ModelStream, StreamRequest } from './model-stream.js';
import { inMilliseconds, newFramesOf, silentFrame, type FreshFrames } from './new-frames.js';
import type { DueWindow } from './window-queue.js';

/** One answered window. */
export interface WindowResult {
  /** The number of the source that it was heard at. */
  source: number;
  /** Counts every window of the source that was due since the start; a gap is a dropped window. */
  seq: number;
  model: InstalledModel;
  /** Wall clock, ms since the epoch. */
  startMs: number;
  endMs: number;
  /** Float32Array, [labels], 0 … 1. */
  scores: Float32Array;
  /** The sound that is new with it; null where no frame of it is final yet. */
  fresh: FreshFrames | null;
  /** performance.now() of the arrival of the window's last sample and of the answer. */
  arrivedAt: number;
  answeredAt: number;
  queueMs: number;
  featuresMs: number;
  inferenceMs: number;
  /** Answered as silence, without a run; see `Rest`. */
  idle: boolean;
}

/** Turns answers into results, and keeps up to where the sound has been told of, so that none is told of twice. */
export interface WindowReporter {
  /** Up to which capture position (samples) sound has been told of in frames. */
  readonly toldUntil: number;
  /** What came before this capture position is not to be told of any more. */
  skipTo(position: number): void;
  /** The result of an answer that has just come. Windows come in order. */
  report(
    seq: number,
    engine: Pick<InferenceEngine, 'model'>,
    window: DueWindow,
    request: StreamRequest,
    result: InferenceResult,
  ): WindowResult;
  /** The result of a window that is answered as silence. */
  silence(
    seq: number,
    engine: Pick<InferenceEngine, 'model'>,
    window: DueWindow,
    stream: Pick<ModelStream, 'windowSeconds' | 'contextSeconds'>,
  ): WindowResult;
}

/**
 * How much at the end of a window that was answered as silence is left to the next one, at least: what has not been
 * measured yet may be the beginning of something.
 */
const UNTOLD_SECONDS = 0.1;

/** @param sound whose capture rate (Hz) positions are counted at */
export function createWindowReporter(
  source: number,
  sound: { readonly captureRate: number },
): WindowReporter {
  let toldUntil = 0;
  const nothing = createNothing();

  /** Takes the frames of a window that are new. */
  function takeFresh(
    { model }: Pick<InferenceEngine, 'model'>,
    window: DueWindow,
    request: StreamRequest,
    result: InferenceResult,
  ): FreshFrames | null {
    const { captureRate } = sound;
    const frames = newFramesOf(model.manifest, request, result, toldUntil / captureRate);
    if (frames === null) return null;
    toldUntil = frames.endSeconds * captureRate;
    return inMilliseconds(frames, window.endMs - (window.position * 1000) / captureRate);
  }

  return {
    get toldUntil() {
      return toldUntil;
    },
    skipTo(position) {
      toldUntil = position;
    },
    report(seq, engine, window, request, result) {
      const { scores, featuresMs, inferenceMs } = result;
      const answeredAt = performance.now();
      nothing.heard(engine.model, scores);
      return {
        source,
        seq,
        model: engine.model,
        startMs: window.endMs - (request.endSeconds - request.startSeconds) * 1000,
        endMs: window.endMs,
        scores,
        fresh: takeFresh(engine, window, request, result),
        arrivedAt: window.arrivedAt,
        answeredAt,
        queueMs: Math.max(0, answeredAt - window.arrivedAt - featuresMs - inferenceMs),
        featuresMs,
        inferenceMs,
        idle: false,
      };
    },
    silence(seq, { model }, window, { windowSeconds, contextSeconds }) {
      const { captureRate } = sound;
      const noScores = nothing.scores(model);
      const endSeconds = window.position / captureRate;
      const originMs = window.endMs - endSeconds * 1000;
      const startSeconds = toldUntil / captureRate;
      const untilSeconds = endSeconds - Math.max(contextSeconds, UNTOLD_SECONDS);
      const answeredAt = performance.now();
      let fresh: FreshFrames | null = null;
      if (untilSeconds > startSeconds) {
        toldUntil = untilSeconds * captureRate;
        const silent = silentFrame(startSeconds, untilSeconds, noScores);
        fresh = inMilliseconds(silent, originMs);
      }
      return {
        source,
        seq,
        model,
        startMs: originMs + Math.max(0, endSeconds - windowSeconds) * 1000,
        endMs: window.endMs,
        scores: noScores,
        fresh,
        arrivedAt: window.arrivedAt,
        answeredAt,
        queueMs: answeredAt - window.arrivedAt,
        featuresMs: 0,
        inferenceMs: 0,
        idle: true,
      };
    },
  };
}

/**
 * The scores of silence: 0, but for those labels that mean silence, which stay what the last run said of them. Else
 * “Silence” would begin and end with every run in a quiet room.
 */
function createNothing(): {
  heard(model: InstalledModel, scores: Float32Array): void;
  scores(model: InstalledModel): Float32Array;
} {
  let of: InstalledModel | null = null;
  let lastRun: Float32Array | null = null;
  let nothing: Float32Array | null = null;
  return {
    heard(model, scores) {
      of = model;
      lastRun = scores;
      nothing = null;
    },
    scores(model) {
      if (of !== model) {
        of = model;
        lastRun = null;
        nothing = null;
      }
      // Another array after each run: who was given the one before may have kept it.
      nothing ??= Float32Array.from(model.labels, (label) =>
        isSilence(label) ? (lastRun?.[label.index] ?? 0) : 0,
      );
      return nothing;
    },
  };
}
