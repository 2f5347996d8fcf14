import { stringify } from 'yaml';
import { messageOf, SoundpostError } from '../../src/common/errors.js';
import type { Key } from '../../src/config/key.js';
import { loadConfig } from '../../src/config/load.js';
import { environmentName, keys } from '../../src/config/schema.js';

/*
 * Wrong values for every key of the schema. What a key takes is asked of nobody: a value is taken or refused by the
 * program, and either has to be done properly.
 */

/** Of every type that YAML knows, with such as are nearly right. */
const yamlValues: readonly unknown[] = [
  'a word',
  '',
  ' ',
  '\u0001',
  'x'.repeat(5000),
  '😀',
  '-1',
  '1e999',
  '__proto__',
  0,
  -1,
  0.5,
  1e300,
  NaN,
  Infinity,
  true,
  false,
  null,
  [],
  [1],
  [null],
  [[[]]],
  ['a word'],
  [{}],
  {},
  { a: 1 },
  { name: 1, labels: [] },
  { constructor: { prototype: 1 } },
  new Date(0),
];

/** For the environment, where everything is text. */
const textValues: readonly string[] = [
  'a word',
  ' ',
  '\u0001',
  'x'.repeat(5000),
  '-1',
  '1e999',
  'NaN',
  'true',
  '[]',
  '[1]',
  '[{}]',
  '{}',
  '{"a":',
  '{"a":1}',
  '"text"',
  '{"__proto__":1}',
  'null',
];

/** A text that this key must refuse. */
export function wrongText({ reader, path, orPath }: Key<unknown>): string {
  if (orPath === true) return '/nonexistent/file.pem';
  return reader.typed ? '{"no":\u0001' : path === true ? 'x'.repeat(5000) : '\u0001 not right';
}

interface Misbehaviour {
  key: string;
  what: string;
}

/** The type of a value, as far as one key has one. */
const typeOf = (value: unknown): string =>
  Array.isArray(value) ? 'list' : value === null ? 'null' : typeof value;

/** Types that a key may have: that of its default, and what is documented beside it. */
function typesOf({ default: usual, reader }: Key<unknown>): readonly string[] {
  const own = typeOf(usual);
  if (own === 'null') return ['null', 'number'];
  // A number or a word, such as 1 and max.
  return /\bor\b|mix|index|all,/.test(reader.allowed) ? [own, 'number', 'string', 'list'] : [own];
}

/** Tries one value; `taken`, `refused`, or what the program does wrong. */
function tryValue(key: string, spec: Key<unknown>, sources: Parameters<typeof loadConfig>[0]): string {
  try {
    const { entries } = loadConfig(sources);
    const { value } = entries.find((entry) => entry.key === key)!;
    return typesOf(spec).includes(typeOf(value)) ? 'taken' : `became a ${typeOf(value)}`;
  } catch (error) {
    if (!(error instanceof SoundpostError) || error.code !== 'config') return `threw ${messageOf(error)}`;
    // Two keys that do not fit each other are told as such.
    const named = error.message.includes(key) || error.message.includes(environmentName(key));
    return named ? 'refused' : `is not named in "${error.message.slice(0, 200)}"`;
  }
}

/** Every key with every value, in a file and in the environment. */
export function tryAllWrongValues(options: { writeYaml(text: string): string; cwd: string }): {
  tried: number;
  refused: number;
  wrong: Misbehaviour[];
} {
  let tried = 0;
  let refused = 0;
  const wrong: Misbehaviour[] = [];
  const judge = (key: string, shown: string, outcome: string) => {
    tried += 1;
    if (outcome === 'refused') refused += 1;
    else if (outcome !== 'taken') wrong.push({ key, what: `${shown.slice(0, 60)}: ${outcome}` });
  };
  const sources = { root: options.cwd, cwd: options.cwd, hostname: 'tried', flags: {} };
  for (const [key, spec] of keys) {
    for (const value of yamlValues) {
      const nested = key.split('.').reduceRight<unknown>((inner, name) => ({ [name]: inner }), value);
      const configPath = options.writeYaml(stringify(nested));
      judge(key, `file ${JSON.stringify(value)}`, tryValue(key, spec, { ...sources, env: {}, configPath }));
    }
    for (const value of textValues) {
      const env = { [environmentName(key)]: value };
      judge(key, `environment ${JSON.stringify(value)}`, tryValue(key, spec, { ...sources, env }));
    }
  }
  return { tried, refused, wrong };
}
