/** What is known of the temperature, told from what a sensor says. */
export interface ReadingState {
  /** The last reading that was believed, °C, and when it came; null before the first. */
  last: { celsius: number; atMs: number } | null;
  /** A reading too far from the last one, which the next may confirm. */
  doubtful: number | null;
}

/**
 * What a chip that runs can have: below −30 °C and above 125 °C is a sensor that fails (0xFF, −40 and 1000 are what
 * broken ones say). The BCM2711's own limit is 85 °C and its kernel driver shuts the board down at 110 °C.
 */
const LOWEST_C = -30;
const HIGHEST_C = 125;
/**
 * Between two readings 5 s apart the temperature of a bare chip under a new load rises by about 10 °C at the most
 * (Raspberry Pi 5 without a cooler; 0.3 °C a second once the first seconds are over). More is a glitch until it is
 * confirmed.
 */
const JUMP_C = 15;
/** So old a reading says nothing on how far the next may be. */
const STALE_MS = 60_000;

export const noReading: ReadingState = { last: null, doubtful: null };

/**
 * Decides whether a reading is believed. Not a number, out of the range of a chip that runs, or a jump from the last
 * one: not. A jump is believed when the next reading is near it, too.
 */
export function acceptReading(
  state: ReadingState,
  celsius: number | null,
  nowMs: number,
): { state: ReadingState; accepted: number | null } {
  if (celsius === null || !(celsius > LOWEST_C && celsius <= HIGHEST_C)) return { state, accepted: null };
  const { last, doubtful } = state;
  const jumps = last !== null && nowMs - last.atMs <= STALE_MS && Math.abs(celsius - last.celsius) > JUMP_C;
  const confirmed = doubtful !== null && Math.abs(celsius - doubtful) <= JUMP_C;
  if (jumps && !confirmed) return { state: { last, doubtful: celsius }, accepted: null };
  return { state: { last: { celsius, atMs: nowMs }, doubtful: null }, accepted: celsius };
}
