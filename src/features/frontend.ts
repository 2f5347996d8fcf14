import { SoundpostError } from '../common/errors.js';
import { createDoubleRealFft, isPowerOfTwo } from './double-fft.js';
import { createRealFft, isFftSize, type RealFft } from './fft.js';
import { kaldiMelBank, slaneyMelBank, type MelBank } from './mel.js';
import type { FrontendSpec, Layout } from './spec.js';
import { periodicHann, symmetricHann } from './window.js';

/**
 * Turns samples into the log-mel spectrogram that a network was trained on. Not re-entrant, and without state
 * between calls: the same samples give the same bits. Its results are finite whatever the samples are; a frame
 * with a sample that is not a number comes out as silence.
 */
export interface Frontend {
  /** Samples between the centres of two frames. */
  readonly hopLength: number;
  readonly mels: number;
  /** The shortest clip that can be padded by reflection, in samples. */
  readonly minSamples: number;
  /** Whether the transform runs with WebAssembly SIMD. */
  readonly simd: boolean;
  /** Frames of a clip of so many samples; 0 for one that is too short. */
  frames(samples: number): number;
  /**
   * The frames of a clip that do not reach over its ends: [first, end). Only the others depend on where the clip
   * begins and ends.
   */
  interiorFrames(samples: number): { first: number; end: number };
  /**
   * Log-mel of a whole clip. `samples`: Float32Array, mono, in [-1, 1], at the front end's rate. `out`:
   * Float32Array, [frames × mels] for NCTF, [mels × frames] for NCFT; dB for PANNs and ConvNeXt, normalised for the
   * others. Returns the number of frames.
   *
   * Throws SoundpostError `clip_too_short`, and `bad_buffer` where `out` has another length than frames × mels.
   */
  compute(samples: Float32Array, out: Float32Array, layout: Layout): number;
  /** As `compute`, for the frames [first, end) of the clip samples[begin] … samples[begin + length - 1] alone. */
  computeFrames(
    samples: Float32Array,
    begin: number,
    length: number,
    frames: { first: number; end: number },
    out: Float32Array,
    layout: Layout,
  ): void;
}

/**
 * What the kinds differ in: ln(max(energy, floor) + offset) * gain[mel] + bias[mel] after a bank and a window.
 */
interface Recipe {
  /** Weight of the previous sample that is taken off each one; the signal is one sample shorter then. 0: none. */
  preEmphasis: number;
  window: Float32Array;
  bank: MelBank;
  floor: number;
  offset: number;
  gain: Float64Array;
  bias: Float64Array;
}

const DECIBELS_PER_NEPER = 10 / Math.LN10;

/**
 * Builds the front end that `spec` describes, for samples at `sampleRate` Hz.
 *
 * - `panns`, `convnext`: torchlibrosa's Spectrogram and LogmelFilterBank (Kong et al., PANNs, 2020).
 * - `gmp`: the same from librosa, then (x - mean) / std per mel (the 2019 sound recognition demo of the same group).
 * - `efficientat`: AugmentMelSTFT in evaluation (Schmid et al., EfficientAT, 2023): pre-emphasis, symmetric window,
 *   Kaldi's mel bank, (ln(x + 1e-5) + 4.5) / 5.
 * - `efficientsed`: AugmentMelSTFT of the frame-wise networks in evaluation (EfficientSED, arXiv 2503.11373): as
 *   `efficientat`, but (ln(max(x, 1e-7)) + 4.5) / 5.
 *
 * All of them: frames centred on multiples of the hop, ends padded by reflection, power spectrum.
 *
 * Throws SoundpostError `bad_frontend` for a description that cannot be computed.
 */
export async function createFrontend(spec: FrontendSpec, sampleRate: number): Promise<Frontend> {
  checkSpec(spec, sampleRate);
  // The gmp originals computed their spectra in double precision.
  const fft = spec.kind === 'gmp' ? createDoubleRealFft(spec.n_fft) : await createRealFft(spec.n_fft);
  return assemble(spec, recipeOf(spec, sampleRate), fft);
}

