import type { Failed } from '../common/failed.js';
import type { Manifest } from '../models/manifest.js';
import type { LeftEdge } from '../convert/streaming/plan.js';
import type { LinearHead } from '../common/linear-head.js';
import type { EngineStream, InferenceResult } from './engine.js';

/**
 * What the service process and an inference process say to each other, over `fork`'s channel with the
 * 'advanced' serialization (typed arrays as bytes; the default JSON would cost 40 times as much). The windows go
 * another way: see request-pipe.ts.
 *
 * service → process: `load` once, then requests through the pipe, and between them `learn`, then `stop`.
 * What goes one way is sent once all that went the other way is answered: between two ways there is no order.
 * process → service: `progress` any number of times, then `ready` or `failed` for `load`; `result`, `learning` or
 * `failed` for each question, in order.
 */
export type ToProcess =
  ({ kind: 'load' } & LoadRequest) | ({ kind: 'learn' } & LearnRequest) | { kind: 'stop' };

export type FromProcess =
  /** Loaded, or one more window of the warm-up done: the process is not stuck. */
  | { kind: 'progress'; step?: LoadStep }
  | { kind: 'ready'; loadMs: number; fixedWindow: boolean; stream: StreamOutcome }
  | ({ kind: 'result' } & ProcessResult)
  /** How many numbers the embedding has; heads of another width are not applied. 0 where there is none. */
  | { kind: 'learning'; features: number }
  | Failed;

/** A second form of the network is being made and tried, which takes more memory than the network itself. */
export type LoadStep = 'making';

/** An answer without what the process does not know: whose heads they are. */
export type ProcessResult = Omit<InferenceResult, 'heads'> & {
  /** Why the network is no stream any more; in the first answer after it has ceased to be one. */
  streamEnded?: string;
};

/** What became of the wish for a stream: what it is like, or why there is none; null where none was wished for. */
export type StreamOutcome = EngineStream | { reason: string } | null;

/** The windows that a stream is wanted for. */
export interface StreamWish {
  /** The configured window; null: the model's own. */
  windowSeconds: number | null;
  /** What a window moves by, on the average. */
  hopSeconds: number;
  leftEdge: LeftEdge;
  /** The stream must take less than this share of the time of the whole window. */
  worthBelow: number;
  /** Where a whole window takes less than this share of the time that it moves by, there is nothing worth saving. */
  worthAbove: number;
}

/** See `InferenceEngine.learn`. */
export interface LearnRequest {
  heads: LinearHead[];
}

/** What an inference process has to know of its model. */
export interface LoadRequest {
  manifest: Manifest;
  onnxPath: string;
  labelCount: number;
  threads: number;
  /** The most memory that the process may take, in bytes. */
  memoryBytes: number;
  /** Where copies that were optimised for this machine are kept; null: none are used or made. */
  optimizedFolder: string | null;
  /** Whether the network is to be a stream where that is cheaper; null: it is not. Needs `optimizedFolder`. */
  stream: StreamWish | null;
}
