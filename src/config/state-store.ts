import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { createJsonMemory, readJsonMemory, setAside, type JsonMemoryTuning } from '../common/json-memory.js';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { rateHz, telemetrySeconds } from '../common/rules.js';
import { currentModelId, successorMessage } from '../models/bundled.js';
import { modelIdSchema } from '../models/manifest.js';
import { threshold } from '../tagging/rules.js';
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
} satisfies Record<keyof LabelGroup, z.ZodType>);

/** A remembered value, with what the configuration said when it was set. */
function remembered<T extends z.ZodType>(value: T) {
  return z.object({ value, configured: z.unknown() }).exactOptional();
}

const valuesSchema = z.object({
  model: remembered(modelIdSchema),
  rate_hz: remembered(rateHz),
  threshold: remembered(threshold.nullable()),
  /** Label → on-threshold. */
  thresholds: remembered(z.record(z.string(), threshold)),
  labels: remembered(z.array(z.union([z.string(), group])).readonly()),
  paused: remembered(z.boolean()),
  audio_device: remembered(z.union([z.string().max(200), z.number().int().nonnegative()])),
  telemetry_interval: remembered(telemetrySeconds),
});
const fileSchema = z.object({ version: z.literal(1), values: valuesSchema });

type State = z.infer<typeof valuesSchema>;
/** What may be remembered. */
export type StateKey = keyof State;
export type StateValue<K extends StateKey> = NonNullable<State[K]>['value'];

const maxStateBytes = 1024 * 1024;

/** What was set remotely and outlives a restart, in `<data_dir>/state.json`. */
export interface StateStore {
  /**
   * The remembered value, or undefined. `configured` is what the configuration says today: where that has
   * changed since the value was remembered, the configuration is the newer wish, and the value is forgotten.
   */
  get<K extends StateKey>(key: K, configured: StateValue<K> | null): StateValue<K> | undefined;
  /**
   * Remembers; resolves to whether it is on the disk. Where it is not it holds in memory, and is written again until it
   * stands.
   */
  set<K extends StateKey>(key: K, value: StateValue<K>, configured: StateValue<K> | null): Promise<boolean>;
  clear(key: StateKey): Promise<boolean>;
  /** Resolves once everything so far is written, or could not be. */
  flush(): Promise<void>;
  /** A last attempt for what is not on the disk yet. */
  stop(): Promise<void>;
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
    content: () => `${JSON.stringify({ version: 1, values: state }, null, 2)}\n`,
    failing: (error) =>
      log.warn(
        { code: 'state_not_saved' },
        `What was set cannot be saved to ${path} (${messageOf(error)}): it holds until the next restart, and is written again until it stands. Check that the disk has room and that this user may write there.`,
      ),
    saved: () => log.info({ path }, `${path} can be written again; what was set will survive a restart`),
    ...(options.tuning !== undefined && { tuning: options.tuning }),
  });
  const save = () => (isReadOnly ? Promise.resolve(false) : memory.save());

  if (takeSuccessors(state, log)) void save();

  return Promise.resolve({
    get(key, configured) {
      const found = state[key];
      if (!found) return undefined;
      if (isDeepStrictEqual(found.configured, asJson(configured))) return structuredClone(found.value);
      log.info(
        { key },
        `The configuration of ${key} has changed: it is used instead of the value that was set remotely`,
      );
      Reflect.deleteProperty(state, key);
      void save();
      return undefined;
    },
    set(key, value, configured) {
      // A copy, as the file will give it back: later changes of the caller's object are not remembered.
      (state as Record<string, { value: unknown; configured: unknown }>)[key] = {
        value: asJson(value),
        configured: asJson(configured),
      };
      return save();
    },
    clear(key) {
      if (!state[key]) return Promise.resolve(true);
      Reflect.deleteProperty(state, key);
      return save();
    },
    flush: () => memory.settled(),
    async stop() {
      await memory.stop();
    },
  } satisfies StateStore);
}

/**
 * Puts the successors in place of models that are no longer part of the program, and says so where one of them was
 * chosen. What the configuration said at that time is seen the same way: that its default has another name today is
 * no change of the configuration. Returns whether anything is different now.
 */
function takeSuccessors(state: State, log: Logger): boolean {
  const found = state.model;
  if (!found) return false;
  const current = (value: unknown) => (typeof value === 'string' ? currentModelId(value) : value);
  const taken = { value: currentModelId(found.value), configured: current(found.configured) };
  if (isDeepStrictEqual(taken, { value: found.value, configured: found.configured })) return false;
  if (taken.value !== found.value) log.info({}, `Chosen over MQTT: ${successorMessage(found.value)}`);
  state.model = taken;
  return true;
}

function asJson(value: unknown): unknown {
  return value === undefined ? null : JSON.parse(JSON.stringify(value));
}

function readState(path: string, log: Logger, setsAside: boolean): State {
  const read = readJsonMemory(path, maxStateBytes, setsAside);
  if ('problem' in read && read.problem === 'none') return {};
  if ('problem' in read && read.problem === 'unreadable') {
    const fate = read.fate === '' ? '' : `${read.fate}; `;
    log.warn(
      { code: 'state_unreadable' },
      `${path} ${read.reason}: ${fate}what was set remotely is not restored`,
    );
    return {};
  }
  const result = 'value' in read ? fileSchema.safeParse(read.value) : null;
  if (result?.success === true) return result.data.values;
  if (!setsAside) return {};
  const issue = result?.error.issues[0];
  const reason =
    result === null ? 'no JSON' : issue ? `${issue.path.join('.')}: ${issue.message}` : 'another structure';
  const fate = 'fate' in read ? read.fate : setAside(path);
  log.warn(
    { code: 'state_broken' },
    `${path} is not what this program writes (${reason}): ${fate}; what was set remotely is not restored`,
  );
  return {};
}
