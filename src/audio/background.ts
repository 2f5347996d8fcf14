import { LEVEL_FLOOR_DBFS } from './level.js';

/** How fine levels are told apart. */
const STEPS_PER_DB = 10;

/** What is louder counts as this loud. Samples of files may go past ±1. */
const CEILING_DBFS = 40;

const STEPS = (CEILING_DBFS - LEVEL_FLOOR_DBFS) * STEPS_PER_DB + 1;

/** How loud it is when nothing happens: a percentile of the last levels. */
export interface Background {
  add(dbfs: number): void;
  /** To 0.1 dB; null as long as there are too few levels. */
  readonly dbfs: number | null;
  forget(): void;
}

/**
 * Keeps a ring of levels and counts how many there are of each, so that nothing is sorted and nothing allocated.
 * @param options.capacity how many levels are kept, at most 65,535
 * @param options.fewest how many there have to be
 * @param options.share of the levels that are as low or lower, 0 … 1
 */
export function createBackground(options: { capacity: number; fewest: number; share: number }): Background {
  const { capacity, fewest, share } = options;
  const ring = new Uint16Array(capacity);
  const counts = new Uint16Array(STEPS);
  let kept = 0;
  let next = 0;
  return {
    add(dbfs) {
      const step = Math.round((dbfs - LEVEL_FLOOR_DBFS) * STEPS_PER_DB);
      const added = step > 0 ? Math.min(step, STEPS - 1) : 0;
      if (kept === capacity) counts[ring[next]!]! -= 1;
      else kept += 1;
      ring[next] = added;
      counts[added]! += 1;
      next = (next + 1) % capacity;
    },
    get dbfs() {
      if (kept < fewest) return null;
      const wanted = Math.max(1, Math.ceil(share * kept));
      let step = 0;
      for (let found = counts[0]!; found < wanted; found += counts[step]!) step += 1;
      return LEVEL_FLOOR_DBFS + step / STEPS_PER_DB;
    },
    forget() {
      counts.fill(0);
      kept = 0;
    },
  };
}
