import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SoundpostError } from '../../src/common/errors.js';
import { silentLogger } from '../../src/common/log.js';
import type { FreshFrames } from '../../src/inference/new-frames.js';
import type { InstalledModel } from '../../src/models/registry.js';
import { commandTable, type ServiceControl } from '../../src/mqtt/command-table.js';
import { createCommandRouter } from '../../src/mqtt/commands.js';
import { isoTime, type InfoPayload, type OutKey, type TelemetryPayload } from '../../src/mqtt/contract.js';
import { openDiskOutbox } from '../../src/mqtt/disk-outbox.js';
import { createLink, type Link, type LinkStatus } from '../../src/mqtt/link.js';
import { createSourceLink } from '../../src/mqtt/source-link.js';
import { createAnnouncer } from '../../src/service/announcer.js';
import { createEventTeller } from '../../src/service/event-teller.js';
import { createState } from '../../src/service/state.js';
import type { LatencyRecorder } from '../../src/telemetry/latency.js';
import { createSimulatedScores } from './simulated-scores.js';
import { BASE_TOPIC, deviceId, eventKey } from './messages.js';

/** As the service does it. */
const LEVEL_SECONDS = 5;
const TOP_K = 10;
const WATCHED = 8;
/** Of `mqtt.outbox.max_mb`: enough for the longest outage that is worth benching. */
const OUTBOX_BYTES = 16_000_000;
/** A swap takes as long as a small network's. */
const SWAP_MS = { least: 300, most: 1000 };

/** What the devices of one process share: nothing of it is seen by the broker. */
export interface DeviceSurroundings {
  /** One address for each node of the broker. */
  brokerUrls: readonly string[];
  /** Where the outboxes lie, one folder for each. */
  folder: string;
  /** What a device can be switched between; the first is at work at the start. */
  models: readonly InstalledModel[];
  /** What the devices say of themselves, `device` filled in for each. */
  info: Omit<InfoPayload, 'device'>;
  latency: LatencyRecorder;
  rateHz: number;
  eventSeconds: number;
  telemetrySeconds: number;
  startSpreadMs: number;
  onEvent(device: number, key: string): void;
  onMessage(): void;
  onStatus(device: number, status: LinkStatus): void;
}

export interface SimulatedDevice {
  start(): Promise<void>;
  /** What is heard ends, and nothing begins any more. */
  hush(): void;
  stop(): Promise<void>;
  counters(): { queued: number; dropped: number };
}

/**
 * One device as the broker sees it: the service's own link, its topics, payloads, commands,
 * announcer and outbox. Only the scores, the sensors' readings and the time a swap takes are made up.
 */
