import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { FrontendSpec, Layout } from '../../src/features/spec.js';
import { projectPath, sharedPath } from './shared.js';
import { waveform, type WaveformName } from './synthetic.js';

interface GoldenJson {
  name: string;
  sample_rate: number;
  params: {
    n_fft: number;
    win_length: number;
    hop_length: number;
    n_mels: number;
    fmin: number;
    fmax: number;
    mean?: number[];
    std?: number[];
  };
  filterbank: { file: string };
  window: { file: string };
  outputs: {
    input:
      { kind: 'synthetic'; waveform: WaveformName } | { kind: 'wav'; file: string; first_samples: number };
    file: string;
    shape: [number, number];
    axes: ['frame' | 'mel', 'frame' | 'mel'];
  }[];
  tolerance: { max_abs: number; p999: number; mean_abs: number };
}

/** The original's output for one recording or waveform. */
export interface GoldenOutput {
  input: string;
  samples(): Float32Array;
  expected(): Float32Array;
  layout: Layout;
  frames: number;
}

/** What the original PyTorch (or numpy) code of one front end computes. */
export interface GoldenFrontend {
  name: string;
  spec: FrontendSpec;
  sampleRate: number;
  /** Float32Array, [mels × bins]. */
  filterBank(): Float32Array;
  window(): Float32Array;
  /** From waveforms that are computed; their outputs are in the project. */
  synthetic: GoldenOutput[];
  /** From recordings, which are beside the project. */
  recorded: GoldenOutput[];
  /** Five times what the original's own float32 differs from float64. */
  tolerance: { max_abs: number; p999: number; mean_abs: number };
}

const goldenPath = (...parts: string[]): string => projectPath('test', 'golden', 'frontends', ...parts);

/** All front ends of test/golden/frontends. */
export function goldenFrontends(): GoldenFrontend[] {
  return readdirSync(goldenPath())
    .filter((file) => file.endsWith('.json'))
    .map((file) => toGolden(JSON.parse(readFileSync(goldenPath(file), 'utf8')) as GoldenJson));
}

function toGolden(json: GoldenJson): GoldenFrontend {
  const { params } = json;
  const kind = (['panns', 'efficientat', 'efficientsed', 'convnext', 'gmp'] as const).find((k) =>
    json.name.startsWith(k),
  );
  if (kind === undefined) throw new Error(`no kind of front end is called like ${json.name}`);
  const outputs = json.outputs.map(({ input, file, axes, shape }): GoldenOutput & { synthetic: boolean } => ({
    synthetic: input.kind === 'synthetic',
    input: input.kind === 'synthetic' ? `waveform ${input.waveform}` : input.file,
    samples: () =>
      input.kind === 'synthetic'
        ? waveform(input.waveform, json.sample_rate)
        : readWav(sharedPath('golden', input.file), input.first_samples),
    expected: () =>
      input.kind === 'synthetic'
        ? readFloats(goldenPath(file))
        : readFloats(sharedPath('golden', 'frontends', file)),
    layout: axes[0] === 'frame' ? 'NCTF' : 'NCFT',
    frames: shape[axes.indexOf('frame')]!,
  }));
  return {
    name: json.name,
    spec: {
      kind,
      n_fft: params.n_fft,
      win_length: params.win_length,
      hop_length: params.hop_length,
      n_mels: params.n_mels,
      f_min: params.fmin,
      f_max: params.fmax,
      ...(params.mean && { mean: params.mean }),
      ...(params.std && { std: params.std }),
    },
    sampleRate: json.sample_rate,
    filterBank: () => readFloats(goldenPath(json.filterbank.file)),
    window: () => readFloats(goldenPath(json.window.file)),
    synthetic: outputs.filter((output) => output.synthetic),
    recorded: outputs.filter((output) => !output.synthetic),
    tolerance: json.tolerance,
  };
}

/** Raw little-endian float32, gzipped where the name says so. */
export function readFloats(path: string): Float32Array {
  const raw = readFileSync(path);
  const bytes = path.endsWith('.gz') ? gunzipSync(raw) : raw;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const floats = new Float32Array(bytes.length / 4);
  for (let i = 0; i < floats.length; i += 1) floats[i] = view.getFloat32(4 * i, true);
  return floats;
}

/** The first samples of a 16-bit mono wav file with the plain 44-byte header. */
export function readWav(path: string, samples: number): Float32Array {
  const bytes = readFileSync(path);
  return Float32Array.from({ length: samples }, (_, i) => bytes.readInt16LE(44 + 2 * i) / 32768);
}
