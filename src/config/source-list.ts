import { nearest } from '../common/nearest.js';
import { MAX_SOURCES, sourceName } from '../common/rules.js';
import { FormatError, formatOf, jsonOfText, type Format } from './format-of.js';
import { isKey, leaves, mayComeFromFile } from './key.js';
import type { EntryList, EntryProblem, Key, PartOf, Reach, Section } from './key.js';
import { clashesOf, contradictions, type Problem, type ReadEntry } from './source-rules.js';

/*
 * A list of sources as it is written: maps with a name each, and beside it any of the keys that there are for the one
 * source. The rules of a value are those of the single key; what holds between values is in `source-rules.ts`.
 */

/** An entry of such a list: what it leaves out is as the single keys say. */
export type EntryOf<Keys> = { readonly name: string } & PartOf<Keys>;

/** The name of a source. */
export const nameFormat = formatOf(sourceName, {
  allowed:
    '1 to 32 lower-case letters, digits, "_" and "-", of which the first is a letter or a digit, for example front-door',
});

/** More in one entry are no slips. */
const MAX_PROBLEMS = 20;

/** Without the world: no files, and paths and names as they are. */
const noReach: Reach = {
  textOf() {
    throw new FormatError('names a file, which is only read where the configuration is');
  },
  absolute: (path) => path,
  meant: nearest,
};

/** What was written, by the names that it was written under. */
type Given = Readonly<Record<string, unknown>>;

/** A list of sources, each with a name and any of `keys`. */
export function sourceList<Keys extends Section>(
  keys: Keys,
): { reader: Format<readonly EntryOf<Keys>[]>; entries: EntryList } {
  const allowed = `a list of at most ${MAX_SOURCES} sources, each a map with a "name" of its own and any of the keys ${Object.keys(keys).join(', ')}, for example [{"name": "yard", "url": "rtsp://192.168.1.20/yard", "labels": ["Bark"]}] (in the environment and in flags: JSON)`;
  const typed = new Set(leaves(keys, '').flatMap(([key, spec]) => (spec.reader.typed ? [key] : [])));
  const entries: EntryList = {
    read: (value, reach) => readList(keys, value, allowed, reach),
    // A section within an entry holds numbers and switches only.
    isTyped: (key) => typed.has(key) || (Object.hasOwn(keys, key) && !isKey(keys[key]!)),
  };
  const read = (value: unknown): readonly EntryOf<Keys>[] => {
    const { entries: found, problems } = entries.read(value, noReach);
    if (problems.length > 0) throw new FormatError(problems.map(sentenceOf).join('; '));
    return found as readonly EntryOf<Keys>[];
  };
  return { reader: { allowed, typed: true, read }, entries };
}

/** `[1].threshold`: where in a list something is. */
export function placeOf({ index, key }: Pick<EntryProblem, 'index' | 'key'>): string {
  return index === null ? '' : `[${index}]${key === '' ? '' : `.${key}`}`;
}

function sentenceOf(problem: EntryProblem): string {
  return problem.index === null ? problem.message : `${placeOf(problem)}: ${problem.message}`;
}

function readList(
  keys: Section,
  value: unknown,
  allowed: string,
  reach: Reach,
): ReturnType<EntryList['read']> {
  const fail = (message: string) => ({ entries: [], problems: [{ index: null, key: '', message }] });
  const given = typeof value === 'string' ? jsonOfText(value) : value;
  if (!isList(given)) return fail(`${notJson(given)}must be ${allowed}`);
  const problems: EntryProblem[] = [];
  const read = given.slice(0, MAX_SOURCES).map((entry) => readEntry(keys, entry, reach));
  if (given.length > MAX_SOURCES) {
    problems.push({ index: null, key: '', message: `must have at most ${MAX_SOURCES} sources` });
  }
  const clashes = clashesOf(read);
  const entries: object[] = [];
  read.forEach((found, index) => {
    const all = [...found.problems, ...clashes[index]!];
    problems.push(...all.map((problem) => ({ index, ...problem })));
    if (all.length === 0) entries.push(found.entry);
  });
  return { entries, problems };
}

const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value);

/** Where a text that begins like a list ends to be JSON. The parser's own words quote it, and a password may be in it. */
function notJson(text: unknown): string {
  if (typeof text !== 'string' || !text.trimStart().startsWith('[')) return '';
  try {
    JSON.parse(text);
    return '';
  } catch (error) {
    const position = error instanceof Error ? /at position (\d+)/.exec(error.message)?.[1] : undefined;
    return `is not valid JSON${position === undefined ? '' : ` (look at character ${Number(position) + 1})`}; `;
  }
}

