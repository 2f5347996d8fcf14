import type { Logger } from '../common/log.js';
import { createSuppressor } from '../common/suppress.js';
import type { ThermalDecision } from '../telemetry/thermal.js';

/** Says in the log when the rate is held down, and when it is no more. */
export interface ThermalNews {
  /**
   * Says what of a decision is news.
   * @param rateHz the wished rate as `B/state` has it
   */
  tell(decision: ThermalDecision, rateHz: number): void;
}

/** Entering and leaving are told at most once in this time each; `B/state` always tells. */
const REPEAT_MS = 15 * 60_000;

/** @param now milliseconds that do not run backwards */
export function createThermalNews(log: Logger, now: () => number): ThermalNews {
  const suppressor = createSuppressor({ intervalMs: REPEAT_MS });
  let told: { cause: ThermalDecision['cause']; blind: boolean } = { cause: null, blind: false };

  /** Says a thing, unless it was said lately. */
  function say(code: string, key: string, message: string): void {
    const verdict = suppressor.offer(key, now());
    if (!verdict.pass) return;
    const repeats = verdict.repeats > 0 ? ` (${verdict.repeats} more times before, not logged)` : '';
    log.warn({ code }, message + repeats);
  }

  return {
    tell({ cause, blind, effectiveHz, throttle }, rateHz) {
      if (cause !== null && cause !== told.cause) {
        const rates = `${effectiveHz} Hz in place of ${rateHz} Hz`;
        say('throttled', cause, `Inferring less often because ${throttle.reason ?? cause}: ${rates}`);
      } else if (cause === null && told.cause !== null) {
        say('throttle_over', 'over', `Inferring at ${effectiveHz} Hz again`);
      }
      if (blind && !told.blind) {
        say(
          'sensor_lost',
          'blind',
          'The temperature sensor of the processor gives no sensible reading any more',
        );
      }
      told = { cause, blind };
    },
  };
}
