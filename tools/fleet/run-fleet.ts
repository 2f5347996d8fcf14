import { loadavg } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, SoundpostError } from '../../src/common/errors.js';
import { hostFacts } from '../../src/bench/host-facts.js';
import { readProcessTree } from '../../src/bench/process-tree.js';
import { findBrokerFeatures, prepareCrash, type CrashFeatures } from './broker-features.js';
import { startFleetBroker, type FleetBroker } from './broker.js';
import {
  countStatuses,
  startConsumer,
  startGauge,
  switchModels,
  type Consumer,
  type Counts,
  type Gauge,
} from './console.js';
import { createLedger } from './ledger.js';
import { OTHER_MODEL } from './messages.js';
import { openFilesLimit } from './node.js';
import type { FleetOptions } from './options.js';
import { createFleet, type Fleet } from './processes.js';
import { failuresOf, spreadOf, waveOf, type FleetReport, type TrafficRates } from './fleet-report.js';

const CONNECT_LIMIT_MS = 180_000;
const SWITCH_LIMIT_MS = 120_000;
const DRAIN_LIMIT_MS = 120_000;
/** The broker's counters are renewed once a second. */
const COUNTER_AGE_MS = 1100;
/** Of files, beside one socket for each device: libraries, pipes, and the store of each outbox. */
const SPARE_FILES = 200;

/** What was used up to one moment. */
interface Mark {
  at: number;
  counts: Counts | null;
  published: number;
  received: number;
  /** By process: one that is killed takes its count along. */
  brokerCpuMs: ReadonlyMap<number, number>;
  devicesCpuMs: number;
}

/**
 * One run: connect all, let them work, switch the models of all, kill the broker (or its first node) and start it
 * again, let them work, wait for the last event, stop all. The folders are empty ones; what is started is ended before this returns or
 * throws, also where `signal` fires.
 */
