/** Readings over time in a bounded amount of memory. */
export interface Series<T> {
  add(reading: T): void;
  /** In order. */
  readings(): T[];
}

/**
 * Keeps at most `limit` readings: when there are more, two neighbours become one, and from then on so do the new
 * ones, so that all of them stand for about the same time.
 */
export function createSeries<T>(options: { limit: number; merge: (parts: readonly T[]) => T }): Series<T> {
  const { limit, merge } = options;
  let kept: T[] = [];
  let perReading = 1;
  let waiting: T[] = [];
  return {
    add(reading) {
      waiting.push(reading);
      if (waiting.length < perReading) return;
      kept.push(merge(waiting));
      waiting = [];
      if (kept.length < limit) return;
      kept = kept.flatMap((_, index) => (index % 2 === 1 ? [] : [merge(kept.slice(index, index + 2))]));
      perReading *= 2;
    },
    readings: () => (waiting.length === 0 ? [...kept] : [...kept, merge(waiting)]),
  };
}

/** The mean of those that were measured; null where none was. */
export function meanOf(values: readonly (number | null)[]): number | null {
  const measured = values.filter((value) => value !== null);
  return measured.length === 0 ? null : measured.reduce((sum, value) => sum + value, 0) / measured.length;
}

/** The greatest of those that were measured; null where none was. */
export function greatestOf(values: readonly (number | null)[]): number | null {
  const measured = values.filter((value) => value !== null);
  return measured.length === 0 ? null : Math.max(...measured);
}
