import { SoundpostError } from '../common/errors.js';

/** A tensor of a checkpoint in memory: contiguous, row-major. */
export interface Tensor {
  shape: readonly number[];
  data: Float32Array;
}

/**
 * The tensors of a state dict. Each is handed out once: who takes it owns its memory and may change it in place
 * (batch norms are folded so), and what nobody took is known at the end.
 */
export interface Weights {
  has(name: string): boolean;
  /** Throws SoundpostError `checkpoint_shape` where it is absent, taken already, or not of this rank. */
  take(name: string, rank: number): Tensor;
  /** The shape without taking it. Throws as `take`. */
  shape(name: string): readonly number[];
  /** What nobody has taken so far. */
  left(): string[];
}

export function createWeights(tensors: ReadonlyMap<string, Tensor>): Weights {
  const rest = new Map(tensors);
  const find = (name: string): Tensor => {
    const tensor = rest.get(name);
    if (tensor === undefined) {
      const why = tensors.has(name) ? 'is used twice' : 'is not in the checkpoint';
      throw new SoundpostError('checkpoint_shape', `the tensor ${name} ${why}: another architecture?`);
    }
    return tensor;
  };
  return {
    has: (name) => rest.has(name),
    shape: (name) => find(name).shape,
    take(name, rank) {
      const tensor = find(name);
      if (tensor.shape.length !== rank) {
        throw new SoundpostError(
          'checkpoint_shape',
          `the tensor ${name} has the shape [${tensor.shape.join(', ')}], but ${rank} dimensions are expected: another architecture?`,
        );
      }
      rest.delete(name);
      return tensor;
    },
    left: () => [...rest.keys()],
  };
}