function readEntry(keys: Section, given: unknown, reach: Reach): ReadEntry {
  if (!isMap(given)) {
    const message = 'must be a map with a "name", for example {"name": "yard", "device": "USB"}';
    return { entry: {}, problems: [{ key: '', message }] };
  }
  const { name: givenName, ...rest } = given;
  const problems: Problem[] = [];
  const own: Record<string, unknown> = {};
  if (givenName === undefined || givenName === null) {
    problems.push({ key: 'name', message: `is missing; must be ${nameFormat.allowed}` });
  } else {
    attempt(problems, 'name', () => (own['name'] = nameFormat.read(givenName)));
  }
  const read = readSection(keys, addressInItsPlace(rest), '', reach);
  const entry = { ...own, ...read.values };
  problems.push(...read.problems);
  // Values that are wrong would be taken for such as are left out.
  if (read.problems.length === 0) problems.push(...contradictions(entry));
  return { entry, problems };
}

const isMap = (value: unknown): value is Given =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** An address that stands in `file` is checked and hidden like one in `url`, as it is with the single keys. */
function addressInItsPlace(given: Given): Given {
  const { file, url, ...rest } = given;
  const isAddress = typeof file === 'string' && /^[a-z][a-z0-9+.-]*:\/\//i.test(file);
  return isAddress && (url ?? '') === '' && !Object.hasOwn(given, 'url_file')
    ? { ...rest, url: file }
    : given;
}

function readSection(
  section: Section,
  given: Given,
  prefix: string,
  reach: Reach,
): { values: Record<string, unknown>; problems: Problem[] } {
  const problems: Problem[] = [];
  const values: [string, unknown][] = [];
  for (const [written, value] of Object.entries(given)) {
    if (problems.length >= MAX_PROBLEMS) break;
    const node = ownNode(section, written);
    const key = prefix + written;
    if (node === undefined) {
      const target = written.replace(/_file$/, '');
      const spec = target === written ? undefined : ownNode(section, target);
      if (spec === undefined || !isKey(spec) || !mayComeFromFile(spec)) {
        problems.push(unknownKey(written, value, section, prefix, reach));
      } else if ((given[target] ?? '') !== '') {
        problems.push({ key, message: `${target} is given as well; take one of the two away` });
      } else if ((value ?? '') !== '') {
        attempt(problems, key, () => values.push([target, spec.reader.read(reach.textOf(value))]));
      }
    } else if (value === undefined || (value === null && !takesNull(node))) {
      continue;
    } else if (isKey(node)) {
      attempt(problems, key, () => values.push([written, valueOf(node, value, reach)]));
    } else if (!isMap(value)) {
      problems.push({ key, message: `must be a map of ${Object.keys(node).join(', ')}` });
    } else {
      const inner = readSection(node, value, `${key}.`, reach);
      values.push([written, inner.values]);
      problems.push(...inner.problems);
    }
  }
  return { values: Object.fromEntries(values), problems };
}

function ownNode(section: Section, name: string): Section | Key<unknown> | undefined {
  return Object.hasOwn(section, name) ? section[name] : undefined;
}

/** Left empty, a key is as the single one says, but for those for which empty is a value. */
function takesNull(node: Section | Key<unknown>): boolean {
  return isKey(node) && node.default === null;
}

function valueOf(spec: Key<unknown>, given: unknown, reach: Reach): unknown {
  const value = spec.reader.read(given);
  return spec.path === true && typeof value === 'string' && value !== '' ? reach.absolute(value) : value;
}

function attempt(problems: Problem[], key: string, read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    problems.push({ key, message: error.message });
  }
}

function unknownKey(
  written: string,
  value: unknown,
  section: Section,
  prefix: string,
  reach: Reach,
): Problem {
  const known = Object.keys(section);
  const meant =
    written.length > 40 ? undefined : reach.meant(written, prefix === '' ? ['name', ...known] : known);
  // In braces a comma ends a value: what follows one in a password looks like a key without a value.
  const mayBeValue = (value ?? '') === '' && meant === undefined;
  if (mayBeValue || !/^[a-z][a-z0-9_.-]{0,39}$/i.test(written)) {
    return {
      key: prefix.slice(0, -1),
      message: `has a key that there is not${mayBeValue ? ' (text with a comma in it must stand in quotes)' : ''}; there are ${known.join(', ')}`,
    };
  }
  const misplaced = isMap(value) ? Object.keys(value).filter((key) => known.includes(key)) : [];
  if (misplaced.length > 0) {
    const where = prefix === '' ? 'name' : prefix.slice(0, -1);
    return {
      key: prefix + written,
      message: `there is no such key; write what stands in it (${misplaced.join(', ')}) directly beside ${where}`,
    };
  }
  const hint = meant === undefined ? `; there are ${known.join(', ')}` : `; did you mean ${meant}?`;
  return { key: prefix + written, message: `there is no such key${hint}` };
}
