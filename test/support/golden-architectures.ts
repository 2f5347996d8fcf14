import { readdirSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { InferenceSession, Tensor as OnnxTensor } from 'onnxruntime-node';
import type { Architecture } from '../../src/convert/architecture.js';
import { findArchitecture } from '../../src/convert/architectures/index.js';
import { buildNetwork, EMBEDDING, LOG_MEL, SCORES, WAVEFORM } from '../../src/convert/network.js';
import { writeOnnx } from '../../src/convert/onnx.js';
import { createWeights, type Tensor } from '../../src/convert/weights.js';
import { createFrontend } from '../../src/features/frontend.js';
import { projectPath } from './shared.js';
import {
  syntheticLogMel,
  syntheticParameters,
  waveform,
  type SyntheticArchitecture,
  type WaveformName,
} from './synthetic.js';

interface Expected {
  clipwise_output: number[];
  /** The length of the embedding, its first elements and its norm; null where the original has none. */
  embedding: { dim: number; first16: number[]; l2_norm: number } | null;
}

/** What the original PyTorch code computes with an architecture and synthetic weights. */
export interface GoldenArchitecture extends SyntheticArchitecture {
  name: string;
  family: string;
  sample_rate: number;
  input_kind: 'mel' | 'normmel_tf' | 'normmel_ft' | 'wave' | 'wave+mel';
  parameters: { trainable: number; all_parameters: number; state_dict_elements: number };
  waveform_tests: { waveform: WaveformName; samples: number; expected: Expected }[];
  /** Where the network takes a log-mel: the network alone, without the front end. */
  body_test: { logmel_shape: number[]; waveform: WaveformName | null; expected: Expected } | null;
}

/** A network built with synthetic weights, and how far it is from the original. */
export interface GoldenResult {
  name: string;
  /** Of the state dict. */
  tensors: number;
  parameters: number;
  nodes: number;
  fileBytes: number;
  /** Largest difference of a probability, with the log-mel given; null for networks that take samples only. */
  body: number | null;
  /** The same from the waveform. */
  whole: number;
  /** Largest difference of an embedding, relative to its root mean square; null where there is none. */
  embedding: number | null;
  /** For building the graph and writing the file. */
  seconds: number;
  /** Of the process, when the file was written. */
  peakBytes: number;
}

const folder = (): string => projectPath('test', 'golden', 'architectures');

export function goldenArchitectureNames(): string[] {
  return readdirSync(folder())
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length));
}

export function readGoldenArchitecture(name: string): GoldenArchitecture {
  return JSON.parse(readFileSync(join(folder(), `${name}.json`), 'utf8')) as GoldenArchitecture;
}

/** Builds an architecture with synthetic weights into a file in `scratch` and compares it with the original. */
export async function compareWithGolden(name: string, scratch: string): Promise<GoldenResult> {
  const golden = readGoldenArchitecture(name);
  const architecture = findArchitecture(name);
  const path = join(scratch, `${name}.onnx`);
  const written = await writeNetwork(architecture, golden, path);
  const session = await InferenceSession.create(path, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 4,
  });
  try {
    return { ...written, ...(await compare(session, architecture, golden)) };
  } finally {
    await session.release();
    await rm(path);
  }
}

/** Builds an architecture with synthetic weights into a file. */
export async function writeNetwork(architecture: Architecture, golden: GoldenArchitecture, path: string) {
  const tensors = new Map<string, Tensor>();
  for (const { name, shape, data } of syntheticParameters(golden)) tensors.set(name, { shape, data });
  const started = performance.now();
  const { model, nodes } = buildNetwork(architecture, createWeights(tensors));
  const { bytes } = await writeOnnx(path, model);
  return {
    name: golden.name,
    tensors: golden.state_dict.length,
    parameters: golden.parameters.trainable,
    nodes,
    fileBytes: bytes,
    seconds: (performance.now() - started) / 1000,
    peakBytes: process.resourceUsage().maxRSS * 1024,
  };
}

