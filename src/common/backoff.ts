/** How long to wait before the next attempt; grows with each call until `reset()`. */
export interface Backoff {
  /** Milliseconds to wait before the next attempt. */
  next(): number;
  /** To be called after a success that lasted. */
  reset(): void;
}

/**
 * Exponential backoff with full-range jitter around the upper half: each delay is drawn from
 * [base/2, base), base doubling from `firstMs` to `maxMs`. The jitter keeps a fleet from coming back in step.
 */
export function createBackoff(options: { firstMs: number; maxMs: number; random?: () => number }): Backoff {
  const random = options.random ?? Math.random;
  let attempt = 0;
  return {
    next() {
      const base = Math.min(options.maxMs, options.firstMs * 2 ** Math.min(attempt, 30));
      attempt += 1;
      return base / 2 + (random() * base) / 2;
    },
    reset() {
      attempt = 0;
    },
  };
}

/**
 * Decides when a child that dies has used up its quick restarts: at most `limit` starts in `windowMs`, then
 * one a minute. Pure: the caller gives the clock.
 */
export function createRestartPolicy(
  backoff: Backoff,
  options: { limit: number; windowMs: number; slowMs: number } = {
    limit: 5,
    windowMs: 60_000,
    slowMs: 60_000,
  },
): { onDeath(nowMs: number): { delayMs: number; exhausted: boolean } } {
  let deaths: number[] = [];
  return {
    onDeath(nowMs) {
      deaths = deaths.filter((at) => nowMs - at < options.windowMs);
      if (deaths.length === 0) backoff.reset();
      deaths.push(nowMs);
      const exhausted = deaths.length >= options.limit;
      return { delayMs: exhausted ? options.slowMs : backoff.next(), exhausted };
    },
  };
}
