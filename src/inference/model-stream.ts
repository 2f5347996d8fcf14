import type { Ring } from '../audio/ring.js';
import { createRing } from '../audio/ring.js';
import { createStreamResampler, type ResampleQuality } from '../audio/resample.js';
import { windowStep } from '../models/manifest.js';
import type { InferenceEngine, InferenceRequest } from './engine.js';

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
  /** Capture samples, mono, that join what was appended before. */
  append(samples: Float32Array): void;
  /**
   * The request for the window that ends at `capturePosition` (in capture samples since `begin`); `too_early`
   * where there is not enough sound for one yet, `gone` where it is no longer kept. The samples are a view that
   * is valid until the next call.
   */
  request(capturePosition: number): InferenceRequest | 'too_early' | 'gone';
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

  return {
    engine,
    windowSamples,
    windowSeconds: windowSamples / rate,
    append(samples) {
      ring.append(resampler.process(samples));
    },
    request(capturePosition) {
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
      return { samples, reset: !continues, windowSamples: end - start };
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
