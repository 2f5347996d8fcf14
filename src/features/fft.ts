import type { Pffft } from '@echogarden/pffft-wasm';
import { messageOf, SoundpostError } from '../common/errors.js';

/** A forward FFT of real input for one size. Its buffers live as long as it does: nothing is copied. */
export interface RealFft {
  readonly size: number;
  /** Whether it runs with WebAssembly SIMD. */
  readonly simd: boolean;
  /** [size]: write the signal here. `transform` leaves it as it is. */
  readonly input: Float32Array | Float64Array;
  /**
   * [size]: the unscaled spectrum as pairs of real and imaginary part. Pair 0 holds the two purely
   * real bins, 0 and size / 2; pair k holds bin k.
   */
  readonly output: Float32Array | Float64Array;
  transform(): void;
}

/** Whether PFFFT has a real transform of this size: a multiple of 32 with no prime factor above 5. */
export function isFftSize(size: number): boolean {
  if (!Number.isInteger(size) || size < 32 || size % 32 !== 0) return false;
  let rest = size;
  for (const factor of [2, 3, 5]) while (rest % factor === 0) rest /= factor;
  return rest === 1;
}

/**
 * PFFFT (single precision) in WebAssembly, with SIMD where the machine has it.
 *
 * Every transform has an instance and so a memory of its own: no other user can make that memory grow, which
 * would detach `input` and `output`, and dropping the transform gives all of it back.
 *
 * Throws SoundpostError `bad_frontend` for a size without a transform and `fft_unavailable` where WebAssembly
 * itself fails.
 */
export async function createRealFft(size: number, options: { simd?: boolean } = {}): Promise<RealFft> {
  if (!isFftSize(size)) {
    throw new SoundpostError(
      'bad_frontend',
      `n_fft ${size} has no fast transform: it must be a multiple of 32 with no prime factor above 5, such as 512 or 1024`,
    );
  }
  const pffft = await loadPffft(options.simd ?? true);
  const bytes = size * Float32Array.BYTES_PER_ELEMENT;
  const setup = pffft._pffft_new_setup(size, 0);
  const inputAt = pffft._pffft_aligned_malloc(bytes);
  const outputAt = pffft._pffft_aligned_malloc(bytes);
  // Without a work area PFFFT takes the stack, which is too small for the longest transforms.
  const workAt = pffft._pffft_aligned_malloc(bytes);
  if (setup === 0 || inputAt === 0 || outputAt === 0 || workAt === 0) {
    throw new SoundpostError('fft_unavailable', `no memory for a Fourier transform of ${size} points`);
  }
  // Only now, after the last allocation, are the memory and the views on it final.
  const memory = pffft.HEAPF32.buffer;
  const input = new Float32Array(memory, inputAt, size).fill(0);
  const output = new Float32Array(memory, outputAt, size).fill(0);
  return {
    size,
    simd: pffft._pffft_simd_size() > 1,
    input,
    output,
    transform() {
      pffft._pffft_transform_ordered(setup, inputAt, outputAt, workAt, 0);
    },
  };
}

async function loadPffft(simd: boolean): Promise<Pffft> {
  // What fails is thrown; printing it as well would put it on the terminal of whoever started the process.
  const quiet = { print: () => undefined, printErr: () => undefined };
  if (simd) {
    try {
      const { default: load } = await import('@echogarden/pffft-wasm/simd');
      return await load({ ...quiet });
    } catch {
      // No SIMD on this machine: a reason to be slower, not to fail.
    }
  }
  try {
    const { default: load } = await import('@echogarden/pffft-wasm');
    return await load({ ...quiet });
  } catch (error) {
    throw new SoundpostError(
      'fft_unavailable',
      `the Fourier transform (@echogarden/pffft-wasm) cannot be loaded: ${messageOf(error)}; reinstall the dependencies`,
      { cause: error },
    );
  }
}
