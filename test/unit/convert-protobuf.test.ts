import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import {
  bytesField,
  concat,
  floatField,
  intField,
  messageField,
  varint,
} from '../../src/convert/protobuf.js';

/** An independent reader of the wire format, for checking what was written. */
function readVarint(bytes: Uint8Array, start: number): { value: bigint; end: number } {
  let value = 0n;
  let at = start;
  for (let shift = 0n; ; shift += 7n) {
    const byte = bytes[at++];
    if (byte === undefined) throw new Error('varint runs past the end');
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return { value: BigInt.asIntN(64, value), end: at };
  }
}

function readFields(bytes: Uint8Array): [number, bigint | Uint8Array][] {
  const fields: [number, bigint | Uint8Array][] = [];
  for (let at = 0; at < bytes.length;) {
    const key = readVarint(bytes, at);
    const field = Number(key.value >> 3n);
    const type = Number(key.value & 7n);
    const value = type === 5 ? { value: 4n, end: key.end } : readVarint(bytes, key.end);
    if (type === 0) fields.push([field, value.value]);
    else fields.push([field, bytes.subarray(value.end, value.end + Number(value.value))]);
    at = type === 0 ? value.end : value.end + Number(value.value);
  }
  return fields;
}

t.test('a varint is read back as what was written', (test) => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
      const bytes = varint(value);
      const read = readVarint(bytes, 0);
      return read.value === value && read.end === bytes.length;
    }),
  );
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => {
      const bytes = varint(value);
      const magnitude = value < 0 ? 10 : Math.max(1, Math.ceil(BigInt(value).toString(2).length / 7));
      return Number(readVarint(bytes, 0).value) === value && bytes.length === magnitude;
    }),
  );
  for (const bad of [0.5, NaN, 2 ** 53, 2n ** 63n, -(2n ** 63n) - 1n])
    test.throws(() => varint(bad), RangeError);
  test.end();
});

t.test('lengths of nested messages agree with their contents', (test) => {
  const field = fc.integer({ min: 1, max: 500 });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(field, fc.uint8Array({ maxLength: 300 })), { maxLength: 20 }),
      fc.array(fc.tuple(field, fc.maxSafeInteger()), { maxLength: 20 }),
      fc.float(),
      (byteFields, intFields, float) => {
        const inner = [
          ...byteFields.map(([number, value]) => bytesField(number, value)),
          ...intFields.map(([number, value]) => intField(number, value)),
        ];
        const whole = concat([floatField(3, float), messageField(7, inner)]);
        const bytes = Buffer.concat(whole.parts);
        assert.equal(bytes.length, whole.bytes);
        const [first, second] = readFields(bytes);
        assert.deepEqual(Buffer.from(first![1] as Uint8Array).readFloatLE(), float);
        const expected = [
          ...byteFields.map(([number, value]) => [number, Buffer.from(value)] as const),
          ...intFields.map(([number, value]) => [number, BigInt(value)] as const),
        ];
        assert.deepEqual(
          readFields(second![1] as Uint8Array).map(([number, value]) => [
            number,
            typeof value === 'bigint' ? value : Buffer.from(value),
          ]),
          expected,
        );
      },
    ),
    { numRuns: 50 },
  );
  test.end();
});
