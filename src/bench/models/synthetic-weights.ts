import type { Tensor } from '../../convert/weights.js';
import type { TensorShape } from './architecture-tensors.js';

/** Numbers that are repeated over the tensors: enough for no two filters of a layer to be alike. */
const NOISE_LENGTH = 1 << 16;

/**
 * Arbitrary weights for a network whose speed is to be measured, the same each time. They mean nothing, but keep
 * what passes the layers at a size at which every number is computed as fast as with trained weights: neither
 * infinite, nor so small that the processor handles it as an exception.
 */
export function syntheticWeights(shapes: readonly TensorShape[]): Map<string, Tensor> {
  const noise = makeNoise();
  const tensors = new Map<string, Tensor>();
  let at = 0;
  for (const { name, shape } of shapes) {
    const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
    const { centre, spread, fixed } = rule(name, shape);
    if (fixed !== undefined) {
      data.set(fixed);
    } else {
      for (let i = 0; i < data.length; i += 1) {
        data[i] = centre + spread * noise[(at + i) & (NOISE_LENGTH - 1)]!;
      }
    }
    // A prime number, so that the tensors begin at different places.
    at += 7919;
    tensors.set(name, { shape, data });
  }
  return tensors;
}

interface Rule {
  centre: number;
  spread: number;
  fixed?: readonly number[];
}

function rule(name: string, shape: readonly number[]): Rule {
  // Recurrent layers number theirs: bias_ih_l0.
  switch (name.slice(name.lastIndexOf('.') + 1).replace(/^bias_.*/, 'bias')) {
    case 'running_mean':
      return { centre: 0, spread: 0 };
    case 'running_var':
      return { centre: 1, spread: 0 };
    case 'bias':
      return { centre: 0, spread: 0.1 };
    // The buffers of a dynamic ReLU have the values of its paper in every checkpoint (arXiv:2003.10027).
    case 'lambdas':
      return { centre: 0, spread: 0, fixed: [1, 1, 0.5, 0.5] };
    case 'init_v':
      return { centre: 0, spread: 0, fixed: [1, 0, 0, 0] };
    default:
      return shape.length < 2
        ? { centre: 1, spread: 0.1 }
        : // Uniform weights that keep the deviation of what passes a rectifier (He et al. 2015).
          { centre: 0, spread: Math.sqrt(6 / fanIn(shape)) };
  }
}

/** How many numbers go into one output. */
function fanIn(shape: readonly number[]): number {
  const [outputs, , , all = 1] = shape;
  // The kernels of a dynamic convolution lie flat, [1, 1, kernels, outputs × inputs].
  if (shape.length === 4 && outputs === 1 && shape[1] === 1) return Math.sqrt(all);
  return shape.slice(1).reduce((product, size) => product * size, 1);
}

/** From -1 to 1 (xorshift32, Marsaglia 2003). */
function makeNoise(): Float32Array {
  const noise = new Float32Array(NOISE_LENGTH);
  let state = 14;
  for (let i = 0; i < NOISE_LENGTH; i += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    noise[i] = state / 0x80000000;
  }
  return noise;
}