export async function runFleet(options: {
  settings: FleetOptions;
  root: string;
  /** Of the broker. */
  folder: string;
  /** Of the devices. */
  outboxFolder: string;
  progress: (message: string) => void;
  signal: AbortSignal;
}): Promise<FleetReport> {
  const { settings, root, folder, outboxFolder, progress } = options;
  const { devices, seconds } = settings;
  const undo: (() => void | Promise<void>)[] = [];
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  const wait = (ms: number): Promise<void> => delay(ms, undefined, { signal });
  /** Looks again and again; false where the time is up before. */
  async function until(limitMs: number, reached: () => boolean): Promise<boolean> {
    const end = performance.now() + limitMs;
    while (!reached() && performance.now() < end) await wait(50);
    return reached();
  }

  try {
    const broker = await startFleetBroker({
      kind: settings.broker,
      nodes: settings.nodes,
      folder,
      autosaveSeconds: settings.autosaveSeconds,
      signal,
    });
    undo.push(() => broker.stop());
    await checkOpenFiles(broker, devices);
    progress(`${broker.version}: finding out what it does`);
    const features = await findBrokerFeatures(broker.urls);
    const version = features.mqtt_version;
    const ledger = createLedger(devices);
    const consumer = await startConsumer(broker.urls, version, (...event) => ledger.received(...event));
    undo.push(() => consumer.stop());
    const gauge = await startGauge(broker.urls[0], broker.counts);
    undo.push(() => gauge.stop());
    // The node that stays: there newcomers ask, and the operator works.
    const staying = broker.urls[1] ?? broker.urls[0];

    progress(`creating ${devices} devices; their broker is ${broker.urls.join(', ')}`);
    const fleet = await createFleet({
      devices,
      settings: {
        brokerUrls: broker.urls,
        root,
        folder: outboxFolder,
        rateHz: settings.rateHz,
        eventSeconds: settings.eventSeconds,
        telemetrySeconds: settings.telemetrySeconds,
        startSpreadMs: settings.startSpreadSeconds * 1000,
      },
      onEvent: (...event) => ledger.published(...event),
      onFailure: (error) => failed.abort(error),
    });
    undo.push(() => fleet.kill());
    const heartbeat = setInterval(() => {
      const connected = new Set(connectedSince(fleet, 0).keys()).size;
      const { published, queued } = fleet.news;
      progress(`${connected} have connected, ${published} messages published, ${queued} events waiting`);
    }, 5000);
    undo.push(() => clearInterval(heartbeat));

    progress('connecting');
    const startOf = await fleet.start();
    await until(CONNECT_LIMIT_MS, () => connectedSince(fleet, 0).size === devices);
    const connected = connectedSince(fleet, 0);
    const connectMs = [...connected].map(([device, at]) => at - startOf(device));
    fleet.takeEventLoopMs();
    const look = (): Mark => mark({ broker, fleet, gauge, consumer });

    progress(`working for ${seconds / 4} s`);
    // The rush of the beginning is not the usual traffic.
    await wait(COUNTER_AGE_MS);
    const before = look();
    await wait((seconds * 1000) / 4);
    const traffic = ratesBetween(before, look(), devices);

    progress('switching the models of all');
    const switched = performance.now();
    const answers = await switchModels(staying, {
      version,
      devices,
      model: OTHER_MODEL,
      limitMs: SWITCH_LIMIT_MS,
      signal,
    });
    const answered = answers.filter((ms) => ms !== null);
    await wait(Math.max(0, (seconds * 1000) / 4 - (performance.now() - switched)));

    const fall = await crash({ settings, broker, fleet, consumer, look, progress, wait, until });
    const countStates = () => countStatuses(staying, devices, features.retained_wildcard);
    const onlineAfterRestart = (await countStates()).online;

    progress(`working for ${seconds / 2} s`);
    await wait((seconds * 1000) / 2);
    const memory = memoryNow(broker, fleet, devices);
    progress('waiting for the last events');
    await fleet.hush();
    await until(DRAIN_LIMIT_MS, () => fleet.news.queued === 0 && ledger.outstanding() <= 0);
    const eventLoopMs = fleet.takeEventLoopMs();
    progress('stopping');
    await fleet.stop();
    await until(5000, () => ledger.outstanding() <= 0);
    const offlineAfterStop = (await countStates()).offline;

    const report: Omit<FleetReport, 'failures'> = {
      machine: machine(broker),
      options: {
        nodes: broker.urls.length,
        devices,
        seconds,
        event_seconds: settings.eventSeconds,
        rate_hz: settings.rateHz,
        telemetry_seconds: settings.telemetrySeconds,
        down_seconds: settings.downSeconds,
        autosave_seconds: settings.autosaveSeconds,
        start_spread_seconds: settings.startSpreadSeconds,
        outbox_folder: dirname(outboxFolder),
        processes: fleet.pids.length,
      },
      connect: { ...spreadOf(connectMs), wave: waveOf(connectMs) },
      traffic,
      operator: {
        ...spreadOf(answered),
        answered: answered.length,
        failed: devices - answered.length,
        all_ms: answered.length === devices ? Math.round(Math.max(...answered)) : null,
      },
      restart: restartOf(fall, traffic, devices),
      events: { ...ledger.report(), dropped: fleet.news.dropped },
      statuses: { online_after_restart: onlineAfterRestart, offline_after_stop: offlineAfterStop },
      memory: { ...memory, broker_data_bytes: await broker.dataBytes() },
      event_loop_max_ms: Math.round(eventLoopMs),
      abilities: { ...features, ...fall.abilities },
    };
    return { ...report, failures: failuresOf(report) };
  } catch (error) {
    // What stopped the waiting says more than that it was stopped.
    if (failed.signal.aborted && failed.signal.reason instanceof Error) throw failed.signal.reason;
    throw error;
  } finally {
    for (const step of undo.reverse()) {
      try {
        await step();
      } catch (error) {
        // The others must be undone all the same, or a broker runs on.
        progress(`could not be undone: ${messageOf(error)}`);
      }
    }
  }
}

/** What happened between the moment in which the broker, or its first node, was killed and the return of all. */
interface Fall {
  crashedAt: number;
  /** From when on there was a broker to connect to. */
  availableAt: number;
  startMs: number;
  /** Devices that lost their connection, and the moments when they had one again. */
  lost: number;
  reconnectedAt: number[];
  failedAt: number[];
  consumerSilenceMs: number;
  before: Mark;
  after: Mark;
  abilities: CrashFeatures;
}

