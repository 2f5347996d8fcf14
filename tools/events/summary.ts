import { median, percentile } from '../../src/bench/statistics.js';
import type { FalseEvent, Outcome } from './match.js';

/** What became of the sounds of one kind of scene; times in seconds, null where there is nothing to tell of. */
interface Summary {
  sounds: number;
  found: number;
  /** Found, but as several events; their times are not counted. */
  split: number;
  /** Events of a name that no sound near them explains: wrong names of a sound, and names of noise. */
  falseOnSounds: number;
  falseInNoise: number;
  onset: Errors | null;
  duration: Errors | null;
}

export interface Errors {
  /** Of the errors without their sign. */
  median: number;
  p90: number;
  /** Median of the errors with their sign: late and long are above 0. */
  bias: number;
}

/** A length of sounds at a level of noise, or all of them where it is null. */
export interface SummaryRow extends Summary {
  lengthSeconds: number | null;
  noiseDbfs: number | null;
}

export interface HeardScene {
  noiseDbfs: number;
  outcomes: readonly Outcome[];
  falseEvents: readonly FalseEvent[];
}

export function summarise(outcomes: readonly Outcome[], falseEvents: readonly FalseEvent[]): Summary {
  const found = outcomes.filter(({ events }) => events > 0);
  return {
    sounds: outcomes.length,
    found: found.length,
    split: found.filter(({ events }) => events > 1).length,
    falseOnSounds: falseEvents.filter(({ sound }) => sound !== null).length,
    falseInNoise: falseEvents.filter(({ sound }) => sound === null).length,
    onset: errorsOf(found.map(({ onsetError }) => onsetError)),
    duration: errorsOf(found.map(({ durationError }) => durationError)),
  };
}

function errorsOf(errors: readonly (number | null)[]): Errors | null {
  const known = errors.filter((error) => error !== null);
  if (known.length === 0) return null;
  const sizes = known.map(Math.abs);
  return { median: median(sizes), p90: percentile(sizes, 90), bias: median(known) };
}

/**
 * By length and level of noise, then by level, then by length, then all. Names of noise alone belong to no length:
 * they are counted in the rows of all lengths.
 */
export function rowsOf(heard: readonly HeardScene[], lengthsSeconds: readonly number[]): SummaryRow[] {
  const levels = [...new Set(heard.map(({ noiseDbfs }) => noiseDbfs))];
  const row = (lengthSeconds: number | null, noiseDbfs: number | null): SummaryRow => {
    const scenes = heard.filter((scene) => noiseDbfs === null || scene.noiseDbfs === noiseDbfs);
    const fits = (length: number | undefined) => lengthSeconds === null || length === lengthSeconds;
    return {
      lengthSeconds,
      noiseDbfs,
      ...summarise(
        scenes.flatMap(({ outcomes }) => outcomes).filter(({ sound }) => fits(sound.lengthSeconds)),
        scenes.flatMap(({ falseEvents }) => falseEvents).filter(({ sound }) => fits(sound?.lengthSeconds)),
      ),
    };
  };
  const perLevel = levels.flatMap((level) => lengthsSeconds.map((length) => row(length, level)));
  return [
    // Of a single level they would be the same rows twice.
    ...(levels.length > 1 ? [...perLevel, ...levels.map((level) => row(null, level))] : []),
    ...lengthsSeconds.map((length) => row(length, null)),
    row(null, null),
  ];
}

/** From the beginnings of sounds to the messages; seconds. */
export interface Delay {
  rateHz: number;
  sounds: number;
  p50: number;
  p90: number;
}

export function delayOf(rateHz: number, outcomes: readonly Outcome[]): Delay | null {
  const delays = outcomes.flatMap(({ delay }) => (delay === null ? [] : [delay]));
  if (delays.length === 0) return null;
  return { rateHz, sounds: delays.length, p50: median(delays), p90: percentile(delays, 90) };
}

export interface Goal {
  name: string;
  measured: number | null;
  /** At most. */
  goal: number;
  met: boolean | null;
}

/** What a model with frames is to reach; medians, seconds. */
const TIMES = {
  scores: { onset: 0.25, duration: 0.4 },
  location: { onset: 0.5, duration: 0.8 },
} as const;
const DELAYS: Readonly<Record<number, number>> = { 1: 1.2, 2: 0.8 };

export function goalsOf(
  role: 'scores' | 'location' | null,
  all: Pick<Summary, 'onset' | 'duration'> | null,
  delays: readonly Delay[],
): Goal[] {
  if (role === null) return [];
  const goal = (name: string, measured: number | undefined, limit: number): Goal => ({
    name,
    measured: measured ?? null,
    goal: limit,
    met: measured === undefined ? null : measured <= limit,
  });
  return [
    goal('onset error, median', all?.onset?.median, TIMES[role].onset),
    goal('duration error, median', all?.duration?.median, TIMES[role].duration),
    ...delays.flatMap(({ rateHz, p50 }) =>
      DELAYS[rateHz] === undefined ? [] : [goal(`delay at ${rateHz} Hz, p50`, p50, DELAYS[rateHz])],
    ),
  ];
}
