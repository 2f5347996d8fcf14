import type { Rows } from './rows.js';

/**
 * Embeddings in one byte for each number: number = code · scale of its row. The error is at most half a scale, which is
 * 1/254 of the largest magnitude of the row.
 */
export interface QuantisedRows {
  /** Int8Array, [count × dim]. */
  readonly codes: Int8Array;
  /** Float32Array, [count]. */
  readonly scales: Float32Array;
  readonly count: number;
  readonly dim: number;
}

const MOST = 127;

/** Each row with a scale of its own; numbers that are not finite count as 0. */
export function quantise({ values, count, dim }: Rows): QuantisedRows {
  const codes = new Int8Array(count * dim);
  const scales = new Float32Array(count);
  for (let n = 0; n < count; n += 1) {
    const at = n * dim;
    let largest = 0;
    for (let d = 0; d < dim; d += 1) {
      const magnitude = Math.abs(values[at + d]!);
      if (magnitude > largest && magnitude < Infinity) largest = magnitude;
    }
    const scale = Math.fround(largest / MOST);
    scales[n] = scale;
    if (scale === 0) continue;
    for (let d = 0; d < dim; d += 1) {
      const value = values[at + d]!;
      codes[at + d] = Number.isFinite(value) ? Math.max(-MOST, Math.min(MOST, Math.round(value / scale))) : 0;
    }
  }
  return { codes, scales, count, dim };
}

/** The rows of these numbers as they were, but for rounding. */
export function restore({ codes, scales, dim }: QuantisedRows, numbers: readonly number[]): Rows {
  const values = new Float32Array(numbers.length * dim);
  numbers.forEach((row, n) => {
    const scale = scales[row]!;
    const from = row * dim;
    for (let d = 0; d < dim; d += 1) values[n * dim + d] = codes[from + d]! * scale;
  });
  return { values, count: numbers.length, dim };
}

/** `weights · row + bias` of every row, [count], without restoring them. */
export function logitsOf(
  { codes, scales, count, dim }: QuantisedRows,
  { weights, bias }: { readonly weights: Float32Array | Float64Array; readonly bias: number },
): Float64Array {
  const logits = new Float64Array(count);
  for (let n = 0, at = 0; n < count; n += 1, at += dim) {
    let sum = 0;
    for (let d = 0; d < dim; d += 1) sum += weights[d]! * codes[at + d]!;
    logits[n] = sum * scales[n]! + bias;
  }
  return logits;
}
