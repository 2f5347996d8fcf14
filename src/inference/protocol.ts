import type { Failed } from '../common/failed.js';
import type { Manifest } from '../models/manifest.js';
import type { InferenceResult } from './engine.js';

/**
 * What the service process and an inference process say to each other, over `fork`'s channel with the
 * 'advanced' serialization (typed arrays as bytes; the default JSON would cost 40 times as much). The windows go
 * another way: see request-pipe.ts.
 *
 * service → process: `load` once, then requests through the pipe, then `stop`.
 * process → service: `progress` any number of times, then `ready` or `failed` for `load`; `result` or `failed` for
 * each request, in order.
 */
export type ToProcess = ({ kind: 'load' } & LoadRequest) | { kind: 'stop' };

export type FromProcess =
  /** Loaded, or one more window of the warm-up done: the process is not stuck. */
  | { kind: 'progress' }
  | { kind: 'ready'; loadMs: number; fixedWindow: boolean }
  | ({ kind: 'result' } & InferenceResult)
  | Failed;

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
}
