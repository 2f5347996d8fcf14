/** Embeddings below each other in one piece of memory. */
export interface Rows {
  /** Float32Array, [count × dim]. */
  readonly values: Float32Array;
  readonly count: number;
  readonly dim: number;
}

/** The same from single embeddings, all of one length. */
export function rowsOf(embeddings: readonly Float32Array[], dim = embeddings[0]?.length ?? 0): Rows {
  const values = new Float32Array(embeddings.length * dim);
  embeddings.forEach((embedding, n) => values.set(embedding, n * dim));
  return { values, count: embeddings.length, dim };
}

/** Row `n`, as a view. */
export function rowAt({ values, dim }: Rows, n: number): Float32Array {
  return values.subarray(n * dim, (n + 1) * dim);
}

/** The rows of these numbers, as a copy. */
export function pickRows(rows: Rows, numbers: readonly number[]): Rows {
  return rowsOf(
    numbers.map((n) => rowAt(rows, n)),
    rows.dim,
  );
}

/** All rows of all parts, which have the same width. */
export function joinRows(parts: readonly Rows[], dim: number): Rows {
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  const values = new Float32Array(count * dim);
  let at = 0;
  for (const part of parts) {
    values.set(part.values, at);
    at += part.values.length;
  }
  return { values, count, dim };
}

/** The mean of each column, [dim]; zeros where there is no row. */
export function meanOf({ values, count, dim }: Rows): Float64Array {
  const mean = new Float64Array(dim);
  for (let at = 0; at < values.length; at += dim) {
    for (let d = 0; d < dim; d += 1) mean[d]! += values[at + d]!;
  }
  if (count > 0) for (let d = 0; d < dim; d += 1) mean[d]! /= count;
  return mean;
}
