import type { EventPayload } from './contract.js';
import type { Lateness } from './lateness.js';
import type { OutboxEntry } from './outbox.js';
import type { OutboxStore } from './outbox-store.js';
import { endOf, type Unended } from './unended.js';
import type { WaitingEvents } from './waiting-events.js';

/** Where keys begin as long as the store has never been open: below all that may be in it. */
const PROVISIONAL_KEY = -(2 ** 50);

/** Gives events their keys, and keeps them right when it turns out what an earlier life has left. */
export interface EventKeys {
  /** The highest key so far. */
  readonly last: number;
  /** The event waits from now on; `readable` is called when it may be read. */
  append(event: EventPayload, readable: () => void): void;
  /** Everything that has a key now has waited. */
  markLate(): void;
  entryOf(key: number, event: EventPayload): OutboxEntry;
  /** The key that an event has now, by the one under which it was read. To be asked once, when it is removed. */
  presentOf(key: number): number;
  /**
   * The store is open for the first time. What an earlier life has left comes first: it ends what was on then, and
   * events of this life get keys behind. `nowMs`: since the epoch.
   */
  continueFrom(opened: Pick<OutboxStore, 'found' | 'leftOver'>, nowMs: number): void;
}

export function createEventKeys(options: {
  waiting: WaitingEvents;
  unended: Unended;
  lateness: Lateness;
  /** Told of each `ended` that an earlier life did not come to. */
  onMadeEnd: (event: EventPayload) => void;
}): EventKeys {
  const { waiting, unended, lateness, onMadeEnd } = options;
  let last = PROVISIONAL_KEY;
  /** Keys given out before the store was ever open → the keys that the events have got since. */
  const moved = new Map<number, number>();

  function enqueue(event: EventPayload, readable: () => void): number {
    last += 1;
    waiting.put(last, event, readable);
    return last;
  }

  const withLateness = (key: number, event: EventPayload): EventPayload => ({
    ...event,
    late: event.late || lateness.has(key),
  });

  return {
    get last() {
      return last;
    },
    append(event, readable) {
      unended.came(event);
      lateness.appended(enqueue(event, readable));
    },
    markLate: () => lateness.upTo(last),
    entryOf: (key, event) => ({ key, event: withLateness(key, event) }),
    presentOf(key) {
      const present = moved.get(key) ?? key;
      moved.delete(key);
      return present;
    },
    continueFrom(opened, nowMs) {
      const { found } = opened;
      const { started, aliveAt } = opened.leftOver();
      const sinceStart = waiting.takeAll();
      last = Math.max(0, found.lastKey ?? 0);
      for (const { id } of started) unended.found(id);
      for (const event of started) {
        const end = endOf(event, aliveAt, nowMs);
        enqueue(end, () => undefined);
        onMadeEnd(end);
      }
      for (const [key, { event, readable }] of sinceStart) {
        moved.set(key, enqueue(withLateness(key, event), readable));
      }
      lateness.upTo(found.lastKey ?? 0);
    },
  };
}
