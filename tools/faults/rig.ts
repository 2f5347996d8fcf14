import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  freePort,
  startMosquitto,
  type Mosquitto,
  type MosquittoOptions,
} from '../../test/support/broker.js';
import {
  descendants,
  isAlive,
  makeDataDir,
  startService,
  writeWav,
  type ServiceProcess,
  type Settings,
} from '../../test/support/service.js';
import { installToneModel, tone } from '../../test/support/tone-models.js';
import { skipWithout } from '../../test/support/tools.js';
import type { Owner } from './scope.js';
import { NotHere } from './verdict.js';
import { secondsUntil, until } from '../../test/support/waiting.js';
import { startWatcher, type Watcher } from './watcher.js';

/* The built service as a user starts it, a broker and a watcher, for one fault. */

export const RATE = 16_000;

const run = promisify(execFile);

/** A second and a half of tone 0 in the middle of `seconds` of quiet, over and over. */
export function beeps(seconds = 4, amplitude = 0.5): Float32Array {
  const sound = tone(3100, seconds, RATE, 0.01);
  sound.set(tone(500, 1.5, RATE, amplitude), RATE);
  return sound;
}

export interface Rig {
  readonly service: ServiceProcess;
  readonly watcher: Watcher;
  readonly dataDir: string;
  readonly url: string;
  /** The topic of this device. */
  readonly base: string;
  /** Starts it again with the same data. */
  again(changes?: Settings): Promise<Rig>;
}

interface RigOptions {
  /** The broker; null for the service's own. */
  url: string | null;
  /** Where the watcher listens, where that is not `url`. */
  watchUrl?: string;
  settings?: Settings;
  env?: Readonly<Record<string, string>>;
  flags?: readonly string[];
  dataDir?: string;
  prepare?: (dataDir: string) => Promise<unknown>;
  /** Whether to wait for its first tags; on by default. */
  untilTags?: boolean;
}

let devices = 0;

export async function startRig(owner: Owner, options: RigOptions): Promise<Rig> {
  const dataDir = options.dataDir ?? (await makeDataDir(owner));
  await installToneModel(dataDir, 'waveform');
  await writeWav(join(dataDir, 'sound.wav'), beeps(), RATE);
  await options.prepare?.(dataDir);
  devices += 1;
  const id = options.settings?.['DEVICE_ID'] ?? `fault${process.pid}-${devices}`;
  const base = `soundpost/${id}`;
  const port = await freePort();
  const url = options.url ?? `mqtt://127.0.0.1:${port}`;
  const all: Settings = {
    DATA_DIR: dataDir,
    DEVICE_ID: id,
    MODEL_ID: 'tone-waveform',
    AUDIO_SOURCE: 'file',
    AUDIO_FILE: 'sound.wav',
    AUDIO_LOOP: 'true',
    INFERENCE_RATE_HZ: '4',
    TAGGING_LABELS: '["Tone 0"]',
    TAGGING_MIN_GAP_SECONDS: '0',
    TELEMETRY_INTERVAL_SECONDS: '1',
    HOMEASSISTANT_ENABLED: 'false',
    // How hot this machine is has nothing to do with it.
    ...(options.settings?.['TELEMETRY_SYS_ROOT'] === undefined && { THERMAL_ENABLED: 'false' }),
    ...(options.url === null ? { BROKER_PORT: String(port) } : { MQTT_URL: url }),
    ...options.settings,
  };
  const early = options.url === null ? null : await startWatcher(owner, options.watchUrl ?? url, base);
  const launch = (changes: Settings): ServiceProcess =>
    startService(owner, { ...all, ...changes }, options.env, options.flags);
  const service = launch({});
  if (options.url === null) {
    await service.line(({ message }) => message.startsWith('Read along'));
  }
  const watcher = early ?? (await startWatcher(owner, url, base, 4));
  const rig = (running: ServiceProcess): Rig => ({
    service: running,
    watcher,
    dataDir,
    url,
    base,
    async again(changes = {}) {
      const next = rig(launch(changes));
      await watcher.nextTags(2, 'tags after a new start', 40);
      return next;
    },
  });
  if (options.untilTags !== false) await watcher.nextTags(2, 'the first tags', 60);
  return rig(service);
}

export async function startBroker(owner: Owner, options: MosquittoOptions = {}): Promise<Mosquitto> {
  const broker = await startMosquitto(options);
  owner.teardown(() => broker.stop());
  return broker;
}

/** How many sounds the service says it has heard. */
export const heardBy = (service: ServiceProcess): number =>
  service.lines.filter(({ message }) => message.startsWith('Heard')).length;

export async function hears(service: ServiceProcess, further: number, seconds = 60): Promise<void> {
  const wanted = heardBy(service) + further;
  await until(() => heardBy(service) >= wanted, `${further} further sounds heard`, seconds);
}

/** How many files, sockets and pipes a process has open. */
export async function openHandles(pid: number): Promise<number> {
  return (await readdir(`/proc/${pid}/fd`).catch(() => [])).length;
}

const CHILDREN = {
  capture: /audio\/capture\/process\.js/,
  inference: /inference\/process\.js|^soundpost inference/,
};

/** The processes of a kind below the service. */
export async function childrenOf(pid: number, kind: keyof typeof CHILDREN): Promise<number[]> {
  return (await descendants(pid))
    .filter(({ command }) => CHILDREN[kind].test(command))
    .map((found) => found.pid);
}

/** The one child of that kind, once there is one. */
export async function childOf(pid: number, kind: keyof typeof CHILDREN): Promise<number> {
  let found: number[] = [];
  await until(async () => (found = await childrenOf(pid, kind)).length > 0, `a ${kind} process`, 30);
  return found[0]!;
}

/** Seconds until none of these processes is there, or null. */
export async function secondsUntilGone(
  processes: readonly { pid: number }[],
  seconds: number,
): Promise<number | null> {
  return secondsUntil(
    async () => !(await Promise.all(processes.map(({ pid }) => isAlive(pid)))).includes(true),
    seconds,
  );
}

/** Lowers or raises a limit of a process at work. */
export async function setLimit(pid: number, what: 'nofile' | 'as', value: number): Promise<void> {
  const missing = skipWithout('prlimit');
  if (missing !== false) throw new NotHere(missing);
  await run('prlimit', ['--pid', String(pid), `--${what}=${value}:`]);
}
