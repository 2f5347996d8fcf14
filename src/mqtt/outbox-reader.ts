import type { Logger } from '../common/log.js';
import type { EventPayload } from './contract.js';
import type { OutboxEntry } from './outbox.js';
import type { Ledger, Sized } from './outbox-ledger.js';
import { bytesOf, parseEvent, type OutboxStore, type StoredEvent } from './outbox-store.js';
import type { WaitingEvents } from './waiting-events.js';

/** Reads events, and knows which of them were read and not removed since. */
export interface OutboxReader {
  /** The oldest with a key above `after`, at most `limit`: from the disk, and behind them from memory where that may be. */
  read(after: number, limit: number): Promise<OutboxEntry[]>;
  /** Takes an event out of those that were read; returns its bytes, undefined where it is none of them. */
  take(key: number): number | undefined;
  /** The store has other files than those that were read: what is acknowledged of them may be there no more, or again. */
  forgetRead(): void;
  /** Whether events on the disk were passed over since this was last asked. */
  takeSkipped(): boolean;
}

/**
 * @param source where to read: the store, where it is open; whether memory may be read as well, since the disk takes
 *   nothing; whether a closed store may hold events that nobody knows of
 * @param entryOf as in `EventKeys`
 * @param giveUp an event on the disk cannot be read: it is removed and counted
 */
export function createOutboxReader(options: {
  folder: string;
  waiting: WaitingEvents;
  ledger: Ledger;
  source: () => { store: OutboxStore | null; withMemory: boolean; unknown: boolean };
  entryOf: (key: number, event: EventPayload) => OutboxEntry;
  giveUp: (key: number) => void;
  fail: (error: unknown) => void;
  log: Logger;
}): OutboxReader {
  const { folder, waiting, ledger, source, entryOf, giveUp, fail, log } = options;
  /** Events that were read and not removed since, and the bytes of each. */
  const handedOut = new Map<number, number>();
  /** Events on the disk could not be read while others in memory were. */
  let skipped = false;

  function handOut([key, bytes]: Sized, event: EventPayload): OutboxEntry {
    handedOut.set(key, bytes);
    return entryOf(key, event);
  }

  function take(key: number): number | undefined {
    const bytes = handedOut.get(key);
    handedOut.delete(key);
    return bytes;
  }

  function handOutStored({ key, text }: StoredEvent): OutboxEntry | null {
    const event = parseEvent(text);
    if (event !== null) return handOut([key, bytesOf(text)], event);
    log.warn(
      { code: 'outbox_broken' },
      `An event in the outbox ${folder} cannot be read, and is given up: ${text.slice(0, 80)}`,
    );
    handedOut.set(key, bytesOf(text));
    giveUp(key);
    return null;
  }

  async function readDisk(from: OutboxStore, after: number, limit: number): Promise<OutboxEntry[]> {
    const entries: OutboxEntry[] = [];
    let at = Math.max(after, ledger.floor);
    while (entries.length < limit && at < ledger.lastKey) {
      const found = await from.read(at, limit);
      if (found.length === 0) break;
      if (at <= ledger.floor && from === source().store) ledger.raiseFloor(found[0]!.key - 1);
      for (const stored of found.slice(0, limit - entries.length)) {
        at = stored.key;
        const entry = ledger.isAcknowledged(stored.key) ? null : handOutStored(stored);
        if (entry !== null) entries.push(entry);
      }
    }
    return entries;
  }

  return {
    async read(after, limit) {
      const { store, unknown } = source();
      let entries: OutboxEntry[] = [];
      try {
        if (store !== null) entries = await readDisk(store, after, limit);
        else skipped ||= unknown || ledger.queued > 0;
      } catch (error) {
        if (store === source().store) fail(error);
        skipped = true;
      }
      if (!source().withMemory) return entries;
      for (const [key, { event, bytes }] of waiting.after(after, limit - entries.length)) {
        entries.push(handOut([key, bytes], event));
      }
      return entries;
    },
    take,
    forgetRead() {
      for (const key of handedOut.keys()) if (!waiting.has(key)) handedOut.delete(key);
      skipped = true;
    },
    takeSkipped() {
      const was = skipped;
      skipped = false;
      return was;
    },
  };
}
