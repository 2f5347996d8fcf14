import type { End } from './connect-once.js';
import type { Failure } from './failure.js';
import type { ReconnectPolicy } from './reconnect.js';
import type { Hold } from './suspects.js';

/** A connection is over, or could not be had. */
export interface Ended {
  /** The place of its address in the list. */
  readonly address: number;
  /** The reason to tell. */
  readonly cause: Failure;
  readonly wasConnected: boolean;
  /** What is held from now on. */
  readonly held: Hold | null;
}

/**
 * One connection after the other until the signal fires; resolves when the last one is over.
 * @param connect one connection to the address that the policy names, until its end; see `connectOnce`
 * @param ended told of an end before the wait for the next attempt
 */
export async function keepConnected(options: {
  policy: ReconnectPolicy;
  connect: () => Promise<End>;
  ended: (end: Ended) => void;
  signal: AbortSignal;
}): Promise<void> {
  const { policy, connect, ended, signal } = options;
  const isOver = (): boolean => signal.aborted;
  await pause(policy.beforeFirst(), signal);
  while (!isOver()) {
    const { address } = policy;
    const { failure, heldMs, suspected, held, atOnce, stay } = await connect();
    if (isOver()) return;
    if (atOnce) continue;
    const { cause, delayMs } = policy.after(failure, heldMs, { suspected, found: held !== null, stay });
    ended({ address, cause, wasConnected: heldMs > 0, held });
    await pause(delayMs, signal);
  }
}

/** Waits, in ms; less where the signal fires. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted || ms <= 0) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
