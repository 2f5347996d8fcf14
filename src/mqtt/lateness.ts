/** Which events of an outbox have waited for the broker, by their keys, which grow. */
export interface Lateness {
  appended(key: number): void;
  /** Everything up to this key has waited. */
  upTo(key: number): void;
  has(key: number): boolean;
}

/** An event that a connected broker did not take for this long has waited, too. */
const PATIENCE_MS = 10_000;
const MARK_EVERY_MS = 1000;

/** `now` is a clock that is never set, in milliseconds. */
export function createLateness(now: () => number = () => performance.now()): Lateness {
  let lateUpTo = -Infinity;
  /** At most one a second: the highest key that there was within it. */
  const marks: { atMs: number; key: number }[] = [];

  return {
    appended(key) {
      const last = marks.at(-1);
      if (last !== undefined && now() - last.atMs < MARK_EVERY_MS) last.key = key;
      else marks.push({ atMs: now(), key });
      // Nobody may be asking: the list stays as short as the patience.
      forget();
    },
    upTo(key) {
      lateUpTo = Math.max(lateUpTo, key);
    },
    has(key) {
      forget();
      return key <= lateUpTo;
    },
  };

  function forget(): void {
    // A mark covers events of up to a second after it.
    while (marks.length > 0 && now() - marks[0]!.atMs >= PATIENCE_MS + MARK_EVERY_MS) {
      lateUpTo = Math.max(lateUpTo, marks.shift()!.key);
    }
  }
}