function recipeOf(spec: FrontendSpec, sampleRate: number): Recipe {
  const shape = {
    sampleRate,
    nFft: spec.n_fft,
    mels: spec.n_mels,
    fMin: spec.f_min,
    fMax: spec.f_max,
  };
  const perMel = (value: (mel: number) => number): Float64Array =>
    Float64Array.from({ length: spec.n_mels }, (_, mel) => value(mel));
  const decibels = {
    preEmphasis: 0,
    window: periodicHann(spec.win_length),
    floor: 1e-10,
    offset: 0,
  };
  switch (spec.kind) {
    case 'panns':
    case 'convnext':
      return {
        ...decibels,
        bank: slaneyMelBank(shape),
        gain: perMel(() => DECIBELS_PER_NEPER),
        bias: perMel(() => 0),
      };
    case 'gmp':
      return {
        ...decibels,
        bank: slaneyMelBank(shape),
        gain: perMel((mel) => DECIBELS_PER_NEPER / spec.std![mel]!),
        bias: perMel((mel) => -spec.mean![mel]! / spec.std![mel]!),
      };
    case 'efficientat':
    case 'efficientsed':
      return {
        // The original's 0.97 is a float32.
        preEmphasis: Math.fround(0.97),
        window: symmetricHann(spec.win_length),
        bank: kaldiMelBank(shape),
        ...(spec.kind === 'efficientat' ? { floor: 0, offset: 1e-5 } : { floor: 1e-7, offset: 0 }),
        gain: perMel(() => 1 / 5),
        bias: perMel(() => 4.5 / 5),
      };
  }
}

function assemble(spec: FrontendSpec, recipe: Recipe, fft: RealFft): Frontend {
  const { n_fft: nFft, win_length: winLength, hop_length: hopLength, n_mels: mels } = spec;
  // Samples that the pre-emphasis takes off a clip.
  const dropped = recipe.preEmphasis === 0 ? 0 : 1;
  const minSamples = nFft / 2 + 1 + dropped;
  // A window shorter than the transform sits in its middle.
  const windowAt = (nFft - winLength) >> 1;
  // How far the window reaches to the left of a frame's centre.
  const reach = nFft / 2 - windowAt;
  const load = frameLoader(recipe, fft.input, windowAt);
  const writeLogMel = melWriter(recipe, fft.output);

  const frontend: Frontend = {
    hopLength,
    mels,
    minSamples,
    simd: fft.simd,
    frames(samples) {
      return samples < minSamples ? 0 : 1 + Math.floor((samples - dropped) / hopLength);
    },
    interiorFrames(samples) {
      const frames = frontend.frames(samples);
      const lastCentre = samples - dropped - winLength + reach;
      const end = Math.min(frames, Math.floor(lastCentre / hopLength) + 1);
      const first = Math.min(frames, Math.ceil(reach / hopLength));
      return { first, end: Math.max(first, end) };
    },
    compute(samples, out, layout) {
      const frames = frontend.frames(samples.length);
      if (frames === 0) {
        throw new SoundpostError(
          'clip_too_short',
          `${samples.length} samples are too few for a spectrogram: it takes ${minSamples}`,
        );
      }
      frontend.computeFrames(samples, 0, samples.length, { first: 0, end: frames }, out, layout);
      return frames;
    },
    computeFrames(samples, begin, length, { first, end }, out, layout) {
      const frames = frontend.frames(length);
      if (out.length !== frames * mels) {
        throw new SoundpostError(
          'bad_buffer',
          `the tensor for ${frames} frames of ${mels} mels has ${out.length} places instead of ${frames * mels}`,
        );
      }
      const frameStep = layout === 'NCTF' ? mels : 1;
      const melStep = layout === 'NCTF' ? 1 : frames;
      for (let frame = first; frame < end; frame += 1) {
        load(samples, begin, length - dropped, frame * hopLength - reach);
        fft.transform();
        writeLogMel(out, frame * frameStep, melStep);
      }
    },
  };
  return frontend;
}

/**
 * Returns the function that puts one windowed frame into the transform's input: the part from `start` (which may
 * lie before the clip) of the signal of `length` samples that begins at samples[begin].
 */
function frameLoader(
  { window, preEmphasis }: Recipe,
  input: RealFft['input'],
  windowAt: number,
): (samples: Float32Array, begin: number, length: number, start: number) => void {
  const winLength = window.length;

  function loadPlain(samples: Float32Array, from: number): void {
    for (let i = 0; i < winLength; i += 1) {
      input[windowAt + i] = samples[from + i]! * window[i]!;
    }
  }

  function loadPreEmphasised(samples: Float32Array, from: number): void {
    let previous = samples[from]!;
    for (let i = 0; i < winLength; i += 1) {
      const sample = samples[from + i + 1]!;
      input[windowAt + i] = (sample - preEmphasis * previous) * window[i]!;
      previous = sample;
    }
  }

  function loadReflected(samples: Float32Array, begin: number, length: number, start: number): void {
    for (let i = 0; i < winLength; i += 1) {
      let at = Math.abs(start + i);
      if (at >= length) at = 2 * (length - 1) - at;
      at += begin;
      const value = preEmphasis === 0 ? samples[at]! : samples[at + 1]! - preEmphasis * samples[at]!;
      input[windowAt + i] = value * window[i]!;
    }
  }

  const loadInterior = preEmphasis === 0 ? loadPlain : loadPreEmphasised;
  return (samples, begin, length, start) => {
    if (start >= 0 && start + winLength <= length) loadInterior(samples, begin + start);
    else loadReflected(samples, begin, length, start);
  };
}

