import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { PlannedEdge, PlannedKept, StreamPlan } from '../convert/streaming/plan.js';
import { createKeptCut } from './kept-cut.js';
import type { OnnxRuntime } from './runtime.js';
import { createSlidingRows, type SlidingRows } from './sliding-rows.js';

/** One run of a streamed network. */
export interface Run {
  /** Steps of the grid that are new. */
  readonly steps: number;
  /** Steps that the window is longer than the planned one. */
  readonly longer: number;
  /** All is new: nothing is kept yet, and the window ends one step before the one that was handed over. */
  readonly isFirst: boolean;
}

/** What a streamed network keeps from run to run, in memory that ONNX Runtime reads and writes itself. */
export interface KeptValues {
  readonly bytes: number;
  /** Whether windows that are so many steps longer than the planned one can be computed. */
  fits(longer: number): boolean;
  /** Whether what the runs before have left is what a run needs. */
  has(run: Run): boolean;
  /** Forgets everything. */
  clear(): void;
  /** Adds what a run is given, and where it is to write. */
  offer(run: Run, feeds: Record<string, Tensor>, fetches: Record<string, Tensor | null>): void;
  /** A run has written. */
  take(run: Run, results: InferenceSession.OnnxValueMapType): void;
}

/** What is kept of a value in rows. */
interface KeptRows {
  readonly rows: SlidingRows;
  /** Rows in a step of the grid. */
  readonly perStep: number;
  /** How many are kept. */
  readonly count: number;
}

/** Hops of so many steps of the grid more than the planned one are possible without more memory. */
const SPARE_STEPS = 4;

export function createKeptValues(runtime: OnnxRuntime, plan: StreamPlan): KeptValues {
  const tensor = (data: Float32Array, dims: readonly number[]): Tensor =>
    new runtime.Tensor('float32', data, dims);
  const planned = Math.ceil(plan.hopSamples / plan.gridSamples) + SPARE_STEPS;
  const maxSteps = Math.floor(plan.maxHopSamples / plan.gridSamples);
  const usualSteps = Math.min(maxSteps, planned);
  const cuts = plan.cuts.map((cut) => createKeptCut(runtime, cut, usualSteps));
  const keptRows = (dims: readonly number[], count: number, perStep: number): KeptRows => {
    const room = Math.max(usualSteps * perStep, Math.ceil(count / 4));
    return { rows: createSlidingRows(lengthOf(dims), count + room), perStep, count };
  };
  const tails = plan.tails.map(({ input, output, dims }) => {
    const zeros = (): Tensor => tensor(new Float32Array(lengthOf(dims)), dims);
    return { input, output, now: zeros(), next: zeros() };
  });
  const edges = plan.edges.map((edge) => ({ ...edge, ...keptRows(edge.dims, edge.places.lag + 1, 1) }));
  const whole = plan.kept.map((value) => ({
    ...value,
    ...keptRows(value.dims, value.columns, value.columnsPerGrid),
  }));
  const tables = [...edges, ...whole];
  const placesOf = createPlaces(runtime);

  return {
    get bytes() {
      return (
        tails.reduce((sum, { now }) => sum + 2 * (now.data as Float32Array).byteLength, 0) +
        [...cuts, ...tables.map(({ rows }) => rows)].reduce((sum, { bytes }) => sum + bytes, 0)
      );
    },
    fits(longer) {
      const run = { steps: 1, longer };
      return (
        cuts.every((cut) => cut.fits(run)) &&
        edges.every((edge) => newerEdges(edge, run) >= 0) &&
        whole.every((value) => oldColumns(value, run) >= 0)
      );
    },
    has: (run) =>
      run.steps <= maxSteps &&
      cuts.every((cut) => cut.has(run)) &&
      edges.every((edge) => newerEdges(edge, run) >= 0 && newerEdges(edge, run) < edge.rows.count) &&
      whole.every((value) => oldColumns(value, run) >= 0 && oldColumns(value, run) <= value.rows.count),
    clear() {
      for (const cut of cuts) cut.clear();
      // What comes of the sound before the window, which is not there, nobody looks at; but it must be numbers.
      for (const { now } of tails) (now.data as Float32Array).fill(0);
      for (const { rows } of tables) rows.replace(new Float32Array(0), 0);
    },
    offer(run, feeds, fetches) {
      const { steps, isFirst } = run;
      for (const cut of cuts) cut.offer(run, feeds, fetches);
      for (const { input, output, now, next } of tails) {
        feeds[input] = now;
        fetches[output] = next;
      }
      // Room first: it may move what is there.
      for (const { rows, output, dims, perStep } of tables) {
        const count = steps * perStep;
        fetches[output] = isFirst ? null : tensor(rows.reserve(count), [count, ...dims]);
      }
      for (const edge of edges) {
        const { input, placesInput, rows, dims } = edge;
        feeds[placesInput] = placesOf(edge, steps);
        feeds[input] = tensor(
          isFirst ? new Float32Array(lengthOf(dims)) : rows.view(1, newerEdges(edge, run)),
          dims,
        );
      }
      for (const value of whole) {
        const count = isFirst ? 0 : oldColumns(value, run);
        feeds[value.input] = tensor(value.rows.view(count, 0), [count, ...value.dims]);
      }
    },
    take(run, results) {
      const { steps, isFirst } = run;
      for (const cut of cuts) cut.take(run, results);
      for (const tail of tails) [tail.now, tail.next] = [tail.next, tail.now];
      for (const { rows, output, perStep, count } of tables) {
        if (isFirst) rows.replace(results[output]!.data as Float32Array, count);
        else rows.commit(steps * perStep, count);
      }
    },
  };
}

/** Of a run, as far as what is kept goes. */
export type Moved = Pick<Run, 'steps' | 'longer'>;

/** How many are newer than the one of the run's window: the newest is that of `lag` windows after the window before. */
function newerEdges({ places }: PlannedEdge, { steps, longer }: Moved): number {
  return places.lag - steps + longer;
}

/** How many columns of a value that is wanted whole are not new. */
function oldColumns({ columns, columnsPerGrid }: PlannedKept, { steps, longer }: Moved): number {
  return columns + (longer - steps) * columnsPerGrid;
}

/** Where the columns of as many windows lie as a hop has steps; the same for hops of the same length. */
function createPlaces(runtime: OnnxRuntime): (edge: PlannedEdge, steps: number) => Tensor {
  const known = new Map<string, Tensor>();
  return ({ placesInput, places: { columns, last, perStep } }, steps) => {
    const key = `${steps} ${placesInput}`;
    let tensor = known.get(key);
    if (tensor === undefined) {
      const data = BigInt64Array.from({ length: steps * columns }, (_, i) =>
        BigInt(last + (i % columns) - (steps - 1 - Math.floor(i / columns)) * perStep),
      );
      tensor = new runtime.Tensor('int64', data, [steps, columns]);
      known.set(key, tensor);
    }
    return tensor;
  };
}

export function lengthOf(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1);
}
