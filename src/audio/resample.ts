import type { SpeexResampler } from '@echogarden/speex-resampler-wasm';
import { messageOf, SoundpostError } from '../common/errors.js';

/**
 * How much to spend. Measured for 48 to 32 kHz, in milliseconds of CPU per second of audio on one x86 core; what
 * passes is given for an output of 32 kHz, whose limit is 16 kHz, and scales with it:
 *
 * | quality | CPU | flat (0.1 dB) up to | at 15 kHz | aliases and noise below |
 * |---|---|---|---|---|
 * | `fast` | 0.8 ms | 13.9 kHz | -12.4 dB | -100 dB |
 * | `live` | 1.5 ms | 14.8 kHz | -0.5 dB | -110 dB |
 * | `best` | 4.3 ms | 15.2 kHz | 0 dB | -120 dB |
 *
 * Where the rates have no simple ratio (44.1 to 32 kHz) Speex interpolates its filter, at 5 times the price:
 * `live` then takes the filter of `fast`, for 3.6 ms. `best` costs 11 ms there.
 */
export type ResampleQuality = 'fast' | 'live' | 'best';

/** Turns a stream from one sample rate to another, chunk by chunk. */
export interface StreamResampler {
  /**
   * The next mono samples at the new rate. Output sample k is the signal at the time k / to, with no delay; what
   * the filter still needs more input for comes with a later chunk (2 to 10 ms). The result is a view that is
   * valid until the next call; where both rates are the same it is `chunk` itself.
   */
  process(chunk: Float32Array): Float32Array;
}

/** Speex's quality levels (0 … 10). */
const FAST = 5;
const LIVE = 8;
const BEST = 10;

/** Up to this denominator of the reduced ratio Speex has its filter ready for every phase. */
const SIMPLE_RATIO = 16;

const MAX_RATE = 1_000_000;

/** Input samples that pass through WebAssembly's memory at a time. */
const BLOCK = 8192;

/** The longest filter reaches this far: `best`, by the ratio of the rates where that is above 1. */
const LONGEST_FILTER = 256;

/**
 * A resampler (Speex, in WebAssembly with SIMD where the machine has it) for a stream of mono samples from
 * `from` to `to` Hz. Each has a memory of its own, which goes with it; `process` allocates nothing but the view it
 * returns once it has seen its largest chunk.
 *
 * Throws SoundpostError `bad_sample_rate`, `resampler_unavailable`.
 */
export async function createStreamResampler(
  from: number,
  to: number,
  quality: ResampleQuality,
  options: { simd?: boolean } = {},
): Promise<StreamResampler> {
  for (const rate of [from, to]) {
    if (!Number.isInteger(rate) || rate < 1 || rate > MAX_RATE) {
      throw new SoundpostError('bad_sample_rate', `${rate} Hz is not a sample rate that can be converted`);
    }
  }
  if (from === to) return { process: (chunk) => chunk };

  const speex = await loadSpeex(options.simd ?? true);
  // Some room: where the output does not fit, Speex keeps the input waiting.
  const mostOutput = Math.ceil((BLOCK * to) / from) + 16;
  const inputAt = speex._malloc(BLOCK * 4);
  const outputAt = speex._malloc(mostOutput * 4);
  const lengthsAt = speex._malloc(8);
  const state = speex._speex_resampler_init(1, from, to, levelOf(quality, from, to), lengthsAt);
  if (state === 0 || inputAt === 0 || outputAt === 0 || lengthsAt === 0) {
    throw new SoundpostError('resampler_unavailable', `no memory to convert ${from} Hz to ${to} Hz`);
  }
  speex._speex_resampler_skip_zeros(state);
  // Only now, after the last allocation, are the memory and the views on it final.
  const { buffer } = speex.HEAPF32;
  const input = new Float32Array(buffer, inputAt, BLOCK);
  const output = new Float32Array(buffer, outputAt, mostOutput);
  const lengths = new Uint32Array(buffer, lengthsAt, 2);
  let result = new Float32Array(mostOutput);

  /** Converts what is in `input`; the result is in `output`. */
  const convert = (samples: number): number => {
    lengths[0] = samples;
    lengths[1] = mostOutput;
    speex._speex_resampler_process_float(state, 0, inputAt, lengthsAt, outputAt, lengthsAt + 4);
    return lengths[1];
  };

  return {
    process(chunk) {
      if (chunk.length <= BLOCK) {
        input.set(chunk);
        return output.subarray(0, convert(chunk.length));
      }
      const blocks = Math.ceil(chunk.length / BLOCK);
      if (result.length < blocks * mostOutput) result = new Float32Array(blocks * mostOutput);
      let done = 0;
      for (let at = 0; at < chunk.length; at += BLOCK) {
        const block = chunk.subarray(at, at + BLOCK);
        input.set(block);
        const count = convert(block.length);
        result.set(count === mostOutput ? output : output.subarray(0, count), done);
        done += count;
      }
      return result.subarray(0, done);
    },
  };
}

/**
 * A whole recording at another rate, in the best quality: round(n·to/from) samples, the first at the time of the
 * first. Where both rates are the same, `samples` itself. Throws as `createStreamResampler`.
 */
export async function resampleWhole(samples: Float32Array, from: number, to: number): Promise<Float32Array> {
  const resampler = await createStreamResampler(from, to, 'best');
  if (from === to) return samples;
  const result = new Float32Array(Math.round((samples.length * to) / from));
  let done = 0;
  const take = (part: Float32Array) => {
    const fits = Math.min(part.length, result.length - done);
    result.set(part.subarray(0, fits), done);
    done += fits;
  };
  for (let at = 0; at < samples.length; at += BLOCK) {
    take(resampler.process(samples.subarray(at, at + BLOCK)));
  }
  // Silence pushes out what the filter still holds; it is never longer than its longest filter.
  const silence = new Float32Array(BLOCK);
  const longest = LONGEST_FILTER * Math.max(1, from / to);
  for (let pushed = 0; done < result.length && pushed <= longest; pushed += BLOCK) {
    take(resampler.process(silence));
  }
  return result;
}

function levelOf(quality: ResampleQuality, from: number, to: number): number {
  if (quality === 'best') return BEST;
  if (quality === 'fast') return FAST;
  return to / greatestCommonDivisor(from, to) <= SIMPLE_RATIO ? LIVE : FAST;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

async function loadSpeex(simd: boolean): Promise<SpeexResampler> {
  // What fails is thrown; printing it as well would put it on the terminal of whoever started the process.
  const quiet = { print: () => undefined, printErr: () => undefined };
  if (simd) {
    try {
      const { default: load } = await import('@echogarden/speex-resampler-wasm/simd');
      return await load({ ...quiet });
    } catch {
      // No SIMD on this machine: a reason to be slower, not to fail.
    }
  }
  try {
    const { default: load } = await import('@echogarden/speex-resampler-wasm');
    return await load({ ...quiet });
  } catch (error) {
    throw new SoundpostError(
      'resampler_unavailable',
      `the resampler (@echogarden/speex-resampler-wasm) cannot be loaded: ${messageOf(error)}; reinstall the dependencies`,
      { cause: error },
    );
  }
}
