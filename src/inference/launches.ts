import type { InstalledModel } from '../models/registry.js';
import type { InferenceEngine, StartEngine } from './engine.js';

/** Starts of engines, none of which outlives the one who wanted it. */
export interface Launches {
  /** From `end` on; nothing is started any more. */
  readonly ended: boolean;
  /** Starts an engine. Once `signal` has fired, and from `end` on, none is left. Throws as `StartEngine` does. */
  launch(model: InstalledModel, signal?: AbortSignal): Promise<InferenceEngine>;
  /** Calls off what is being started, and resolves when all of it is over. */
  end(): Promise<void>;
}

export function createLaunches(startEngine: StartEngine, threads: number): Launches {
  const life = new AbortController();
  const launching = new Set<Promise<unknown>>();
  return {
    get ended() {
      return life.signal.aborted;
    },
    async launch(model, signal = life.signal) {
      const either = AbortSignal.any([signal, life.signal]);
      const starting = (async () => {
        either.throwIfAborted();
        const engine = await startEngine(model, { threads, signal: either });
        if (either.aborted) await engine.stop();
        either.throwIfAborted();
        return engine;
      })();
      launching.add(starting);
      try {
        return await starting;
      } finally {
        launching.delete(starting);
      }
    },
    async end() {
      life.abort();
      await Promise.allSettled(launching);
    },
  };
}
