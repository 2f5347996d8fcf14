import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { PlannedInput, StreamPlan } from '../convert/streaming/plan.js';
import { createKeptValues, lengthOf, type Run } from './kept-values.js';
import type { InputTensor } from './model-input.js';
import type { OnnxRuntime } from './runtime.js';

/**
 * A streamed network and what was kept of one stream of sound. What is kept lies in memory that ONNX Runtime reads
 * and writes itself; of small values it is copied there.
 */
export interface NetworkStream {
  /** Of what is kept. */
  readonly bytes: number;
  /** How often all of a window had to be computed. */
  readonly beginnings: number;
  /** Whether windows of this length can be computed with what the network was planned for. */
  fits(windowSamples: number): boolean;
  /**
   * The outputs for a window. Where the window follows the one before it, only what is new is computed; else all of it.
   * @param window the inputs of the whole window
   * @param movedSamples how far its end is behind that of the window before; null where they do not join
   * @param wanted which outputs; those that the stream was made with where it is left out
   * Throws RangeError for a window of a length that does not fit.
   */
  infer(
    window: readonly InputTensor[],
    windowSamples: number,
    movedSamples: number | null,
    wanted?: readonly string[],
  ): Promise<InferenceSession.OnnxValueMapType>;
}

/** @param outputs the outputs that are wanted, of those of the whole window, where a run says nothing else */
export function createNetworkStream(options: {
  runtime: OnnxRuntime;
  session: Pick<InferenceSession, 'run'>;
  plan: StreamPlan;
  outputs: readonly string[];
}): NetworkStream {
  const { runtime, session, plan, outputs } = options;
  const { gridSamples } = plan;
  const kept = createKeptValues(runtime, plan);
  const tensor: MakeTensor = (data, dims) => new runtime.Tensor('float32', data, dims);
  /**
   * How many steps of the grid a window of the planned length begins behind the first sound that is known; null where
   * what is kept is of no use.
   */
  let startSteps: number | null = null;
  let beginnings = 0;

  const longerBy = (windowSamples: number): number => (windowSamples - plan.windowSamples) / gridSamples;

  function fits(windowSamples: number): boolean {
    const longer = longerBy(windowSamples);
    return Number.isInteger(longer) && longer <= 0 && kept.fits(longer);
  }

  function canFollow(run: Run): boolean {
    const isHop = Number.isInteger(run.steps) && run.steps > 0;
    return isHop && startSteps !== null && startSteps + run.steps >= run.longer && kept.has(run);
  }

  async function compute(
    window: readonly InputTensor[],
    run: Run,
    wanted: readonly string[],
  ): Promise<InferenceSession.OnnxValueMapType> {
    const feeds: Record<string, Tensor> = {};
    const fetches: Record<string, Tensor | null> = {};
    for (const name of wanted) fetches[name] = null;
    for (const input of plan.inputs) feedInput(feeds, input, { window, run, tensor });
    kept.offer(run, feeds, fetches);
    // A run that fails may have written half of what it was to write.
    const start = startSteps;
    startSteps = null;
    const results = await session.run(feeds, fetches);
    kept.take(run, results);
    startSteps = start === null ? null : start + run.steps;
    return results;
  }

  return {
    get beginnings() {
      return beginnings;
    },
    get bytes() {
      return kept.bytes;
    },
    fits,
    async infer(window, windowSamples, movedSamples, wanted = outputs) {
      if (!fits(windowSamples)) throw new RangeError(`a window of ${windowSamples} samples`);
      const longer = longerBy(windowSamples);
      const run: Run = { steps: (movedSamples ?? 0) / gridSamples, longer, isFirst: false };
      if (canFollow(run)) return compute(window, run, wanted);
      beginnings += 1;
      kept.clear();
      const all = Math.ceil(plan.windowSamples / gridSamples);
      await compute(window, { steps: all, longer, isFirst: true }, []);
      startSteps = longer - 1;
      return compute(window, { ...run, steps: 1 }, wanted);
    },
  };
}

type MakeTensor = (data: Float32Array, dims: readonly number[]) => Tensor;

/** The first and the last columns of an input. */
function feedInput(
  feeds: Record<string, Tensor>,
  planned: PlannedInput,
  { window, run, tensor }: { window: readonly InputTensor[]; run: Run; tensor: MakeTensor },
): void {
  const { name, input, head, gap, tail, timeAxis, columnsPerGrid } = planned;
  const whole = window.find((candidate) => candidate.name === name);
  if (whole === undefined) throw new RangeError(`there is no input ${name}`);
  const end = whole.dims[timeAxis]! - (run.isFirst ? columnsPerGrid : 0);
  const count = tail + run.steps * columnsPerGrid;
  const dims = whole.dims.map((dim, axis) => (axis === timeAxis ? head + gap + count : dim));
  feeds[input] = tensor(bothEnds(whole, { head, gap, from: end - count, to: end }), dims);
}

/** Columns of a tensor: the first, zeros, and a stretch with zeros before its first column; a view where it is in one piece. */
function bothEnds(
  { data, dims, timeAxis }: InputTensor,
  { head, gap, from, to }: { head: number; gap: number; from: number; to: number },
): Float32Array {
  const columns = dims[timeAxis]!;
  const outer = lengthOf(dims.slice(0, timeAxis));
  const inner = lengthOf(dims.slice(timeAxis + 1));
  if (outer === 1 && from >= 0 && head === 0) return data.subarray(from * inner, to * inner);
  const length = head + gap + to - from;
  const result = new Float32Array(outer * length * inner);
  const missing = Math.max(0, -from);
  for (let row = 0; row < outer; row += 1) {
    const begin = row * columns;
    result.set(data.subarray(begin * inner, (begin + head) * inner), row * length * inner);
    const source = data.subarray((begin + from + missing) * inner, (begin + to) * inner);
    result.set(source, (row * length + head + gap + missing) * inner);
  }
  return result;
}
