import { join } from 'node:path';
import * as runtime from 'onnxruntime-node';
import type { OnnxGraph } from '../../src/convert/onnx.js';
import { writeOnnx } from '../../src/convert/onnx.js';
import { OPSET } from '../../src/convert/graph.js';
import {
  streamNetwork,
  type StreamedNetwork,
  type StreamRequest,
} from '../../src/convert/streaming/stream-network.js';
import type { InputTensor } from '../../src/inference/model-input.js';
import { createNetworkStream, type NetworkStream } from '../../src/inference/network-stream.js';
import { sessionOptions } from '../../src/inference/runtime.js';
import { feedsOf } from '../../src/inference/stream-trial.js';

type Outputs = runtime.InferenceSession.OnnxValueMapType;

/** A network as it is and as a stream, in ONNX Runtime. */
export interface BothForms {
  streamed: StreamedNetwork;
  stream: NetworkStream;
  /** The largest difference of any output between the two forms, in proportion to that output's largest number. */
  compare(
    window: readonly InputTensor[],
    windowSamples: number,
    movedSamples: number | null,
  ): Promise<number>;
  /** The outputs of the network as it is, for any length. */
  whole(window: readonly InputTensor[]): Promise<Outputs>;
  release(): Promise<void>;
}

/** Both forms of a graph, in sessions of files in `folder`; or why it has no second one. */
export async function openBothForms(
  graph: OnnxGraph,
  request: StreamRequest,
  folder: string,
): Promise<BothForms | { reason: string }> {
  const streamed = streamNetwork(graph, request);
  if ('reason' in streamed) return streamed;
  const open = async (name: string, form: OnnxGraph): Promise<runtime.InferenceSession> => {
    const path = join(folder, name);
    await writeOnnx(path, { opset: OPSET, graph: form });
    return runtime.InferenceSession.create(path, sessionOptions(1));
  };
  const whole = await open('whole.onnx', graph);
  const session = await open('stream.onnx', streamed.graph);
  const outputs = graph.outputs.map(({ name }) => name);
  const stream = createNetworkStream({ runtime, session, plan: streamed.plan, outputs });
  const ofWhole = (window: readonly InputTensor[]): Promise<Outputs> => whole.run(feedsOf(runtime, window));
  return {
    streamed,
    stream,
    whole: ofWhole,
    async compare(window, windowSamples, movedSamples) {
      const found = await stream.infer(window, windowSamples, movedSamples);
      const expected = await ofWhole(window);
      return Math.max(...outputs.map((name) => difference(found[name], expected[name])));
    },
    async release() {
      await whole.release();
      await session.release();
    },
  };
}

function difference(found: runtime.Tensor | undefined, expected: runtime.Tensor | undefined): number {
  if (found === undefined || expected?.dims.join() !== found.dims.join()) return Infinity;
  const [a, b] = [found.data as Float32Array, expected.data as Float32Array];
  const scale = b.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1);
  const worst = b.reduce((largest, value, i) => Math.max(largest, Math.abs(value - a[i]!)), 0);
  // A number that is none is never larger than another.
  return b.every((value, i) => Number.isFinite(value - a[i]!)) ? worst / scale : Infinity;
}
