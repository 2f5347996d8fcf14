import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { InferenceSession, Tensor as OnnxTensor } from 'onnxruntime-node';
import type { Architecture, ArchitectureInput, FrameGeometry } from '../../src/convert/architecture.js';
import { findArchitecture } from '../../src/convert/architectures/index.js';
import { convertCheckpoint } from '../../src/convert/convert.js';
import { buildNetwork, EMBEDDING, FRAMES, LOG_MEL, SCORES, WAVEFORM } from '../../src/convert/network.js';
import { writeOnnx } from '../../src/convert/onnx.js';
import { createWeights, type Tensor } from '../../src/convert/weights.js';
import { createFrontend } from '../../src/features/frontend.js';
import { readFloats } from './golden-frontends.js';
import { readFrames, type FrameReadings } from './frame-checks.js';
import { projectPath } from './shared.js';
import { writeSyntheticCheckpoint } from './synthetic-checkpoint.js';
import {
  syntheticLogMel,
  syntheticParameters,
  waveform,
  type SyntheticArchitecture,
  type WaveformName,
} from './synthetic.js';

interface Expected {
  /** Null where the original has no score for a clip: there it is that of the best frame. */
  clipwise_output: number[] | null;
  /** The length of the embedding, its first elements and its norm; null where the original has none. */
  embedding?: { dim: number; first16: number[]; l2_norm: number } | null;
  /** Of frame-wise networks: probabilities of some frames and of some classes, their sums, and all of them in a file. */
  framewise_output?: {
    shape: [frames: number, classes: number];
    frames: Record<string, number[]>;
    classes: Record<string, number[]>;
    sum_per_frame: number[];
    full?: string;
  };
  /** How far the original is from itself in double precision. */
  float64_check?: { max_abs_diff_framewise: number } | null;
}

/** What the original PyTorch code computes with an architecture and synthetic weights. */
export interface GoldenArchitecture extends SyntheticArchitecture {
  name: string;
  family: string;
  sample_rate: number;
  input_kind: 'mel' | 'normmel_tf' | 'normmel_ft' | 'wave' | 'wave+mel';
  parameters: { trainable: number; all_parameters: number; state_dict_elements: number };
  /** `padded_samples`: with silence behind the waveform up to so many. */
  waveform_tests: {
    waveform: WaveformName;
    samples: number;
    padded_samples?: number;
    expected: Expected;
  }[];
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
  /** What of that is within the precision of the original. */
  bodyTolerance: number;
  /** The same from the waveform. */
  whole: number;
  /** Largest difference of an embedding, relative to its root mean square; null where there is none. */
  embedding: number | null;
  /** Null where the network has no frames. */
  frames: (FrameReadings & { geometry: FrameGeometry }) | null;
  /** Largest difference of the score of a segment; null where the original gives none. */
  segments: number | null;
  /** For building the graph and writing the file; or for the whole conversion. */
  seconds: number;
  /** Of the process, when the file was written; or of the largest process of the whole conversion. */
  peakBytes: number;
}

/** Networks that tag clips, and those that tag frames. */
const folders = (): string[] =>
  ['architectures', 'framewise'].map((name) => projectPath('test', 'golden', name));

export function goldenArchitectureNames(): string[] {
  return folders()
    .flatMap((folder) => readdirSync(folder))
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length));
}

export function readGoldenArchitecture(name: string): GoldenArchitecture {
  const paths = folders().map((folder) => join(folder, `${name}.json`));
  const path = paths.find((candidate) => existsSync(candidate)) ?? paths[0]!;
  return JSON.parse(readFileSync(path, 'utf8')) as GoldenArchitecture;
}

/** How many labels the network of a golden file has. */
export function labelsOf({ waveform_tests: [test] }: GoldenArchitecture): number {
  const { clipwise_output: clip, framewise_output: frames } = test!.expected;
  return clip?.length ?? frames!.shape[1];
}

/** Builds an architecture with synthetic weights into a file in `scratch` and compares it with the original. */
export async function compareWithGolden(name: string, scratch: string): Promise<GoldenResult> {
  const golden = readGoldenArchitecture(name);
  const architecture = findArchitecture(name);
  const path = join(scratch, `${name}.onnx`);
  const written = await writeNetwork(architecture, golden, path);
  const { geometry, ...result } = written;
  const compared = await withSession(path, async (session) => ({
    ...(await compare(session, architecture, golden)),
    segments: await compareSegments(session, architecture, golden),
    frames: geometry && { geometry, ...(await readFrames(session, architecture, geometry)) },
  }));
  await rm(path);
  return { ...result, ...compared };
}

