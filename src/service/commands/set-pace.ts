import type { Config } from '../../config/schema.js';
import { persistence, type StateStore } from '../../config/state-store.js';
import type { ServiceControl } from '../../mqtt/command-table.js';
import type { Listening } from '../listening.js';
import type { StateHolder } from '../state.js';
import type { TelemetryLoop } from '../telemetry.js';
import type { ThermalControl } from '../thermal.js';
import { meant } from '../which-source.js';

/** The commands that say how often the service listens, infers and tells of itself. */
export function createPaceCommands(options: {
  config: Config;
  sources: readonly Listening[];
  telemetry: Pick<TelemetryLoop, 'setInterval'>;
  thermal: Pick<ThermalControl, 'request'>;
  state: StateHolder;
  store: Pick<StateStore, 'set'>;
}): Pick<ServiceControl, 'setRate' | 'setPaused' | 'setTelemetryInterval'> & {
  /** Calls off the ends of all pauses. */
  stop(): void;
} {
  const { config, sources, telemetry, thermal, state, store } = options;
  const resumeTimers = new Map<Listening, NodeJS.Timeout>();

  function cancelResume(source: Listening): void {
    clearTimeout(resumeTimers.get(source));
    resumeTimers.delete(source);
  }

  function applyPause(source: Listening, paused: boolean): void {
    cancelResume(source);
    source.setPaused(paused);
  }

  /**
   * Those that a pause is about. One of several that is paused without an end stays so where all of them are paused for a
   * while: whoever wanted it to be deaf has not taken that back.
   */
  function pausedBy(name: string | undefined, ends: boolean): readonly Listening[] {
    const about = meant(name, sources);
    if (!ends || name !== undefined || sources.length === 1) return about;
    return about.filter((source) => !source.state.now.paused || resumeTimers.has(source));
  }

  return {
    async setRate(hz) {
      thermal.request(hz);
      for (const { rate } of sources) rate.reset();
      const saved = await store.set('rate_hz', hz, config.inference.rate_hz);
      return { rate_hz: hz, effective_rate_hz: state.now.effective_rate_hz, ...persistence(saved) };
    },

    async setPaused(paused, seconds, name) {
      const ends = paused && seconds !== undefined;
      const about = pausedBy(name, ends);
      for (const source of about) {
        applyPause(source, paused);
        if (ends)
          resumeTimers.set(
            source,
            setTimeout(() => applyPause(source, false), seconds * 1000),
          );
      }
      // A pause with an end is not remembered: after a restart nobody would end it.
      const saves = about.map((source) => source.store.set('paused', ends ? false : paused, false));
      const saved = (await Promise.all(saves)).every(Boolean);
      return { paused, ...(ends && { seconds }), ...persistence(saved) };
    },

    async setTelemetryInterval(seconds) {
      telemetry.setInterval(seconds);
      state.change({ telemetry_interval_seconds: seconds });
      const saved = await store.set('telemetry_interval', seconds, config.telemetry.interval_seconds);
      return { interval_seconds: seconds, ...persistence(saved) };
    },

    stop() {
      for (const source of sources) cancelResume(source);
    },
  };
}
