import { spawnSync } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { loadavg } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, SoundpostError } from '../../common/errors.js';
import { hostFacts } from '../host-facts.js';
import { memoryOf, readProcessTree } from '../process-tree.js';
import { openFilesLimit, startFleetBroker, type FleetBroker } from './broker.js';
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
import type { FleetOptions } from './options.js';
import { createFleet, type Fleet } from './processes.js';
import { failuresOf, spreadOf, waveOf, type FleetReport, type Rates } from './report.js';

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
  counts: Counts;
  published: number;
  received: number;
  brokerCpuMs: number;
  devicesCpuMs: number;
}

/**
 * One run: connect all, let them work, switch the models of all, kill the broker and start it again, let them work,
 * wait for the last event, stop all. The folders are empty ones; what is started is ended before this returns or
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
    const broker = await startFleetBroker({ folder, autosaveSeconds: settings.autosaveSeconds });
    undo.push(() => broker.stop());
    await checkOpenFiles(broker, devices);
    const ledger = createLedger(devices);
    const consumer = await startConsumer(broker.url, (...event) => ledger.received(...event));
    undo.push(() => consumer.stop());
    const gauge = await startGauge(broker.url);
    undo.push(() => gauge.stop());

    progress(`creating ${devices} devices; their broker is ${broker.url}`);
    const fleet = await createFleet({
      devices,
      settings: {
        brokerUrl: broker.url,
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
    const answers = await switchModels(broker.url, {
      devices,
      model: OTHER_MODEL,
      limitMs: SWITCH_LIMIT_MS,
      signal,
    });
    const answered = answers.filter((ms) => ms !== null);
    await wait(Math.max(0, (seconds * 1000) / 4 - (performance.now() - switched)));

    progress('killing the broker');
    const crashedAt = Date.now();
    await broker.crash();
    await wait(settings.downSeconds * 1000);
    const revivedAt = Date.now();
    await broker.revive();
    const backAt = Date.now();
    progress('the broker is back');
    await until(CONNECT_LIMIT_MS, () => connectedSince(fleet, crashedAt).size === devices);
    await wait(COUNTER_AGE_MS);
    const after = look();
    const recoveredSeconds = (after.at - backAt) / 1000;
    const reconnected = [...connectedSince(fleet, crashedAt).values()].map((at) => at - backAt);
    const failedAttempts = fleet.news.links
      .filter(({ state, at }) => state === 'failed' && at >= crashedAt)
      .map(({ at }) => at - crashedAt);
    const onlineAfterRestart = (await countStatuses(broker.url, devices)).online;

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
    const offlineAfterStop = (await countStatuses(broker.url, devices)).offline;

    const usual = (perSecond: number): number => perSecond * recoveredSeconds;
    const report: Omit<FleetReport, 'failures'> = {
      machine: machine(),
      options: {
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
      restart: {
        down_ms: backAt - crashedAt,
        recovery: spreadOf(reconnected),
        reconnects: waveOf(reconnected),
        failed_attempts_per_second: waveOf(failedAttempts).per_second,
        packets_in: after.counts.packetsIn,
        bytes_in: after.counts.bytesIn,
        extra_packets_per_device: (after.counts.packetsIn - usual(traffic.packets_in_per_s)) / devices,
        extra_bytes_per_device: (after.counts.bytesIn - usual(traffic.bytes_in_per_s)) / devices,
        broker_cpu_percent: after.brokerCpuMs / recoveredSeconds / 10,
        start_ms: backAt - revivedAt,
      },
      events: { ...ledger.report(), dropped: fleet.news.dropped },
      statuses: { online_after_restart: onlineAfterRestart, offline_after_stop: offlineAfterStop },
      memory: { ...memory, broker_data_bytes: await sizeOf(join(folder, 'mosquitto.db')) },
      event_loop_max_ms: Math.round(eventLoopMs),
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
    brokerCpuMs: cpuOf(broker.pid()),
    devicesCpuMs: fleet.pids.reduce((sum, pid) => sum + cpuOf(pid), 0),
  };
}

function cpuOf(pid: number | null): number {
  return pid === null ? 0 : (readProcessTree(pid)[0]?.cpuMs ?? 0);
}

function ratesBetween(before: Mark, after: Mark, devices: number): Rates {
  const seconds = (after.at - before.at) / 1000;
  const rate = (key: keyof Counts): number => (after.counts[key] - before.counts[key]) / seconds;
  return {
    seconds,
    messages_published_per_s: (after.published - before.published) / seconds,
    events_received_per_s: (after.received - before.received) / seconds,
    packets_in_per_s: rate('packetsIn'),
    packets_out_per_s: rate('packetsOut'),
    bytes_in_per_s: rate('bytesIn'),
    bytes_out_per_s: rate('bytesOut'),
    bytes_per_device_per_s: rate('bytesIn') / devices,
    broker_cpu_percent: (after.brokerCpuMs - before.brokerCpuMs) / seconds / 10,
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
  const pid = broker.pid();
  const brokerBytes = pid === null ? null : memoryOf(readProcessTree(pid)).rssBytes;
  return { device_bytes: Math.round(used / devices), broker_bytes: brokerBytes };
}

async function checkOpenFiles(broker: FleetBroker, devices: number): Promise<void> {
  const pid = broker.pid();
  const limit = pid === null ? Infinity : await openFilesLimit(pid);
  const needed = devices + SPARE_FILES;
  if (limit >= needed) return;
  throw new SoundpostError(
    'open_files',
    `mosquitto may open ${limit} files here, and ${devices} devices need ${needed}. Raise the limit first: ulimit -n ${needed}`,
  );
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

function machine(): FleetReport['machine'] {
  const said = spawnSync('mosquitto', ['-h'], { encoding: 'utf8' }).stdout;
  return {
    ...hostFacts(),
    load: loadavg()[0] ?? 0,
    mosquitto: /version (\S+)/.exec(said)?.[1] ?? 'unknown',
  };
}
