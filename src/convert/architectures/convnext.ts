import { isTrainingOnly, type Architecture } from '../architecture.js';
import type { Graph, Value } from '../graph.js';
import { classified, type ColumnTime, poolTime } from './columns.js';
import { meanOverMel, melNorm } from './panns-blocks.js';

/*
 * ConvNeXt-Tiny on spectrograms (Pellegrini et al., "Adapting a ConvNeXt model to audio classification on AudioSet",
 * 2023; the network: Liu et al., "A ConvNet for the 2020s", 2022). Between the blocks, values are [batch, time, mel,
 * channels], which is what layer norms and the pointwise layers want; only convolutions need channels first.
 */

const LAYER_NORM_EPSILON = 1e-6;
const BLOCKS = [3, 3, 9, 3];

const channelsFirst = (g: Graph, x: Value): Value => g.transpose(x, [0, 3, 1, 2]);
const channelsLast = (g: Graph, x: Value): Value => g.transpose(x, [0, 2, 3, 1]);
const layerNorm = (g: Graph, x: Value, path: string): Value => g.layerNorm(x, path, LAYER_NORM_EPSILON);

/** A column is 32 frames; the stem's padding lets the first one begin four frames before the window. */
const COLUMNS: ColumnTime = { seconds: 0.32, begin: -0.04 };

/** Patches of 4 × 4, padded over time: [batch, 1, time, mel] → [batch, time / 4, mel / 4, 96]. */
function stem(g: Graph, x: Value): Value {
  const patches = g.conv(x, 'downsample_layers.0.0', { stride: 4, padding: [4, 0] });
  return layerNorm(g, channelsLast(g, patches), 'downsample_layers.0.1');
}

/** Halves time and mel, and doubles the channels. */
function downsample(g: Graph, x: Value, path: string): Value {
  const normed = layerNorm(g, x, `${path}.0`);
  return channelsLast(g, g.conv(channelsFirst(g, normed), `${path}.1`, { stride: 2 }));
}

/** A 7 × 7 convolution of each channel, then two pointwise layers with GELU between, scaled and added to the input. */
function block(g: Graph, x: Value, path: string, channels: number): Value {
  const depthwise = g.conv(channelsFirst(g, x), `${path}.dwconv`, { padding: 3, groups: channels });
  let y = layerNorm(g, channelsLast(g, depthwise), `${path}.norm`);
  y = g.gelu(g.linearLast(y, `${path}.pwconv1`));
  y = g.linearLast(y, `${path}.pwconv2`, { scale: `${path}.gamma` });
  return g.add(x, y);
}

export const convnextArchitectures: readonly Architecture[] = [
  {
    name: 'ConvNeXt-Tiny',
    family: 'convnext',
    sampleRate: 32_000,
    input: {
      kind: 'log_mel',
      layout: 'NCTF',
      frontend: {
        kind: 'convnext',
        n_fft: 1024,
        win_length: 1024,
        hop_length: 320,
        n_mels: 224,
        f_min: 50,
        f_max: 14_000,
      },
    },
    minSamples: 7360,
    unused: isTrainingOnly,
    build(g, { logMel }) {
      let x = stem(g, melNorm(g, logMel!));
      for (const [stage, count] of BLOCKS.entries()) {
        if (stage > 0) x = downsample(g, x, `downsample_layers.${stage}`);
        for (let index = 0; index < count; index += 1) {
          x = block(g, x, `stages.${stage}.${index}`, 96 * 2 ** stage);
        }
      }
      const pooled = poolTime(g, meanOverMel(g, channelsFirst(g, x)), COLUMNS, 'max+mean');
      const embeddings = layerNorm(g, pooled, 'norm');
      return classified(g, embeddings, 'head_audioset', COLUMNS);
    },
  },
];
