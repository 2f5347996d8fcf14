import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { PlannedCut, EdgePlaces } from '../convert/streaming/plan.js';
import { lengthOf, type Moved, type Run } from './kept-values.js';
import type { OnnxRuntime } from './runtime.js';
import { createSlidingRows } from './sliding-rows.js';

/** What is kept of one value that is cut up; the same calls as those of all that is kept. */
export interface KeptCut {
  readonly bytes: number;
  fits(run: Moved): boolean;
  has(run: Moved): boolean;
  clear(): void;
  offer(run: Run, feeds: Record<string, Tensor>, fetches: Record<string, Tensor | null>): void;
  take(run: Run, results: InferenceSession.OnnxValueMapType): void;
}

/** @param usualSteps of hops, for which memory is there from the beginning */
export function createKeptCut(runtime: OnnxRuntime, cut: PlannedCut, usualSteps: number): KeptCut {
  const { input, dims, axis, output, columns, edge, tail } = cut;
  const outer = lengthOf(dims.slice(0, axis));
  const inner = lengthOf(dims.slice(axis + 1));
  const width = outer * inner;
  const between = dims[axis]!;
  const given = new Float32Array(width * between);
  const givenTensor = new runtime.Tensor('float32', given, dims);
  const table = edge === null ? null : createEdges(edge, { outer, inner, usualSteps });
  const columnsOf = (steps: number): number => columns.fixed + steps * columns.perStep;
  let made = new Float32Array(width * columnsOf(usualSteps));
  return {
    get bytes() {
      return given.byteLength + made.byteLength + (table?.bytes ?? 0);
    },
    fits: (run) => table?.fits(run) ?? true,
    has: (run) => table?.has(run) ?? true,
    clear() {
      // What comes of the sound before the window, which is not there, nobody looks at; but it must be numbers.
      given.fill(0);
      table?.clear();
    },
    offer(run, feeds, fetches) {
      const { steps, isFirst } = run;
      const count = columnsOf(steps);
      if (width * count > made.length && !isFirst) made = new Float32Array(width * count);
      const dimsMade = dims.map((dim, at) => (at === axis ? count : dim));
      fetches[output] = isFirst
        ? null
        : new runtime.Tensor('float32', made.subarray(0, width * count), dimsMade);
      if (!isFirst) table?.read(run, { data: given, columns: between });
      feeds[input] = givenTensor;
    },
    take(run, results) {
      const count = columnsOf(run.steps);
      const source = { data: results[output]!.data as Float32Array, columns: count };
      copyBlocks(source.data, given, {
        ...{ outer, rows: 1, length: tail.columns * inner },
        from: { at: (count - tail.behind - tail.columns) * inner, outer: count * inner, row: 0 },
        to: { at: (between - tail.columns) * inner, outer: between * inner, row: 0 },
      });
      table?.write(run, source);
    },
  };
}

/** The edges of windows to come. */
interface Edges {
  readonly bytes: number;
  fits(run: Moved): boolean;
  has(run: Moved): boolean;
  clear(): void;
  /** Copies that of a run's window. */
  read(run: Moved, target: Columns): void;
  /** Copies those that a run has made. */
  write(run: Run, source: Columns): void;
}

/**
 * Edges lie in a table of [outer, columns, inner]: of each window one where those of one window after the other have no
 * columns in common; else each row is a column, of which an edge is several.
 */
function createEdges(
  { columns, lag, last, perStep }: EdgePlaces,
  { outer, inner, usualSteps }: { outer: number; inner: number; usualSteps: number },
): Edges {
  const isByColumn = columns > perStep;
  const [rowColumns, rowsPerEdge] = isByColumn ? [1, columns] : [columns, 1];
  const [rowsPerStep, stride] = isByColumn ? [perStep, 1] : [1, perStep];
  const rowLength = outer * rowColumns * inner;
  const count = lag * rowsPerStep + rowsPerEdge;
  const room = Math.max(usualSteps * rowsPerStep, Math.ceil(count / 4));
  const rows = createSlidingRows(rowLength, count + room);
  /** How many steps newer the newest is than that of the run's window: it is that of `lag` windows after the window before. */
  const newer = ({ steps, longer }: Moved): number => lag - steps + longer;

  return {
    get bytes() {
      return rows.bytes;
    },
    fits: (run) => newer(run) >= 0,
    has: (run) => newer(run) >= 0 && newer(run) * rowsPerStep + rowsPerEdge <= rows.count,
    clear() {
      rows.replace(new Float32Array(0), 0);
    },
    read(run, target) {
      copyBlocks(rows.view(rowsPerEdge, newer(run) * rowsPerStep), target.data, {
        ...{ outer, rows: rowsPerEdge, length: rowColumns * inner },
        from: { at: 0, outer: rowColumns * inner, row: rowLength },
        to: { at: 0, outer: target.columns * inner, row: rowColumns * inner },
      });
    },
    write({ steps, isFirst }, source) {
      const made = isFirst ? (steps - 1) * rowsPerStep + rowsPerEdge : steps * rowsPerStep;
      const kept = Math.min(made, count);
      const data = rows.reserve(kept);
      const newest = source.columns + last + rowsPerEdge - 1;
      copyBlocks(source.data, data, {
        ...{ outer, rows: kept, length: rowColumns * inner },
        from: {
          at: (newest - (kept - 1) * stride) * inner,
          outer: source.columns * inner,
          row: stride * inner,
        },
        to: { at: 0, outer: rowColumns * inner, row: rowLength },
      });
      rows.commit(kept, count);
    },
  };
}

/** A tensor [outer, columns, inner]. */
interface Columns {
  data: Float32Array;
  columns: number;
}

/** Where blocks of numbers lie: the first, and how far behind it those of the next index are. */
interface Blocks {
  at: number;
  outer: number;
  row: number;
}

/**
 * Copies `outer` times `rows` blocks. A loop, since they are a few numbers each; and one function for all that is copied, which
 * is soon compiled. What is read of one `outer` is read at once: the hop's layers have driven it out of the cache.
 */
function copyBlocks(
  source: Float32Array,
  target: Float32Array,
  places: { outer: number; rows: number; length: number; from: Blocks; to: Blocks },
): void {
  const { outer, rows, length, from, to } = places;
  for (let at = 0; at < outer; at += 1) {
    for (let row = 0; row < rows; row += 1) {
      const read = from.at + at * from.outer + row * from.row;
      const write = to.at + at * to.outer + row * to.row;
      for (let i = 0; i < length; i += 1) target[write + i] = source[read + i]!;
    }
  }
}
