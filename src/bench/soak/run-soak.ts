import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MqttClient } from 'mqtt';
import { messageOf } from '../../common/errors.js';
import { contract, type OutKey, type Payload } from '../../mqtt/contract.js';
import { createTopics } from '../../mqtt/topics.js';
import { freePort, startMosquitto } from '../broker-process.js';
import { readProcessTree } from '../process-tree.js';
import { connectTo, startServiceChild, type ServiceChild } from '../service-child.js';
import { createWorkFolder } from '../work-folder.js';
import { createMonitor, type Monitor } from './monitor.js';
import { duration, figure, type SoakReport, type SoakSettings } from './soak-report.js';
import { createSwaps, type Swaps } from './swaps.js';

export interface SoakOptions {
  settings: SoakSettings;
  version: string;
  /** The service's command line program. */
  program: string;
  /** Where large files go where the place for temporary files is in memory. */
  dataDir: string;
  /** Models beside the bundled one, to be copied into the data folder of the run. */
  modelFolders: readonly { id: string; folder: string }[];
  /** The recording to play over and over; null: the microphone. */
  recording: string | null;
  /** Further settings of the service, as environment variables. */
  serviceSettings: Readonly<Record<string, string>>;
  /** Ends the run early; it has its report all the same. */
  signal: AbortSignal;
  /** How far it is, for people who wait. */
  progress: (text: string) => void;
  /** What has been found so far, every few minutes: a loss of power must not cost a day. */
  interim: (report: SoakReport) => Promise<void>;
}

const DEVICE = 'soak';
const topics = createTopics('soundpost', DEVICE);
const SECONDS_PER_HOUR = 3600;
/** The service's restarts wait for half a minute at most: longer silence is the end. */
const STALL_MS = 120_000;
const TICK_MS = 1000;
/** At full speed minutes of sound pass within a second: a run must not become much longer than it was to be. */
const FULL_SPEED_TICK_MS = 20;
const INTERIM_MS = 300_000;
const REPLY_MS = 10_000;
const SWAP_REPLY_MS = 180_000;

/**
 * The long run: starts the service as a user does, with a data folder of its own and a broker, subscribes to what it
 * publishes, and checks and measures that until the sound is over, the service ends, or `signal` fires.
 * @throws what is wrong before the run has begun: files that cannot be copied, a broker that cannot be started
 */
export async function runSoak(options: SoakOptions): Promise<SoakReport> {
  const { settings, modelFolders } = options;
  // Not in memory: the models are copied there, and memory is what is measured.
  const work = await createWorkFolder(options.dataDir, 'soak');
  const { folder } = work;
  let broker: Awaited<ReturnType<typeof startMosquitto>> | undefined;
  try {
    for (const { id, folder: from } of modelFolders) {
      await cp(from, join(folder, 'data', 'models', id), { recursive: true, dereference: true });
    }
    if (settings.broker === 'mosquitto') broker = await startMosquitto(folder);
    return await observe(options, folder, broker?.port ?? (await freePort()));
  } finally {
    await broker?.stop();
    await work.remove();
  }
}

/** Telemetry often enough for a plot, and not oftener than a user would have it where the run is long. */
function telemetrySeconds({ hours, speed }: SoakSettings): number {
  return speed === 'max' ? 2 : Math.min(30, Math.max(1, Math.round((hours * SECONDS_PER_HOUR) / 200)));
}

function environment(options: SoakOptions, folder: string, port: number): Record<string, string> {
  const { settings, recording } = options;
  return {
    ...options.serviceSettings,
    SOUNDPOST_DEVICE_ID: DEVICE,
    SOUNDPOST_DATA_DIR: join(folder, 'data'),
    SOUNDPOST_MQTT_BASE_TOPIC: 'soundpost',
    ...(settings.broker === 'mosquitto'
      ? { SOUNDPOST_MQTT_URL: `mqtt://127.0.0.1:${port}` }
      : { SOUNDPOST_BROKER_PORT: String(port) }),
    ...(recording === null
      ? { SOUNDPOST_AUDIO_SOURCE: 'microphone' }
      : {
          SOUNDPOST_AUDIO_SOURCE: 'file',
          SOUNDPOST_AUDIO_FILE: recording,
          SOUNDPOST_AUDIO_LOOP: 'true',
          SOUNDPOST_AUDIO_SPEED: String(settings.speed),
        }),
    SOUNDPOST_MODEL_ID: settings.model,
    SOUNDPOST_INFERENCE_RATE_HZ: String(settings.rateHz),
    SOUNDPOST_TELEMETRY_INTERVAL_SECONDS: String(telemetrySeconds(settings)),
    SOUNDPOST_TELEMETRY_EVENT_LOOP: 'true',
    // Beside a service at work, whose page has the usual port.
    SOUNDPOST_WEB_PORT: '0',
    SOUNDPOST_LOG_LEVEL: 'warn',
    SOUNDPOST_LOG_FORMAT: 'json',
  };
}

