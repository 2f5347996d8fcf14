import { butterworthHighpass, createBiquad, type Biquad } from './biquad.js';

/** The highest corner, as a share of the sample rate: what is higher takes everything away just as well. */
const HIGHEST_CORNER = 0.45;

/** What is done to the sound of a source before anything hears it: high-pass, gain, clip, in this order. */
export interface Shaper {
  /** How many samples the gain has pushed past ±1 since the start; they were clipped to ±1. */
  readonly clipped: number;
  /** Sound of this rate follows, which does not join what came before. */
  begin(sampleRateHz: number): void;
  /**
   * The shaped sound, in a buffer of the shaper's own that is valid until the next call; the samples themselves where
   * there is nothing to do. Samples that are not finite become 0. Allocates nothing once the longest chunk has been
   * seen, but for a view of the buffer where a chunk has another length than the one before.
   */
  process(samples: Float32Array): Float32Array;
}

/**
 * @param options.gainDb is added to the level; 0 for none
 * @param options.highpassHz the corner of a second-order Butterworth high-pass; 0 for none
 */
export function createShaper(options: { gainDb: number; highpassHz: number }): Shaper {
  const { gainDb, highpassHz } = options;
  const gain = 10 ** (gainDb / 20);
  const hasHighpass = highpassHz > 0;
  let highpass: Biquad | null = null;
  let clipped = 0;
  let buffer = new Float32Array(0);
  let view = buffer;

  /** Room for so many samples. */
  function roomFor(length: number): Float32Array {
    if (buffer.length < length) buffer = new Float32Array(length);
    if (view.length !== length || view.buffer !== buffer.buffer) view = buffer.subarray(0, length);
    return view;
  }

  function amplify(samples: Float32Array): void {
    for (let i = 0; i < samples.length; i += 1) {
      const before = samples[i]!;
      const after = before * gain;
      if (after >= -1 && after <= 1) samples[i] = after;
      else if (!(Math.abs(before) < Infinity)) samples[i] = 0;
      else {
        samples[i] = after > 0 ? 1 : -1;
        // What was too loud before the gain is not the gain's doing.
        if (Math.abs(before) <= 1) clipped += 1;
      }
    }
  }

  return {
    get clipped() {
      return clipped;
    },
    begin(sampleRateHz) {
      if (!hasHighpass) return;
      const cornerHz = Math.min(highpassHz, HIGHEST_CORNER * sampleRateHz);
      highpass = createBiquad(butterworthHighpass(cornerHz, sampleRateHz));
    },
    process(samples) {
      if (!hasHighpass && gain === 1) return samples;
      if (hasHighpass && highpass === null) throw new RangeError('sound that has not begun has no rate');
      const shaped = roomFor(samples.length);
      shaped.set(samples);
      highpass?.process(shaped);
      amplify(shaped);
      return shaped;
    },
  };
}
