import { isTrainingOnly, type Architecture } from '../architecture.js';
import type { Graph, Value } from '../graph.js';
import { frontend, MIN_SAMPLES, SAMPLE_RATE } from './efficientat.js';
import {
  blockTable,
  hasShortcut,
  invertedResidual,
  lastConv,
  lastMap,
  mlpHead,
  norm,
  NORM_EPSILON,
  roundChannels,
  stem,
  widen,
  type BlockSpec,
} from './mobilenet-v3.js';

/*
 * Dynamic MobileNets: Schmid, Koutini, Widmer, "Dynamic Convolutional Neural Networks as Efficient Pre-trained Audio
 * Models", 2023. The blocks of MobileNetV3 with kernels, activations and attention that are computed from the block's
 * input. Values are [batch, channels, mel, time]; since the kernels differ from clip to clip, the batch is 1.
 */

/** Kernels that a dynamic convolution mixes. */
const KERNELS = 4;
/** Lines of a dynamic ReLU, of which the largest counts. */
const LINES = 2;

/** What a block's dynamic parts are computed from. */
interface Context {
  /** [1, context] */
  vector: Value;
  size: number;
  /** Attention per channel and mel, [1, channels, mel, 1], and per channel and time, [1, channels, 1, time]. */
  overMel: Value;
  overTime: Value;
}

/** A quarter of the expanded channels, between 32 and 128 at width 1. */
function contextSize({ expanded }: BlockSpec, width: number): number {
  const quarter = roundChannels(Math.floor(expanded / 4));
  return Math.min(roundChannels(128 * width), Math.max(roundChannels(32 * width), quarter));
}

/** Means over time and over mel go through one and the same layer; what comes out is averaged, and attends. */
function contextOf(g: Graph, x: Value, path: string, spec: BlockSpec, width: number): Context {
  const size = contextSize(spec, width);
  const [overMel, overTime] = g
    .sharedConv([g.mean(x, [3], true), g.mean(x, [2], true)], `${path}.joint_conv`, {
      channels: size,
      norm: norm(`${path}.joint_norm`),
    })
    .map((y) => g.hardSwish(y)) as [Value, Value];
  const sequence = g.concat([overMel, g.transpose(overTime, [0, 1, 3, 2])], 2);
  const attend = (y: Value, name: string, along: readonly [number, number]): Value => {
    const [mel, time] = along;
    const pooled =
      spec.stride === 1
        ? y
        : g.averagePool(y, 2, {
            kernel: [1 + 2 * mel, 1 + 2 * time],
            stride: [1 + mel, 1 + time],
            padding: along,
          });
    return g.sigmoid(g.conv(pooled, `${path}.${name}`, { channels: spec.expanded }));
  };
  return {
    vector: g.mean(sequence, [2, 3]),
    size,
    overMel: attend(overMel, 'conv_f', [1, 0]),
    overTime: attend(overTime, 'conv_t', [0, 1]),
  };
}

/** A convolution whose kernel is a mix of several, with its batch norm folded into each of them. */
function dynamicConv(
  g: Graph,
  x: Value,
  path: string,
  context: Context,
  options: { inputs: number; outputs: number; kernel: number; groups: number; stride: number },
): Value {
  const { inputs, outputs, kernel, groups, stride } = options;
  const dims = [outputs, inputs / groups, kernel, kernel];
  const perOutput = (inputs / groups) * kernel * kernel;
  const kernels = g.tensor(`${path}_conv.weight`, [1, 1, KERNELS, outputs * perOutput]);
  const { scale, shift } = g.batchNorm(`${path}_norm`, NORM_EPSILON, outputs);
  for (let i = 0; i < kernels.length; i += 1) kernels[i]! *= scale[Math.floor(i / perOutput) % outputs]!;

  const mix = g.softmax(g.linear(context.vector, `${path}_conv.residuals.0`, KERNELS), 1);
  const mixed = g.node('MatMul', [
    mix,
    g.constant([KERNELS, outputs * perOutput], kernels, `${path}_conv.weight`),
  ]);
  const padding = (kernel - 1) / 2;
  return g.node('Conv', [x, g.reshape(mixed, dims), g.constant([outputs], shift, `${path}_norm.bias`)], {
    kernel_shape: { ints: [kernel, kernel] },
    strides: { ints: [stride, stride] },
    pads: { ints: [padding, padding, padding, padding] },
    group: { int: groups },
  });
}