async function observe(options: SoakOptions, folder: string, port: number): Promise<SoakReport> {
  const { settings, version, signal } = options;
  const monitor = createMonitor({ settings, version });
  const startedMs = performance.now();
  const start = () =>
    startServiceChild({
      program: options.program,
      folder,
      settings: environment(options, folder, port),
    });
  let service: ServiceChild | undefined;
  let client: MqttClient | undefined;
  let swaps: Swaps | null = null;
  let end: SoakReport['end'];
  let failure: SoakReport['failure'] = null;
  try {
    // With a broker of its own the service is only reached once it runs; else nothing is missed from the first word.
    const early = settings.broker === 'embedded' ? start() : undefined;
    service = early;
    client = await connectTo(port, { gone: () => early?.gone ?? false, signal });
    const run = followRun(client, monitor, settings, () => service?.pid ?? 0);
    swaps = run.swaps;
    await client.subscribeAsync(
      (['tags', 'event', 'telemetry'] as const)
        .map((key) => topics.of(key))
        .concat(`${topics.base}/response/#`),
      { qos: 1 },
    );
    service ??= start();
    end = await watch(options, run, monitor, service, startedMs);
    // Interrupted before it was up, it has nothing to end, and may be stopped before it can listen to signals.
    const wasUp = monitor.windows > 0;
    if (wasUp) await finish(run, monitor, service, telemetrySeconds(settings));
    const code = await service.stop();
    if (code !== 0 && wasUp) throw new Error(`the service ended with ${code}`);
  } catch (error) {
    if (signal.aborted && error === signal.reason) {
      end = 'interrupted';
    } else {
      end = 'failed';
      failure = { reason: messageOf(error), lastWords: service?.lastWords() ?? [] };
    }
  } finally {
    await client?.endAsync(true);
    await service?.stop();
  }
  return monitor.report(end, failure, swaps);
}

/** What is at work during a run. */
interface Run {
  swaps: Swaps | null;
  readonly lastWindowMs: number;
  readonly connected: boolean;
  /** Sends a command and resolves to whether it was answered with ok in time. */
  ask(command: string, payload: object): Promise<boolean>;
  tree(): ReturnType<typeof readProcessTree>;
}

/** Wires the client's messages to the checks. */
function followRun(client: MqttClient, monitor: Monitor, settings: SoakSettings, pid: () => number): Run {
  const tree = () => readProcessTree(pid());
  const waiting = new Map<string, (ok: boolean) => void>();
  let lastWindowMs = performance.now();
  let connected = true;
  let asked = 0;
  client.once('close', () => (connected = false));
  const send = (command: string, payload: object) =>
    void client.publish(`${topics.base}/request/${command}`, JSON.stringify(payload), { qos: 1 });
  const { swap } = settings;
  const swaps =
    swap === null
      ? null
      : createSwaps({
          models: [settings.model, swap.to],
          everySeconds: swap.everySeconds,
          untilSeconds: settings.hours * SECONDS_PER_HOUR,
          send: (id, transaction) => send('model/set', { id, transaction }),
          begins: (_from, to, atSeconds) => {
            const now = tree();
            monitor.processes(now, true);
            monitor.tagsCheck.swapBegins(to);
            return monitor.stintEnds(now, atSeconds);
          },
          failed: () => monitor.tagsCheck.swapFailed(),
        });

  const read = <K extends OutKey>(key: K, text: string): Payload<K> | null => {
    try {
      return contract[key].schema.parse(JSON.parse(text)) as Payload<K>;
    } catch (error) {
      monitor.faults.add('contract', `${key}: ${messageOf(error)}`);
      return null;
    }
  };
  client.on('message', (topic, payload) => {
    const text = payload.toString();
    if (topic === topics.of('tags')) {
      const tags = read('tags', text);
      if (tags === null) return;
      lastWindowMs = performance.now();
      monitor.tags(tags);
      swaps?.window(monitor.audioSeconds(), tags.model);
    } else if (topic === topics.of('event')) {
      const event = read('event', text);
      if (event !== null) monitor.event(event);
    } else if (topic === topics.of('telemetry')) {
      const telemetry = read('telemetry', text);
      if (telemetry !== null) monitor.telemetry(telemetry);
    } else {
      const response = read('response', text);
      if (response === null) return;
      swaps?.reply(response);
      waiting.get(String(response.transaction))?.(response.status === 'ok');
    }
  });
  return {
    swaps,
    tree,
    get lastWindowMs() {
      return lastWindowMs;
    },
    get connected() {
      return connected;
    },
    async ask(command, payload) {
      asked += 1;
      const transaction = `ask-${asked}`;
      const abort = new AbortController();
      const answered = new Promise<boolean>((resolve) => waiting.set(transaction, resolve));
      send(command, { ...payload, transaction });
      const late = sleep(REPLY_MS, false, { signal: abort.signal }).catch(() => false);
      const ok = await Promise.race([answered, late]);
      abort.abort();
      waiting.delete(transaction);
      return ok;
    },
  };
}

