/** When the next piece of sound is due, for sound that could come faster than it sounds. Pure. */
export interface PlaybackClock {
  /**
   * `seconds` of sound follow: the time (ms, of the clock that `nowMs` is read from) at which the last of them has
   * been heard. In the past where things run late.
   */
  dueMs(seconds: number, nowMs: number): number;
}

/**
 * Sound is due when it would have been heard had the first piece begun to sound when it was first asked for. The
 * time is counted from there, so that delays do not add up; what is late is caught up with at once. Behind by more
 * than `mostBehindMs` (the machine was asleep, the listener held things up) the rest is given up: time starts again.
 *
 * `speed` 1.1 lets sound pass up to a tenth faster than it sounds.
 */
export function createPlaybackClock(options: { mostBehindMs: number; speed?: number }): PlaybackClock {
  const { mostBehindMs, speed = 1 } = options;
  let startMs: number | null = null;
  let elapsedMs = 0;
  return {
    dueMs(seconds, nowMs) {
      const late = startMs !== null && nowMs - (startMs + elapsedMs) > mostBehindMs;
      if (startMs === null || late) {
        startMs = nowMs - (late ? mostBehindMs : 0);
        elapsedMs = 0;
      }
      elapsedMs += (seconds * 1000) / speed;
      return startMs + elapsedMs;
    },
  };
}
