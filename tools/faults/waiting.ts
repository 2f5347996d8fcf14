import { setTimeout as delay } from 'node:timers/promises';

/** Between two looks at something that tells nobody when it changes, such as /proc. */
const LOOK_MS = 100;

/**
 * Resolves with the seconds it took until `fits` holds, and rejects with `what` after `seconds`.
 * For what cannot be awaited as an event; everything here has a deadline.
 */
export async function until(
  fits: () => boolean | Promise<boolean>,
  what: string,
  seconds: number,
): Promise<number> {
  const begun = performance.now();
  for (;;) {
    if (await fits()) return (performance.now() - begun) / 1000;
    if (performance.now() - begun > seconds * 1000) throw new Error(`not within ${seconds} s: ${what}`);
    await delay(LOOK_MS);
  }
}

/** Like `until`, but null where it does not come about. */
export async function secondsUntil(
  fits: () => boolean | Promise<boolean>,
  seconds: number,
): Promise<number | null> {
  return until(fits, '', seconds).catch(() => null);
}

/** A time as the table shows it. */
export const shownSeconds = (seconds: number | null): string =>
  seconds === null ? 'never' : `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
