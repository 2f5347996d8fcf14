import { joinRows, type Rows } from '../../src/learning/rows.js';
import { quantise, type QuantisedRows } from '../../src/learning/quantised.js';
import type { Embedder } from './embedder.js';
import { PAUSE_SECONDS, type Home, type Material } from './home.js';

const MINUTE = 60;

/**
 * The sounds of a stretch of life, each by itself with a second of the room around it. The silence in between is not
 * rendered: it raises no alarms, and a day of sounds is embedded in the time of some hours.
 */
export interface Incidents {
  readonly rows: QuantisedRows;
  /** What each is called, and which rows are its own. */
  readonly all: readonly { readonly name: string; readonly first: number; readonly count: number }[];
}

/** As many sounds as there are in so many minutes. */
export async function hearIncidents(
  embedder: Embedder,
  home: Home,
  material: Material,
  minutes: number,
): Promise<Incidents> {
  const parts: Rows[] = [];
  const all = [];
  let first = 0;
  for (let n = 0; n < Math.round((minutes * MINUTE) / PAUSE_SECONDS); n += 1) {
    const { name, samples } = home.incident(material);
    const { values, count } = await embedder.embed(samples);
    parts.push({ values, count, dim: embedder.dim });
    all.push({ name, first, count });
    first += count;
  }
  return { rows: quantise(joinRows(parts, embedder.dim)), all };
}

/** Which sounds raise an alarm. A sound raises one at most: an event lasts until it is quiet again. */
export interface Alarms {
  /** The names of those that reach a threshold. */
  over(threshold: number): string[];
  /** The lowest threshold that no more than so many sounds reach. */
  lowestWith(most: number): number;
}

/** @param scores of each of the rows */
export function alarmsIn({ all }: Incidents, scores: Float64Array): Alarms {
  const highest = all.map(({ name, first, count }) => ({
    name,
    score: scores.subarray(first, first + count).reduce((most, score) => Math.max(most, score), -Infinity),
  }));
  const sorted = highest.map(({ score }) => score).sort((one, other) => other - one);
  return {
    over: (threshold) => highest.flatMap(({ name, score }) => (score >= threshold ? [name] : [])),
    // Just above the first one that may not reach it.
    lowestWith: (most) => {
      const first = sorted[most] ?? -Infinity;
      return first + 1e-9 * Math.max(1, Math.abs(first));
    },
  };
}
