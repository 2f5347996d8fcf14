import type { Random } from '../../test/support/random.js';
import { pinkNoise, shuffled } from './noise.js';
import { chooseStretch } from './stretch.js';

/** A recording of one kind of sound. */
export interface Recording {
  name: string;
  /** The names that its sound should get; any of them will do. */
  labels: readonly string[];
  /** Names that are neither right nor wrong: what the sound is a kind of, and what also is in it. */
  related: readonly string[];
  /** The labels that a model claims to name in it, by the model's id, where somebody has said so. */
  claims: Readonly<Record<string, readonly string[]>>;
  /** Mono, −1 … 1, at the rate of the scene. */
  samples: Float32Array;
}

/** A sound in a scene; times are seconds since its beginning. */
export interface PlacedSound {
  recording: Pick<Recording, 'name' | 'labels' | 'related' | 'claims'>;
  /** The length that was asked for; the sound has it to the sample. */
  lengthSeconds: number;
  onset: number;
  offset: number;
}

export interface Scene {
  sampleRate: number;
  /** Of the noise, RMS. */
  noiseDbfs: number;
  sounds: PlacedSound[];
  samples: Float32Array;
}

export interface SceneRecipe {
  recordings: readonly Recording[];
  sampleRate: number;
  lengthsSeconds: readonly number[];
  /** Highest sample of each sound. */
  peakDbfs: number;
  /** RMS of the noise. */
  noiseDbfs: number;
  /** Between two sounds, and at both ends: evenly distributed, and not on any grid. */
  pauseSeconds: readonly [number, number];
  /** At the end; what is on ends in it. */
  tailSeconds: number;
  /** Sounds are left out from the end where the scene would become longer; null: all of them. */
  mostSeconds: number | null;
}

const FADE_SECONDS = 0.01;

/**
 * Every recording in every length that it has, once, in an order by chance, in pink noise. Neighbours have no name in
 * common where that can be had, so that an event belongs to one of them only.
 */
export function mixScene(recipe: SceneRecipe, random: Random): Scene {
  const { sampleRate, pauseSeconds, tailSeconds } = recipe;
  const cuts = recipe.lengthsSeconds.flatMap((lengthSeconds) =>
    recipe.recordings.flatMap((recording) => {
      const stretch = chooseStretch(recording.samples, sampleRate, lengthSeconds, random);
      if (stretch === null) return [];
      return [{ recording, lengthSeconds, samples: recording.samples.subarray(stretch.from, stretch.to) }];
    }),
  );
  const pause = () => pauseSeconds[0] + random() * (pauseSeconds[1] - pauseSeconds[0]);
  const placed: { at: number; cut: (typeof cuts)[number] }[] = [];
  let position = 0;
  for (const cut of apart(shuffled(cuts, random))) {
    const at = position + Math.round(pause() * sampleRate);
    const end = at + cut.samples.length;
    if (recipe.mostSeconds !== null && end / sampleRate + tailSeconds > recipe.mostSeconds) break;
    placed.push({ at, cut });
    position = end;
  }
  const samples = pinkNoise(position + Math.round(tailSeconds * sampleRate), random);
  const noise = amplitude(recipe.noiseDbfs);
  for (let i = 0; i < samples.length; i += 1) samples[i]! *= noise;
  for (const { at, cut } of placed) addSound(samples, at, cut.samples, recipe);
  return {
    sampleRate,
    noiseDbfs: recipe.noiseDbfs,
    samples,
    sounds: placed.map(({ at, cut: { recording, lengthSeconds, samples: sound } }) => ({
      recording,
      lengthSeconds,
      onset: at / sampleRate,
      offset: (at + sound.length) / sampleRate,
    })),
  };
}

/** The same in an order in which neighbours have no name in common, as far as that goes. */
function apart<T extends { recording: Recording }>(cuts: readonly T[]): T[] {
  const left = [...cuts];
  const row: T[] = [];
  while (left.length > 0) {
    const before = row.at(-1)?.recording;
    const index = left.findIndex(({ recording }) => before === undefined || !share(before, recording));
    row.push(...left.splice(Math.max(0, index), 1));
  }
  return row;
}

function share(a: Recording, b: Recording): boolean {
  const names = new Set([...a.labels, ...a.related]);
  return [...b.labels, ...b.related].some((name) => names.has(name));
}

function addSound(into: Float32Array, at: number, sound: Float32Array, recipe: SceneRecipe): void {
  let highest = 0;
  for (const value of sound) highest = Math.max(highest, Math.abs(value));
  const scale = highest > 0 ? amplitude(recipe.peakDbfs) / highest : 0;
  const fade = Math.round(FADE_SECONDS * recipe.sampleRate);
  for (let i = 0; i < sound.length; i += 1) {
    const edge = Math.min(1, (i + 0.5) / fade, (sound.length - i - 0.5) / fade);
    into[at + i]! += sound[i]! * scale * edge;
  }
}

function amplitude(dbfs: number): number {
  return 10 ** (dbfs / 20);
}
