import { createDraw, normal, type Draw } from './draw.js';
import { chanceOver, fitTail, valueAt, type Tail } from './tail.js';

/** A stretch of sound that the device has heard, and the highest score that a label had in it. */
export interface HeardMoment {
  /** When it began, ms since the epoch (or any other origin). */
  readonly atMs: number;
  readonly seconds: number;
  /** On a scale without ends, such as logits: tails are those of sums, not of probabilities. */
  readonly score: number;
  /** Sounds of two sources are two sounds. */
  readonly source?: string;
}

/** What a threshold is expected to let through. */
export interface FalseAlarms {
  /** On the scale of the scores. */
  readonly threshold: number;
  /** Where the number of false alarms a day lies with 90 % certainty, if days go on as they were. */
  readonly perDay: { readonly low: number; readonly high: number };
  readonly heardHours: number;
  /** The threshold lies beyond everything that was heard: the number is what the tail says, not what was counted. */
  readonly isExtrapolated: boolean;
}

export const DAY_SECONDS = 86_400;
/** With fewer separate sounds over the level nothing can be said of the tail. */
export const FEWEST_PEAKS = 12;
/** So many make up the tail: further down lie sounds that have nothing in common with the one that is taught. */
const PEAKS = 40;
/** No more than this share of all moments is tail, or most of it would be no tail at all. */
const MOST_SHARE = 1 / 3;
const REPLICATES = 400;
/** The same background gives the same threshold. */
const SEED = 20_010_917;

/**
 * The threshold that lets through `wishedPerDay` false alarms a day, by peaks over threshold (Coles, An Introduction to
 * Statistical Modeling of Extreme Values, 2001, chapters 4 and 5.3): scores over a high level that lie closer together
 * than an event's own gap are one peak; how often peaks come is a Poisson rate, how high they are a generalised Pareto
 * distribution. Rate and tail are only estimates, so the threshold is the one at which the *mean* over what they may
 * truly be (a parametric bootstrap, Efron and Tibshirani 1993, chapter 6.5) is the wished number: with little heard it
 * is higher.
 *
 * Moments need not follow each other. Where only some are kept, a long sound is counted once for every moment of it
 * that is kept per time kept: too often rather than too rarely.
 *
 * @param moments of what the label is not, in any order
 * @returns null where too little was heard for that
 */
export function thresholdFor(
  moments: readonly HeardMoment[],
  { wishedPerDay, minGapSeconds }: { wishedPerDay: number; minGapSeconds: number },
): FalseAlarms | null {
  const found = peaksOf(moments, minGapSeconds);
  if (found === null) return null;
  const { level, peaks, heardSeconds } = found;
  const days = heardSeconds / DAY_SECONDS;
  const tail = fitTail(
    level,
    peaks.map((peak) => peak - level),
  );
  const replicates = replicate(tail, days);
  const threshold = thresholdWhere(replicates, wishedPerDay, level, tail);
  return {
    threshold,
    perDay: intervalAt(replicates, threshold),
    heardHours: heardSeconds / 3600,
    isExtrapolated: threshold > Math.max(...peaks),
  };
}

/**
 * The highest score of each run of moments over `level`. A run ends where the next moment over it begins more than
 * `minGapSeconds` after the last one ended.
 */
export function clusterPeaks(
  moments: readonly HeardMoment[],
  level: number,
  minGapSeconds: number,
): number[] {
  const over = moments.filter(({ score }) => score > level);
  over.sort((one, other) => {
    const [first = '', second = ''] = [one.source, other.source];
    return first === second ? one.atMs - other.atMs : first < second ? -1 : 1;
  });
  const peaks: number[] = [];
  let endMs = -Infinity;
  let source: string | undefined;
  for (const moment of over) {
    const isNew =
      peaks.length === 0 || moment.source !== source || moment.atMs - endMs > minGapSeconds * 1000;
    if (isNew) peaks.push(moment.score);
    else peaks[peaks.length - 1] = Math.max(peaks.at(-1)!, moment.score);
    endMs = Math.max(isNew ? -Infinity : endMs, moment.atMs + moment.seconds * 1000);
    source = moment.source;
  }
  return peaks;
}

/** The level over which the tail begins, and the peaks over it. */
function peaksOf(
  moments: readonly HeardMoment[],
  minGapSeconds: number,
): { level: number; peaks: number[]; heardSeconds: number } | null {
  const scores = moments.map(({ score }) => score).sort((one, other) => other - one);
  const heardSeconds = moments.reduce((sum, { seconds }) => sum + seconds, 0);
  const most = Math.floor(scores.length * MOST_SHARE);
  let found: { level: number; peaks: number[] } | null = null;
  // A lower level has more moments over it, which need not be more sounds: one that goes on for long is one peak.
  for (let over = PEAKS; ; over = Math.ceil(over * 1.2)) {
    const level = scores[Math.min(over, most)];
    if (level === undefined || !Number.isFinite(level)) break;
    const peaks = clusterPeaks(moments, level, minGapSeconds);
    if (peaks.length > (found?.peaks.length ?? 0)) found = { level, peaks };
    if (peaks.length >= PEAKS || over >= most) break;
  }
  return found === null || found.peaks.length < FEWEST_PEAKS ? null : { ...found, heardSeconds };
}

/** What the rate of peaks and their tail may truly be. */
interface Replicate {
  readonly tail: Tail;
  /** Peaks over the tail's level a day. */
  readonly peaksPerDay: number;
}

function replicate(tail: Tail, days: number): Replicate[] {
  const draw = createDraw(SEED);
  return Array.from({ length: REPLICATES }, () => {
    const count = Math.max(1, poisson(tail.count, draw));
    const excesses = Array.from({ length: count }, () => valueAt(tail, 1 - draw()) - tail.level);
    return { tail: fitTail(tail.level, excesses), peaksPerDay: count / days };
  });
}

/** A Poisson number, by the normal limit: the mean is at least `FEWEST_PEAKS`. */
function poisson(mean: number, draw: Draw): number {
  return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(draw)));
}

function ratesAt(replicates: readonly Replicate[], threshold: number): number[] {
  return replicates.map(({ tail, peaksPerDay }) => peaksPerDay * chanceOver(tail, threshold));
}

/** Where the mean rate is the wished one, by bisection; not below the tail. */
function thresholdWhere(
  replicates: readonly Replicate[],
  wishedPerDay: number,
  level: number,
  { scale }: Tail,
): number {
  const meanAt = (threshold: number) =>
    ratesAt(replicates, threshold).reduce((sum, rate) => sum + rate, 0) / replicates.length;
  let low = level;
  let high = level + scale;
  while (meanAt(high) > wishedPerDay && high - level < 1e6 * scale) high = level + 2 * (high - level);
  for (let step = 0; step < 50; step += 1) {
    const middle = (low + high) / 2;
    if (meanAt(middle) > wishedPerDay) low = middle;
    else high = middle;
  }
  return high;
}

function intervalAt(replicates: readonly Replicate[], threshold: number): { low: number; high: number } {
  const rates = ratesAt(replicates, threshold).sort((one, other) => one - other);
  const at = (share: number) => rates[Math.min(rates.length - 1, Math.floor(share * rates.length))]!;
  return { low: at(0.05), high: at(0.95) };
}
