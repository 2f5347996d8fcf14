import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeOnnx, type OnnxGraph, type OnnxNode, type OnnxTensor } from '../../src/convert/onnx.js';
import type { FramesSpec, Manifest } from '../../src/models/manifest.js';
import { manifestRest } from './manifest-rest.js';

/*
 * Small models that are right: tone detectors. Label k scores near 1 while its tone sounds at an amplitude of
 * about 0.2 or more, and near 0 in silence or while another tone sounds; so a test can move scores by what it
 * plays. The bad models are made from the waveform one.
 */

export interface ToneModelOptions {
  id?: string;
  /** How many labels, called "Tone 0", "Tone 1", …; with more than a dozen or so, neighbours overlap. */
  labels?: number;
  windowSeconds?: number;
  minSeconds?: number;
  /** The graph takes windows of the full length only. */
  fixedWindow?: boolean;
  /** A threshold per label in the labels file; none by default. */
  threshold?: number;
  /**
   * Of the waveform model: a second output that says when, one frame every 0.1 s, role `scores`, final at once;
   * what is given here is written into the manifest instead.
   */
  frames?: Partial<Omit<FramesSpec, 'name' | 'embedding'>>;
}

export interface ToneModel {
  id: string;
  folder: string;
  onnxPath: string;
  manifest: Manifest;
  /** Hz, the tone of each label. */
  tonesHz: readonly number[];
  labelNames: readonly string[];
}

export const WAVEFORM_RATE = 16_000;
const KERNEL = 256;
/** The output with frames, and how far apart they are. */
const FRAMES = 'frames';
const FRAME_SECONDS = 0.1;
/** Steps of the detector in a frame. */
const FRAME_STEPS = 16;

export const floats = (name: string, dims: readonly number[], data: Iterable<number>): OnnxTensor => ({
  name,
  dims,
  type: 'float32',
  data: Float32Array.from(data),
});

export const ints = (name: string, values: readonly number[], dims = [values.length]): OnnxTensor => ({
  name,
  dims,
  type: 'int64',
  data: BigInt64Array.from(values, BigInt),
});

export function waveformTonesHz(labels: number): number[] {
  return Array.from({ length: labels }, (_, k) => 500 + (k * 7000) / labels);
}

/** The graph of the waveform tone detector: `waveform`, [batch, samples] → `scores`, [batch, labels]. */
export function waveformToneGraph(labels: number, samples: number | string): OnnxGraph {
  // Hann-windowed cosines, then sines, that answer a sine of amplitude A with A cos φ and A sin φ.
  const kernels = new Float32Array(2 * labels * KERNEL);
  waveformTonesHz(labels).forEach((hz, k) => {
    for (let n = 0; n < KERNEL; n++) {
      const weight = (1 - Math.cos((2 * Math.PI * n) / KERNEL)) * (2 / KERNEL);
      const phase = (2 * Math.PI * hz * n) / WAVEFORM_RATE;
      kernels[k * KERNEL + n] = weight * Math.cos(phase);
      kernels[(labels + k) * KERNEL + n] = weight * Math.sin(phase);
    }
  });
  const nodes: OnnxNode[] = [
    { op: 'Unsqueeze', inputs: ['waveform', 'one'], outputs: ['channel'] },
    {
      op: 'Conv',
      inputs: ['channel', 'kernels'],
      outputs: ['parts'],
      attributes: { strides: { ints: [KERNEL / 2] } },
    },
    { op: 'Mul', inputs: ['parts', 'parts'], outputs: ['squares'] },
    {
      op: 'ReduceMean',
      inputs: ['squares'],
      outputs: ['power'],
      attributes: { axes: { ints: [2] }, keepdims: { int: 0 } },
    },
    { op: 'Split', inputs: ['power'], outputs: ['cosines', 'sines'], attributes: { axis: { int: 1 } } },
    { op: 'Add', inputs: ['cosines', 'sines'], outputs: ['amplitudes_squared'] },
    { op: 'Sqrt', inputs: ['amplitudes_squared'], outputs: ['amplitudes'] },
    { op: 'Sub', inputs: ['amplitudes', 'middle'], outputs: ['above'] },
    { op: 'Mul', inputs: ['above', 'slope'], outputs: ['logits'] },
    { op: 'Sigmoid', inputs: ['logits'], outputs: ['scores'] },
  ];
  return {
    name: 'tone_detector',
    inputs: [{ name: 'waveform', type: 'float32', dims: ['batch', samples] }],
    outputs: [{ name: 'scores', type: 'float32', dims: ['batch', labels] }],
    nodes,
    initializers: [
      ints('one', [1]),
      floats('kernels', [2 * labels, 1, KERNEL], kernels),
      floats('middle', [], [0.1]),
      floats('slope', [], [50]),
    ],
  };
}

