import type { Ring } from '../audio/ring.js';
import { createRing } from '../audio/ring.js';
import { createStreamResampler, type ResampleQuality } from '../audio/resample.js';
import type { InferenceEngine, InferenceRequest } from './engine.js';
import { cutFrames, type FrameCut } from './frame-cut.js';
import { frameStep, fullWindowSamples, ownWindowSamples, windowGrid } from './full-window.js';

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
  /** From one place where a full window may end to the next, where the network is a stream; 0 where it is none. */
  readonly gridSeconds: number;
  /**
   * Where a window has come in (capture position) that was to end at `capturePosition`, and ends at the last place before
   * it on the grid. The same where there is no grid, and for windows that still grow.
   */
  onGrid(capturePosition: number): number;
  /** Capture samples, mono, that join what was appended before. */
  append(samples: Float32Array): void;
  /**
   * The request for the window that ends at `capturePosition` (in capture samples since `begin`); `too_early`
   * where there is not enough sound for one yet, `gone` where it is no longer kept. The samples are a view that
   * is valid until the next call.
   *
   * @param takenUntil up to which capture position frames were taken before: those behind it are wanted
   * @param options.isLast no more sound will come, so that no frame has to wait for what is behind it
   * @param options.onGrid a full window ends on the grid, at the last place before `capturePosition`
   */
  request(
    capturePosition: number,
    takenUntil: number,
    options?: { isLast?: boolean; onGrid?: boolean },
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
  const columnStep = frameStep(input);
  const grid = windowGrid(input);
  const owner = { manifest: engine.model.manifest, fixedWindow: engine.fixedWindow };
  const windowSamples = fullWindowSamples(owner, options.windowSeconds);
  const streamGrid = engine.stream?.windowSamples === windowSamples ? engine.stream.gridSamples : 0;
  const minSamples = engine.fixedWindow
    ? windowSamples
    : Math.min(windowSamples, Math.ceil((input.min_seconds * rate) / grid) * grid);
  const capacity = windowSamples + Math.ceil(options.slackSeconds * rate);
  const ring: Ring = createRing(capacity);
  const scratch = new Float32Array(windowSamples);
  const resampler = await createStreamResampler(captureRate, rate, options.quality);
  const startPosition = options.startPosition();
  let sentUpTo = -1;
  /** How much sound the engine keeps of this stream, see `InferenceRequest.windowSamples`. */
  let keptSamples = ownWindowSamples(input);
  let appended = 0;
  /** How far the sound at the model's rate has been behind what was appended, at most: what the resampler holds back. */
  let behind = 0;
  const { frames } = engine.model.manifest.output;

  const toStreamGrid = (samples: number) => windowSamples + toGrid(samples - windowSamples, streamGrid);

  return {
    engine,
    windowSamples,
    windowSeconds: windowSamples / rate,
    memorySeconds: frames?.lookback_seconds ?? windowSamples / rate,
    contextSeconds: frames?.context_seconds ?? 0,
    gridSeconds: streamGrid / rate,
    onGrid(capturePosition) {
      const wanted = ((capturePosition - startPosition) * rate) / captureRate - behind;
      if (streamGrid === 0 || wanted < windowSamples) return capturePosition;
      const end = toStreamGrid(wanted);
      return Math.min(capturePosition, startPosition + Math.ceil(((end + behind) * captureRate) / rate));
    },
    append(samples) {
      ring.append(resampler.process(samples));
      appended += samples.length;
      behind = Math.max(behind, Math.ceil((appended * rate) / captureRate - ring.position));
    },
    request(capturePosition, takenUntil, { isLast = false, onGrid = false } = {}) {
      const wanted = Math.round(((capturePosition - startPosition) * rate) / captureRate);
      const latest = Math.min(wanted, ring.position);
      const canStream = onGrid && streamGrid > 0 && latest >= windowSamples;
      const end = canStream ? toStreamGrid(latest) : toGrid(latest, grid);
      const start = Math.max(0, end - windowSamples);
      if (end - start < minSamples) return 'too_early';
      if (start < ring.oldest) return 'gone';
      // A window that grows at the start still begins at sample 0; one that slides continues what was sent.
      const continues = sentUpTo >= start && sentUpTo <= end && end - start <= keptSamples;
      if (!continues) keptSamples = Math.max(keptSamples, end - start);
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
        onGrid: canStream,
        frames: cut === null ? undefined : { from: cut.from, to: cut.to },
        ...window,
        cut,
        newColumns: input.kind === 'waveform' ? 0 : Math.floor(samples.length / columnStep),
      };
    },
  };
}

function toGrid(samples: number, grid: number): number {
  return Math.floor(samples / grid) * grid;
}
