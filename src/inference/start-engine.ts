import { SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { InstalledModel } from '../models/registry.js';
import type { InferenceEngine, InferenceResult, StartEngine } from './engine.js';
import { startEngineProcess, type EngineProcess, type Reply } from './engine-process.js';
import { memoryForNetwork } from './network-memory.js';

/** How long an inference process may stay silent before it is killed. */
export interface EngineTimeouts {
  /** Reading and checking a model, before it runs for the first time. */
  loadMs: number;
  /** One window, in the warm-up too; the default is the greater of 15 s and 3 times the model's window. */
  runMs: number;
  /** An answer to a polite request to end. */
  stopMs: number;
}

const DEFAULT_LOAD_MS = 120_000;
const DEFAULT_RUN_MS = 15_000;
const DEFAULT_STOP_MS = 1000;

/**
 * Makes the function that starts inference processes.
 *
 * The engine it gives rejects with SoundpostError: `inference_timeout` (the process was silent for too long and was
 * killed), `inference_died` (it is gone, or was held from outside and killed), `no_resources` (none could be had; see
 * common/child.ts), or what the process itself found: `model_digest`, `model_memory`, `model_unreadable`,
 * `model_shape`, `model_output`, `inference_unsupported` at the start, `model_memory`, `bad_output`, `bad_request`,
 * `inference_failed` later. A start that was called off rejects with `aborted`. Whatever happens at the start, no
 * process is left behind when the promise is settled.
 */
export function createStartEngine(dependencies: {
  log: Logger;
  timeouts?: Partial<EngineTimeouts>;
  /** Where copies of models that were optimised for this machine are kept; none are used where it is left out. */
  optimizedFolder?: string;
  /** The most memory that a process may take, in bytes; a share of the machine's where it is left out. */
  memoryBytes?: number;
}): StartEngine {
  const { log, timeouts = {}, optimizedFolder = null, memoryBytes = memoryForNetwork() } = dependencies;
  return async (model, { threads, signal }) => {
    const { id, input } = model.manifest;
    const aborted = () =>
      new SoundpostError('aborted', `The start of the model ${id} was called off.`, {
        cause: signal?.reason,
      });
    if (signal?.aborted === true) throw aborted();

    const stopMs = timeouts.stopMs ?? DEFAULT_STOP_MS;
    const child = startEngineProcess(id, { log, memoryBytes, stopMs });
    const onAbort = () => child.kill(aborted());
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const runMs = timeouts.runMs ?? Math.max(DEFAULT_RUN_MS, 3_000 * input.window_seconds);
      const ready = await child.ask(
        {
          kind: 'load',
          manifest: model.manifest,
          onnxPath: model.onnxPath,
          labelCount: model.labels.length,
          threads,
          memoryBytes,
          optimizedFolder,
        },
        'ready',
        timeouts.loadMs ?? DEFAULT_LOAD_MS,
        'loading',
        { timeoutMs: runMs, doing: 'a window of the warm-up' },
      );
      return createEngine(model, child, ready, runMs);
    } catch (error) {
      child.kill();
      await child.exited;
      throw error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  };
}

function createEngine(
  model: InstalledModel,
  child: EngineProcess,
  ready: Reply<'ready'>,
  runMs: number,
): InferenceEngine {
  return {
    model,
    pid: child.pid,
    loadMs: ready.loadMs,
    fixedWindow: ready.fixedWindow,
    exited: child.exited,
    async infer(request): Promise<InferenceResult> {
      const { scores, frames, columns, featuresMs, inferenceMs } = await child.ask(
        { kind: 'infer', ...request },
        'result',
        runMs,
        'a window',
      );
      return { scores, frames, columns, featuresMs, inferenceMs };
    },
    stop: () => child.stop(),
  };
}
