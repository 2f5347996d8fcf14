/* Columns of the log-mel that the network sees, as `GET api/spectrogram` sends them. */

/** One message. */
export interface ColumnsMessage {
  start: string;
  column_ms: number;
  bands: number;
  columns: number;
  /** What the bytes 0 and 255 stand for, in the unit of the log-mel. */
  low: number;
  high: number;
  /** A byte a value, column after column, low bands first, in base64. */
  data: string;
}

export interface Columns {
  startMs: number;
  columnMs: number;
  bands: number;
  count: number;
  values: Float32Array;
}

/** The values of a message; null where it does not hold together. */
export function readColumns(message: ColumnsMessage): Columns | null {
  const { column_ms: columnMs, bands, columns: count, low, high } = message;
  const bytes = atob(message.data);
  if (!(columnMs > 0 && bands > 0 && count >= 0) || bytes.length < bands * count) return null;
  const step = (high - low) / 255;
  const values = new Float32Array(bands * count);
  for (let at = 0; at < values.length; at += 1) values[at] = low + bytes.charCodeAt(at) * step;
  return { startMs: Date.parse(message.start), columnMs, bands, count, values };
}

/** The last columns of a source, in a ring. */
export interface ColumnRing {
  readonly bands: number;
  readonly capacity: number;
  readonly columnMs: number;
  /** Columns that were put in, since the beginning; the newest is at `(written - 1) % capacity`. */
  readonly written: number;
  /** When the newest column ends, in ms since the epoch. */
  readonly endMs: number;
  /** Column after column, as in `Columns`; NaN where nothing came. */
  readonly values: Float32Array;
  push(columns: Columns): void;
}

export function createColumnRing(shape: { bands: number; columnMs: number; seconds: number }): ColumnRing {
  const { bands, columnMs } = shape;
  const capacity = Math.max(1, Math.ceil((shape.seconds * 1000) / columnMs));
  const values = new Float32Array(capacity * bands).fill(NaN);
  let written = 0;
  let endMs = NaN;
  return {
    bands,
    capacity,
    columnMs,
    values,
    get written() {
      return written;
    },
    get endMs() {
      return endMs;
    },
    push(columns) {
      // Where sound is missing its place stays empty.
      const gap = Number.isNaN(endMs) ? 0 : Math.round((columns.startMs - endMs) / columnMs);
      for (let left = Math.min(Math.max(gap, 0), capacity); left > 0; left -= 1) {
        const at = (written % capacity) * bands;
        values.fill(NaN, at, at + bands);
        written += 1;
      }
      for (let column = 0; column < columns.count; column += 1) {
        const from = column * bands;
        values.set(columns.values.subarray(from, from + bands), (written % capacity) * bands);
        written += 1;
      }
      endMs = columns.startMs + columns.count * columnMs;
    },
  };
}

/** What is as dark and as bright as can be: between quiet and loud of what was heard. */
export interface ValueRange {
  low: number;
  high: number;
}

/** Of these values; the quietest tenth and the loudest two hundredth lie outside. */
export function rangeOf(values: Float32Array): ValueRange | null {
  // A sample of them is enough, and a sort of thousands would be felt on a phone.
  const step = Math.max(1, Math.floor(values.length / 4000));
  const sample: number[] = [];
  for (let at = 0; at < values.length; at += step) if (!Number.isNaN(values[at]!)) sample.push(values[at]!);
  if (sample.length < 2) return null;
  sample.sort((a, b) => a - b);
  const low = sample[Math.floor(sample.length * 0.1)]!;
  const high = sample[Math.min(sample.length - 1, Math.floor(sample.length * 0.995))]!;
  return { low, high: Math.max(high, low + 1e-3) };
}
