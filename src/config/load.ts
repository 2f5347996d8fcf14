import convict from 'convict';
import { hostname as systemHostname } from 'node:os';
import { join, resolve } from 'node:path';
import { deepFreeze } from '../common/deep-freeze.js';
import { SoundpostError } from '../common/errors.js';
import { projectRoot } from '../common/project.js';
import { currentModelId, successorMessage } from '../models/bundled.js';
import { crossChecks } from './checks.js';
import { credentialsOf, parseUrl } from './addresses.js';
import { FormatError } from './format-of.js';
import { convictFormat, type Key } from './key.js';
import { readEnvironment, readFlags, type Layer, type LayerProblem } from './layers.js';
import { valuesOf, yamlFile, type Value } from './layer-values.js';
import { keys, schema, type Config } from './schema.js';

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
  /** What is taken otherwise than it was written, though nothing is wrong with it; for the log. */
  notes: string[];
}

/** More problems than this come from a file that is something else. */
const maxShown = 50;

// convict would turn "abc" into NaN for a number and "nonsense" into true for a switch: its own conversion is
// left out, the readers of the keys do it before.
convict.addFormat({
  name: convictFormat,
  validate: (value: unknown, spec: unknown) => void (spec as Key<unknown>).reader.read(value),
  coerce: (value: unknown) => value,
});

/** Something that is wrong with the configuration, for people; no secret is in it. */
export interface ConfigProblem {
  /** `warn` for what may well be meant for somebody else. */
  level: 'warn' | 'error';
  message: string;
}

/**
 * Works out the configuration: defaults, `config/default.yaml`, the user's YAML file, the environment, flags;
 * later wins. Throws one SoundpostError `config` that names everything that is wrong, and no secret.
 */
export function loadConfig(sources: ConfigSources = {}): LoadedConfig {
  const { values, problems, notes } = gather(sources);
  // A bad value leaves the one below it in place: checking that against the others would only confuse.
  if (problems.length > 0) throw configError(problems.map(({ message }) => message));
  const config = assemble(values);
  const crossed = crossChecks(config, (key) => values.get(key)!.origin);
  if (crossed.length > 0) throw configError(crossed.map(({ message }) => message));
  return { config, entries: entriesOf(values), notes };
}

/** Without these there is no way to the broker that was meant, and none to tell anybody what is wrong. */
const essentialKeys = ['url', 'username', 'password', 'ca', 'cert', 'key'].map((name) => `mqtt.${name}`);

/**
 * The same for a device that nobody sits at: what is wrong is left out, so that the value of the layer below or the
 * default holds, and is told. `unusable` says why the broker cannot be reached with what is left; the configuration
 * is then good for the log and the data folder only. Throws nothing.
 */
export function loadConfigAnyway(
  sources: ConfigSources = {},
): LoadedConfig & { problems: ConfigProblem[]; unusable: string | null } {
  const { values, problems: found, notes, lost, fileLost } = gather(sources);
  const problems = found.map(({ level, message, remains }): ConfigProblem => ({
    level,
    message: remains === undefined ? message : `${message} (${remains})`,
  }));
  const noWay = fileLost && values.get('mqtt.url')!.value === '';
  const fatal = new Set(essentialKeys.filter((key) => lost.has(key)));
  let config = assemble(values);
  // Each round takes at least one key back to its default, and defaults fit each other.
  for (;;) {
    const [crossed] = crossChecks(config, (key) => values.get(key)!.origin);
    if (crossed === undefined) break;
    problems.push({ level: 'error', message: crossed.message });
    for (const key of crossed.keys) {
      if (essentialKeys.includes(key)) fatal.add(key);
      values.set(key, { value: keys.get(key)!.default, origin: 'default' });
    }
    inferSource(values);
    config = assemble(values);
  }
  const unusable = noWay
    ? 'the configuration file cannot be read, and no other place names a broker'
    : fatal.size > 0
      ? `there is no way to the broker without ${[...fatal].join(', ')}`
      : null;
  return { config, entries: entriesOf(values), notes, problems: problems.slice(0, maxShown), unusable };
}

function entriesOf(values: ReadonlyMap<string, Value>): Entry[] {
  return [...keys].map(([key, spec]): Entry => ({
    key,
    ...values.get(key)!,
    secret: spec.secret === true,
  }));
}

