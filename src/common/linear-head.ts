/**
 * A learnt label as arithmetic: a logistic regression on an embedding. What standardises the embedding (mean and
 * spread of each feature) and what calibrates the score (Platt 1999: a slope and an offset in front of the logistic)
 * are linear as well, and so are part of the weights and the bias.
 */
export interface LinearHead {
  /** Float32Array, [features]. */
  readonly weights: Float32Array;
  readonly bias: number;
  /** The embedding is brought to the length 1 before (cosine similarity), which no weights can do. */
  readonly unitLength?: boolean;
}

/**
 * The score of an embedding: 1 / (1 + exp(−(weights · x + bias))), x being the embedding or, with `unitLength`, the
 * embedding divided by its length. An embedding of length 0 counts as it is.
 *
 * @param values Float32Array with at least [from + features] numbers
 * @param from where in it the embedding begins
 * @returns 0 … 1; 0 where it is not a number, because the embedding holds what is none
 */
export function scoreOf(head: LinearHead, values: Float32Array, from = 0): number {
  const { weights, bias } = head;
  const features = weights.length;
  let product = 0;
  for (let at = 0; at < features; at += 1) product += weights[at]! * values[from + at]!;
  if (head.unitLength === true) product /= lengthOf(values, from, features);
  const score = 1 / (1 + Math.exp(-(product + bias)));
  return Number.isNaN(score) ? 0 : score;
}

/** The Euclidean length; 1 for an embedding of nothing but zeros. */
function lengthOf(values: Float32Array, from: number, features: number): number {
  let squares = 0;
  for (let at = from; at < from + features; at += 1) squares += values[at]! * values[at]!;
  return squares > 0 ? Math.sqrt(squares) : 1;
}
