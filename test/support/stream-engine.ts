import { setImmediate as nextTurn } from 'node:timers/promises';
import { codeOf, SoundpostError } from '../../src/common/errors.js';
import type {
  InferenceEngine,
  InferenceRequest,
  InferenceResult,
  StartEngine,
} from '../../src/inference/engine.js';
import { headsFor, NO_HEADS, type HeadsInForce } from '../../src/inference/learnt-heads.js';
import type { FramesSpec } from '../../src/models/manifest.js';
import type { InstalledModel } from '../../src/models/registry.js';
import { waveformManifest } from './tone-models.js';

/*
 * An engine in this process that checks what it is sent. The sound is a ramp: sample n of the capture stream is
 * n / 2^22, exact in float32, so every sample says where it comes from. The "scores" tell what the window held.
 */

const UNIT = 2 ** 22;
/** Of the columns that it hands over. */
const BANDS = 2;

/** The samples at positions `from` … `to` of the capture stream. */
export function ramp(from: number, to: number): Float32Array {
  return Float32Array.from({ length: to - from }, (_, index) => (from + index) / UNIT);
}

/** Frames that an engine gave: where in the capture stream each begins. */
export function frameStartsOf(values: Float32Array): number[] {
  return [...values].filter((_, index) => index % 3 === 0).map((value) => value * UNIT);
}

/** Scores that an engine gave: which stretch of the capture stream the window was. */
export function stretchOf(scores: Float32Array): { from: number; to: number; samples: number } {
  return { from: scores[0]! * UNIT, to: scores[1]! * UNIT, samples: scores[2]! * UNIT };
}

export function fakeModel(
  id: string,
  options: {
    sampleRate?: number;
    windowSeconds?: number;
    minSeconds?: number;
    /** Of the network. */
    sha256?: string;
    /** Name of an output with an embedding of the window. */
    embedding?: string;
    /** A log-mel is what it takes, with columns so many samples apart. */
    columnSamples?: number;
    frames?: Pick<FramesSpec, 'hop_seconds' | 'offset_seconds' | 'context_seconds'> &
      Partial<Pick<FramesSpec, 'lookback_seconds'>>;
  } = {},
): InstalledModel {
  const manifest = waveformManifest(id, options.sha256 ?? '0'.repeat(64), options);
  manifest.output.embedding = options.embedding ?? null;
  if (manifest.input.kind === 'waveform') manifest.input.sample_rate = options.sampleRate ?? 16_000;
  if (options.columnSamples !== undefined) {
    const frontend = {
      kind: 'panns' as const,
      n_fft: 512,
      win_length: 512,
      hop_length: options.columnSamples,
      n_mels: BANDS,
      f_min: 50,
      f_max: 7000,
    };
    manifest.input = { ...manifest.input, kind: 'log_mel', layout: 'NCTF', frontend };
  }
  if (options.frames !== undefined) {
    const rest = {
      name: 'frames',
      embedding: null,
      spread_seconds: 0,
      lookback_seconds: 0,
      role: 'scores' as const,
    };
    manifest.output.frames = { ...rest, ...options.frames };
  }
  const labels = ['from', 'to', 'samples'].map((name, index) => ({
    index,
    name,
    mid: null,
    threshold: null,
    thresholdFrom: null,
  }));
  return { manifest, labels, folder: `/models/${id}`, onnxPath: `/models/${id}/model.onnx`, bundled: false };
}

export interface FakeEngine extends InferenceEngine {
  readonly alive: boolean;
  /** What was wrong with the requests. */
  readonly faults: readonly string[];
  /** Of which windows an embedding was wanted, by their number. */
  readonly sampled: readonly number[];
  /** How many columns of the log-mel were wanted of it, window by window. */
  readonly wantedColumns: readonly number[];
  /** Ends as a process that is killed does. */
  die(): void;
}

/** What an engine does; each is asked anew every time. */
export interface Behaviour {
  /** Awaited while a model loads; throws what the load throws. */
  load?: (model: InstalledModel) => Promise<void> | void;
  /** Awaited in each window; throws what the window throws. */
  infer?: (model: InstalledModel) => Promise<void> | void;
}

/**
 * @param captureRate of the ramp; a model at this rate must get it exactly, another one to within `tolerance`
 */
