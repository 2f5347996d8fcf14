import type { Label } from '../../src/models/labels.js';

/** What a simulated device hears: the scores a network would give, window by window. */
export interface SimulatedScores {
  /** Scores, [labels], of the window that ends at `nowMs`; valid until the next call. */
  window(nowMs: number): Float32Array;
}

/** Of quiet labels; far below every threshold. */
const NOISE = 0.02;

/**
 * A sound about every `everySeconds` (half to one and a half times that), each lasting from a fifth to a half of
 * it and at least one window, of one of the first `watched` labels.
 */
export function createSimulatedScores(options: {
  labels: readonly Label[];
  watched: number;
  everySeconds: number;
  startMs: number;
}): SimulatedScores {
  const { labels, watched, everySeconds, startMs } = options;
  const scores = new Float32Array(labels.length);
  const drawGap = (): number => (0.5 + Math.random()) * everySeconds * 1000;
  let label = 0;
  let nextMs = startMs + Math.random() * everySeconds * 1000;
  let endMs = 0;
  return {
    window(nowMs) {
      for (let index = 0; index < scores.length; index += 1) scores[index] = Math.random() * NOISE;
      if (nowMs >= nextMs) {
        label = Math.floor(Math.random() * watched);
        endMs = nowMs + (0.2 + 0.3 * Math.random()) * everySeconds * 1000;
        nextMs = Math.max(endMs, nextMs + drawGap());
        scores[label] = 0.7 + 0.3 * Math.random();
      } else if (nowMs < endMs) {
        scores[label] = 0.7 + 0.3 * Math.random();
      }
      return scores;
    },
  };
}
