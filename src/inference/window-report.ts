import { isSilence } from '../models/labels.js';
import type { InstalledModel } from '../models/registry.js';
import type { ComputedAs, InferenceEngine, InferenceResult } from './engine.js';
import type { ModelStream, StreamRequest } from './model-stream.js';
import type { LearntHead } from './learnt-heads.js';
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
  /** Float32Array, [labels], 0 … 1: those of the model's labels, and behind them one for each of `heads`. */
  scores: Float32Array;
  /** What is learnt that stands behind the labels of the model: the same list as long as it does not change. */
  heads: readonly LearntHead[];
  /** Float32Array, [heads], 0 … 1: their scores, a view of `scores`. */
  learnt: Float32Array;
  /**
   * Float32Array, [pieces × features]: the embeddings of the frames that are new with it, or that of the window for a
   * model without embeddings of frames. Null but where a sample was due, see `Learning.setBackground`.
   */
  embedding: Float32Array | null;
  /** How many embeddings those are. */
  pieces: number;
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
  /** How the network was computed; null where it was not run. */
  computedAs: ComputedAs | null;
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
    heads: readonly LearntHead[],
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
      const { scores, heads, featuresMs, inferenceMs } = result;
      const answeredAt = performance.now();
      nothing.heard(engine.model, scores);
      // On the grid of a stream a window may end well before it was due.
      const earlyMs = (1000 * window.position) / sound.captureRate - 1000 * request.endSeconds;
      const endMs = request.onGrid === true ? window.endMs - earlyMs : window.endMs;
      return {
        source,
        seq,
        model: engine.model,
        startMs: endMs - (request.endSeconds - request.startSeconds) * 1000,
        endMs,
        scores,
        heads,
        learnt: scores.subarray(scores.length - heads.length),
        ...sampleOf(request, result),
        fresh: takeFresh(engine, window, request, result),
        arrivedAt: window.arrivedAt,
        answeredAt,
        queueMs: Math.max(0, answeredAt - window.arrivedAt - featuresMs - inferenceMs),
        featuresMs,
        inferenceMs,
        idle: false,
        computedAs: result.computedAs ?? 'whole',
      };
    },
    silence(seq, { model }, window, { windowSeconds, contextSeconds }, heads) {
      const { captureRate } = sound;
      const noScores = nothing.scores(model, heads.length);
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
        heads,
        learnt: noScores.subarray(model.labels.length),
        embedding: null,
        pieces: 0,
        fresh,
        arrivedAt: window.arrivedAt,
        answeredAt,
        queueMs: answeredAt - window.arrivedAt,
        featuresMs: 0,
        inferenceMs: 0,
        idle: true,
        computedAs: null,
      };
    },
  };
}

/** Of the frames that were asked for, those that are new. */
function sampleOf(
  { cut }: StreamRequest,
  { embeddings, pieces }: InferenceResult,
): Pick<WindowResult, 'embedding' | 'pieces'> {
  const before = cut === null ? 0 : Math.min(pieces, cut.fresh - cut.from);
  if (embeddings === null || before === pieces) return { embedding: null, pieces: 0 };
  const from = (before * embeddings.length) / pieces;
  return { embedding: embeddings.subarray(from), pieces: pieces - before };
}

/**
 * The scores of silence: 0, but for those labels that mean silence, which stay what the last run said of them. Else
 * “Silence” would begin and end with every run in a quiet room.
 */
function createNothing(): {
  heard(model: InstalledModel, scores: Float32Array): void;
  scores(model: InstalledModel, heads: number): Float32Array;
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
    scores(model, heads) {
      const width = model.labels.length + heads;
      if (of !== model) {
        of = model;
        lastRun = null;
        nothing = null;
      }
      // Another array after each run: who was given the one before may have kept it.
      if (nothing?.length === width) return nothing;
      nothing = new Float32Array(width);
      for (const label of model.labels) {
        if (isSilence(label)) nothing[label.index] = lastRun?.[label.index] ?? 0;
      }
      return nothing;
    },
  };
}
