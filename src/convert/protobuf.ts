/**
 * The part of the Protocol Buffers wire format that an ONNX file needs, write-only. A message is a list of
 * byte parts with a known total: nested messages are put together by reference, so a tensor of hundreds of
 * megabytes is never copied on its way into the file.
 *
 * Wire format: https://protobuf.dev/programming-guides/encoding/
 */
export interface Encoded {
  /** Sum of the lengths of the parts. */
  bytes: number;
  parts: readonly Uint8Array[];
}

const VARINT = 0;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/** Base-128 varint of an int64; negative numbers take ten bytes, as two's complement. Throws a RangeError. */
export function varint(value: number | bigint): Uint8Array {
  if (typeof value === 'number' && !Number.isSafeInteger(value))
    throw new RangeError(`${value} is not an integer that can be written exactly`);
  const wide = BigInt(value);
  if (BigInt.asIntN(64, wide) !== wide) throw new RangeError(`${wide.toString()} does not fit 64 bits`);
  let rest = BigInt.asUintN(64, wide);
  const out: number[] = [];
  while (rest > 0x7fn) {
    out.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return Uint8Array.from(out);
}

function tag(field: number, wireType: number): Uint8Array {
  return varint(field * 8 + wireType);
}

/** Puts fields (or whole messages) one after the other. */
export function concat(fields: readonly Encoded[]): Encoded {
  let bytes = 0;
  const parts: Uint8Array[] = [];
  for (const field of fields) {
    bytes += field.bytes;
    for (const part of field.parts) parts.push(part);
  }
  return { bytes, parts };
}

function encoded(parts: readonly Uint8Array[]): Encoded {
  return { bytes: parts.reduce((sum, part) => sum + part.byteLength, 0), parts };
}

export function intField(field: number, value: number | bigint): Encoded {
  return encoded([tag(field, VARINT), varint(value)]);
}

export function floatField(field: number, value: number): Encoded {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return encoded([tag(field, FIXED32), bytes]);
}

/** The bytes are kept by reference: they must not change until they are written. */
export function bytesField(field: number, value: Uint8Array): Encoded {
  return encoded([tag(field, LENGTH_DELIMITED), varint(value.byteLength), value]);
}

export function stringField(field: number, value: string): Encoded {
  return bytesField(field, Buffer.from(value, 'utf8'));
}

export function messageField(field: number, fields: readonly Encoded[]): Encoded {
  const message = concat(fields);
  return concat([encoded([tag(field, LENGTH_DELIMITED), varint(message.bytes)]), message]);
}
