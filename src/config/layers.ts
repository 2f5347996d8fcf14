import { editDistance, nearest } from '../common/nearest.js';
import { mayComeFromFile } from './key.js';
import { canonical, meantKeys } from './meant.js';
import { environmentName, keys } from './schema.js';

/** A value that was written somewhere, before it is checked. */
export interface Candidate {
  key: string;
  value: unknown;
  /** Where it was written, for people: `file:line:column`, the environment variable or the flag. */
  origin: string;
  /** True where the value is the path of the file that holds the real value. */
  isFile?: boolean;
  /** Of a list: where each of its entries was written, where that is known. */
  entryOrigins?: readonly string[];
}

/** Everything one place has to say, and what is wrong with it; a later layer wins over an earlier one. */
export interface Layer {
  candidates: Candidate[];
  problems: LayerProblem[];
  /** A file of which nothing can be understood, whatever it was to say. */
  unreadable?: boolean;
}

/** What is wrong in one place, before any value is checked. */
export interface LayerProblem {
  message: string;
  /** The key whose value is lost by it, where it is known. */
  key?: string;
  /** What goes on all the same where what is wrong is left out; stands in brackets behind the message. */
  remains?: string;
  /** A name that may well be somebody else's, such as a variable that a container engine sets. */
  mayBeForeign?: boolean;
}

/** Environment variables beginning with SOUNDPOST_ that are no keys. */
const otherVariables = /^SOUNDPOST_(CONFIG$|TEST_)/;

/** The values in the environment. An empty variable is as good as none: balena and Compose set those. */
export function readEnvironment(env: Readonly<Record<string, string | undefined>>): Layer {
  const layer: Layer = { candidates: [], problems: [] };
  const names = new Map<string, Omit<Candidate, 'value' | 'origin'>>();
  for (const [key, spec] of keys) {
    names.set(environmentName(key), { key });
    if (mayComeFromFile(spec)) names.set(`${environmentName(key)}_FILE`, { key, isFile: true });
  }
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith('SOUNDPOST_') || otherVariables.test(name)) continue;
    if (value === undefined || value === '') continue;
    const known = names.get(name);
    if (known) layer.candidates.push({ ...known, value, origin: name });
    else {
      const meant = meantVariable(name, [...names.keys(), 'SOUNDPOST_CONFIG']);
      layer.problems.push({
        message: `environment variable ${name}: belongs to no key${meant ? `; did you mean ${meant}?` : ''}`,
        mayBeForeign: true,
      });
    }
  }
  return layer;
}

/**
 * The values given as command-line flags: names without the leading dashes, `mqtt.base_topic` or
 * `mqtt-base-topic`, with their text.
 */
export function readFlags(flags: Readonly<Record<string, string>>): Layer {
  const layer: Layer = { candidates: [], problems: [] };
  const seen = new Set<string>();
  for (const [name, value] of Object.entries(flags)) {
    const found = flagKey(name);
    const origin = `--${name}`;
    if (!found) layer.problems.push({ message: `flag ${origin}: there is no such key${keyHint(name)}` });
    else if (seen.has(canonical(name)))
      layer.problems.push({ message: `flag ${origin}: is given twice`, key: found.key });
    else layer.candidates.push({ ...found, value, origin });
    seen.add(canonical(name));
  }
  return layer;
}

const keyByFlag = new Map<string, Omit<Candidate, 'value' | 'origin'>>(
  [...keys].flatMap(([key, spec]) => [
    [canonical(key), { key }],
    ...(mayComeFromFile(spec) ? [[`${canonical(key)}_file`, { key, isFile: true }] as const] : []),
  ]),
);

/** Every flag that sets a key, without dashes, as `mqtt.base_topic`; secrets also as `mqtt.password_file`. */
export function flagNames(): string[] {
  return [...keys].flatMap(([key, spec]) => (mayComeFromFile(spec) ? [key, `${key}_file`] : [key]));
}

function flagKey(name: string): Omit<Candidate, 'value' | 'origin'> | undefined {
  return keyByFlag.get(canonical(name));
}

/** The variable that was probably meant: one that is spelt almost so, or that of a key that others call so. */
function meantVariable(name: string, known: readonly string[]): string | undefined {
  const [key] = meantKeys(name.replace(/^SOUNDPOST_/, ''));
  return nearest(name, known.filter(isClose(name))) ?? (key ? environmentName(key) : nearest(name, known));
}

/** A slip of the pen: two letters at most. */
function isClose(name: string): (other: string) => boolean {
  return (other) => editDistance(name, other, 2) <= 2;
}

/** "; did you mean …?" for a name that is no key, or nothing where no key comes near. */
export function keyHint(name: string): string {
  const meant = meantKeys(name);
  return meant.length > 0
    ? `; did you mean ${meant.join(' or ')}?`
    : '; "npx soundpost config" shows every key';
}