async function compare(
  session: InferenceSession,
  architecture: Architecture,
  golden: GoldenArchitecture,
): Promise<Pick<GoldenResult, 'body' | 'whole' | 'embedding'>> {
  const embeddings: number[] = [];
  const worst = async (feeds: Record<string, OnnxTensor>, expected: Expected): Promise<number> => {
    const outputs = (await session.run(feeds)) as Record<string, OnnxTensor>;
    const embedding = embeddingDifference(outputs[EMBEDDING], expected);
    if (embedding !== null) embeddings.push(embedding);
    return largestDifference(outputs[SCORES]!.data as Float32Array, expected.clipwise_output);
  };

  const { body_test: test } = golden;
  let body: number | null = null;
  if (test !== null) {
    const elements = test.logmel_shape.reduce((product, size) => product * size, 1);
    const data = syntheticLogMel(elements, golden.input_kind.startsWith('norm') ? 'normalised' : 'decibels');
    // Some originals add the axis of the one channel themselves.
    const [frames, mels] = test.logmel_shape.slice(-2) as [number, number];
    const feeds: Record<string, OnnxTensor> = {
      [LOG_MEL]: new OnnxTensor('float32', data, [1, 1, frames, mels]),
    };
    if (test.waveform !== null) feeds[WAVEFORM] = samplesTensor(waveform(test.waveform, golden.sample_rate));
    body = await worst(feeds, test.expected);
  }

  const whole: number[] = [];
  for (const { waveform: name, samples: length, expected } of golden.waveform_tests) {
    const samples = waveform(name, golden.sample_rate).subarray(0, length);
    whole.push(await worst(await feedsOf(architecture, samples), expected));
  }
  return {
    body,
    whole: Math.max(...whole),
    embedding: embeddings.length === 0 ? null : Math.max(...embeddings),
  };
}

/** What an architecture's graph takes, from samples at its rate. */
export async function feedsOf(
  architecture: Architecture,
  samples: Float32Array,
): Promise<Record<string, OnnxTensor>> {
  const { input, sampleRate } = architecture;
  const feeds: Record<string, OnnxTensor> = {};
  if (input.kind !== 'log_mel') feeds[WAVEFORM] = samplesTensor(samples);
  if (input.kind !== 'waveform') {
    const frontend = await createFrontend(input.frontend, sampleRate);
    const frames = frontend.frames(samples.length);
    const data = new Float32Array(frames * frontend.mels);
    frontend.compute(samples, data, input.layout);
    const axes = input.layout === 'NCTF' ? [frames, frontend.mels] : [frontend.mels, frames];
    feeds[LOG_MEL] = new OnnxTensor('float32', data, [1, 1, ...axes]);
  }
  return feeds;
}

function samplesTensor(samples: Float32Array): OnnxTensor {
  return new OnnxTensor('float32', samples, [1, samples.length]);
}

/** Infinity where there are not as many, or where one is not a number. */
function largestDifference(actual: ArrayLike<number>, expected: readonly number[]): number {
  if (actual.length !== expected.length) return Infinity;
  const largest = expected.reduce((worst, value, i) => Math.max(worst, Math.abs(value - actual[i]!)), 0);
  return Number.isNaN(largest) ? Infinity : largest;
}

function embeddingDifference(actual: OnnxTensor | undefined, { embedding }: Expected): number | null {
  if (embedding === null) return actual === undefined ? null : Infinity;
  const values = actual?.data as Float32Array | undefined;
  if (values?.length !== embedding.dim) return Infinity;
  const norm = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  const rootMeanSquare = embedding.l2_norm / Math.sqrt(embedding.dim);
  const { first16 } = embedding;
  return Math.max(
    largestDifference(values.subarray(0, first16.length), first16) / rootMeanSquare,
    largestDifference([norm], [embedding.l2_norm]) / embedding.l2_norm,
  );
}
