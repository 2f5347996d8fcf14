import convict from 'convict';
import { hostname as systemHostname } from 'node:os';
import { join, resolve } from 'node:path';
import { readBounded } from '../common/bounded-read.js';
import { SoundpostError } from '../common/errors.js';
import { projectRoot } from '../common/project.js';
import { crossChecks } from './checks.js';
import { credentialsOf, FormatError, looksLikePath, parseUrl } from './formats.js';
import { readEnvironment, readFlags, type Candidate, type Layer } from './layers.js';
import { convictFormat, keys, schema, type Config, type Key } from './schema.js';
import { maxYamlBytes, readYaml } from './yaml-layer.js';

/** Where a configuration comes from. */
export interface ConfigSources {
  env?: Readonly<Record<string, string | undefined>>;
  /** Keys given on the command line: name without dashes → text. */
  flags?: Readonly<Record<string, string>>;
  /** The YAML file of `--config`; without it the one of SOUNDPOST_CONFIG. */
  configPath?: string | undefined;
  /** The folder of the program, with `config/default.yaml`. */
  root?: string;
  /** Where relative paths start. */
  cwd?: string;
  hostname?: string;
}

/** One key of the effective configuration. */
export interface Entry {
  key: string;
  value: unknown;
  /** `default`, `file:line:column`, an environment variable, a flag … */
  origin: string;
  secret: boolean;
}

export interface LoadedConfig {
  config: Config;
  /** Every key, in the order of the schema; values as they are: see `maskEntries`. */
  entries: Entry[];
}

interface Value {
  value: unknown;
  origin: string;
}

/** More problems than this come from a file that is something else. */
const maxShown = 50;

const maxSecretFileBytes = 256 * 1024;

// convict would turn "abc" into NaN for a number and "nonsense" into true for a switch: its own conversion is
// left out, the readers of the keys do it before.
convict.addFormat({
  name: convictFormat,
  validate: (value: unknown, spec: unknown) => void (spec as Key<unknown>).reader.read(value),
  coerce: (value: unknown) => value,
});

/**
 * Works out the configuration: defaults, `config/default.yaml`, the user's YAML file, the environment, flags;
 * later wins. Throws one SoundpostError `config` that names everything that is wrong, and no secret.
 */
export function loadConfig(sources: ConfigSources = {}): LoadedConfig {
  const env = sources.env ?? process.env;
  const cwd = sources.cwd ?? process.cwd();
  const problems: string[] = [];

  const values = new Map<string, Value>();
  for (const [key, spec] of keys) values.set(key, { value: spec.default, origin: 'default' });
  for (const layer of layersOf(sources, env, cwd)) {
    problems.push(...layer.problems);
    for (const [key, value] of valuesOf(layer, cwd, problems)) values.set(key, value);
  }
  moveAddress(values);
  problems.push(...splitCredentials(values));
  deriveDevice(values, env, sources.hostname ?? systemHostname());
  for (const [key, spec] of keys) {
    const found = values.get(key)!;
    if (spec.path && found.value !== '') found.value = resolve(cwd, String(found.value));
  }

  // A bad value leaves the one below it in place: checking that against the others would only confuse.
  if (problems.length > 0) throw configError(problems);
  const config = assemble(values);
  problems.push(...crossChecks(config, (key) => values.get(key)!.origin));
  if (problems.length > 0) throw configError(problems);

  const entries = [...keys].map(([key, spec]): Entry => ({
    key,
    ...values.get(key)!,
    secret: spec.secret === true,
  }));
  return { config, entries };
}

function configError(problems: readonly string[]): SoundpostError {
  const heading =
    problems.length === 1
      ? 'The configuration has a problem:'
      : `The configuration has ${problems.length} problems:`;
  const lines = problems.slice(0, maxShown).map((problem) => `  - ${problem}`);
  if (problems.length > maxShown) lines.push(`  … and ${problems.length - maxShown} more`);
  return new SoundpostError('config', [heading, ...lines].join('\n'));
}

function layersOf(
  sources: ConfigSources,
  env: Readonly<Record<string, string | undefined>>,
  cwd: string,
): Layer[] {
  const shipped = join(sources.root ?? projectRoot(), 'config', 'default.yaml');
  const layers = [yamlFile(shipped, shipped, true)];
  const variable = env['SOUNDPOST_CONFIG'];
  if (sources.configPath !== undefined) {
    layers.push(yamlFile(resolve(cwd, sources.configPath), `--config ${sources.configPath}`, false));
  } else if (variable !== undefined && variable !== '') {
    layers.push(yamlFile(resolve(cwd, variable), `SOUNDPOST_CONFIG=${variable}`, false));
  }
  return [...layers, readEnvironment(env), readFlags(sources.flags ?? {})];
}

function yamlFile(path: string, wish: string, mayBeMissing: boolean): Layer {
  const read = readBounded(path, maxYamlBytes);
  if ('problem' in read) {
    if (mayBeMissing && read.problem === 'does not exist') return { candidates: [], problems: [] };
    return { candidates: [], problems: [`${wish}: the file ${path} ${read.problem}`] };
  }
  const source = decode(read.bytes);
  if (source === undefined) return { candidates: [], problems: [`${path}: is not text in UTF-8`] };
  return readYaml(source, path);
}

