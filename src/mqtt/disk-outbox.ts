import { createBackoff } from '../common/backoff.js';
import { SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { EventPayload } from './contract.js';
import { createLateness } from './lateness.js';
import type { Outbox, OutboxEntry } from './outbox.js';
import {
  bytesOf,
  checkRoom,
  openOutboxStore,
  parseEvent,
  reasonOf,
  type Change,
  type OutboxStore,
  type StoredEvent,
} from './outbox-store.js';
import { defaultTuning, type OutboxTuning } from './outbox-tuning.js';
import { createUnended, endOf } from './unended.js';
import { createWaitingEvents, type WaitingEvent } from './waiting-events.js';

export interface DiskOutboxOptions {
  folder: string;
  /** Room for events, in bytes before compression. */
  maxBytes: number;
  log: Logger;
  /** Overrides for tests. */
  tuning?: Partial<OutboxTuning>;
  /** The wall clock, ms since the epoch. */
  now?: () => number;
}

/** The most removals that wait for a write. */
const MAX_REMOVALS = 256;
/** More than one write can ever have. */
const MAX_STRAYS = 1_000_000;
/** Where keys begin as long as the store has never been open: below all that may be in it. */
const PROVISIONAL_KEY = -(2 ** 50);

/**
 * The outbox on a disk. Invariants:
 * - an event is read, and so published, only once it is on the disk; events that come together are written together;
 * - while the disk cannot be written to, events are read from memory as well, which is bounded;
 * - what is on the disk is older than what is in memory, and is read first;
 * - a removal that is lost costs a second delivery, never an event, so nobody waits for one.
 *
 * A sound that was on when an earlier life broke off gets its `ended` here.
 *
 * Resolves also where the disk cannot be used now; throws SoundpostError `outbox_locked` where another process has
 * the folder.
 */
export async function openDiskOutbox(options: DiskOutboxOptions): Promise<Outbox> {
  const { folder, maxBytes, log, now = Date.now } = options;
  const tuning = { ...defaultTuning, ...options.tuning };
  const backoff = createBackoff({ firstMs: tuning.firstRetryMs, maxMs: tuning.maxRetryMs });
  const lateness = createLateness();
  const unended = createUnended();
  let rewind: () => void = () => undefined;

  let store: OutboxStore | null = null;
  /** The store takes writes. Where it does not, events are read from memory. */
  let healthy = false;
  let everOpen = false;
  let closed = false;
  let lastKey = PROVISIONAL_KEY;
  let dropped = 0;

  /** What lies on the disk, `removals` included. */
  let disk = { events: 0, bytes: 0, lastKey: -Infinity };
  /** Nothing on the disk has a key up to this one. */
  let floor = -Infinity;
  /** Acknowledged events that are still on the disk, and the bytes of each. */
  const removals = new Map<number, number>();
  /** Events that were read and not removed since, and the bytes of each. */
  const handedOut = new Map<number, number>();
  let garbageBytes = 0;
  /** Events on the disk could not be read while others in memory were. */
  let skipped = false;

  const waiting = createWaitingEvents();
  /** Keys given out before the store was ever open → the keys that the events have got since. */
  const moved = new Map<number, number>();

  let writing: Promise<void> | null = null;
  let recovering: Promise<void> | null = null;
  let compacting = false;
  let removeTimer: NodeJS.Timeout | null = null;
  let retryTimer: NodeJS.Timeout | null = null;

  function enqueue(event: EventPayload, readable: () => void): number {
    lastKey += 1;
    waiting.put(lastKey, event, readable);
    return lastKey;
  }

  /** The store has not got everything. */
  function isBehind(): boolean {
    return waiting.size > 0 || removals.size > 0 || unended.owes;
  }

  /** Begins to write at the end of this turn, so that events that come together are written together. */
  function write(): Promise<void> {
    writing ??= Promise.resolve().then(writeAll);
    return writing;
  }

  async function writeAll(): Promise<void> {
    while (healthy && store !== null && isBehind()) {
      const timer = setTimeout(() => {
        fail(new Error(`it takes longer than ${tuning.writePatienceMs / 1000} s`));
      }, tuning.writePatienceMs);
      await writeBatch(store).catch(fail);
      clearTimeout(timer);
    }
    writing = null;
  }

  async function writeBatch(to: OutboxStore): Promise<void> {
    // So small that the rest of the room can always be made free for it.
    const batch = waiting.batch(maxBytes / 4);
    const gone = [...removals];
    const owed = unended.owed();
    const room = maxBytes - disk.bytes + sum(gone.map(([, bytes]) => bytes));
    const outdated = await oldest(to, sum(batch.map(([, { bytes }]) => bytes)) - room);
    await to.write(
      [
        ...[...gone, ...outdated].map(([key]) => ({ remove: key })),
        ...owed,
        ...batch.flatMap(([key, entry]) => changesOf(key, entry)),
        ...(unended.any ? [{ alive: now() }] : []),
      ],
      batch.length + owed.length > 0,
    );
    unended.paid(owed);
    for (const [key, bytes] of gone) {
      removals.delete(key);
      left(bytes);
    }
    for (const [key, bytes] of outdated) {
      floor = key;
      left(bytes);
      handedOut.delete(key);
      // Acknowledged while it was being thrown out, it was delivered.
      if (!removals.delete(key)) dropped += 1;
    }
    for (const [key, entry] of batch) landed(key, entry);
    if (garbageBytes >= tuning.compactAfterBytes && !compacting) compact(to);
  }

  function changesOf(key: number, { event, text }: WaitingEvent): Change[] {
    return [{ put: { key, text } }, ...unended.changesOf(event, text)];
  }

  /** The oldest events on the disk with `bytes` between them, none where that is not positive. */
  async function oldest(from: OutboxStore, bytes: number): Promise<[number, number][]> {
    const found: [number, number][] = [];
    let missing = bytes;
    let after = floor;
    while (missing > 0) {
      const next = await from.read(after, 32);
      if (next.length === 0) break;
      for (const { key, text } of next) {
        after = key;
        if (missing <= 0) break;
        if (removals.has(key)) continue;
        found.push([key, bytesOf(text)]);
        missing -= bytesOf(text);
      }
    }
    return found;
  }

  function left(bytes: number): void {
    disk = { ...disk, events: disk.events - 1, bytes: disk.bytes - bytes };
    garbageBytes += bytes;
  }

  function landed(key: number, { event, bytes }: WaitingEvent): void {
    disk = { events: disk.events + 1, bytes: disk.bytes + bytes, lastKey: key };
    unended.wrote(event);
    // It may have been read from memory, and acknowledged, or given up, while it was being written.
    if (waiting.release(key) === null) removals.set(key, bytes);
  }

  /** A single event that waits for long holds the room of those that were removed behind it. */
  function compact(from: OutboxStore): void {
    compacting = true;
    garbageBytes = 0;
    from
      .compact()
      .catch((error: unknown) => log.debug({ err: error }, 'The outbox could not be compacted'))
      .finally(() => (compacting = false));
  }

  /** From now on, and until the disk works again, events are read from memory. */
  function fail(error: unknown): void {
    healthy = false;
    if (closed || retryTimer !== null) return;
    log.warn(
      { code: 'outbox_disk' },
      `The outbox ${folder} cannot be used (${reasonOf(error)}): events are sent all the same, but those that wait for the broker are lost if the service ends meanwhile. Check that the disk has room and that this user may write there.`,
    );
    waiting.showAll();
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
            if (!closed) retryLater();
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
    await writing;
    if (everOpen) await checkRoom(folder, waiting.bytes);
    const before = store;
    store = null;
    await before?.close();
    await adopt(await openOutboxStore(folder, log));
    await write();
    if (!healthy) throw new Error('what waits in memory cannot be written');
    if (skipped) rewind();
    skipped = false;
  }

  /** Takes a store that has just been opened, and brings it up to date. */
  async function adopt(opened: OutboxStore): Promise<void> {
    try {
      dropped += opened.lost;
      if (!everOpen) continueFrom(opened);
      else if (opened.replaced) forgetRead();
      // A write that failed may have arrived all the same; if it is still wanted it is repeated.
      const strays = await opened.read(disk.lastKey, MAX_STRAYS);
      const gone = [...removals.keys()];
      const changes = [...gone, ...strays.map(({ key }) => key)].map((key) => ({ remove: key }));
      if (changes.length > 0) await opened.write(changes, true);
      for (const key of gone) removals.delete(key);
      const { events, bytes } = opened.contents();
      disk = { ...disk, events, bytes };
    } catch (error) {
      await opened.close();
      throw error;
    }
    floor = -Infinity;
    store = opened;
    healthy = true;
  }

  /** Other files than those that were read: what is acknowledged of them may be there no more, or again. */
  function forgetRead(): void {
    for (const key of handedOut.keys()) if (!waiting.has(key)) handedOut.delete(key);
    skipped = true;
  }

  /** What an earlier life has left comes first: it ends what was on then, and events of this life get keys behind. */
  function continueFrom(opened: OutboxStore): void {
    const { started, aliveAt } = opened.leftOver();
    const sinceStart = waiting.takeAll();
    lastKey = Math.max(0, opened.found.lastKey ?? 0);
    for (const { id } of started) unended.found(id);
    for (const event of started) enqueue(endOf(event, aliveAt, now()), () => undefined);
    for (const [key, { event, readable }] of sinceStart) {
      moved.set(key, enqueue({ ...event, late: event.late || lateness.has(key) }, readable));
    }
    lateness.upTo(opened.found.lastKey ?? 0);
    disk = { events: 0, bytes: 0, lastKey: opened.found.lastKey ?? -Infinity };
    everOpen = true;
  }

  function entryOf({ key, text }: StoredEvent): OutboxEntry | null {
    const event = parseEvent(text);
    handedOut.set(key, bytesOf(text));
    if (event !== null) return { key, event: { ...event, late: event.late || lateness.has(key) } };
    log.warn(
      { code: 'outbox_broken' },
      `An event in the outbox ${folder} cannot be read, and is given up: ${text.slice(0, 80)}`,
    );
    remove(key);
    dropped += 1;
    return null;
  }

  function remove(key: number): void {
    const present = moved.get(key) ?? key;
    moved.delete(key);
    const bytes = handedOut.get(present);
    handedOut.delete(present);
    const unwritten = waiting.release(present);
    if (unwritten !== null) {
      unended.left(unwritten.event, unwritten.text);
      if (healthy) void write();
    }
    if (unwritten !== null || bytes === undefined) return;
    removals.set(present, bytes);
    if (removals.size >= MAX_REMOVALS) void write();
    else
      removeTimer ??= setTimeout(() => {
        removeTimer = null;
        void write();
      }, tuning.removeAfterMs);
  }

  async function readDisk(from: OutboxStore, after: number, limit: number): Promise<OutboxEntry[]> {
    const entries: OutboxEntry[] = [];
    let at = Math.max(after, floor);
    while (entries.length < limit && at < disk.lastKey) {
      const found = await from.read(at, limit);
      if (found.length === 0) break;
      if (at <= floor && from === store) floor = found[0]!.key - 1;
      for (const stored of found.slice(0, limit - entries.length)) {
        at = stored.key;
        const entry = removals.has(stored.key) ? null : entryOf(stored);
        if (entry !== null) entries.push(entry);
      }
    }
    return entries;
  }

  const aliveTimer = setInterval(() => {
    if (healthy && unended.any) store?.write([{ alive: now() }], false).catch(fail);
  }, tuning.aliveMs);

  await openOutboxStore(folder, log)
    .then(adopt)
    .then(write)
    .catch((error: unknown) => {
      if (error instanceof SoundpostError) {
        clearInterval(aliveTimer);
        throw error;
      }
      fail(error);
    });

  return {
    append(event) {
      unended.came(event);
      const done = new Promise<void>((resolve) => {
        lateness.appended(enqueue(event, resolve));
      });
      for (const [givenUp, { event: lost, text }] of waiting.shrink(tuning.maxMemoryBytes)) {
        unended.left(lost, text);
        handedOut.delete(givenUp);
        dropped += 1;
      }
      if (healthy) void write();
      else waiting.show(lastKey);
      return done;
    },
    markLate() {
      lateness.upTo(lastKey);
    },
    async read(after, limit) {
      const from = store;
      let entries: OutboxEntry[] = [];
      try {
        if (from !== null) entries = await readDisk(from, after, limit);
        else skipped ||= !everOpen || disk.events > removals.size;
      } catch (error) {
        if (from === store) fail(error);
        skipped = true;
      }
      if (healthy) return entries;
      for (const [key, { event, bytes }] of waiting.after(after, limit - entries.length)) {
        handedOut.set(key, bytes);
        entries.push({ key, event: { ...event, late: event.late || lateness.has(key) } });
      }
      return entries;
    },
    remove(key) {
      remove(key);
      return Promise.resolve();
    },
    onRewind(callback) {
      rewind = callback;
    },
    counters: () => ({ queued: disk.events - removals.size + waiting.size, dropped }),
    async close() {
      if (closed) return;
      closed = true;
      clearInterval(aliveTimer);
      for (const timer of [removeTimer, retryTimer]) if (timer !== null) clearTimeout(timer);
      const ending = (async () => {
        await recovering;
        // A last attempt for what is only in memory.
        if (!healthy && (waiting.size > 0 || unended.owes)) await recover().catch(() => undefined);
        while (healthy && isBehind()) await write();
        await store?.close();
      })();
      let timer: NodeJS.Timeout | undefined;
      const limit = new Promise<void>((resolve) => (timer = setTimeout(resolve, tuning.closeMs)));
      await Promise.race([ending, limit]);
      clearTimeout(timer);
    },
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
