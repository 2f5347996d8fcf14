import { normalQuantile } from './normal-quantile.js';

/** One point of a precision–recall curve: what is said to be there from `threshold` on. */
export interface CurvePoint {
  threshold: number;
  precision: number;
  recall: number;
}

/** How well scores of one label tell the pieces that have it from those that have not. */
export interface Ranking {
  positives: number;
  count: number;
  averagePrecision: number;
  /** Area under the ROC curve. */
  auc: number;
  /** One point for each score that occurs, from the highest to the lowest. */
  curve: CurvePoint[];
}

/**
 * Ranks the pieces by their scores. Average precision is Σ (Rₙ − Rₙ₋₁) Pₙ over the thresholds that occur, without
 * interpolation, and equal scores are one threshold (as scikit-learn's `average_precision_score`); the area under the
 * ROC curve is the part of the pairs of a positive and a negative piece in which the positive one has the higher score,
 * equal scores being half a pair (Mann and Whitney; as `roc_auc_score`).
 *
 * @param scores Float32Array, [pieces]
 * @param truth [pieces], 1 where the label is there, else 0
 * @returns null where all pieces have the label, or none has: then there is nothing to tell apart.
 */
export function rank(scores: Float32Array, truth: Uint8Array): Ranking | null {
  const count = scores.length;
  let positives = 0;
  for (const is of truth) positives += is;
  const negatives = count - positives;
  if (positives === 0 || negatives === 0) return null;
  const order = Uint32Array.from(scores, (_, index) => index).sort((a, b) => scores[b]! - scores[a]!);
  const curve: CurvePoint[] = [];
  let truePositives = 0;
  let falsePositives = 0;
  let averagePrecision = 0;
  /** Pairs in which the positive piece is ahead, times 2: a whole number as long as there are few enough. */
  let pairsAheadTwice = 0;
  for (let at = 0; at < count;) {
    const threshold = scores[order[at]!]!;
    let hits = 0;
    let misses = 0;
    for (; at < count && scores[order[at]!] === threshold; at += 1) {
      if (truth[order[at]!] === 1) hits += 1;
      else misses += 1;
    }
    pairsAheadTwice += misses * (2 * truePositives + hits);
    truePositives += hits;
    falsePositives += misses;
    const precision = truePositives / (truePositives + falsePositives);
    averagePrecision += (hits / positives) * precision;
    curve.push({ threshold, precision, recall: truePositives / positives });
  }
  return { positives, count, averagePrecision, auc: pairsAheadTwice / (2 * positives * negatives), curve };
}

/**
 * d′ = √2 Φ⁻¹(AUC): how far apart, in standard deviations, two normal distributions would lie that gave this area
 * (Hershey et al. 2017, “CNN architectures for large-scale audio classification”). Infinite for an AUC of 0 or 1.
 */
export function dPrime(auc: number): number {
  return Math.SQRT2 * normalQuantile(auc);
}

/** How good the decision “from this threshold on” is. */
export interface Decision {
  threshold: number;
  /** Null where nothing reaches the threshold. */
  precision: number | null;
  recall: number;
  f1: number;
}

/** What a threshold makes of the pieces of a curve. */
export function decisionAt({ curve }: Ranking, threshold: number): Decision {
  const last = curve.findLast((point) => point.threshold >= threshold);
  if (last === undefined) return { threshold, precision: null, recall: 0, f1: 0 };
  const { precision, recall } = last;
  const f1 = precision + recall === 0 ? 0 : (2 * precision * recall) / (precision + recall);
  return { threshold, precision, recall, f1 };
}

/**
 * The threshold with the greatest recall of those with at least the wanted precision; null where none has it. It lies
 * in the middle between the lowest score that it lets in and the highest that it keeps out, rounded as far as that goes.
 */
export function thresholdFor(ranking: Ranking, wantedPrecision: number): Decision | null {
  const { curve } = ranking;
  const at = curve.findLastIndex(({ precision, recall }) => precision >= wantedPrecision && recall > 0);
  const point = curve[at];
  if (point === undefined) return null;
  return decisionAt(ranking, middleOf(curve[at + 1]?.threshold ?? 0, point.threshold));
}

/** The middle between two numbers, rounded to so few decimals that it is above `below` and not above `most`. */
function middleOf(below: number, most: number): number {
  const middle = (below + most) / 2;
  for (let scale = 100; scale <= 1e9; scale *= 10) {
    const rounded = Math.round(middle * scale) / scale;
    if (rounded > below && rounded <= most) return rounded;
  }
  return most;
}

/**
 * At most `most` points of a curve, for a picture or a file: the first and the last of it, and between them one for each
 * step of recall, that with the highest precision.
 */
export function thinCurve(curve: readonly CurvePoint[], most: number): CurvePoint[] {
  if (curve.length <= most) return [...curve];
  const inner = most - 2;
  const best = new Map<number, CurvePoint>();
  for (const point of curve.slice(1, -1)) {
    const step = Math.min(inner - 1, Math.floor(point.recall * inner));
    const known = best.get(step);
    if (known === undefined || point.precision > known.precision) best.set(step, point);
  }
  return [curve[0]!, ...best.values(), curve.at(-1)!];
}
