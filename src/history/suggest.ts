import { RUNGS, thresholdOfRung } from '../tagging/ladder.js';
import type { FiringSum } from './firing-sums.js';
import type { HeardPeak } from './judged-peaks.js';

const DAY_MS = 86_400_000;
/** Fewer events than this, at the wished rate, say little about a rate. */
const ENOUGH_EVENTS = 3;

/** How much an answer rests on. */
export type RestsOn = 'enough' | 'little' | 'nothing';

/** How often something happens a day, and between which bounds that is with a probability of 0.9. */
export interface RatePerDay {
  readonly expected: number;
  readonly low: number;
  readonly high: number;
}

/** The threshold for a wished rate, from what would have started. */
export interface Suggestion {
  /** Null where nothing was heard, where no threshold is high enough, or none would have started it so often. */
  readonly threshold: number | null;
  /** Events that would have started with it; null without a threshold. */
  readonly fires: number | null;
  readonly perDay: RatePerDay | null;
  readonly restsOn: RestsOn;
  readonly why: 'fits' | 'nothing_heard' | 'too_often' | 'hardly_heard';
}

/**
 * The lowest threshold with which, and with all higher ones, no more would have started than `perDay` in 24 heard
 * hours. (A higher threshold may start more: it makes two events of one.)
 */
export function suggestThreshold({ onsets, heardMs }: FiringSum, perDay: number): Suggestion {
  const none = { threshold: null, fires: null, perDay: null };
  if (!(heardMs > 0)) return { ...none, restsOn: 'nothing', why: 'nothing_heard' };
  const allowed = (perDay * heardMs) / DAY_MS;
  const restsOn = heardMs >= DAY_MS && allowed >= ENOUGH_EVENTS ? 'enough' : 'little';
  let rung = RUNGS;
  while (rung > 0 && onsets[rung - 1]! <= allowed) rung -= 1;
  if (rung === RUNGS) return { ...none, restsOn, why: 'too_often' };
  if (rung === 0) return { ...none, restsOn, why: 'hardly_heard' };
  const fires = onsets[rung]!;
  return {
    threshold: thresholdOfRung(rung),
    fires,
    perDay: ratePerDay(fires, heardMs),
    restsOn,
    why: 'fits',
  };
}

/** The normal distribution's quantile of 0.95. */
const Z = 1.644853627;

/**
 * The rate of events that come at random, from how many there were: the exact interval for a Poisson count (Garwood
 * 1936) with the quantiles of χ² by the cube of a normal one (Wilson and Hilferty 1931), 1 % off at most.
 */
export function ratePerDay(count: number, heardMs: number): RatePerDay {
  const days = heardMs / DAY_MS;
  const quantile = (degrees: number, z: number): number => {
    const part = 2 / (9 * degrees);
    return degrees * Math.max(0, 1 - part + z * Math.sqrt(part)) ** 3;
  };
  return {
    expected: count / days,
    low: count === 0 ? 0 : quantile(2 * count, -Z) / 2 / days,
    high: quantile(2 * count + 2, Z) / 2 / days,
  };
}

/** What people have said of the events of a label. */
export interface Judged {
  readonly right: number;
  readonly wrong: number;
  /** The part of those that was right; null where nobody has said anything. */
  readonly precision: number | null;
  /**
   * The lowest threshold that no wrong one reached, and how many right ones did not reach it either; null where
   * nothing was wrong, or where a wrong one reached all of them.
   */
  readonly withoutWrong: { readonly threshold: number; readonly loses: number } | null;
}

/** @param least only events whose peak reaches it */
export function judgedOf(events: readonly HeardPeak[], least = 0): Judged {
  const reached = events.filter(({ peak }) => peak >= least);
  const right = reached.filter((event) => event.right === true);
  const wrong = reached.filter((event) => event.right === false);
  const said = right.length + wrong.length;
  return {
    right: right.length,
    wrong: wrong.length,
    precision: said === 0 ? null : right.length / said,
    withoutWrong: wrong.length === 0 ? null : without(wrong, right),
  };
}

function without(wrong: readonly HeardPeak[], right: readonly HeardPeak[]): Judged['withoutWrong'] {
  const highest = wrong.reduce((most, { peak }) => Math.max(most, peak), 0);
  for (let rung = 0; rung < RUNGS; rung += 1) {
    const threshold = thresholdOfRung(rung);
    if (threshold <= highest) continue;
    return { threshold, loses: right.filter(({ peak }) => peak < threshold).length };
  }
  return null;
}
