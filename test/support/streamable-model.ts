import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Graph, OPSET } from '../../src/convert/graph.js';
import { writeOnnx } from '../../src/convert/onnx.js';
import { createWeights, type Tensor } from '../../src/convert/weights.js';
import type { Manifest } from '../../src/models/manifest.js';
import { manifestRest } from './manifest-rest.js';
import { unitAt } from './synthetic.js';
import { writeManifest } from './tone-models.js';

/*
 * A small network of convolutions and poolings over a log-mel, with everything that a model can give: scores, an embedding,
 * frames, and embeddings of frames. Its windows can be computed as a stream.
 */

export const STREAMABLE_RATE = 16_000;
export const STREAMABLE_LABELS = 3;
export const STREAMABLE_FEATURES = 12;
/** Total stride of its layers, in samples. */
export const STREAMABLE_GRID = 2560;
const MELS = 16;
const POOLINGS = 4;

/** @param options.channels how much it computes */
export async function installStreamableModel(
  dataDir: string,
  options: { id?: string; windowSeconds?: number; channels?: number; seed?: number } = {},
): Promise<string> {
  const { id = 'streamable', windowSeconds = 4, channels = STREAMABLE_FEATURES, seed = 1 } = options;
  const folder = join(dataDir, 'models', id);
  await mkdir(folder, { recursive: true });
  const tensors = new Map<string, Tensor>();
  const add = (name: string, shape: number[], gain: number): void => {
    const length = shape.reduce((product, dim) => product * dim, 1);
    const at = seed * 1000 + tensors.size;
    tensors.set(name, { shape, data: Float32Array.from({ length }, (_, i) => gain * unitAt(at, i)) });
  };
  for (let layer = 0; layer < POOLINGS; layer += 1) {
    const inputs = layer === 0 ? 1 : channels;
    add(`${layer}.weight`, [channels, inputs, 3, 3], layer === 0 ? 0.02 : 2 / Math.sqrt(9 * inputs));
    add(`${layer}.bias`, [channels], 0.1);
  }
  add('head.weight', [STREAMABLE_LABELS, channels, 1, 1], 2 / Math.sqrt(channels));
  const g = new Graph(createWeights(tensors));
  let x = g.input('logmel', ['batch', 1, 'frames', MELS]);
  for (let layer = 0; layer < POOLINGS; layer += 1) {
    x = g.relu(g.conv(x, String(layer), { padding: [1, 1] }));
    x = g.maxPool(x, 2, { kernel: [2, 2], stride: [2, 2] });
  }
  const perColumn = g.mean(x, [3], true);
  const scores = g.sigmoid(g.conv(perColumn, 'head'));
  const rows = (value: typeof x) => g.transpose(g.mean(value, [3]), [0, 2, 1]);
  g.output('scores', g.mean(scores, [2, 3]), ['batch', STREAMABLE_LABELS]);
  g.output('embedding', g.mean(perColumn, [2, 3]), ['batch', channels]);
  g.output('frames', rows(scores), ['batch', 'rows', STREAMABLE_LABELS]);
  g.output('embedding_frames', rows(perColumn), ['batch', 'rows', channels]);
  const { sha256 } = await writeOnnx(join(folder, 'model.onnx'), {
    opset: OPSET,
    graph: g.finish('streamable'),
  });
  await writeManifest(folder, manifestOf(id, sha256, windowSeconds), STREAMABLE_LABELS);
  return id;
}

function manifestOf(id: string, onnxSha256: string, windowSeconds: number): Manifest {
  return {
    id,
    title: 'Convolutions (for tests)',
    family: 'test',
    architecture: 'streamable',
    input: {
      kind: 'log_mel',
      name: 'logmel',
      layout: 'NCTF',
      sample_rate: STREAMABLE_RATE,
      window_seconds: windowSeconds,
      min_seconds: 0.5,
      frontend: {
        kind: 'panns',
        n_fft: 512,
        win_length: 512,
        hop_length: 160,
        n_mels: MELS,
        f_min: 50,
        f_max: 7000,
      },
    },
    output: {
      scores: 'scores',
      activation: 'none',
      embedding: 'embedding',
      frames: {
        name: 'frames',
        embedding: 'embedding_frames',
        hop_seconds: STREAMABLE_GRID / STREAMABLE_RATE,
        offset_seconds: 0,
        context_seconds: 0.16,
        spread_seconds: 0,
        lookback_seconds: 0.5,
        role: 'scores',
      },
    },
    ...manifestRest(onnxSha256),
  };
}
