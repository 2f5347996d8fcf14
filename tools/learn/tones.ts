import type { Random } from '../../test/support/random.js';

/* Sounds of the house, put together from tones and noise: chimes, buzzers, beeps, a kettle. Mono, ±1. */

/** One note of a chime. */
export interface Note {
  readonly atSeconds: number;
  readonly seconds: number;
  readonly hz: number;
  readonly amplitude?: number;
}

/** How an instrument sounds: its partials, and how fast they die away. */
export interface Timbre {
  /** Multiples of the note's frequency with their amplitudes. */
  readonly partials: readonly (readonly [multiple: number, amplitude: number])[];
  /** Time in which a note falls to 1/e; Infinity for an electronic tone. */
  readonly decaySeconds: number;
  readonly attackSeconds: number;
}

export const BELL: Timbre = {
  partials: [
    [1, 1],
    [2, 0.35],
    [2.76, 0.3],
    [5.4, 0.12],
  ],
  decaySeconds: 0.45,
  attackSeconds: 0.004,
};
export const TUBE: Timbre = {
  partials: [
    [1, 1],
    [2, 0.6],
    [3, 0.4],
    [4.2, 0.25],
    [5.4, 0.2],
  ],
  decaySeconds: 0.8,
  attackSeconds: 0.006,
};
export const BEEP: Timbre = {
  partials: [
    [1, 1],
    [3, 0.2],
    [5, 0.07],
  ],
  decaySeconds: Infinity,
  attackSeconds: 0.003,
};
export const SQUARE: Timbre = {
  partials: Array.from({ length: 16 }, (_, n) => [2 * n + 1, 1 / (2 * n + 1)] as const),
  decaySeconds: Infinity,
  attackSeconds: 0.002,
};

/** The notes one after the other, each as the timbre has it. */
export function play(notes: readonly Note[], timbre: Timbre, sampleRate: number): Float32Array {
  const end = Math.max(...notes.map(({ atSeconds, seconds }) => atSeconds + seconds));
  const out = new Float32Array(Math.ceil(end * sampleRate));
  for (const { atSeconds, seconds, hz, amplitude = 0.3 } of notes) {
    const from = Math.round(atSeconds * sampleRate);
    const count = Math.min(out.length - from, Math.round(seconds * sampleRate));
    for (const [multiple, strength] of timbre.partials) {
      const step = (2 * Math.PI * hz * multiple) / sampleRate;
      if (step >= Math.PI) continue;
      for (let i = 0; i < count; i += 1) {
        const at = i / sampleRate;
        const rise = Math.min(1, at / timbre.attackSeconds);
        const fall = Math.min(1, (seconds - at) / 0.01);
        // Higher partials die away faster, as those of struck metal do.
        const decay = Math.exp((-at * Math.sqrt(multiple)) / timbre.decaySeconds);
        out[from + i]! += amplitude * strength * rise * fall * decay * Math.sin(step * i);
      }
    }
  }
  return out;
}

const note = (semitones: number): number => 440 * 2 ** (semitones / 12);
/** Notes of equal distance; the last one rings on. */
const row = (semitones: readonly number[], stepSeconds: number, lastSeconds = stepSeconds): Note[] =>
  semitones.map((semitone, n) => ({
    atSeconds: n * stepSeconds,
    seconds: n === semitones.length - 1 ? lastSeconds : Math.max(stepSeconds, lastSeconds / 2),
    hz: note(semitone),
  }));

/** What can be taught: always the same, as a device gives it, but for those that take `random`. */
export const TONE_SOUNDS: Readonly<Record<string, (sampleRate: number, random: Random) => Float32Array>> = {
  'two-tone chime': (rate) => play(row([7, 3], 0.6, 1.6), BELL, rate),
  'Westminster chime': (rate) => play(row([-1, -5, -3, -10, -10, -3, -1, -5], 0.42, 1.4), TUBE, rate),
  'door buzzer': (rate) => play([{ atSeconds: 0, seconds: 1.2, hz: 115 }], SQUARE, rate),
  'washing machine melody': (rate) =>
    play(row([15, 19, 22, 27, 22, 27, 31], 0.22, 0.5), { ...BEEP, decaySeconds: 0.5 }, rate),
  'microwave beeps': (rate) =>
    play(
      [0, 1, 2].map((n) => ({ atSeconds: n * 0.9, seconds: 0.45, hz: 2050 })),
      BEEP,
      rate,
    ),
  'kettle whistle': (rate, random) => kettle(rate, random),
};

/** Noise that becomes a whistle; each time it rises a little otherwise. */
function kettle(sampleRate: number, random: Random): Float32Array {
  const seconds = 3 + random();
  const out = new Float32Array(Math.round(seconds * sampleRate));
  const topHz = 2300 + 200 * random();
  const wobbleHz = 5 + 2 * random();
  let phase = 0;
  let low = 0;
  for (let i = 0; i < out.length; i += 1) {
    const at = i / sampleRate;
    const pressure = Math.min(1, at / 1.2);
    const hz = topHz * (0.75 + 0.25 * pressure) + 25 * Math.sin(2 * Math.PI * wobbleHz * at);
    phase += (2 * Math.PI * hz) / sampleRate;
    low += 0.35 * (random() * 2 - 1 - low);
    const whistle = Math.sin(phase) + 0.3 * Math.sin(2 * phase) + 0.12 * Math.sin(3 * phase);
    out[i] = 0.12 * low + 0.3 * pressure * whistle;
  }
  return out;
}

/** A chime, a melody or beeps that nobody has taught: other notes, another timbre, another pace. */
export function otherChime(sampleRate: number, random: Random): Float32Array {
  const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)]!;
  const base = Math.floor(random() * 30) - 12;
  const count = 1 + Math.floor(random() * 8);
  const scale = pick([[0, 2, 4, 5, 7, 9, 11, 12], [0, 3, 5, 7, 10, 12], [0, 4, 7, 12], [0]]);
  const notes = Array.from({ length: count }, () => base + random() * 0.5 + pick(scale));
  const timbre: Timbre = {
    partials: [
      [1, 1],
      ...Array.from(
        { length: Math.floor(random() * 6) },
        (_, n) => [n + 2 + (random() < 0.5 ? 0 : random()), random() * 0.6] as const,
      ),
    ],
    decaySeconds: pick([0.15, 0.3, 0.6, 1, Infinity]),
    attackSeconds: 0.002 + random() * 0.02,
  };
  return play(row(notes, 0.12 + random() * 0.7, 0.3 + random() * 1.5), timbre, sampleRate);
}
