import type { InstalledModel } from '../models/registry.js';

/** One window for the network. */
export interface InferenceRequest {
  /** The number of the source whose sound it is; 0 where it is left out. Each source is a stream of its own. */
  source?: number;
  /**
   * New samples at the model's rate since the previous request of this source, float32 mono. With `reset` they are the
   * whole window: the stream before them is forgotten.
   */
  samples: Float32Array;
  reset: boolean;
  /** Length of the window that ends with the last sample, in samples; shorter than the model's at the start. */
  windowSamples: number;
  /**
   * The frames of the window that are wanted, by their number in it, `to` not included; left out where none are. More
   * than there are is allowed: those that are there come.
   */
  frames?: { from: number; to: number } | undefined;
  /** How many of the newest columns of the log-mel are wanted, to be looked at; none where it is left out. */
  columns?: number | undefined;
}

/** The newest columns of the log-mel that the network was fed with. */
export interface LogMelColumns {
  /** Mel bands of each. */
  bands: number;
  /** From one column to the next, in ms. */
  columnMs: number;
  /** Float32Array, [columns × bands], low bands first, in the unit of the front end. */
  values: Float32Array;
}

export interface InferenceResult {
  /** Float32Array, [labels], 0 … 1, in the order of the model's labels. */
  scores: Float32Array;
  /** Float32Array, [frames × labels], 0 … 1: what was wanted of the frames; null where nothing was. */
  frames: Float32Array | null;
  /** What was wanted of the log-mel; null where nothing was, and where the network is fed with the waveform alone. */
  columns: LogMelColumns | null;
  featuresMs: number;
  inferenceMs: number;
}

/**
 * A running inference process with one model in it. Calls to `infer` are served in order; the caller sends one
 * at a time. A rejected `infer` means the engine is of no more use: stop it.
 */
export interface InferenceEngine {
  readonly model: InstalledModel;
  readonly pid: number;
  /** Milliseconds to load the model and to warm it up. */
  readonly loadMs: number;
  /** True where the network only takes windows of the full length (a fixed time axis). */
  readonly fixedWindow: boolean;
  infer(request: InferenceRequest): Promise<InferenceResult>;
  /** Resolves once the process is gone, whatever the reason; never rejects. */
  readonly exited: Promise<{ reason: string }>;
  /** Ends the process, with SIGKILL if it does not answer. Idempotent. */
  stop(): Promise<void>;
}

/** Starts a process, loads the model, checks it and warms it up; throws a SoundpostError that says why not. */
export type StartEngine = (
  model: InstalledModel,
  options: { threads: number; signal?: AbortSignal },
) => Promise<InferenceEngine>;
