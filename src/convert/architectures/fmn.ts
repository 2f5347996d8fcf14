import type { FrontendSpec } from '../../features/spec.js';
import { isTrainingOnly, type Architecture, type FrameGeometry } from '../architecture.js';
import type { Graph, Value } from '../graph.js';
import {
  blockTable,
  invertedResidual,
  lastChannels,
  lastConv,
  stem,
  widen,
  type BlockSpec,
  type Stride,
} from './mobilenet-v3.js';
import { recurrent, transformer } from './sequence-models.js';

/*
 * The frame-wise MobileNets of EfficientSED (EUSIPCO 2025, arXiv 2503.11373): MobileNetV3 that shrinks mel to one and
 * time to a frame every 40 ms. Each frame is then classified by itself, with or without a network over time before
 * that. Values are [batch, channels, mel, time] up to the last convolution, [batch, frames, features] behind it.
 */

const SAMPLE_RATE = 16_000;
/** Half a transform and one sample to pad by reflection, and the one that pre-emphasis takes. */
const MIN_SAMPLES = 258;

const frontend: FrontendSpec = {
  kind: 'efficientsed',
  n_fft: 512,
  win_length: 400,
  hop_length: 160,
  n_mels: 128,
  f_min: 0,
  f_max: 7000,
};

/**
 * Frames are centred on multiples of 40 ms, but were trained to tell of the 40 ms from there on. The convolutions see
 * 822 ms to both sides.
 */
const geometry: FrameGeometry = {
  role: 'scores',
  hop_seconds: 0.04,
  offset_seconds: 0,
  context_seconds: 0.82,
  spread_seconds: 0,
  lookback_seconds: 0,
};

/** Of the 15 blocks, for mel and time. With the first convolution: mel by 128, time by 4. */
const STRIDES: readonly (readonly [mel: number, time: number])[] = [
  [1, 1],
  [2, 2],
  [2, 1],
  [1, 1],
  [1, 1],
  [2, 1],
  [1, 1],
  [2, 1],
  [1, 1],
  [1, 1],
  [2, 1],
  [1, 1],
  [1, 1],
  [1, 1],
  [2, 1],
];

const WIDTHS = { fmn04: 0.4, fmn06: 0.6, fmn10: 1, fmn20: 2, fmn30: 3 } as const;
type Width = keyof typeof WIDTHS;

/** Which released networks have a network over time, by the features in it. */
const SEQUENCE_SIZES: Record<Width, readonly number[]> = {
  fmn04: [104],
  fmn06: [160],
  fmn10: [128, 256, 512, 1024],
  fmn20: [512],
  fmn30: [768],
};

/** The network over time: gated recurrent units, or a transformer. */
interface Sequence {
  kind: 'gru' | 'tf';
  size: number;
}

/**
 * Trained with labels for each frame (`strong`, AudioSet strong), or with labels for each clip (`weak`, AudioSet). A
 * checkpoint has heads for both, of which one is trained.
 */
type Training = 'strong' | 'weak';

function blocks(width: number): BlockSpec<Stride>[] {
  return blockTable([1, 1, 1, 1]).map((spec, i) => widen({ ...spec, stride: STRIDES[i]! }, width));
}

/**
 * What stands in the checkpoint before the names of a part of the network. The training code wraps the network in
 * others, and each of them puts a name of its own in front.
 * @param first a tensor that the part has for certain.
 */
function prefixOf(g: Graph, first: string): string {
  const wrapped = g.weights.left().find((name) => WRAPPER.test(name) && name.replace(WRAPPER, '') === first);
  return wrapped === undefined ? '' : wrapped.slice(0, -first.length);
}

const WRAPPER = /^(?:(?:net|model|fmn)\.)+/;

/** [batch, frames, inputs] → [batch, frames, features] */
function overTime(g: Graph, x: Value, path: string, inputs: number, { kind, size }: Sequence): Value {
  if (kind === 'gru') return recurrent(g, x, `${path}.0.gru`, { inputs, hidden: size });
  return transformer(g, g.linearLast(x, `${path}.0`, { features: size }), `${path}.1`, size);
}

function fmn(width: Width, training: Training, sequence?: Sequence): Architecture {
  const other = training === 'strong' ? 'weak_head' : 'strong_head';
  const suffix = sequence === undefined ? '' : `+${sequence.kind}-${sequence.size}`;
  return {
    name: `${width}${suffix}${training === 'weak' ? '_weak' : ''}`,
    family: 'fmn',
    sampleRate: SAMPLE_RATE,
    input: { kind: 'log_mel', layout: 'NCFT', frontend },
    minSamples: MIN_SAMPLES,
    unused: (tensor) => isTrainingOnly(tensor) || new RegExp(`(^|\\.)${other}\\.(weight|bias)$`).test(tensor),
    build(g, { logMel }) {
      const rows = blocks(WIDTHS[width]);
      const body = `${prefixOf(g, 'features.0.0.weight')}features`;
      const head = prefixOf(g, `${training}_head.weight`);
      let x = stem(g, logMel!, `${body}.0`, WIDTHS[width]);
      for (const [i, spec] of rows.entries()) x = invertedResidual(g, x, `${body}.${i + 1}`, spec);
      x = lastConv(g, x, `${body}.${rows.length + 1}`, rows.at(-1)!);
      // Mel has become one.
      x = g.transpose(g.squeeze(x, [2]), [0, 2, 1]);
      if (sequence !== undefined) {
        x = overTime(g, x, `${head}seq_model`, lastChannels(rows.at(-1)!), sequence);
      }
      const embedding = g.mean(x, [1]);
      const path = `${head}${training}_head`;
      if (training === 'weak') {
        const [scores, frames] = g.sharedLinearLast([embedding, x], path).map((y) => g.sigmoid(y)) as [
          Value,
          Value,
        ];
        return { scores, embedding, frames: { value: frames, geometry } };
      }
      // What was trained frame by frame has no score for a clip: a label is as sure as it is in its best frame.
      const frames = g.sigmoid(g.linearLast(x, path));
      return { scores: g.max(frames, [1]), embedding, frames: { value: frames, geometry } };
    },
  };
}

export const fmnArchitectures: readonly Architecture[] = (Object.keys(WIDTHS) as Width[]).flatMap((width) => [
  fmn(width, 'strong'),
  fmn(width, 'weak'),
  ...SEQUENCE_SIZES[width].flatMap((size) => [
    fmn(width, 'strong', { kind: 'gru', size }),
    fmn(width, 'strong', { kind: 'tf', size }),
  ]),
]);

/** Why there is no network of this name, where its makers have released one. */
export function whyNoFmn(name: string): string | undefined {
  const [, width, size] = /^(fmn\d\d)\+hybrid-(\d+)$/.exec(name.toLowerCase()) ?? [];
  const isReleased = Object.entries(SEQUENCE_SIZES).some(
    ([known, sizes]) => known === width && sizes.includes(Number(size)),
  );
  if (!isReleased) return undefined;
  return `${name} cannot be built: its minimal recurrent units (minGRU) are a cumulative log-sum-exp, for which ONNX has no operator. ${width}+gru-${size} and ${width}+tf-${size} of the same makers can be.`;
}
