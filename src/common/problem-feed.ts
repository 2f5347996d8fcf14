import type { Problem } from './logger.js';

/** Where warnings and errors of the logger can be listened to, whoever has started listening by then. */
export interface ProblemFeed {
  emit: (problem: Problem) => void;
  /** Hears what was emitted while nobody listened, too. Returns the way to unsubscribe. */
  subscribe(listener: (problem: Problem) => void): () => void;
}

/** The most that is kept for the first listener. */
const KEPT = 20;

export function createProblemFeed(): ProblemFeed {
  const listeners = new Set<(problem: Problem) => void>();
  let waiting: Problem[] = [];
  return {
    emit(problem) {
      if (listeners.size === 0) waiting = [...waiting, problem].slice(-KEPT);
      for (const listener of listeners) listener(problem);
    },
    subscribe(listener) {
      listeners.add(listener);
      for (const problem of waiting.splice(0)) listener(problem);
      return () => listeners.delete(listener);
    },
  };
}
