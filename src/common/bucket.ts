import { performance } from 'node:perf_hooks';

/** A bucket that fills with time and is emptied by use; it may be overdrawn once. */
export interface Bucket {
  take(amount: number): void;
  /** How long until something can be taken, in ms; 0: now. */
  waitMs(): number;
  /** How much is missing to the brim. */
  spent(): number;
}

export function createBucket(perSecond: number, burst: number, now = () => performance.now()): Bucket {
  let level = burst;
  let at = now();
  const fill = () => {
    const time = now();
    level = Math.min(burst, level + ((time - at) / 1000) * perSecond);
    at = time;
  };
  return {
    take(amount) {
      fill();
      level -= amount;
    },
    waitMs() {
      fill();
      return level > 0 ? 0 : Math.ceil((1000 * (1 - level)) / perSecond);
    },
    spent() {
      fill();
      return burst - level;
    },
  };
}
