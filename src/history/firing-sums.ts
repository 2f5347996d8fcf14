import { RUNGS } from '../tagging/ladder.js';
import type { FiringHour, Firings } from './firing-hour.js';

/** What is to be added up: counts of this name, at this source, by this model and these rules. */
export interface FiringsWanted extends Omit<Firings, 'onsets'> {
  readonly source: string;
  readonly model: string;
}

/** The sum of the hours that were about it. */
export interface FiringSum {
  /** [RUNGS] */
  readonly onsets: Float64Array;
  heardMs: number;
  /** When the first of the hours began, ms since the epoch; null where there was none. */
  sinceMs: number | null;
}

/** Adds hours up, in whatever order; one that comes twice counts once. Pure. */
export interface FiringSums {
  take(hour: FiringHour): void;
  /** In the order of what is wanted. */
  end(): readonly FiringSum[];
}

export function createFiringSums(wanted: readonly FiringsWanted[]): FiringSums {
  const sums = wanted.map((): FiringSum => ({ onsets: new Float64Array(RUNGS), heardMs: 0, sinceMs: null }));
  const seen = new Set<string>();

  function add(sum: FiringSum, hour: FiringHour, onsets: ArrayLike<number> | null): void {
    sum.heardMs += hour.heardMs;
    sum.sinceMs = Math.min(hour.fromMs, sum.sinceMs ?? Infinity);
    if (onsets === null) return;
    for (let rung = 0; rung < RUNGS; rung += 1) sum.onsets[rung]! += onsets[rung] ?? 0;
  }

  return {
    take(hour) {
      // Parts of one hour differ in when they begin.
      const key = `${hour.source} ${hour.fromMs}`;
      if (seen.has(key)) return;
      seen.add(key);
      const named = new Map(hour.items.map((one) => [one.name, one]));
      wanted.forEach(({ source, model, name, rules }, n) => {
        if (source !== hour.source || model !== hour.model) return;
        const found = named.get(name);
        if (found?.rules === rules) add(sums[n]!, hour, found.onsets);
        else if (found === undefined && hour.rest === rules) add(sums[n]!, hour, null);
      });
    },
    end: () => sums,
  };
}
