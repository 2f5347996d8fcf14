import { minimise } from './minimise.js';
import type { Rows } from './rows.js';

/** A plane: `weights · x + bias` is the logit of the positive class. */
export interface Plane {
  readonly weights: Float64Array;
  readonly bias: number;
}

/**
 * Logistic regression with a quadratic penalty on the weights, both classes weighing the same however many rows they
 * have (Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 2nd ed., 2009, section 4.4; class
 * weights after King and Zeng, Logistic Regression in Rare Events Data, Political Analysis 9, 2001). The minimum of
 *
 *   ½ mean⁺ ln(1 + e^−z) + ½ mean⁻ ln(1 + e^z) + ½ penalty ‖weights − prior‖²,  z = weights · x + bias
 *
 * @param prior where the penalty pulls the weights to; zeros by default
 * @param start where the search begins; `prior` by default
 * @param positiveWeights what each positive row counts; all the same by default
 */
export function fitLogistic(
  positives: Rows,
  negatives: Rows,
  options: { penalty: number; prior?: Plane; start?: Plane; positiveWeights?: Float64Array },
): Plane {
  const { dim } = positives;
  const { penalty, prior, positiveWeights } = options;
  const start = options.start ?? prior;
  const centre = prior?.weights ?? new Float64Array(dim);
  const parts = [
    { rows: positives, sign: 1, weights: shares(positives.count, positiveWeights) },
    { rows: negatives, sign: -1, weights: shares(negatives.count) },
  ] as const;
  const loss = (x: Float64Array, gradient: Float64Array): number => {
    let value = 0;
    gradient[dim] = 0;
    for (let d = 0; d < dim; d += 1) {
      const off = x[d]! - centre[d]!;
      value += 0.5 * penalty * off * off;
      gradient[d] = penalty * off;
    }
    for (const { rows, sign, weights } of parts) {
      const { values } = rows;
      for (let n = 0, at = 0; n < rows.count; n += 1, at += dim) {
        let z = x[dim]!;
        for (let d = 0; d < dim; d += 1) z += x[d]! * values[at + d]!;
        value += weights[n]! * softplus(-sign * z);
        const pull = -sign * weights[n]! * logistic(-sign * z);
        for (let d = 0; d < dim; d += 1) gradient[d]! += pull * values[at + d]!;
        gradient[dim] += pull;
      }
    }
    return value;
  };
  const from = new Float64Array(dim + 1);
  if (start !== undefined) from.set(start.weights);
  from[dim] = start?.bias ?? 0;
  const found = minimise(loss, from);
  return { weights: found.slice(0, dim), bias: found[dim]! };
}

/** Weights of a class, which add up to a half. */
function shares(count: number, weights?: Float64Array): Float64Array {
  if (weights === undefined) return new Float64Array(count).fill(0.5 / count);
  const sum = weights.reduce((all, one) => all + one, 0);
  return weights.map((one) => (0.5 * one) / sum);
}

/** 1 / (1 + e^−z), 0 … 1. */
export function logistic(z: number): number {
  return z >= 0 ? 1 / (1 + Math.exp(-z)) : 1 - 1 / (1 + Math.exp(z));
}

/** ln(1 + e^z) without overflow. */
export function softplus(z: number): number {
  return z > 0 ? z + Math.log1p(Math.exp(-z)) : Math.log1p(Math.exp(z));
}
