import { createBucket } from '../common/bucket.js';

/** Keeps sound that comes faster than it sounds from taking the time of everything else in the process. */
export interface Pace {
  /** So many seconds of sound have come. Returns how long (ms) the source is to be held back; 0: not at all. */
  take(seconds: number): number;
}

/**
 * A source may be ahead of the clock by `burstSeconds`, and behind by as much without losing the right to catch up:
 * streams begin with what they kept, and go on in jerks. What is more comes at `speed` at most.
 * @param options.speed 1: as fast as it sounds. A little more, for no clock goes exactly like another
 * @param options.onTooFast called once, when it is held back for the first time
 * @param options.now a monotonic clock, ms
 */
export function createPace(options: {
  burstSeconds: number;
  speed: number;
  onTooFast: () => void;
  now?: () => number;
}): Pace {
  const burstMs = 1000 * options.burstSeconds;
  // In ms of sound: half full where the source is in time, full where it is behind, empty where it is ahead.
  const bucket = createBucket(1000 * options.speed, 2 * burstMs, options.now);
  bucket.take(burstMs);
  let isTold = false;
  return {
    take(seconds) {
      bucket.take(1000 * seconds);
      const waitMs = bucket.waitMs();
      if (waitMs > 0 && !isTold) {
        isTold = true;
        options.onTooFast();
      }
      return waitMs;
    },
  };
}
