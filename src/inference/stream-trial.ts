import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { StreamPlan } from '../convert/streaming/plan.js';
import { testSound } from '../features/test-sound.js';
import type { InputTensor, ModelInput } from './model-input.js';
import { createNetworkStream } from './network-stream.js';
import type { LoadRequest, LoadStep } from './protocol.js';
import type { OnnxRuntime } from './runtime.js';
import { finishScores } from './scores.js';
import type { SessionSlot } from './session-slot.js';
import type { OutputShapes } from './stream-record.js';

/* The trial of a stream: both forms of a network over the same sound, what each costs and how far they are apart. */

/** Hops of the trial, after the first window. */
const TRIAL_HOPS = 5;

/** What a stream is made and tried with. */
export interface StreamParts {
  runtime: OnnxRuntime;
  request: LoadRequest;
  fixedWindow: boolean;
  createInput: (maxWindowSamples: number) => ModelInput;
  /** The network for whole windows. */
  whole: SessionSlot;
  /** Whether there is room for a second form while it is made: ONNX Runtime holds it several times then. */
  hasRoomForBoth: () => boolean;
  onProgress: (step?: LoadStep) => void;
}

/** What came of a trial. */
export interface Tried {
  wholeMs: number;
  streamMs: number;
  keptBytes: number;
  /** The largest difference of an output, in proportion to its largest number; infinite where a number is none. */
  worst: number;
  /** The largest difference of a score. */
  scoreOff: number;
  outputs: OutputShapes;
}

/** Runs both forms over the same sound, one form after the other, so that one at a time has to be in memory. */
export async function tryBoth(
  { runtime, request: { manifest, labelCount }, createInput, whole, hasRoomForBoth, onProgress }: StreamParts,
  slot: SessionSlot,
  plan: StreamPlan,
): Promise<Tried> {
  const { scores, frames, embedding } = manifest.output;
  const { sample_rate: sampleRate } = manifest.input;
  const outputs = [scores, frames?.name, frames?.embedding, embedding].filter((name) => name != null);
  const over = (run: Run) =>
    runOver(plan, outputs, { input: createInput(plan.windowSamples), sampleRate, run, onProgress });

  const wholeSession = await whole.get();
  const expected = await over((input) =>
    wholeSession.run(feedsOf(runtime, input.tensors(plan.windowSamples)), outputs),
  );
  if (!hasRoomForBoth()) await whole.release();
  const stream = createNetworkStream({ runtime, session: await slot.get(), plan, outputs });
  const found = await over((input, moved) =>
    stream.infer(input.tensors(plan.windowSamples), plan.windowSamples, moved),
  );
  const apart = (a: readonly Float32Array[], b: readonly Float32Array[]): number =>
    Math.max(...a.map((values, at) => difference(values, b[at]!)));
  const worst = apart(found.outputs, expected.outputs);
  // Of each hop the scores come first.
  const [foundScores, expectedScores] = [found, expected].map(({ outputs: all }) =>
    all.filter((_, at) => at % outputs.length === 0),
  ) as [Float32Array[], Float32Array[]];
  for (const values of [...foundScores, ...expectedScores]) {
    finishScores(values, manifest.output.activation, labelCount);
  }
  const tried = {
    wholeMs: median(expected.ms),
    streamMs: median(found.ms),
    keptBytes: stream.bytes,
    worst,
    scoreOff: apart(foundScores, expectedScores),
    outputs: expected.shapes,
  };
  if (!hasRoomForBoth()) await slot.release();
  return tried;
}

type Run = (input: ModelInput, moved: number | null) => Promise<InferenceSession.OnnxValueMapType>;

/** The test sound, the same each time; times of the hops behind the first window, and all outputs. */
async function runOver(
  plan: StreamPlan,
  names: readonly string[],
  {
    input,
    sampleRate,
    run,
    onProgress,
  }: { input: ModelInput; sampleRate: number; run: Run; onProgress: () => void },
): Promise<{ ms: number[]; outputs: Float32Array[]; shapes: Record<string, readonly number[]> }> {
  const sound = testSound(plan.windowSamples + TRIAL_HOPS * plan.hopSamples, sampleRate);
  let heard = 0;
  const ms: number[] = [];
  const outputs: Float32Array[] = [];
  const shapes: Record<string, readonly number[]> = {};
  let moved: number | null = null;
  for (let hop = 0; hop <= TRIAL_HOPS; hop += 1) {
    const from = heard;
    heard += moved ?? plan.windowSamples;
    input.push(sound.subarray(from, heard));
    onProgress();
    const started = cpuMs();
    const results = await run(input, moved);
    if (hop > 0) ms.push(cpuMs() - started);
    for (const name of names) {
      const { data, dims } = results[name] as Tensor;
      outputs.push(Float32Array.from(data as Float32Array));
      shapes[name] = dims;
    }
    moved = plan.hopSamples;
  }
  return { ms, outputs, shapes };
}

function difference(found: Float32Array, expected: Float32Array): number {
  if (found.length !== expected.length) return Infinity;
  let [worst, scale] = [0, 1];
  for (let at = 0; at < expected.length; at += 1) {
    const off = Math.abs(found[at]! - expected[at]!);
    // Written so that NaN counts.
    if (!(off <= worst)) worst = Number.isNaN(off) ? Infinity : off;
    scale = Math.max(scale, Math.abs(expected[at]!));
  }
  return worst / scale;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

/** CPU of this process, in which nothing else is done: other than the time it does not grow while the machine is busy. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** The inputs of a whole window. */
export function feedsOf(runtime: OnnxRuntime, tensors: readonly InputTensor[]): Record<string, Tensor> {
  return Object.fromEntries(
    tensors.map(({ name, data, dims }) => [name, new runtime.Tensor('float32', data, dims)]),
  );
}
