import type { FrontendSpec } from '../../features/spec.js';
import { isTrainingOnly, type Architecture, type NetworkOutputs } from '../architecture.js';
import type { Graph, Value } from '../graph.js';
import { clipAndNear, poolMelAndTime, poolNear, scoresAndFrames } from './columns.js';
import {
  blockTable,
  invertedResidual,
  lastConv,
  lastMap,
  mlpHead,
  pooledFeatures,
  stem,
  widen,
  type FeatureMap,
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

type Head = (g: Graph, map: FeatureMap) => NetworkOutputs;

/** One logit per label, mel and time, then their mean. Its batch norm, unlike all others, has PyTorch's epsilon. */
const fullyConvolutional: Head = (g, { value: x, mels, time }) => {
  const [labels = 0] = g.weights.shape('classifier.0.weight');
  const map = g.conv(x, 'classifier.0', { norm: { path: 'classifier.1', epsilon: 1e-5 } });
  const logits = poolMelAndTime(g, map, time, mels);
  return { ...scoresAndFrames(g, logits, time, labels), embedding: pooledFeatures(g, x) };
};

const HEADS = 4;

/**
 * Mean over mel, then several heads, each with an attention and a value per label and time: the mean of the values
 * weighted by the attention, then the weighted sum of the heads (Gong et al., "PSLA", 2021).
 */
const attentionPooling: Head = (g, { value: x, time }) => {
  const [rows, channels] = g.weights.shape('classifier.subspace_proj.weight') as [number, number];
  const perHead = Math.floor(rows / (2 * HEADS));
  const weight = g.tensor('classifier.subspace_proj.weight', [2 * HEADS * perHead, channels]);
  const bias = g.tensor('classifier.subspace_proj.bias', [2 * HEADS * perHead]);
  const [half, halfBias] = [weight.length / 2, bias.length / 2];
  const columns = g.mean(x, [2]);
  const project = (part: 0 | 1): Value => {
    const kernel = weight.subarray(part * half, (part + 1) * half);
    const offset = bias.subarray(part * halfBias, (part + 1) * halfBias);
    const inputs = [
      columns,
      g.constant([HEADS * perHead, channels, 1], kernel, `classifier.subspace_proj.weight (${part})`),
      g.constant([HEADS * perHead], offset, `classifier.subspace_proj.bias (${part})`),
    ];
    return g.node('Conv', inputs, { kernel_shape: { ints: [1] } });
  };
  const attention = g.clip(g.sigmoid(project(0)), 1e-7, 1 - 1e-7);
  const attended = g.multiply(attention, project(1));
  const headWeight = g.constant(
    [1, HEADS, 1, 1],
    g.tensor('classifier.head_weight', [1, HEADS, 1]),
    'classifier.head_weight',
  );
  const over = (pool: (y: Value) => Value): Value => {
    const means = g.node('Div', [pool(attended), pool(attention)]);
    const weighted = g.multiply(g.reshape(means, [0, HEADS, perHead, -1]), headWeight);
    return g.node('ReduceSum', [weighted, g.integers([1])], { keepdims: { int: 0 } });
  };
  const logits = clipAndNear(
    g,
    over((y) => g.globalAveragePool(y)),
    over((y) => poolNear(g, y, time, 'mean')),
  );
  return { ...scoresAndFrames(g, logits, time, perHead), embedding: pooledFeatures(g, x) };
};

function efficientAt(name: string, variant: Variant): Architecture {
  const { width, strides = [2, 2, 2, 2], head = mlpHead } = variant;
  const spec = frontend(variant);
  return {
    name,
    family: 'efficientat',
    sampleRate: SAMPLE_RATE,
    input: { kind: 'log_mel', layout: 'NCFT', frontend: spec },
    minSamples: MIN_SAMPLES,
    unused: isTrainingOnly,
    build(g, { logMel }) {
      const blocks = blockTable(strides).map((block) => widen(block, width));
      let x = stem(g, logMel!, 'features.0', width);
      for (const [i, block] of blocks.entries()) x = invertedResidual(g, x, `features.${i + 1}`, block);
      x = lastConv(g, x, `features.${blocks.length + 1}`, blocks.at(-1)!);
      return head(g, { value: x, width, ...lastMap(spec, SAMPLE_RATE, strides) });
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
  efficientAt('mn10_mhap', { width: 1, head: attentionPooling }),
];
