import type { Plane } from './logistic.js';
import { meanOf, type Rows } from './rows.js';

/** Brings each number of an embedding to the same scale. */
export interface Normaliser {
  /** [dim] */
  readonly mean: Float64Array;
  /** [dim], > 0 */
  readonly scale: Float64Array;
}

/** How far scales are drawn to their mean: a number that hardly ever moves must not count most. */
const SHRINKAGE = 0.5;

/**
 * Mean 0, and a variance of about 1 / dim, so that a row has about the length 1 and one penalty fits embeddings of any
 * width.
 */
export function normaliserOf(rows: Rows): Normaliser {
  const { values, count, dim } = rows;
  const mean = meanOf(rows);
  const deviation = new Float64Array(dim);
  for (let at = 0; at < values.length; at += dim) {
    for (let d = 0; d < dim; d += 1) deviation[d]! += (values[at + d]! - mean[d]!) ** 2;
  }
  let typical = 0;
  for (let d = 0; d < dim; d += 1) {
    deviation[d] = Math.sqrt(deviation[d]! / Math.max(1, count));
    typical += deviation[d]! / dim;
  }
  // All rows alike: any scale will do.
  if (typical === 0) typical = 1;
  const scale = deviation.map((own) => (SHRINKAGE * typical + (1 - SHRINKAGE) * own) * Math.sqrt(dim));
  return { mean, scale };
}

export function normalised({ values, count, dim }: Rows, { mean, scale }: Normaliser): Rows {
  const out = new Float32Array(values.length);
  for (let at = 0; at < values.length; at += dim) {
    for (let d = 0; d < dim; d += 1) out[at + d] = (values[at + d]! - mean[d]!) / scale[d]!;
  }
  return { values: out, count, dim };
}

/** The plane that says of an embedding as it comes what `plane` says of it when it is normalised. */
export function folded({ weights, bias }: Plane, { mean, scale }: Normaliser): Plane {
  let shift = 0;
  const raw = weights.map((weight, d) => {
    const own = weight / scale[d]!;
    shift += own * mean[d]!;
    return own;
  });
  return { weights: raw, bias: bias - shift };
}
