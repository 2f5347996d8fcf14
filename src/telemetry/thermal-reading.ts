/** What is known of the temperature, told from what a sensor says. */
export interface ReadingState {
  /** The last reading that was believed, °C, and when it came; null before the first. */
  readonly last: { readonly celsius: number; readonly atMs: number } | null;
  /** Since when readings have been near the last one, without a jump, ms. */
  readonly levelSinceMs: number;
  /** When the last reading came that a chip may have, believed or not, ms. */
  readonly seenAtMs: number;
  /** Readings too far from the last one that was believed; null where there are none. */
  readonly doubt: Doubt | null;
}

interface Doubt {
  /** The newest of them, °C. */
  readonly celsius: number;
  readonly sinceMs: number;
  /** So long they must last to be believed, ms. */
  readonly patienceMs: number;
}

/**
 * What a chip that runs can have: below −30 °C and above 125 °C is a sensor that fails (0xFF, −40 and 1000 are what
 * broken ones say). The BCM2711's own limit is 85 °C and its kernel driver shuts the board down at 110 °C.
 */
const LOWEST_C = -30;
const HIGHEST_C = 125;
/**
 * Between two readings 5 s apart the temperature of a bare chip under a new load rises by about 10 °C at the most
 * (Raspberry Pi 5 without a cooler; 0.3 °C a second once the first seconds are over), and it falls no faster. More is
 * a glitch until it is confirmed.
 */
const JUMP_C = 15;
/** So old a reading says nothing on how far the next may be. */
const STALE_MS = 60_000;
/**
 * No chip cools by more than `JUMP_C` at once: where readings fall like that, either these are wrong or those before
 * were. They are believed when they have lasted as long as those before did, within these bounds. (Upwards the next
 * reading is enough: to believe it costs windows, not heat.)
 */
const FALL_SHORTEST_MS = 60_000;
const FALL_LONGEST_MS = 15 * 60_000;

export const noReading: ReadingState = { last: null, levelSinceMs: 0, seenAtMs: -Infinity, doubt: null };

/** Whether the temperature went from one to the other by more than a chip can between two readings. */
export function isJump(fromC: number, toC: number): boolean {
  return Math.abs(toC - fromC) > JUMP_C;
}

/**
 * Decides whether a reading is believed. Not a number, out of the range of a chip that runs, or a jump from the last
 * one: not. A jump upwards is believed when the next reading is near it, a jump downwards when it lasts (a minute, up
 * to 15 where what it contradicts had lasted long).
 */
export function acceptReading(
  state: ReadingState,
  celsius: number | null,
  nowMs: number,
): { state: ReadingState; accepted: number | null } {
  if (celsius === null || !(celsius > LOWEST_C && celsius <= HIGHEST_C)) return { state, accepted: null };
  const { last, doubt } = state;
  const believe = (levelSinceMs: number) => ({
    state: { last: { celsius, atMs: nowMs }, levelSinceMs, seenAtMs: nowMs, doubt: null },
    accepted: celsius,
  });
  if (last === null) return believe(nowMs);
  if (!isJump(last.celsius, celsius) && !(doubt !== null && isCloser(celsius, doubt.celsius, last.celsius))) {
    return believe(state.levelSinceMs);
  }
  if (nowMs - state.seenAtMs > STALE_MS) return believe(nowMs);
  if (doubt === null || isJump(doubt.celsius, celsius)) {
    const patienceMs = celsius > last.celsius ? 0 : fallPatienceMs(state, last.atMs, nowMs);
    return {
      state: { ...state, seenAtMs: nowMs, doubt: { celsius, sinceMs: nowMs, patienceMs } },
      accepted: null,
    };
  }
  if (celsius > last.celsius || nowMs - doubt.sinceMs >= doubt.patienceMs) return believe(doubt.sinceMs);
  return { state: { ...state, seenAtMs: nowMs, doubt: { ...doubt, celsius } }, accepted: null };
}

/** Whether it goes on from the one rather than from the other: wrong readings that rise stay wrong. */
function isCloser(celsius: number, oneC: number, otherC: number): boolean {
  return Math.abs(celsius - oneC) < Math.abs(celsius - otherC);
}

/** Another jump after a long doubt: the chip had time to cool meanwhile, and the next reading is enough. */
function fallPatienceMs({ levelSinceMs }: ReadingState, lastAtMs: number, nowMs: number): number {
  if (nowMs - lastAtMs > STALE_MS) return 0;
  return Math.min(FALL_LONGEST_MS, Math.max(FALL_SHORTEST_MS, lastAtMs - levelSinceMs));
}
