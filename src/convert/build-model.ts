import { join } from 'node:path';
import { SoundpostError } from '../common/errors.js';
import type { Architecture, FrameGeometry } from './architecture.js';
import { findArchitecture } from './architectures/index.js';
import { checkShapes } from './check-shapes.js';
import { openCheckpoint, type Checkpoint } from './checkpoint/open.js';
import { TRANSPOSED } from './graph.js';
import { buildNetwork, SCORES } from './network.js';
import { writeOnnx, type OnnxGraph } from './onnx.js';
import { createWeights, type Tensor } from './weights.js';

export interface BuildRequest {
  checkpointPath: string;
  architecture: string;
  /** How many labels there are. */
  labels: number;
  onnxPath: string;
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

export interface BuildProgress {
  stage: 'read' | 'write';
  /** 0 … 1 of the stage. */
  fraction: number;
}

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
  const checkpoint = await openCheckpoint(request.checkpointPath);
  try {
    const needed = [...checkpoint.tensors.values()].filter(({ name }) => !architecture.unused?.(name));
    try {
      checkBeforeReading(architecture, checkpoint, request.labels);
    } catch (error) {
      throw naming(request.checkpointPath, architecture, error);
    }
    const tensors = new Map<string, Tensor>();
    const total = needed.reduce((sum, { elements }) => sum + elements, 0);
    let done = 0;
    for (const { name, shape, elements } of needed) {
      tensors.set(name, { shape, data: await checkpoint.read(name) });
      done += elements;
      onProgress({ stage: 'read', fraction: done / total });
    }
    const { model, nodes, hasEmbedding, frames } = buildNetwork(architecture, createWeights(tensors));
    onProgress({ stage: 'write', fraction: 0 });
    const { bytes, sha256 } = await writeOnnx(request.onnxPath, model);
    onProgress({ stage: 'write', fraction: 1 });
    const parameters = needed
      .filter(({ name }) => !isBuffer(name))
      .reduce((sum, { elements }) => sum + elements, 0);
    return { hasEmbedding, frames, parameters, nodes, bytes, sha256 };
  } finally {
    await checkpoint.close();
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

/** Builds the graph of shapes alone: every tensor is there, but without its values. */
function checkBeforeReading(architecture: Architecture, checkpoint: Checkpoint, labels: number): void {
  const tensors = new Map<string, Tensor>();
  for (const { name, shape } of checkpoint.tensors.values()) {
    if (!architecture.unused?.(name)) tensors.set(name, { shape, data: new Float32Array(0) });
  }
  const { graph } = buildNetwork(architecture, createWeights(tensors)).model;
  const classes = checkShapes(graph).get(SCORES)?.at(-1);
  if (classes == null || classes === labels) return;
  throw new SoundpostError(
    'checkpoint_labels',
    `the network has ${classes} classes${classTensor(graph, tensors, classes)}, but there are ${labels} labels: give those it was trained with, in their order.`,
  );
}

/** The weight whose outputs are the classes, for the message. */
function classTensor(graph: OnnxGraph, tensors: ReadonlyMap<string, Tensor>, classes: number): string {
  const weights = graph.nodes
    .flatMap(({ inputs }) => inputs.map((name) => name.replace(TRANSPOSED, '')))
    .filter((name) => tensors.has(name));
  const last = weights.reverse().find((name) => {
    const { shape } = tensors.get(name)!;
    return shape.length >= 2 && shape[0] === classes;
  });
  return last === undefined
    ? ''
    : ` (the tensor ${last} has the shape [${tensors.get(last)!.shape.join(', ')}])`;
}
