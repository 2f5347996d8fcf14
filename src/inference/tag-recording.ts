import { decodeChunks, type DecodedChunk, type DecodeOptions } from '../audio/decode.js';
import { createStreamResampler } from '../audio/resample.js';
import { createRing } from '../audio/ring.js';
import { SoundpostError } from '../common/errors.js';
import { windowStep } from '../models/manifest.js';
import type { InferenceEngine } from './engine.js';
import { ownWindowSamples } from './full-window.js';

/** The scores of one window of a recording. */
export interface RecordingWindow {
  /** Seconds since the beginning of the recording. */
  startSeconds: number;
  endSeconds: number;
  /** Float32Array, [labels], 0 … 1. */
  scores: Float32Array;
}

/** Enough to push the last samples out of the resampler's filter. */
const FLUSH_SECONDS = 0.1;

/**
 * Tags a recording of any length, window by window: full windows one hop apart, the last one ending with the
 * recording; a recording shorter than a window is one window of its own length (to the last whole `windowStep`).
 * Reads, converts (in the best quality) and infers as it goes, so memory does not depend on the length.
 *
 * @param hopSeconds step between two windows
 * @returns how long the recording is, and what was odd about the file
 *
 * Throws what `decodeChunks` and the engine throw, and SoundpostError `audio_too_short`.
 */
export async function* tagRecording(
  engine: InferenceEngine,
  path: string,
  options: DecodeOptions & { hopSeconds: number },
): AsyncGenerator<RecordingWindow, { durationSeconds: number; warnings: string[] }, void> {
  const chunks = decodeChunks(path, options);
  try {
    return yield* tagChunks(engine, chunks, { name: path, hopSeconds: options.hopSeconds });
  } finally {
    // Where the engine fails the file is still open.
    await chunks.return([]);
  }
}

/**
 * The same for sound that comes in chunks: a recording, or a part of one.
 * @param options.name what messages call it
 */
export async function* tagChunks(
  engine: InferenceEngine,
  chunks: AsyncGenerator<DecodedChunk, string[], void>,
  options: { name: string; hopSeconds: number },
): AsyncGenerator<RecordingWindow, { durationSeconds: number; warnings: string[] }, void> {
  const { input } = engine.model.manifest;
  const rate = input.sample_rate;
  const windowSamples = ownWindowSamples(input);
  const hopSamples = Math.max(1, Math.round(options.hopSeconds * rate));
  const ring = createRing(windowSamples + rate);
  const scratch = new Float32Array(windowSamples);
  let sentUpTo = -1;
  let lastEnd = 0;

  const infer = async (start: number, end: number): Promise<RecordingWindow> => {
    // The engine keeps what it has been sent: windows that overlap only send what is new.
    const continues = sentUpTo >= start && sentUpTo <= end;
    const from = continues ? sentUpTo : start;
    const samples = scratch.subarray(0, end - from);
    ring.read(from, end, samples);
    sentUpTo = end;
    lastEnd = end;
    const { scores } = await engine.infer({ samples, reset: !continues, windowSamples: end - start });
    return { startSeconds: start / rate, endSeconds: end / rate, scores };
  };

  let nextEnd = windowSamples;
  async function* append(samples: Float32Array): AsyncGenerator<RecordingWindow, void, void> {
    // Never so much at once that a window is overwritten before it is read.
    for (let at = 0; at < samples.length; at += rate) {
      ring.append(samples.subarray(at, at + rate));
      for (; nextEnd <= ring.position; nextEnd += hopSamples) {
        yield await infer(nextEnd - windowSamples, nextEnd);
      }
    }
  }

  let resampler: Awaited<ReturnType<typeof createStreamResampler>> | null = null;
  let sourceRate = rate;
  let sourceSamples = 0;
  let warnings: string[];
  for (;;) {
    const next = await chunks.next();
    if (next.done === true) {
      warnings = next.value;
      break;
    }
    sourceRate = next.value.sampleRate;
    resampler ??= await createStreamResampler(sourceRate, rate, 'best');
    sourceSamples += next.value.samples.length;
    yield* append(resampler.process(next.value.samples));
  }

  const total = Math.round((sourceSamples * rate) / sourceRate);
  const silence = new Float32Array(Math.ceil(sourceRate * FLUSH_SECONDS));
  while (resampler !== null && ring.position < total) {
    yield* append(resampler.process(silence).subarray(0, total - ring.position));
  }
  const durationSeconds = sourceSamples / sourceRate;
  if (total < windowSamples) {
    if (durationSeconds < input.min_seconds) {
      throw new SoundpostError(
        'audio_too_short',
        `${options.name} lasts ${durationSeconds.toFixed(2)} s; ${engine.model.manifest.id} needs at least ${input.min_seconds} s`,
      );
    }
    if (engine.fixedWindow) {
      // The network takes nothing but full windows: silence fills this one up.
      ring.append(new Float32Array(windowSamples - total));
      yield { ...(await infer(0, windowSamples)), endSeconds: durationSeconds };
    } else {
      // Where the length has to fit, the last milliseconds that do not are left out.
      yield await infer(0, total - (total % windowStep(input)));
    }
  } else if (lastEnd < total) {
    yield await infer(total - windowSamples, total);
  }
  return { durationSeconds, warnings };
}
