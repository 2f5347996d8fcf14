import type { HistoryRecord } from './record.js';
import type { ScoreMinute } from './score-minutes.js';

/** Up to so many watched labels all scores of a minute are written down. */
const WRITTEN_IN_FULL = 64;
/** Where every label of the model is watched, most have next to nothing in any minute: these few would say nothing. */
const LEAST_SCORE = 0.01;
const MOST_WRITTEN = 128;

type ScoresRecord = Extract<HistoryRecord, { kind: 'scores' }>;

/** What is written down of a minute. */
export function lastingScores({ tsMs, source, scores }: ScoreMinute): ScoresRecord {
  const all = [...scores].filter(([, score]) => Number.isFinite(score));
  if (all.length <= WRITTEN_IN_FULL) {
    return { kind: 'scores', atMs: tsMs, source, scores: all.map(rounded), rest: null };
  }
  const best = all.sort(([, one], [, other]) => other - one);
  const fit = best.slice(0, MOST_WRITTEN).filter(([, score]) => score >= LEAST_SCORE);
  const rest = best[fit.length]?.[1];
  return {
    kind: 'scores',
    atMs: tsMs,
    source,
    scores: fit.map(rounded),
    rest: rest === undefined ? null : round(rest),
  };
}

function rounded([name, score]: readonly [string, number]): [string, number] {
  return [name, round(score)];
}

/** Four digits: finer than anybody sets a threshold. */
function round(score: number): number {
  return Math.round(score * 10_000) / 10_000;
}
