import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { startShortage, startChild } from '../common/child.js';
import { childEnvironment } from '../common/child-environment.js';
import { limitedFork } from '../common/limited-fork.js';
import { setPatience } from '../common/patience.js';
import { isHeld } from '../common/process-stat.js';
import { SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { InstalledModel } from '../models/registry.js';
import type { InferenceEngine, InferenceRequest, InferenceResult, StartEngine } from './engine.js';
import { memoryForNetwork } from './network-memory.js';
import type { FromProcess, LoadRequest, ToProcess } from './protocol.js';
import { REQUEST_FD, writeRequest } from './request-pipe.js';

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

const PROCESS_FILE = join(import.meta.dirname, 'process.js');

/**
 * Flags for the process's own Node. What it holds in JavaScript is small (the network and the windows are
 * outside the heap), so a small young generation and one helper thread cost no time and save memory. See
 * process.ts for what it collects itself. Together: 117 MB resident with mn04_as instead of 144 (Node 20, x64).
 */
const NODE_FLAGS = ['--expose-gc', '--max-semi-space-size=1', '--max-old-space-size=128', '--v8-pool-size=1'];

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

    const child = startProcess(id, log, memoryBytes, timeouts.stopMs ?? DEFAULT_STOP_MS);
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

type Reply<K extends FromProcess['kind']> = Extract<FromProcess, { kind: K }>;

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
      const { scores, frames, featuresMs, inferenceMs } = await child.ask(
        { kind: 'infer', ...request },
        'result',
        runMs,
        'a window',
      );
      return { scores, frames, featuresMs, inferenceMs };
    },
    stop: () => child.stop(),
  };
}

type Asked = ({ kind: 'load' } & LoadRequest) | ({ kind: 'infer' } & InferenceRequest);

/** A child process that answers each question with one message, in order. */
interface EngineProcess {
  readonly pid: number;
  readonly exited: Promise<{ reason: string }>;
  /** Sends a question; rejects when the process fails it, is silent for `timeoutMs`, or dies. */
  ask<K extends FromProcess['kind']>(
    message: Asked,
    expected: K,
    timeoutMs: number,
    doing: string,
    /** What holds from the first sign of progress on. */
    afterProgress?: Patience,
  ): Promise<Reply<K>>;
  /** SIGKILL; what is still asked rejects with `why`. */
  kill(why?: SoundpostError): void;
  stop(): Promise<void>;
}

/** How long an answer may take, and what it is about, for people. */
interface Patience {
  timeoutMs: number;
  doing: string;
}

interface Question extends Patience {
  afterProgress: Patience | undefined;
  settle(reply: FromProcess | SoundpostError): void;
}

