import { createGroupWriter } from '../common/group-writer.js';
import type { Logger } from '../common/log.js';
import { within } from '../common/within.js';
import type { EventPayload } from './contract.js';
import { createEventKeys } from './event-keys.js';
import { createLateness } from './lateness.js';
import type { Outbox } from './outbox.js';
import { writeBatch } from './outbox-batch.js';
import { createLedger, type Ledger } from './outbox-ledger.js';
import { createOutboxReader } from './outbox-reader.js';
import { createRemoval } from './outbox-removal.js';
import { checkRoom, openOutboxStore, type OutboxStore } from './outbox-store.js';
import { defaultTuning, type OutboxTuning } from './outbox-tuning.js';
import { createStoreKeeper } from './store-keeper.js';
import { createUnended } from './unended.js';
import { createWaitingEvents } from './waiting-events.js';

export interface DiskOutboxOptions {
  folder: string;
  /** Room for events, in bytes before compression. */
  maxBytes: number;
  /** Told of each `ended` that is made for a sound that was on when an earlier life broke off. */
  onMadeEnd?: (event: EventPayload) => void;
  log: Logger;
  /** Overrides for tests. */
  tuning?: Partial<OutboxTuning>;
  /** The wall clock, ms since the epoch. */
  now?: () => number;
}

/** More than one write can ever have. */
const MAX_STRAYS = 1_000_000;

/**
 * The outbox on a disk. Invariants:
 * - an event is read, and so published, only once it is on the disk; events that come together are written together;
 * - while the disk cannot be written to, events are read from memory as well, which is bounded;
 * - what is on the disk is older than what is in memory, and is read first;
 * - a removal that is lost costs a second delivery, never an event, so nobody waits for one.
 *
 * A sound that was on when an earlier life broke off gets its `ended` here.
 *
 * What waits in memory is in `waiting-events.ts`, under keys of `event-keys.ts`; what lies on the disk is in the books
 * of `outbox-ledger.ts`. `outbox-batch.ts` is one write, `group-writer.ts` makes one after the other,
 * `outbox-reader.ts` hands events out, `outbox-removal.ts` takes them away, and `store-keeper.ts` opens the store again
 * when the disk works again. What is here joins them.
 *
 * Resolves also where the disk cannot be used now; throws SoundpostError `outbox_locked` where another process has
 * the folder.
 */
export async function openDiskOutbox(options: DiskOutboxOptions): Promise<Outbox> {
  const { folder, maxBytes, log, now = Date.now } = options;
  const tuning = { ...defaultTuning, ...options.tuning };
  const waiting = createWaitingEvents();
  const unended = createUnended();
  const ledger = createLedger();
  const { onMadeEnd = () => undefined } = options;
  const keys = createEventKeys({ waiting, unended, lateness: createLateness(), onMadeEnd });
  const compact = createCompaction(ledger, tuning.compactAfterBytes, log);
  let rewind: () => void = () => undefined;
  let everOpen = false;
  let closed = false;
  let dropped = 0;

  const inMemory = (): boolean => waiting.size > 0 || unended.owes;
  /** The store has not got everything. */
  const isBehind = (): boolean => inMemory() || ledger.owed > 0;

  const keeper = createStoreKeeper({
    folder,
    timing: tuning,
    log,
    care: {
      open: () => openOutboxStore(folder, log),
      async prepare() {
        await writer.idle();
        if (everOpen) await checkRoom(folder, waiting.bytes);
      },
      adopt,
      catchUp: () => writer.write(),
      onFail: () => waiting.showAll(),
      onBack() {
        if (reader.takeSkipped()) rewind();
      },
    },
  });

  const fail = (error: unknown): void => keeper.fail(error);
  const writer = createGroupWriter({
    next() {
      const { store, healthy } = keeper;
      return healthy && store !== null && isBehind() ? () => writeNext(store) : null;
    },
    patienceMs: tuning.writePatienceMs,
    fail,
  });

  const reader = createOutboxReader({
    folder,
    waiting,
    ledger,
    source: () => ({ store: keeper.store, withMemory: !keeper.healthy, unknown: !everOpen }),
    entryOf: (key, event) => keys.entryOf(key, event),
    giveUp(key) {
      removal.remove(key);
      dropped += 1;
    },
    fail,
    log,
  });

  async function writeNext(store: OutboxStore): Promise<void> {
    const onThrownOut = (key: number, delivered: boolean): void => {
      reader.take(key);
      if (!delivered) dropped += 1;
    };
    await writeBatch(store, { waiting, ledger, unended, maxBytes, now, onThrownOut });
    compact(store);
  }

  async function adopt(opened: OutboxStore): Promise<void> {
    dropped += opened.lost;
    if (!everOpen) {
      keys.continueFrom(opened, now());
      ledger.startFrom(opened.found.lastKey ?? -Infinity);
      everOpen = true;
    } else if (opened.replaced) reader.forgetRead();
    await bringUpToDate(opened, ledger);
  }

  const removal = createRemoval({
    keys,
    reader,
    waiting,
    unended,
    ledger,
    writer,
    isHealthy: () => keeper.healthy,
    afterMs: tuning.removeAfterMs,
  });

  const aliveTimer = setInterval(() => {
    if (keeper.healthy && unended.any) keeper.store?.write([{ alive: now() }], false).catch(fail);
  }, tuning.aliveMs);

  await keeper.start().catch((error: unknown) => {
    clearInterval(aliveTimer);
    throw error;
  });

  return {
    append(event) {
      const done = new Promise<void>((resolve) => keys.append(event, resolve));
      for (const [givenUp, { event: lost, text }] of waiting.shrink(tuning.maxMemoryBytes)) {
        unended.left(lost, text);
        reader.take(givenUp);
        dropped += 1;
      }
      if (keeper.healthy) void writer.write();
      else waiting.show(keys.last);
      return done;
    },
    markLate: () => keys.markLate(),
    read: (after, limit) => reader.read(after, limit),
    remove(key) {
      removal.remove(key);
      return Promise.resolve();
    },
    onRewind(callback) {
      rewind = callback;
    },
    counters: () => ({ queued: ledger.queued + waiting.size, dropped }),
    async close() {
      if (closed) return;
      closed = true;
      clearInterval(aliveTimer);
      removal.stop();
      keeper.stop();
      await within(keeper.finish({ memory: inMemory, anything: isBehind }), tuning.closeMs);
    },
  };
}

/** Takes from a store that has just been opened what is not wanted, and brings the books up to date. */
async function bringUpToDate(opened: OutboxStore, ledger: Ledger): Promise<void> {
  // A write that failed may have arrived all the same; if it is still wanted it is repeated.
  const strays = await opened.read(ledger.lastKey, MAX_STRAYS);
  const gone = ledger.removals().map(([key]) => key);
  const changes = [...gone, ...strays.map(({ key }) => key)].map((key) => ({ remove: key }));
  if (changes.length > 0) await opened.write(changes, true);
  ledger.reopened(gone, opened.contents());
}

/**
 * Gives room back to the disk when `afterBytes` have been removed: a single event that waits for long holds the room
 * of those that were removed behind it. One at a time.
 */
function createCompaction(ledger: Ledger, afterBytes: number, log: Logger): (store: OutboxStore) => void {
  let compacting = false;
  return (store) => {
    if (compacting || !ledger.takeGarbage(afterBytes)) return;
    compacting = true;
    store
      .compact()
      .catch((error: unknown) => log.debug({ err: error }, 'The outbox could not be compacted'))
      .finally(() => (compacting = false));
  };
}
