import type { InferenceSession } from 'onnxruntime-node';
import { SoundpostError } from '../common/errors.js';
import type { Manifest } from '../models/manifest.js';

type Metadata = InferenceSession.ValueMetadata;

/**
 * Compares the inputs and outputs that the network declares with what the manifest says of them.
 * @param fullDims the input's shape at the full window: [1, samples], or [1, 1, …] of the log-mel.
 * @returns whether the time axis is fixed to the full window.
 * @throws SoundpostError `model_shape` saying what does not fit. An output's size is left to the warm-up where
 * the network does not declare it.
 */
export function checkSignature(
  manifest: Manifest,
  session: Pick<InferenceSession, 'inputMetadata' | 'outputMetadata'>,
  fullDims: readonly number[],
): { fixedWindow: boolean } {
  const unfit = (what: string) =>
    new SoundpostError(
      'model_shape',
      `The model ${manifest.id} does not fit its manifest: ${what}. Correct model.json or export the network again.`,
    );

  const input = find(session.inputMetadata, manifest.input.name);
  if (input === undefined) {
    throw unfit(
      `it has no input "${manifest.input.name}"; its inputs are ${describeAll(session.inputMetadata)}`,
    );
  }
  const others = session.inputMetadata.filter((other) => other !== input);
  if (others.length > 0) throw unfit(`it needs more inputs than one: ${describeAll(session.inputMetadata)}`);
  if (!input.isTensor || input.type !== 'float32' || input.shape.length !== fullDims.length) {
    throw unfit(
      `its input is ${describe(input)}, where ${manifest.input.kind === 'waveform' ? 'a waveform is float32 [1, samples]' : `a log-mel is float32 [${fullDims.join(', ')}]`}`,
    );
  }
  input.shape.forEach((size, axis) => {
    if (typeof size === 'number' && size !== fullDims[axis]) {
      throw unfit(
        `its input is ${describe(input)}, but a window of ${manifest.input.window_seconds} s is [${fullDims.join(', ')}]`,
      );
    }
  });

  const { scores, embedding } = manifest.output;
  for (const name of embedding === null ? [scores] : [scores, embedding]) {
    const output = find(session.outputMetadata, name);
    if (output === undefined) {
      throw unfit(`it has no output "${name}"; its outputs are ${describeAll(session.outputMetadata)}`);
    }
    if (!output.isTensor || output.type !== 'float32') {
      throw unfit(`its output is ${describe(output)}, where float32 is needed`);
    }
  }

  const timeAxis =
    manifest.input.kind === 'log_mel' && manifest.input.layout === 'NCTF' ? 2 : fullDims.length - 1;
  return { fixedWindow: typeof input.shape[timeAxis] === 'number' };
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