/**
 * The same, and on the way that checkpoints take: as a file of torch.save, converted in processes of its own. Nodes,
 * bytes, seconds and memory are those of the conversion.
 */
export async function convertAndCompareWithGolden(name: string, scratch: string): Promise<GoldenResult> {
  const result = await compareWithGolden(name, scratch);
  const golden = readGoldenArchitecture(name);
  const checkpointPath = join(scratch, `${name}.pth`);
  await writeSyntheticCheckpoint(checkpointPath, golden);
  const started = performance.now();
  const conversion = await convertCheckpoint({
    checkpointPath,
    architecture: name,
    labels: labelsOf(golden),
    outFolder: scratch,
  });
  const seconds = (performance.now() - started) / 1000;
  const { onnxPath, input, nodes, bytes, peakBytes } = conversion;
  const converted = await withSession(onnxPath, (session) => compareWhole(session, input, golden));
  await rm(checkpointPath);
  await rm(onnxPath);
  const whole = Math.max(result.whole, converted.whole);
  return { ...result, whole, nodes, fileBytes: bytes, seconds, peakBytes };
}

async function withSession<T>(path: string, use: (session: InferenceSession) => Promise<T>): Promise<T> {
  const session = await InferenceSession.create(path, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 4,
  });
  try {
    return await use(session);
  } finally {
    await session.release();
  }
}

/** Builds an architecture with synthetic weights into a file. */
export async function writeNetwork(architecture: Architecture, golden: GoldenArchitecture, path: string) {
  const tensors = new Map<string, Tensor>();
  for (const { name, shape, data } of syntheticParameters(golden)) tensors.set(name, { shape, data });
  const started = performance.now();
  const { model, nodes, frames: geometry } = buildNetwork(architecture, createWeights(tensors));
  const { bytes } = await writeOnnx(path, model);
  return {
    name: golden.name,
    tensors: golden.state_dict.length,
    parameters: golden.parameters.trainable,
    nodes,
    geometry,
    fileBytes: bytes,
    seconds: (performance.now() - started) / 1000,
    peakBytes: process.resourceUsage().maxRSS * 1024,
  };
}

/** Largest differences of the scores and of the embedding. */
interface Differences {
  scores: number;
  embedding: number | null;
}

async function differences(
  session: InferenceSession,
  feeds: Record<string, OnnxTensor>,
  expected: Expected,
): Promise<Differences> {
  const outputs = (await session.run(feeds)) as Record<string, OnnxTensor>;
  return {
    scores: Math.max(clipDifference(outputs, expected), framesDifference(outputs, expected)),
    embedding: embeddingDifference(outputs[EMBEDDING], expected),
  };
}

async function compare(
  session: InferenceSession,
  { input }: Architecture,
  golden: GoldenArchitecture,
): Promise<Pick<GoldenResult, 'body' | 'bodyTolerance' | 'whole' | 'embedding'>> {
  const { whole, embedding } = await compareWhole(session, input, golden);
  const { body_test: test } = golden;
  const bodyTolerance = Math.max(2e-5, 5 * (test?.expected.float64_check?.max_abs_diff_framewise ?? 0));
  if (test === null) return { body: null, bodyTolerance, whole, embedding };
  const body = await differences(session, bodyFeeds(golden, test), test.expected);
  return {
    body: body.scores,
    bodyTolerance,
    whole,
    embedding: body.embedding === null || embedding === null ? null : Math.max(body.embedding, embedding),
  };
}

/** The log-mel of the test of the network alone, and the samples where it takes both. */
function bodyFeeds(
  golden: GoldenArchitecture,
  test: NonNullable<GoldenArchitecture['body_test']>,
): Record<string, OnnxTensor> {
  const elements = test.logmel_shape.reduce((product, size) => product * size, 1);
  const data = syntheticLogMel(elements, golden.input_kind.startsWith('norm') ? 'normalised' : 'decibels');
  // Some originals add the axis of the one channel themselves.
  const [rows, columns] = test.logmel_shape.slice(-2) as [number, number];
  const feeds: Record<string, OnnxTensor> = {
    [LOG_MEL]: new OnnxTensor('float32', data, [1, 1, rows, columns]),
  };
  if (test.waveform !== null) feeds[WAVEFORM] = samplesTensor(waveform(test.waveform, golden.sample_rate));
  return feeds;
}

