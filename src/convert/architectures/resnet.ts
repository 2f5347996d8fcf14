import { isTrainingOnly, type Architecture } from '../architecture.js';
import type { Graph, Value } from '../graph.js';
import { convBlock, halvedColumns, meanOverMel, melNorm, norm, tagHead } from './panns-blocks.js';
import { logMelInput, PANNS_32K, shortestClip } from './panns-frontends.js';

/*
 * The residual networks of PANNs (Kong et al., 2020) on log-mels, [batch, channels, time, mel]: a ConvBlock, four
 * layers of residual blocks, another ConvBlock. Every convolution has stride 1; where a layer halves time and mel, it
 * is by average pooling before its first convolution.
 */

/** The two convolutions or three that a block's shortcut leads around. */
type Branch = (g: Graph, x: Value, path: string) => Value;

/** Two 3×3 convolutions, of ResNet22 and ResNet38. */
const basic: Branch = (g, x, path) => {
  const y = g.relu(g.conv(x, `${path}.conv1`, { padding: 1, norm: norm(`${path}.bn1`) }));
  return g.conv(y, `${path}.conv2`, { padding: 1, norm: norm(`${path}.bn2`) });
};

/** 1×1, 3×3, 1×1, of ResNet54. */
const bottleneck: Branch = (g, x, path) => {
  let y = g.relu(g.conv(x, `${path}.conv1`, { norm: norm(`${path}.bn1`) }));
  y = g.relu(g.conv(y, `${path}.conv2`, { padding: 1, norm: norm(`${path}.bn2`) }));
  return g.conv(y, `${path}.conv3`, { norm: norm(`${path}.bn3`) });
};

function halved(g: Graph, x: Value): Value {
  return g.averagePool(x, 2, { kernel: 2 });
}

/** A branch beside a shortcut, which has a 1×1 convolution where the number of channels changes. */
function residual(
  g: Graph,
  x: Value,
  branch: Branch,
  { path, halve }: { path: string; halve: boolean },
): Value {
  const entry = halve ? halved(g, x) : x;
  // In the state dict the pooling is a member of the shortcut's sequence, so the convolution comes behind it.
  const at = halve ? 1 : 0;
  const conv = `${path}.downsample.${at}`;
  const isConv = g.weights.has(`${conv}.weight`);
  const shortcut = isConv ? g.conv(entry, conv, { norm: norm(`${path}.downsample.${at + 1}`) }) : entry;
  return g.relu(g.add(branch(g, entry, path), shortcut));
}

/** How often the frames are halved on the way. */
const HALVINGS = 5;

function resnet(name: string, branch: Branch, layers: readonly number[]): Architecture {
  return {
    name,
    family: 'panns',
    sampleRate: PANNS_32K.sampleRate,
    input: logMelInput(PANNS_32K.frontend),
    minSamples: shortestClip(PANNS_32K.frontend, HALVINGS),
    unused: isTrainingOnly,
    build(g, { logMel }) {
      let x = convBlock(g, melNorm(g, logMel!), 'conv_block1', { pool: 2 });
      layers.forEach((blocks, layer) => {
        for (let i = 0; i < blocks; i += 1) {
          x = residual(g, x, branch, { path: `resnet.layer${layer + 1}.${i}`, halve: layer > 0 && i === 0 });
        }
      });
      x = convBlock(g, halved(g, x), 'conv_block_after1', { pool: 1 });
      return tagHead(g, meanOverMel(g, x), halvedColumns(PANNS_32K, HALVINGS));
    },
  };
}

export const resnetArchitectures: readonly Architecture[] = [
  resnet('ResNet22', basic, [2, 2, 2, 2]),
  resnet('ResNet38', basic, [3, 4, 6, 3]),
  resnet('ResNet54', bottleneck, [3, 4, 6, 3]),
];
