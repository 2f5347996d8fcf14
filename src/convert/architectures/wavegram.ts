import { isTrainingOnly, type Architecture } from '../architecture.js';
import type { Graph, Value } from '../graph.js';
import { convBlock, halvedColumns, meanOverMel, melNorm, norm, tagHead } from './panns-blocks.js';
import { PANNS_32K } from './panns-frontends.js';
import { oneChannel } from './waveform.js';

/*
 * Wavegram networks of PANNs: 1-D convolutions turn the waveform into a picture, the Wavegram, whose second axis the
 * network has learnt instead of mel bins. Cnn14 goes on from there, with the Wavegram alone or with the log-mel
 * beside it.
 */

/** Two convolutions over three steps, the second dilated, with batch norm and ReLU; then max pooling by four. */
function waveBlock(g: Graph, x: Value, path: string): Value {
  let y = g.relu(g.conv(x, `${path}.conv1`, { padding: 1, norm: norm(`${path}.bn1`) }));
  y = g.relu(g.conv(y, `${path}.conv2`, { padding: 2, dilation: 2, norm: norm(`${path}.bn2`) }));
  return g.maxPool(y, 1, { kernel: 4 });
}

/** Channels of the picture: what the last 1-D block gives, divided by the bins. */
const PICTURES = 4;

/**
 * The Wavegram of a waveform [batch, samples], one frame in 320 samples, and its own 2-D block, pooled by two over
 * time: [batch, 64, samples / 640, bins].
 */
function wavegram(g: Graph, waveform: Value, bins: number): Value {
  let x = g.conv(oneChannel(g, waveform), 'pre_conv0', { stride: 5, padding: 5, norm: norm('pre_bn0') });
  x = g.relu(x);
  for (let block = 1; block <= 3; block += 1) x = waveBlock(g, x, `pre_block${block}`);
  x = g.transpose(g.reshape(x, [0, PICTURES, bins, -1]), [0, 1, 3, 2]);
  return convBlock(g, x, 'pre_block4', { pool: [2, 1] });
}

/** Cnn14 from its second block on. */
function restOfCnn14(g: Graph, x: Value) {
  for (let block = 2; block <= 5; block += 1) x = convBlock(g, x, `conv_block${block}`, { pool: 2 });
  x = convBlock(g, x, 'conv_block6', { pool: 1 });
  // A frame of the Wavegram is as long as one of the log-mel.
  return tagHead(g, meanOverMel(g, x), halvedColumns(PANNS_32K, 5));
}

const wavegramCnn14: Architecture = {
  name: 'Wavegram_Cnn14',
  family: 'panns',
  sampleRate: 32_000,
  input: { kind: 'waveform' },
  minSamples: 10_236,
  // Left over from the networks with a log-mel.
  unused: (tensor) => isTrainingOnly(tensor) || /^(bn0|conv_block1)\./.test(tensor),
  build: (g, { waveform }) => restOfCnn14(g, wavegram(g, waveform!, 32)),
};

/**
 * Both pictures side by side. They only have the same number of frames where the samples fit: those modulo 640 must
 * be below 320 or at least 636. Whole multiples of 640 do.
 */
function wavegramLogMelCnn14(name: string, mels: number): Architecture {
  return {
    name,
    family: 'panns',
    sampleRate: 32_000,
    input: { kind: 'waveform_log_mel', layout: 'NCTF', frontend: { ...PANNS_32K.frontend, n_mels: mels } },
    minSamples: 10_240,
    unused: isTrainingOnly,
    build(g, { logMel, waveform }) {
      const fromLogMel = convBlock(g, melNorm(g, logMel!), 'conv_block1', { pool: 2 });
      // Half the mel bins are left after the pooling.
      const fromWaveform = wavegram(g, waveform!, mels / 2);
      return restOfCnn14(g, g.concat([fromLogMel, fromWaveform], 1));
    },
  };
}

export const wavegramArchitectures: readonly Architecture[] = [
  wavegramCnn14,
  wavegramLogMelCnn14('Wavegram_Logmel_Cnn14', 64),
  wavegramLogMelCnn14('Wavegram_Logmel128_Cnn14', 128),
];
