import type { FrontendSpec } from '../../features/spec.js';
import { isTrainingOnly, type Architecture } from '../architecture.js';
import type { Graph, Value } from '../graph.js';
import {
  blockTable,
  invertedResidual,
  lastConv,
  mlpHead,
  pooledFeatures,
  stem,
  widen,
  type Strides,
} from './mobilenet-v3.js';

/*
 * The MobileNetV3 networks of EfficientAT: Schmid, Koutini, Widmer, "Efficient Large-Scale Audio Tagging via
 * Transformer-to-CNN Knowledge Distillation", 2023. Values are [batch, channels, mel, time].
 */

export const SAMPLE_RATE = 32_000;
/** Half a transform and one sample, which the front end needs to pad by reflection. */
export const MIN_SAMPLES = 514;

export function frontend({ hop = 320, mels = 128 } = {}): FrontendSpec {
  return {
    kind: 'efficientat',
    n_fft: 1024,
    win_length: 800,
    hop_length: hop,
    n_mels: mels,
    f_min: 0,
    f_max: 15_000,
  };
}

interface Variant {
  /** Factor of the number of channels. */
  width: number;
  strides?: Strides;
  head?: Head;
  hop?: number;
  mels?: number;
}

type Head = (g: Graph, x: Value, features: Value, width: number) => Value;

const perceptron: Head = (g, _x, features, width) => mlpHead(g, features, width);

/** One logit per label, mel and time, then their mean. Its batch norm, unlike all others, has PyTorch's epsilon. */
const fullyConvolutional: Head = (g, x) =>
  pooledFeatures(g, g.conv(x, 'classifier.0', { norm: { path: 'classifier.1', epsilon: 1e-5 } }));

function efficientAt(name: string, variant: Variant): Architecture {
  const { width, strides = [2, 2, 2, 2], head = perceptron } = variant;
  return {
    name,
    family: 'efficientat',
    sampleRate: SAMPLE_RATE,
    input: { kind: 'log_mel', layout: 'NCFT', frontend: frontend(variant) },
    minSamples: MIN_SAMPLES,
    unused: isTrainingOnly,
    build(g, { logMel }) {
      const blocks = blockTable(strides).map((spec) => widen(spec, width));
      let x = stem(g, logMel!, 'features.0', width);
      for (const [i, spec] of blocks.entries()) x = invertedResidual(g, x, `features.${i + 1}`, spec);
      x = lastConv(g, x, `features.${blocks.length + 1}`, blocks.at(-1)!);
      const embedding = pooledFeatures(g, x);
      return { scores: g.sigmoid(head(g, x, embedding, width)), embedding };
    },
  };
}

export const efficientatArchitectures: readonly Architecture[] = [
  efficientAt('mn01', { width: 0.1 }),
  efficientAt('mn02', { width: 0.2 }),
  efficientAt('mn04', { width: 0.4 }),
  efficientAt('mn05', { width: 0.5 }),
  efficientAt('mn10', { width: 1 }),
  efficientAt('mn20', { width: 2 }),
  efficientAt('mn30', { width: 3 }),
  efficientAt('mn40', { width: 4 }),
  efficientAt('mn10_hop_5', { width: 1, hop: 160 }),
  efficientAt('mn10_hop_15', { width: 1, hop: 480 }),
  efficientAt('mn10_hop_20', { width: 1, hop: 640 }),
  efficientAt('mn10_hop_25', { width: 1, hop: 800 }),
  efficientAt('mn10_mels_40', { width: 1, mels: 40 }),
  efficientAt('mn10_mels_64', { width: 1, mels: 64 }),
  efficientAt('mn10_mels_256', { width: 1, mels: 256 }),
  efficientAt('mn10_fc', { width: 1, head: fullyConvolutional }),
  efficientAt('mn10_fc_s2221', { width: 1, strides: [2, 2, 2, 1], head: fullyConvolutional }),
  efficientAt('mn10_fc_s2211', { width: 1, strides: [2, 2, 1, 1], head: fullyConvolutional }),
];
