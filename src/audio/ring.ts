/**
 * The last samples of a stream. Positions are absolute: sample 0 is the first one ever appended, and a position
 * between two samples is named by the later one, so that `read(a, b)` gives b - a samples.
 */
export interface Ring {
  /** How many samples it keeps. */
  readonly capacity: number;
  /** How many samples were ever appended. */
  readonly position: number;
  /** The position of the oldest sample that is still kept. */
  readonly oldest: number;
  append(samples: Float32Array): void;
  /**
   * Copies the samples from position `from` up to, not including, `to` into the beginning of `out`. Throws a
   * RangeError where they are not (or no longer) kept, or where `out` is too short.
   */
  read(from: number, to: number, out: Float32Array): void;
  /** Keeps `capacity` samples from now on; of those kept now, the newest that fit stay. */
  resize(capacity: number): void;
}

/** An empty ring for `capacity` samples, mono float32. Nothing is allocated but here and in `resize`. */
export function createRing(capacity: number): Ring {
  let buffer = new Float32Array(checked(capacity));
  let position = 0;
  let kept = 0;

  /** Copies kept samples; the caller has checked the range. */
  const copy = (from: number, to: number, out: Float32Array) => {
    const start = from % buffer.length;
    const first = Math.min(to - from, buffer.length - start);
    out.set(buffer.subarray(start, start + first));
    if (first < to - from) out.set(buffer.subarray(0, to - from - first), first);
  };

  const append = (samples: Float32Array) => {
    // Of more than fits only the end stays, but all of it counts.
    const tail = samples.length > buffer.length ? samples.subarray(samples.length - buffer.length) : samples;
    const start = (position + samples.length - tail.length) % buffer.length;
    const first = Math.min(tail.length, buffer.length - start);
    buffer.set(first === tail.length ? tail : tail.subarray(0, first), start);
    if (first < tail.length) buffer.set(tail.subarray(first), 0);
    position += samples.length;
    kept = Math.min(buffer.length, kept + samples.length);
  };

  return {
    get capacity() {
      return buffer.length;
    },
    get position() {
      return position;
    },
    get oldest() {
      return position - kept;
    },
    append,
    read(from, to, out) {
      if (!Number.isInteger(from) || !Number.isInteger(to) || from > to) {
        throw new RangeError(`no such range of samples: ${from} … ${to}`);
      }
      if (from < position - kept || to > position) {
        throw new RangeError(`samples ${from} … ${to} are not kept: ${position - kept} … ${position} are`);
      }
      if (out.length < to - from) throw new RangeError(`${out.length} places for ${to - from} samples`);
      copy(from, to, out);
    },
    resize(next) {
      if (checked(next) === buffer.length) return;
      const stays = new Float32Array(Math.min(kept, next));
      copy(position - stays.length, position, stays);
      buffer = new Float32Array(next);
      position -= stays.length;
      kept = 0;
      append(stays);
    },
  };
}

function checked(capacity: number): number {
  if (!Number.isInteger(capacity) || capacity < 1) throw new RangeError(`no ring of ${capacity} samples`);
  return capacity;
}
