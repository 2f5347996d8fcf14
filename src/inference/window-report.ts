import type { InstalledModel } from '../models/registry.js';
import type { InferenceEngine, InferenceResult } from './engine.js';
import type { StreamRequest } from './model-stream.js';
import { inMilliseconds, newFramesOf, type FreshFrames } from './new-frames.js';
import type { DueWindow } from './window-queue.js';

/** One answered window. */
export interface WindowResult {
  /** Counts every window that was due since the start; a gap is a dropped window. */
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
}

/** @param sound whose capture rate (Hz) positions are counted at */
export function createWindowReporter(sound: { readonly captureRate: number }): WindowReporter {
  let toldUntil = 0;

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
      return {
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
      };
    },
  };
}
