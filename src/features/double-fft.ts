import { SoundpostError } from '../common/errors.js';
import type { RealFft } from './fft.js';

/**
 * A forward FFT of real input in double precision, for powers of two from 8: several times slower than PFFFT,
 * and needed only where the original worked in double precision (numpy) and a network saw bands 70 dB below others
 * without the noise of a float32 transform. A complex radix-2 transform (Cooley and Tukey, 1965) of half the size,
 * then the usual separation of even and odd samples.
 *
 * Throws SoundpostError `bad_frontend` for another size.
 */
export function createDoubleRealFft(size: number): RealFft {
  if (!isPowerOfTwo(size) || size < 8) {
    throw new SoundpostError('bad_frontend', `n_fft ${size} is not a power of two, such as 512 or 1024`);
  }
  const half = size / 2;
  const input = new Float64Array(size);
  const output = new Float64Array(size);
  const re = new Float64Array(half);
  const im = new Float64Array(half);
  const source = bitReversed(half);
  // e^(-2πik/size); the transform of half the size takes every second one.
  const cos = Float64Array.from({ length: half }, (_, k) => Math.cos((2 * Math.PI * k) / size));
  const sin = Float64Array.from({ length: half }, (_, k) => -Math.sin((2 * Math.PI * k) / size));

  /** The first two stages at once: their factors are 1 and -i, which take no multiplication. */
  function loadFours(): void {
    for (let i = 0; i < half; i += 4) {
      const at0 = 2 * source[i]!;
      const at1 = 2 * source[i + 1]!;
      const at2 = 2 * source[i + 2]!;
      const at3 = 2 * source[i + 3]!;
      const sumRe = input[at0]! + input[at1]!;
      const sumIm = input[at0 + 1]! + input[at1 + 1]!;
      const differenceRe = input[at0]! - input[at1]!;
      const differenceIm = input[at0 + 1]! - input[at1 + 1]!;
      const otherSumRe = input[at2]! + input[at3]!;
      const otherSumIm = input[at2 + 1]! + input[at3 + 1]!;
      const turnedRe = input[at2 + 1]! - input[at3 + 1]!;
      const turnedIm = input[at3]! - input[at2]!;
      re[i] = sumRe + otherSumRe;
      im[i] = sumIm + otherSumIm;
      re[i + 1] = differenceRe + turnedRe;
      im[i + 1] = differenceIm + turnedIm;
      re[i + 2] = sumRe - otherSumRe;
      im[i + 2] = sumIm - otherSumIm;
      re[i + 3] = differenceRe - turnedRe;
      im[i + 3] = differenceIm - turnedIm;
    }
  }

  function transformHalf(): void {
    loadFours();
    for (let span = 4; span < half; span *= 2) {
      const twiddleStep = half / span;
      for (let group = 0; group < half; group += 2 * span) {
        for (let k = 0; k < span; k += 1) {
          const a = group + k;
          const b = a + span;
          const c = cos[k * twiddleStep]!;
          const s = sin[k * twiddleStep]!;
          const otherRe = re[b]!;
          const otherIm = im[b]!;
          const turnedRe = otherRe * c - otherIm * s;
          const turnedIm = otherRe * s + otherIm * c;
          const keptRe = re[a]!;
          const keptIm = im[a]!;
          re[b] = keptRe - turnedRe;
          im[b] = keptIm - turnedIm;
          re[a] = keptRe + turnedRe;
          im[a] = keptIm + turnedIm;
        }
      }
    }
  }

  return {
    size,
    simd: false,
    input,
    output,
    transform() {
      transformHalf();
      output[0] = re[0]! + im[0]!;
      output[1] = re[0]! - im[0]!;
      for (let k = 1; k < half; k += 1) {
        const mirror = half - k;
        const evenRe = (re[k]! + re[mirror]!) / 2;
        const evenIm = (im[k]! - im[mirror]!) / 2;
        const oddRe = (im[k]! + im[mirror]!) / 2;
        const oddIm = (re[mirror]! - re[k]!) / 2;
        output[2 * k] = evenRe + oddRe * cos[k]! - oddIm * sin[k]!;
        output[2 * k + 1] = evenIm + oddRe * sin[k]! + oddIm * cos[k]!;
      }
    },
  };
}

export function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value));
}

/** For each place the index whose bits are the place's in reverse. */
function bitReversed(length: number): Uint32Array {
  const reversed = new Uint32Array(length);
  for (let i = 1; i < length; i += 1) reversed[i] = (reversed[i >> 1]! >> 1) + (i % 2 === 1 ? length / 2 : 0);
  return reversed;
}
