/** Lets the first of a row of equal records through and counts the others. Pure: the caller gives the clock. */
export interface Suppressor {
  /**
   * Whether the record with this key may go out now; `repeats` is how many equal ones were held back since the
   * last that did.
   */
  offer(key: string, nowMs: number): { pass: true; repeats: number } | { pass: false };
}

/**
 * At most one record per key in `intervalMs`. Remembers `capacity` keys; beyond that the one that went out
 * longest ago is forgotten, so that ever new messages cannot fill the memory.
 */
export function createSuppressor(options: { intervalMs?: number; capacity?: number } = {}): Suppressor {
  const intervalMs = options.intervalMs ?? 60_000;
  const capacity = options.capacity ?? 200;
  // In the order in which they last went out.
  const sent = new Map<string, { atMs: number; held: number }>();
  return {
    offer(key, nowMs) {
      const last = sent.get(key);
      // A clock that was set back must not silence a record for longer than the interval.
      if (last && nowMs >= last.atMs && nowMs - last.atMs < intervalMs) {
        last.held += 1;
        return { pass: false };
      }
      sent.delete(key);
      sent.set(key, { atMs: nowMs, held: 0 });
      if (sent.size > capacity) sent.delete(sent.keys().next().value!);
      return { pass: true, repeats: last?.held ?? 0 };
    },
  };
}
