import { setTimeout as delay } from 'node:timers/promises';

/** Between two looks at something that tells nobody when it changes, such as /proc. */
const LOOK_MS = 100;

/**
 * Resolves with the seconds it took until `fits` holds, or with null where it does not within `seconds`; what `fits`
 * throws is no answer and comes through. For what cannot be awaited as an event; everything here has a deadline.
 */
export async function secondsUntil(
  fits: () => boolean | Promise<boolean>,
  seconds: number,
): Promise<number | null> {
  const begun = performance.now();
  for (;;) {
    if (await fits()) return (performance.now() - begun) / 1000;
    if (performance.now() - begun > seconds * 1000) return null;
    await delay(LOOK_MS);
  }
}

/** Like `secondsUntil`, but rejects with `what` where it does not come about. */
export async function until(
  fits: () => boolean | Promise<boolean>,
  what: string,
  seconds: number,
): Promise<number> {
  const took = await secondsUntil(fits, seconds);
  if (took === null) throw new Error(`not within ${seconds} s: ${what}`);
  return took;
}
