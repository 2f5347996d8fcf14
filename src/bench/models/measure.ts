import { setTimeout as sleep } from 'node:timers/promises';
import { SoundpostError } from '../../common/errors.js';
import { testSound } from '../../features/test-sound.js';
import type { LeftEdge } from '../../convert/streaming/plan.js';
import type { EngineStream, InferenceEngine, InferenceRequest, StartEngine } from '../../inference/engine.js';
import { ownWindowSamples } from '../../inference/full-window.js';
import { windowStep } from '../../models/manifest.js';
import type { InstalledModel } from '../../models/registry.js';
import { createDistribution, type Bin, type Distribution } from './distribution.js';
import { readProcess } from './process-reading.js';

/** The latency of many windows and its two parts, in milliseconds; null where there was no time for one. */
export interface LatencyParts {
  /** From the request to the answer, so with the way to the process and back. */
  total: Distribution | null;
  /** In the inference process: from samples to log-mel. */
  features: Distribution | null;
  /** In the inference process: `session.run` and the check of the scores. */
  network: Distribution | null;
}

/** A network of which a stream can be made, computed so: windows end on its grid. */
export interface StreamedMeasurement {
  grid_s: number;
  /** What is kept of each source between two windows, 10⁶ bytes. */
  kept_mb: number;
  left_edge: LeftEdge;
  hop_ms: LatencyParts;
  late: number;
  cpu_ms_per_hop: number | null;
  /** As `ModelMeasurement.cpu_s_per_hour`. */
  cpu_s_per_hour: number | null;
}

export interface ModelMeasurement {
  /** From the start of the process to the end of the warm-up windows that the service demands of a model. */
  load_ms: number;
  /** Whole windows of new sound, back to back. */
  clip_ms: LatencyParts;
  clip_bins: Bin[];
  /** Mean latency of a clip by the seconds of sound in it. */
  real_time_factor: number | null;
  /** CPU time of the inference process for a clip, back to back. */
  clip_cpu_ms: number | null;
  /** As the service works: a window that slides by a hop, at `rate_hz`, so that only the hop's features are new. */
  stream: {
    rate_hz: number;
    hop_ms: LatencyParts;
    /** Hops whose turn came while the one before was still being computed. */
    late: number;
    cpu_ms_per_hop: number | null;
  };
  /** CPU seconds of the inference process for an hour of sound at 1 Hz; null unless the stream ran at 1 Hz. */
  cpu_s_per_hour: number | null;
  /** Of the inference process. The peak is mostly that of loading. */
  memory_mb: { peak: number | null; resident: number | null };
}

export interface MeasureOptions {
  startEngine: StartEngine;
  threads: number;
  /** How long clips are measured back to back, and how long the stream; each has at least three windows. */
  clipSeconds: number;
  streamSeconds: number;
  rateHz: number;
  signal: AbortSignal;
  onProgress: (stage: 'load' | 'clips' | 'stream', fraction: number) => void;
}

/** Windows that must be measured however long they take. */
const LEAST_WINDOWS = 3;
/** After so many windows that follow each other a network that can be a stream is one. */
const MOST_TO_BEGIN = 20;
/** What is not counted: the processor's caches and clock and JavaScript's compiler settle. */
const WARM_UP = { windows: 10, leastWindows: 2, ms: 2000 };

/**
 * Measures a model in the inference process of the service. Interrupted, it returns what it has, if that is
 * anything.
 * @throws what the start of an engine and an engine throw; SoundpostError `aborted`.
 */
export async function measureModel(
  model: InstalledModel,
  options: MeasureOptions,
): Promise<ModelMeasurement> {
  const { threads, signal, onProgress } = options;
  onProgress('load', 0);
  const started = performance.now();
  const engine = await options.startEngine(model, { threads, signal });
  try {
    const loadMs = performance.now() - started;
    return await measureEngine(engine, loadMs, options);
  } finally {
    await engine.stop();
  }
}

/**
 * The same model as a stream, where it is one with the engines that `startEngine` starts; null where it is none.
 * @throws what the start of an engine and an engine throw; SoundpostError `aborted`.
 */
export async function measureStreamed(
  model: InstalledModel,
  options: Omit<MeasureOptions, 'clipSeconds'>,
): Promise<StreamedMeasurement | null> {
  const { threads, signal, rateHz, onProgress } = options;
  onProgress('load', 0);
  const engine = await options.startEngine(model, { threads, signal });
  try {
    if (engine.stream == null) return null;
    const { gridSeconds, keptBytes, leftEdge } = engine.stream;
    const next = hopsOnGrid(engine.model, engine.stream, rateHz);
    for (let done = 0; ; done += 1) {
      if (signal.aborted) throw new SoundpostError('aborted', 'Interrupted before the stream had begun.');
      const { computedAs } = await engine.infer(next());
      if (computedAs === 'stream') break;
      if (done >= MOST_TO_BEGIN) return null;
    }
    const measured = await measureHops(engine, next, options);
    return {
      ...{ grid_s: gridSeconds, kept_mb: keptBytes / 1e6, left_edge: leftEdge },
      ...{ ...measured, ...perHour(measured, rateHz) },
    };
  } finally {
    await engine.stop();
  }
}

