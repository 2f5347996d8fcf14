import { createFrontend, type Frontend } from '../features/frontend.js';
import { createStreamingLogMel, type LogMel } from '../features/streaming.js';
import type { Manifest } from '../models/manifest.js';
import type { LogMelColumns } from './engine.js';
import { createSampleWindow } from './window.js';

/** What one input of the graph is fed with. */
export interface InputTensor {
  /** Of the graph's input. */
  readonly name: string;
  readonly data: Float32Array;
  readonly dims: readonly number[];
  /** The axis of `dims` that grows with the window. */
  readonly timeAxis: number;
}

/** The network's inputs, kept up to date from hop to hop. */
export interface ModelInput {
  /** The longest window it can give, in samples. */
  readonly maxWindowSamples: number;
  reset(): void;
  push(samples: Float32Array): void;
  /**
   * One tensor for each input, for the window of `windowSamples` samples that ends with the last one pushed. For
   * windows of the same length `data` is the same object with new content.
   */
  tensors(windowSamples: number): readonly InputTensor[];
  /** The newest columns of the log-mel that `tensors` gave last, as a copy; null where there is none. */
  columns(count: number): LogMelColumns | null;
}

interface Part {
  reset(): void;
  push(samples: Float32Array): void;
  tensor(windowSamples: number): InputTensor;
  columns?(count: number): LogMelColumns | null;
}

/**
 * The way to make the network's inputs, once for each stream of sound, as the manifest describes them: [1, samples] of
 * the waveform, a streaming log-mel [1, 1, frames, mels] (NCTF) or [1, 1, mels, frames] (NCFT), or both of the same
 * window. The filter bank and the FFT are there once for all streams.
 */
export async function prepareModelInputs(
  input: Manifest['input'],
): Promise<(maxWindowSamples: number) => ModelInput> {
  if (input.kind === 'waveform') {
    return (maxWindowSamples) => joined(maxWindowSamples, [createWaveformPart(input.name, maxWindowSamples)]);
  }
  const frontend = await createFrontend(input.frontend, input.sample_rate);
  return (maxWindowSamples) => {
    const parts = [createLogMelPart(input, frontend, maxWindowSamples)];
    if (input.kind === 'waveform_log_mel')
      parts.push(createWaveformPart(input.waveform_name, maxWindowSamples));
    return joined(maxWindowSamples, parts);
  };
}

function joined(maxWindowSamples: number, parts: readonly Part[]): ModelInput {
  return {
    maxWindowSamples,
    reset() {
      for (const part of parts) part.reset();
    },
    push(samples) {
      for (const part of parts) part.push(samples);
    },
    tensors: (windowSamples) => parts.map((part) => part.tensor(windowSamples)),
    columns: (count) =>
      parts.map((part) => part.columns?.(count) ?? null).find((found) => found !== null) ?? null,
  };
}

function createWaveformPart(name: string, maxWindowSamples: number): Part {
  const window = createSampleWindow(maxWindowSamples);
  return {
    reset: () => window.reset(),
    push: (samples) => window.push(samples),
    tensor: (windowSamples) => ({
      name,
      data: window.last(windowSamples),
      dims: [1, windowSamples],
      timeAxis: 1,
    }),
  };
}

function createLogMelPart(
  input: Exclude<Manifest['input'], { kind: 'waveform' }>,
  frontend: Frontend,
  maxWindowSamples: number,
): Part {
  const { name, layout } = input;
  const stream = createStreamingLogMel(frontend, { maxWindowSamples, layout });
  const mels = input.frontend.n_mels;
  const columnMs = (1000 * input.frontend.hop_length) / input.sample_rate;
  let latest: LogMel | null = null;
  return {
    reset: () => stream.reset(),
    push: (samples) => stream.push(samples),
    tensor(windowSamples) {
      latest = stream.logMel(windowSamples);
      const { data, frames } = latest;
      return layout === 'NCTF'
        ? { name, data, dims: [1, 1, frames, mels], timeAxis: 2 }
        : { name, data, dims: [1, 1, mels, frames], timeAxis: 3 };
    },
    columns(count) {
      if (latest === null) return null;
      const { data, frames } = latest;
      const first = Math.max(0, frames - count);
      const values = layout === 'NCTF' ? data.slice(first * mels) : turned(data, { mels, frames, first });
      return { bands: mels, columnMs, values };
    },
  };
}

/** Rows of mels as columns, from column `first` on. */
function turned(
  data: Float32Array,
  { mels, frames, first }: { mels: number; frames: number; first: number },
): Float32Array {
  const values = new Float32Array((frames - first) * mels);
  for (let mel = 0; mel < mels; mel += 1) {
    for (let frame = first; frame < frames; frame += 1) {
      values[(frame - first) * mels + mel] = data[mel * frames + frame]!;
    }
  }
  return values;
}
