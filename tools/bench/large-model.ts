import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeOnnx, type OnnxNode, type OnnxTensor } from '../../src/convert/onnx.js';
import type { Manifest } from '../../src/models/manifest.js';

/** Widths of the blocks of PANNs' Cnn14: two 3×3 convolutions each, then a pooling (doi:10.1109/TASLP.2020.3030497). */
const CNN14_WIDTHS = [64, 128, 256, 512, 1024, 2048] as const;
const MELS = 64;
const LABELS = 527;

/** Repeatable numbers in [-1, 1) (xorshift32, Marsaglia 2003): weights that are not zero, but mean nothing. */
function createNoise(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state / 0x80000000;
  };
}

/**
 * Writes a network of Cnn14's shape and cost with arbitrary weights into `<dataDir>/models/<id>`: with the
 * default widths 80 million weights, 323 MB, and 20 billion multiplications for a window of 10 s. It stands for
 * the largest models that a service may be given, without a download.
 * @param widths channels of the blocks, for a smaller one.
 */
export async function installLargeModel(
  dataDir: string,
  id: string,
  widths: readonly number[] = CNN14_WIDTHS,
): Promise<{ id: string; folder: string; bytes: number }> {
  const noise = createNoise(14);
  const nodes: OnnxNode[] = [];
  const initializers: OnnxTensor[] = [];
  let value = 'logmel';

  const tensor = (name: string, dims: number[], bound: number): string => {
    const data = new Float32Array(dims.reduce((product, dim) => product * dim, 1));
    for (let i = 0; i < data.length; i++) data[i] = bound * noise();
    initializers.push({ name, dims, type: 'float32', data });
    return name;
  };
  const step = (op: string, inputs: string[], attributes: NonNullable<OnnxNode['attributes']> = {}): void => {
    const output = nodes.length.toString();
    nodes.push({ op, inputs: [value, ...inputs], outputs: [output], attributes });
    value = output;
  };
  /** Uniform weights that keep the deviation of what passes a rectifier (He et al. 2015, doi:10.1109/ICCV.2015.123). */
  const bound = (fanIn: number): number => Math.sqrt(6 / fanIn);

  // Decibels between about -100 and 50, brought near 1.
  initializers.push({ name: 'scale', dims: [], type: 'float32', data: Float32Array.of(0.02) });
  step('Mul', ['scale']);
  let channels = 1;
  for (const [block, width] of widths.entries()) {
    for (const half of ['a', 'b']) {
      const name = `block${block}${half}`;
      step('Conv', [tensor(name, [width, channels, 3, 3], bound(channels * 9))], {
        kernel_shape: { ints: [3, 3] },
        pads: { ints: [1, 1, 1, 1] },
      });
      step('Relu', []);
      channels = width;
    }
    // 64 mels can be halved five times before the last block, as in Cnn14.
    if (block < 5) step('AveragePool', [], { kernel_shape: { ints: [2, 2] }, strides: { ints: [2, 2] } });
  }
  step('GlobalAveragePool', []);
  step('Flatten', []);
  step('Gemm', [tensor('hidden', [channels, channels], bound(channels))]);
  step('Relu', []);
  step('Gemm', [tensor('labels', [channels, LABELS], bound(channels))]);
  nodes.push({ op: 'Sigmoid', inputs: [value], outputs: ['scores'] });

  const folder = join(dataDir, 'models', id);
  await mkdir(folder, { recursive: true });
  const { bytes, sha256 } = await writeOnnx(join(folder, 'model.onnx'), {
    opset: 13,
    graph: {
      name: 'synthetic',
      inputs: [{ name: 'logmel', type: 'float32', dims: ['batch', 1, 'frames', MELS] }],
      outputs: [{ name: 'scores', type: 'float32', dims: ['batch', LABELS] }],
      nodes,
      initializers,
    },
  });
  const manifest: Manifest = {
    id,
    title: 'Synthetic network of Cnn14’s size (means nothing)',
    family: 'synthetic',
    architecture: 'synthetic-cnn14',
    input: {
      kind: 'log_mel',
      name: 'logmel',
      layout: 'NCTF',
      sample_rate: 32_000,
      window_seconds: 10,
      min_seconds: 1,
      frontend: {
        kind: 'panns',
        n_fft: 1024,
        win_length: 1024,
        hop_length: 320,
        n_mels: MELS,
        f_min: 50,
        f_max: 14_000,
      },
    },
    output: { scores: 'scores', activation: 'none', embedding: null, frames: null },
    labels: 'audioset-527',
    thresholds: null,
    metrics: {},
    parameters: initializers.reduce((sum, { data }) => sum + data.length, 0),
    macs: null,
    licence: 'MIT',
    source: null,
    onnx_sha256: sha256,
  };
  await writeFile(join(folder, 'model.json'), JSON.stringify(manifest, null, 2));
  return { id, folder, bytes };
}
