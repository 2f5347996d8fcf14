import { createBackoff } from '../common/backoff.js';
import { SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { reasonOf, type OutboxStore } from './outbox-store.js';

/** Has the store open as long as the disk works, and opens it again when the disk works again. */
export interface StoreKeeper {
  /** Null while it is not open. */
  readonly store: OutboxStore | null;
  /** The store takes writes. Where it does not, events are read from memory. */
  readonly healthy: boolean;
  /**
   * The first attempt. Resolves also where the disk cannot be used now; rejects with the SoundpostError that says that
   * it never can be.
   */
  start(): Promise<void>;
  /** The disk has failed: from now on, and until it works again, there is no writing. */
  fail(error: unknown): void;
  /** No further attempt is begun. */
  stop(): void;
  /**
   * After `stop()`: waits for an attempt that is being made, writes what can be written, and closes.
   * @param owes what has not been written: `memory`, for which a last attempt is made; `anything`, also what may be lost
   */
  finish(owes: { memory: () => boolean; anything: () => boolean }): Promise<void>;
}

/** What the owner of a store does about it. */
export interface StoreCare {
  /** Opens the store. */
  open: () => Promise<OutboxStore>;
  /** Before it is opened again, and the one before is closed. Rejects where the disk does not work yet. */
  prepare: () => Promise<void>;
  /** Takes over a store that has just been opened; it is closed where this rejects. */
  adopt: (opened: OutboxStore) => Promise<void>;
  /** Writes what waits in memory; never rejects, but says `fail`. */
  catchUp: () => Promise<void>;
  onFail: () => void;
  /** What waited is on the disk. */
  onBack: () => void;
}

/** @param timing growing delays between attempts, in ms */
export function createStoreKeeper(options: {
  folder: string;
  timing: { firstRetryMs: number; maxRetryMs: number };
  care: StoreCare;
  log: Logger;
}): StoreKeeper {
  const { folder, timing, care, log } = options;
  const backoff = createBackoff({ firstMs: timing.firstRetryMs, maxMs: timing.maxRetryMs });
  let store: OutboxStore | null = null;
  let healthy = false;
  let stopped = false;
  let recovering: Promise<void> | null = null;
  /** Not null from a failure until the disk works again. */
  let retryTimer: NodeJS.Timeout | null = null;

  function fail(error: unknown): void {
    healthy = false;
    if (stopped || retryTimer !== null) return;
    log.warn(
      { code: 'outbox_disk' },
      `The outbox ${folder} cannot be used (${reasonOf(error)}): events are sent all the same, but those that wait for the broker are lost if the service ends meanwhile. Check that the disk has room and that this user may write there.`,
    );
    care.onFail();
    retryLater();
  }

  function retryLater(): void {
    retryTimer = setTimeout(() => {
      recovering = recover()
        .then(
          () => {
            log.info({}, `The outbox ${folder} works again; what waited in memory is on the disk`);
            backoff.reset();
            retryTimer = null;
          },
          (error: unknown) => {
            log.debug({ err: error }, `The outbox ${folder} still cannot be used: ${reasonOf(error)}`);
            if (!stopped) retryLater();
          },
        )
        .finally(() => (recovering = null));
    }, backoff.next());
  }

  /**
   * Opens the store again. After a write that failed there is no other way: the file may end in half of it, and it is
   * not known what of it arrived.
   */
  async function recover(): Promise<void> {
    await care.prepare();
    const before = store;
    store = null;
    await before?.close();
    await adopt(await care.open());
    await care.catchUp();
    if (!healthy) throw new Error('what waits in memory cannot be written');
    care.onBack();
  }

  async function adopt(opened: OutboxStore): Promise<void> {
    try {
      await care.adopt(opened);
    } catch (error) {
      await opened.close();
      throw error;
    }
    store = opened;
    healthy = true;
  }

  return {
    get store() {
      return store;
    },
    get healthy() {
      return healthy;
    },
    start: () =>
      care
        .open()
        .then(adopt)
        .then(() => care.catchUp())
        .catch((error: unknown) => {
          if (error instanceof SoundpostError) throw error;
          fail(error);
        }),
    fail,
    stop() {
      stopped = true;
      clearTimeout(retryTimer ?? undefined);
    },
    async finish(owes) {
      await recovering;
      if (!healthy && owes.memory()) await recover().catch(() => undefined);
      while (healthy && owes.anything()) await care.catchUp();
      await store?.close();
    },
  };
}