/** Where the original decides for segments: what it says of each, with the same weights and inputs. */
async function compareSegments(
  session: InferenceSession,
  { input }: Architecture,
  golden: GoldenArchitecture,
): Promise<number | null> {
  const segmentwise = projectPath('test', 'golden', 'framewise', 'panns-framewise');
  const { models } = JSON.parse(readFileSync(join(segmentwise, 'segmentwise.json'), 'utf8')) as {
    models: Record<string, Record<string, { file: string; shape: number[] }>>;
  };
  const cases = models[golden.name];
  if (cases === undefined) return null;
  let largest = 0;
  for (const [key, { file, shape }] of Object.entries(cases)) {
    const test = golden.waveform_tests.find(({ waveform: name }) => key === `wave${name}`);
    const samples = test && waveform(test.waveform, golden.sample_rate).subarray(0, test.samples);
    const feeds = samples
      ? await feedsOf(input, golden.sample_rate, samples)
      : bodyFeeds(golden, golden.body_test!);
    const outputs = (await session.run(feeds)) as Record<string, OnnxTensor>;
    const { data, dims } = outputs[FRAMES]!;
    const isShape = dims.join() === [1, ...shape].join();
    const expected = Array.from(readFloats(join(segmentwise, file)));
    largest = Math.max(largest, isShape ? largestDifference(data as Float32Array, expected) : Infinity);
  }
  return largest;
}

/** From the waveform. */
async function compareWhole(
  session: InferenceSession,
  input: ArchitectureInput,
  golden: GoldenArchitecture,
): Promise<{ whole: number; embedding: number | null }> {
  const found: Differences[] = [];
  for (const { waveform: name, samples: length, padded_samples: padded, expected } of golden.waveform_tests) {
    const samples = new Float32Array(padded ?? length);
    samples.set(waveform(name, golden.sample_rate).subarray(0, length));
    found.push(await differences(session, await feedsOf(input, golden.sample_rate, samples), expected));
  }
  const embeddings = found.flatMap(({ embedding }) => (embedding === null ? [] : [embedding]));
  return {
    whole: Math.max(...found.map(({ scores }) => scores)),
    embedding: embeddings.length === 0 ? null : Math.max(...embeddings),
  };
}

/** What a graph takes, from samples at its rate. */
export async function feedsOf(
  input: ArchitectureInput,
  sampleRate: number,
  samples: Float32Array,
): Promise<Record<string, OnnxTensor>> {
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

function clipDifference(outputs: Record<string, OnnxTensor>, { clipwise_output: clip }: Expected): number {
  const scores = outputs[SCORES]!.data as Float32Array;
  if (clip !== null) return largestDifference(scores, clip);
  const frames = outputs[FRAMES]!.data as Float32Array;
  const best = new Array<number>(scores.length).fill(0);
  for (const [i, value] of frames.entries()) {
    const label = i % best.length;
    best[label] = Math.max(best[label]!, value);
  }
  return largestDifference(scores, best);
}

function framesDifference(
  outputs: Record<string, OnnxTensor>,
  { framewise_output: wanted }: Expected,
): number {
  if (wanted === undefined) return 0;
  const { shape, frames: rows, classes: columns, sum_per_frame: sums, full } = wanted;
  const [frames, classes] = shape;
  const output = outputs[FRAMES];
  if (output?.dims.join() !== [1, ...shape].join()) return Infinity;
  const values = output.data as Float32Array;
  const row = (frame: number): Float32Array => values.subarray(frame * classes, (frame + 1) * classes);
  const column = (label: number) => Array.from({ length: frames }, (_, frame) => row(frame)[label]!);
  const means = sums.map((sum, frame) => {
    const actual = row(frame).reduce((total, value) => total + value, 0);
    return Math.abs(actual - sum) / classes;
  });
  return Math.max(
    ...Object.entries(rows).map(([frame, expected]) => largestDifference(row(Number(frame)), expected)),
    ...Object.entries(columns).map(([label, expected]) => largestDifference(column(Number(label)), expected)),
    ...means,
    full === undefined
      ? 0
      : largestDifference(values, Array.from(readFloats(projectPath('test', 'golden', 'framewise', full)))),
  );
}

function embeddingDifference(actual: OnnxTensor | undefined, { embedding }: Expected): number | null {
  if (embedding === undefined) return null;
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
