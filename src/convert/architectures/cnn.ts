import { isTrainingOnly, type Architecture } from '../architecture.js';
import type { Graph, Value } from '../graph.js';
import { GMP_DEVIATION, GMP_MEAN } from './gmp-statistics.js';
import { convBlock, melNorm, norm, poolMelThenTime, tagHead } from './panns-blocks.js';
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

interface Head {
  scores: Value;
  embedding: Value | null;
}

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

function cnn6(g: Graph, logMel: Value): Head {
  let x = melNorm(g, logMel);
  for (let block = 1; block <= 4; block += 1) x = convBlock5x5(g, x, `conv_block${block}`);
  return tagHead(g, poolMelThenTime(g, x));
}

function cnn10(g: Graph, logMel: Value): Head {
  return tagHead(g, poolMelThenTime(g, trunk(g, melNorm(g, logMel), 4, 4)));
}

function cnn14(g: Graph, logMel: Value): Head {
  return tagHead(g, poolMelThenTime(g, trunk(g, melNorm(g, logMel), 6, 5)));
}

/**
 * Cnn14 that decides for each segment (32 frames of the log-mel) and then for the clip: `decide` makes the scores of
 * the clip, [batch, labels], from the segments' features, [batch, segments, features].
 */
function decisionLevel(decide: (g: Graph, segments: Value) => Value): (g: Graph, logMel: Value) => Head {
  return (g, logMel) => {
    const x = g.mean(trunk(g, melNorm(g, logMel), 6, 5), [3]);
    const smoothed = { kernel: 3, stride: 1, padding: 1 };
    const segments = g.add(
      g.maxPool(x, 1, smoothed),
      g.averagePool(x, 1, { ...smoothed, countIncludePad: true }),
    );
    const features = g.relu(g.linearLast(g.transpose(segments, [0, 2, 1]), 'fc1'));
    return { scores: decide(g, features), embedding: null };
  };
}

/** The scores of each segment, [batch, segments, labels]. */
function segmentScores(g: Graph, segments: Value): Value {
  return g.sigmoid(g.linearLast(segments, 'fc_audioset'));
}

/** The mean of the segments' scores, weighted by an attention over time that is learned for each label. */
function attention(g: Graph, segments: Value): Value {
  const features = g.transpose(segments, [0, 2, 1]);
  const weights = g.softmax(g.clip(g.conv(features, 'att_block.att'), -10, 10), 2);
  const scores = g.sigmoid(g.conv(features, 'att_block.cla'));
  return g.node('ReduceSum', [g.multiply(weights, scores), g.integers([2])], { keepdims: { int: 0 } });
}

/** Neither bn0 (the front end normalises) nor fc1: the embedding is the largest value over time. */
function gmp(blocks: number): (g: Graph, logMel: Value) => Head {
  return (g, logMel) => {
    const embedding = g.max(g.mean(trunk(g, logMel, blocks, blocks - 1), [3]), [2]);
    return { scores: g.sigmoid(g.linear(embedding, 'fc_audioset')), embedding };
  };
}

interface Variant extends PannsFrontend {
  name: string;
  family?: string;
  /** How often the frames are halved on the way. */
  halvings: number;
  network: (g: Graph, logMel: Value) => Head;
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
    build: (g, { logMel }) => network(g, logMel!),
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
    network: decisionLevel((g, segments) => g.max(segmentScores(g, segments), [1])),
  },
  {
    name: 'Cnn14_DecisionLevelAvg',
    ...PANNS_32K,
    halvings: 5,
    network: decisionLevel((g, segments) => g.mean(segmentScores(g, segments), [1])),
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
