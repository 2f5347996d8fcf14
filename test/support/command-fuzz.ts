import fc from 'fast-check';
import { commandSpecs } from '../../src/mqtt/command-specs.js';
import type { CommandSpec } from '../../src/mqtt/command.js';

/** A message for the command door, as strange as can be. */
export interface Knock {
  /** Below `B`. */
  path: string;
  payload: Buffer;
  retain: boolean;
  responseTopic: string | undefined;
  correlationData: Buffer | undefined;
}

const specs: Record<string, CommandSpec> = commandSpecs;
const names = Object.keys(specs);
const json = (value: unknown) => Buffer.from(JSON.stringify(value));

const anyText = fc.string({ unit: 'binary', maxLength: 80 });
const word = fc.stringMatching(/^[a-zA-Z0-9_-]{1,12}$/);
const path = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...names).map((name) => `request/${name}`) },
  { weight: 3, arbitrary: fc.constantFrom(...names) },
  { weight: 1, arbitrary: fc.constantFrom(...names).map((name) => `source/yard/${name}`) },
  { weight: 1, arbitrary: fc.tuple(word, word).map(([name, thing]) => `source/${name}/${thing}/set`) },
  { weight: 1, arbitrary: fc.array(word, { minLength: 1, maxLength: 4 }).map((words) => words.join('/')) },
  { weight: 1, arbitrary: word.map((text) => `request/${text}`) },
  { weight: 1, arbitrary: word.map((text) => `${text}/set`) },
  { weight: 1, arbitrary: anyText },
  { weight: 1, arbitrary: anyText.map((text) => `request/${text}`) },
  { weight: 1, arbitrary: anyText.map((text) => `${text}/set`) },
);

/** Keys of all requests, and such as JavaScript has a use of its own for. */
const key = fc.constantFrom(
  ...new Set(Object.values(specs).flatMap(({ example }) => Object.keys(example ?? {}))),
  'transaction',
  'source',
  '__proto__',
  'constructor',
  'toString',
);
const examples = Object.values(specs).flatMap(({ example, setExample }) => [
  ...(example === undefined ? [] : [json(example)]),
  ...(setExample === undefined ? [] : [Buffer.from(setExample)]),
]);
/** Numbers at the edges of what is allowed are likelier to show a mistake than any others. */
const value = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(-1, 0, 0.01, 0.5, 1, 20, 60, 86_400, 1e308, null, '', 'Dog', 'yard', true),
);
const payload = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...examples) },
  { weight: 3, arbitrary: fc.dictionary(key, value, { maxKeys: 4 }).map(json) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)) },
  { weight: 1, arbitrary: fc.json().map((text) => Buffer.from(text)) },
  { weight: 1, arbitrary: fc.constantFrom('', ' ', 'ON', '1', '{', '[]', 'null').map((s) => Buffer.from(s)) },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constantFrom(...examples), fc.nat(), fc.nat(255)).map(([bytes, at, byte]) => {
      const spoilt = Buffer.from(bytes);
      spoilt[at % spoilt.length] = byte;
      return spoilt;
    }),
  },
);

/** A request as it should be, once for each command and form. */
const right = Object.entries(specs).flatMap(([name, { example, setExample }]) => [
  { path: `request/${name}`, payload: json(example ?? {}) },
  ...(setExample === undefined ? [] : [{ path: name, payload: Buffer.from(setExample) }]),
]);
const request = fc.oneof(
  fc.constantFrom(...right),
  fc.record({ path, payload }),
  fc.record({ path, payload }),
);

const properties = fc.record({
  retain: fc.nat(4).map((roll) => roll === 0),
  responseTopic: fc.option(fc.oneof(anyText, fc.constantFrom('answers/1', '$SYS/x', '#', 'a/set')), {
    nil: undefined,
  }),
  correlationData: fc.option(
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    { nil: undefined },
  ),
});

export const knock: fc.Arbitrary<Knock> = fc
  .tuple(request, properties)
  .map(([what, how]) => ({ ...what, ...how }));