/** Windows at a rate, for as long as is wished. */
async function measureHops(
  engine: InferenceEngine,
  next: () => InferenceRequest,
  { rateHz, streamSeconds, signal, onProgress }: Omit<MeasureOptions, 'clipSeconds'>,
): Promise<{ hop_ms: LatencyParts; late: number; cpu_ms_per_hop: number | null }> {
  const hops = createParts();
  const intervalMs = 1000 / rateHz;
  const began = performance.now();
  const { cpuMs: cpuBefore } = await readProcess(engine.pid);
  let late = 0;
  while (!signal.aborted) {
    await hops.time(engine, next());
    const elapsed = (performance.now() - began) / 1000;
    onProgress('stream', Math.min(1, elapsed / streamSeconds));
    if (elapsed >= streamSeconds && hops.count >= LEAST_WINDOWS) break;
    const wait = began + hops.count * intervalMs - performance.now();
    if (wait < 0) late += 1;
    else await sleep(wait, undefined, { signal }).catch(() => undefined);
  }
  const { cpuMs } = await readProcess(engine.pid);
  return { hop_ms: hops.summary(), late, cpu_ms_per_hop: share(cpuBefore, cpuMs, hops.count) };
}

function perHour(
  { cpu_ms_per_hop: cpuPerHop }: { cpu_ms_per_hop: number | null },
  rateHz: number,
): { cpu_s_per_hour: number | null } {
  return { cpu_s_per_hour: cpuPerHop === null || rateHz !== 1 ? null : cpuPerHop * 3.6 };
}

async function measureEngine(
  engine: InferenceEngine,
  loadMs: number,
  options: MeasureOptions,
): Promise<ModelMeasurement> {
  const { clipSeconds, rateHz, signal, onProgress } = options;
  const { window_seconds: windowSeconds } = engine.model.manifest.input;
  const requests = requestsFor(engine.model, rateHz);
  const cpuMs = async () => (await readProcess(engine.pid)).cpuMs;

  await warmUp(engine, requests, signal);

  const clips = createParts();
  const cpuBefore = await cpuMs();
  const began = performance.now();
  while (!signal.aborted) {
    const elapsed = (performance.now() - began) / 1000;
    if (elapsed >= clipSeconds && clips.count >= LEAST_WINDOWS) break;
    onProgress('clips', Math.min(1, elapsed / clipSeconds));
    await clips.time(engine, requests.clip());
  }
  const clipCpuMs = share(cpuBefore, await cpuMs(), clips.count);
  if (clips.count === 0) throw new SoundpostError('aborted', 'Interrupted before anything was measured.');

  // The last request was a whole window: the stream goes on from there.
  const stream = await measureHops(engine, () => requests.hop(), options);
  const { peakMb, residentMb } = await readProcess(engine.pid);
  const clip = clips.summary();
  return {
    load_ms: loadMs,
    clip_ms: clip,
    clip_bins: clips.bins(),
    real_time_factor: clip.total === null ? null : clip.total.mean / (windowSeconds * 1000),
    clip_cpu_ms: clipCpuMs,
    stream: { rate_hz: rateHz, ...stream },
    ...perHour(stream, rateHz),
    memory_mb: { peak: peakMb, resident: residentMb },
  };
}

interface Requests {
  /** A whole window that continues nothing. */
  clip(): InferenceRequest;
  /** The window that ends a hop later than the one before. */
  hop(): InferenceRequest;
}

/** The same sound for every model: what is heard does not change how long it takes. */
function requestsFor({ manifest: { input } }: InstalledModel, rateHz: number): Requests {
  const { sample_rate: rate } = input;
  const windowSamples = ownWindowSamples(input);
  // Windows move by whole frames, as the service's do.
  const frameStep = input.kind === 'waveform' ? 1 : input.frontend.hop_length;
  const grid = Math.max(frameStep, windowStep(input));
  const hopSamples = Math.min(windowSamples, Math.max(1, Math.floor(rate / rateHz / grid)) * grid);
  const sound = testSound(windowSamples, rate);
  const hop = sound.subarray(windowSamples - hopSamples);
  return {
    clip: () => ({ samples: sound, reset: true, windowSamples }),
    hop: () => ({ samples: hop, reset: false, windowSamples }),
  };
}

/** A window that begins anew, and then those that end on the grid of a stream, at a rate on the average. */
function hopsOnGrid(
  { manifest: { input } }: InstalledModel,
  { gridSamples, windowSamples }: EngineStream,
  rateHz: number,
): () => InferenceRequest {
  const sound = testSound(windowSamples, input.sample_rate);
  let [due, reset] = [0, true];
  return () => {
    if (reset) {
      reset = false;
      return { samples: sound, reset: true, windowSamples, onGrid: true };
    }
    due += input.sample_rate / rateHz;
    const moved = Math.max(1, Math.floor(due / gridSamples)) * gridSamples;
    due -= moved;
    return { samples: sound.subarray(windowSamples - moved), reset: false, windowSamples, onGrid: true };
  };
}

async function warmUp(engine: InferenceEngine, requests: Requests, signal: AbortSignal): Promise<void> {
  const began = performance.now();
  for (let done = 0; done < WARM_UP.windows && !signal.aborted; done += 1) {
    if (done >= WARM_UP.leastWindows && performance.now() - began > WARM_UP.ms) break;
    await engine.infer(requests.clip());
    await engine.infer(requests.hop());
  }
}

/** A total and its parts, window by window. */
function createParts() {
  const parts = {
    total: createDistribution(),
    features: createDistribution(),
    network: createDistribution(),
  };
  return {
    get count() {
      return parts.total.count;
    },
    async time(engine: InferenceEngine, request: InferenceRequest): Promise<void> {
      const started = performance.now();
      const { featuresMs, inferenceMs } = await engine.infer(request);
      parts.total.record(performance.now() - started);
      parts.features.record(featuresMs);
      parts.network.record(inferenceMs);
    },
    summary: (): LatencyParts => ({
      total: parts.total.summary(),
      features: parts.features.summary(),
      network: parts.network.summary(),
    }),
    bins: () => parts.total.bins(),
  };
}

/** What each of `count` windows used between two readings. */
function share(before: number | null, after: number | null, count: number): number | null {
  return before === null || after === null || count === 0 ? null : Math.max(0, after - before) / count;
}
