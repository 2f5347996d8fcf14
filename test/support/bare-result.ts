import type { InferenceResult } from '../../src/inference/engine.js';

/** What an engine answers that gives scores alone, and takes no time for it. */
export function bareResult(scores: Float32Array): InferenceResult {
  return {
    scores,
    frames: null,
    columns: null,
    embeddings: null,
    pieces: 0,
    heads: [],
    featuresMs: 0,
    inferenceMs: 0,
  };
}
