import type { Architecture, FrameGeometry } from './architecture.js';
import { Graph, OPSET, type Value } from './graph.js';
import type { OnnxModel } from './onnx.js';
import { EMBEDDING, FRAMES, LOG_MEL, SCORES, WAVEFORM } from './value-names.js';
import type { Weights } from './weights.js';

export { EMBEDDING, FRAMES, LOG_MEL, SCORES, WAVEFORM };

/**
 * The network of an architecture with the tensors of a checkpoint: inputs `logmel` ([batch, 1, frames, mels] or
 * [batch, 1, mels, frames]) and/or `waveform` ([batch, samples]), outputs `probs` ([batch, labels]),
 * `embedding` ([batch, features]) and `frames` ([batch, frames, labels]) where it has them. Throws SoundpostError
 * `checkpoint_shape` where the tensors are not those of the architecture.
 */
export function buildNetwork(
  architecture: Architecture,
  weights: Weights,
): { model: OnnxModel; nodes: number; hasEmbedding: boolean; frames: FrameGeometry | null } {
  const g = new Graph(weights);
  const { input } = architecture;
  const inputs: { logMel?: Value; waveform?: Value } = {};
  if (input.kind !== 'waveform') {
    const mels = input.frontend.n_mels;
    const axes = input.layout === 'NCTF' ? ['frames', mels] : [mels, 'frames'];
    inputs.logMel = g.input(LOG_MEL, ['batch', 1, ...axes]);
  }
  if (input.kind !== 'log_mel') inputs.waveform = g.input(WAVEFORM, ['batch', 'samples']);
  const { scores, embedding, frames } = architecture.build(g, inputs);
  g.output(SCORES, scores, ['batch', 'labels']);
  if (embedding !== null) g.output(EMBEDDING, embedding, ['batch', 'features']);
  if (frames !== undefined) g.output(FRAMES, frames.value, ['batch', 'time', 'labels']);
  const graph = g.finish(architecture.name, architecture.unused);
  return {
    model: { opset: OPSET, graph },
    nodes: g.nodeCount,
    hasEmbedding: embedding !== null,
    frames: frames?.geometry ?? null,
  };
}
