import type { TelemetryPayload } from '../../mqtt/contract.js';
import type { ProcessUsage } from '../process-tree.js';
import { median } from '../statistics.js';
import { greatestOf, meanOf } from './series.js';

/** What the processes use, seen from the outside. */
export interface ProcessSample {
  /** Position in the sound and time since the first window, in s. */
  audioSeconds: number;
  wallSeconds: number;
  /** Resident memory by process: `service`, `capture`, `inference <model>`. */
  rssMb: Record<string, number>;
  /** CPU time of them all per second; 100 is one core. Null for the first sample. */
  cpuPercent: number | null;
}

/** What the service says of itself. */
export interface TelemetrySample {
  audioSeconds: number;
  wallSeconds: number;
  temperatureC: number | null;
  frequencyMhz: number | null;
  load: number | null;
  queueMs: number | null;
  featuresMs: number | null;
  inferenceMs: number | null;
  publishMs: number | null;
  loopP99Ms: number | null;
  loopMaxMs: number | null;
  /** Windows that were given up since the start. */
  dropped: number | null;
  /** The rate after throttling. */
  effectiveHz: number | null;
}

export function telemetrySample(
  payload: TelemetryPayload,
  audioSeconds: number,
  wallSeconds: number,
): TelemetrySample {
  const { soc, host, latency_ms: latency, event_loop_ms: loop, windows, rate_hz: rate } = payload;
  return {
    audioSeconds,
    wallSeconds,
    temperatureC: soc.temperature_c,
    frequencyMhz: soc.frequency_mhz,
    load: host.load_1m,
    queueMs: latency.queue_p50,
    featuresMs: latency.features_p50,
    inferenceMs: latency.inference_p50,
    publishMs: latency.publish_p50,
    loopP99Ms: loop?.p99 ?? null,
    loopMaxMs: loop?.max ?? null,
    dropped: windows.dropped,
    effectiveHz: rate.effective,
  };
}

/** Several neighbours as one: means, the worst delay of the event loop, and the last count of dropped windows. */
export function mergeTelemetry(parts: readonly TelemetrySample[]): TelemetrySample {
  const mean = (key: keyof TelemetrySample): number | null => meanOf(parts.map((part) => part[key]));
  return {
    audioSeconds: mean('audioSeconds') ?? 0,
    wallSeconds: mean('wallSeconds') ?? 0,
    temperatureC: mean('temperatureC'),
    frequencyMhz: mean('frequencyMhz'),
    load: mean('load'),
    queueMs: mean('queueMs'),
    featuresMs: mean('featuresMs'),
    inferenceMs: mean('inferenceMs'),
    publishMs: mean('publishMs'),
    loopP99Ms: mean('loopP99Ms'),
    loopMaxMs: greatestOf(parts.map(({ loopMaxMs }) => loopMaxMs)),
    dropped: greatestOf(parts.map(({ dropped }) => dropped)),
    effectiveHz: mean('effectiveHz'),
  };
}

/** Several neighbours as one: means. */
export function mergeProcesses(parts: readonly ProcessSample[]): ProcessSample {
  const names = new Set(parts.flatMap(({ rssMb }) => Object.keys(rssMb)));
  return {
    audioSeconds: meanOf(parts.map(({ audioSeconds }) => audioSeconds)) ?? 0,
    wallSeconds: meanOf(parts.map(({ wallSeconds }) => wallSeconds)) ?? 0,
    rssMb: Object.fromEntries(
      [...names].map((name) => [name, meanOf(parts.map(({ rssMb }) => rssMb[name] ?? null)) ?? 0]),
    ),
    cpuPercent: meanOf(parts.map(({ cpuPercent }) => cpuPercent)),
  };
}

const MEGABYTE = 1e6;

/**
 * Resident memory of the processes of a service by name. `models` knows what the inference processes hold; those
 * that it does not know (they are being started) are left out.
 */
export function rssByName(
  tree: readonly ProcessUsage[],
  models: ReadonlyMap<number, string>,
): Record<string, number> {
  const found: Record<string, number> = {};
  tree.forEach((usage, index) => {
    if (usage.rssBytes === null) return;
    const model = models.get(usage.pid);
    const name =
      index === 0
        ? 'service'
        : isInference(usage)
          ? model === undefined
            ? null
            : `inference ${model}`
          : isCapture(usage)
            ? 'capture'
            : null;
    if (name !== null) found[name] = usage.rssBytes / MEGABYTE;
  });
  return found;
}

/** Inference processes rename themselves once they run. */
export function isInference({ command }: ProcessUsage): boolean {
  return /^soundpost inference|inference\/process\.js/.test(command);
}

function isCapture({ command }: ProcessUsage): boolean {
  return /capture/.test(command);
}

/** How much memory one process held after the start of a run and at its end. */
export interface MemoryGrowth {
  process: string;
  startMb: number;
  endMb: number;
  peakMb: number;
  /** End over start. */
  growth: number;
}

/** The part of a run that memory is given to settle, and the length of what is compared: the twentieth. */
const TWENTIETH = 1 / 20;
const LEAST_SAMPLES = 6;

/**
 * Compares, for each process, the median of the twentieth of the samples that follows the first twentieth of the
 * run with the median of the last twentieth. A process with too few samples is left out.
 */
export function memoryGrowth(samples: readonly ProcessSample[]): MemoryGrowth[] {
  const end = samples.at(-1)?.audioSeconds ?? 0;
  const names = new Set(samples.flatMap(({ rssMb }) => Object.keys(rssMb)));
  return [...names].flatMap((process) => {
    const values = samples
      .filter(({ audioSeconds }) => audioSeconds >= TWENTIETH * end)
      .flatMap(({ rssMb }) => rssMb[process] ?? []);
    if (values.length < LEAST_SAMPLES) return [];
    const count = Math.max(LEAST_SAMPLES / 2, Math.round(values.length * TWENTIETH));
    const startMb = median(values.slice(0, count));
    const endMb = median(values.slice(-count));
    return [{ process, startMb, endMb, peakMb: Math.max(...values), growth: endMb / startMb }];
  });
}

/** The time between two changes of the model. */
export interface Stint {
  model: string;
  /** Position in the sound at which it ended, in s. */
  endSeconds: number;
  /** Resident memory of all processes together at its end. */
  rssMb: number;
}

/**
 * Memory at the end of each stint over that at the end of the first stint of the same model after the first
 * twentieth of the run; the greatest of these. Null as long as no model has had two such stints.
 */
export function memoryAfterSwaps(stints: readonly Stint[], runSeconds: number): number | null {
  const first = new Map<string, number>();
  let worst: number | null = null;
  for (const { model, endSeconds, rssMb } of stints) {
    if (endSeconds < TWENTIETH * runSeconds) continue;
    const begun = first.get(model);
    if (begun === undefined) first.set(model, rssMb);
    else worst = Math.max(worst ?? 0, rssMb / begun);
  }
  return worst;
}