export async function createDevice(
  number: number,
  surroundings: DeviceSurroundings,
): Promise<SimulatedDevice> {
  const { models, latency, rateHz, telemetrySeconds } = surroundings;
  const id = deviceId(number);
  const timers: NodeJS.Timeout[] = [];
  const stopping = new AbortController();
  let model = models[0]!;
  let seq = 0;
  let hushed = false;

  const outbox = await openDiskOutbox({
    folder: join(surroundings.folder, id),
    maxBytes: OUTBOX_BYTES,
    log: silentLogger,
  });
  const real = createLink({
    url: turned(surroundings.brokerUrls, number),
    baseTopic: BASE_TOPIC,
    deviceId: id,
    log: silentLogger,
    outbox,
    onRequest: (message) => router.handle(message),
    timing: { startSpreadMs: surroundings.startSpreadMs },
    // As on a machine that has just come up: the first connect is spread.
    uptimeSeconds: 0,
  });
  const link: Link = {
    ...real,
    get connected() {
      return real.connected;
    },
    publish(key, payload, ...parameters) {
      surroundings.onMessage();
      if (isEvent(key, payload)) surroundings.onEvent(number, eventKey(payload.id, payload.event_type));
      real.publish(key, payload, ...parameters);
    },
  };
  real.onStatus((status) => surroundings.onStatus(number, status));

  const labels = model.labels.slice(0, WATCHED).map(({ name }) => name);
  const state = createState(
    {
      model: model.manifest.id,
      rate_hz: rateHz,
      effective_rate_hz: rateHz,
      paused: false,
      threshold: 0.5,
      labels,
      source: 'microphone',
      audio_device: null,
      telemetry_interval_seconds: telemetrySeconds,
      throttle: { active: false, reason: null },
      swap: { state: 'idle', model: null, progress: null },
    },
    (now) => link.publish('state', now),
  );
  const sourceLink = createSourceLink(link, null);
  const announcer = createAnnouncer({
    link: sourceLink,
    tell: createEventTeller({ link, sourceCount: 1, windowMs: 0, newId: randomUUID }).of(sourceLink),
    settings: {
      labels,
      threshold: 0.5,
      thresholds: {},
      offFraction: 0.7,
      confirm: { k: 1, n: 1 },
      minDurationSeconds: 0,
      minGapSeconds: 0,
    },
    topK: TOP_K,
    loud: null,
    memory: { slugs: () => [], isIncomplete: false, add: () => undefined },
    latency,
    where: '',
    log: silentLogger,
  });
  const scoresOf = createSimulatedScores({
    labels: model.labels,
    watched: WATCHED,
    everySeconds: surroundings.eventSeconds,
    startMs: Date.now(),
  });

  const info: InfoPayload = { ...surroundings.info, device: { id, name: id } };
  const simulated: Partial<ServiceControl> = {
    async setModel(wanted) {
      const next = models.find(({ manifest }) => manifest.id === wanted);
      if (next === undefined) throw new SoundpostError('model_unknown', `There is no model ${wanted} here.`);
      const loadMs = Math.round(SWAP_MS.least + Math.random() * (SWAP_MS.most - SWAP_MS.least));
      for (const progress of [0, 0.5]) {
        state.change({ swap: { state: 'loading', model: wanted, progress } });
        await delay(loadMs / 2, undefined, { signal: stopping.signal });
      }
      model = next;
      announcer.modelChanged(next);
      state.change({ model: wanted, swap: { state: 'idle', model: null, progress: null } });
      link.publish('info', info);
      return { model: wanted, load_ms: loadMs };
    },
    setRate(hz) {
      state.change({ rate_hz: hz, effective_rate_hz: hz });
      return Promise.resolve({ rate_hz: hz, effective_rate_hz: hz });
    },
  };
  const router = createCommandRouter({
    commands: commandTable(withRefusals(simulated)),
    topics: link.topics,
    reply: (reply) => link.reply(reply),
    // The console of the benchmark takes the answers of all devices on one topic.
    foreignResponseTopics: true,
    log: silentLogger,
  });

  /** Devices do not tick in step: each row of messages begins at a moment of its own. */
  function every(seconds: number, task: () => void): void {
    const first = setTimeout(
      () => {
        task();
        timers.push(setInterval(task, seconds * 1000));
      },
      Math.random() * seconds * 1000,
    );
    timers.push(first);
  }

  function hear(): void {
    const endMs = Date.now();
    const arrivedAt = performance.now();
    const scores = hushed ? new Float32Array(model.labels.length) : scoresOf.window(endMs);
    const windowMs = model.manifest.input.window_seconds * 1000;
    seq += 1;
    const times = { startMs: endMs - windowMs, endMs, arrivedAt, answeredAt: arrivedAt };
    const hopMs = 1000 / rateHz;
    const fresh: FreshFrames = {
      startMs: endMs - hopMs,
      endMs,
      frameMs: hopMs,
      count: 1,
      before: 0,
      values: scores,
      spreadMs: 0,
      role: 'scores',
    };
    announcer.result(
      {
        source: 0,
        idle: false,
        computedAs: 'whole',
        seq,
        model,
        scores,
        heads: [],
        learnt: new Float32Array(0),
        embedding: null,
        pieces: 0,
        fresh,
        ...times,
        queueMs: 0.3,
        featuresMs: 0.9,
        inferenceMs: 7.4,
      },
      -50 + Math.random() * 10,
    );
  }

  return {
    async start() {
      link.publish('info', info);
      link.publish('audio/status', 'online');
      state.change({});
      announcer.modelChanged(model);
      await real.start();
      every(1 / rateHz, hear);
      every(LEVEL_SECONDS, () =>
        link.publish('level', { ts: isoTime(Date.now()), dbfs: -50.3, peak_dbfs: -38.1 }),
      );
      every(telemetrySeconds, () =>
        link.publish('telemetry', {
          ...readings(model.manifest.id, rateHz, telemetrySeconds),
          latency_ms: latency.snapshotAndReset(),
          outbox: real.counters(),
        }),
      );
    },
    hush() {
      hushed = true;
      announcer.close();
    },
    async stop() {
      for (const timer of timers) clearTimeout(timer);
      stopping.abort();
      announcer.close();
      await router.stop();
      await real.stop();
      await outbox.close();
    },
    counters: () => real.counters(),
  };
}

/** The list from another beginning for each device: so a fleet is spread over the nodes. */
function turned(urls: readonly string[], by: number): readonly string[] {
  const start = by % urls.length;
  return [...urls.slice(start), ...urls.slice(0, start)];
}

function isEvent(key: OutKey, payload: unknown): payload is { id: string; event_type: string } {
  return key === 'event' && typeof payload === 'object' && payload !== null;
}

/** Commands that are not simulated are answered with an error. */
function withRefusals(simulated: Partial<ServiceControl>): ServiceControl {
  return new Proxy(simulated, {
    get: (target, name, receiver): unknown =>
      Reflect.get(target, name, receiver) ??
      (() =>
        Promise.reject(
          new SoundpostError('bench_failed', `The simulated devices do not know ${String(name)}.`),
        )),
  }) as ServiceControl;
}

/** Readings as a small board would have them: numbers of the usual length. */
function readings(
  model: string,
  rateHz: number,
  intervalSeconds: number,
): Omit<TelemetryPayload, 'latency_ms' | 'outbox'> {
  return {
    ts: isoTime(Date.now()),
    interval_seconds: intervalSeconds,
    uptime_s: Math.round(process.uptime()),
    model,
    rate_hz: { requested: rateHz, effective: rateHz, measured: Math.round(rateHz * 998) / 1000 },
    windows: { processed: 86_400, dropped: 0 },
    soc: {
      temperature_c: 55 + Math.round(Math.random() * 100) / 10,
      frequency_mhz: 1800,
      throttled: false,
      under_voltage: false,
      throttled_since_boot: false,
    },
    host: {
      cpu_percent: 9.5,
      load_1m: 0.21,
      memory_rss_mb: 190.4,
      memory_available_mb: 2913,
      disk_free_mb: 11_034,
    },
    audio: { overruns: 0, restarts: 0 },
    inference: { restarts: 0 },
  };
}
