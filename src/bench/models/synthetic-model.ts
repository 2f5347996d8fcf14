import { join } from 'node:path';
import { askChild } from '../../common/ask-child.js';
import { SoundpostError } from '../../common/errors.js';
import type { Architecture } from '../../convert/architecture.js';
import { manifestInput, manifestOutput } from '../../convert/convert.js';
import { withoutThresholds, type LabelEntry } from '../../models/labels.js';
import type { InstalledModel } from '../../models/registry.js';
import type { TensorShape } from './architecture-tensors.js';
import { fromSynthetic, type SyntheticJob, type SyntheticNetwork } from './synthetic-messages.js';

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

async function writeInProcess(job: SyntheticJob, signal: AbortSignal): Promise<SyntheticNetwork> {
  const { reply, end } = await askChild('the process that writes a network', PROCESS_FILE, job, {
    says: fromSynthetic,
    signal,
  });
  if (signal.aborted) throw new SoundpostError('aborted', 'The benchmark was interrupted.');
  if (reply?.kind === 'written') return reply.network;
  if (reply !== undefined) throw new SoundpostError(reply.code, reply.message);
  throw new SoundpostError(
    'bench_synthetic',
    `The network ${job.architecture} could not be written: the process ended (${end}). It may need more memory than there is.`,
  );
}
