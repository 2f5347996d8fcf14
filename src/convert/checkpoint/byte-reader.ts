import { readSync } from 'node:fs';
import { unreadable } from './faults.js';

/** Largest piece that `take` gives, and what is read of a file at a time. */
const WINDOW_BYTES = 64 * 1024;

/** Reads a stretch of bytes from front to back and never past its end; memory is one window, whatever the stretch. */
export interface ByteReader {
  /** Offset of the next byte. */
  readonly position: number;
  /** Bytes that are left. */
  readonly left: number;
  byte(): number;
  /** The next bytes, at most 64 KiB; valid until the next call. */
  take(count: number): Buffer;
  skip(count: number): void;
  /** The text up to the next line feed, which is read too; at most `max` bytes. */
  line(max: number): string;
}

/** Of a file, from `start` up to `end` (offsets in bytes). Reads synchronously, one window at a time. */
export function readBytesOfFile(fd: number, start: number, end: number): ByteReader {
  const window = Buffer.allocUnsafe(Math.max(1, Math.min(WINDOW_BYTES, end - start)));
  return createReader(start, end, (from) => {
    const wanted = Math.min(window.length, end - from);
    let got = 0;
    while (got < wanted) {
      const count = readSync(fd, window, got, wanted - got, from + got);
      if (count === 0) throw unreadable('it became shorter while it was read');
      got += count;
    }
    return window.subarray(0, got);
  });
}

export function readBytesOf(buffer: Buffer): ByteReader {
  return createReader(0, buffer.length, (from) => buffer.subarray(from));
}

function createReader(start: number, end: number, fill: (from: number) => Buffer): ByteReader {
  let window: Buffer = Buffer.alloc(0);
  /** Of the window's first byte. */
  let base = start;
  let position = start;

  const require = (count: number): void => {
    if (count > end - position) throw unreadable('it is cut off, or a length in it is wrong');
  };
  const have = (count: number): number => {
    if (position < base || position + count > base + window.length) {
      window = fill(position);
      base = position;
    }
    return position - base;
  };

  return {
    get position() {
      return position;
    },
    get left() {
      return end - position;
    },
    byte() {
      require(1);
      const at = have(1);
      position += 1;
      return window[at]!;
    },
    take(count) {
      require(count);
      if (count > WINDOW_BYTES) throw new RangeError('take() gives at most one window');
      if (count === 0) return window.subarray(0, 0);
      const at = have(count);
      position += count;
      return window.subarray(at, at + count);
    },
    skip(count) {
      require(count);
      position += count;
    },
    line(max) {
      const most = Math.min(max + 1, end - position);
      if (most === 0) throw unreadable('it is cut off');
      const at = have(most);
      const feed = window.subarray(at, at + most).indexOf(0x0a);
      if (feed < 0) throw unreadable('it holds a line that does not end');
      position += feed + 1;
      return window.toString('utf8', at, at + feed);
    },
  };
}
