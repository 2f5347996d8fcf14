import { isTrainingOnly, type Architecture } from '../architecture.js';
import type { Graph, Value } from '../graph.js';
import type { ColumnTime } from './columns.js';
import { halvedColumns, meanOverMel, melNorm, norm, tagHead } from './panns-blocks.js';
import { logMelInput, PANNS_32K, shortestClip } from './panns-frontends.js';

/*
 * MobileNetV1 and V2 of PANNs (Kong et al., 2020) on log-mels, [batch, channels, time, mel]. Where the networks for
 * images stride, these pool: average pooling between a convolution and its batch norm. Both are linear and the
 * pooling has no padding, so the norm is folded into the convolution before it all the same.
 */

interface Step {
  conv: string;
  norm: string;
  /** 3×3 per channel instead of 3×3 or 1×1 over all of them. */
  depthwise?: boolean;
  /** Has a pooling layer behind it; with 1 it does nothing. */
  stride?: 1 | 2;
}

/** A convolution, 3×3 or 1×1 by its weight, with its pooling and its norm. */
function step(g: Graph, x: Value, { conv, norm: bn, depthwise = false, stride = 1 }: Step): Value {
  const [channels = 0, , size = 1] = g.weights.shape(`${conv}.weight`);
  const y = g.conv(x, conv, { padding: (size - 1) / 2, groups: depthwise ? channels : 1, norm: norm(bn) });
  return stride === 1 ? y : g.averagePool(y, 2, { kernel: stride });
}

/** Depthwise-separable blocks: their strides. */
const V1_STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1] as const;

function mobileNetV1(g: Graph, logMel: Value): Value {
  const features = 'features.0';
  let x = step(g, melNorm(g, logMel), { conv: `${features}.0`, norm: `${features}.2`, stride: 2 });
  x = g.relu(x);
  V1_STRIDES.forEach((stride, index) => {
    const path = `features.${index + 1}`;
    x = g.relu(step(g, x, { conv: `${path}.0`, norm: `${path}.2`, depthwise: true, stride }));
    x = g.relu(step(g, x, { conv: `${path}.4`, norm: `${path}.5` }));
  });
  return x;
}

/** Stages of inverted residual blocks: how many, and the stride of the first. */
const V2_STAGES = [
  { blocks: 1, stride: 1 },
  { blocks: 2, stride: 2 },
  { blocks: 3, stride: 2 },
  { blocks: 4, stride: 2 },
  { blocks: 3, stride: 2 },
  { blocks: 3, stride: 1 },
  { blocks: 1, stride: 1 },
] as const;

function relu6(g: Graph, x: Value): Value {
  return g.clip(x, 0, 6);
}

/** Widens (but in the first block), filters per channel, narrows; the input is added where the shapes agree. */
function invertedResidual(g: Graph, x: Value, path: string, { widen, stride, add }: InvertedResidual): Value {
  const conv = (index: number): string => `${path}.conv.${index}`;
  let y = x;
  if (widen) y = relu6(g, step(g, y, { conv: conv(0), norm: conv(1) }));
  const depthwise = widen ? 3 : 0;
  y = step(g, y, { conv: conv(depthwise), norm: conv(depthwise + 2), depthwise: true, stride });
  y = step(g, relu6(g, y), { conv: conv(depthwise + 4), norm: conv(depthwise + 5) });
  return add ? g.add(x, y) : y;
}

interface InvertedResidual {
  widen: boolean;
  stride: 1 | 2;
  add: boolean;
}

function mobileNetV2(g: Graph, logMel: Value): Value {
  let x = melNorm(g, logMel);
  x = relu6(g, step(g, x, { conv: 'features.0.0', norm: 'features.0.2', stride: 2 }));
  let index = 1;
  V2_STAGES.forEach(({ blocks, stride }, stage) => {
    for (let block = 0; block < blocks; block += 1) {
      // Only the first block of a stage changes the shape.
      const first = block === 0;
      const options = { widen: stage > 0, stride: first ? stride : 1, add: !first } as const;
      x = invertedResidual(g, x, `features.${index}`, options);
      index += 1;
    }
  });
  return relu6(g, step(g, x, { conv: `features.${index}.0`, norm: `features.${index}.1` }));
}

/** How often the frames are halved on the way. */
const HALVINGS = 5;

const COLUMNS: ColumnTime = { ...halvedColumns(PANNS_32K, HALVINGS), sparse: true };

function mobileNet(name: string, trunk: (g: Graph, logMel: Value) => Value): Architecture {
  return {
    name,
    family: 'panns',
    sampleRate: PANNS_32K.sampleRate,
    input: logMelInput(PANNS_32K.frontend),
    minSamples: shortestClip(PANNS_32K.frontend, HALVINGS),
    unused: isTrainingOnly,
    build: (g, { logMel }) => tagHead(g, meanOverMel(g, trunk(g, logMel!)), COLUMNS),
  };
}

export const mobilenetArchitectures: readonly Architecture[] = [
  mobileNet('MobileNetV1', mobileNetV1),
  mobileNet('MobileNetV2', mobileNetV2),
];
