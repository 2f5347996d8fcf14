import type { Graph, Value } from '../graph.js';

/*
 * What the networks of PANNs share (Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio
 * Pattern Recognition", 2020). Values of the 2-D networks are [batch, channels, time, mel], of the 1-D networks
 * [batch, channels, time]. No convolution of theirs has a bias.
 */

/** Epsilon of every batch norm: PyTorch's default. */
export const NORM_EPSILON = 1e-5;

/** The batch norm `path` for `Graph.conv`. */
export function norm(path: string): { path: string; epsilon: number } {
  return { path, epsilon: NORM_EPSILON };
}

/** bn0, which scales and shifts each mel bin of the log-mel, [batch, 1, time, mel]. */
export function melNorm(g: Graph, logMel: Value): Value {
  return g.affineNorm(logMel, 'bn0', NORM_EPSILON, { axis: 3, rank: 4 });
}

/** Two 3×3 convolutions with batch norm and ReLU, then average pooling over `pool` × `pool` (or [time, mel]). */
export function convBlock(
  g: Graph,
  x: Value,
  path: string,
  { pool }: { pool: number | readonly [time: number, mel: number] },
): Value {
  let y = g.relu(g.conv(x, `${path}.conv1`, { padding: 1, norm: norm(`${path}.bn1`) }));
  y = g.relu(g.conv(y, `${path}.conv2`, { padding: 1, norm: norm(`${path}.bn2`) }));
  return pool === 1 ? y : g.averagePool(y, 2, { kernel: pool });
}

/** Maximum plus mean over time: [batch, channels, time] → [batch, channels]. */
export function maxPlusMean(g: Graph, x: Value): Value {
  return g.add(g.max(x, [2]), g.mean(x, [2]));
}

/** The pooling head of the 2-D networks: mean over mel, then maximum plus mean over time. */
export function poolMelThenTime(g: Graph, x: Value): Value {
  return maxPlusMean(g, g.mean(x, [3]));
}

/** fc1 with ReLU, which is the embedding, then one sigmoid per label: [batch, channels] → [batch, labels]. */
export function tagHead(g: Graph, x: Value): { scores: Value; embedding: Value } {
  const embedding = g.relu(g.linear(x, 'fc1'));
  return { scores: g.sigmoid(g.linear(embedding, 'fc_audioset')), embedding };
}
