import { performance } from 'node:perf_hooks';
import type { Logger } from '../common/log.js';
import type { Config } from '../config/schema.js';
import type { Pipeline, PipelineSource } from '../inference/pipeline.js';
import type { SourceCounters } from '../inference/source-feed.js';
import { readHeat } from '../telemetry/soc.js';
import type { FirmwareFlags } from '../telemetry/thermal-flags.js';
import { startThermal, stepThermal, type ThermalDecision, type ThermalInput } from '../telemetry/thermal.js';
import type { StateHolder } from './state.js';
import { createThermalNews } from './thermal-news.js';

/** Keeps the processor cool: applies to the pipeline the rate that the heat allows, below the one that is wished. */
export interface ThermalControl {
  start(): void;
  /** The user's wish in Hz. Applies what is possible of it and shows both in `B/state`. */
  request(rateHz: number): void;
  stop(): void;
}

/** Some twenty small files; about 1 ms of CPU. */
const READ_INTERVAL_MS = 5_000;
/** A jump is looked at again this soon. */
const CONFIRM_MS = 1_000;
/** Over so many readings it is judged whether the machine keeps up. */
const PACE_READINGS = 6;

export function createThermalControl(options: {
  config: Config;
  /** Leave the rate as it is wished, as with `thermal.enabled: false`. */
  isIdle?: boolean;
  pipeline: Pick<Pipeline, 'setRate'> & { readonly sources: readonly Pick<PipelineSource, 'counters'>[] };
  state: StateHolder;
  log: Logger;
  /** Milliseconds that do not run backwards. */
  now?: () => number;
}): ThermalControl {
  const { config, pipeline, state, log } = options;
  const now = options.now ?? (() => performance.now());
  const { thermal, telemetry } = config;
  const isOn = thermal.enabled && options.isIdle !== true;
  const settings = {
    softLimitC: thermal.soft_limit_c,
    hardLimitC: thermal.hard_limit_c,
    minRateHz: thermal.min_rate_hz,
  };
  const news = createThermalNews(log, now);
  const pace = createPace();
  let governor = startThermal(state.now.rate_hz, now());
  let flags: FirmwareFlags | null = null;
  let timer: NodeJS.Timeout | null = null;
  let isRunning = false;

  const step = (requestedHz: number, reading: Pick<ThermalInput, 'temperatureC' | 'flags'>) => {
    const next = stepThermal(
      governor,
      { nowMs: now(), requestedHz, ...reading, achievedHz: pace.achievedHz() },
      settings,
    );
    governor = next.state;
    return next.decision;
  };

  const apply = (
    requestedHz: number,
    { effectiveHz, throttle }: Pick<ThermalDecision, 'effectiveHz' | 'throttle'>,
  ) => {
    const { rate_hz, effective_rate_hz, throttle: shown } = state.now;
    if (effectiveHz !== effective_rate_hz) pipeline.setRate(effectiveHz);
    if (
      requestedHz !== rate_hz ||
      effectiveHz !== effective_rate_hz ||
      throttle.active !== shown.active ||
      throttle.reason !== shown.reason
    ) {
      state.change({ rate_hz: requestedHz, effective_rate_hz: effectiveHz, throttle });
    }
  };

  const read = async (): Promise<number> => {
    const reading = await readHeat({ sysRoot: telemetry.sys_root });
    if (!isRunning) return READ_INTERVAL_MS;
    flags = reading.flags;
    if (state.now.paused) pace.reset();
    else
      pace.add(
        now(),
        pipeline.sources.map((source) => source.counters()),
      );
    const decision = step(state.now.rate_hz, reading);
    apply(state.now.rate_hz, decision);
    news.tell(decision, state.now.rate_hz);
    return decision.doubtful ? CONFIRM_MS : READ_INTERVAL_MS;
  };

  const again = (delayMs: number) => {
    if (!isRunning) return;
    timer = setTimeout(() => {
      read().then(again, (error: unknown) => {
        log.error({ code: 'thermal', err: error }, 'The temperature could not be judged');
        again(READ_INTERVAL_MS);
      });
    }, delayMs);
  };

  return {
    start() {
      if (!isOn || isRunning) return;
      isRunning = true;
      again(0);
    },
    request(rateHz) {
      pace.reset();
      if (!isOn) {
        apply(rateHz, { effectiveHz: rateHz, throttle: { active: false, reason: null } });
        return;
      }
      // Without a temperature: the last one read again would confirm itself.
      const decision = step(rateHz, { temperatureC: null, flags });
      apply(rateHz, decision);
      news.tell(decision, state.now.rate_hz);
    },
    stop() {
      isRunning = false;
      if (timer !== null) clearTimeout(timer);
      timer = null;
    },
  };
}

type Counts = Pick<SourceCounters, 'processed' | 'dropped'>;

/** Tells what the machine manages of each source where that is less than it is asked for. */
function createPace() {
  let seen: { atMs: number; counts: readonly Counts[] }[] = [];
  return {
    add(atMs: number, counts: readonly Counts[]) {
      seen = [...seen.slice(1 - PACE_READINGS), { atMs, counts }];
    },
    /** Windows a second of a source that were answered, where one in five or more was dropped; else null. */
    achievedHz(): number | null {
      const [first, last] = [seen[0], seen.at(-1)];
      if (first === undefined || last === undefined || last.atMs <= first.atMs) return null;
      const each = last.counts.map(({ processed, dropped }, source) => ({
        processed: processed - (first.counts[source]?.processed ?? 0),
        dropped: dropped - (first.counts[source]?.dropped ?? 0),
      }));
      // A source that is paused or silent asks for nothing.
      const active = each.filter(({ processed, dropped }) => processed + dropped > 0);
      const processed = active.reduce((sum, counts) => sum + counts.processed, 0);
      const dropped = active.reduce((sum, counts) => sum + counts.dropped, 0);
      if (processed <= 0 || dropped * 5 < processed + dropped) return null;
      return (processed * 1000) / (last.atMs - first.atMs) / active.length;
    },
    reset() {
      seen = [];
    },
  };
}
