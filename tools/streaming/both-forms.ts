import { cpuUsage } from 'node:process';
import * as runtime from 'onnxruntime-node';
import type { ArchitectureInput } from '../../src/convert/architecture.js';
import { OPSET } from '../../src/convert/graph.js';
import { writeOnnx, type OnnxGraph } from '../../src/convert/onnx.js';
import { streamInputs } from '../../src/convert/streaming/stream-inputs.js';
import {
  streamNetwork,
  type StreamedNetwork,
  type StreamRequest,
} from '../../src/convert/streaming/stream-network.js';
import type { Manifest } from '../../src/models/manifest.js';
import type { InputTensor } from '../../src/inference/model-input.js';
import { createNetworkStream, type NetworkStream } from '../../src/inference/network-stream.js';
import { sessionOptions } from '../../src/inference/runtime.js';
import { feedsOf } from '../../src/inference/stream-trial.js';

/* A network in both forms, and what the two are compared by. */

export interface Subject {
  name: string;
  graph: OnnxGraph;
  input: Manifest['input'];
}

export interface Forms {
  windowSamples: number;
  /** Names of the outputs. */
  outputs: readonly string[];
  streamed: StreamedNetwork;
  stream: NetworkStream;
  /** The outputs of a whole window. */
  whole: (window: readonly InputTensor[]) => Promise<runtime.InferenceSession.OnnxValueMapType>;
}

/** Windows come once a second, on the average. */
export const HOP_SECONDS = 1;

/** Both forms, with their files in `folder`; or why there is no second one. */
export async function openForms(
  { graph, input }: Subject,
  conditions: { windowSeconds: number; leftEdge: StreamRequest['leftEdge']; folder: string },
): Promise<Forms | { reason: string }> {
  const rate = input.sample_rate;
  const windowSamples = Math.round(conditions.windowSeconds * rate);
  const streamed = streamNetwork(graph, {
    inputs: await streamInputs(asArchitecture(input), { sampleRate: rate, windowSamples }, namesOf(input)),
    windowSamples,
    hopSamples: HOP_SECONDS * rate,
    leftEdge: conditions.leftEdge,
  });
  if ('reason' in streamed) return streamed;
  const open = async (file: string, form: OnnxGraph): Promise<runtime.InferenceSession> => {
    const path = `${conditions.folder}/${file}`;
    await writeOnnx(path, { opset: OPSET, graph: form });
    return runtime.InferenceSession.create(path, sessionOptions(1));
  };
  const whole = await open('whole.onnx', graph);
  const session = await open('stream.onnx', streamed.graph);
  const outputs = graph.outputs.map((output) => output.name);
  const stream = createNetworkStream({ runtime, session, plan: streamed.plan, outputs });
  return { windowSamples, outputs, streamed, stream, whole: (window) => whole.run(feedsOf(runtime, window)) };
}

/** How far the window moves with each hop, in samples: whole steps of the grid, and a second on the average. */
export function createHops(rate: number, gridSamples: number): () => number {
  let due = 0;
  return () => {
    due += HOP_SECONDS * rate;
    const moved = Math.max(1, Math.floor(due / gridSamples)) * gridSamples;
    due -= moved;
    return moved;
  };
}

function asArchitecture(input: Manifest['input']): ArchitectureInput {
  if (input.kind === 'waveform') return { kind: 'waveform' };
  return { kind: input.kind, layout: input.layout, frontend: input.frontend };
}

function namesOf(input: Manifest['input']): { logMel?: string; waveform?: string } {
  if (input.kind === 'waveform') return { waveform: input.name };
  return input.kind === 'log_mel'
    ? { logMel: input.name }
    : { logMel: input.name, waveform: input.waveform_name };
}

/** What it gives, and the CPU that it took, ms: of the process, so that nothing else may run in it. */
export async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const before = cpuUsage();
  const result = await work();
  const { user, system } = cpuUsage(before);
  return [result, (user + system) / 1000];
}

/** Of an output in the two forms; `relative` is in proportion to its largest number. */
export function difference(
  found: runtime.Tensor | undefined,
  expected: runtime.Tensor | undefined,
): { absolute: number; relative: number } {
  if (found === undefined || found.dims.join() !== expected?.dims.join()) {
    return { absolute: Infinity, relative: Infinity };
  }
  const [a, b] = [found.data as Float32Array, expected.data as Float32Array];
  let [absolute, scale] = [0, 1];
  for (let i = 0; i < b.length; i += 1) {
    const off = Math.abs(a[i]! - b[i]!);
    if (!(off <= absolute)) absolute = Number.isNaN(off) ? Infinity : off;
    scale = Math.max(scale, Math.abs(b[i]!));
  }
  return { absolute, relative: absolute / scale };
}
