import { fstatSync, readSync } from 'node:fs';

/**
 * Reads a file in the wire format of Protocol Buffers from its beginning to its end, with what nobody asks for skipped
 * and not read. See https://protobuf.dev/programming-guides/encoding/. Every method throws `Malformed` where the file
 * is no sequence of fields.
 */
export interface WireReader {
  /** Calls `visit` with each field of the file. */
  file(visit: Visit): void;
  /** Calls `visit` with each field of the message that the field at hand is. */
  message(field: Field, visit: Visit): void;
  /** Adds the numbers of a repeated field, packed or not, to `into`, until it has `most`. */
  numbers(field: Field, into: number[], most: number): void;
  /** The bytes of a field, `most` of them at most. */
  bytes(field: Field, most: number): Buffer;
}

/** A field of a message: a number, or bytes from `start` to `end`. Of other kinds nobody hears. */
export type Field =
  | { readonly number: number; readonly kind: 'number'; readonly value: number }
  | { readonly number: number; readonly kind: 'bytes'; readonly start: number; readonly end: number };

export type Visit = (field: Field) => void;

/** The file is no sequence of fields. */
export class Malformed extends Error {}

const BUFFER_BYTES = 64 * 1024;

/** @param fd an open file; it stays open. */
export function createWireReader(fd: number): WireReader {
  const { size } = fstatSync(fd);
  const buffer = Buffer.allocUnsafe(BUFFER_BYTES);
  let bufferStart = 0;
  let bufferLength = 0;
  let position = 0;

  function byte(): number {
    if (position < bufferStart || position >= bufferStart + bufferLength) {
      bufferStart = position;
      bufferLength = readSync(fd, buffer, 0, buffer.length, bufferStart);
      if (bufferLength === 0) throw new Malformed('the file ends early');
    }
    const value = buffer[position - bufferStart]!;
    position += 1;
    return value;
  }

  /** Of numbers past 2^53 the nearest that JavaScript has: they are sizes that nothing has. */
  function varint(): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < 10; count += 1) {
      const part = byte();
      value += (part & 0x7f) * scale;
      scale *= 128;
      // Negative numbers are two's complements of 64 bits.
      if (part < 0x80) return value >= 2 ** 63 ? value - 2 ** 64 : value;
    }
    throw new Malformed('a number without an end');
  }

  function fieldsTo(end: number, visit: Visit): void {
    while (position < end) {
      const tag = varint();
      const number = Math.floor(tag / 8);
      const wire = tag % 8;
      if (wire === 0) visit({ number, kind: 'number', value: varint() });
      else if (wire === 1) position += 8;
      else if (wire === 5) position += 4;
      else if (wire === 2) {
        const length = varint();
        const start = position;
        const fieldEnd = start + length;
        if (length < 0 || fieldEnd > end) throw new Malformed('a field that is longer than what it is in');
        visit({ number, kind: 'bytes', start, end: fieldEnd });
        position = fieldEnd;
      } else throw new Malformed(`a field of the kind ${wire}`);
    }
    if (position !== end) throw new Malformed('a field that is longer than what it is in');
  }

  return {
    file(visit) {
      position = 0;
      fieldsTo(size, visit);
    },
    message(field, visit) {
      if (field.kind !== 'bytes') return;
      position = field.start;
      fieldsTo(field.end, visit);
    },
    numbers(field, into, most) {
      if (field.kind === 'number') {
        if (into.length < most) into.push(field.value);
        return;
      }
      position = field.start;
      while (position < field.end && into.length < most) into.push(varint());
    },
    bytes(field, most) {
      if (field.kind !== 'bytes') return Buffer.alloc(0);
      const bytes = Buffer.alloc(Math.min(most, field.end - field.start));
      return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, field.start));
    },
  };
}
