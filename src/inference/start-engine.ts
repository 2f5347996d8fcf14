import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { InstalledModel } from '../models/registry.js';
import type { EngineStream, InferenceEngine, StartEngine } from './engine.js';
import { startEngineProcess, type EngineProcess, type Reply } from './engine-process.js';
import { headsFor, headsOfWidth, NO_HEADS, type HeadsInForce } from './learnt-heads.js';
import { megabytes } from '../common/size-text.js';
import { memoryForNetwork } from './network-memory.js';
import type { StreamOutcome, StreamWish } from './protocol.js';

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

/** For so long a model whose process ended in a window of a stream is none, whatever ended it. */
const WHOLE_AFTER_DEATH_MS = 3600_000;

type Tell = (id: string, said: string, level?: 'info' | 'warn') => void;

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
  /**
   * Has networks computed as streams where that is cheaper; asked at each start. They are not where it is left out, or no
   * folder is given.
   */
  stream?: () => StreamWish;
}): StartEngine {
  const { log, timeouts = {}, optimizedFolder = null, memoryBytes = memoryForNetwork() } = dependencies;
  /** Models of which it has been said whether they are streams. */
  const told = new Map<string, string>();
  const tell: Tell = (id, said, level = 'info') => {
    if (told.get(id) === said) return;
    told.set(id, said);
    log[level]({ model: id }, said);
  };
  /** Until when models are no streams, ms since the process began: their processes ended in a window of one. */
  const wholeUntil = new Map<string, number>();

  async function startOnce(
    model: InstalledModel,
    { threads, signal }: Parameters<StartEngine>[1],
    stream: StreamWish | null,
  ): Promise<InferenceEngine | 'failed in the making'> {
    const { id, input } = model.manifest;
    const aborted = () =>
      new SoundpostError('aborted', `The start of the model ${id} was called off.`, {
        cause: signal?.reason,
      });
    const isAborted = () => signal?.aborted === true;
    if (isAborted()) throw aborted();

    const stopMs = timeouts.stopMs ?? DEFAULT_STOP_MS;
    const child = startEngineProcess(id, { log, memoryBytes, stopMs });
    const onAbort = () => child.kill(aborted());
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const runMs = timeouts.runMs ?? Math.max(DEFAULT_RUN_MS, 3_000 * input.window_seconds);
      const { manifest, onnxPath, labels } = model;
      const ready = await child.ask(
        {
          kind: 'load',
          ...{ manifest, onnxPath, labelCount: labels.length },
          ...{ threads, memoryBytes, optimizedFolder, stream },
        },
        'ready',
        timeouts.loadMs ?? DEFAULT_LOAD_MS,
        'loading',
        { timeoutMs: runMs, doing: 'a window of the warm-up' },
      );
      const outcome = outcomeText(id, ready.stream);
      if (outcome !== null) tell(id, outcome);
      const onDeathInStream = () => {
        wholeUntil.set(id, performance.now() + WHOLE_AFTER_DEATH_MS);
        tell(id, `${id} is computed for whole windows for an hour: its process ended in a window.`, 'warn');
      };
      return createEngine(model, child, { ready, runMs, tell, onDeathInStream });
    } catch (error) {
      child.kill();
      await child.exited;
      if (child.step !== 'making' || isAborted()) throw error;
      tell(id, `${id} is computed for whole windows: ${messageOf(error)}`, 'warn');
      return 'failed in the making';
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  return async (model, options) => {
    const isWhole = performance.now() < (wholeUntil.get(model.manifest.id) ?? 0);
    const wish = optimizedFolder === null || isWhole ? null : (dependencies.stream?.() ?? null);
    const started = await startOnce(model, options, wish);
    if (started !== 'failed in the making') return started;
    // The network itself has answered before that began.
    const again = await startOnce(model, options, null);
    if (again !== 'failed in the making') return again;
    throw new SoundpostError(
      'internal',
      `${model.manifest.id} was made a stream though none was wished for.`,
    );
  };
}

/** What kind of stream it is, for people. */
function streamText({ leftEdge, scoreOff }: EngineStream): string {
  if (leftEdge === 'exact') return 'a stream';
  return `an approximate stream, with scores up to ${scoreOff.toFixed(3)} off when it was tried`;
}

/** For people; null where nothing was wished for. */
function outcomeText(id: string, outcome: StreamOutcome): string | null {
  if (outcome === null) return null;
  if ('reason' in outcome) return `${id} is computed for whole windows: ${outcome.reason}.`;
  const { streamMs, wholeMs, keptBytes } = outcome;
  return `${id} is computed as ${streamText(outcome)}: ${streamMs.toFixed(1)} ms a hop where the whole window takes ${wholeMs.toFixed(1)} ms, with ${megabytes(keptBytes)} kept of each source.`;
}

function createEngine(
  model: InstalledModel,
  child: EngineProcess,
  options: { ready: Reply<'ready'>; runMs: number; tell: Tell; onDeathInStream: () => void },
): InferenceEngine {
  const { ready, runMs, tell, onDeathInStream } = options;
  const { id } = model.manifest;
  /** Whether the window before was one of a stream. */
  let wasStream = false;
  let isStopped = false;
  let inForce: HeadsInForce = NO_HEADS;
  let stream = ready.stream === null || 'reason' in ready.stream ? null : ready.stream;
  return {
    model,
    pid: child.pid,
    loadMs: ready.loadMs,
    fixedWindow: ready.fixedWindow,
    get stream() {
      return stream;
    },
    exited: child.exited,
    async infer(request) {
      const asked = child.ask({ kind: 'infer', ...request }, 'result', runMs, 'a window');
      const reply = await asked.catch((error: unknown) => {
        const hasEnded = ['inference_died', 'inference_timeout'].includes(codeOf(error));
        if (hasEnded && !isStopped && wasStream && request.onGrid === true) onDeathInStream();
        throw error;
      });
      const { scores, frames, columns, embeddings, pieces, featuresMs, inferenceMs } = reply;
      const { computedAs = 'whole', streamEnded } = reply;
      wasStream = computedAs !== 'whole';
      if (streamEnded !== undefined) {
        stream = null;
        tell(id, `${id} is computed for whole windows from now on: ${streamEnded}.`, 'warn');
      }
      return {
        ...{ scores, frames, columns, embeddings, pieces, featuresMs, inferenceMs, computedAs },
        heads: inForce.heads,
      };
    },
    async learn(heads, onInForce) {
      const fitting = headsFor(model, heads);
      const learnt = fitting.heads.map(({ weights, bias, unitLength = false }) => ({
        weights,
        bias,
        unitLength,
      }));
      const { features } = await child.ask(
        { kind: 'learn', heads: learnt },
        'learning',
        runMs,
        'what is learnt',
      );
      // Answers come one by one: the next window's is read after this.
      inForce = headsOfWidth(model, fitting, features);
      onInForce?.(inForce);
      return inForce;
    },
    stop() {
      isStopped = true;
      return child.stop();
    },
  };
}
