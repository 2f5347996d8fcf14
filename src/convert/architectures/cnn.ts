import { isTrainingOnly, type Architecture, type NetworkOutputs } from '../architecture.js';
import type { Graph, Value } from '../graph.js';
import { classified, type ColumnTime, poolTime, rounded } from './columns.js';
import { GMP_DEVIATION, GMP_MEAN } from './gmp-statistics.js';
import { convBlock, halvedColumns, meanOverMel, melNorm, norm, tagHead } from './panns-blocks.js';
import {
  logMelInput,
  PANNS_16K,
  PANNS_32K,
  PANNS_32K_MEL128,
  PANNS_32K_MEL32,
  PANNS_8K,
  shortestClip,
  type PannsFrontend,
} from './panns-frontends.js';

/*
 * The VGG-like networks on log-mels: Cnn6, Cnn10 and Cnn14 of PANNs (Kong et al., 2020) with their variants, the
 * pruned Cnn14 of E-PANNs (Singh et al., 2023), and Cnn9 and Cnn13 of the 2019 sound recognition demo. Values are
 * [batch, channels, time, mel] until the pooling at the end. How wide a layer is, its tensors tell: so the variants
 * with a narrower embedding and the pruned one are the same network as Cnn14.
 */

/** From the log-mel; `time` is that of the columns it ends with. */
type Network = (g: Graph, logMel: Value, time: ColumnTime) => NetworkOutputs;

/** A block with one 5×5 convolution, as in Cnn6. */
function convBlock5x5(g: Graph, x: Value, path: string): Value {
  const y = g.relu(g.conv(x, `${path}.conv1`, { padding: 2, norm: norm(`${path}.bn1`) }));
  return g.averagePool(y, 2, { kernel: 2 });
}

/** conv_block1 … conv_block<blocks>; all but those after `pooled` halve time and mel. */
function trunk(g: Graph, x: Value, blocks: number, pooled: number): Value {
  let y = x;
  for (let block = 1; block <= blocks; block += 1) {
    y = convBlock(g, y, `conv_block${block}`, { pool: block <= pooled ? 2 : 1 });
  }
  return y;
}

const cnn6: Network = (g, logMel, time) => {
  let x = melNorm(g, logMel);
  for (let block = 1; block <= 4; block += 1) x = convBlock5x5(g, x, `conv_block${block}`);
  return tagHead(g, meanOverMel(g, x), time);
};

const cnn10: Network = (g, logMel, time) =>
  tagHead(g, meanOverMel(g, trunk(g, melNorm(g, logMel), 4, 4)), time);

const cnn14: Network = (g, logMel, time) =>
  tagHead(g, meanOverMel(g, trunk(g, melNorm(g, logMel), 6, 5)), time);

/**
 * Cnn14 that decides for each segment (32 frames of the log-mel) and then for the clip: `decide` makes the scores of
 * the clip, [batch, labels], and those of the segments, [batch, segments, labels], from the segments' features,
 * [batch, segments, features].
 */
function decisionLevel(decide: (g: Graph, features: Value) => { clip: Value; segments: Value }): Network {
  return (g, logMel, { seconds }) => {
    const x = g.mean(trunk(g, melNorm(g, logMel), 6, 5), [3]);
    const smoothed = { kernel: 3, stride: 1, padding: 1 };
    const segments = g.add(
      g.maxPool(x, 1, smoothed),
      g.averagePool(x, 1, { ...smoothed, countIncludePad: true }),
    );
    const features = g.relu(g.linearLast(g.transpose(segments, [0, 2, 1]), 'fc1'));
    const { clip, segments: scores } = decide(g, features);
    return {
      scores: clip,
      embedding: null,
      frames: {
        value: scores,
        geometry: {
          role: 'scores',
          hop_seconds: seconds,
          offset_seconds: 0,
          context_seconds: rounded(SEGMENT_CONTEXT * seconds),
          spread_seconds: 0,
          lookback_seconds: 0,
        },
      },
    };
  };
}

/**
 * Segments behind one that its scores wait for: one that is pooled with it, and the two into which the last two
 * convolutions reach. The others reach further, 1.6 s in all, with little weight: with so much sound behind it a segment
 * differs by a quarter of what two seconds of other sound make of it, with one segment less by two thirds (measured with
 * synthetic weights, which spread more than trained ones).
 */
const SEGMENT_CONTEXT = 3;

/** The largest score of the segments, or their mean. */
function pooledScores(pool: 'max' | 'mean'): (g: Graph, features: Value) => { clip: Value; segments: Value } {
  return (g, features) => {
    const segments = g.sigmoid(g.linearLast(features, 'fc_audioset'));
    return { clip: g[pool](segments, [1]), segments };
  };
}