function decode(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** The checked values of one layer. */
function valuesOf(layer: Layer, cwd: string, problems: string[]): Map<string, Value> {
  const values = new Map<string, Value>();
  const directAndFile = new Map<string, Candidate>();
  for (const candidate of layer.candidates) {
    const other = directAndFile.get(candidate.key);
    if (other) {
      problems.push(
        `${candidate.key}: is given twice, by ${other.origin} and by ${candidate.origin}; take one away`,
      );
      continue;
    }
    directAndFile.set(candidate.key, candidate);
    try {
      values.set(candidate.key, readCandidate(candidate, cwd));
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      problems.push(`${candidate.key}${shown(candidate)} (${candidate.origin}): ${error.message}`);
    }
  }
  return values;
}

function readCandidate(candidate: Candidate, cwd: string): Value {
  const spec = keys.get(candidate.key)!;
  let { value, origin } = candidate;
  const isPath = spec.orPath && typeof value === 'string' && looksLikePath(value);
  if (candidate.isFile || isPath) {
    if (typeof value !== 'string' || value.includes('\0') || value.length > 4096) {
      throw new FormatError(isPath ? `must be ${spec.reader.allowed}` : 'must be the path of a file');
    }
    const path = resolve(cwd, value);
    const read = readBounded(path, maxSecretFileBytes);
    if ('problem' in read) {
      // What is given for a key or a certificate may be the thing itself, spoilt: then it is no path to be shown.
      throw new FormatError(
        candidate.isFile
          ? `the file ${path} ${read.problem}`
          : `must be ${spec.reader.allowed}; taken for a path, it ${read.problem}`,
      );
    }
    const content = decode(read.bytes)?.replace(/\r?\n$/, '');
    if (content === undefined)
      throw new FormatError(`the file ${candidate.isFile ? `${path} ` : ''}is not text in UTF-8`);
    if (content === '') throw new FormatError(`the file ${candidate.isFile ? `${path} ` : ''}is empty`);
    value = content;
    origin = `${origin}, file ${path}`;
    if (spec.orPath && looksLikePath(content)) throw new FormatError(`must be ${spec.reader.allowed}`);
  }
  return { value: spec.reader.read(value), origin };
}

/** ` = "value"` for messages, or nothing where the value is secret, may hold a secret, or is too long. */
function shown(candidate: Candidate): string {
  const spec = keys.get(candidate.key);
  if (!spec || spec.secret || spec.fromFile || candidate.isFile || typeof candidate.value === 'object')
    return '';
  const text = JSON.stringify(candidate.value) as string | undefined;
  return text === undefined || text.length > 80 ? '' : ` = ${text}`;
}

/** Moves a user name and a password out of `mqtt.url` into their keys, so that the address can be shown. */
function splitCredentials(values: Map<string, Value>): string[] {
  const address = values.get('mqtt.url')!;
  const url = parseUrl(String(address.value));
  const credentials = url && credentialsOf(url);
  if (!url || !credentials) return [];
  const problems: string[] = [];
  for (const part of ['username', 'password'] as const) {
    const key = `mqtt.${part}`;
    if (credentials[part] === '') continue;
    const own = values.get(key)!;
    if (own.value !== '') {
      problems.push(
        `${key}: is given twice, by ${own.origin} and in mqtt.url (${address.origin}); take one away`,
      );
    }
    values.set(key, { value: credentials[part], origin: `mqtt.url, ${address.origin}` });
    url[part] = '';
  }
  // Written back only where something was taken out: a URL object normalises what it was given.
  if (credentials.username || credentials.password) values.set('mqtt.url', { ...address, value: url.href });
  return problems;
}

/** The source `stream` takes an address in `audio.file` too; as one it is checked and hidden like `audio.url`. */
function moveAddress(values: Map<string, Value>): void {
  const file = values.get('audio.file')!;
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(String(file.value)) || values.get('audio.url')!.value !== '') return;
  values.set('audio.url', file);
  values.set('audio.file', { value: '', origin: 'default' });
}

/** The device's id and name where nobody gave them. */
function deriveDevice(
  values: Map<string, Value>,
  env: Readonly<Record<string, string | undefined>>,
  hostname: string,
): void {
  const id = values.get('device.id')!;
  if (id.value === '') {
    const uuid = sanitised(env['BALENA_DEVICE_UUID'] ?? '').slice(0, 7);
    const host = sanitised(hostname.split('.')[0] ?? '');
    if (uuid) values.set('device.id', { value: uuid, origin: 'BALENA_DEVICE_UUID' });
    else if (host) values.set('device.id', { value: host, origin: 'host name' });
    else values.set('device.id', { value: 'soundpost', origin: 'default' });
  }
  if (values.get('device.name')!.value === '') {
    const reader = keys.get('device.name')!.reader;
    const name = (env['BALENA_DEVICE_NAME_AT_INIT'] ?? '')
      .replace(/\p{Cc}+/gu, ' ')
      .trim()
      .slice(0, 100);
    values.set(
      'device.name',
      name === ''
        ? { value: values.get('device.id')!.value, origin: 'device.id' }
        : { value: reader.read(name), origin: 'BALENA_DEVICE_NAME_AT_INIT' },
    );
  }
}

function sanitised(name: string): string {
  return name
    .replace(/[^a-zA-Z0-9_-]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 64);
}

/** The values as a frozen object, nested like the schema, after convict's own strict validation. */
function assemble(values: ReadonlyMap<string, Value>): Config {
  const checked = convict<Config>(schema, { env: {}, args: [] });
  // convict joins the names in a map with dots and then takes a label such as "Bee, wasp, etc." for a path of
  // keys: maps of labels go in after its validation. The key's reader has checked them.
  const isMap = (key: string): boolean => key === 'tagging.thresholds';
  for (const [key, { value }] of values) if (!isMap(key)) checked.set(key, value);
  checked.validate({ allowed: 'strict' });
  const thresholds = values.get('tagging.thresholds')!.value as Config['tagging']['thresholds'];
  const config = checked.getProperties();
  return deepFreeze({ ...config, tagging: { ...config.tagging, thresholds } });
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}
