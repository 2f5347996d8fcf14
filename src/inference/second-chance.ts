import { codeOf, messageOf } from '../common/errors.js';
import type { InstalledModel } from '../models/registry.js';

/** A model that was given up, and when it is tried again. */
export interface GivenUp {
  readonly model: InstalledModel;
  /** Why, for people. */
  readonly reason: string;
  /** ms since the epoch. */
  readonly retryAtMs: number;
}

/**
 * Tries a model that was given up again: what was wrong may have been the machine (a process that was stopped, too
 * little memory, a full disk) and not the model. Each attempt that fails, and each relapse within `lastingMs` of a
 * success, doubles the wait.
 */
export interface SecondChance {
  /** The model that is waited with; null where the wanted one is at work. */
  readonly waiting: GivenUp | null;
  /** Plans an attempt, and returns what is planned. */
  givenUp(model: InstalledModel, reason: string): GivenUp;
  /** Somebody wants something else, or the service ends. */
  callOff(): void;
}

/** How long a model has to work after a second chance for that to count as cured. */
const LASTING_MS = 60 * 60_000;
/** Failures of an attempt that say nothing about the model. */
const NOT_THE_MODEL: ReadonlySet<string> = new Set(['busy', 'aborted', 'no_resources']);
const DEFAULT_DELAYS = { firstMs: 10 * 60_000, maxMs: 6 * 60 * 60_000 };

export function createSecondChance(options: {
  delays: { firstMs: number; maxMs: number } | undefined;
  /** Has the model take over; rejects where it does not work yet. */
  attempt: (model: InstalledModel) => Promise<void>;
  onFailed: (still: GivenUp) => void;
  onBack: (model: InstalledModel) => void;
}): SecondChance {
  const { firstMs, maxMs } = options.delays ?? DEFAULT_DELAYS;
  let waiting: GivenUp | null = null;
  let timer: NodeJS.Timeout | undefined;
  /** The model of the last attempts, how many there were, and when it came back (performance.now()). */
  let history = { id: '', attempts: 0, backAt: 0 };

  function plan(model: InstalledModel, reason: string): GivenUp {
    clearTimeout(timer);
    const { id } = model.manifest;
    const cured = history.backAt > 0 && performance.now() - history.backAt > LASTING_MS;
    if (history.id !== id || cured) history = { id, attempts: 0, backAt: 0 };
    const delayMs = Math.min(maxMs, firstMs * 2 ** Math.min(history.attempts, 30));
    const planned: GivenUp = { model, reason, retryAtMs: Date.now() + delayMs };
    waiting = planned;
    timer = setTimeout(() => void attempt(planned), delayMs);
    timer.unref();
    return planned;
  }

  async function attempt(planned: GivenUp): Promise<void> {
    const before = history;
    history = { ...before, attempts: before.attempts + 1 };
    try {
      await options.attempt(planned.model);
    } catch (error) {
      if (waiting !== planned) return;
      const untried = NOT_THE_MODEL.has(codeOf(error));
      if (untried) history = before;
      const still = plan(planned.model, untried ? planned.reason : messageOf(error));
      if (!untried) options.onFailed(still);
      return;
    }
    if (waiting !== planned) return;
    waiting = null;
    history = { ...history, backAt: performance.now() };
    options.onBack(planned.model);
  }

  return {
    get waiting() {
      return waiting;
    },
    givenUp: plan,
    callOff() {
      clearTimeout(timer);
      waiting = null;
      history = { id: '', attempts: 0, backAt: 0 };
    },
  };
}