/** The mean of the segments' scores, weighted by an attention over time that is learned for each label. */
function attention(g: Graph, segments: Value): { clip: Value; segments: Value } {
  const features = g.transpose(segments, [0, 2, 1]);
  const weights = g.softmax(g.clip(g.conv(features, 'att_block.att'), -10, 10), 2);
  const scores = g.sigmoid(g.conv(features, 'att_block.cla'));
  const clip = g.node('ReduceSum', [g.multiply(weights, scores), g.integers([2])], { keepdims: { int: 0 } });
  return { clip, segments: g.transpose(scores, [0, 2, 1]) };
}

/** Neither bn0 (the front end normalises) nor fc1: the embedding is the largest value over time. */
function gmp(blocks: number): Network {
  return (g, logMel, time) => {
    const embeddings = poolTime(g, meanOverMel(g, trunk(g, logMel, blocks, blocks - 1)), time, 'max');
    return classified(g, embeddings, 'fc_audioset', time);
  };
}

interface Variant extends PannsFrontend {
  name: string;
  family?: string;
  /** How often the frames are halved on the way. */
  halvings: number;
  network: Network;
  unused?: (tensor: string) => boolean;
}

function architecture(variant: Variant): Architecture {
  const { name, family = 'panns', sampleRate, frontend, halvings, network, unused } = variant;
  return {
    name,
    family,
    sampleRate,
    input: logMelInput(frontend),
    minSamples: shortestClip(frontend, halvings),
    unused: (tensor) => isTrainingOnly(tensor) || (unused?.(tensor) ?? false),
    build: (g, { logMel }) => network(g, logMel!, halvedColumns(variant, halvings)),
  };
}

const CNN14 = { network: cnn14, halvings: 5 };

/** Hop 512 is what the demo computes today, 500 (64 frames a second) what the networks were trained with. */
function gmpFrontend(hop: 512 | 500): PannsFrontend {
  return {
    sampleRate: 32000,
    frontend: {
      kind: 'gmp',
      n_fft: 1024,
      win_length: 1024,
      hop_length: hop,
      n_mels: 64,
      f_min: 50,
      f_max: 14000,
      mean: [...GMP_MEAN],
      std: [...GMP_DEVIATION],
    },
  };
}

const gmpVariants: readonly Variant[] = ([9, 13] as const).flatMap((layers): Variant[] => {
  const blocks = (layers - 1) / 2;
  const common = { family: 'gmp', halvings: blocks - 1, network: gmp(blocks) };
  return [
    { name: `Cnn${layers}_GMP_64x64`, ...common, ...gmpFrontend(512) },
    { name: `Cnn${layers}_GMP_64x64_hop500`, ...common, ...gmpFrontend(500) },
  ];
});

const variants: readonly Variant[] = [
  { name: 'Cnn6', ...PANNS_32K, halvings: 4, network: cnn6 },
  { name: 'Cnn10', ...PANNS_32K, halvings: 4, network: cnn10 },
  { name: 'Cnn14', ...PANNS_32K, ...CNN14 },
  { name: 'Cnn14_emb512', ...PANNS_32K, ...CNN14 },
  { name: 'Cnn14_emb128', ...PANNS_32K, ...CNN14 },
  { name: 'Cnn14_emb32', ...PANNS_32K, ...CNN14 },
  { name: 'Cnn14_mixup_time_domain', ...PANNS_32K, ...CNN14 },
  { name: 'Cnn14_mel32', ...PANNS_32K_MEL32, ...CNN14 },
  { name: 'Cnn14_mel128', ...PANNS_32K_MEL128, ...CNN14 },
  { name: 'Cnn14_16k', ...PANNS_16K, ...CNN14 },
  { name: 'Cnn14_8k', ...PANNS_8K, ...CNN14 },
  { name: 'Cnn14_pruned', family: 'epanns', ...PANNS_32K, ...CNN14 },
  {
    name: 'Cnn14_DecisionLevelMax',
    ...PANNS_32K,
    halvings: 5,
    network: decisionLevel(pooledScores('max')),
  },
  {
    name: 'Cnn14_DecisionLevelAvg',
    ...PANNS_32K,
    halvings: 5,
    network: decisionLevel(pooledScores('mean')),
  },
  {
    name: 'Cnn14_DecisionLevelAtt',
    ...PANNS_32K,
    halvings: 5,
    network: decisionLevel(attention),
    // The original's attention has a batch norm that its forward() leaves out.
    unused: (tensor) => tensor.startsWith('att_block.bn_att.'),
  },
  ...gmpVariants,
];

export const cnnArchitectures: readonly Architecture[] = variants.map(architecture);
