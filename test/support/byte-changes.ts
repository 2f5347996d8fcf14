import fc from 'fast-check';

/** A change of a file; places are parts of its length, so that they fit after other changes. */
export type Change = (bytes: Buffer) => Buffer;

// Not fc.double, which is nearly always close to an end.
const place = fc.integer({ min: 0, max: 1_000_000 }).map((millionths) => millionths / 1_000_000);
const at = (bytes: Buffer, part: number): number => Math.floor(part * bytes.length);

const flip = fc.tuple(place, fc.integer({ min: 1, max: 255 })).map(([part, mask]): Change => (bytes) => {
  const changed = Buffer.from(bytes);
  const index = Math.min(at(bytes, part), bytes.length - 1);
  if (index >= 0) changed[index] = changed[index]! ^ mask;
  return changed;
});

const cut = place.map(
  (part): Change =>
    (bytes) =>
      bytes.subarray(0, at(bytes, part)),
);

const remove = fc.tuple(place, fc.integer({ min: 1, max: 40 })).map(
  ([part, count]): Change =>
    (bytes) =>
      Buffer.concat([bytes.subarray(0, at(bytes, part)), bytes.subarray(at(bytes, part) + count)]),
);

/** Puts a piece of some good file in, or over what is there. */
const spliceFrom = (good: readonly Buffer[]) =>
  fc
    .tuple(fc.constantFrom(...good), place, fc.integer({ min: 1, max: 200 }), place, fc.boolean())
    .map(([source, from, count, to, over]): Change => (bytes) => {
      const piece = source.subarray(at(source, from), at(source, from) + count);
      const start = at(bytes, to);
      const rest = bytes.subarray(over ? start + piece.length : start);
      return Buffer.concat([bytes.subarray(0, start), piece, rest]);
    });

/** Numbers at the edges of what a length or an offset may be. */
const edge = fc
  .tuple(
    place,
    fc.constantFrom('00', 'ff', 'ffff', 'ffffffff', 'ffffff7f', 'ffffffffffffffff', '00000000ffff1f00'),
  )
  .map(([part, hex]): Change => (bytes) => {
    const changed = Buffer.from(bytes);
    Buffer.from(hex, 'hex').copy(changed, at(bytes, part));
    return changed;
  });

/** One to three changes of a file; pieces are taken from the `good` ones. */
export function changesWith(good: readonly Buffer[]): fc.Arbitrary<Change[]> {
  return fc.array(fc.oneof({ weight: 8, arbitrary: flip }, cut, remove, spliceFrom(good), edge), {
    minLength: 1,
    maxLength: 3,
  });
}

export function applyChanges(bytes: Buffer, list: readonly Change[]): Buffer {
  return list.reduce<Buffer>((changed, change) => change(changed), bytes);
}