/** Returns the function that turns the transform's output into one frame of log-mel, written with a stride. */
function melWriter(
  recipe: Recipe,
  spectrum: RealFft['output'],
): (out: Float32Array, at: number, step: number) => void {
  const { bank, floor, offset: energyOffset, gain, bias } = recipe;
  const { mels, bins, firstBin, offset } = bank;
  // Doubles throughout: no conversion in the loops, and no rounding before the last step.
  const weights = Float64Array.from(bank.weights);
  const power = new Float64Array(bins);

  return (out, at, step) => {
    const nyquist = bins - 1;
    power[0] = spectrum[0]! * spectrum[0]!;
    power[nyquist] = spectrum[1]! * spectrum[1]!;
    for (let bin = 1; bin < nyquist; bin += 1) {
      const real = spectrum[2 * bin]!;
      const imaginary = spectrum[2 * bin + 1]!;
      power[bin] = real * real + imaginary * imaginary;
    }
    for (let mel = 0; mel < mels; mel += 1) {
      const end = offset[mel + 1]!;
      let energy = 0;
      for (let i = offset[mel]!, bin = firstBin[mel]!; i < end; i += 1, bin += 1) {
        energy += weights[i]! * power[bin]!;
      }
      // Written so that what is not a number becomes the floor, and infinity the largest number.
      const bounded = energy > floor ? (energy < Number.MAX_VALUE ? energy : Number.MAX_VALUE) : floor;
      out[at + mel * step] = Math.log(bounded + energyOffset) * gain[mel]! + bias[mel]!;
    }
  };
}

/** Throws SoundpostError `bad_frontend` with the first reason why the description cannot be computed. */
function checkSpec(spec: FrontendSpec, sampleRate: number): void {
  const refuse = (reason: string): never => {
    throw new SoundpostError('bad_frontend', `this ${spec.kind} front end cannot be computed: ${reason}`);
  };
  const positiveInteger = (name: string, value: number): void => {
    if (!Number.isInteger(value) || value < 1) refuse(`${name} ${value} is not a positive whole number`);
  };
  positiveInteger('the sample rate', sampleRate);
  positiveInteger('n_fft', spec.n_fft);
  positiveInteger('win_length', spec.win_length);
  positiveInteger('hop_length', spec.hop_length);
  positiveInteger('n_mels', spec.n_mels);
  if (!isFftSize(spec.n_fft)) {
    refuse(`n_fft ${spec.n_fft} is not a multiple of 32 without a prime factor above 5, such as 512 or 1024`);
  }
  if (spec.kind === 'gmp' && !isPowerOfTwo(spec.n_fft)) {
    refuse(`n_fft ${spec.n_fft} is not a power of two, such as 512 or 1024`);
  }
  if (spec.win_length > spec.n_fft) {
    refuse(`win_length ${spec.win_length} is longer than n_fft ${spec.n_fft}`);
  }
  if (spec.win_length < 2) refuse('win_length 1 is no window');
  if (!(spec.f_min >= 0)) refuse(`f_min ${spec.f_min} Hz is below 0`);
  if (!(spec.f_max > spec.f_min)) {
    refuse(`f_max ${spec.f_max} Hz is not above f_min ${spec.f_min} Hz`);
  }
  if (spec.f_max > sampleRate / 2) {
    refuse(
      `f_max ${spec.f_max} Hz is above ${sampleRate / 2} Hz, the highest frequency at ${sampleRate} samples a second`,
    );
  }
  for (const name of ['mean', 'std'] as const) {
    const values = spec[name];
    if (spec.kind !== 'gmp') {
      if (values !== undefined) refuse(`${name} belongs to the kind gmp only`);
    } else if (values?.length !== spec.n_mels) {
      refuse(`${name} needs ${spec.n_mels} values, one per mel; it has ${values?.length ?? 0}`);
    }
  }
}
