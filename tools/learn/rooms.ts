import type { Random } from '../../test/support/random.js';

/**
 * An impulse response as a simple room has it: the direct sound, then noise that decays exponentially by 60 dB in
 * `rt60Seconds` (Moorer, "About this reverberation business", Computer Music Journal 3(2), 1979).
 * @param directDb how much louder the direct sound is than all of the rest
 */
export function roomResponse(
  { sampleRate, rt60Seconds, directDb }: { sampleRate: number; rt60Seconds: number; directDb: number },
  random: Random,
): Float32Array {
  const count = Math.max(1, Math.round(rt60Seconds * sampleRate));
  const response = new Float32Array(count);
  const decay = Math.log(1000) / (rt60Seconds * sampleRate);
  const gap = Math.round(0.004 * sampleRate);
  let energy = 0;
  for (let i = gap; i < count; i += 1) {
    response[i] = (random() * 2 - 1) * Math.exp(-decay * i);
    energy += response[i]! ** 2;
  }
  const scale = energy === 0 ? 0 : 10 ** (-directDb / 20) / Math.sqrt(energy);
  for (let i = gap; i < count; i += 1) response[i]! *= scale;
  response[0] = 1;
  return response;
}

/** The sound in a room, by convolution with its impulse response (overlap-add, radix-2 FFT); longer by the response. */
export function inRoom(sound: Float32Array, response: Float32Array): Float32Array {
  const size = 2 ** Math.ceil(Math.log2(2 * response.length + 1));
  const step = size - response.length + 1;
  const filterRe = new Float64Array(size);
  const filterIm = new Float64Array(size);
  filterRe.set(response);
  fft(filterRe, filterIm, false);
  const out = new Float32Array(sound.length + response.length - 1);
  const re = new Float64Array(size);
  const im = new Float64Array(size);
  for (let at = 0; at < sound.length; at += step) {
    re.fill(0);
    im.fill(0);
    re.set(sound.subarray(at, at + step));
    fft(re, im, false);
    for (let i = 0; i < size; i += 1) {
      const real = re[i]! * filterRe[i]! - im[i]! * filterIm[i]!;
      im[i] = re[i]! * filterIm[i]! + im[i]! * filterRe[i]!;
      re[i] = real;
    }
    fft(re, im, true);
    const end = Math.min(size, out.length - at);
    for (let i = 0; i < end; i += 1) out[at + i]! += re[i]!;
  }
  return out;
}

/** In place; sizes are powers of two (Cooley and Tukey, 1965). */
function fft(re: Float64Array, im: Float64Array, inverse: boolean): void {
  const size = re.length;
  for (let i = 1, j = 0; i < size; i += 1) {
    let bit = size >> 1;
    for (; (j & bit) !== 0; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j]!, re[i]!];
      [im[i], im[j]] = [im[j]!, im[i]!];
    }
  }
  for (let half = 1; half < size; half *= 2) {
    const angle = ((inverse ? 1 : -1) * Math.PI) / half;
    const stepRe = Math.cos(angle);
    const stepIm = Math.sin(angle);
    for (let begin = 0; begin < size; begin += 2 * half) {
      let turnRe = 1;
      let turnIm = 0;
      for (let i = begin; i < begin + half; i += 1) {
        const otherRe = re[i + half]! * turnRe - im[i + half]! * turnIm;
        const otherIm = re[i + half]! * turnIm + im[i + half]! * turnRe;
        re[i + half] = re[i]! - otherRe;
        im[i + half] = im[i]! - otherIm;
        re[i]! += otherRe;
        im[i]! += otherIm;
        const next = turnRe * stepRe - turnIm * stepIm;
        turnIm = turnRe * stepIm + turnIm * stepRe;
        turnRe = next;
      }
    }
  }
  if (!inverse) return;
  for (let i = 0; i < size; i += 1) {
    re[i]! /= size;
    im[i]! /= size;
  }
}
