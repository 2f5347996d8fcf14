import type { HeardBackground } from './background.js';
import { calibrate } from './calibrate.js';
import { checkAlike, checkExampleCount } from './examples.js';
import { thresholdFor, type HeardMoment } from './false-alarms.js';
import { withMargin } from './margin.js';
import { trainHead, type Head } from './head.js';
import { doubtsOf, type Doubt } from './doubts.js';
import { leaveOutHeardBefore, type HeardBefore } from './heard-before.js';
import { leaveOneOut, type EmbeddedExample } from './leave-one-out.js';
import { logistic } from './logistic.js';
import { normaliserOf } from './normaliser.js';
import { logitsOf, restore, type QuantisedRows } from './quantised.js';
import { joinRows, type Rows } from './rows.js';

/** How good a taught label may be expected to be. */
export interface TaughtQuality {
  /** Examples that were found by what was learnt from the others. */
  readonly found: number;
  readonly of: number;
  /** With 90 % certainty, if days go on as they were; null where too little was heard to say. */
  readonly falseAlarmsPerDay: { readonly low: number; readonly high: number } | null;
  /** How much of the device's own sound that is made of. */
  readonly heardHours: number;
  /** The threshold lies beyond everything that was heard. */
  readonly isExtrapolated: boolean;
  /** Sounds that were heard before teaching and are taken for the taught one; see `leaveOutHeardBefore`. */
  readonly heardBefore: number;
  readonly doubts: readonly Doubt[];
}

export interface Taught {
  readonly head: Head;
  /** 0 … 1, on the scale of `scoreOf`. */
  readonly threshold: number;
  readonly quality: TaughtQuality;
}

export interface TeachSettings {
  readonly falseAlarmsPerDay: number;
  /** How long the label may be off before it is another event. */
  readonly minGapSeconds: number;
}

/** So many rows of the background are learnt from, evenly over its time … */
const SPREAD_ROWS = 1000;
/** … and so many that a first head takes for the sound. */
const HARD_ROWS = 300;
/**
 * The background is parted into so many parts, each of which is judged by a head that has learnt from all others. With
 * fewer parts the judges know less than the head that is kept, and what is familiar to it looks like a false alarm to
 * them: the threshold would be higher than it need be (the bias of K-fold cross-validation, Hastie, Tibshirani and
 * Friedman 2009, section 7.10).
 */
const FOLDS = 4;
/** It is parted by stretches of so much time, which go to one part after the other. */
const FOLD_MS = 600_000;
/** The score of the threshold is kept where people can tell it from 0 and 1. */
const MOST_LOGIT = 2.2;

/**
 * Teaches a sound. Its threshold is set by heads that have not heard what they are judged by: each scores a part of the
 * background and has learnt from the others. Takes some seconds of a core; deterministic.
 *
 * @param examples with their names for messages; their frames as the network gives them
 * @param background what the device has heard, without the moments of the examples
 * @param general frames of sounds that are not the one taught, for a device that has heard little: learnt from, and
 * never counted as heard
 * @throws SoundpostError `learn_too_few`, `learn_differ`.
 */
export function teach(
  {
    name,
    examples,
    background,
    general,
  }: {
    name: string;
    examples: readonly (EmbeddedExample & { readonly name: string })[];
    background: HeardBackground;
    general: Rows;
  },
  settings: TeachSettings,
): Taught {
  checkExampleCount(name, examples.length);
  const { dim } = general;
  const heard = background.rows.count === 0 ? emptyOf(dim) : background.rows;
  const spread = joinRows([general, restore(heard, spreadOver(heard.count, SPREAD_ROWS))], dim);
  const normaliser = normaliserOf(spread);
  checkAlike(
    examples.map(({ plain }) => plain),
    normaliser,
    examples.map((example) => example.name),
  );
  const taught = examples.map((example) => example.taught);
  const { minGapSeconds } = settings;
  const before = leaveOutHeardBefore(examples, background, { normaliser, minGapSeconds });
  const all = withHard(taught, heard, rowNumbers(before.background.moments), general);
  const head = trainHead({ examples: taught, negatives: all });
  const left = leaveOneOut(examples, (others) => trainHead({ examples: others, negatives: all }));
  const moments = judgedByStrangers(taught, before.background, general);
  return finished(head, left, moments, before, general, settings);
}

