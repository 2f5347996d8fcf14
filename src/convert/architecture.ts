import type { FrontendSpec, Layout } from '../features/spec.js';
import type { FramesSpec } from '../models/manifest.js';
import type { Graph, Value } from './graph.js';

/** What a network is fed with. */
export type ArchitectureInput =
  | { kind: 'log_mel'; layout: Layout; frontend: FrontendSpec }
  | { kind: 'waveform' }
  /** Two inputs: the samples, and the log-mel of the same samples. */
  | { kind: 'waveform_log_mel'; layout: Layout; frontend: FrontendSpec };

/** What a manifest says of a network's frames, without the names of outputs, which are the same for all. */
export type FrameGeometry = Omit<FramesSpec, 'name' | 'embedding'>;

/** What a network makes of its inputs. */
export interface NetworkOutputs {
  /** Class probabilities after the sigmoid, [batch, labels]. */
  scores: Value;
  /** [batch, features], or null where the original has none. */
  embedding: Value | null;
  /** Where in the window each label is, [batch, frames, labels], 0 … 1; left out where the network cannot say. */
  frames?: { value: Value; geometry: FrameGeometry };
}

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
  /** Adds the network to the graph, from its input(s) to its outputs. */
  build(g: Graph, inputs: { logMel?: Value; waveform?: Value }): NetworkOutputs;
}

/**
 * What checkpoints hold and no network needs at inference: the tables of the front end (computed outside the
 * graph) and the batch norms' counters.
 */
export function isTrainingOnly(tensor: string): boolean {
  return /^(spectrogram|logmel)_extractor\.|\.num_batches_tracked$/.test(tensor);
}