export function createEngines(
  captureRate: number,
  behaviour: Behaviour = {},
): {
  startEngine: StartEngine;
  engines: readonly FakeEngine[];
  faults: () => string[];
} {
  const engines: FakeEngine[] = [];

  const startEngine: StartEngine = async (model, { signal }) => {
    await nextTurn();
    await behaviour.load?.(model);
    if (signal?.aborted === true) throw new SoundpostError('aborted', 'The start was called off');
    const engine = createFake(model, engines.length);
    engines.push(engine);
    return engine;
  };

  function createFake(model: InstalledModel, index: number): FakeEngine {
    const { sample_rate: rate, window_seconds: seconds } = model.manifest.input;
    const exact = rate === captureRate;
    const full = Math.round(seconds * rate);
    const step = captureRate / rate;
    const faults: string[] = [];
    const wantedColumns: number[] = [];
    const sampled: number[] = [];
    let inForce: HeadsInForce = NO_HEADS;
    const fault = (text: string) => faults.push(`${model.manifest.id}#${index}: ${text}`);
    /** The last sound of each source. */
    const received: Float32Array[] = [];
    let busy = false;
    let alive = true;
    let end: (reason: string) => void = () => undefined;
    const exited = new Promise<{ reason: string }>((resolve) => {
      end = (reason) => {
        alive = false;
        resolve({ reason });
      };
    });
    const dead = exited.then(() => {
      throw new SoundpostError('inference_died', 'The fake engine is gone');
    });
    dead.catch(() => undefined);

    /** Each frame tells where in the capture stream it begins. */
    function framesOf(windowFrom: number, wanted: InferenceRequest['frames']): Float32Array | null {
      const spec = model.manifest.output.frames;
      if (spec === null || wanted === undefined) return null;
      const rows = new Float32Array((wanted.to - wanted.from) * 3);
      for (let at = 0; at < rows.length / 3; at += 1) {
        const seconds = spec.offset_seconds + (wanted.from + at) * spec.hop_seconds;
        rows[at * 3] = (windowFrom + seconds * captureRate) / UNIT;
      }
      return rows;
    }

    /** A head says its bias of everything. */
    function widened(values: Float32Array, width: number): Float32Array {
      const learnt = inForce.heads.map(({ bias }) => bias);
      const rows = values.length / width;
      return Float32Array.from(
        Array.from({ length: rows }, (_, row) => [
          ...values.subarray(row * width, (row + 1) * width),
          ...learnt,
        ]).flat(),
      );
    }

    function take(request: InferenceRequest): InferenceResult {
      const { source = 0, samples, reset, windowSamples, frames, columns = 0, embeddings = false } = request;
      if (embeddings) sampled.push(wantedColumns.length);
      wantedColumns.push(columns);
      if (reset && samples.length !== windowSamples) fault('a reset without the whole window');
      if (windowSamples > full) fault(`a window of ${windowSamples} samples, longer than ${full}`);
      const before = reset ? new Float32Array(0) : (received[source] ?? new Float32Array(0));
      const all = new Float32Array(before.length + samples.length);
      all.set(before);
      all.set(samples, before.length);
      if (all.length < windowSamples) fault(`a window of ${windowSamples} samples of ${all.length}`);
      const kept = all.slice(Math.max(0, all.length - full));
      received[source] = kept;
      const window = kept.subarray(Math.max(0, kept.length - windowSamples));
      // Where the sound begins, a resampler rings for some milliseconds.
      const settled = exact ? 1 : Math.min(window.length, Math.ceil(rate * 0.02));
      for (let at = settled; at < window.length; at += 1) {
        const advance = (window[at]! - window[at - 1]!) * UNIT;
        if (exact ? advance !== 1 : Math.abs(advance - step) > step * 0.5 + 1) {
          fault(
            `sample ${at} of ${window.length} does not join the one before: ${advance} instead of ${step}`,
          );
          break;
        }
      }
      const scores = Float32Array.of(
        window[0] ?? 0,
        (window[window.length - 1] ?? 0) + step / UNIT,
        windowSamples / UNIT,
      );
      const told = framesOf((window[0] ?? 0) * UNIT, frames);
      const shown =
        columns === 0
          ? null
          : { bands: BANDS, columnMs: 10, values: new Float32Array(columns * BANDS).fill(source) };
      const embedding = !embeddings || model.manifest.output.embedding === null ? null : scores;
      return {
        scores: widened(scores, 3),
        frames: told === null ? null : widened(told, 3),
        columns: shown,
        embeddings: embedding,
        pieces: embedding === null ? 0 : 1,
        heads: inForce.heads,
        featuresMs: 0,
        inferenceMs: 0,
      };
    }

    return {
      model,
      pid: 100_000 + index,
      loadMs: 1,
      fixedWindow: false,
      exited,
      faults,
      wantedColumns,
      sampled,
      async learn(heads, onInForce) {
        if (!alive) return dead;
        while (busy) await nextTurn();
        inForce = headsFor(model, heads);
        onInForce?.(inForce);
        return inForce;
      },
      get alive() {
        return alive;
      },
      die: () => end('killed'),
      async infer(request) {
        if (busy) fault('asked while it was at work');
        if (!alive) return dead;
        busy = true;
        try {
          const result = take({ ...request, samples: request.samples.slice() });
          await Promise.race([
            (async () => {
              await nextTurn();
              await behaviour.infer?.(model);
            })(),
            dead,
          ]);
          return result;
        } catch (error) {
          // A process that hangs is killed before anybody is told.
          if (codeOf(error) === 'inference_timeout') end(String(error));
          throw error;
        } finally {
          busy = false;
        }
      },
      async stop() {
        end('stopped');
        await nextTurn();
      },
    };
  }

  return { startEngine, engines, faults: () => engines.flatMap((engine) => [...engine.faults]) };
}
