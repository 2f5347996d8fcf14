import { NOTHING, type Section } from './biquad.js';

/** Hz; the poles of the A-weighting, IEC 61672-1:2013, annex E (the first and the last one are double). */
const F1 = 20.598997;
const F2 = 107.65265;
const F3 = 737.86223;
const F4 = 12194.217;

/** Where the weighting is 0 dB by definition. */
const REFERENCE_HZ = 1000;

/** The highest frequency of the standard's table. */
const HIGHEST_HZ = 20_000;

/** The last section is exact at the reference and at these shares of the highest frequency that there is. */
const EXACT_AT = [0.7, 0.96] as const;

/** The sound's power as it is heard, over the power that there is: 1 at 1 kHz. The formula of the standard. */
function powerAt(hz: number): number {
  return shapeAt(hz) / shapeAt(REFERENCE_HZ);
}

function shapeAt(hz: number): number {
  const f2 = hz * hz;
  return (f2 * f2) ** 2 / (((f2 + F1 * F1) * (f2 + F4 * F4)) ** 2 * (f2 + F2 * F2) * (f2 + F3 * F3));
}

/** What the A-weighting adds to a level at a frequency, in dB: the formula of IEC 61672-1, 0 at 1 kHz. */
export function aWeightingDb(hz: number): number {
  return 10 * Math.log10(powerAt(hz));
}

/**
 * The A-weighting of IEC 61672-1 as three second-order sections for a sample rate.
 *
 * The two sections of the low frequencies have the poles at e^(-2πf/rate) (matched z-transform) and their zeros at 1,
 * where the standard has them. The third one has the double pole at 12.2 kHz by the same rule, and zeros that make the
 * whole exact at three frequencies: 1 kHz, and 0.7 and 0.96 of half of the rate (of 20 kHz where that is less). The
 * bilinear transform, which is more usual, has zeros at half of the rate and is several dB too low long before it.
 *
 * At rates from 4 kHz to 384 kHz the response lies within 0.4 dB of the formula from 10 Hz up to 0.999 of half of the
 * rate, or to 20 kHz; that is inside class 1 (at most ±0.7 dB at 1 kHz, ±1 dB and more elsewhere). Above 20 kHz it
 * goes on falling. At other rates it is a stable filter of about this shape.
 *
 * Throws a RangeError where the rate is no positive number.
 */
export function aWeightingSections(sampleRateHz: number): readonly [Section, Section, Section] {
  if (!(sampleRateHz > 0 && sampleRateHz < Infinity)) throw new RangeError(`no sound of ${sampleRateHz} Hz`);
  const poleAt = (hz: number): number => Math.exp((-2 * Math.PI * hz) / sampleRateHz);
  const low = highpass(poleAt(F1), poleAt(F1));
  const middle = highpass(poleAt(F2), poleAt(F3));
  const pole = poleAt(F4);
  const poles = { a1: -2 * pole, a2: pole * pole };

  const topHz = Math.min(sampleRateHz / 2, HIGHEST_HZ);
  const lowestHz = Math.min(REFERENCE_HZ, topHz / 2);
  const points = [lowestHz, EXACT_AT[0] * topHz, EXACT_AT[1] * topHz].map((hz) => {
    const x = Math.sin((Math.PI * hz) / sampleRateHz) ** 2;
    const others = powerOf(low, x) * powerOf(middle, x) * powerOf({ b0: 1, b1: 0, b2: 0, ...poles }, x);
    return { x, power: powerAt(hz) / others };
  });
  return [low, middle, { ...zerosThrough(points), ...poles }];
}

/** (1 - z⁻¹)² / ((1 - p·z⁻¹)·(1 - q·z⁻¹)) */
function highpass(p: number, q: number): Section {
  return { b0: 1, b1: -2, b2: 1, a1: -(p + q), a2: p * q };
}

