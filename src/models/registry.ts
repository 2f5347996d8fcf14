import type { Manifest } from './manifest.js';

/** One of the classes a model names. */
export interface Label {
  /** Position in the model's output. */
  index: number;
  name: string;
  /** AudioSet's machine identifier, or null for a class of one's own. */
  mid: string | null;
  /** The on-threshold that the model's makers recommend, or null. */
  threshold: number | null;
}

/** A model that is ready to be loaded. */
export interface InstalledModel {
  manifest: Manifest;
  labels: readonly Label[];
  /** Absolute path of the folder that holds model.json and model.onnx. */
  folder: string;
  onnxPath: string;
  /** Ships with the program: cannot be removed. */
  bundled: boolean;
}
