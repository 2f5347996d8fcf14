/** How long to wait before the next attempt; grows with each call until `reset()`. */
export interface Backoff {
  /** Milliseconds to wait before the next attempt. */
  next(): number;
  /** To be called after a success that lasted. */
  reset(): void;
}

/**
 * Exponential backoff for what this machine has to itself (its microphone, its child processes): each delay is
 * drawn from [base/2, base), base doubling from `firstMs` to `maxMs`. Nobody else comes back at the same moment,
 * so the delays are short and the jitter is small. For what a crowd shares: `createCrowdBackoff`.
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

/** How many times `firstMs` the first delay of a crowd may last; from then on it doubles. */
const FIRST_SPREAD = 4;

/**
 * Exponential backoff for what a crowd shares (a broker): delay n is drawn evenly from
 * [firstMs, min(maxMs, firstMs * 4 * 2^n)). This is "full jitter" (Marc Brooker, "Exponential Backoff And Jitter",
 * AWS Architecture Blog, 2015) above a floor. Why this one:
 * - Everyone loses a broker at the same instant, so the first delay decides how big the first wave is. "Equal
 *   jitter" (drawn from the upper half) would squeeze it into the last half second before `firstMs`.
 * - "Decorrelated jitter" cuts what is above `maxMs` down to exactly `maxMs`: in a long outage most of the crowd
 *   would wait the same time. Here no single delay is likelier than another.
 * - Without the floor a broker that closes at once would be asked again at once.
 *
 * Where the attempts go to `targets` brokers in turn, the end doubles once for each round: none of them is asked more
 * often than if it were alone.
 */
export function createCrowdBackoff(options: {
  firstMs: number;
  maxMs: number;
  random?: () => number;
  /** How many brokers there are to try in turn; 1 by default. */
  targets?: number;
}): Backoff {
  const { firstMs, maxMs, random = Math.random, targets = 1 } = options;
  let attempt = 0;
  return {
    next() {
      const end = Math.min(maxMs, firstMs * FIRST_SPREAD * 2 ** Math.min(Math.floor(attempt / targets), 30));
      attempt += 1;
      const floor = Math.min(firstMs, end);
      return floor + random() * (end - floor);
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
