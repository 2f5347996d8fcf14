import type { Activation } from '../models/manifest.js';

/**
 * Turns the network's output into scores and checks them, for there are models that load, run and give nonsense.
 * @param output Float32Array, [labels]; changed in place where an activation is still to be applied.
 * @returns what is wrong with it, or undefined when every score is a number from 0 to 1.
 */
export function finishScores(
  output: Float32Array,
  activation: Activation,
  labelCount: number,
): string | undefined {
  if (output.length !== labelCount) {
    return `it gives ${output.length} scores, but the model has ${labelCount} labels`;
  }
  return finish(output, activation, labelCount, '');
}

/**
 * The same for frames; a softmax is over the labels of each.
 * @param output Float32Array, [frames × labels]; changed in place.
 */
export function finishFrames(
  output: Float32Array,
  activation: Activation,
  labelCount: number,
): string | undefined {
  return finish(output, activation, labelCount, ' in a frame');
}

function finish(
  output: Float32Array,
  activation: Activation,
  labelCount: number,
  where: string,
): string | undefined {
  for (let row = 0; row < output.length; row += labelCount) {
    if (activation === 'softmax') softmax(output, row, row + labelCount);
    for (let index = row; index < row + labelCount; index += 1) {
      const raw = output[index]!;
      const score = activation === 'sigmoid' ? 1 / (1 + Math.exp(-raw)) : raw;
      // Written so that NaN fails it too.
      if (!(score >= 0 && score <= 1 + ROUNDING)) {
        return `the score of label ${index - row}${where} is ${score}, which is not from 0 to 1${activation === 'none' && Number.isFinite(score) ? ' (logits need "activation": "sigmoid" or "softmax" in the manifest)' : ''}`;
      }
      output[index] = Math.min(score, 1);
    }
  }
  return undefined;
}

/** Of the numbers from `from` up to `to`, in place. The largest is taken off first, so that nothing overflows. */
function softmax(values: Float32Array, from: number, to: number): void {
  let largest = -Infinity;
  for (let index = from; index < to; index += 1) largest = Math.max(largest, values[index]!);
  let sum = 0;
  for (let index = from; index < to; index += 1) sum += Math.exp(values[index]! - largest);
  for (let index = from; index < to; index += 1) values[index] = Math.exp(values[index]! - largest) / sum;
}

/** A sum of float32 softmax terms may end a rounding above 1. */
const ROUNDING = 1e-5;
