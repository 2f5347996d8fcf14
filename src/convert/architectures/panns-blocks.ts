import type { NetworkOutputs } from '../architecture.js';
import type { Graph, Value } from '../graph.js';
import { classified, type ColumnTime, poolTime } from './columns.js';
import type { PannsFrontend } from './panns-frontends.js';

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

/** Mean over mel: [batch, channels, time, mel] → [batch, channels, time]. */
export function meanOverMel(g: Graph, x: Value): Value {
  return g.mean(x, [3]);
}

/**
 * The head: maximum plus mean over time, fc1 with ReLU, which is the embedding, then one sigmoid per label.
 * @param x [batch, channels, time]
 */
export function tagHead(g: Graph, x: Value, time: ColumnTime): NetworkOutputs {
  const embeddings = g.relu(g.linearLast(poolTime(g, x, time, 'max+mean'), 'fc1'));
  return classified(g, embeddings, 'fc_audioset', time);
}

/**
 * Columns of a log-mel whose frames were halved so often by pooling without padding: a column begins where the first
 * of its frames does. (Half a hop more exactly, since frames are centred on their steps; nobody hears 5 ms.)
 */
export function halvedColumns({ frontend, sampleRate }: PannsFrontend, halvings: number): ColumnTime {
  return { seconds: (2 ** halvings * frontend.hop_length) / sampleRate, begin: 0 };
}
