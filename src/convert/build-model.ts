import { join } from 'node:path';
import { SoundpostError } from '../common/errors.js';
import type { Architecture, FrameGeometry } from './architecture.js';
import { findArchitecture } from './architectures/index.js';
import { openCheckpoint, type Checkpoint, type TensorInfo } from './checkpoint/open.js';
import { fitCheckpoint } from './fit.js';
import { buildNetwork } from './network.js';
import { writeOnnx } from './onnx.js';
import { createWeights, type Tensor } from './weights.js';

export interface BuildRequest {
  checkpointPath: string;
  architecture: string;
  /** How many labels there are. */
  labels: number;
  onnxPath: string;
  /** Where in the checkpoint the weights are; see `findStateDict`. */
  stateDict?: string | undefined;
}

export interface BuiltModel {
  hasEmbedding: boolean;
  /** Null where it cannot say when. */
  frames: FrameGeometry | null;
  /** Of the network at inference: without running statistics and what only training needs. */
  parameters: number;
  nodes: number;
  bytes: number;
  sha256: string;
}

/** How far work is that is done in stages. */
export interface StageProgress<Stage extends string> {
  stage: Stage;
  /** How much of the stage is done, 0 … 1. */
  fraction: number;
}

/** Reading the weights, writing the network. */
export type BuildProgress = StageProgress<'read' | 'write'>;

/** The name of the file that a conversion writes. */
export function onnxPathIn(folder: string): string {
  return join(folder, 'model.onnx');
}

/**
 * Reads a checkpoint and writes the ONNX file of its network. Whether the tensors are those of the architecture, and
 * the labels as many as its classes, is checked before the weights are read.
 *
 * Throws SoundpostError `architecture_unknown`, `checkpoint_shape`, `checkpoint_labels`, and those of
 * `openCheckpoint`; file system errors of the writing as they come.
 */
export async function buildModel(
  request: BuildRequest,
  onProgress: (progress: BuildProgress) => void,
): Promise<BuiltModel> {
  const architecture = findArchitecture(request.architecture);
  const checkpoint = await openCheckpoint(request.checkpointPath, { stateDict: request.stateDict });
  try {
    const needed = tensorsOf(architecture, checkpoint, request);
    const tensors = new Map<string, Tensor>();
    const total = [...needed.values()].reduce((sum, { elements }) => sum + elements, 0);
    let done = 0;
    for (const [name, { name: stored, shape, elements }] of needed) {
      tensors.set(name, { shape, data: await checkpoint.read(stored) });
      done += elements;
      onProgress({ stage: 'read', fraction: done / total });
    }
    const { model, nodes, hasEmbedding, frames } = buildNetwork(architecture, createWeights(tensors));
    onProgress({ stage: 'write', fraction: 0 });
    const { bytes, sha256 } = await writeOnnx(request.onnxPath, model);
    onProgress({ stage: 'write', fraction: 1 });
    const parameters = [...needed]
      .filter(([name]) => !isBuffer(name))
      .reduce((sum, [, { elements }]) => sum + elements, 0);
    return { hasEmbedding, frames, parameters, nodes, bytes, sha256 };
  } finally {
    await checkpoint.close();
  }
}

function tensorsOf(
  architecture: Architecture,
  checkpoint: Checkpoint,
  { checkpointPath, labels }: BuildRequest,
): ReadonlyMap<string, TensorInfo> {
  try {
    return fitCheckpoint(architecture, checkpoint, labels).tensors;
  } catch (error) {
    throw naming(checkpointPath, architecture, error);
  }
}

/** Says which file it is that does not fit, and what it was taken for. */
function naming(path: string, { name }: Architecture, error: unknown): unknown {
  if (!(error instanceof SoundpostError)) return error;
  return new SoundpostError(error.code, `the checkpoint ${path} does not fit ${name}: ${error.message}`, {
    cause: error,
  });
}

/** What a state dict holds beside what was trained. */
export function isBuffer(tensor: string): boolean {
  return /(^|\.)(running_mean|running_var|lambdas|init_v|freqs)$/.test(tensor);
}
