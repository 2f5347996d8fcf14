import { fitLogistic, logistic, type Plane } from './logistic.js';
import { folded, normalised, normaliserOf } from './normaliser.js';
import { joinRows, meanOf, rowAt, type Rows } from './rows.js';

/** What a taught label is: a plane through the embeddings of one network, as they come out of it. */
export interface Head {
  /** Float32Array, [dim]. */
  readonly weights: Float32Array;
  readonly bias: number;
}

/** How much the taught sound is in an embedding, 0 … 1. */
export function scoreOf(head: Head, embedding: Float32Array): number {
  return logistic(logitOf(head, embedding));
}

/** The same on a scale without ends. */
export function logitOf({ weights, bias }: Head | Plane, embedding: Float32Array): number {
  let sum = bias;
  for (let d = 0; d < weights.length; d += 1) sum += weights[d]! * embedding[d]!;
  return sum;
}

/** The highest logit of the rows; −Infinity where there are none. */
export function highestOf(head: Head | Plane, rows: Rows): number {
  let highest = -Infinity;
  for (let n = 0; n < rows.count; n += 1) highest = Math.max(highest, logitOf(head, rowAt(rows, n)));
  return highest;
}

export interface HeadSettings {
  /** Of the quadratic penalty, see `fitLogistic`. */
  readonly penalty: number;
  /** The share of an example's frames that has to be told from everything else: its most telling ones. */
  readonly tellingShare: number;
  /** How often the most telling frames are chosen again. */
  readonly rounds: number;
}

/** Chosen on homes other than those of the benchmark's tables, with the same kinds of sounds; see docs/learning.md. */
export const HEAD_SETTINGS: HeadSettings = { penalty: 1e-4, tellingShare: 0.3, rounds: 2 };

/**
 * A head for the sound of which `examples` are examples, each with the frames in which it sounds (and those of its
 * augmented copies), against everything in `negatives`.
 *
 * Logistic regression that begins at the difference of the two classes' prototypes, their means (Snell, Swersky and
 * Zemel, Prototypical Networks for Few-shot Learning, NeurIPS 2017: with squared distances to prototypes the logits are
 * linear, equation 8). One frame over the threshold is enough to find a sound, so not all of its frames need to be told
 * from all others: after a first fit only the most telling ones of each example count, as in multiple-instance learning
 * (Andrews, Tsochantaridis and Hofmann, Support Vector Machines for Multiple-Instance Learning, NIPS 2002).
 *
 * Deterministic. Takes a second or less for some thousand negatives of 384 numbers on one core.
 */
export function trainHead(
  { examples, negatives }: { examples: readonly Rows[]; negatives: Rows },
  settings: HeadSettings = HEAD_SETTINGS,
): Head {
  const { dim } = negatives;
  const { penalty, tellingShare, rounds } = settings;
  const normaliser = normaliserOf(negatives);
  const positives = normalised(joinRows(examples, dim), normaliser);
  const others = normalised(negatives, normaliser);
  let weights = exampleWeights(examples, () => 1);
  let plane = prototypePlane(positives, others);
  plane = fitLogistic(positives, others, { penalty, start: plane, positiveWeights: weights });
  for (let round = 0; round < rounds; round += 1) {
    weights = exampleWeights(examples, (from, count) =>
      tellingWeights(plane, positives, from, count, tellingShare),
    );
    plane = fitLogistic(positives, others, { penalty, start: plane, positiveWeights: weights });
  }
  const { weights: raw, bias } = folded(plane, normaliser);
  return { weights: Float32Array.from(raw), bias };
}

/** The plane in the middle between the classes' means. */
export function prototypePlane(positives: Rows, negatives: Rows): Plane {
  const own = meanOf(positives);
  const other = meanOf(negatives);
  const weights = own.map((value, d) => value - other[d]!);
  let bias = 0;
  for (let d = 0; d < weights.length; d += 1) bias -= 0.5 * weights[d]! * (own[d]! + other[d]!);
  return { weights, bias };
}

/** Every example counts the same, however long it is; within it frames count as `of` says. */
function exampleWeights(
  examples: readonly Rows[],
  of: (from: number, count: number) => Float64Array | number,
): Float64Array {
  const weights = new Float64Array(examples.reduce((sum, { count }) => sum + count, 0));
  let from = 0;
  for (const { count } of examples) {
    const own = of(from, count);
    for (let n = 0; n < count; n += 1) weights[from + n] = typeof own === 'number' ? own / count : own[n]!;
    from += count;
  }
  return weights;
}

/** One for each of the most telling rows, over how many those are. */
function tellingWeights(plane: Plane, rows: Rows, from: number, count: number, share: number): Float64Array {
  const logits = Float64Array.from({ length: count }, (_, n) => logitOf(plane, rowAt(rows, from + n)));
  const order = [...logits.keys()].sort((one, other) => logits[other]! - logits[one]!);
  const kept = Math.max(1, Math.ceil(share * count));
  const weights = new Float64Array(count);
  for (const n of order.slice(0, kept)) weights[n] = 1 / kept;
  return weights;
}