/**
 * The same with `frames`, [batch, frames, labels]: frame i holds a tone that sounds in a fifth or more of samples
 * 1600·i up to the next, and nothing behind it counts.
 */
export function framedToneGraph(labels: number, samples: number | string): OnnxGraph {
  const graph = waveformToneGraph(labels, samples);
  const step = (WAVEFORM_RATE * FRAME_SECONDS) / FRAME_STEPS;
  const nodes: OnnxNode[] = [
    {
      op: 'Conv',
      inputs: ['channel', 'kernels'],
      outputs: ['fine_parts'],
      attributes: { strides: { ints: [step] }, pads: { ints: [KERNEL - step, 0] } },
    },
    { op: 'Mul', inputs: ['fine_parts', 'fine_parts'], outputs: ['fine_squares'] },
    {
      op: 'Split',
      inputs: ['fine_squares'],
      outputs: ['fine_cosines', 'fine_sines'],
      attributes: { axis: { int: 1 } },
    },
    { op: 'Add', inputs: ['fine_cosines', 'fine_sines'], outputs: ['fine_amplitudes_squared'] },
    { op: 'Sqrt', inputs: ['fine_amplitudes_squared'], outputs: ['fine_amplitudes'] },
    {
      op: 'AveragePool',
      inputs: ['fine_amplitudes'],
      outputs: ['frame_amplitudes'],
      attributes: { kernel_shape: { ints: [FRAME_STEPS] }, strides: { ints: [FRAME_STEPS] } },
    },
    {
      op: 'Transpose',
      inputs: ['frame_amplitudes'],
      outputs: ['rows'],
      attributes: { perm: { ints: [0, 2, 1] } },
    },
    { op: 'Sub', inputs: ['rows', 'middle'], outputs: ['rows_above'] },
    { op: 'Mul', inputs: ['rows_above', 'slope'], outputs: ['row_logits'] },
    { op: 'Sigmoid', inputs: ['row_logits'], outputs: [FRAMES] },
  ];
  return {
    ...graph,
    nodes: [...graph.nodes, ...nodes],
    outputs: [...graph.outputs, { name: FRAMES, type: 'float32', dims: ['batch', 'frames', labels] }],
  };
}

const LOGMEL = { rate: 32_000, mels: 64, fMin: 50, fMax: 14_000 };

/** Slaney's mel scale, as in librosa: linear below 1 kHz, logarithmic above. */
function melToHz(mel: number): number {
  return mel < 15 ? (mel * 200) / 3 : 1000 * 6.4 ** ((mel - 15) / 27);
}

function hzToMel(hz: number): number {
  return hz < 1000 ? (hz * 3) / 200 : 15 + (27 * Math.log(hz / 1000)) / Math.log(6.4);
}

/** The mel bin that label k listens to; the lowest ones are too narrow to be told apart. */
const binOf = (k: number, labels: number): number => 12 + Math.floor(((k + 0.5) * 48) / labels);

export function logMelTonesHz(labels: number): number[] {
  const [low, high] = [hzToMel(LOGMEL.fMin), hzToMel(LOGMEL.fMax)];
  return Array.from({ length: labels }, (_, k) =>
    melToHz(low + ((binOf(k, labels) + 1) * (high - low)) / (LOGMEL.mels + 1)),
  );
}

/** `logmel`, [batch, 1, time, mel] in dB (the PANNs front end) → `scores`, [batch, labels]. */
export function logMelToneGraph(labels: number, frames: number | string): OnnxGraph {
  return {
    name: 'tone_detector',
    inputs: [{ name: 'logmel', type: 'float32', dims: ['batch', 1, frames, LOGMEL.mels] }],
    outputs: [{ name: 'scores', type: 'float32', dims: ['batch', labels] }],
    nodes: [
      {
        op: 'ReduceMean',
        inputs: ['logmel'],
        outputs: ['mean'],
        attributes: { axes: { ints: [1, 2] }, keepdims: { int: 0 } },
      },
      { op: 'Gather', inputs: ['mean', 'bins'], outputs: ['levels'], attributes: { axis: { int: 1 } } },
      { op: 'Sub', inputs: ['levels', 'middle'], outputs: ['above'] },
      { op: 'Mul', inputs: ['above', 'slope'], outputs: ['logits'] },
      { op: 'Sigmoid', inputs: ['logits'], outputs: ['scores'] },
    ],
    initializers: [
      ints(
        'bins',
        Array.from({ length: labels }, (_, k) => binOf(k, labels)),
      ),
      // A tone of amplitude 0.2 comes out at about 15 dB, silence at -100 dB.
      floats('middle', [], [0]),
      floats('slope', [], [0.4]),
    ],
  };
}

