import { EventEmitter, on } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { MqttClient } from 'mqtt';
import { messageOf } from '../../src/common/errors.js';
import { contract, epochMs, type TagsPayload, type TelemetryPayload } from '../../src/mqtt/contract.js';
import { createTopics } from '../../src/mqtt/topics.js';
import {
  cpuBetween,
  cpuPerProcess,
  memoryOf,
  readProcessTree,
  type ProcessUsage,
} from '../../src/bench/process-tree.js';
import type { ServiceChild } from '../../src/bench/service-child.js';
import { DEVICE, underService, watchRun, type RunOptions } from './under-service.js';

export interface ServiceRunOptions extends RunOptions {
  windowSeconds: number;
  /** A wav file, looped in real time. */
  recording: string;
  seconds: number;
  /** Have the service watch its event loop as well, which costs CPU time. */
  eventLoop: boolean;
  /** Further settings of the service, without `SOUNDPOST_`. */
  settings?: Readonly<Record<string, string>>;
  /** Paths of the page's server that somebody reads all the time, such as `/api/feed`. */
  viewers?: readonly string[];
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
  const settings = {
    AUDIO_SOURCE: 'file',
    AUDIO_FILE: options.recording,
    AUDIO_LOOP: 'true',
    AUDIO_SPEED: '1',
    // Twice while it is measured, and not oftener than a user would have it.
    TELEMETRY_INTERVAL_SECONDS: String(Math.min(30, Math.max(1, Math.floor(options.seconds / 2)))),
    ...(options.eventLoop ? { TELEMETRY_EVENT_LOOP: 'true' } : {}),
    ...options.settings,
  };
  const left = new AbortController();
  try {
    return await underService(
      options,
      settings,
      options.modelId,
      async (client, child, page) => {
        for (const path of options.viewers ?? []) await look(new URL(path, page), left.signal);
        return measure(client, child, options);
      },
      () => options.progress('stopping the service'),
    );
  } finally {
    left.abort();
  }
}

/** Reads a reply that goes on, until the signal fires. Resolves once it has begun: the page may not be open yet. */
async function look(url: URL, signal: AbortSignal): Promise<void> {
  const until = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    try {
      const { body, status } = await fetch(url, { signal });
      if (status !== 200 || body === null) throw new Error(`${url.pathname} is answered with ${status}`);
      void body.pipeTo(new WritableStream(), { signal }).catch(() => undefined);
      return;
    } catch (error) {
      if (performance.now() > until) throw error;
      await delay(100, undefined, { signal });
    }
  }
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
  const watch = watchRun(child, options.signal, budgetMs);
  const { signal } = watch;
  client.on('message', (topic, payload) => {
    try {
      const json = JSON.parse(payload.toString()) as unknown;
      if (topic === topics.of('telemetry')) reports.push(contract.telemetry.schema.parse(json));
      else results.emit('tags', contract.tags.schema.parse(json));
    } catch (error) {
      watch.fail(`what it published on ${topic} is not right: ${messageOf(error)}`);
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
    watch.over();
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
