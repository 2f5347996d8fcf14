import type { Random } from '../../test/support/random.js';

/** A new list in another order (Fisher and Yates). */
export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const all = [...items];
  for (let last = all.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [all[last], all[other]] = [all[other]!, all[last]!];
  }
  return all;
}

/**
 * Noise with the same power in every octave and an RMS of 1: white noise through Paul Kellet's filter ("refined
 * method", musicdsp.org, within 0.05 dB from 9 Hz on at 44.1 kHz).
 */
export function pinkNoise(count: number, random: Random): Float32Array {
  const out = new Float32Array(count);
  const b = [0, 0, 0, 0, 0, 0, 0];
  let power = 0;
  for (let i = 0; i < count; i += 1) {
    const white = random() * 2 - 1;
    b[0] = 0.99886 * b[0]! + white * 0.0555179;
    b[1] = 0.99332 * b[1]! + white * 0.0750759;
    b[2] = 0.969 * b[2]! + white * 0.153852;
    b[3] = 0.8665 * b[3]! + white * 0.3104856;
    b[4] = 0.55 * b[4]! + white * 0.5329522;
    b[5] = -0.7616 * b[5]! - white * 0.016898;
    const value = b[0] + b[1] + b[2] + b[3] + b[4] + b[5] + b[6]! + white * 0.5362;
    b[6] = white * 0.115926;
    out[i] = value;
    power += value * value;
  }
  const scale = 1 / Math.sqrt(power / Math.max(1, count));
  for (let i = 0; i < count; i += 1) out[i]! *= scale;
  return out;
}