/**
 * Takes samples and log-mel, and joins them by frames as Wavegram networks do, so that it fails where the window's
 * length does not fit. `logmel`, [batch, 1, time, mel], tells the tones of all labels but the last, `waveform`,
 * [batch, samples], the last one: that anything sounds at all.
 */
export function bothToneGraph(labels: number): OnnxGraph {
  const pool = (kernel: number, stride: number, padding: number) => ({
    kernel_shape: { ints: [kernel] },
    strides: { ints: [stride] },
    pads: { ints: [padding, padding] },
  });
  return {
    name: 'tone_detector',
    inputs: [
      { name: 'waveform', type: 'float32', dims: ['batch', 'samples'] },
      { name: 'logmel', type: 'float32', dims: ['batch', 1, 'frames', LOGMEL.mels] },
    ],
    outputs: [{ name: 'scores', type: 'float32', dims: ['batch', labels] }],
    nodes: [
      {
        op: 'AveragePool',
        inputs: ['logmel'],
        outputs: ['halved'],
        attributes: { kernel_shape: { ints: [2, 1] }, strides: { ints: [2, 1] } },
      },
      { op: 'Gather', inputs: ['halved', 'bins'], outputs: ['picked'], attributes: { axis: { int: 3 } } },
      { op: 'Squeeze', inputs: ['picked', 'one'], outputs: ['levels'] },
      { op: 'Abs', inputs: ['waveform'], outputs: ['magnitude'] },
      { op: 'Unsqueeze', inputs: ['magnitude', 'one'], outputs: ['row'] },
      { op: 'MaxPool', inputs: ['row'], outputs: ['fine'], attributes: pool(11, 5, 5) },
      { op: 'MaxPool', inputs: ['fine'], outputs: ['coarse'], attributes: pool(128, 128, 0) },
      { op: 'Transpose', inputs: ['coarse'], outputs: ['peaks'], attributes: { perm: { ints: [0, 2, 1] } } },
      { op: 'Sub', inputs: ['peaks', 'quiet'], outputs: ['louder'] },
      { op: 'Mul', inputs: ['louder', 'steep'], outputs: ['loudness'] },
      { op: 'Concat', inputs: ['levels', 'loudness'], outputs: ['joined'], attributes: { axis: { int: 2 } } },
      {
        op: 'ReduceMean',
        inputs: ['joined'],
        outputs: ['mean'],
        attributes: { axes: { ints: [1] }, keepdims: { int: 0 } },
      },
      { op: 'Mul', inputs: ['mean', 'slope'], outputs: ['logits'] },
      { op: 'Sigmoid', inputs: ['logits'], outputs: ['scores'] },
    ],
    initializers: [
      ints(
        'bins',
        Array.from({ length: labels - 1 }, (_, k) => binOf(k, labels - 1)),
      ),
      ints('one', [1]),
      floats('quiet', [], [0.05]),
      floats('steep', [], [400]),
      floats('slope', [], [0.4]),
    ],
  };
}

/** The manifest of a waveform model with `labels.json` beside it. */
export function waveformManifest(id: string, onnxSha256: string, options: ToneModelOptions = {}): Manifest {
  return {
    id,
    title: 'Tone detector on samples (for tests)',
    family: 'test',
    architecture: 'tone-waveform',
    input: {
      kind: 'waveform',
      name: 'waveform',
      sample_rate: WAVEFORM_RATE,
      window_seconds: options.windowSeconds ?? 1,
      min_seconds: options.minSeconds ?? 0.1,
    },
    ...common(onnxSha256, options),
  };
}

function logMelManifest(id: string, onnxSha256: string, options: ToneModelOptions): Manifest {
  return {
    id,
    title: 'Tone detector on a log-mel (for tests)',
    family: 'test',
    architecture: 'tone-logmel',
    input: {
      kind: 'log_mel',
      name: 'logmel',
      layout: 'NCTF',
      sample_rate: LOGMEL.rate,
      window_seconds: options.windowSeconds ?? 1,
      min_seconds: options.minSeconds ?? 0.1,
      frontend: {
        kind: 'panns',
        n_fft: 1024,
        win_length: 1024,
        hop_length: 320,
        n_mels: LOGMEL.mels,
        f_min: LOGMEL.fMin,
        f_max: LOGMEL.fMax,
      },
    },
    ...common(onnxSha256, options),
  };
}

