import { fork, type ForkOptions, type Serializable } from 'node:child_process';
import { childEnvironment } from './child-environment.js';
import { startChild, startShortage } from './child.js';
import { limitedFork } from './limited-fork.js';

/** What came of a child that was asked one thing. */
export interface Asked<Reply> {
  /** undefined where it ended without one. */
  reply: Reply | undefined;
  /** How it ended, in words for brackets: `SIGKILL`, `exit code 1`. */
  end: string;
}

/**
 * Starts a Node program, sends it one message and waits for its answer and its end: for work that may hang, crash or
 * take more memory than there is. What the libraries in it print is of no use to anyone; errors come as messages.
 *
 * An abort kills it, and so does the end of `timeoutMs`; whether that is an error is for the caller to say.
 * @param what it is for people: "the process that converts the checkpoint"
 * @param isReply false for a message that is none, such as progress; it is shown all of them.
 * @throws SoundpostError `no_resources`, as `startChild`.
 */
export async function askChild<Message, Reply extends Message = Message>(
  what: string,
  program: string,
  question: Serializable,
  options: {
    isReply?: (message: Message) => message is Reply;
    signal?: AbortSignal | undefined;
    timeoutMs?: number;
    /** The most memory of its own that it may take, in bytes. */
    memoryBytes?: number;
  },
): Promise<Asked<Reply>> {
  const { isReply, signal, timeoutMs, memoryBytes } = options;
  const start = (forkOptions: ForkOptions) =>
    memoryBytes === undefined
      ? fork(program, [], forkOptions)
      : limitedFork(program, memoryBytes, forkOptions);
  const child = startChild(what, () =>
    start({
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      execArgv: [],
      // One allocation arena of the C library serves one working thread; more only hold memory back.
      env: childEnvironment({ MALLOC_ARENA_MAX: '1' }),
    }),
  );
  const kill = (): void => void child.kill('SIGKILL');
  const timer = timeoutMs === undefined ? undefined : setTimeout(kill, timeoutMs);
  signal?.addEventListener('abort', kill, { once: true });
  try {
    return await new Promise((resolve, reject) => {
      let reply: Reply | undefined;
      child.on('message', (message: Message) => {
        if (isReply !== undefined && !isReply(message)) return;
        reply = message as Reply;
        child.disconnect();
      });
      child.once('error', (error) => {
        if (child.pid !== undefined) return;
        const shortage = startShortage(what, error);
        if (shortage === null) resolve({ reply, end: `it could not be started: ${error.message}` });
        else reject(shortage);
      });
      child.once('exit', (code, signalName) => {
        resolve({ reply, end: signalName ?? `exit code ${code ?? 'unknown'}` });
      });
      if (signal?.aborted === true) kill();
      child.send(question, () => undefined);
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', kill);
  }
}
