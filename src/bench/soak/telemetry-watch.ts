import type { TelemetryPayload } from '../../mqtt/contract.js';
import { createDistribution } from '../models/distribution.js';
import { createRateWatch, type RateFigures } from './rates.js';
import { mergeTelemetry, telemetrySample, type TelemetrySample } from './samples.js';
import { createSeries } from './series.js';

/** Delay of the service's event loop, in ms. */
export interface LoopDelay {
  /** 95 % of the reports had a p99 of at most this. */
  p99Ms: number;
  worstP99Ms: number;
  /** The longest delay of all. */
  maxMs: number;
  reports: number;
}

/** What the service says of itself over time. */
export interface TelemetryWatch {
  add(payload: TelemetryPayload, audioSeconds: number, wallSeconds: number): void;
  readonly last: TelemetryPayload | null;
  readonly count: number;
  /** Null where the service did not measure it. */
  loopDelay(): LoopDelay | null;
  rate(): RateFigures | null;
  readings(): TelemetrySample[];
}

/** @param options.readings how many readings are kept; neighbours are merged beyond that */
export function createTelemetryWatch(options: { readings: number }): TelemetryWatch {
  const series = createSeries<TelemetrySample>({ limit: options.readings, merge: mergeTelemetry });
  const rates = createRateWatch();
  const loopP99 = createDistribution();
  let loopMaxMs = 0;
  let last: TelemetryPayload | null = null;
  let count = 0;
  return {
    add(payload, audioSeconds, wallSeconds) {
      last = payload;
      count += 1;
      series.add(telemetrySample(payload, audioSeconds, wallSeconds));
      rates.telemetry(payload.rate_hz, wallSeconds);
      const delay = payload.event_loop_ms;
      if (delay?.p99 == null) return;
      loopP99.record(delay.p99);
      loopMaxMs = Math.max(loopMaxMs, delay.max ?? 0);
    },
    get last() {
      return last;
    },
    get count() {
      return count;
    },
    loopDelay() {
      const found = loopP99.summary();
      // A mean would hide an hour of long delays in a day of short ones.
      return found === null
        ? null
        : { p99Ms: found.p95, worstP99Ms: found.max, maxMs: loopMaxMs, reports: found.count };
    },
    rate: () => rates.figures(),
    readings: () => series.readings(),
  };
}
