import { EventEmitter, on } from 'node:events';
import { join } from 'node:path';
import type { MqttClient } from 'mqtt';
import { messageOf, SoundpostError } from '../../src/common/errors.js';
import { contract, epochMs, type TagsPayload, type TelemetryPayload } from '../../src/mqtt/contract.js';
import { createTopics } from '../../src/mqtt/topics.js';
import { freePort, startMosquitto } from '../../src/bench/broker-process.js';
import {
  cpuBetween,
  cpuPerProcess,
  memoryOf,
  readProcessTree,
  type ProcessUsage,
} from '../../src/bench/process-tree.js';
import { connectTo, startServiceChild, type ServiceChild } from '../../src/bench/service-child.js';

export interface ServiceRunOptions {
  /** The service's command line program. */
  program: string;
  /** A folder of the run's own, for the broker's and the service's files; `data/models` in it may hold models. */
  folder: string;
  modelId: string;
  windowSeconds: number;
  /** A wav file, looped in real time. */
  recording: string;
  rateHz: number;
  seconds: number;
  /** `embedded` is part of the service, and so of what is measured. */
  broker: 'embedded' | 'mosquitto';
  /** Have the service watch its event loop as well, which costs CPU time. */
  eventLoop: boolean;
  /** Ends the run early: what it has started is stopped, and the promise rejects with the signal's reason. */
  signal: AbortSignal;
  /** Called with what is going on, for people who wait. */
  progress: (message: string) => void;
}

export interface ServiceRun {
  hops: number;
  seconds: number;
  /** CPU milliseconds of all the service's processes per hop. */
  cpuMsPerHop: number;
  processes: { command: string; cpuMsPerHop: number; rssMb: number | null; pssMb: number | null }[];
  /** Sums over the processes: with what they share counted for each, and counted once. */
  memory: { rssMb: number | null; pssMb: number | null };
  windowsDropped: number | null;
  /** The latest that the service says of itself. */
  latencyMs: TelemetryPayload['latency_ms'] | null;
  /** By how much the service's event loop was late: the worst reports of all; null where it was not asked. */
  eventLoopDelayMs: EventLoopDelay | null;
}

interface EventLoopDelay {
  p50: number;
  p99: number;
  max: number;
}

const DEVICE = 'bench';
const topics = createTopics('soundpost', DEVICE);
/** Hops at the full window that are left to caches, the compiler and the memory allocator to settle. */
const SETTLE_HOPS = 5;
const START_TIMEOUT_MS = 90_000;
const MEGABYTE = 1e6;

/**
 * Starts the service as a user does, waits until its window is full and it has settled, measures all of its
 * processes from the outside between two results, and stops it.
 * @throws SoundpostError `bench_service` with the service's last words when it ends, stays silent or cannot be
 * stopped.
 */
export async function runService(options: ServiceRunOptions): Promise<ServiceRun> {
  const { folder, progress, signal } = options;
  const broker = options.broker === 'mosquitto' ? await startMosquitto(folder) : undefined;
  const port = broker?.port ?? (await freePort());
  const child = startServiceChild({ program: options.program, folder, settings: settings(options, port) });
  let client: MqttClient | undefined;
  try {
    client = await connectTo(port, { gone: () => child.gone, signal });
    const measured = await measure(client, child, options);
    progress('stopping the service');
    if ((await child.stop()) === 'SIGKILL') throw new Error('it does not end');
    return measured;
  } catch (error) {
    if (signal.aborted) throw error;
    throw new SoundpostError(
      'bench_service',
      `The run of the service with ${options.modelId} failed: ${messageOf(error)}. Its last words:\n${child.lastWords().slice(-12).join('\n')}`,
      { cause: error },
    );
  } finally {
    await client?.endAsync(true);
    await child.stop();
    await broker?.stop();
  }
}

function settings(options: ServiceRunOptions, port: number): Record<string, string> {
  return {
    SOUNDPOST_DEVICE_ID: DEVICE,
    SOUNDPOST_DATA_DIR: join(options.folder, 'data'),
    SOUNDPOST_AUDIO_SOURCE: 'file',
    SOUNDPOST_AUDIO_FILE: options.recording,
    SOUNDPOST_AUDIO_LOOP: 'true',
    SOUNDPOST_AUDIO_SPEED: '1',
    SOUNDPOST_MODEL_ID: options.modelId,
    SOUNDPOST_INFERENCE_RATE_HZ: String(options.rateHz),
    // The rate is what is measured against; a warm desk machine must not lower it.
    SOUNDPOST_THERMAL_ENABLED: 'false',
    // Twice while it is measured, and not oftener than a user would have it.
    SOUNDPOST_TELEMETRY_INTERVAL_SECONDS: String(Math.min(30, Math.max(1, Math.floor(options.seconds / 2)))),
    ...(options.eventLoop ? { SOUNDPOST_TELEMETRY_EVENT_LOOP: 'true' } : {}),
    SOUNDPOST_LOG_FORMAT: 'json',
    ...(options.broker === 'mosquitto'
      ? { SOUNDPOST_MQTT_URL: `mqtt://127.0.0.1:${port}` }
      : { SOUNDPOST_BROKER_PORT: String(port) }),
  };
}

