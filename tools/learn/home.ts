import type { Random } from '../../test/support/random.js';
import { pinkNoise } from '../events/noise.js';
import { inRoom, roomResponse } from './rooms.js';
import { otherChime } from './tones.js';

/** What may be heard in a home, beside chimes that are made up each time. */
export interface Material {
  readonly recordings: readonly NamedSound[];
  readonly talk: readonly NamedSound[];
  readonly odd: readonly NamedSound[];
}

/** A sound with the room and the noise around it. */
export interface Presentation {
  readonly samples: Float32Array;
  /** Where the sound is, seconds of `samples`; its echo is not counted. */
  readonly fromSeconds: number;
  readonly toSeconds: number;
}

/** A room with a bed of noise, in which sounds are heard. */
export interface Home {
  readonly bedRms: number;
  /** The sound, `snrDb` louder than the bed (RMS of its sounding part), a second of the room before and behind it. */
  present(sound: Float32Array, snrDb: number): Presentation;
  /** So many seconds of what goes on there. */
  life(seconds: number, material: Material): Float32Array;
  /** One sound of what goes on there, with a second of the room before and behind it. */
  incident(material: Material): Incident;
}

/** A sound that is not the one taught. */
export interface Incident extends Presentation {
  /** What it is, for people. */
  readonly name: string;
}

/** A sound, and what it is called. */
export interface NamedSound {
  readonly name: string;
  readonly samples: Float32Array;
}

const BED_SECONDS = 20;
const MARGIN_SECONDS = 1.2;
/** So much louder than the bed they are. */
const LEVELS_DB = { min: 3, max: 45 } as const;
/** A sound over the bed every so many seconds, on average: 2,900 a day. */
export const PAUSE_SECONDS = 30;
/** Up to which share of all sounds they are recordings, speech, strings and sweeps; what is left are other chimes. */
const SHARES = { recordings: 0.5, talk: 0.88, odd: 0.95 } as const;

export function createHome(sampleRate: number, random: Random): Home {
  const between = (low: number, high: number) => low + random() * (high - low);
  const rt60Seconds = between(0.25, 0.7);
  const directDb = between(0, 8);
  const bedRms = 10 ** (between(-64, -48) / 20);
  const bed = roomNoise();

  /** Pink noise with a little hum of the mains. */
  function roomNoise(): Float32Array {
    const noise = pinkNoise(BED_SECONDS * sampleRate, random);
    const hum = between(0, 0.4);
    for (let i = 0; i < noise.length; i += 1) {
      const turn = (2 * Math.PI * 50 * i) / sampleRate;
      noise[i] = bedRms * (noise[i]! + hum * (Math.sin(turn) + 0.5 * Math.sin(3 * turn)));
    }
    return noise;
  }

  function silence(count: number): Float32Array {
    const out = new Float32Array(count);
    const begin = Math.floor(random() * bed.length);
    for (let i = 0; i < count; i += 1) out[i] = bed[(begin + i) % bed.length]!;
    return out;
  }

  /** The same room from another place in it. */
  const heard = (sound: Float32Array) =>
    inRoom(
      sound,
      roomResponse(
        { sampleRate, rt60Seconds: rt60Seconds * between(0.85, 1.15), directDb: directDb + between(-2, 2) },
        random,
      ),
    );

  function addAt(out: Float32Array, sound: Float32Array, at: number, gain: number): void {
    const count = Math.min(sound.length, out.length - at);
    for (let i = 0; i < count; i += 1) out[at + i]! += gain * sound[i]!;
  }

  function someSound(material: Material): NamedSound {
    const pick = (of: readonly NamedSound[]) => of[Math.floor(random() * of.length)];
    const kind = random();
    const found =
      kind < SHARES.recordings
        ? pick(material.recordings)
        : kind < SHARES.talk
          ? pick(material.talk)
          : kind < SHARES.odd
            ? pick(material.odd)
            : null;
    // Faster and higher, or slower and lower: the same recording is another sound.
    return found === null || found === undefined
      ? { name: 'another chime', samples: otherChime(sampleRate, random) }
      : { name: found.name, samples: atSpeed(found.samples, 2 ** between(-0.3, 0.3)) };
  }

  function present(sound: Float32Array, snrDb: number): Presentation {
    const margin = Math.round((MARGIN_SECONDS + random() * 0.3) * sampleRate);
    const wet = heard(sound);
    const out = silence(2 * margin + wet.length);
    const gain = (bedRms * 10 ** (snrDb / 20)) / soundingRms(sound, sampleRate);
    addAt(out, wet, margin, gain);
    const fromSeconds = margin / sampleRate;
    return { samples: clipped(out), fromSeconds, toSeconds: fromSeconds + sound.length / sampleRate };
  }

  return {
    bedRms,
    present,
    incident(material) {
      const { name, samples } = someSound(material);
      return { name, ...present(samples, between(LEVELS_DB.min, LEVELS_DB.max)) };
    },
    life(seconds, material) {
      const out = silence(Math.round(seconds * sampleRate));
      for (let at = 0; ;) {
        at += -Math.log(1 - random()) * PAUSE_SECONDS;
        if (at >= seconds) return clipped(out);
        const sound = heard(someSound(material).samples);
        const gain =
          (bedRms * 10 ** (between(LEVELS_DB.min, LEVELS_DB.max) / 20)) / soundingRms(sound, sampleRate);
        addAt(out, sound, Math.floor(at * sampleRate), gain);
      }
    },
  };
}

function clipped(samples: Float32Array): Float32Array {
  for (let i = 0; i < samples.length; i += 1) samples[i] = Math.max(-1, Math.min(1, samples[i]!));
  return samples;
}

/** The RMS over those tenths of a second that are within 20 dB of the loudest. */
export function soundingRms(sound: Float32Array, sampleRate: number): number {
  const step = Math.round(0.1 * sampleRate);
  const powers: number[] = [];
  for (let at = 0; at < sound.length; at += step) {
    let sum = 0;
    const part = sound.subarray(at, at + step);
    for (const value of part) sum += value * value;
    powers.push(sum / part.length);
  }
  const loudest = Math.max(...powers);
  const sounding = powers.filter((power) => power >= loudest / 100);
  return Math.sqrt(sounding.reduce((sum, power) => sum + power, 0) / sounding.length) || 1e-9;
}

/** Played `speed` times as fast, between samples on a straight line. */
function atSpeed(sound: Float32Array, speed: number): Float32Array {
  const out = new Float32Array(Math.floor((sound.length - 1) / speed));
  for (let i = 0; i < out.length; i += 1) {
    const at = i * speed;
    const before = Math.floor(at);
    const share = at - before;
    out[i] = sound[before]! * (1 - share) + sound[before + 1]! * share;
  }
  return out;
}
