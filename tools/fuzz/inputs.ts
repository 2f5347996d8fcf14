import fc from 'fast-check';
import { applyChanges, changesWith } from '../../test/support/byte-changes.js';

/* Inputs that are nearly right, which get further than random ones, and random ones. */

/** Good files with changed bytes, and bytes of any kind. */
export function changedBytes(good: readonly Buffer[]): fc.Arbitrary<Buffer> {
  return fc.oneof(
    {
      weight: 9,
      arbitrary: fc
        .tuple(fc.constantFrom(...good), changesWith(good))
        .map(([bytes, changes]) => applyChanges(bytes, changes)),
    },
    fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
  );
}

/** Values that programs stumble over. */
const strange = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom<unknown>(-1, 0, 0.5, 1e308, -1e308, 2 ** 53, 2 ** 31, null, true, '', [], {}),
  fc.constantFrom<unknown>('x'.repeat(70_000), '../../etc/passwd', '\u0000', '\ud800', '🔊'.repeat(200)),
  fc.constantFrom<unknown>(Array.from({ length: 3000 }, (_, index) => index)),
);

const keys = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.constantFrom('__proto__', 'constructor', 'toString', ''),
);

/** Changes one place of a JSON value: another value, a key more, or a key less. */
function changeAt(
  value: unknown,
  path: readonly number[],
  how: number,
  key: string,
  other: unknown,
): unknown {
  const [step, ...rest] = path;
  if (typeof value !== 'object' || value === null) return other;
  const entries = Object.entries(value);
  const rebuild = (changed: [string, unknown][]) =>
    Array.isArray(value) ? changed.map(([, item]) => item) : Object.fromEntries(changed);
  if (entries.length === 0 || step === undefined) {
    if (how === 0) return other;
    return how === 1 ? rebuild([...entries, [key, other]]) : rebuild(entries.slice(1));
  }
  const index = step % entries.length;
  return rebuild(
    entries.map(([name, item], position) => [
      name,
      position === index ? changeAt(item, rest, how, key, other) : item,
    ]),
  );
}

/** Texts that were JSON of a good form: with another value somewhere, or with changed bytes. */
export function changedJson(good: readonly unknown[]): fc.Arbitrary<string> {
  const texts = good.map((value) => Buffer.from(JSON.stringify(value)));
  const place = fc.array(fc.nat(1000), { maxLength: 5 });
  return fc.oneof(
    {
      weight: 4,
      arbitrary: fc
        .tuple(
          fc.constantFrom(...good),
          fc.array(fc.tuple(place, fc.nat(2), keys, strange), { minLength: 1, maxLength: 3 }),
        )
        .map(([value, changes]) =>
          JSON.stringify(
            changes.reduce<unknown>(
              (now, [path, how, key, other]) => changeAt(now, path, how, key, other),
              value,
            ),
          ),
        ),
    },
    { weight: 2, arbitrary: changedBytes(texts).map((bytes) => bytes.toString()) },
    { weight: 1, arbitrary: fc.json() },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 200 }) },
    { weight: 1, arbitrary: fc.nat(4000).map((depth) => '['.repeat(depth)) },
  );
}

/** Text made of pieces of a language, so that it often nearly means something. */
export function textOf(pieces: readonly string[]): fc.Arbitrary<string> {
  return fc
    .array(
      fc.oneof(
        { weight: 6, arbitrary: fc.constantFrom(...pieces) },
        fc.string({ unit: 'binary', maxLength: 20 }),
      ),
      {
        maxLength: 40,
      },
    )
    .map((parts) => parts.join(''));
}
