import { createFrontend } from '../features/frontend.js';
import { createStreamingLogMel } from '../features/streaming.js';
import type { Manifest } from '../models/manifest.js';
import { createSampleWindow } from './window.js';

/** The network's input, kept up to date from hop to hop. */
export interface ModelInput {
  /** The longest window it can give, in samples. */
  readonly maxWindowSamples: number;
  reset(): void;
  push(samples: Float32Array): void;
  /**
   * The tensor for the window of `windowSamples` samples that ends with the last one pushed. For windows of
   * the same length `data` is the same object with new content.
   */
  tensor(windowSamples: number): { data: Float32Array; dims: number[] };
}

/**
 * Makes the network's input as the manifest describes it: [1, samples] of the waveform, or a streaming log-mel
 * [1, 1, frames, mels] (NCTF) or [1, 1, mels, frames] (NCFT).
 */
export async function createModelInput(
  input: Manifest['input'],
  maxWindowSamples: number,
): Promise<ModelInput> {
  if (input.kind === 'waveform') {
    const window = createSampleWindow(maxWindowSamples);
    return {
      maxWindowSamples,
      reset: () => window.reset(),
      push: (samples) => window.push(samples),
      tensor: (windowSamples) => ({ data: window.last(windowSamples), dims: [1, windowSamples] }),
    };
  }
  const frontend = await createFrontend(input.frontend, input.sample_rate);
  const stream = createStreamingLogMel(frontend, { maxWindowSamples, layout: input.layout });
  const mels = input.frontend.n_mels;
  return {
    maxWindowSamples,
    reset: () => stream.reset(),
    push: (samples) => stream.push(samples),
    tensor(windowSamples) {
      const { data, frames } = stream.logMel(windowSamples);
      return { data, dims: input.layout === 'NCTF' ? [1, 1, frames, mels] : [1, 1, mels, frames] };
    },
  };
}