/** |H|² of a section where sin²(π·f/rate) is `x`; see `zerosThrough`. */
function powerOf({ b0, b1, b2, a1, a2 }: Section, x: number): number {
  return quadratic(b0, b1, b2, x) / quadratic(1, a1, a2, x);
}

function quadratic(c0: number, c1: number, c2: number, x: number): number {
  return (c0 + c1 + c2) ** 2 - 4 * (c0 * c1 + 4 * c0 * c2 + c1 * c2) * x + 16 * c0 * c2 * x * x;
}

interface Point {
  readonly x: number;
  readonly power: number;
}

/**
 * The zeros of a section whose numerator has a given power at three points. With x = sin²(π·f/rate) the power of
 * b0 + b1·z⁻¹ + b2·z⁻² is a quadratic in x, (b0 + b1 + b2)² at x = 0, (b0 - b1 + b2)² at x = 1, with 16·b0·b2 before
 * x²: three equations for b0, b1 and b2 (Martin Vicanek, "Matched Second Order Digital Filters", 2016).
 */
function zerosThrough([p, q, r]: readonly Point[]): Pick<Section, 'b0' | 'b1' | 'b2'> {
  const first = (q!.power - p!.power) / (q!.x - p!.x);
  const next = (r!.power - q!.power) / (r!.x - q!.x);
  const second = (next - first) / (r!.x - p!.x);
  const powerFor = (x: number): number => p!.power + (x - p!.x) * (first + (x - q!.x) * second);
  // Below 4 kHz the quadratic may dip below 0.
  const atZero = Math.sqrt(Math.max(0, powerFor(0)));
  const atOne = Math.sqrt(Math.max(0, powerFor(1)));
  const even = (atZero + atOne) / 2;
  const b0 = (even + Math.sqrt(Math.max(0, even * even - second / 4))) / 2;
  return { b0, b1: (atZero - atOne) / 2, b2: even - b0 };
}

/** The A-weighting at work on a stream of mono samples. */
export interface AWeighting {
  /**
   * The sum of the squares of the weighted samples, of those from `from` up to, not including, `to`; the samples stay
   * as they are. Samples that are not finite count as 0. Allocates nothing.
   */
  sumOfSquares(samples: Float32Array, from: number, to: number): number;
  /** The sound begins anew: what came before is forgotten. */
  reset(): void;
}

/** The A-weighting for sound of a sample rate, as `aWeightingSections` has it. */
export function createAWeighting(sampleRateHz: number): AWeighting {
  const [low, middle, high] = aWeightingSections(sampleRateHz);
  const { a1: lowA1, a2: lowA2 } = low;
  const { a1: middleA1, a2: middleA2 } = middle;
  const { b0, b1, b2, a1: highA1, a2: highA2 } = high;
  const state = new Float64Array(6);
  return {
    // One loop for all sections: they overlap in the processor, which is twice as fast as one after the other.
    sumOfSquares(samples, from, to) {
      let l1 = state[0]!;
      let l2 = state[1]!;
      let m1 = state[2]!;
      let m2 = state[3]!;
      let h1 = state[4]!;
      let h2 = state[5]!;
      let sum = 0;
      for (let i = from; i < to; i += 1) {
        const sample = samples[i]!;
        const x = Math.abs(sample) < Infinity ? sample : 0;
        const y = x + l1;
        l1 = l2 - 2 * x - lowA1 * y;
        l2 = x - lowA2 * y;
        const z = y + m1;
        m1 = m2 - 2 * y - middleA1 * z;
        m2 = y - middleA2 * z;
        const out = b0 * z + h1;
        h1 = b1 * z - highA1 * out + h2;
        h2 = b2 * z - highA2 * out;
        sum += out * out;
      }
      state[0] = l1;
      state[1] = l2;
      state[2] = m1;
      state[3] = m2;
      state[4] = h1;
      state[5] = h2;
      for (let i = 0; i < state.length; i += 1) if (Math.abs(state[i]!) < NOTHING) state[i] = 0;
      return sum;
    },
    reset: () => void state.fill(0),
  };
}
