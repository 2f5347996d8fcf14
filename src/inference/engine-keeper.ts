import { createBackoff, createRestartPolicy } from '../common/backoff.js';
import { codeOf, messageOf } from '../common/errors.js';
import type { InstalledModel } from '../models/registry.js';
import type { InferenceEngine, StartEngine } from './engine.js';

/** What becomes of engines that fail, for people. */
export interface EngineEvents {
  /** The inference process is gone; it is being started again. */
  engineLost(fault: { code: string; reason: string; delayMs: number }): void;
  /** The model was given up after it failed repeatedly; `to` is the one that stands in. */
  fellBack(fault: { from: InstalledModel; to: InstalledModel; reason: string }): void;
}

/**
 * Starts engines, and starts the wanted model again after its engine has died: later and later, and with the model
 * that stands in once it has failed too often.
 */
export interface EngineKeeper {
  /** The model that answers, or is to answer once it has been started. */
  readonly wanted: InstalledModel;
  /** How often a model was started again. */
  readonly restarts: number;
  /** From `stop` on; nothing is started any more. */
  readonly stopped: boolean;
  /** Another model is wanted; what is planned for the one before is called off. */
  want(model: InstalledModel): void;
  /** The engine of the wanted model has answered: what failed before counts no longer. */
  answered(): void;
  /** Starts an engine. Once `signal` has fired, and from `stop` on, none is left. */
  launch(model: InstalledModel, signal?: AbortSignal): Promise<InferenceEngine>;
  /** The engine of the wanted model failed or died: plans the next start. */
  failed(error: unknown): void;
  /** Gives the wanted model up for the one that stands in. */
  fallBack(error: unknown): void;
  /** Calls off what is planned or being started, and resolves when all of it is over. */
  stop(): Promise<void>;
}

/** A model that has not answered a single window in so many lives is given up sooner than the policy says. */
const FAILURES_BEFORE_FALLBACK = 3;
const RESTART_DELAYS = { firstMs: 500, maxMs: 30_000 };

export function createEngineKeeper(options: {
  startEngine: StartEngine;
  threads: number;
  /** The model that stands in where another one cannot run: the bundled one. */
  fallback: InstalledModel;
  /** How long to wait before an engine that died is started again. */
  restartDelays: { firstMs: number; maxMs: number } | undefined;
  events: EngineEvents;
  /** An engine was started again: it is to answer from now on. */
  onRestarted(engine: InferenceEngine): void;
}): EngineKeeper {
  const { startEngine, threads, fallback, events } = options;
  const policy = createRestartPolicy(createBackoff(options.restartDelays ?? RESTART_DELAYS));
  const life = new AbortController();
  const launching = new Set<Promise<unknown>>();
  let wanted = fallback;
  let failuresWithoutAnswer = 0;
  let restarts = 0;
  let plan: { abort: AbortController; timer: NodeJS.Timeout } | null = null;

  async function launch(model: InstalledModel, signal: AbortSignal = life.signal): Promise<InferenceEngine> {
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
  }

  function callOff(): void {
    if (plan === null) return;
    plan.abort.abort();
    clearTimeout(plan.timer);
    plan = null;
  }

  function fallBack(error: unknown): void {
    const from = wanted;
    wanted = fallback;
    failuresWithoutAnswer = 0;
    events.fellBack({ from, to: fallback, reason: messageOf(error) });
  }

  function failed(error: unknown): void {
    failuresWithoutAnswer += 1;
    const { delayMs, exhausted } = policy.onDeath(Date.now());
    const givenUp =
      exhausted ||
      failuresWithoutAnswer >= FAILURES_BEFORE_FALLBACK ||
      // Each hang is half a minute and more without an answer.
      codeOf(error) === 'inference_timeout';
    if (givenUp && wanted.folder !== fallback.folder) {
      fallBack(error);
      restartIn(0);
    } else {
      events.engineLost({ code: codeOf(error), reason: messageOf(error), delayMs });
      restartIn(delayMs);
    }
  }

  function restartIn(delayMs: number): void {
    const abort = new AbortController();
    const restart = async () => {
      try {
        const engine = await launch(wanted, abort.signal);
        restarts += 1;
        options.onRestarted(engine);
      } catch (error) {
        if (!abort.signal.aborted && !life.signal.aborted) failed(error);
      }
    };
    plan = { abort, timer: setTimeout(() => void restart(), delayMs) };
  }

  return {
    get wanted() {
      return wanted;
    },
    get restarts() {
      return restarts;
    },
    get stopped() {
      return life.signal.aborted;
    },
    want(model) {
      callOff();
      wanted = model;
      failuresWithoutAnswer = 0;
    },
    answered() {
      failuresWithoutAnswer = 0;
    },
    launch,
    failed,
    fallBack,
    async stop() {
      life.abort();
      callOff();
      await Promise.allSettled(launching);
    },
  };
}
