import { fork, type ForkOptions, type Serializable } from 'node:child_process';
import type { z } from 'zod';
import { childEnvironment } from './child-environment.js';
import { startChild, startShortage } from './child.js';
import { limitedFork } from './limited-fork.js';

/** What came of a child that was asked one thing. */
export interface Asked<Reply> {
  /** undefined where it ended without one. */
  reply: Reply | undefined;
  /** How it ended, in words for brackets, with its last words: `SIGKILL`, `exit code 1: out of memory`. */
  end: string;
}

/** Of what the libraries in a child print, so much of the end is kept. */
const LAST_WORDS = 2000;

/**
 * Starts a Node program, sends it one message and waits for its answer and its end: for work that may hang, crash or
 * take more memory than there is.
 *
 * An abort kills it, and so does the end of `timeoutMs`; whether that is an error is for the caller to say. So does a
 * message that is none of `says`.
 * @param what it is for people: "the process that converts the checkpoint"
 * @param options.isReply false for a message that is none, such as progress; it is shown all of them.
 * @throws SoundpostError `no_resources`, as `startChild`.
 */
export async function askChild<Message, Reply extends Message = Message>(
  what: string,
  program: string,
  question: Serializable,
  options: {
    /** All that it may say. */
    says: z.ZodType<Message>;
    isReply?: (message: Message) => message is Reply;
    signal?: AbortSignal | undefined;
    timeoutMs?: number;
    /** The most memory of its own that it may take, in bytes. */
    memoryBytes?: number;
  },
): Promise<Asked<Reply>> {
  const { says, isReply, signal, timeoutMs, memoryBytes } = options;
  const start = (forkOptions: ForkOptions) =>
    memoryBytes === undefined
      ? fork(program, [], forkOptions)
      : limitedFork(program, memoryBytes, forkOptions);
  const child = startChild(what, () =>
    start({
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      execArgv: [],
      // One allocation arena of the C library serves one working thread; more only hold memory back.
      env: childEnvironment({ MALLOC_ARENA_MAX: '1' }),
    }),
  );
  const kill = (): void => void child.kill('SIGKILL');
  const timer = timeoutMs === undefined ? undefined : setTimeout(kill, timeoutMs);
  signal?.addEventListener('abort', kill, { once: true });
  let lastWords = '';
  child.stderr?.on(
    'data',
    (chunk: Buffer) => (lastWords = (lastWords + chunk.toString()).slice(-LAST_WORDS)),
  );
  child.stderr?.on('error', () => undefined);
  try {
    return await new Promise((resolve, reject) => {
      let reply: Reply | undefined;
      let nonsense = false;
      child.on('message', (received: unknown) => {
        const said = says.safeParse(received);
        if (!said.success) {
          nonsense = true;
          kill();
        } else if (isReply === undefined || isReply(said.data)) {
          reply = said.data as Reply;
          child.disconnect();
        }
      });
      child.once('error', (error) => {
        if (child.pid !== undefined) return;
        const shortage = startShortage(what, error);
        if (shortage === null) resolve({ reply, end: `it could not be started: ${error.message}` });
        else reject(shortage);
      });
      const conclude = (code: number | null, signalName: NodeJS.Signals | null) => {
        const how = nonsense
          ? 'it said what nobody understands'
          : (signalName ?? `exit code ${code ?? 'unknown'}`);
        const words = lastWords.trim().split('\n').at(-1) ?? '';
        resolve({ reply, end: words === '' ? how : `${how}: ${words}` });
      };
      child.once('exit', (code, signalName) => {
        const { stderr } = child;
        // Its last words may still be on their way. (`close` does not come where we have disconnected.)
        if (stderr === null || stderr.closed) conclude(code, signalName);
        else stderr.once('close', () => conclude(code, signalName));
      });
      if (signal?.aborted === true) kill();
      child.send(question, () => undefined);
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', kill);
  }
}
