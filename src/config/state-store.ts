import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { createJsonMemory, readJsonMemory, setAside, type JsonMemoryTuning } from '../common/json-memory.js';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { rateHz, sourceName, telemetrySeconds } from '../common/rules.js';
import { currentModelId, successorMessage } from '../models/bundled.js';
import { modelIdSchema } from '../models/manifest.js';
import { deviceClass, threshold } from '../tagging/rules.js';
import type { LabelGroup } from '../tagging/watch.js';

/**
 * The shape of a group, which is all that is asked here: what breaks a rule is looked at where it is restored
 * (`withUsableLabels`), and takes none of the other values with it.
 */
const group = z.object({
  name: z.string(),
  labels: z.array(z.string()).readonly(),
  threshold: z.number().exactOptional(),
  confirm: z.string().exactOptional(),
  min_duration_seconds: z.number().exactOptional(),
  min_gap_seconds: z.number().exactOptional(),
  device_class: deviceClass.exactOptional(),
} satisfies Record<keyof LabelGroup, z.ZodType>);

/** A remembered value, with what the configuration said when it was set. */
function remembered<T extends z.ZodType>(value: T) {
  return z.object({ value, configured: z.unknown() }).exactOptional();
}

/** What may be set of a source. */
const sourceSchema = z.object({
  threshold: remembered(threshold.nullable()),
  /** Label → on-threshold. */
  thresholds: remembered(z.record(z.string(), threshold)),
  labels: remembered(z.array(z.union([z.string(), group])).readonly()),
  paused: remembered(z.boolean()),
  audio_device: remembered(z.union([z.string().max(200), z.number().int().nonnegative()])),
});
/** What may be set of the device, and of its one source. */
const valuesSchema = sourceSchema.extend({
  model: remembered(modelIdSchema),
  rate_hz: remembered(rateHz),
  telemetry_interval: remembered(telemetrySeconds),
});
const fileSchema = z.object({
  version: z.literal(1),
  values: valuesSchema,
  /** By the name of the source, for those that are listed. Versions before there were several leave this out. */
  sources: z.record(z.string(), sourceSchema).exactOptional(),
});

type Values = z.infer<typeof valuesSchema>;
type SourceValues = z.infer<typeof sourceSchema>;
/** What may be remembered. */
export type StateKey = keyof Values;
/** What may be remembered of a source. */
export type SourceStateKey = keyof SourceValues;
export type StateValue<K extends StateKey> = NonNullable<Values[K]>['value'];

const maxStateBytes = 1024 * 1024;

/** Of so many sources something is remembered. Those that are gone may come back, but not without end. */
const MAX_REMEMBERED_SOURCES = 64;

/** What was set remotely of one source. */
export type SourceStore = ValueStore<SourceStateKey>;

/** What was set remotely and outlives a restart, in `<data_dir>/state.json`: of the device, and of its one source. */
export interface StateStore extends ValueStore<StateKey> {
  /**
   * What is remembered of the source of this name, whether it is in the configuration or not; null is the one source of
   * a device without a list. The sources that were asked for here in this life are never forgotten for others.
   */
  of(name: string | null): SourceStore;
  /** Resolves once everything so far is written, or could not be. */
  flush(): Promise<void>;
  /** A last attempt for what is not on the disk yet. */
  stop(): Promise<void>;
}

/** Values by their keys, each with what the configuration said when it was set. */
export interface ValueStore<Keys extends StateKey> {
  /**
   * The remembered value, or undefined. `configured` is what the configuration says today: where that has
   * changed since the value was remembered, the configuration is the newer wish, and the value is forgotten.
   */
  get<K extends Keys>(key: K, configured: StateValue<K> | null): StateValue<K> | undefined;
  /**
   * Remembers; resolves to whether it is on the disk. Where it is not it holds in memory, and is written again until it
   * stands.
   */
  set<K extends Keys>(key: K, value: StateValue<K>, configured: StateValue<K> | null): Promise<boolean>;
  clear(key: Keys): Promise<boolean>;
}

/** What a reply says of a value that was to be remembered: nothing where it is. */
export function persistence(isSaved: boolean): { persisted?: false } {
  return isSaved ? {} : { persisted: false };
}

/**
 * Reads the file. One that cannot be understood is set aside with a warning; nothing is thrown.
 * @param options.isReadOnly for who only looks, beside a service that may be at work: nothing is written or moved.
 */
export function openStateStore(options: {
  dataDir: string;
  log: Logger;
  isReadOnly?: boolean;
  tuning?: Partial<JsonMemoryTuning>;
}): Promise<StateStore> {
  const { log } = options;
  const path = join(options.dataDir, 'state.json');
  const isReadOnly = options.isReadOnly === true;
  const state = readState(path, log, !isReadOnly);
  const memory = createJsonMemory({
    path,
    content: () => textOf(state),
    failing: (error) =>
      log.warn(
        { code: 'state_not_saved' },
        `What was set cannot be saved to ${path} (${messageOf(error)}): it holds until the next restart, and is written again until it stands. Check that the disk has room and that this user may write there.`,
      ),
    saved: () => log.info({ path }, `${path} can be written again; what was set will survive a restart`),
    ...(options.tuning !== undefined && { tuning: options.tuning }),
  });
  const save = () => (isReadOnly ? Promise.resolve(false) : memory.save());

  if (takeSuccessors(state.values, log)) void save();

  const root = createValueStore<StateKey>({ values: state.values, whose: '', save, log });
  const stores = new Map<string, SourceStore>();
  const sourceStore = (name: string): SourceStore => {
    const values = state.sources.get(name) ?? {};
    const saveSource = () => {
      // What was set last is the last that is forgotten.
      state.sources.delete(name);
      if (Object.keys(values).length > 0) state.sources.set(name, values);
      forgetOldest(state.sources, stores);
      return save();
    };
    return createValueStore<SourceStateKey>({
      values,
      whose: ` of the source ${name}`,
      save: saveSource,
      log,
    });
  };
  return Promise.resolve({
    ...root,
    of(name) {
      if (name === null) return root;
      const store = stores.get(name) ?? sourceStore(name);
      stores.set(name, store);
      return store;
    },
    flush: () => memory.settled(),
    async stop() {
      await memory.stop();
    },
  } satisfies StateStore);
}

