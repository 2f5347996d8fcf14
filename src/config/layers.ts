import { nearest } from '../common/nearest.js';
import { environmentName, keys, mayComeFromFile } from './schema.js';

/** A value that was written somewhere, before it is checked. */
export interface Candidate {
  key: string;
  value: unknown;
  /** Where it was written, for people: `file:line:column`, the environment variable or the flag. */
  origin: string;
  /** True where the value is the path of the file that holds the real value. */
  isFile?: boolean;
}

/** Everything one place has to say, and what is wrong with it; a later layer wins over an earlier one. */
export interface Layer {
  candidates: Candidate[];
  problems: string[];
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
      const meant = nearest(name, names.keys());
      layer.problems.push(
        `environment variable ${name}: belongs to no key${meant ? `; did you mean ${meant}?` : ''}`,
      );
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
    if (!found) layer.problems.push(`flag ${origin}: there is no such key${keyHint(name)}`);
    else if (seen.has(canonical(name))) layer.problems.push(`flag ${origin}: is given twice`);
    else layer.candidates.push({ ...found, value, origin });
    seen.add(canonical(name));
  }
  return layer;
}

/**
 * Takes the flags that set keys (`--mqtt.url x`, `--mqtt-url=x`, `--audio.loop` for switches) out of a command
 * line; `rest` is everything else, in order. Whatever has a dot in its name counts as meant for a key.
 */
export function takeFlags(args: readonly string[]): { flags: Record<string, string>; rest: string[] } {
  const flags = new Map<string, string>();
  const rest: string[] = [];
  for (let index = 0; index < args.length; index += 1) {
    const argument = args[index]!;
    if (argument === '--') {
      rest.push(...args.slice(index));
      break;
    }
    const match = /^--([a-zA-Z][a-zA-Z0-9_.-]*)(?:=([^]*))?$/.exec(argument);
    const name = match?.[1];
    const found = name === undefined ? undefined : flagKey(name);
    if (name === undefined || !(found ?? /^[a-z]+\./.test(name))) {
      rest.push(argument);
      continue;
    }
    const next = args[index + 1];
    const isSwitch = found !== undefined && typeof keys.get(found.key)?.default === 'boolean';
    const takesNext =
      match?.[2] === undefined &&
      next !== undefined &&
      (isSwitch ? /^(true|false|yes|no|on|off)$/i.test(next) : !next.startsWith('--'));
    flags.set(name, match?.[2] ?? (takesNext ? next : isSwitch ? 'true' : ''));
    if (takesNext) index += 1;
  }
  return { flags: Object.fromEntries(flags), rest };
}

function canonical(name: string): string {
  return name.toLowerCase().replace(/[.-]/g, '_');
}

const keyByFlag = new Map<string, Omit<Candidate, 'value' | 'origin'>>(
  [...keys].flatMap(([key, spec]) => [
    [canonical(key), { key }],
    ...(mayComeFromFile(spec) ? [[`${canonical(key)}_file`, { key, isFile: true }] as const] : []),
  ]),
);

function flagKey(name: string): Omit<Candidate, 'value' | 'origin'> | undefined {
  return keyByFlag.get(canonical(name));
}

/** "; did you mean …?" for a name that is no key, or nothing where no key comes near. */
export function keyHint(name: string): string {
  if (keys.has(name) || !name.includes('.')) {
    const inSection = [...keys.keys()].filter((key) => key.split('.').at(-1) === name.toLowerCase());
    if (inSection.length > 0) return `; did you mean ${inSection.join(' or ')}?`;
  }
  const meant =
    nearest(name, keys.keys()) ?? keyByFlag.get(nearest(canonical(name), keyByFlag.keys()) ?? '')?.key;
  return meant ? `; did you mean ${meant}?` : '; "soundpost config" shows every key';
}