/**
 * Kills it. The only node is started again after a while, and then everybody comes back; a node of several stays away
 * until everybody has gone over to the others, and at least as long.
 */
async function crash(parts: {
  settings: FleetOptions;
  broker: FleetBroker;
  fleet: Fleet;
  consumer: Consumer;
  look: () => Mark;
  progress: (message: string) => void;
  wait: (ms: number) => Promise<void>;
  until: (limitMs: number, reached: () => boolean) => Promise<boolean>;
}): Promise<Fall> {
  const { settings, broker, fleet, consumer, look, progress, wait, until } = parts;
  const isOnly = broker.urls.length === 1;
  const prepared = await prepareCrash(broker.urls);
  try {
    progress(isOnly ? 'killing the broker' : `killing one of ${broker.urls.length} nodes`);
    const before = look();
    consumer.takeSilenceMs();
    const crashedAt = Date.now();
    await broker.crash();
    const outcome = prepared.outcome();
    // It is waited for below; where something else fails before, that is what is told.
    outcome.catch(() => undefined);
    await wait(settings.downSeconds * 1000);
    let startMs = 0;
    const revive = async (): Promise<void> => {
      const from = Date.now();
      await broker.revive();
      startMs = Date.now() - from;
      progress(isOnly ? 'the broker is back' : 'the node is back');
    };
    if (isOnly) await revive();
    const availableAt = isOnly ? Date.now() : crashedAt;
    // The news of a loss takes half a second to get here.
    if (!isOnly) await wait(2 * COUNTER_AGE_MS);
    const lost = () => (isOnly ? settings.devices : lostSince(fleet, crashedAt).size);
    const back = () => [...backSince(fleet, crashedAt).values()];
    await until(CONNECT_LIMIT_MS, () => back().length >= lost());
    await wait(COUNTER_AGE_MS);
    // Nodes that choose a new leader may close the connections of the others meanwhile: those come back as well.
    await until(CONNECT_LIMIT_MS, () => back().length >= lost());
    const after = look();
    const fall: Omit<Fall, 'startMs'> = {
      crashedAt,
      availableAt,
      lost: lost(),
      reconnectedAt: back(),
      failedAt: fleet.news.links
        .filter(({ state, at }) => state === 'failed' && at >= crashedAt)
        .map(({ at }) => at),
      consumerSilenceMs: consumer.takeSilenceMs(),
      before,
      after,
      abilities: await outcome,
    };
    if (!isOnly) await revive();
    return { ...fall, startMs };
  } finally {
    await prepared.stop();
  }
}

function restartOf(fall: Fall, traffic: TrafficRates, devices: number): FleetReport['restart'] {
  const { crashedAt, availableAt, before, after } = fall;
  const seconds = (after.at - availableAt) / 1000;
  const reconnected = fall.reconnectedAt.map((at) => at - availableAt);
  // Only of a broker that has started again are the counts those since then.
  const extra = (count: number | undefined, perSecond: number | null): number | null =>
    count === undefined || perSecond === null ? null : (count - perSecond * seconds) / devices;
  return {
    down_ms: availableAt - crashedAt,
    devices_lost: fall.lost,
    recovery: spreadOf(reconnected),
    reconnects: waveOf(reconnected),
    failed_attempts_per_second: waveOf(fall.failedAt.map((at) => at - crashedAt)).per_second,
    packets_in: after.counts?.packetsIn ?? null,
    bytes_in: after.counts?.bytesIn ?? null,
    extra_packets_per_device: extra(after.counts?.packetsIn, traffic.packets_in_per_s),
    extra_bytes_per_device: extra(after.counts?.bytesIn, traffic.bytes_in_per_s),
    broker_cpu_percent: cpuBetween(before, after) / seconds / 10,
    start_ms: fall.startMs,
    consumer_silence_ms: Math.round(fall.consumerSilenceMs),
  };
}

/** The devices that have lost a connection from a moment on, and when first. */
function lostSince(fleet: Fleet, since: number): Map<number, number> {
  const first = new Map<number, number>();
  for (const { device, state, at } of fleet.news.links) {
    if (state === 'lost' && at >= since && !first.has(device)) first.set(device, at);
  }
  return first;
}

