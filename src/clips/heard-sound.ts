import { toInt16 } from './int16.js';

/**
 * The last seconds of what one source was heard to give, as 16-bit samples at the capture rate: half the memory of the
 * floats, and exactly what a microphone of 16 bits gave. Positions count samples since the last `begin`; a position
 * between two samples is named by the later one.
 */
export interface HeardSound {
  /** Hz; 0 before there is any sound. */
  readonly captureRateHz: number;
  /** How many samples have come. */
  readonly position: number;
  /** The oldest that is still kept. */
  readonly oldest: number;
  /** Sound begins anew; what is kept is gone. */
  begin(captureRateHz: number): void;
  /** Mono samples; `endMs` is the wall clock of the last one. Allocates nothing. */
  append(samples: Float32Array, endMs: number): void;
  /** By how much this time is off from what the sound so far makes it, in ms. */
  offBy(sampleCount: number, endMs: number): number;
  /** The position of a moment (ms since the epoch), which need not be kept; a whole number. */
  positionAt(ms: number): number;
  msAt(position: number): number;
  /** A copy of the samples from `from` up to, not including, `to`. Both have to be kept. */
  read(from: number, to: number): Int16Array;
  /** What came before this position is gone. */
  forget(until: number): void;
}

/** @param seconds how many are kept */
export function createHeardSound(seconds: number): HeardSound {
  let buffer = new Int16Array(0);
  let captureRateHz = 0;
  let position = 0;
  let oldest = 0;
  /** The wall clock of the newest sample. */
  let endMs = 0;

  const msPerSample = () => 1000 / captureRateHz;

  return {
    get captureRateHz() {
      return captureRateHz;
    },
    get position() {
      return position;
    },
    get oldest() {
      return oldest;
    },
    begin(rateHz) {
      if (rateHz !== captureRateHz) buffer = new Int16Array(Math.ceil(seconds * rateHz));
      captureRateHz = rateHz;
      position = 0;
      oldest = 0;
    },
    append(samples, atMs) {
      const tail =
        samples.length > buffer.length ? samples.subarray(samples.length - buffer.length) : samples;
      const start = (position + samples.length - tail.length) % buffer.length;
      const first = Math.min(tail.length, buffer.length - start);
      toInt16(first === tail.length ? tail : tail.subarray(0, first), buffer, start);
      if (first < tail.length) toInt16(tail.subarray(first), buffer, 0);
      position += samples.length;
      oldest = Math.max(oldest, position - buffer.length);
      endMs = atMs;
    },
    offBy: (count, atMs) => (position === 0 ? 0 : atMs - (endMs + count * msPerSample())),
    positionAt: (ms) => Math.round(position + (ms - endMs) / msPerSample()),
    msAt: (at) => endMs + (at - position) * msPerSample(),
    read(from, to) {
      if (!(from >= oldest && from <= to && to <= position)) {
        throw new RangeError(`samples ${from} … ${to} are not kept: ${oldest} … ${position} are`);
      }
      const out = new Int16Array(to - from);
      if (out.length === 0) return out;
      const start = from % buffer.length;
      const first = Math.min(out.length, buffer.length - start);
      out.set(buffer.subarray(start, start + first));
      if (first < out.length) out.set(buffer.subarray(0, out.length - first), first);
      return out;
    },
    forget: (until) => void (oldest = Math.max(oldest, Math.min(until, position))),
  };
}