async function measure(
  client: MqttClient,
  child: ServiceChild,
  options: ServiceRunOptions,
): Promise<ServiceRun> {
  const { progress, windowSeconds, rateHz, seconds, modelId } = options;
  const { pid } = child;
  const results = new EventEmitter();
  let begin: { tree: ProcessUsage[]; atMs: number } | undefined;
  let dropped = 0;
  let reports: TelemetryPayload[] = [];
  const budgetMs = START_TIMEOUT_MS + 1000 * (windowSeconds + SETTLE_HOPS / rateHz + seconds);
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(new Error('it published too few results in time')), budgetMs);
  void child.exited.then(() => abort.abort(new Error('the service ended')));
  const signal = AbortSignal.any([abort.signal, options.signal]);
  client.on('message', (topic, payload) => {
    try {
      const json = JSON.parse(payload.toString()) as unknown;
      if (topic === topics.of('telemetry')) reports.push(contract.telemetry.schema.parse(json));
      else results.emit('tags', contract.tags.schema.parse(json));
    } catch (error) {
      abort.abort(new Error(`what it published on ${topic} is not right: ${messageOf(error)}`));
    }
  });
  try {
    await client.subscribeAsync([topics.of('tags'), topics.of('telemetry')]);
    progress(`waiting for full windows of ${modelId}`);
    const wanted = Math.ceil(seconds * rateHz);
    let fullHops = 0;
    for await (const [tags] of on(results, 'tags', { signal }) as AsyncIterable<[TagsPayload]>) {
      const length = (epochMs(tags.window.end) - epochMs(tags.window.start)) / 1000;
      if (tags.model !== modelId || length < windowSeconds - 0.05) continue;
      fullHops += 1;
      if (fullHops === SETTLE_HOPS) {
        begin = { tree: readProcessTree(pid), atMs: performance.now() };
        dropped = reports.at(-1)?.windows.dropped ?? 0;
        reports = [];
        progress(`measuring ${modelId} for ${Math.round(wanted / rateHz)} s`);
      }
      if (begin === undefined || fullHops < SETTLE_HOPS + wanted) continue;
      const tree = readProcessTree(pid);
      const last = reports.at(-1);
      return {
        hops: wanted,
        seconds: (performance.now() - begin.atMs) / 1000,
        windowsDropped: last === undefined ? null : last.windows.dropped - dropped,
        latencyMs: last?.latency_ms ?? null,
        eventLoopDelayMs: worst(reports),
        ...usagePerHop(begin.tree, tree, wanted),
      };
    }
    throw new Error('it published nothing more');
  } catch (error) {
    // An abort hides its reason in the cause.
    throw signal.aborted ? signal.reason : error;
  } finally {
    clearTimeout(timer);
  }
}

function worst(reports: readonly TelemetryPayload[]): EventLoopDelay | null {
  const delays = reports.flatMap(({ event_loop_ms: delay }) => (delay === undefined ? [] : [delay]));
  if (delays.length === 0) return null;
  const most = (key: keyof EventLoopDelay): number => Math.max(...delays.map((delay) => delay[key] ?? 0));
  return { p50: most('p50'), p99: most('p99'), max: most('max') };
}

function usagePerHop(
  before: readonly ProcessUsage[],
  after: readonly ProcessUsage[],
  hops: number,
): Pick<ServiceRun, 'cpuMsPerHop' | 'processes' | 'memory'> {
  const inMegabytes = (bytes: number | null): number | null => (bytes === null ? null : bytes / MEGABYTE);
  const { rssBytes, pssBytes } = memoryOf(after);
  return {
    cpuMsPerHop: cpuBetween(before, after) / hops,
    processes: cpuPerProcess(before, after).map(({ pid, command, cpuMs }) => {
      const usage = after.find((process) => process.pid === pid);
      return {
        command,
        cpuMsPerHop: cpuMs / hops,
        rssMb: inMegabytes(usage?.rssBytes ?? null),
        pssMb: inMegabytes(usage?.pssBytes ?? null),
      };
    }),
    memory: { rssMb: inMegabytes(rssBytes), pssMb: inMegabytes(pssBytes) },
  };
}
