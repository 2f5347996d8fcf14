import type { Config } from '../../config/schema.js';
import { persistence, type StateStore } from '../../config/state-store.js';
import type { Pipeline } from '../../inference/pipeline.js';
import type { ServiceControl } from '../../mqtt/command-table.js';
import type { RateMeter } from '../../telemetry/rate.js';
import type { Announcer } from '../announcer.js';
import type { StateHolder } from '../state.js';
import type { TelemetryLoop } from '../telemetry.js';
import type { ThermalControl } from '../thermal.js';

/** The commands that say how often the service listens, infers and tells of itself. */
export function createPaceCommands(options: {
  config: Config;
  pipeline: Pick<Pipeline, 'sources'>;
  announcer: Pick<Announcer, 'close'>;
  telemetry: Pick<TelemetryLoop, 'setInterval'>;
  thermal: Pick<ThermalControl, 'request'>;
  rate: Pick<RateMeter, 'reset'>;
  state: StateHolder;
  store: Pick<StateStore, 'set'>;
}): Pick<ServiceControl, 'setRate' | 'setPaused' | 'setTelemetryInterval'> & {
  /** Calls off the end of a pause. */
  stop(): void;
} {
  const { config, pipeline, announcer, telemetry, thermal, rate, state, store } = options;
  let resumeTimer: NodeJS.Timeout | null = null;

  function cancelResume(): void {
    if (resumeTimer !== null) clearTimeout(resumeTimer);
    resumeTimer = null;
  }

  function applyPause(paused: boolean): void {
    cancelResume();
    for (const source of pipeline.sources) source.setPaused(paused);
    rate.reset();
    if (paused) announcer.close();
    state.change({ paused });
  }

  return {
    async setRate(hz) {
      thermal.request(hz);
      rate.reset();
      const saved = await store.set('rate_hz', hz, config.inference.rate_hz);
      return { rate_hz: hz, effective_rate_hz: state.now.effective_rate_hz, ...persistence(saved) };
    },

    async setPaused(paused, seconds) {
      applyPause(paused);
      if (paused && seconds !== undefined) {
        // A pause with an end is not remembered: after a restart nobody would end it.
        resumeTimer = setTimeout(() => applyPause(false), seconds * 1000);
        const saved = await store.set('paused', false, false);
        return { paused, seconds, ...persistence(saved) };
      }
      const saved = await store.set('paused', paused, false);
      return { paused, ...persistence(saved) };
    },

    async setTelemetryInterval(seconds) {
      telemetry.setInterval(seconds);
      state.change({ telemetry_interval_seconds: seconds });
      const saved = await store.set('telemetry_interval', seconds, config.telemetry.interval_seconds);
      return { interval_seconds: seconds, ...persistence(saved) };
    },

    stop: cancelResume,
  };
}
