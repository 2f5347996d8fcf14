import { setTimeout as delay } from 'node:timers/promises';

/*
 * Waiting with a deadline and a message. What tells of its changes is waited for with `createWaiting`; what tells
 * nobody, such as a file or /proc, is looked at again and again by `until`.
 */

/** Between two looks at what tells nobody when it changes. */
const LOOK_MS = 50;

/** What is waited for; a function where the message is to say how far it has come. */
export type What = string | (() => string);

function notWithin(what: What, seconds: number): Error {
  return new Error(`not within ${seconds} s: ${typeof what === 'string' ? what : what()}`);
}

/**
 * Resolves with the seconds it took until `fits` holds, or with null where it does not within `seconds`; what `fits`
 * throws is no answer and comes through.
 */
export async function secondsUntil(
  fits: () => boolean | Promise<boolean>,
  seconds: number,
  lookMs = LOOK_MS,
): Promise<number | null> {
  const begun = performance.now();
  for (;;) {
    if (await fits()) return (performance.now() - begun) / 1000;
    if (performance.now() - begun > seconds * 1000) return null;
    await delay(lookMs);
  }
}

/** Like `secondsUntil`, but rejects with `what` where it does not come about. */
export async function until(
  fits: () => boolean | Promise<boolean>,
  what: What,
  seconds: number,
  lookMs = LOOK_MS,
): Promise<number> {
  const took = await secondsUntil(fits, seconds, lookMs);
  if (took === null) throw notWithin(what, seconds);
  return took;
}

/** For what tells of its changes. */
export interface Waiting {
  /** To be called after each change. */
  readonly wake: () => void;
  /** Resolves once `fits` holds; rejects with `what` where it does not within `seconds`, and with what it throws. */
  readonly until: (fits: () => boolean, what: What, seconds: number) => Promise<void>;
}

export function createWaiting(): Waiting {
  const looks = new Set<() => void>();
  return {
    wake() {
      for (const look of [...looks]) look();
    },
    until: (fits, what, seconds) =>
      new Promise((resolve, reject) => {
        const end = (settle: () => void): void => {
          clearTimeout(timer);
          looks.delete(look);
          settle();
        };
        const look = (): void => {
          try {
            if (fits()) end(resolve);
          } catch (error) {
            end(() => reject(error instanceof Error ? error : new Error(String(error))));
          }
        };
        const timer = setTimeout(() => end(() => reject(notWithin(what, seconds))), seconds * 1000);
        looks.add(look);
        look();
      }),
  };
}