/** Sets the threshold, and brings head and threshold onto the scale of scores. */
function finished(
  head: Head,
  left: readonly number[],
  moments: readonly HeardMoment[],
  { background, sounds: heardBefore, isCommon }: HeardBefore,
  general: Rows,
  { falseAlarmsPerDay, minGapSeconds }: TeachSettings,
): Taught {
  const alarms = thresholdFor(moments, { wishedPerDay: falseAlarmsPerDay, minGapSeconds });
  const others = [...moments.map(({ score }) => score), ...logitsOfRows(head, general)];
  const threshold = alarms === null ? betweenOf(left, others) : withMargin(alarms.threshold, left);
  const { slope, shift } = calibrate(left, others);
  // Calibrated for as many of one as of the other, scores would all be near 1: a rare sound needs more evidence.
  const at = Math.max(-MOST_LOGIT, Math.min(MOST_LOGIT, slope * threshold + shift));
  const moved = at - slope * threshold;
  const found = left.filter((logit) => logit >= threshold).length;
  const heardHours = background.heardSeconds / 3600;
  return {
    head: { weights: head.weights.map((weight) => slope * weight), bias: slope * head.bias + moved },
    threshold: logistic(at),
    quality: {
      found,
      of: left.length,
      falseAlarmsPerDay: alarms?.perDay ?? null,
      heardHours,
      isExtrapolated: alarms?.isExtrapolated ?? true,
      heardBefore,
      doubts: doubtsOf({ found, of: left.length, heardHours, isCommon }),
    },
  };
}

/** Where nothing is known of days: halfway from the highest of the other sounds to the middle one of the examples. */
function betweenOf(examples: readonly number[], others: readonly number[]): number {
  const sorted = [...examples].sort((one, other) => one - other);
  const middle = sorted[Math.floor(sorted.length / 2)]!;
  const highest = others.reduce((most, logit) => Math.max(most, logit), -Infinity);
  return Number.isFinite(highest) ? Math.max(highest, (highest + middle) / 2) : middle;
}

/** The moments of the background, each scored by a head that was trained without its part. */
function judgedByStrangers(
  taught: readonly Rows[],
  background: HeardBackground,
  general: Rows,
): HeardMoment[] {
  const { rows, moments } = background;
  const begin = moments[0]?.atMs ?? 0;
  const lastEnd = moments.at(-1)?.atMs ?? 0;
  // A background of fewer stretches is parted evenly.
  const foldMs = Math.min(FOLD_MS, Math.max(1, (lastEnd - begin) / FOLDS));
  const foldOf = (atMs: number) => Math.floor((atMs - begin) / foldMs) % FOLDS;
  const judged: HeardMoment[] = [];
  for (let fold = 0; fold < FOLDS; fold += 1) {
    const own = moments.filter(({ atMs }) => foldOf(atMs) === fold);
    if (own.length === 0) continue;
    const strangers = rowNumbers(moments.filter(({ atMs }) => foldOf(atMs) !== fold));
    const negatives = withHard(taught, rows, strangers, general);
    const logits = logitsOf(rows, trainHead({ examples: taught, negatives }));
    for (const { atMs, seconds, source, first, count } of own) {
      let score = -Infinity;
      for (let n = first; n < first + count; n += 1) score = Math.max(score, logits[n]!);
      judged.push({ atMs, seconds, source, score });
    }
  }
  return judged;
}

/**
 * Rows to learn from: some spread evenly, and those that a first head finds hardest (bootstrapping, Sung and Poggio,
 * Example-Based Learning for View-Based Human Face Detection, IEEE PAMI 20, 1998).
 */
function withHard(
  taught: readonly Rows[],
  heard: QuantisedRows,
  among: readonly number[],
  general: Rows,
): Rows {
  const { dim } = general;
  const spread = spreadOver(among.length, SPREAD_ROWS).map((place) => among[place]!);
  const first = joinRows([general, restore(heard, spread)], dim);
  if (among.length <= SPREAD_ROWS) return first;
  const logits = logitsOf(heard, trainHead({ examples: taught, negatives: first }, { ...FIRST }));
  const hard = [...among].sort((one, other) => logits[other]! - logits[one]!).slice(0, HARD_ROWS);
  return joinRows([first, restore(heard, hard)], dim);
}

/** The first head only has to find what is hard. */
const FIRST = { penalty: 1e-3, tellingShare: 0.3, rounds: 0 } as const;

/** Of all rows of these moments. */
function rowNumbers(moments: HeardBackground['moments']): number[] {
  return moments.flatMap(({ first, count }) => Array.from({ length: count }, (_, n) => first + n));
}

/** At most `most` places of `count`, evenly. */
function spreadOver(count: number, most: number): number[] {
  const kept = Math.min(count, most);
  return Array.from({ length: kept }, (_, n) => Math.floor((n * count) / kept));
}

function logitsOfRows({ weights, bias }: Head, { values, count, dim }: Rows): number[] {
  return Array.from({ length: count }, (_, n) => {
    let sum = bias;
    for (let d = 0; d < dim; d += 1) sum += weights[d]! * values[n * dim + d]!;
    return sum;
  });
}

function emptyOf(dim: number): QuantisedRows {
  return { codes: new Int8Array(0), scales: new Float32Array(0), count: 0, dim };
}