/** Keeps remembered values by their keys. `values` is changed in place, and `save` called after each change. */
function createValueStore<Keys extends StateKey>(options: {
  values: Pick<Values, Keys>;
  /** ` of …`, for the log. */
  whose: string;
  save: () => Promise<boolean>;
  log: Logger;
}): ValueStore<Keys> {
  const { whose, save, log } = options;
  const values: Partial<Record<StateKey, Remembered>> = options.values;
  return {
    get<K extends Keys>(key: K, configured: StateValue<K> | null) {
      const found = values[key];
      if (!found) return undefined;
      if (isDeepStrictEqual(found.configured, asJson(configured))) {
        return structuredClone(found.value) as StateValue<K>;
      }
      log.info(
        { key },
        `The configuration of ${key}${whose} has changed: it is used instead of the value that was set remotely`,
      );
      Reflect.deleteProperty(values, key);
      void save();
      return undefined;
    },
    set(key, value, configured) {
      // A copy, as the file will give it back: later changes of the caller's object are not remembered.
      values[key] = { value: asJson(value), configured: asJson(configured) };
      return save();
    },
    clear(key) {
      if (!values[key]) return Promise.resolve(true);
      Reflect.deleteProperty(values, key);
      return save();
    },
  };
}

/** A value, with what the configuration said when it was set. */
interface Remembered {
  value: unknown;
  configured: unknown;
}

/** Forgets sources until there is room for those that remain, never one that is `alive`. */
function forgetOldest(sources: Map<string, unknown>, alive: { has(name: string): boolean }): void {
  for (const name of sources.keys()) {
    if (sources.size <= MAX_REMEMBERED_SOURCES) return;
    if (!alive.has(name)) sources.delete(name);
  }
}

/** What is remembered of the device and of its one source, and of each source of a list by its name. */
interface State {
  values: Values;
  sources: Map<string, SourceValues>;
}

function textOf({ values, sources }: State): string {
  const listed = sources.size === 0 ? {} : { sources: Object.fromEntries(sources) };
  return `${JSON.stringify({ version: 1, values, ...listed }, null, 2)}\n`;
}

/**
 * Puts the successors in place of models that are no longer part of the program, and says so where one of them was
 * chosen. What the configuration said at that time is seen the same way: that its default has another name today is
 * no change of the configuration. Returns whether anything is different now.
 */
function takeSuccessors(values: Values, log: Logger): boolean {
  const found = values.model;
  if (!found) return false;
  const current = (value: unknown) => (typeof value === 'string' ? currentModelId(value) : value);
  const taken = { value: currentModelId(found.value), configured: current(found.configured) };
  if (isDeepStrictEqual(taken, { value: found.value, configured: found.configured })) return false;
  if (taken.value !== found.value) log.info({}, `Chosen over MQTT: ${successorMessage(found.value)}`);
  values.model = taken;
  return true;
}

function asJson(value: unknown): unknown {
  return value === undefined ? null : JSON.parse(JSON.stringify(value));
}

function readState(path: string, log: Logger, setsAside: boolean): State {
  const nothing = (): State => ({ values: {}, sources: new Map() });
  const read = readJsonMemory(path, maxStateBytes, setsAside);
  if ('problem' in read && read.problem === 'none') return nothing();
  if ('problem' in read && read.problem === 'unreadable') {
    const fate = read.fate === '' ? '' : `${read.fate}; `;
    log.warn(
      { code: 'state_unreadable' },
      `${path} ${read.reason}: ${fate}what was set remotely is not restored`,
    );
    return nothing();
  }
  const result = 'value' in read ? fileSchema.safeParse(read.value) : null;
  if (result?.success === true) {
    const { values, sources = {} } = result.data;
    // No other name is one of a source, today or after a change of the configuration.
    const named = Object.entries(sources).filter(([name]) => sourceName.safeParse(name).success);
    return { values, sources: new Map(named.slice(-MAX_REMEMBERED_SOURCES)) };
  }
  if (!setsAside) return nothing();
  const issue = result?.error.issues[0];
  const reason =
    result === null ? 'no JSON' : issue ? `${issue.path.join('.')}: ${issue.message}` : 'another structure';
  const fate = 'fate' in read ? read.fate : setAside(path);
  log.warn(
    { code: 'state_broken' },
    `${path} is not what this program writes (${reason}): ${fate}; what was set remotely is not restored`,
  );
  return nothing();
}
