import type { LabelEntry } from '../models/labels.js';
import type { Manifest } from '../models/manifest.js';

export interface ConversionRequest {
  checkpointPath: string;
  /** As in the catalogue. */
  architecture: string;
  /** The classes in the order of the network's output, or how many there are. */
  labels: readonly LabelEntry[] | number;
  /** `model.onnx` is written into it. */
  outFolder: string;
  /** Called with 0 … 1. */
  onProgress?: (share: number) => void;
  signal?: AbortSignal;
}

export interface Conversion {
  input: Manifest['input'];
  output: Manifest['output'];
  parameters: number;
  onnxSha256: string;
  bytes: number;
  /** What the converter wants to be kept beside the model's self-test. */
  selfTest: object;
}

/** Reads a checkpoint, builds the ONNX graph of its architecture and writes it. Throws SoundpostError. */
export type ConvertCheckpoint = (request: ConversionRequest) => Promise<Conversion>;
