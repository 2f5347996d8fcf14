import { fork } from 'node:child_process';
import { join } from 'node:path';
import { childEnvironment } from '../common/child-environment.js';
import { SoundpostError } from '../common/errors.js';
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

export type FromSignatureProcess = ({ kind: 'signature' } & Signature) | { kind: 'failed'; message: string };

const PROCESS_FILE = join(import.meta.dirname, 'signature-process.js');
const TIMEOUT_MS = 120_000;

/**
 * Asks an ONNX file for its inputs and outputs, in a process of its own.
 * @throws SoundpostError `model_unreadable` where ONNX Runtime refuses it, ends over it or takes too long; `aborted`.
 */
export async function readSignature(path: string, signal?: AbortSignal): Promise<Signature> {
  const child = fork(PROCESS_FILE, [], {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    execArgv: [],
    env: childEnvironment({ MALLOC_ARENA_MAX: '1' }),
  });
  const kill = (): void => void child.kill('SIGKILL');
  const unreadable = (why: string) =>
    new SoundpostError(
      'model_unreadable',
      `${path} cannot be opened as an ONNX network: ${why}. A network whose weights are in a file beside it has to be saved as one file.`,
    );
  process.once('exit', kill);
  signal?.addEventListener('abort', kill, { once: true });
  const timer = setTimeout(kill, TIMEOUT_MS);
  try {
    return await new Promise<Signature>((resolve, reject) => {
      let said: FromSignatureProcess | undefined;
      child.on('message', (message: FromSignatureProcess) => {
        said = message;
        child.disconnect();
      });
      child.once('error', (error) => {
        if (child.pid === undefined) reject(unreadable(`no process could be started (${error.message})`));
      });
      child.once('exit', (code, signalName) => {
        if (signal?.aborted === true)
          reject(new SoundpostError('aborted', 'Reading the network was called off.'));
        else if (said?.kind === 'signature') resolve({ inputs: said.inputs, outputs: said.outputs });
        else if (said?.kind === 'failed')
          reject(unreadable(`ONNX Runtime says "${firstLine(said.message)}"`));
        else reject(unreadable(`the process that opened it ended (${signalName ?? `exit code ${code}`})`));
      });
      if (signal?.aborted === true) kill();
      child.send(path, () => undefined);
    });
  } finally {
    clearTimeout(timer);
    process.removeListener('exit', kill);
    signal?.removeEventListener('abort', kill);
  }
}
