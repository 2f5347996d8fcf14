import type { EventPayload } from './contract.js';
import { bytesOf } from './outbox-store.js';

/** An event that is in memory only. */
export interface WaitingEvent {
  readonly event: EventPayload;
  /** As it will lie on the disk. */
  readonly text: string;
  readonly bytes: number;
}

/** Events that are not on the disk yet, oldest first. Keys grow. */
export interface WaitingEvents {
  readonly size: number;
  /** What they will take on the disk. */
  readonly bytes: number;
  /** `readable` is called when the event may be read, at the latest when it is taken out. */
  put(key: number, event: EventPayload, readable: () => void): void;
  has(key: number): boolean;
  /** Takes an event out: it is on the disk, acknowledged, or given up. Null where it is not there. */
  release(key: number): WaitingEvent | null;
  /** From now on this event may be read from here, or every one that is here now. */
  show(key: number): void;
  showAll(): void;
  /** The oldest for one write, of `maxBytes` at most between them, but always one; none where there is none. */
  batch(maxBytes: number): [number, WaitingEvent][];
  /** The oldest with a key above `key`, at most `limit`. */
  after(key: number, limit: number): [number, WaitingEvent][];
  /** Takes out the oldest until the rest has `maxBytes` at most, but never the last one; returns them. */
  shrink(maxBytes: number): [number, WaitingEvent][];
  /** Takes out all of them, without a word: they are put back under other keys. */
  takeAll(): [number, WaitingEvent & { readonly readable: () => void }][];
}

/** The most events in one write. */
const BATCH_EVENTS = 256;

export function createWaitingEvents(): WaitingEvents {
  // A Map keeps its order of insertion, which is the order of the keys.
  const events = new Map<number, WaitingEvent & { readonly readable: () => void }>();
  let bytes = 0;

  function release(key: number): WaitingEvent | null {
    const entry = events.get(key);
    if (entry === undefined) return null;
    events.delete(key);
    bytes -= entry.bytes;
    entry.readable();
    return entry;
  }

  return {
    get size() {
      return events.size;
    },
    get bytes() {
      return bytes;
    },
    put(key, event, readable) {
      const text = JSON.stringify(event);
      events.set(key, { event, text, bytes: bytesOf(text), readable });
      bytes += bytesOf(text);
    },
    has: (key) => events.has(key),
    release,
    show: (key) => events.get(key)?.readable(),
    showAll() {
      for (const { readable } of events.values()) readable();
    },
    batch(maxBytes) {
      const batch: [number, WaitingEvent][] = [];
      let sum = 0;
      for (const item of events) {
        sum += item[1].bytes;
        if (batch.length > 0 && (batch.length === BATCH_EVENTS || sum > maxBytes)) break;
        batch.push(item);
      }
      return batch;
    },
    after(key, limit) {
      const found: [number, WaitingEvent][] = [];
      for (const item of events) {
        if (found.length >= limit) break;
        if (item[0] > key) found.push(item);
      }
      return found;
    },
    shrink(maxBytes) {
      const gone: [number, WaitingEvent][] = [];
      for (const item of events) {
        if (bytes <= maxBytes || events.size === 1) break;
        release(item[0]);
        gone.push(item);
      }
      return gone;
    },
    takeAll() {
      const all = [...events];
      events.clear();
      bytes = 0;
      return all;
    },
  };
}
