import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeFile } from '../../src/audio/decode.js';
import { resampleWhole } from '../../src/audio/resample.js';
import type { Random } from '../../test/support/random.js';
import type { Material, NamedSound } from './home.js';
import { isThere, oddSound, plucked, spoken, talk } from './programs.js';
import { TONE_SOUNDS } from './tones.js';

/** A sound that is taught. */
export interface Target {
  readonly name: string;
  /** A chime or beeps of a device: what the goals are about. */
  readonly isChime: boolean;
  /** The sound as it is made this time. */
  readonly make: (random: Random) => Float32Array;
}

export interface Sounds {
  readonly targets: readonly Target[];
  /** What the device hears before it is taught, and what it hears afterwards: all of the former, and as much new. */
  readonly before: Material;
  readonly after: Material;
  /** What is missing and left out, for people. */
  readonly notes: readonly string[];
}

/** Recordings of sounds that `soundpost-home` has no label for; they are in no material. */
const UNLABELLED = ['knock', 'snoring', 'thunder'];
/** A mixture of the others. */
const DEMO = 'day-at-home.wav';
const TALKS = 120;
const ODD = 80;
const CHIMES = ['two-tone chime', 'Westminster chime', 'washing machine melody', 'microwave beeps'];

/** Gathers recordings, and has the rest made by espeak-ng and sox where they are installed. */
export async function gatherSounds(folder: string, sampleRate: number, random: Random): Promise<Sounds> {
  const notes: string[] = [];
  const targets: Target[] = Object.entries(TONE_SOUNDS).map(([name, make]) => ({
    name,
    isChime: CHIMES.includes(name),
    make: (own) => make(sampleRate, own),
  }));
  const always = (name: string, sound: Float32Array, isChime = false) =>
    targets.push({ name, isChime, make: () => sound });

  const recordings: NamedSound[] = [];
  if (existsSync(folder)) {
    for (const file of (await readdir(folder)).sort()) {
      if (!file.endsWith('.wav') || file === DEMO) continue;
      const decoded = await decodeFile(join(folder, file));
      const sound = await resampleWhole(decoded.samples, decoded.sampleRate, sampleRate);
      const name = file.replace(/\.wav$/, '');
      if (UNLABELLED.includes(name)) always(`${name} (recording)`, sound);
      else recordings.push({ name: `${name} (recording)`, samples: sound });
    }
  } else notes.push(`no recordings in ${folder}: nothing real is heard`);

  const spokenWords: NamedSound[] = [];
  if (await isThere('espeak-ng')) {
    always(
      'spoken words (espeak-ng)',
      await spoken('laundry is ready', { name: 'en+f2', wordsPerMinute: 150, pitch: 60 }, sampleRate),
    );
    for (let n = 0; n < TALKS; n += 1)
      spokenWords.push({ name: 'speech', samples: await talk(sampleRate, random) });
  } else notes.push('espeak-ng is not installed: nobody speaks');

  const odd: NamedSound[] = [];
  if (await isThere('sox')) {
    always('plucked gong (sox)', await plucked(['G3', 'C4', 'E4'], 0.35, sampleRate), true);
    for (let n = 0; n < ODD; n += 1) odd.push(await oddSound(sampleRate, random));
  } else notes.push('sox is not installed: no strings, no sweeps');

  const half = <T>(all: readonly T[]) => all.filter((_, n) => n % 2 === 0);
  return {
    targets,
    before: { recordings: half(recordings), talk: half(spokenWords), odd: half(odd) },
    after: { recordings, talk: spokenWords, odd },
    notes,
  };
}
