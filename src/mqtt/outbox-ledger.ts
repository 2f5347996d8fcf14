/** An event by its key, and its bytes on the disk. */
export type Sized = readonly [key: number, bytes: number];

/** What lies on the disk as far as this process knows, and what of it the broker has already. Pure. */
export interface Ledger {
  /** Events on the disk that the broker does not have yet. */
  readonly queued: number;
  /** What all events on the disk take, acknowledged ones among them. */
  readonly bytes: number;
  /** No event on the disk has a higher key; -Infinity where there never was one. */
  readonly lastKey: number;
  /** No event on the disk has a key up to this one. */
  readonly floor: number;
  raiseFloor(key: number): void;
  /** A new event is on the disk; its key is higher than all before. */
  landed(event: Sized): void;
  /** The broker has an event that is on the disk: it is to be removed there. */
  acknowledged(event: Sized): void;
  isAcknowledged(key: number): boolean;
  /** All that is to be removed. */
  removals(): Sized[];
  readonly owed: number;
  /** These acknowledged events are not on the disk any more. */
  removed(events: readonly Sized[]): void;
  /** The oldest event is not on the disk any more. Returns whether the broker has it: then it is no loss. */
  thrownOut(event: Sized): boolean;
  /** Whether `bytes` have been removed; counts from zero again if so. */
  takeGarbage(bytes: number): boolean;
  /** The store has been opened for the first time. */
  startFrom(lastKey: number): void;
  /** The store has been opened again, and `gone` removed from it; this is what it holds. */
  reopened(gone: readonly number[], contents: { events: number; bytes: number }): void;
}

export function createLedger(): Ledger {
  let [events, bytes, lastKey] = [0, 0, -Infinity];
  let floor = -Infinity;
  let garbageBytes = 0;
  /** Acknowledged events that are still on the disk, and the bytes of each. */
  const removals = new Map<number, number>();

  function left(size: number): void {
    events -= 1;
    bytes -= size;
    garbageBytes += size;
  }

  return {
    get queued() {
      return events - removals.size;
    },
    get bytes() {
      return bytes;
    },
    get lastKey() {
      return lastKey;
    },
    get floor() {
      return floor;
    },
    raiseFloor(key) {
      floor = key;
    },
    landed([key, size]) {
      events += 1;
      bytes += size;
      lastKey = key;
    },
    acknowledged: ([key, size]) => void removals.set(key, size),
    isAcknowledged: (key) => removals.has(key),
    removals: () => [...removals],
    get owed() {
      return removals.size;
    },
    removed(gone) {
      for (const [key, size] of gone) {
        removals.delete(key);
        left(size);
      }
    },
    thrownOut([key, size]) {
      floor = key;
      left(size);
      return removals.delete(key);
    },
    takeGarbage(limit) {
      if (garbageBytes < limit) return false;
      garbageBytes = 0;
      return true;
    },
    startFrom(key) {
      lastKey = key;
    },
    reopened(gone, contents) {
      for (const key of gone) removals.delete(key);
      ({ events, bytes } = contents);
      floor = -Infinity;
    },
  };
}
