import type { FiringHour } from '../../../src/history/firing-hour.js';
import type { Tallied } from '../../../src/history/firing-tally.js';
import { RUNGS, thresholdOfRung } from '../../../src/tagging/ladder.js';
import { slugOf } from '../../../src/tagging/slug.js';
import type { WatchedItem } from './scores.js';

const MODEL = 'soundpost-home 00000000';
const RULES = '1/1 0 2000 0.7';
const HOUR_MS = 3_600_000;

/** What is watched, as the counts of thresholds name it. */
export function talliedOf(
  watched: readonly WatchedItem[],
  thresholdOf: (item: WatchedItem) => number,
): Tallied[] {
  return watched.map((each) => ({
    model: MODEL,
    rules: RULES,
    item: {
      key: each.name,
      name: each.name,
      slug: slugOf(each.name),
      group: each.isGroup ? each.name : null,
      members: each.labels.map((name, index) => ({
        label: { index, name, mid: null, threshold: null, thresholdFrom: null },
        onThreshold: thresholdOf(each),
        offThreshold: 0.7 * thresholdOf(each),
        here: 0.5,
        thresholdFrom: 'model',
      })),
      confirm: { k: 1, n: 1 },
      minDurationMs: 0,
      minGapMs: 2000,
    },
  }));
}

/** Counts hours out of the highest scores of minutes, as if each minute were a sound of its own. */
export function createHours(source: string, tell: (hour: FiringHour) => void) {
  let hour = NaN;
  let heardMs = 0;
  let onsets = new Map<string, Uint32Array>();
  function flush(): void {
    const items = [...onsets].map(([name, counts]) => ({ name, rules: RULES, onsets: counts }));
    if (heardMs > 0) tell({ fromMs: hour * HOUR_MS, source, model: MODEL, heardMs, rest: null, items });
    heardMs = 0;
    onsets = new Map();
  }
  return {
    minute(tsMs: number, scores: ReadonlyMap<string, number>): void {
      if (Math.floor(tsMs / HOUR_MS) !== hour) flush();
      hour = Math.floor(tsMs / HOUR_MS);
      heardMs += 60_000;
      for (const [name, score] of scores) {
        const counts = onsets.get(name) ?? new Uint32Array(RUNGS);
        onsets.set(name, counts);
        for (let rung = 0; rung < RUNGS && thresholdOfRung(rung) <= score; rung += 1) counts[rung]! += 1;
      }
    },
    flush,
  };
}
