import { createBackoff, createRestartPolicy } from '../common/backoff.js';
import { codeOf } from '../common/errors.js';

/** What is to be done after an engine has failed. */
export interface Verdict {
  /** The model has failed too often: another one is to stand in, where there is one. */
  readonly giveUp: boolean;
  /** How long to wait before the next start. */
  readonly delayMs: number;
}

/** Judges the failures of the wanted model's engine. Pure: the caller reads the clock, and acts. */
export interface FailurePolicy {
  /**
   * The engine failed or died.
   * @param nowMs milliseconds that do not run backwards
   */
  judge(error: unknown, nowMs: number): Verdict;
  /** It has answered. */
  answered(): void;
  /** An engine could be started again. */
  started(): void;
  /** Another model is wanted: what failed before says nothing of it. */
  begin(): void;
}

/** A model that has not answered a single window in so many lives is given up sooner than the policy says. */
const FAILURES_BEFORE_FALLBACK = 3;
/**
 * So many hangs in so long, and a model is given up. One may be the machine's doing, a moment of overload; a process
 * that was stopped from outside does not count as one (see engine-process.ts). Each is a quarter of a minute and more
 * without an answer.
 */
const HANGS_BEFORE_FALLBACK = 2;
const HANGS_WITHIN_MS = 10 * 60_000;
/** Waits where the machine has no process to give: that is not the model's fault, and may pass at any moment. */
const SHORTAGE_DELAYS = { firstMs: 500, maxMs: 15_000 };
const RESTART_DELAYS = { firstMs: 500, maxMs: 30_000 };

/** @param delays how long to wait before an engine that died is started again */
export function createFailurePolicy(
  delays: { firstMs: number; maxMs: number } = RESTART_DELAYS,
): FailurePolicy {
  const policy = createRestartPolicy(createBackoff(delays));
  const shortageDelays = createBackoff(SHORTAGE_DELAYS);
  let failuresWithoutAnswer = 0;
  /** When the wanted model hung. */
  let hangs: number[] = [];

  function hungTooOften(error: unknown, nowMs: number): boolean {
    if (codeOf(error) !== 'inference_timeout') return false;
    hangs = [...hangs.filter((at) => nowMs - at < HANGS_WITHIN_MS), nowMs];
    return hangs.length >= HANGS_BEFORE_FALLBACK;
  }

  return {
    judge(error, nowMs) {
      if (codeOf(error) === 'no_resources') return { giveUp: false, delayMs: shortageDelays.next() };
      failuresWithoutAnswer += 1;
      const { delayMs, exhausted } = policy.onDeath(nowMs);
      const giveUp =
        hungTooOften(error, nowMs) || exhausted || failuresWithoutAnswer >= FAILURES_BEFORE_FALLBACK;
      return { giveUp, delayMs };
    },
    answered() {
      failuresWithoutAnswer = 0;
    },
    started: () => shortageDelays.reset(),
    begin() {
      failuresWithoutAnswer = 0;
      hangs = [];
    },
  };
}
