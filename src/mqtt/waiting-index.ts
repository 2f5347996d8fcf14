import type { WrittenRecord } from './outbox-lines.js';
import { apply, type OutboxState, type Segment } from './outbox-replay.js';
import { bytesOf } from './outbox-store.js';

/** The keys of what waits in the files, in order, and its bytes. */
export interface WaitingIndex {
  /** What waits takes so much, in bytes. */
  readonly bytes: number;
  /** The disk's part of an event, in bytes; 0 where it does not wait. */
  sizeOf(key: number): number;
  /** A record has been written to a file: it goes into the state, and into the index. */
  take(segment: Segment, written: WrittenRecord): void;
  /** The lowest keys above `after`, at most `limit`. */
  after(after: number, limit: number): number[];
  /** Forgets keys that do not wait any more, where there are many. */
  tidy(): void;
}

/** So many keys may be left of events that wait no more. */
const KEPT_KEYS = 64;

/** `state` is changed by `take` only. */
export function createWaitingIndex(state: OutboxState): WaitingIndex {
  /** In order; some of them may have gone. */
  let keys = inOrder();
  let waitingBytes = 0;

  function inOrder(): number[] {
    return [...state.events.keys()].sort((one, other) => one - other);
  }

  function sizeOf(key: number): number {
    const location = state.events.get(key);
    return location === undefined ? 0 : location.bytes + bytesOf('');
  }

  /** The position of the first key above `after`. */
  function above(after: number): number {
    let [low, high] = [0, keys.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (keys[middle]! > after) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  for (const key of keys) waitingBytes += sizeOf(key);

  return {
    get bytes() {
      return waitingBytes;
    },
    sizeOf,
    take(segment, written) {
      const { record } = written;
      if ('key' in record) waitingBytes -= sizeOf(record.key);
      const isNew = record.kind === 'event' && !state.events.has(record.key);
      apply(state, segment, written);
      if (!('key' in record) || !('text' in record)) return;
      waitingBytes += sizeOf(record.key);
      if (!isNew) return;
      // It may stand there from an event of the same key that has gone.
      if (record.key <= (keys.at(-1) ?? -Infinity)) keys = inOrder();
      else keys.push(record.key);
    },
    after(after, limit) {
      const found: number[] = [];
      for (let n = above(after); n < keys.length && found.length < limit; n += 1) {
        if (state.events.has(keys[n]!)) found.push(keys[n]!);
      }
      return found;
    },
    tidy() {
      if (keys.length <= KEPT_KEYS || keys.length <= 2 * state.events.size) return;
      keys = keys.filter((key) => state.events.has(key));
    },
  };
}
