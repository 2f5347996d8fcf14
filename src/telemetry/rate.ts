/** Measures how many windows a second are served. */
export interface RateMeter {
  /** A window was served. */
  window(nowMs: number): void;
  /** Hz since the last call; null as long as no two windows were served. */
  measure(nowMs: number): number | null;
  /** After a pause: the silence before does not count. */
  reset(): void;
}

/**
 * Counts windows and the time between them, so that the rate is exact however the interval of the measurements
 * falls (1 Hz in 30 s is 1.000, not 29/30 or 31/30). Where an interval sees no window the rate is the last one
 * as long as that may still hold, and then what the wait since the last window still allows: at 0.01 Hz most
 * intervals are empty and the rate stays 0.01; of a service that hangs it goes to 0. The caller gives the clock:
 * milliseconds that do not run backwards.
 */
export function createRateMeter(): RateMeter {
  let anchorMs: number | null = null;
  let lastMs: number | null = null;
  let count = 0;
  let rate: number | null = null;
  const reset = () => {
    anchorMs = null;
    lastMs = null;
    count = 0;
    rate = null;
  };
  return {
    window(nowMs) {
      if (anchorMs === null) anchorMs = nowMs;
      else count += 1;
      lastMs = nowMs;
    },
    measure(nowMs) {
      if (anchorMs === null || lastMs === null) return null;
      if (count > 0 && lastMs > anchorMs) rate = (1000 * count) / (lastMs - anchorMs);
      else if (rate !== null && nowMs > lastMs) rate = Math.min(rate, 1000 / (nowMs - lastMs));
      anchorMs = lastMs;
      count = 0;
      return rate;
    },
    reset,
  };
}
