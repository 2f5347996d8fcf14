/** A wall clock that moves so much more or less than time passes was set; what a time server does gently is less. */
const STEP_MS = 1_000;

/** Notices that the wall clock was set, or that the machine slept. Pure: the caller reads the clocks. */
export interface ClockWatch {
  /**
   * By how many milliseconds the wall clock has jumped since the last look (negative: back); 0 where it has not.
   * @param wallMs since the epoch (`Date.now()`)
   * @param steadyMs of a clock that is never set and stands still while the machine sleeps (`performance.now()`)
   */
  look(wallMs: number, steadyMs: number): number;
}

export function createClockWatch(): ClockWatch {
  /** The one clock less the other at the last look: between two looks drift is nothing. */
  let offset: number | null = null;
  return {
    look(wallMs, steadyMs) {
      const now = wallMs - steadyMs;
      const jumped = offset === null ? 0 : now - offset;
      offset = now;
      return Math.abs(jumped) > STEP_MS ? jumped : 0;
    },
  };
}