/** For each channel the larger of two lines, max(a₁·x + b₁, a₂·x + b₂): Dynamic ReLU B (Chen et al., 2020). */
function dynamicRelu(g: Graph, x: Value, path: string, context: Context, channels: number): Value {
  const coefficients = 2 * LINES;
  const lambdas = g.tensor(`${path}.lambdas`, [coefficients]);
  const initial = g.tensor(`${path}.init_v`, [coefficients]);
  const rows = channels * coefficients;
  const weight = g.tensor(`${path}.coef_net.0.weight`, [rows, context.size]);
  const bias = g.tensor(`${path}.coef_net.0.bias`, [rows]);
  // From a channel's coefficients side by side to the same coefficient of all channels side by side.
  const gates = g.sigmoid(
    g.node(
      'Gemm',
      [
        context.vector,
        g.constant(
          [rows, context.size],
          regrouped(weight, coefficients, context.size),
          `${path}.coef_net.0.weight`,
        ),
        g.constant([rows], regrouped(bias, coefficients, 1), `${path}.coef_net.0.bias`),
      ],
      { transB: { int: 1 } },
    ),
  );
  // λ·(2·σ − 1) + v
  const scaled = g.multiply(
    g.reshape(gates, [coefficients, channels, 1, 1]),
    g.constant(
      [coefficients, 1, 1, 1],
      lambdas.map((value) => 2 * value),
    ),
  );
  const offsets = initial.map((value, i) => value - lambdas[i]!);
  const lines = g.split(g.add(scaled, g.constant([coefficients, 1, 1, 1], offsets)), coefficients, 0);
  const values = Array.from({ length: LINES }, (_, line) =>
    g.add(g.multiply(x, lines[line]!), lines[LINES + line]!),
  );
  return g.node('Max', values);
}

/** Rows in the order 0, n, 2n, …, 1, n+1, … */
function regrouped(data: Float32Array, n: number, columns: number): Float32Array {
  const result = new Float32Array(data.length);
  const groups = data.length / columns / n;
  for (let row = 0; row < groups * n; row += 1) {
    const from = data.subarray(row * columns, (row + 1) * columns);
    result.set(from, ((row % n) * groups + Math.floor(row / n)) * columns);
  }
  return result;
}

/** Expand, filter each channel by itself, attend to mel and time, project: all of it computed from the input. */
function dynamicBlock(g: Graph, x: Value, path: string, spec: BlockSpec, width: number): Value {
  const { kernel, inputs, expanded, outputs, stride } = spec;
  const context = contextOf(g, x, `${path}.context_gen`, spec, width);
  const pointwise = { kernel: 1, groups: 1, stride: 1 };
  let y = x;
  if (expanded !== inputs) {
    y = dynamicConv(g, y, `${path}.exp`, context, { ...pointwise, inputs, outputs: expanded });
    y = spec.activation === 'relu' ? g.relu(y) : g.hardSwish(y);
  }
  const depthwise = { kernel, groups: expanded, stride, inputs: expanded, outputs: expanded };
  y = dynamicConv(g, y, `${path}.depth`, context, depthwise);
  y = dynamicRelu(g, y, `${path}.depth_act`, context, expanded);
  y = g.multiply(g.multiply(y, context.overMel), context.overTime);
  y = dynamicConv(g, y, `${path}.proj`, context, { ...pointwise, inputs: expanded, outputs });
  return hasShortcut(spec) ? g.add(y, x) : y;
}

const STRIDES = [2, 2, 2, 2] as const;

/** `replaceSqueeze`: only the blocks that squeeze and excite in MobileNetV3 are dynamic. */
function dymn(name: string, width: number, { replaceSqueeze = false } = {}): Architecture {
  const spec = frontend();
  return {
    name,
    family: 'dymn',
    sampleRate: SAMPLE_RATE,
    input: { kind: 'log_mel', layout: 'NCFT', frontend: spec },
    minSamples: MIN_SAMPLES,
    unused: isTrainingOnly,
    build(g, { logMel }) {
      const blocks = blockTable(STRIDES).map((block) => widen(block, width));
      let x = stem(g, logMel!, 'in_c', width);
      for (const [i, block] of blocks.entries()) {
        const isDynamic = !replaceSqueeze || block.squeeze;
        const path = `layers.${i}`;
        x = isDynamic ? dynamicBlock(g, x, path, block, width) : invertedResidual(g, x, path, block);
      }
      const value = lastConv(g, x, 'out_c', blocks.at(-1)!);
      return mlpHead(g, { value, width, ...lastMap(spec, SAMPLE_RATE, STRIDES) });
    },
  };
}

export const dymnArchitectures: readonly Architecture[] = [
  dymn('dymn04', 0.4),
  dymn('dymn10', 1),
  dymn('dymn20', 2),
  dymn('dymn04_replace_se', 0.4, { replaceSqueeze: true }),
  dymn('dymn10_replace_se', 1, { replaceSqueeze: true }),
];
