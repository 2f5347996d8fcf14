import { createDraw, type Draw } from './draw.js';
import type { SoundingPart } from './sounding.js';

/** A copy of an example to be embedded, with where the sound is in it; seconds of the copy. */
export interface ExampleCopy {
  readonly samples: Float32Array;
  readonly fromSeconds: number;
  readonly toSeconds: number;
}

/** How copies differ; levels in dB. */
export interface AugmentSettings {
  readonly copies: number;
  readonly gainDb: { readonly min: number; readonly max: number };
  /** The noise under a copy, against the background's level. */
  readonly noiseDb: { readonly min: number; readonly max: number };
  /** A copy begins up to so much earlier or later, so that frames cut the sound elsewhere. */
  readonly shiftSeconds: number;
}

export const AUGMENT_SETTINGS: AugmentSettings = {
  copies: 4,
  gainDb: { min: -14, max: 4 },
  noiseDb: { min: -6, max: 6 },
  shiftSeconds: 0.16,
};

/** So much of the room before and behind the sound a network needs to see, and no more. */
const MARGIN_SECONDS = 1;
/** The noise of a room of which nothing is known. */
const UNKNOWN_BACKGROUND_DBFS = -60;
const MOST = 0.99;

/**
 * The example itself, and copies of it as it may sound another time: louder or quieter, in the noise of the room, and
 * cut elsewhere by the frames (Salamon and Bello, Deep Convolutional Neural Networks and Data Augmentation for
 * Environmental Sound Classification, IEEE Signal Processing Letters 24(3), 2017). Each of them then goes through the
 * real front end and the network. Deterministic.
 *
 * @param samples mono, ±1; not changed
 * @param backgroundDbfs RMS of the room when nothing sounds, null where it is not known
 */
export function augment(
  samples: Float32Array,
  sampleRate: number,
  options: {
    part: SoundingPart;
    backgroundDbfs: number | null;
    seed: number;
    settings?: AugmentSettings;
  },
): ExampleCopy[] {
  const { part, backgroundDbfs, settings = AUGMENT_SETTINGS } = options;
  const draw = createDraw(options.seed);
  const between = ({ min, max }: { min: number; max: number }) => min + draw() * (max - min);
  const roomDbfs = backgroundDbfs ?? UNKNOWN_BACKGROUND_DBFS;
  const cut = (shiftSeconds: number) => cutOut(samples, sampleRate, part, shiftSeconds);
  const copies = Array.from({ length: settings.copies }, () => {
    const copy = cut(settings.shiftSeconds * (2 * draw() - 1));
    const gain = 10 ** (between(settings.gainDb) / 20);
    const noise = 10 ** ((roomDbfs + between(settings.noiseDb)) / 20);
    for (let i = 0; i < copy.samples.length; i += 1) copy.samples[i]! *= gain;
    addNoise(copy.samples, noise, draw);
    return copy;
  });
  const plain = cut(0);
  // A network must not take the edge of a recording for a sound: silence around it gets the room's noise.
  addNoise(plain.samples, 10 ** ((roomDbfs - 12) / 20), draw);
  return [plain, ...copies].map(unclipped);
}

/** The sounding part with a margin, filled with zeros where the recording has nothing. */
function cutOut(
  samples: Float32Array,
  sampleRate: number,
  { fromSeconds, toSeconds }: SoundingPart,
  shiftSeconds: number,
): ExampleCopy {
  const begin = Math.round((fromSeconds - MARGIN_SECONDS - shiftSeconds) * sampleRate);
  const count = Math.round((toSeconds - fromSeconds + 2 * MARGIN_SECONDS) * sampleRate);
  const out = new Float32Array(count);
  for (let i = 0; i < count; i += 1) {
    const sample = samples[begin + i] ?? 0;
    out[i] = Number.isFinite(sample) ? sample : 0;
  }
  const from = fromSeconds - begin / sampleRate;
  return { samples: out, fromSeconds: from, toSeconds: from + toSeconds - fromSeconds };
}

/** Noise that falls towards high frequencies, as that of rooms does: white noise through two leaky integrators. */
function addNoise(samples: Float32Array, rms: number, draw: Draw): void {
  const noise = new Float32Array(samples.length);
  let slow = 0;
  let fast = 0;
  let power = 0;
  for (let i = 0; i < noise.length; i += 1) {
    const white = 2 * draw() - 1;
    fast += 0.3 * (white - fast);
    slow += 0.02 * (white - slow);
    const value = 0.3 * white + 0.6 * fast + 2 * slow;
    noise[i] = value;
    power += value * value;
  }
  const scale = rms / Math.sqrt(Math.max(power, Number.EPSILON) / Math.max(1, noise.length));
  for (let i = 0; i < noise.length; i += 1) samples[i]! += scale * noise[i]!;
}

function unclipped(copy: ExampleCopy): ExampleCopy {
  let peak = 0;
  for (const sample of copy.samples) peak = Math.max(peak, Math.abs(sample));
  if (peak > MOST) for (let i = 0; i < copy.samples.length; i += 1) copy.samples[i]! *= MOST / peak;
  return copy;
}
