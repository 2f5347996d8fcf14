import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { decodeFile } from '../../src/audio/decode.js';
import { resampleWhole } from '../../src/audio/resample.js';
import type { Random } from '../../test/support/random.js';
import type { NamedSound } from './home.js';

/* Sounds that outside programs make: speech of espeak-ng, strings and sweeps of sox. */

const run = promisify(execFile);

/** Whether a program can be started. */
export async function isThere(program: string): Promise<boolean> {
  return run(program, ['--version']).then(
    () => true,
    () => false,
  );
}

/** What a program writes into a WAV file, at this rate. */
async function made(
  program: string,
  args: (path: string) => readonly string[],
  sampleRate: number,
): Promise<Float32Array> {
  const folder = await mkdtemp(join(tmpdir(), 'soundpost-learn-'));
  try {
    const path = join(folder, 'sound.wav');
    await run(program, args(path));
    const sound = await decodeFile(path);
    return await resampleWhole(sound.samples, sound.sampleRate, sampleRate);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A sentence in a voice. */
export function spoken(text: string, voice: Voice, sampleRate: number): Promise<Float32Array> {
  const { name, wordsPerMinute, pitch } = voice;
  return made(
    'espeak-ng',
    (path) => ['-v', name, '-s', String(wordsPerMinute), '-p', String(pitch), '-w', path, text],
    sampleRate,
  );
}

export interface Voice {
  readonly name: string;
  readonly wordsPerMinute: number;
  /** 0 … 99 */
  readonly pitch: number;
}

/** Sox's plucked strings (Karplus and Strong, 1983), one after the other. */
export function plucked(
  notes: readonly string[],
  stepSeconds: number,
  sampleRate: number,
): Promise<Float32Array> {
  const strings = notes.flatMap((note) => ['pluck', note]);
  const delays = notes.map((_, n) => String(n * stepSeconds));
  return made(
    'sox',
    (path) => [
      ...['-n', '-r', String(sampleRate), '-b', '16', path],
      ...['synth', String(notes.length * stepSeconds + 1), ...strings],
      ...['delay', ...delays, 'remix', '-', 'norm', '-6'],
    ],
    sampleRate,
  );
}

/** A sweep from one frequency to another, or noise of a colour. */
export function synthesised(
  what: readonly string[],
  seconds: number,
  sampleRate: number,
): Promise<Float32Array> {
  return made(
    'sox',
    (path) => [
      ...['-n', '-r', String(sampleRate), '-c', '1', '-b', '16', path],
      ...['synth', seconds.toFixed(2), ...what, 'fade', '0.02', seconds.toFixed(2), '0.05', 'gain', '-6'],
    ],
    sampleRate,
  );
}

const VOICES = ['en', 'en-us', 'de', 'fr', 'es', 'it', 'nl', 'pl', 'sv', 'pt'];
const VARIANTS = ['', '+m1', '+m3', '+m5', '+m7', '+f1', '+f2', '+f4', '+croak', '+whisper'];
const SYLLABLES = [
  'ka',
  'lo',
  'mi',
  'ten',
  'ra',
  'sol',
  've',
  'di',
  'nu',
  'pa',
  'bar',
  'fi',
  'ger',
  'ho',
  'sta',
];

/** Somebody says something: made-up words in a voice by chance. */
export function talk(sampleRate: number, random: Random): Promise<Float32Array> {
  const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)]!;
  const words = Array.from({ length: 2 + Math.floor(random() * 8) }, () =>
    Array.from({ length: 1 + Math.floor(random() * 3) }, () => pick(SYLLABLES)).join(''),
  );
  const voice = {
    name: pick(VOICES) + pick(VARIANTS),
    wordsPerMinute: 110 + Math.floor(random() * 130),
    pitch: 15 + Math.floor(random() * 75),
  };
  return spoken(words.join(' '), voice, sampleRate);
}

const NOTES = ['C3', 'E3', 'G3', 'A3', 'C4', 'D4', 'E4', 'F4', 'G4', 'A4', 'B4', 'C5', 'E5', 'G5'];

/** A few strings, a sweep, or noise of some colour. */
export async function oddSound(sampleRate: number, random: Random): Promise<NamedSound> {
  const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)]!;
  const kind = random();
  if (kind < 0.4) {
    const notes = Array.from({ length: 1 + Math.floor(random() * 6) }, () => pick(NOTES));
    const samples = await plucked(notes, 0.15 + random() * 0.5, sampleRate);
    return { name: 'plucked strings', samples };
  }
  const seconds = 0.3 + random() * 3;
  if (kind < 0.7) {
    const from = Math.round(100 * 2 ** (random() * 5));
    const to = Math.round(100 * 2 ** (random() * 5));
    const wave = pick(['sine', 'triangle', 'square']);
    return {
      name: `${wave} sweep`,
      samples: await synthesised([wave, `${from}-${to}`], seconds, sampleRate),
    };
  }
  const noise = pick(['whitenoise', 'pinknoise', 'brownnoise']);
  return { name: noise, samples: await synthesised([noise], seconds, sampleRate) };
}
