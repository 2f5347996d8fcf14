import type { FrontendSpec } from '../../features/spec.js';
import type { NetworkOutputs } from '../architecture.js';
import type { Graph, Value } from '../graph.js';
import { classified, type ColumnTime, poolMelAndTime } from './columns.js';

/*
 * MobileNetV3-Large (Howard et al., "Searching for MobileNetV3", 2019, table 1) as EfficientAT uses it (Schmid et
 * al., "Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge Distillation", 2023). Values are
 * [batch, channels, mel, time].
 */

/** One for mel and time, or two: that of mel and that of time. */
export type Stride = number | readonly [mel: number, time: number];

/** One row of the table, at width 1. */
export interface BlockSpec<S extends Stride = number> {
  kernel: 3 | 5;
  inputs: number;
  expanded: number;
  outputs: number;
  squeeze: boolean;
  activation: 'relu' | 'hardSwish';
  stride: S;
}

/** Strides of the four blocks that may shrink the image. */
export type Strides = readonly [number, number, number, number];

export function blockTable([c1, c2, c3, c4]: Strides): BlockSpec[] {
  const rows = [
    [3, 16, 16, false, 'relu', 1],
    [3, 64, 24, false, 'relu', c1],
    [3, 72, 24, false, 'relu', 1],
    [5, 72, 40, true, 'relu', c2],
    [5, 120, 40, true, 'relu', 1],
    [5, 120, 40, true, 'relu', 1],
    [3, 240, 80, false, 'hardSwish', c3],
    [3, 200, 80, false, 'hardSwish', 1],
    [3, 184, 80, false, 'hardSwish', 1],
    [3, 184, 80, false, 'hardSwish', 1],
    [3, 480, 112, true, 'hardSwish', 1],
    [3, 672, 112, true, 'hardSwish', 1],
    [5, 672, 160, true, 'hardSwish', c4],
    [5, 960, 160, true, 'hardSwish', 1],
    [5, 960, 160, true, 'hardSwish', 1],
  ] as const;
  return rows.map(([kernel, expanded, outputs, squeeze, activation, stride], i) => ({
    kernel,
    inputs: rows[i - 1]?.[2] ?? STEM_CHANNELS,
    expanded,
    outputs,
    squeeze,
    activation,
    stride,
  }));
}

const STEM_CHANNELS = 16;
const HIDDEN_FEATURES = 1280;
export const NORM_EPSILON = 1e-3;

/** The batch norm `path` for `Graph.conv`. */
export function norm(path: string): { path: string; epsilon: number } {
  return { path, epsilon: NORM_EPSILON };
}

/** The multiple of 8 next to `channels`, but never less than nine tenths of it, and at least 8. */
export function roundChannels(channels: number): number {
  const rounded = Math.max(8, Math.floor((channels + 4) / 8) * 8);
  return rounded < 0.9 * channels ? rounded + 8 : rounded;
}

/** The row with the channels of a network `width` times as wide. */
export function widen<S extends Stride>(spec: BlockSpec<S>, width: number): BlockSpec<S> {
  const { inputs, expanded, outputs } = spec;
  return {
    ...spec,
    inputs: roundChannels(inputs * width),
    expanded: roundChannels(expanded * width),
    outputs: roundChannels(outputs * width),
  };
}

/** Whether a block adds its input to its output. */
export function hasShortcut({ stride, inputs, outputs }: BlockSpec<Stride>): boolean {
  const shrinks = typeof stride === 'number' ? stride > 1 : stride.some((step) => step > 1);
  return !shrinks && inputs === outputs;
}

/** The first convolution, which halves the image. */
export function stem(g: Graph, x: Value, path: string, width: number): Value {
  const channels = roundChannels(STEM_CHANNELS * width);
  return g.hardSwish(g.conv(x, `${path}.0`, { channels, stride: 2, padding: 1, norm: norm(`${path}.1`) }));
}

/** Expand, filter each channel by itself, squeeze-and-excite in some blocks, project. */
export function invertedResidual(g: Graph, x: Value, path: string, spec: BlockSpec<Stride>): Value {
  const { kernel, inputs, expanded, outputs, stride } = spec;
  const activate = (y: Value): Value => (spec.activation === 'relu' ? g.relu(y) : g.hardSwish(y));
  // The layers are numbered without gaps, and not every block has all of them.
  let layer = 0;
  const next = (): string => `${path}.block.${layer++}`;
  let y = x;
  if (expanded !== inputs) {
    const expand = next();
    y = activate(g.conv(y, `${expand}.0`, { channels: expanded, norm: norm(`${expand}.1`) }));
  }
  const depthwise = next();
  y = activate(
    g.conv(y, `${depthwise}.0`, {
      channels: expanded,
      groups: expanded,
      stride,
      padding: (kernel - 1) / 2,
      norm: norm(`${depthwise}.1`),
    }),
  );
  if (spec.squeeze) y = squeezeExcite(g, y, `${next()}.conc_se_layers.0`);
  const project = next();
  y = g.conv(y, `${project}.0`, { channels: outputs, norm: norm(`${project}.1`) });
  return hasShortcut(spec) ? g.add(y, x) : y;
}

/** Scales each channel by what two linear layers make of the means of all of them. */
function squeezeExcite(g: Graph, x: Value, path: string): Value {
  const squeezed = g.relu(g.pointwise(g.globalAveragePool(x), `${path}.fc1`));
  return g.multiply(x, g.sigmoid(g.pointwise(squeezed, `${path}.fc2`)));
}

/** Channels of the last convolution: six times those of the last block. */
export function lastChannels({ outputs }: BlockSpec<Stride>): number {
  return 6 * outputs;
}

/** The last convolution. */
export function lastConv(g: Graph, x: Value, path: string, last: BlockSpec<Stride>): Value {
  const channels = lastChannels(last);
  return g.hardSwish(g.conv(x, `${path}.0`, { channels, norm: norm(`${path}.1`) }));
}

/** Mean over mel and time: [batch, channels, mel, time] → [batch, channels]. */
export function pooledFeatures(g: Graph, x: Value): Value {
  return g.flatten(g.globalAveragePool(x));
}

/** The last feature map of a network, [batch, channels, mels, columns]. */
export interface FeatureMap {
  value: Value;
  mels: number;
  time: ColumnTime;
  /** Of the network. */
  width: number;
}

/**
 * How many mels and columns the last feature map has. A column is centred on a frame of the log-mel, since everything
 * is padded on both sides.
 */
export function lastMap(
  { hop_length: hop, n_mels: mels }: FrontendSpec,
  sampleRate: number,
  strides: Strides,
): Omit<FeatureMap, 'value' | 'width'> {
  const stride = strides.reduce((product, one) => product * one, 2);
  const seconds = (stride * hop) / sampleRate;
  return { mels: Math.ceil(mels / stride), time: { seconds, begin: -seconds / 2 } };
}

/** Two linear layers on the features pooled over mel and time, which are the embedding. */
export function mlpHead(g: Graph, { value: x, mels, width, time: columns }: FeatureMap): NetworkOutputs {
  const time = { ...columns, sparse: true };
  const features = poolMelAndTime(g, x, time, mels);
  const hidden = g.linearLast(features, 'classifier.2', { features: roundChannels(HIDDEN_FEATURES * width) });
  return classified(g, g.hardSwish(hidden), 'classifier.5', time, features);
}
