import type { Problem } from './logger.js';

/** Where warnings and errors of the logger can be listened to, whoever has started listening by then. */
export interface ProblemFeed {
  emit: (problem: Problem) => void;
  /** Returns the way to unsubscribe. */
  subscribe(listener: (problem: Problem) => void): () => void;
}

export function createProblemFeed(): ProblemFeed {
  const listeners = new Set<(problem: Problem) => void>();
  return {
    emit(problem) {
      for (const listener of listeners) listener(problem);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
