import { join } from 'node:path';
import { z } from 'zod';
import { askChild } from '../common/ask-child.js';
import { failedSchema } from '../common/child-messages.js';
import { SoundpostError } from '../common/errors.js';
import { memoryForNetwork } from './network-memory.js';
import { firstLine } from './open-session.js';

/** An input or an output that an ONNX file declares. A size that is not fixed is a name, or empty. */
export interface DeclaredValue {
  name: string;
  /** `float32` and the like. */
  type: string;
  shape: readonly (number | string)[];
}

/** What an ONNX file says of itself. */
export interface Signature {
  inputs: readonly DeclaredValue[];
  outputs: readonly DeclaredValue[];
}

/** What the process is asked. */
export interface SignatureQuestion {
  path: string;
  memoryBytes: number;
}

const declaredValue: z.ZodType<DeclaredValue> = z.object({
  name: z.string(),
  type: z.string(),
  shape: z.array(z.union([z.number(), z.string()])),
});
const fromSignatureProcess = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('signature'),
    inputs: z.array(declaredValue),
    outputs: z.array(declaredValue),
  }),
  failedSchema,
]);
export type FromSignatureProcess = z.infer<typeof fromSignatureProcess>;

const PROCESS_FILE = join(import.meta.dirname, 'signature-process.js');
const TIMEOUT_MS = 120_000;

/**
 * Asks an ONNX file for its inputs and outputs, in a process of its own.
 * @throws SoundpostError `model_memory` where it needs more memory than it may have; `model_unreadable` where ONNX Runtime refuses it, ends over it or takes too long;
 * `no_resources` where no process can be had for it; `aborted`.
 */
export async function readSignature(
  path: string,
  signal?: AbortSignal,
  memoryBytes = memoryForNetwork(),
): Promise<Signature> {
  const { reply, end } = await askChild(
    'the process that reads the network',
    PROCESS_FILE,
    { path, memoryBytes } satisfies SignatureQuestion,
    { says: fromSignatureProcess, signal, timeoutMs: TIMEOUT_MS, memoryBytes },
  );
  if (signal?.aborted === true) throw new SoundpostError('aborted', 'Reading the network was called off.');
  if (reply?.kind === 'signature') return { inputs: reply.inputs, outputs: reply.outputs };
  if (reply?.code === 'model_memory') throw new SoundpostError(reply.code, reply.message);
  const why =
    reply === undefined
      ? `the process that opened it ended (${end})`
      : `ONNX Runtime says "${firstLine(reply.message)}"`;
  throw new SoundpostError(
    'model_unreadable',
    `${path} cannot be opened as an ONNX network: ${why}. A network whose weights are in a file beside it has to be saved as one file.`,
  );
}
