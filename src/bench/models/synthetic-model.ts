import { fork } from 'node:child_process';
import { join } from 'node:path';
import { startChild } from '../../common/child.js';
import { childEnvironment } from '../../common/child-environment.js';
import { SoundpostError } from '../../common/errors.js';
import type { Architecture } from '../../convert/architecture.js';
import { manifestInput, manifestOutput } from '../../convert/convert.js';
import { withoutThresholds, type LabelEntry } from '../../models/labels.js';
import type { InstalledModel } from '../../models/registry.js';
import type { TensorShape } from './architecture-tensors.js';
import type { FromSynthetic, SyntheticJob, SyntheticNetwork } from './synthetic-process.js';

const PROCESS_FILE = join(import.meta.dirname, 'synthetic-process.js');

/** A label set that ships with the program. */
export interface LabelSet {
  name: string;
  labels: readonly LabelEntry[];
}

/**
 * Writes the network of an architecture with arbitrary weights into an existing folder, in a process of its own.
 * @returns it as an installed model; its manifest is not written.
 *
 * Rejects with SoundpostError `aborted`, `bench_synthetic` (the process died, mostly for want of memory or of
 * disk), or what the graph builder says.
 */
export async function makeSyntheticModel(options: {
  architecture: Architecture;
  tensors: readonly TensorShape[];
  /** What the scores are called; they mean nothing. */
  labelSet: LabelSet;
  folder: string;
  signal: AbortSignal;
}): Promise<{ model: InstalledModel; bytes: number }> {
  const { architecture, tensors, labelSet, folder } = options;
  const { name } = architecture;
  const input = manifestInput(architecture);
  const onnxPath = join(folder, 'model.onnx');
  const job: SyntheticJob = { architecture: name, tensors, onnxPath, windowSeconds: input.window_seconds };
  const network = await writeInProcess(job, options.signal);
  const { bytes, sha256, parameters, macs, hasEmbedding, frames } = network;
  const model: InstalledModel = {
    manifest: {
      id: name,
      title: `${name} with synthetic weights`,
      family: architecture.family,
      architecture: name,
      input,
      output: manifestOutput(hasEmbedding, frames),
      labels: labelSet.name,
      thresholds: null,
      metrics: {},
      parameters,
      macs,
      licence: 'none',
      source: null,
      onnx_sha256: sha256,
    },
    labels: withoutThresholds(labelSet.labels),
    folder,
    onnxPath,
    bundled: false,
  };
  return { model, bytes };
}

function writeInProcess(job: SyntheticJob, signal: AbortSignal): Promise<SyntheticNetwork> {
  return new Promise((resolve, reject) => {
    const child = startChild('the process that writes a network', () =>
      fork(PROCESS_FILE, [], {
        serialization: 'advanced',
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
        env: childEnvironment(),
      }),
    );
    let reply: FromSynthetic | undefined;
    let complaint = '';
    const kill = () => void child.kill('SIGKILL');
    signal.addEventListener('abort', kill, { once: true });
    child.stderr?.on('data', (chunk: Buffer) => (complaint = (complaint + chunk.toString()).slice(-2000)));
    child.on('message', (message) => (reply = message as FromSynthetic));
    child.on('error', reject);
    child.on('close', (code, ended) => {
      signal.removeEventListener('abort', kill);
      if (signal.aborted) reject(new SoundpostError('aborted', 'The benchmark was interrupted.'));
      else if (reply?.kind === 'written') resolve(reply.network);
      else if (reply !== undefined) reject(new SoundpostError(reply.code, reply.message));
      else {
        const words = complaint.trim().split('\n').at(-1) ?? '';
        reject(
          new SoundpostError(
            'bench_synthetic',
            `The network ${job.architecture} could not be written: the process ended with ${ended ?? `code ${code ?? 'unknown'}`}${words === '' ? '' : ` (${words})`}. It may need more memory than there is.`,
          ),
        );
      }
    });
    if (signal.aborted) kill();
    else child.send(job, () => undefined);
  });
}
