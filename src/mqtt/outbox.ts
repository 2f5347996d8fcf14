import type { EventPayload } from './contract.js';

/** An event that has not been acknowledged by the broker. */
export interface OutboxEntry {
  /** Grows with every event; the order of delivery. May be negative. */
  readonly key: number;
  /** `late` is right at the time of reading. */
  readonly event: EventPayload;
}

/**
 * Where events stay until the broker has acknowledged them. Everything is asynchronous, so that the store may be
 * on disk. One link at a time reads from it.
 */
export interface Outbox {
  /** Keeps an event; resolves once it may be read, which is when it is as safe as this store can make it. */
  append(event: EventPayload): Promise<void>;
  /** A new connection begins: whatever is in the store now has waited, and is delivered with `late: true`. */
  markLate(): void;
  /** The oldest entries with a key above `after`, in order, at most `limit`. */
  read(after: number, limit: number): Promise<readonly OutboxEntry[]>;
  /** The broker has it, or can never take it. A key that is not there is no error. */
  remove(key: number): Promise<void>;
  /**
   * Calls back when entries have become readable that lie before others which were read already (a disk that has
   * come back): who reads in order begins again.
   */
  onRewind(callback: () => void): void;
  /** `dropped` counts events that will never be delivered. */
  counters(): { queued: number; dropped: number };
  /** Writes what is left to write and lets go of the store. Nothing may be called afterwards. */
  close(): Promise<void>;
}

/**
 * An outbox that lasts as long as the process, for a link that has no disk. At the limit the oldest event goes
 * first, and is counted.
 */
export function createMemoryOutbox(options: { limit: number }): Outbox {
  // A Map keeps its order of insertion, which is the order of the keys.
  const events = new Map<number, EventPayload>();
  let lastKey = 0;
  let lateUpTo = 0;
  let dropped = 0;

  return {
    append(event) {
      lastKey += 1;
      events.set(lastKey, event);
      if (events.size > options.limit) {
        const oldest = events.keys().next();
        if (oldest.done !== true) events.delete(oldest.value);
        dropped += 1;
      }
      return Promise.resolve();
    },
    markLate() {
      lateUpTo = lastKey;
    },
    read(after, limit) {
      const entries: OutboxEntry[] = [];
      for (const [key, event] of events) {
        if (entries.length >= limit) break;
        if (key > after) entries.push({ key, event: { ...event, late: key <= lateUpTo } });
      }
      return Promise.resolve(entries);
    },
    remove(key) {
      events.delete(key);
      return Promise.resolve();
    },
    onRewind: () => undefined,
    counters: () => ({ queued: events.size, dropped }),
    close: () => Promise.resolve(),
  };
}
