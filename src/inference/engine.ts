import type { LeftEdge } from '../convert/streaming/plan.js';
import type { InstalledModel } from '../models/registry.js';
import type { HeadsInForce, LearntHead } from './learnt-heads.js';

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
  /**
   * Length of the window that ends with the last sample, in samples; shorter than the model's at the start. So much sound is
   * kept as the model's own window is long, or the longest that came with `reset`: a longer one needs `reset`.
   */
  windowSamples: number;
  /**
   * The frames of the window that are wanted, by their number in it, `to` not included; left out where none are. More
   * than there are is allowed: those that are there come.
   */
  frames?: { from: number; to: number } | undefined;
  /** How many of the newest columns of the log-mel are wanted, to be looked at; none where it is left out. */
  columns?: number | undefined;
  /**
   * Whether embeddings are wanted: those of the frames that are wanted, or that of the window for a model without
   * embeddings of frames. Not where it is left out.
   */
  embeddings?: boolean | undefined;
  /**
   * The window ends on the grid of the engine's stream, and so will those after it, see `EngineStream`: it may be
   * computed as a stream. Not where it is left out.
   */
  onGrid?: boolean | undefined;
}

/** How an engine computes a network that need not be run for whole windows. */
export interface EngineStream {
  /** Full windows begin at multiples of so many samples. */
  gridSamples: number;
  gridSeconds: number;
  /** Length of a full window. */
  windowSamples: number;
  /** What is kept of each source, in memory. */
  keptBytes: number;
  /** CPU that a hop took when it was tried on this machine, as a whole window and as a stream. */
  wholeMs: number;
  streamMs: number;
  leftEdge: LeftEdge;
  /** The largest difference of a score between the two when it was tried, over the test sound. */
  scoreOff: number;
}

/**
 * How a window was computed: as a whole, as what is new of a stream, or as the first one of a stream, for which all of it
 * was computed.
 */
export type ComputedAs = 'whole' | 'stream' | 'begun';

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
  /**
   * Float32Array, [labels], 0 … 1, in the order of the model's labels; behind them one for each of `heads`: the highest
   * of the frames that were wanted (of all, where none were) or, without embeddings of frames, that of the window.
   */
  scores: Float32Array;
  /**
   * Float32Array, [frames × labels], 0 … 1, with those of `heads` behind the model's in each: what was wanted of the
   * frames; null where nothing was.
   */
  frames: Float32Array | null;
  /** What was wanted of the log-mel; null where nothing was, and where the network is fed with the waveform alone. */
  columns: LogMelColumns | null;
  /** Float32Array, [pieces × features]: what was wanted of the embeddings; null where nothing was, or is none. */
  embeddings: Float32Array | null;
  /** How many embeddings these are. */
  pieces: number;
  /** The heads whose scores stand behind the model's own: the same list as long as they are the same. */
  heads: readonly LearntHead[];
  featuresMs: number;
  inferenceMs: number;
  /** `whole` where it is left out. */
  computedAs?: ComputedAs;
}

/**
 * A running inference process with one model in it. Calls are served in the order in which they are made. A rejected `infer` means the engine is of no more use: stop it.
 */
export interface InferenceEngine {
  readonly model: InstalledModel;
  readonly pid: number;
  /** Milliseconds to load the model and to warm it up. */
  readonly loadMs: number;
  /** True where the network only takes windows of the full length (a fixed time axis). */
  readonly fixedWindow: boolean;
  /** How windows on a grid are computed at less cost; null or left out: all are computed as a whole. */
  readonly stream?: EngineStream | null;
  infer(request: InferenceRequest): Promise<InferenceResult>;
  /**
   * The heads that are wanted beside the model's scores, from the next window on. Resolves to those that are applied from
   * then on. It costs nothing where there are none.
   * @param onInForce called before the answer to any window with these heads
   */
  learn(heads: readonly LearntHead[], onInForce?: (heads: HeadsInForce) => void): Promise<HeadsInForce>;
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
