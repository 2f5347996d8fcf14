import { loadavg } from 'node:os';
import { epochMs, type EventPayload, type TagsPayload, type TelemetryPayload } from '../../mqtt/contract.js';
import { hostFacts } from '../host-facts.js';
import type { ProcessUsage } from '../process-tree.js';
import { createEventCheck, createFaultList, createTagsCheck } from './checks.js';
import { createClockCheck } from './clock.js';
import { createLatencyHistory, type LatencyHistory } from './latency-history.js';
import { createProcessWatch } from './process-watch.js';
import type { SoakReport, SoakSettings } from './soak-report.js';
import type { Swaps } from './swaps.js';
import { createTelemetryWatch } from './telemetry-watch.js';
import { isKept, judgeSoak } from './verdict.js';

/** Readings kept of each kind: a plot has no more points. */
const READINGS = 1000;
/** A 99th percentile of fewer windows is little more than their maximum. */
const LEAST_FOR_P99 = 100;
/** A window is full once it no longer grows by more than a rounding. */
const GROWING_MS = 2;

/**
 * Takes everything that a run sees, checks it, and makes the report of it.
 * @param options.now milliseconds that do not run backwards
 */
export function createMonitor(options: { settings: SoakSettings; version: string; now?: () => number }) {
  const { settings, version, now = () => performance.now() } = options;
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
  const clock = createClockCheck({ rateHz });
  const latency = createLatencyHistory();
  const processes = createProcessWatch({ readings: READINGS });
  const telemetry = createTelemetryWatch({ readings: READINGS });
  const machine = hostFacts();
  const loadBefore = loadavg()[0] ?? 0;
  const startedAt = new Date().toISOString();

  let first: { endMs: number; atMs: number } | null = null;
  let lastEndMs = 0;
  let lastAtMs = 0;
  let lastLengthMs = 0;
  let windows = 0;
  let model = settings.model;

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
    telemetryReports: () => telemetry.count,
    dropped: () => telemetry.last?.windows.dropped ?? null,

    tags(tags: TagsPayload): void {
      const [startMs, endMs] = [epochMs(tags.window.start), epochMs(tags.window.end)];
      tagsCheck.window(tags);
      lastAtMs = now();
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
      // What was started again has lost sound: its windows are no row with those before.
      if (payload.audio.restarts !== (telemetry.last?.audio.restarts ?? 0)) clock.restart();
      clock.rate(payload.rate_hz.effective);
      telemetry.add(payload, audioSeconds(), first === null ? 0 : (now() - first.atMs) / 1000);
    },
    /** `settled`: no swap is going on, so that a single inference process holds the model that answers. */
    processes(tree: readonly ProcessUsage[], settled: boolean): void {
      if (first === null) return;
      processes.sample(tree, {
        audioSeconds: audioSeconds(),
        wallSeconds: (now() - first.atMs) / 1000,
        windows,
        holds: settled ? model : null,
      });
    },
    /** A model has done its turn. Returns the memory of all processes, in MB. */
    stintEnds: (tree: readonly ProcessUsage[], endSeconds: number): number | null =>
      processes.stintEnds(tree, model, endSeconds),

    report(end: SoakReport['end'], failure: SoakReport['failure'], swaps: Swaps | null): SoakReport {
      const seconds = audioSeconds();
      const wall = wallSeconds();
      const row = tagsCheck.summary();
      const { last } = telemetry;
      const latencies = latencyDrift(latency);
      const memory = processes.growth();
      const swapped = swaps?.summary() ?? null;
      const swapMemory = processes.growthAfterSwaps(seconds);
      const eventLoop = telemetry.loopDelay();
      const restarts = {
        inference: last?.inference.restarts ?? null,
        audio: last?.audio.restarts ?? null,
        overruns: last?.audio.overruns ?? null,
      };
      const dropped = last?.windows.dropped ?? null;
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
          swaps: swapped === null ? null : { ...swapped, memory: swapMemory },
          clock: clockFigures,
        },
        settings.limits,
      );
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
          processed: last?.windows.processed ?? null,
          dropped,
        },
        restarts,
        events: { ...events.summary(), lostByOutbox: last?.outbox.dropped ?? null },
        faults: faults.summary(),
        latency: latencies,
        memory,
        eventLoop,
        rate: telemetry.rate(),
        cpu: { msPerWindow: processes.cpuMsPerWindow() },
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

/** Each model's latency, and that of the last tenth of the run over that of the first. */
function latencyDrift(latency: LatencyHistory): SoakReport['latency'] {
  const p99 = (model: string, from: number, to: number) => {
    const figures = latency.figures(model, from, to);
    return figures === null || figures.count < LEAST_FOR_P99 ? null : figures.p99;
  };
  return latency.models().map((model) => {
    const [start, last] = [p99(model, 0, 0.1), p99(model, 0.9, Infinity)];
    return {
      model,
      all: latency.figures(model)!,
      firstTenthP99: start,
      lastTenthP99: last,
      drift: start === null || last === null ? null : last / start,
    };
  });
}
