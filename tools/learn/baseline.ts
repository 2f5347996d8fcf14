import { rowAt, type Rows } from '../../src/learning/rows.js';
import { restore, type QuantisedRows } from '../../src/learning/quantised.js';

/** More frames of the examples would only take longer. */
const MOST_FRAMES = 40;
const BLOCK_ROWS = 4096;

/** The baseline: the cosine of an embedding to the nearest frame of the examples, with nothing learnt. */
export function createNearest(examples: readonly Rows[]): {
  ofRows(rows: Rows): Float64Array;
  ofQuantised(rows: QuantisedRows): Float64Array;
} {
  const all = examples.flatMap((rows) => Array.from({ length: rows.count }, (_, n) => rowAt(rows, n)));
  const step = Math.max(1, all.length / MOST_FRAMES);
  const known = Array.from({ length: Math.min(all.length, MOST_FRAMES) }, (_, n) =>
    unit(all[Math.floor(n * step)]!),
  );

  function nearest(row: Float32Array): number {
    let best = -1;
    let own = 0;
    for (const value of row) own += value * value;
    const length = Math.sqrt(own) || 1;
    for (const one of known) {
      let sum = 0;
      for (let d = 0; d < row.length; d += 1) sum += one[d]! * row[d]!;
      best = Math.max(best, sum / length);
    }
    return best;
  }

  const ofRows = (rows: Rows) => Float64Array.from({ length: rows.count }, (_, n) => nearest(rowAt(rows, n)));
  return {
    ofRows,
    ofQuantised(rows) {
      const scores = new Float64Array(rows.count);
      for (let from = 0; from < rows.count; from += BLOCK_ROWS) {
        const count = Math.min(BLOCK_ROWS, rows.count - from);
        const block = restore(
          rows,
          Array.from({ length: count }, (_, n) => from + n),
        );
        scores.set(ofRows(block), from);
      }
      return scores;
    },
  };
}

function unit(row: Float32Array): Float32Array {
  const length = Math.hypot(...row) || 1;
  return row.map((value) => value / length);
}
