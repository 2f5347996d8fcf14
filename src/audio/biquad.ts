/** A second-order section: (b0 + b1·z⁻¹ + b2·z⁻²) / (1 + a1·z⁻¹ + a2·z⁻²). */
export interface Section {
  readonly b0: number;
  readonly b1: number;
  readonly b2: number;
  readonly a1: number;
  readonly a2: number;
}

/** A second-order section at work on a stream of mono samples. */
export interface Biquad {
  /** Filters the next samples in place. Samples that are not finite count as 0. Allocates nothing. */
  process(samples: Float32Array): void;
  /** The sound begins anew: what came before is forgotten. */
  reset(): void;
}

/**
 * Below this the state of a filter is nothing. In digital silence it would else decay into denormal numbers, on which
 * processors are many times slower, and could stay there.
 */
export const NOTHING = 1e-30;

/** A section in the transposed direct form II, with its state in double precision. */
export function createBiquad({ b0, b1, b2, a1, a2 }: Section): Biquad {
  const state = new Float64Array(2);
  return {
    process(samples) {
      let s1 = state[0]!;
      let s2 = state[1]!;
      for (let i = 0; i < samples.length; i += 1) {
        const sample = samples[i]!;
        const x = Math.abs(sample) < Infinity ? sample : 0;
        const y = b0 * x + s1;
        s1 = b1 * x - a1 * y + s2;
        s2 = b2 * x - a2 * y;
        samples[i] = y;
      }
      state[0] = Math.abs(s1) < NOTHING ? 0 : s1;
      state[1] = Math.abs(s2) < NOTHING ? 0 : s2;
    },
    reset: () => void state.fill(0),
  };
}

/**
 * A Butterworth high-pass of the second order, 12 dB per octave, -3.01 dB at the corner: the high-pass of Robert
 * Bristow-Johnson's "Audio EQ Cookbook" (https://www.w3.org/TR/audio-eq-cookbook/) with Q = 1/√2, which is the bilinear
 * transform of s²/(s² + √2·s + 1), prewarped to the corner.
 *
 * Throws a RangeError unless the corner lies between 0 and half of the sample rate.
 */
export function butterworthHighpass(cornerHz: number, sampleRateHz: number): Section {
  if (!(cornerHz > 0 && cornerHz < sampleRateHz / 2)) {
    throw new RangeError(`no high-pass at ${cornerHz} Hz for sound of ${sampleRateHz} Hz`);
  }
  const angle = (2 * Math.PI * cornerHz) / sampleRateHz;
  const alpha = Math.sin(angle) * Math.SQRT1_2;
  const scale = 1 / (1 + alpha);
  const b0 = ((1 + Math.cos(angle)) / 2) * scale;
  return { b0, b1: -2 * b0, b2: b0, a1: -2 * Math.cos(angle) * scale, a2: (1 - alpha) * scale };
}