/** Until the time or the sound is over or the signal fires. Throws when the service ends or falls silent. */
async function watch(
  options: SoakOptions,
  run: Run,
  monitor: Monitor,
  service: ServiceChild,
  startedMs: number,
): Promise<'complete' | 'interrupted'> {
  const { settings, signal, progress } = options;
  const target = settings.hours * SECONDS_PER_HOUR;
  const stallMs = STALL_MS + 3000 / settings.rateHz;
  // About a thousand readings for a run in real time; where nobody knows how long it takes, one a second.
  const sampleMs = settings.speed === 'max' ? TICK_MS : Math.min(30_000, target);
  let sampledMs = 0;
  let toldMs = -Infinity;
  let interimMs = performance.now();
  let swapSinceMs: number | null = null;
  while (!signal.aborted) {
    const leftMs = 1000 * target - (performance.now() - startedMs);
    const tickMs = settings.speed === 'max' ? FULL_SPEED_TICK_MS : Math.min(TICK_MS, Math.max(1, leftMs));
    await Promise.race([sleep(tickMs, undefined, { signal }).catch(() => undefined), service.exited]);
    if (service.gone) throw new Error(`the service ended with ${await service.exited}`);
    if (!run.connected) throw new Error('the connection to the broker was lost');
    const now = performance.now();
    if (now - run.lastWindowMs > stallMs) throw new Error(`no window for ${duration(stallMs / 1000)}`);
    const busy = run.swaps?.busy === true;
    swapSinceMs = busy ? (swapSinceMs ?? now) : null;
    if (swapSinceMs !== null && now - swapSinceMs > SWAP_REPLY_MS) throw new Error('a swap had no end');
    if (now - sampledMs >= sampleMs) {
      sampledMs = now;
      monitor.processes(run.tree(), !busy);
    }
    // In real time a minute is a minute of the person who waits, with the start of the service in it.
    const done = settings.speed === 'max' ? monitor.audioSeconds() : (now - startedMs) / 1000;
    if (monitor.windows > 0 && now - toldMs >= TICK_MS) {
      toldMs = now;
      progress(progressText(done, target, settings.speed, monitor));
    }
    if (done >= target && !busy) return 'complete';
    if (now - interimMs >= INTERIM_MS) {
      interimMs = now;
      await options.interim(monitor.report('interrupted', null, run.swaps));
    }
  }
  return 'interrupted';
}

function progressText(done: number, target: number, speed: SoakSettings['speed'], monitor: Monitor): string {
  const wall = monitor.wallSeconds();
  const left = speed === 1 ? target - done : wall > 0 && done > 0 ? ((target - done) * wall) / done : null;
  const dropped = monitor.dropped() ?? 0;
  const { missing } = monitor.tagsCheck.summary();
  return [
    `${duration(done)} of ${duration(target)} (${Math.min(100, Math.floor((100 * done) / target))} %)`,
    `${figure(wall > 0 ? monitor.windows / wall : null)} windows/s`,
    ...(missing > 0 ? [`${missing} missing`] : []),
    ...(dropped > 0 ? [`${dropped} dropped`] : []),
    ...(left === null ? [] : [`${duration(Math.max(0, left))} left`]),
  ].join(', ');
}

/** Lets the service end what is on and asks for its last counts, so that nothing is lost to the end itself. */
async function finish(run: Run, monitor: Monitor, service: ServiceChild, interval: number): Promise<void> {
  if (service.gone) return;
  monitor.processes(run.tree(), run.swaps?.busy !== true);
  // What is on ends with a pause; the row of windows does too, so that the counts are those of what has arrived.
  if (!(await run.ask('pause', {}))) throw new Error('the service did not answer at the end');
  const before = monitor.telemetryReports();
  await run.ask('telemetry/set', { interval_seconds: interval });
  const until = performance.now() + REPLY_MS;
  const isOver = () => monitor.telemetryReports() > before && monitor.events.summary().open === 0;
  while (!isOver() && performance.now() < until) await sleep(20);
  monitor.events.close();
}
