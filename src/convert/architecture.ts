import type { FrontendSpec, Layout } from '../features/spec.js';
import type { Graph, Value } from './graph.js';

/** What a network is fed with. */
export type ArchitectureInput =
  | { kind: 'log_mel'; layout: Layout; frontend: FrontendSpec }
  | { kind: 'waveform' }
  /** Two inputs: the samples, and the log-mel of the same samples. */
  | { kind: 'waveform_log_mel'; layout: Layout; frontend: FrontendSpec };

/** One network of the literature: how to build its graph from the tensors of its official checkpoint. */
export interface Architecture {
  /** As in its paper's code: `Cnn14`, `mn10`. */
  name: string;
  family: string;
  /** Hz */
  sampleRate: number;
  input: ArchitectureInput;
  /** Samples of the shortest clip the original accepts. */
  minSamples: number;
  /** Tensors that checkpoints hold and inference does not need. */
  unused?: (tensor: string) => boolean;
  /**
   * Adds the network to the graph, from its input(s) to class probabilities [batch, labels] (after the sigmoid) and
   * the embedding [batch, features], or null where the original has none.
   */
  build(g: Graph, inputs: { logMel?: Value; waveform?: Value }): { scores: Value; embedding: Value | null };
}

/**
 * What checkpoints hold and no network needs at inference: the tables of the front end (computed outside the
 * graph) and the batch norms' counters.
 */
export function isTrainingOnly(tensor: string): boolean {
  return /^(spectrogram|logmel)_extractor\.|\.num_batches_tracked$/.test(tensor);
}
