import type { InferenceSession } from 'onnxruntime-node';
import { SoundpostError } from '../common/errors.js';
import type { Manifest } from '../models/manifest.js';
import type { InputTensor } from './model-input.js';

type Metadata = InferenceSession.ValueMetadata;

/**
 * Compares the inputs and outputs that the network declares with what the manifest says of them.
 * @param wanted what the inputs will be fed with for a full window.
 * @returns whether the time axis of an input is fixed to the full window.
 * @throws SoundpostError `model_shape` saying what does not fit. An output's size is left to the warm-up where
 * the network does not declare it.
 */
export function checkSignature(
  manifest: Manifest,
  session: Pick<InferenceSession, 'inputMetadata' | 'outputMetadata'>,
  wanted: readonly Omit<InputTensor, 'data'>[],
): { fixedWindow: boolean } {
  const unfit = (what: string) =>
    new SoundpostError(
      'model_shape',
      `The model ${manifest.id} does not fit its manifest: ${what}. Correct model.json or export the network again.`,
    );

  const all = describeAll(session.inputMetadata);
  let fixedWindow = false;
  for (const { name, dims, timeAxis } of wanted) {
    const input = find(session.inputMetadata, name);
    if (input === undefined) throw unfit(`it has no input "${name}"; its inputs are ${all}`);
    if (!input.isTensor || input.type !== 'float32' || input.shape.length !== dims.length) {
      const kind = dims.length === 2 ? 'a waveform' : 'a log-mel';
      const shape = dims.length === 2 ? '1, samples' : dims.join(', ');
      throw unfit(`its input is ${describe(input)}, where ${kind} is float32 [${shape}]`);
    }
    input.shape.forEach((size, axis) => {
      if (typeof size === 'number' && size !== dims[axis]) {
        throw unfit(
          `its input is ${describe(input)}, but a window of ${manifest.input.window_seconds} s is [${dims.join(', ')}]`,
        );
      }
    });
    fixedWindow ||= typeof input.shape[timeAxis] === 'number';
  }
  if (session.inputMetadata.length > wanted.length) {
    throw unfit(`it needs more inputs than ${wanted.map(({ name }) => `"${name}"`).join(' and ')}: ${all}`);
  }

  const { scores, embedding, frames } = manifest.output;
  const named = [scores, embedding, frames?.name ?? null, frames?.embedding ?? null];
  for (const name of named.filter((text) => text !== null)) {
    const output = find(session.outputMetadata, name);
    if (output === undefined) {
      throw unfit(`it has no output "${name}"; its outputs are ${describeAll(session.outputMetadata)}`);
    }
    if (!output.isTensor || output.type !== 'float32') {
      throw unfit(`its output is ${describe(output)}, where float32 is needed`);
    }
  }
  return { fixedWindow };
}

function find(values: readonly Metadata[], name: string): Metadata | undefined {
  return values.find((value) => value.name === name);
}

function describe(value: Metadata): string {
  if (!value.isTensor) return `"${value.name}" (not a tensor)`;
  const sizes = value.shape.map((size) => (size === '' ? '?' : size));
  return `"${value.name}" ${value.type} [${sizes.join(', ')}]`;
}

function describeAll(values: readonly Metadata[]): string {
  return values.map(describe).join(', ') || 'none';
}
