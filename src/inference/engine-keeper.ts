import { codeOf, messageOf } from '../common/errors.js';
import type { InstalledModel } from '../models/registry.js';
import type { InferenceEngine, StartEngine } from './engine.js';
import { createFailurePolicy } from './failure-policy.js';
import { createLaunches } from './launches.js';
import { createSecondChance, type GivenUp } from './second-chance.js';

/** What becomes of engines that fail, for people. */
export interface EngineEvents {
  /** The inference process is gone; it is being started again. */
  engineLost(fault: { code: string; reason: string; delayMs: number }): void;
  /**
   * The model was given up after it failed repeatedly; `to` is the one that stands in. It is tried again at
   * `retryAtMs` (ms since the epoch).
   */
  fellBack(fault: { from: InstalledModel; to: InstalledModel; reason: string; retryAtMs: number }): void;
  /** A model that was given up has been tried again, and does not work yet. */
  stillOut(fault: { model: InstalledModel; reason: string; retryAtMs: number }): void;
  /** A model that was given up works again, and has taken over. */
  cameBack(model: InstalledModel): void;
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
  /** The model that was given up and is to be tried again; null where there is none. */
  readonly givenUp: GivenUp | null;
  /** From `stop` on; nothing is started any more. */
  readonly stopped: boolean;
  /** Another model is wanted; what is planned for the one before is called off. */
  want(model: InstalledModel): void;
  /** The model that stands in is what is wanted from now on: the one that was given up is not tried again. */
  settleFor(): void;
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

export function createEngineKeeper(options: {
  startEngine: StartEngine;
  threads: number;
  /** The model that stands in where another one cannot run: the bundled one. */
  fallback: InstalledModel;
  /** How long to wait before an engine that died is started again. */
  restartDelays: { firstMs: number; maxMs: number } | undefined;
  /** How long to wait before a model that was given up is tried again. */
  retryDelays: { firstMs: number; maxMs: number } | undefined;
  /** Has a model that was given up take over again; rejects where it does not work yet. */
  tryAgain(model: InstalledModel): Promise<void>;
  events: EngineEvents;
  /** An engine was started again: it is to answer from now on. */
  onRestarted(engine: InferenceEngine): void;
}): EngineKeeper {
  const { fallback, events } = options;
  const policy = createFailurePolicy(options.restartDelays);
  const launches = createLaunches(options.startEngine, options.threads);
  const chance = createSecondChance({
    delays: options.retryDelays,
    attempt: (model) => options.tryAgain(model),
    onFailed: (still) => events.stillOut(still),
    onBack: (model) => events.cameBack(model),
  });
  let wanted = fallback;
  let restarts = 0;
  let plan: { abort: AbortController; timer: NodeJS.Timeout } | null = null;

  function callOff(): void {
    if (plan === null) return;
    plan.abort.abort();
    clearTimeout(plan.timer);
    plan = null;
  }

  function fallBack(error: unknown): void {
    const from = wanted;
    wanted = fallback;
    policy.begin();
    const reason = messageOf(error);
    const { retryAtMs } = chance.givenUp(from, reason);
    events.fellBack({ from, to: fallback, reason, retryAtMs });
  }

  function failed(error: unknown): void {
    const { giveUp, delayMs } = policy.judge(error, performance.now());
    if (giveUp && wanted.folder !== fallback.folder) {
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
        const engine = await launches.launch(wanted, abort.signal);
        restarts += 1;
        policy.started();
        options.onRestarted(engine);
      } catch (error) {
        if (!abort.signal.aborted && !launches.ended) failed(error);
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
    get givenUp() {
      return chance.waiting;
    },
    get stopped() {
      return launches.ended;
    },
    want(model) {
      callOff();
      // The one that was given up comes back: its history goes on.
      if (chance.waiting?.model.folder !== model.folder) chance.callOff();
      wanted = model;
      policy.begin();
    },
    settleFor: () => chance.callOff(),
    answered: () => policy.answered(),
    launch: (model, signal) => launches.launch(model, signal),
    failed,
    fallBack,
    async stop() {
      const ended = launches.end();
      callOff();
      chance.callOff();
      await ended;
    },
  };
}
