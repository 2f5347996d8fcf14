import { SoundpostError } from '../common/errors.js';
import { cancellationText, createPhaseCancellation } from './phase-cancellation.js';

/** How one sample is written, always little-endian. */
export type Encoding = 'u8' | 's16' | 's24' | 's32' | 'f32' | 'f64';

export interface PcmFormat {
  /** Hz */
  sampleRate: number;
  channels: number;
  encoding: Encoding;
}

/** Turns interleaved samples into mono float32. */
export interface Mixer {
  /** `frames` frames from `view` at `byteOffset` become `out[at … at + frames]`. */
  mix(view: DataView, byteOffset: number, frames: number, out: Float32Array, at: number): void;
  /** What was odd about the samples. */
  warnings(): string[];
}

const SAMPLE_BYTES: Record<Encoding, number> = { u8: 1, s16: 2, s24: 3, s32: 4, f32: 4, f64: 8 };

const READ: Record<Encoding, (view: DataView, at: number) => number> = {
  u8: (view, at) => (view.getUint8(at) - 128) / 0x80,
  s16: (view, at) => view.getInt16(at, true) / 0x8000,
  s24: (view, at) => (view.getUint16(at, true) + view.getInt8(at + 2) * 0x10000) / 0x800000,
  s32: (view, at) => view.getInt32(at, true) / 0x80000000,
  f32: (view, at) => view.getFloat32(at, true),
  f64: (view, at) => view.getFloat64(at, true),
};

/**
 * Beyond this a float sample is not sound but damage; what follows (squares, logarithms, filters that remember) must stay
 * finite. All sound comes in through a mixer or, from the capture process, past `silenceUnusable`.
 */
const LOUDEST = 1e6;

/**
 * Float sound may go beyond full scale, and what was mixed without care goes up to some 12 dB beyond. Higher are only
 * integers that were written as floats without being divided.
 */
const TOO_LOUD = 8;

export function bytesPerFrame(format: PcmFormat): number {
  return format.channels * SAMPLE_BYTES[format.encoding];
}

/** Makes what is no number, infinite or absurd (above 1e6) silence, in place. Returns how many samples that were. */
export function silenceUnusable(samples: Float32Array): number {
  let unusable = 0;
  for (let i = 0; i < samples.length; i += 1) {
    if (Math.abs(samples[i]!) <= LOUDEST) continue;
    samples[i] = 0;
    unusable += 1;
  }
  return unusable;
}

/**
 * A mixer that takes the mean of the channels, or the one `channel` that is named (1 is the first). Integers are
 * divided by the magnitude of their lowest value, so that they fall into [-1, 1). Floats stay as they are, even
 * beyond 1; frames with some that are no numbers, infinite or absurd (above 1e6) become 0 and are counted. Warns of sound far
 * beyond full scale, and of channels that cancel each other out.
 *
 * Throws SoundpostError `no_such_channel`; its message calls the sound `name`.
 */
export function createMixer(format: PcmFormat, name: string, channel?: number): Mixer {
  const { channels } = format;
  if (channel !== undefined && !(channel >= 1 && channel <= channels)) {
    throw new SoundpostError(
      'no_such_channel',
      `${name} has ${channels} channel${channels === 1 ? '' : 's'}, so channel ${channel} cannot be taken`,
    );
  }
  const sampleBytes = SAMPLE_BYTES[format.encoding];
  const frameBytes = bytesPerFrame(format);
  const read = READ[format.encoding];
  const skipped = channel === undefined ? 0 : (channel - 1) * sampleBytes;
  const mixed = channel === undefined ? channels : 1;
  const cancellation = createPhaseCancellation(mixed, format.sampleRate);
  const mostSquares = mixed * LOUDEST ** 2;
  let unusable = 0;
  let loudest = 0;
  return {
    mix(view, byteOffset, frames, out, at) {
      let start = byteOffset + skipped;
      let meanSquares = 0;
      let channelSquares = 0;
      for (let frame = 0; frame < frames; frame += 1) {
        let sum = 0;
        let squares = 0;
        for (let i = 0; i < mixed; i += 1) {
          const value = read(view, start + i * sampleBytes);
          sum += value;
          squares += value * value;
        }
        start += frameBytes;
        const mean = sum / mixed;
        const magnitude = Math.abs(mean);
        // Not the mean alone: absurd channels may cancel each other out.
        if (squares <= mostSquares) {
          out[at + frame] = mean;
          meanSquares += mean * mean;
          channelSquares += squares;
          if (magnitude > loudest) loudest = magnitude;
        } else {
          out[at + frame] = 0;
          unusable += 1;
        }
      }
      cancellation.add(frames, meanSquares, channelSquares);
    },
    warnings() {
      const found: string[] = [];
      const lossDb = cancellation.lossDb();
      if (unusable > 0) {
        found.push(`${name} has ${unusable} samples that are not usable numbers; they count as silence`);
      }
      if (loudest > TOO_LOUD) {
        found.push(
          `${name} is far too loud: its float samples go up to ${Math.round(loudest)}, where 1 is full scale. They look like integers that were not divided; what is heard in it may be wrong`,
        );
      }
      if (lossDb !== null) found.push(cancellationText(name, lossDb));
      return found;
    },
  };
}