function startProcess(id: string, log: Logger, memoryBytes: number, stopMs: number): EngineProcess {
  const what = `the inference process of the model ${id}`;
  const child = startChild(what, () =>
    limitedFork(PROCESS_FILE, memoryBytes, {
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe'],
      execArgv: NODE_FLAGS,
      env: childEnvironment(OF_THE_PROCESS),
    }),
  );
  const requests = child.stdio[REQUEST_FD] as Writable | null | undefined;
  requests?.on('error', () => undefined);
  const questions: Question[] = [];
  /** Why the process ends, where it is known before it does. */
  let fate: SoundpostError | undefined;
  let gone: SoundpostError | undefined;
  let stopping: Promise<void> | undefined;
  let callOffWatchdog: () => void = () => undefined;
  const lastWords = collectOutput(child, id, log);

  const killNow = () => child.kill('SIGKILL');

  function kill(why?: SoundpostError): void {
    fate ??= why;
    killNow();
  }

  function watch(): void {
    callOffWatchdog();
    const [question] = questions;
    if (question === undefined) return;
    callOffWatchdog = setPatience(question.timeoutMs, () => {
      const silence = `The model ${id} gave no answer for ${question.timeoutMs / 1000} s (${question.doing})`;
      kill(
        // A process that something outside holds says nothing about its model.
        child.pid !== undefined && isHeld(child.pid)
          ? new SoundpostError(
              'inference_died',
              `${silence}: its process was held by a signal (SIGSTOP) or a debugger, and was killed.`,
            )
          : new SoundpostError(
              'inference_timeout',
              `${silence}; its process was killed. The network hangs, or it is too big for this machine: choose another model.`,
            ),
      );
    });
  }

  child.on('message', (reply: FromProcess) => {
    if (reply.kind === 'progress') Object.assign(questions[0] ?? {}, questions[0]?.afterProgress);
    else questions.shift()?.settle(reply);
    watch();
  });

  const exited = new Promise<{ reason: string }>((resolve) => {
    const end = (reason: string) => {
      if (gone !== undefined) return;
      callOffWatchdog();
      const words = lastWords();
      gone =
        fate ??
        new SoundpostError(
          'inference_died',
          `The inference process of the model ${id} ended (${reason})${words === '' ? '' : `; it said: ${words}`}. If this happens again, the model needs more memory than there is, or it is damaged.`,
        );
      for (const question of questions.splice(0)) question.settle(gone);
      resolve({ reason: stopping === undefined ? gone.message : 'stopped' });
    };
    // 'close' and not 'exit': everything that the process said has been read by then.
    child.once('close', (code, signalName) => end(signalName ?? `exit code ${code ?? 'unknown'}`));
    child.on('error', (error) => {
      // Also emitted when a message cannot be sent or a signal not delivered; then the end is still to come.
      if (child.pid === undefined) {
        fate ??= startShortage(what, error) ?? undefined;
        end(`it could not be started: ${error.message}`);
      } else log.debug({ err: error, model: id }, 'inference process');
    });
  });

  return {
    pid: child.pid ?? -1,
    exited,
    ask(message, expected, timeoutMs, doing, afterProgress) {
      return new Promise((resolve, reject) => {
        const ended = gone ?? fate;
        if (ended !== undefined) {
          reject(ended);
          return;
        }
        questions.push({
          timeoutMs,
          doing,
          afterProgress,
          settle(reply) {
            if (reply instanceof SoundpostError) reject(reply);
            else if (reply.kind === 'failed') reject(new SoundpostError(reply.code, reply.message));
            else if (reply.kind === expected) resolve(reply as Reply<typeof expected>);
            else reject(new SoundpostError('internal', `An inference process answered "${reply.kind}".`));
          },
        });
        if (questions.length === 1) watch();
        if (message.kind === 'load') send(child, message);
        else if (requests?.writable === true) writeRequest(requests, message);
      });
    },
    kill,
    stop() {
      stopping ??= (async () => {
        fate ??= new SoundpostError('inference_died', `The model ${id} was stopped.`);
        send(child, { kind: 'stop' });
        const timer = setTimeout(killNow, stopMs);
        await exited;
        clearTimeout(timer);
      })();
      return stopping;
    },
  };
}

/** An error here means that the process is on its way out; its end is what is reported. */
function send(child: ChildProcess, message: ToProcess): void {
  if (child.connected) child.send(message, () => undefined);
}

/** One allocation arena of the C library serves one computing thread; more only hold memory back. */
const OF_THE_PROCESS = { MALLOC_ARENA_MAX: '1', UV_THREADPOOL_SIZE: '1' };

/** Logs what the process prints, for debugging, and keeps the last line that says anything. */
function collectOutput(child: ChildProcess, id: string, log: Logger): () => string {
  let last = '';
  const follow = (stream: Readable | null) => {
    if (stream === null) return;
    stream.on('error', () => undefined);
    createInterface({ input: stream }).on('line', (line) => {
      if (line.trim() === '') return;
      last = line.trim().slice(0, 300);
      log.debug({ model: id, pid: child.pid }, last);
    });
  };
  follow(child.stdout);
  follow(child.stderr);
  return () => last;
}