/** A problem, and what goes on all the same where what is wrong is left out. */
type FoundProblem = ConfigProblem & Pick<LayerProblem, 'remains'>;

/** The values of all layers, checked one by one. A bad one leaves that of the layer below in place. */
function gather(sources: ConfigSources): {
  values: Map<string, Value>;
  problems: FoundProblem[];
  notes: string[];
  /** Keys of which the last word cannot be understood. */
  lost: ReadonlySet<string>;
  /** Whether there is a file that cannot be read at all. */
  fileLost: boolean;
} {
  const env = sources.env ?? process.env;
  const cwd = sources.cwd ?? process.cwd();
  const problems: FoundProblem[] = [];
  const lost = new Set<string>();
  let fileLost = false;

  const values = new Map<string, Value>();
  for (const [key, spec] of keys) values.set(key, { value: spec.default, origin: 'default' });
  for (const layer of layersOf(sources, env, cwd)) {
    const found = valuesOf(layer, cwd);
    const wrong = [...layer.problems, ...found.problems];
    for (const [key, value] of found.values) {
      values.set(key, value);
      lost.delete(key);
    }
    for (const { message, key, mayBeForeign, remains } of wrong) {
      const level = mayBeForeign === true ? 'warn' : 'error';
      problems.push({ level, message, ...(remains !== undefined && { remains }) });
      if (key !== undefined) lost.add(key);
    }
    fileLost ||= layer.unreadable === true;
  }
  moveAddress(values);
  inferSource(values);
  problems.push(...splitCredentials(values).map((message) => ({ level: 'error' as const, message })));
  deriveDevice(values, env, sources.hostname ?? systemHostname());
  for (const [key, spec] of keys) {
    const found = values.get(key)!;
    if (spec.path && found.value !== '') found.value = resolve(cwd, String(found.value));
    // What was moved from one key into another has only been checked as the one.
    try {
      spec.reader.read(found.value);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      problems.push({ level: 'error', message: `${key} (${found.origin}): ${error.message}` });
      lost.add(key);
      values.set(key, { value: spec.default, origin: 'default' });
    }
  }
  return { values, problems, notes: takeSuccessor(values), lost, fileLost };
}

/** Puts the successor in place of a model that is no longer part of the program; says so. */
function takeSuccessor(values: Map<string, Value>): string[] {
  const { value, origin } = values.get('model.id')!;
  const wanted = String(value);
  const id = currentModelId(wanted);
  if (id === wanted) return [];
  values.set('model.id', { value: id, origin: `${origin}, in place of ${wanted}` });
  return [`model.id (${origin}): ${successorMessage(wanted)}`];
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

/** Moves a user name and a password out of `mqtt.url` into their keys, so that the address can be shown; only where it is the one. */
function splitCredentials(values: Map<string, Value>): string[] {
  const address = values.get('mqtt.url')!;
  // In a list each keeps its own, and the keys are for those that have none.
  if (typeof address.value !== 'string') return [];
  const url = parseUrl(address.value);
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

/**
 * Whoever gives an address or a recording wants to hear that, and not the microphone. Where both are given it stays
 * open: see `crossChecks`.
 */
function inferSource(values: Map<string, Value>): void {
  if (values.get('audio.source')!.value !== 'auto') return;
  // Beside a list neither means anything: see `crossChecks`.
  if (isNotEmpty(values.get('audio.sources')!.value)) return;
  const [url, file] = [values.get('audio.url')!, values.get('audio.file')!];
  if ((url.value === '') === (file.value === '')) return;
  const [source, given] = url.value === '' ? (['file', file] as const) : (['stream', url] as const);
  const key = source === 'file' ? 'audio.file' : 'audio.url';
  values.set('audio.source', { value: source, origin: `${key}, ${given.origin}` });
}

const isNotEmpty = (list: unknown): boolean => Array.isArray(list) && list.length > 0;

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
  const later = new Set(['tagging.thresholds', 'audio.sources']);
  for (const [key, { value }] of values) if (!later.has(key)) checked.set(key, value);
  checked.validate({ allowed: 'strict' });
  const config = checked.getProperties();
  const thresholds = values.get('tagging.thresholds')!.value as Config['tagging']['thresholds'];
  const sources = values.get('audio.sources')!.value as Config['audio']['sources'];
  return deepFreeze({
    ...config,
    audio: { ...config.audio, sources },
    tagging: { ...config.tagging, thresholds },
  });
}
