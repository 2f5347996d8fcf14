import { isTrainingOnly, type Architecture, type NetworkOutputs } from '../architecture.js';
import type { Graph, Value } from '../graph.js';
import type { ColumnTime } from './columns.js';
import { norm, tagHead } from './panns-blocks.js';

/*
 * The 1-D networks of PANNs, which take the waveform: LeeNet (after Lee et al., "Sample-level deep CNNs", 2017),
 * DaiNet (after Dai et al., "Very deep convolutional neural networks for raw waveforms", 2017) and Res1dNet (residual
 * blocks over time). All end with maximum plus mean over time. Values are [batch, channels, time].
 */

/** Hz */
const SAMPLE_RATE = 32_000;

/** [batch, samples] → [batch, 1, samples]. */
export function oneChannel(g: Graph, waveform: Value): Value {
  return g.reshape(waveform, [0, 1, -1]);
}

/** A block of LeeNet: one or two convolutions over three steps with batch norm and ReLU, then max pooling. */
function leeBlock(
  g: Graph,
  x: Value,
  path: string,
  { convolutions, stride = 1, pool }: { convolutions: number; stride?: number; pool: boolean },
): Value {
  for (let index = 1; index <= convolutions; index += 1) {
    x = g.relu(
      g.conv(x, `${path}.conv${index}`, {
        stride: index === 1 ? stride : 1,
        padding: 1,
        norm: norm(`${path}.bn${index}`),
      }),
    );
  }
  return pool ? g.maxPool(x, 1, { kernel: 3, padding: 1 }) : x;
}

/** Nine blocks; the first moves by three samples, the others are pooled by three, the last one where it says so. */
function leeNet(g: Graph, waveform: Value, options: { convolutions: number; poolLast: boolean }) {
  const { convolutions } = options;
  let x = leeBlock(g, oneChannel(g, waveform), 'conv_block1', { convolutions, stride: 3, pool: false });
  for (let block = 2; block <= 9; block += 1) {
    x = leeBlock(g, x, `conv_block${block}`, { convolutions, pool: block < 9 || options.poolLast });
  }
  const seconds = 3 ** (options.poolLast ? 9 : 8) / SAMPLE_RATE;
  // Convolutions and pooling alike are centred on every third step.
  return tagHead(g, x, { seconds, begin: -seconds / 2 });
}

/** Four convolutions beside a shortcut, which has a convolution of its own where the width changes. */
function daiBlock(g: Graph, x: Value, path: string, { widens }: { widens: boolean }): Value {
  let y = x;
  for (let index = 1; index <= 4; index += 1) {
    y = g.conv(y, `${path}.conv${index}`, { padding: 1, norm: norm(`${path}.bn${index}`) });
    if (index < 4) y = g.relu(y);
  }
  const shortcut = widens ? g.conv(x, `${path}.downsample`, { norm: norm(`${path}.bn_downsample`) }) : x;
  return g.relu(g.add(y, shortcut));
}

/** 8 ms, of which 40 make a frame. */
const DAI_COLUMNS: ColumnTime = { seconds: 256 / SAMPLE_RATE, begin: 0, step: 40 };

/** Four residual blocks behind a convolution over 80 samples, which has no ReLU; all but the last are pooled by 4. */
function daiNet(g: Graph, waveform: Value) {
  let x = g.conv(oneChannel(g, waveform), 'conv0', { stride: 4, norm: norm('bn0') });
  for (let block = 1; block <= 4; block += 1) {
    x = daiBlock(g, x, `conv_block${block}`, { widens: block > 1 });
    if (block < 4) x = g.maxPool(x, 1, { kernel: 4 });
  }
  return tagHead(g, x, DAI_COLUMNS);
}

/**
 * Two convolutions, the second dilated, beside a shortcut. The first block of a layer makes time four times
 * shorter: by the maximum before its convolutions, by the mean in its shortcut.
 */
function residualBlock(g: Graph, x: Value, path: string, { shortens }: { shortens: boolean }): Value {
  let y = shortens ? g.maxPool(x, 1, { kernel: 4 }) : x;
  y = g.relu(g.conv(y, `${path}.conv1`, { padding: 1, norm: norm(`${path}.bn1`) }));
  y = g.conv(y, `${path}.conv2`, { padding: 2, dilation: 2, norm: norm(`${path}.bn2`) });
  if (!shortens) return g.relu(g.add(y, x));
  const mean = g.averagePool(x, 1, { kernel: 4 });
  const shortcut = g.conv(mean, `${path}.downsample.1`, { norm: norm(`${path}.downsample.2`) });
  return g.relu(g.add(y, shortcut));
}

/** Seven layers of residual blocks behind a convolution over 11 samples, which has no ReLU. */
function res1dNet(g: Graph, waveform: Value, blocks: readonly number[]) {
  let x = g.conv(oneChannel(g, waveform), 'conv0', { stride: 5, padding: 5, norm: norm('bn0') });
  for (const [layer, count] of blocks.entries()) {
    for (let block = 0; block < count; block += 1) {
      const shortens = layer > 0 && block === 0;
      x = residualBlock(g, x, `resnet.layer${layer + 1}.${block}`, { shortens });
    }
  }
  return tagHead(g, x, { seconds: (5 * 4 ** (blocks.length - 1)) / SAMPLE_RATE, begin: 0 });
}

type Network = (g: Graph, waveform: Value) => NetworkOutputs;

function network(
  name: string,
  minSamples: number,
  build: Network,
  unused: (tensor: string) => boolean = isTrainingOnly,
): Architecture {
  return {
    name,
    family: 'panns',
    sampleRate: SAMPLE_RATE,
    input: { kind: 'waveform' },
    minSamples,
    unused,
    build: (g, { waveform }) => build(g, waveform!),
  };
}

export const waveformArchitectures: readonly Architecture[] = [
  network('LeeNet11', 1, (g, waveform) => leeNet(g, waveform, { convolutions: 1, poolLast: true })),
  network('LeeNet24', 1, (g, waveform) => leeNet(g, waveform, { convolutions: 2, poolLast: false })),
  network(
    'DaiNet19',
    332,
    daiNet,
    // The first block keeps its width: the convolution of its shortcut exists, but is never used.
    (tensor) => isTrainingOnly(tensor) || /^conv_block1\.(bn_)?downsample\./.test(tensor),
  ),
  network('Res1dNet31', 20_476, (g, waveform) => res1dNet(g, waveform, [2, 2, 2, 2, 2, 2, 2])),
  network('Res1dNet51', 20_476, (g, waveform) => res1dNet(g, waveform, [2, 3, 4, 6, 4, 3, 2])),
];