function bothManifest(id: string, onnxSha256: string, options: ToneModelOptions): Manifest {
  const manifest = logMelManifest(id, onnxSha256, options);
  if (manifest.input.kind !== 'log_mel') throw new Error('not the manifest of a log-mel model');
  return {
    ...manifest,
    title: 'Tone detector on samples and their log-mel (for tests)',
    architecture: 'tone-both',
    input: { ...manifest.input, kind: 'waveform_log_mel', waveform_name: 'waveform' },
  };
}

function common(onnxSha256: string, options: ToneModelOptions) {
  return {
    output: {
      scores: 'scores',
      activation: 'none' as const,
      embedding: null,
      frames: options.frames === undefined ? null : framesSpec(options.frames),
    },
    ...manifestRest(onnxSha256),
    thresholds: options.threshold === undefined ? null : 'labels.json',
  };
}

function framesSpec(own: NonNullable<ToneModelOptions['frames']>): FramesSpec {
  return {
    name: FRAMES,
    embedding: null,
    hop_seconds: FRAME_SECONDS,
    offset_seconds: 0,
    context_seconds: 0,
    spread_seconds: 0,
    lookback_seconds: 0,
    role: 'scores',
    ...own,
  };
}

export const labelNames = (count: number): string[] => Array.from({ length: count }, (_, k) => `Tone ${k}`);

/** Writes `model.json` and `labels.json` into a model's folder. */
export async function writeManifest(
  folder: string,
  manifest: Manifest,
  labels: number,
  threshold?: number,
): Promise<void> {
  const entries = labelNames(labels).map((name, index) => ({
    index,
    name,
    mid: null,
    ...(threshold === undefined ? {} : { threshold }),
  }));
  await writeFile(join(folder, 'labels.json'), JSON.stringify(entries, null, 1));
  await writeFile(join(folder, 'model.json'), JSON.stringify(manifest, null, 1));
}

const TONE_IDS = {
  waveform: 'tone-waveform',
  log_mel: 'tone-logmel',
  waveform_log_mel: 'tone-both',
};

/**
 * Installs a working model into `<dataDir>/models/<id>`: `waveform` (16 kHz, graph input [batch, samples]) or
 * `log_mel` (32 kHz, 64 mels of the PANNs front end, NCTF), or `waveform_log_mel`, which takes both and whose last
 * label has no tone. Three labels and a window of 1 s unless told otherwise.
 */
export async function installToneModel(
  dataDir: string,
  kind: 'waveform' | 'log_mel' | 'waveform_log_mel',
  options: ToneModelOptions = {},
): Promise<ToneModel> {
  const { labels = 3, windowSeconds = 1, fixedWindow = false } = options;
  const id = options.id ?? TONE_IDS[kind];
  const folder = join(dataDir, 'models', id);
  await mkdir(folder, { recursive: true });
  const onnxPath = join(folder, 'model.onnx');
  const samples = Math.round(windowSeconds * WAVEFORM_RATE);
  const frames = Math.round((windowSeconds * LOGMEL.rate) / 320) + 1;
  if (options.frames !== undefined && kind !== 'waveform')
    throw new Error('only the waveform model has frames');
  const waveformGraph = options.frames === undefined ? waveformToneGraph : framedToneGraph;
  const graphs = {
    waveform: () => waveformGraph(labels, fixedWindow ? samples : 'samples'),
    log_mel: () => logMelToneGraph(labels, fixedWindow ? frames : 'frames'),
    waveform_log_mel: () => bothToneGraph(labels),
  };
  const manifests = { waveform: waveformManifest, log_mel: logMelManifest, waveform_log_mel: bothManifest };
  const tones = {
    waveform: waveformTonesHz(labels),
    log_mel: logMelTonesHz(labels),
    waveform_log_mel: logMelTonesHz(labels - 1),
  };
  const { sha256 } = await writeOnnx(onnxPath, { opset: 13, graph: graphs[kind]() });
  const manifest = manifests[kind](id, sha256, options);
  await writeManifest(folder, manifest, labels, options.threshold);
  const tonesHz = tones[kind];
  return { id, folder, onnxPath, manifest, tonesHz, labelNames: labelNames(labels) };
}

/** A sine, [seconds × sampleRate] samples. */
export function tone(hz: number, seconds: number, sampleRate: number, amplitude = 0.5): Float32Array {
  return Float32Array.from(
    { length: Math.round(seconds * sampleRate) },
    (_, n) => amplitude * Math.sin((2 * Math.PI * hz * n) / sampleRate),
  );
}
