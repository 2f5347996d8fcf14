import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { startShortage, startChild } from '../common/child.js';
import { childEnvironment } from '../common/child-environment.js';
import { limitedFork } from '../common/limited-fork.js';
import { isHeld } from '../common/process-stat.js';
import { SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { InferenceRequest } from './engine.js';
import type { FromProcess, LearnRequest, LoadRequest, LoadStep, ToProcess } from './protocol.js';
import { createQuestions, type Patience } from './questions.js';
import { REQUEST_FD, writeRequest } from './request-pipe.js';
import { createSendOrder } from './send-order.js';

const PROCESS_FILE = join(import.meta.dirname, 'process.js');

/**
 * Flags for the process's own Node. What it holds in JavaScript is small (the network and the windows are
 * outside the heap), so a small young generation and one helper thread cost no time and save memory. See
 * process.ts for what it collects itself. Together: 117 MB resident with mn04_as instead of 144 (Node 20, x64).
 */
const NODE_FLAGS = ['--expose-gc', '--max-semi-space-size=1', '--max-old-space-size=128', '--v8-pool-size=1'];

export type Reply<K extends FromProcess['kind']> = Extract<FromProcess, { kind: K }>;

type Asked =
  | ({ kind: 'load' } & LoadRequest)
  | ({ kind: 'infer' } & InferenceRequest)
  | ({ kind: 'learn' } & LearnRequest);

/** A child process that answers each question with one message, in order. */
export interface EngineProcess {
  readonly pid: number;
  readonly exited: Promise<{ reason: string }>;
  /** What of a load it said last that it had come to. */
  readonly step: LoadStep | null;
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

/** Starts an inference process, with nothing in it; throws what `startChild` throws. */
export function startEngineProcess(
  id: string,
  options: { log: Logger; memoryBytes: number; stopMs: number },
): EngineProcess {
  const { log, memoryBytes, stopMs } = options;
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
  const questions = createQuestions<FromProcess>((patience) => kill(silence(id, child, patience)));
  const order = createSendOrder();
  let step: LoadStep | null = null;
  /** Why the process ends, where it is known before it does. */
  let fate: SoundpostError | undefined;
  let gone: SoundpostError | undefined;
  let stopping: Promise<void> | undefined;
  const lastWords = collectOutput(child, id, log);

  const killNow = () => child.kill('SIGKILL');

  function kill(why?: SoundpostError): void {
    fate ??= why;
    killNow();
  }

  child.on('message', (reply: FromProcess) => {
    if (reply.kind === 'progress') {
      if (reply.step !== undefined) step = reply.step;
      questions.progress();
    } else {
      questions.answer(reply);
      order.answered();
    }
  });

  const exited = new Promise<{ reason: string }>((resolve) => {
    const end = (reason: string) => {
      if (gone !== undefined) return;
      gone = fate ?? died(id, reason, lastWords());
      questions.fail(gone);
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
    get step() {
      return step;
    },
    ask(message, expected, timeoutMs, doing, afterProgress) {
      return new Promise((resolve, reject) => {
        const ended = gone ?? fate;
        if (ended !== undefined) {
          reject(ended);
          return;
        }
        const settle = (reply: FromProcess | SoundpostError) => {
          if (reply instanceof SoundpostError) reject(reply);
          else if (reply.kind === 'failed') reject(new SoundpostError(reply.code, reply.message));
          else if (reply.kind === expected) resolve(reply as Reply<typeof expected>);
          else reject(new SoundpostError('internal', `An inference process answered "${reply.kind}".`));
        };
        questions.add({ timeoutMs, doing, afterProgress, settle });
        if (message.kind !== 'infer') order.send('messages', () => send(child, message));
        else {
          order.send('pipe', () => {
            if (requests?.writable === true) writeRequest(requests, message);
          });
        }
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

/** Why a process that gave no answer is killed. */
function silence(id: string, child: ChildProcess, { timeoutMs, doing }: Patience): SoundpostError {
  const what = `The model ${id} gave no answer for ${timeoutMs / 1000} s (${doing})`;
  // A process that something outside holds says nothing about its model.
  return child.pid !== undefined && isHeld(child.pid)
    ? new SoundpostError(
        'inference_died',
        `${what}: its process was held by a signal (SIGSTOP) or a debugger, and was killed.`,
      )
    : new SoundpostError(
        'inference_timeout',
        `${what}; its process was killed. The network hangs, or it is too big for this machine: choose another model.`,
      );
}

/** Why there is no process any more, where nobody knew before. */
function died(id: string, reason: string, words: string): SoundpostError {
  return new SoundpostError(
    'inference_died',
    `The inference process of the model ${id} ended (${reason})${words === '' ? '' : `; it said: ${words}`}. If this happens again, the model needs more memory than there is, or it is damaged.`,
  );
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
