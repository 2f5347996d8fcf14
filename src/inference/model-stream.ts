import type { Ring } from '../audio/ring.js';
import { createRing } from '../audio/ring.js';
import { createStreamResampler, type ResampleQuality } from '../audio/resample.js';
import { windowStep } from '../models/manifest.js';
import type { InferenceEngine, InferenceRequest } from './engine.js';
import { cutFrames, type FrameCut } from './frame-cut.js';

/**
 * One engine's own view of the sound: the capture stream at the model's rate, cut into the requests the engine
 * wants. It remembers what the engine has been sent, so that a hop only sends what is new.
 */
export interface ModelStream {
  readonly engine: InferenceEngine;
  /** Length of a full window, in samples at the model's rate. */
  readonly windowSamples: number;
  /** Seconds of a full window. */
  readonly windowSeconds: number;
  /**
   * For how many seconds more what has been told of may change what is told: as long as frames are looked at once more,
   * and as the whole window where there are none.
   */
  readonly memorySeconds: number;
  /** How many seconds of sound have to follow a moment before it can be told of. */
  readonly contextSeconds: number;
  /** Capture samples, mono, that join what was appended before. */
  append(samples: Float32Array): void;
  /**
   * The request for the window that ends at `capturePosition` (in capture samples since `begin`); `too_early`
   * where there is not enough sound for one yet, `gone` where it is no longer kept. The samples are a view that
   * is valid until the next call.
   *
   * @param takenUntil up to which capture position frames were taken before: those behind it are wanted
   * @param isLast no more sound will come, so that no frame has to wait for what is behind it
   */
  request(
    capturePosition: number,
    takenUntil: number,
    isLast?: boolean,
  ): StreamRequest | 'too_early' | 'gone';
}

/** A request, and where its window lies in the stream, in seconds since `begin`. */
export interface StreamRequest extends InferenceRequest {
  readonly startSeconds: number;
  readonly endSeconds: number;
  /** The wanted frames; null where none is new, and where the model has none. */
  readonly cut: FrameCut | null;
  /** How many columns of the log-mel are new with it; 0 where there is none. */
  readonly newColumns: number;
}

/**
 * @param startPosition the capture position of the first sample that will be appended; asked once, at the end,
 * when it no longer changes before the first `append`
 * @param slackSeconds how much longer than a window sound is kept, for windows that wait in the queue
 */
export async function createModelStream(options: {
  engine: InferenceEngine;
  captureRate: number;
  startPosition: () => number;
  windowSeconds: number | null;
  slackSeconds: number;
  quality: ResampleQuality;
}): Promise<ModelStream> {
  const { engine, captureRate } = options;
  const { input } = engine.model.manifest;
  const rate = input.sample_rate;
  // Windows move by whole frames, so that the frames between two windows stay the same, and have a length that fits.
  const frameStep = input.kind === 'waveform' ? 1 : input.frontend.hop_length;
  const grid = Math.max(frameStep, windowStep(input));
  const windowSamples = toGrid(windowSecondsOf(engine, options.windowSeconds) * rate, grid);
  const minSamples = engine.fixedWindow
    ? windowSamples
    : Math.min(windowSamples, Math.ceil((input.min_seconds * rate) / grid) * grid);
  const capacity = windowSamples + Math.ceil(options.slackSeconds * rate);
  const ring: Ring = createRing(capacity);
  const scratch = new Float32Array(windowSamples);
  const resampler = await createStreamResampler(captureRate, rate, options.quality);
  const startPosition = options.startPosition();
  let sentUpTo = -1;
  const { frames } = engine.model.manifest.output;

  return {
    engine,
    windowSamples,
    windowSeconds: windowSamples / rate,
    memorySeconds: frames?.lookback_seconds ?? windowSamples / rate,
    contextSeconds: frames?.context_seconds ?? 0,
    append(samples) {
      ring.append(resampler.process(samples));
    },
    request(capturePosition, takenUntil, isLast = false) {
      const wanted = Math.round(((capturePosition - startPosition) * rate) / captureRate);
      const end = toGrid(Math.min(wanted, ring.position), grid);
      const start = Math.max(0, end - windowSamples);
      if (end - start < minSamples) return 'too_early';
      if (start < ring.oldest) return 'gone';
      // A window that grows at the start still begins at sample 0; one that slides continues what was sent.
      const continues = sentUpTo >= start && sentUpTo <= end;
      const from = continues ? sentUpTo : start;
      const samples = scratch.subarray(0, end - from);
      ring.read(from, end, samples);
      sentUpTo = end;
      const origin = startPosition / captureRate;
      const window = { startSeconds: origin + start / rate, endSeconds: origin + end / rate };
      const spec = engine.model.manifest.output.frames;
      const cut = spec === null ? null : cutFrames(spec, window, takenUntil / captureRate, isLast);
      return {
        samples,
        reset: !continues,
        windowSamples: end - start,
        frames: cut === null ? undefined : { from: cut.from, to: cut.to },
        ...window,
        cut,
        newColumns: input.kind === 'waveform' ? 0 : Math.floor(samples.length / frameStep),
      };
    },
  };
}

/** The window in force for a model, in seconds: the configured one where the network takes any length. */
export function windowSecondsOf(engine: InferenceEngine, configured: number | null): number {
  const { input } = engine.model.manifest;
  if (configured === null || engine.fixedWindow) return input.window_seconds;
  return Math.max(configured, input.min_seconds);
}

function toGrid(samples: number, grid: number): number {
  return Math.floor(samples / grid) * grid;
}
