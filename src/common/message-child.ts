import { fork, type ChildProcess, type ForkOptions } from 'node:child_process';
import { childEnvironment } from './child-environment.js';
import { startChild, startShortage } from './child.js';
import { limitedFork } from './limited-fork.js';

/** A Node program with which messages are exchanged. */
export interface MessageChild {
  readonly child: ChildProcess;
  /**
   * Resolves when it has ended, to how: `SIGKILL`, `exit code 1`, and to its last words, which may be empty. Rejects with
   * SoundpostError `no_resources` where it could not be started for want of something.
   */
  readonly ended: Promise<ChildEnd>;
}

export interface ChildEnd {
  how: string;
  lastWords: string;
}

/** Of what the libraries in a child print, so much of the end is kept. */
const LAST_WORDS = 2000;

/**
 * Throws SoundpostError `no_resources`, as `startChild`.
 * @param what it is for people: "the process that converts the checkpoint"
 * @param memoryBytes the most memory of its own that it may take
 */
export function startMessageChild(what: string, program: string, memoryBytes?: number): MessageChild {
  const start = (options: ForkOptions) =>
    memoryBytes === undefined ? fork(program, [], options) : limitedFork(program, memoryBytes, options);
  const child = startChild(what, () =>
    start({
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      execArgv: [],
      // One allocation arena of the C library serves one working thread; more only hold memory back.
      env: childEnvironment({ MALLOC_ARENA_MAX: '1' }),
    }),
  );
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-LAST_WORDS)));
  child.stderr?.on('error', () => undefined);
  const ended = new Promise<ChildEnd>((resolve, reject) => {
    const conclude = (how: string) => resolve({ how, lastWords: said.trim().split('\n').at(-1) ?? '' });
    child.once('error', (error) => {
      if (child.pid !== undefined) return;
      const shortage = startShortage(what, error);
      if (shortage === null) conclude(`it could not be started: ${error.message}`);
      else reject(shortage);
    });
    child.once('exit', (code, signalName) => {
      const how = signalName ?? `exit code ${code ?? 'unknown'}`;
      const { stderr } = child;
      // Its last words may still be on their way. (`close` does not come where we have disconnected.)
      if (stderr === null || stderr.closed) conclude(how);
      else stderr.once('close', () => conclude(how));
    });
  });
  return { child, ended };
}

/** In words for brackets: `exit code 1: out of memory`. */
export function endInWords({ how, lastWords }: ChildEnd): string {
  return lastWords === '' ? how : `${how}: ${lastWords}`;
}

/** How a child ended that was killed for what it said. */
export const NONSENSE = 'it said what nobody understands';
