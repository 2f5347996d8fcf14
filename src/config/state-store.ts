import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { writeFileAtomic } from '../common/atomic-file.js';
import { readBounded } from '../common/bounded-read.js';
import { codeOfErrno } from '../common/errno.js';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { currentModelId, successorMessage } from '../models/bundled.js';

const score = z.number().min(0).max(1);
const name = z.string().min(1).max(200);
const group = z.object({ name, labels: z.array(name).min(1).readonly(), threshold: score.exactOptional() });

/** A remembered value, with what the configuration said when it was set. */
function remembered<T extends z.ZodType>(value: T) {
  return z.object({ value, configured: z.unknown() }).exactOptional();
}

const valuesSchema = z.object({
  model: remembered(z.string().min(1).max(64)),
  rate_hz: remembered(z.number().min(0.01).max(20)),
  threshold: remembered(score.nullable()),
  /** Label → on-threshold. */
  thresholds: remembered(z.record(z.string(), score)),
  labels: remembered(z.array(z.union([name, group])).readonly()),
  paused: remembered(z.boolean()),
  audio_device: remembered(z.union([z.string().max(200), z.number().int().nonnegative()])),
  telemetry_interval: remembered(z.number().min(1).max(86_400)),
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
  /** Remembers; resolves once it is on the disk, or could not be written (then it holds in memory). */
  set<K extends StateKey>(key: K, value: StateValue<K>, configured: StateValue<K> | null): Promise<void>;
  clear(key: StateKey): Promise<void>;
  /** Resolves once everything so far is written. */
  flush(): Promise<void>;
}

/**
 * Reads the file. One that cannot be understood is set aside with a warning; nothing is thrown.
 * @param options.isReadOnly for who only looks, beside a service that may be at work: nothing is written or moved.
 */
export async function openStateStore(options: {
  dataDir: string;
  log: Logger;
  isReadOnly?: boolean;
}): Promise<StateStore> {
  const { log } = options;
  const path = join(options.dataDir, 'state.json');
  const isReadOnly = options.isReadOnly === true;
  const state = await readState(path, log, !isReadOnly);
  let isFailing = false;
  let pending = Promise.resolve();
  let isQueued = false;

  async function write(): Promise<void> {
    isQueued = false;
    try {
      await writeFileAtomic(path, `${JSON.stringify({ version: 1, values: state }, null, 2)}\n`);
      if (isFailing) log.info({ path }, `${path} can be written again; what was set will survive a restart`);
      isFailing = false;
    } catch (error) {
      if (!isFailing) {
        log.warn(
          { code: 'state_not_saved' },
          `What was set cannot be saved to ${path} (${messageOf(error)}): it holds until the next restart. Check that the disk has room and that this user may write there.`,
        );
      }
      isFailing = true;
    }
  }

  /** One write at a time; changes that come while one waits go with it. */
  function save(): Promise<void> {
    if (!isQueued && !isReadOnly) {
      isQueued = true;
      pending = pending.then(write);
    }
    return pending;
  }

  if (takeSuccessors(state, log)) void save();

  return {
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
      if (!state[key]) return pending;
      Reflect.deleteProperty(state, key);
      return save();
    },
    flush: () => pending,
  };
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

async function readState(path: string, log: Logger, setsAside: boolean): Promise<State> {
  const read = readBounded(path, maxStateBytes);
  if ('problem' in read) {
    if (read.problem === 'does not exist') return {};
    log.warn({ code: 'state_unreadable' }, `${path} ${read.problem}: what was set remotely is not restored`);
    return {};
  }
  const problem = parse(read.bytes.toString('utf8'));
  if ('state' in problem) return problem.state;
  if (!setsAside) return {};
  const aside = `${path}.broken-${new Date().toISOString().replace(/[:.]/g, '-')}`;
  const fate = await rename(path, aside).then(
    () => `it was set aside as ${aside}`,
    (error: unknown) => `it could not be set aside (${codeOfErrno(error)})`,
  );
  log.warn(
    { code: 'state_broken' },
    `${path} is not what this program writes (${problem.reason}): ${fate}; what was set remotely is not restored`,
  );
  return {};
}

function parse(source: string): { state: State } | { reason: string } {
  let json: unknown;
  try {
    json = JSON.parse(source);
  } catch {
    return { reason: 'no JSON' };
  }
  const result = fileSchema.safeParse(json);
  if (result.success) return { state: result.data.values };
  const issue = result.error.issues[0];
  return { reason: issue ? `${issue.path.join('.')}: ${issue.message}` : 'another structure' };
}
