/**
 * The last rows of an endless table, in one piece: new ones are written behind them, and the oldest are forgotten. Rows
 * that are read and rows that are written never overlap, so that ONNX Runtime can do both in one run.
 */
export interface SlidingRows {
  /** How many rows are kept. */
  readonly count: number;
  readonly bytes: number;
  /** Room for so many new rows; valid until the next call. Where there is none, more memory is taken, once. */
  reserve(rows: number): Float32Array;
  /** Writes so many new rows at once, of which the last `keep` stay, with none of those before. */
  replace(rows: Float32Array, keep: number): void;
  /** The rows that were reserved have been written; of all, the last `keep` stay. */
  commit(rows: number, keep: number): void;
  /** `rows` rows, of which the last is followed by `behind` newer ones. */
  view(rows: number, behind: number): Float32Array;
}

/**
 * @param rowLength numbers in a row
 * @param capacity rows; what is usually kept and reserved at once
 */
export function createSlidingRows(rowLength: number, capacity: number): SlidingRows {
  let data = new Float32Array(capacity * rowLength);
  let begin = 0;
  let end = 0;
  return {
    get count() {
      return end - begin;
    },
    get bytes() {
      return data.byteLength;
    },
    reserve(rows) {
      if ((end + rows) * rowLength > data.length) {
        data.copyWithin(0, begin * rowLength, end * rowLength);
        end -= begin;
        begin = 0;
      }
      if ((end + rows) * rowLength > data.length) {
        const grown = new Float32Array((end + rows) * rowLength);
        grown.set(data.subarray(0, end * rowLength));
        data = grown;
      }
      return data.subarray(end * rowLength, (end + rows) * rowLength);
    },
    replace(rows, keep) {
      const kept = rows.subarray(Math.max(0, rows.length - keep * rowLength));
      data.set(kept);
      begin = 0;
      end = kept.length / rowLength;
    },
    commit(rows, keep) {
      end += rows;
      begin = Math.max(begin, end - keep);
    },
    view(rows, behind) {
      const to = end - behind;
      if (to - rows < begin) throw new RangeError(`${rows} rows before ${behind}, of ${end - begin}`);
      return data.subarray((to - rows) * rowLength, to * rowLength);
    },
  };
}