/** Of the devices that have lost one: when each had one again. */
function backSince(fleet: Fleet, since: number): Map<number, number> {
  const lost = lostSince(fleet, since);
  const back = new Map<number, number>();
  for (const { device, state, at } of fleet.news.links) {
    const lostAt = lost.get(device);
    if (state !== 'connected' || lostAt === undefined || at < lostAt || back.has(device)) continue;
    back.set(device, at);
  }
  return back;
}

/** The first connection of each device from a moment on. */
function connectedSince(fleet: Fleet, since: number): Map<number, number> {
  const first = new Map<number, number>();
  for (const { device, state, at } of fleet.news.links) {
    if (state === 'connected' && at >= since && !first.has(device)) first.set(device, at);
  }
  return first;
}

function mark(parts: { broker: FleetBroker; fleet: Fleet; gauge: Gauge; consumer: Consumer }): Mark {
  const { broker, fleet, gauge, consumer } = parts;
  return {
    at: Date.now(),
    counts: gauge.counts(),
    published: fleet.news.published,
    received: consumer.count(),
    brokerCpuMs: new Map(broker.pids().map((pid) => [pid, cpuOf(pid)])),
    devicesCpuMs: fleet.pids.reduce((sum, pid) => sum + cpuOf(pid), 0),
  };
}

function cpuOf(pid: number): number {
  return readProcessTree(pid)[0]?.cpuMs ?? 0;
}

/** CPU time of the broker between two marks, in ms; without that of processes that ended in between. */
function cpuBetween(before: Mark, after: Mark): number {
  return [...after.brokerCpuMs].reduce((sum, [pid, ms]) => sum + ms - (before.brokerCpuMs.get(pid) ?? 0), 0);
}

function ratesBetween(before: Mark, after: Mark, devices: number): TrafficRates {
  const seconds = (after.at - before.at) / 1000;
  const rate = (key: keyof Counts): number | null =>
    after.counts === null || before.counts === null
      ? null
      : (after.counts[key] - before.counts[key]) / seconds;
  const bytesIn = rate('bytesIn');
  return {
    seconds,
    messages_published_per_s: (after.published - before.published) / seconds,
    events_received_per_s: (after.received - before.received) / seconds,
    packets_in_per_s: rate('packetsIn'),
    packets_out_per_s: rate('packetsOut'),
    bytes_in_per_s: bytesIn,
    bytes_out_per_s: rate('bytesOut'),
    bytes_per_device_per_s: bytesIn === null ? null : bytesIn / devices,
    broker_cpu_percent: cpuBetween(before, after) / seconds / 10,
    devices_cpu_percent: (after.devicesCpuMs - before.devicesCpuMs) / seconds / 10,
  };
}

function memoryNow(
  broker: FleetBroker,
  fleet: Fleet,
  devices: number,
): { device_bytes: number; broker_bytes: number | null } {
  const rssOf = (pid: number): number => readProcessTree(pid)[0]?.rssBytes ?? NaN;
  const used = fleet.pids.reduce((sum, pid) => sum + rssOf(pid), 0) - fleet.emptyBytes;
  const brokerBytes = broker.pids().reduce((sum, pid) => sum + rssOf(pid), 0);
  return {
    device_bytes: Math.round(used / devices),
    broker_bytes: Number.isFinite(brokerBytes) ? brokerBytes : null,
  };
}

async function checkOpenFiles(broker: FleetBroker, devices: number): Promise<void> {
  // After a crash the nodes that stay have all of them.
  const limits = await Promise.all(broker.pids().map((pid) => openFilesLimit(pid)));
  const limit = Math.min(...limits);
  const needed = devices + SPARE_FILES;
  if (limit >= needed) return;
  throw new SoundpostError(
    'bench_failed',
    `${broker.version} may open ${limit} files here, and ${devices} devices need ${needed}. Raise the limit first: ulimit -n ${needed}`,
  );
}

function machine(broker: FleetBroker): FleetReport['machine'] {
  return { ...hostFacts(), load: loadavg()[0] ?? 0, broker: broker.version };
}
