import { cpus, loadavg } from 'node:os';
import { epochMs, type EventPayload, type TagsPayload, type TelemetryPayload } from '../../mqtt/contract.js';
import { cpuBetween, memoryOf, type ProcessUsage } from '../process-tree.js';
import { createEventCheck, createFaultList, createTagsCheck } from './checks.js';
import { createClockCheck } from './clock.js';
import { createLatencyHistory } from './latency-history.js';
import type { SoakReport, SoakSettings } from './report.js';
import {
  isInference,
  memoryAfterSwaps,
  memoryGrowth,
  mergeProcesses,
  mergeTelemetry,
  rssByName,
  telemetrySample,
  type ProcessSample,
  type Stint,
  type TelemetrySample,
} from './samples.js';
import { createSeries } from './series.js';
import type { Swaps } from './swaps.js';
import { isKept, judgeSoak } from './verdict.js';

/** Readings kept of each kind: a plot has no more points. */
const READINGS = 1000;
/** A 99th percentile of fewer windows is little more than their maximum. */
const LEAST_FOR_P99 = 100;
/** A window is full once it no longer grows by more than a rounding. */
const GROWING_MS = 2;
const MEGABYTE = 1e6;

/** Takes everything that a run sees, checks it, and makes the report of it. */
export function createMonitor(options: { settings: SoakSettings; version: string }) {
  const { settings, version } = options;
  const { rateHz, speed, swap } = settings;
  const realTime = speed === 1;
  const hopSeconds = 1 / rateHz;
  const faults = createFaultList();
  const tagsCheck = createTagsCheck({
    model: settings.model,
    hopSeconds: realTime ? null : hopSeconds,
    faults,
  });
  const events = createEventCheck({ faults });
  const clock = createClockCheck({ hopSeconds });
  const latency = createLatencyHistory();
  const processes = createSeries<ProcessSample>({ limit: READINGS, merge: mergeProcesses });
  const telemetry = createSeries<TelemetrySample>({ limit: READINGS, merge: mergeTelemetry });
  const machine = {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    node: process.versions.node,
    platform: `${process.platform} ${process.arch}`,
  };
  const loadBefore = loadavg()[0] ?? 0;
  const startedAt = new Date().toISOString();

  let first: { endMs: number; atMs: number } | null = null;
  let lastEndMs = 0;
  let lastAtMs = 0;
  let lastLengthMs = 0;
  let windows = 0;
  let model = settings.model;
  let lastTelemetry: TelemetryPayload | null = null;
  const loop = { reports: 0, sumMs: 0, worstMs: 0, maxMs: 0 };
  /** What the inference processes hold. */
  const held = new Map<number, string>();
  let firstTree: { tree: readonly ProcessUsage[]; windows: number } | null = null;
  let lastTree: { tree: readonly ProcessUsage[]; atMs: number; windows: number } | null = null;
  const stints: Stint[] = [];

  const wallSeconds = () => (first === null ? 0 : (lastAtMs - first.atMs) / 1000);
  const audioSeconds = () => {
    if (first === null) return 0;
    // The wall clock may be set while a run in real time goes on; the other clock cannot.
    return hopSeconds + (realTime ? wallSeconds() : (lastEndMs - first.endMs) / 1000);
  };

  return {
    faults,
    tagsCheck,
    events,
    audioSeconds,
    wallSeconds,
    get windows() {
      return windows;
    },
    get model() {
      return model;
    },
    telemetryReports: () => loop.reports,
    dropped: () => lastTelemetry?.windows.dropped ?? null,

    tags(tags: TagsPayload): void {
      const [startMs, endMs] = [epochMs(tags.window.start), epochMs(tags.window.end)];
      tagsCheck.window(tags);
      lastAtMs = performance.now();
      first ??= { endMs, atMs: lastAtMs };
      lastEndMs = endMs;
      windows += 1;
      if (realTime) clock.window(tags.seq, endMs);
      const lengthMs = endMs - startMs;
      const full = tags.model !== model || lengthMs <= lastLengthMs + GROWING_MS;
      lastLengthMs = lengthMs;
      model = tags.model;
      if (full) latency.record(model, audioSeconds(), tags.latency_ms);
    },
    event(event: EventPayload): void {
      events.event(event);
    },
    telemetry(payload: TelemetryPayload): void {
      const before = lastTelemetry;
      lastTelemetry = payload;
      if (before !== null && payload.rate_hz.effective !== before.rate_hz.effective) clock.restart();
      telemetry.add(telemetrySample(payload, audioSeconds(), wallSeconds()));
      const delay = payload.event_loop_ms;
      if (delay?.p99 == null) return;
      loop.reports += 1;
      loop.sumMs += delay.p99;
      loop.worstMs = Math.max(loop.worstMs, delay.p99);
      loop.maxMs = Math.max(loop.maxMs, delay.max ?? 0);
    },
    /** `settled`: no swap is going on, so that a single inference process holds the model that answers. */
    processes(tree: readonly ProcessUsage[], settled: boolean): void {
      if (first === null || tree.length === 0) return;
      const inference = tree.filter(isInference);
      if (settled && inference.length === 1) held.set(inference[0]!.pid, model);
      for (const pid of held.keys()) if (!tree.some((usage) => usage.pid === pid)) held.delete(pid);
      const atMs = performance.now();
      const usedMs = lastTree === null ? null : cpuBetween(lastTree.tree, tree);
      processes.add({
        audioSeconds: audioSeconds(),
        wallSeconds: (atMs - first.atMs) / 1000,
        rssMb: rssByName(tree, held),
        cpuPercent:
          usedMs === null || lastTree === null ? null : Math.max(0, (100 * usedMs) / (atMs - lastTree.atMs)),
      });
      firstTree ??= { tree, windows };
      lastTree = { tree, atMs, windows };
    },
    /** A model has done its turn. Returns the memory of all processes, in MB. */
    stintEnds(tree: readonly ProcessUsage[], endSeconds: number): number | null {
      const { rssBytes } = memoryOf(tree);
      if (rssBytes === null || tree.length === 0) return null;
      stints.push({ model, endSeconds, rssMb: rssBytes / MEGABYTE });
      return rssBytes / MEGABYTE;
    },

    report(end: SoakReport['end'], failure: SoakReport['failure'], swaps: Swaps | null): SoakReport {
      const seconds = audioSeconds();
      const wall = wallSeconds();
      const row = tagsCheck.summary();
      const p99 = (name: string, from: number, to: number) => {
        const figures = latency.figures(name, from, to);
        return figures === null || figures.count < LEAST_FOR_P99 ? null : figures.p99;
      };
      const latencies = latency.models().map((name) => {
        const [start, last] = [p99(name, 0, 0.1), p99(name, 0.9, Infinity)];
        return {
          model: name,
          all: latency.figures(name)!,
          firstTenthP99: start,
          lastTenthP99: last,
          drift: start === null || last === null ? null : last / start,
        };
      });
      const memory = memoryGrowth(processes.readings());
      const swapped = swaps?.summary() ?? null;
      const swapMemory = memoryAfterSwaps(stints, seconds);
      const eventLoop =
        loop.reports === 0
          ? null
          : { p99Ms: loop.sumMs / loop.reports, worstP99Ms: loop.worstMs, maxMs: loop.maxMs };
      const restarts = {
        inference: lastTelemetry?.inference.restarts ?? null,
        audio: lastTelemetry?.audio.restarts ?? null,
        overruns: lastTelemetry?.audio.overruns ?? null,
      };
      const dropped = lastTelemetry?.windows.dropped ?? null;
      const clockFigures = realTime ? clock.figures() : null;
      const verdicts = judgeSoak(
        {
          end,
          windows: row.windows,
          missing: row.missing,
          dropped,
          restarts:
            restarts.inference === null || restarts.audio === null
              ? null
              : restarts.inference + restarts.audio,
          faults: faults.summary().total,
          latencyDrift: latencies,
          memory,
          eventLoopP99Ms: eventLoop?.p99Ms ?? null,
          swaps:
            swapped === null ? null : { asked: swapped.asked, failed: swapped.failed, memory: swapMemory },
          clock: clockFigures,
        },
        settings.limits,
      );
      const counted = firstTree === null || lastTree === null ? 0 : lastTree.windows - firstTree.windows;
      return {
        version,
        machine,
        load: { before: loadBefore, after: loadavg()[0] ?? 0 },
        startedAt,
        endedAt: new Date().toISOString(),
        end,
        failure,
        settings,
        audioSeconds: seconds,
        wallSeconds: wall,
        windows: {
          arrived: row.windows,
          perSecond: wall > 0 ? row.windows / wall : null,
          firstSeq: row.firstSeq,
          lastSeq: row.lastSeq,
          missing: row.missing,
          gaps: row.gaps,
          processed: lastTelemetry?.windows.processed ?? null,
          dropped,
        },
        restarts,
        events: { ...events.summary(), lostByOutbox: lastTelemetry?.outbox.dropped ?? null },
        faults: faults.summary(),
        latency: latencies,
        memory,
        eventLoop,
        cpu: {
          msPerWindow: counted > 0 ? cpuBetween(firstTree?.tree ?? [], lastTree?.tree ?? []) / counted : null,
        },
        swaps: swap === null || swapped === null ? null : { ...swapped, memory: swapMemory },
        clock: clockFigures,
        verdicts,
        kept: isKept(verdicts),
        history: {
          latency: latency.slices(),
          processes: processes.readings(),
          telemetry: telemetry.readings(),
        },
      };
    },
  };
}

export type Monitor = ReturnType<typeof createMonitor>;
