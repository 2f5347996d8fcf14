import type { ChildProcess } from 'node:child_process';
import type { SoundpostError } from './errors.js';
import { leash, unleash } from './leash.js';
import { noHandles, shortageOf } from './shortage.js';

/*
 * The one way to start a process. Invariants:
 * - a machine that has no handles, processes or memory left ends nobody: that is an error of the code `no_resources`,
 *   which says that it may go better later;
 * - no child outlives this process, whether that ends in order, by `process.exit` or by SIGKILL (see leash.ts).
 */

const living = new Set<ChildProcess>();

// Before anything else that happens at the end, such as the removal of folders in which children work. What ends this
// way has no time to ask: a child may be inside a network that hangs.
process.prependListener('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

/**
 * Starts a child with `start` (a call of `spawn` or `fork`) and sees to it that it does not outlive this process.
 *
 * Throws SoundpostError `no_resources` where the system has no handles or memory for it; the child that Node then gives
 * has no pipes and no channel. Every other failure comes as Node's event `error` with `child.pid`
 * undefined; it ends nobody, whether or not the caller listens.
 * @param what the child for people: "the inference process"
 */
export function startChild<Child extends ChildProcess>(what: string, start: () => Child): Child {
  let child: Child;
  try {
    child = start();
  } catch (error) {
    throw startShortage(what, error) ?? error;
  }
  child.on('error', () => undefined);
  const { pid } = child;
  if (pid !== undefined) {
    living.add(child);
    leash(pid);
    child.once('exit', () => {
      living.delete(child);
      unleash(pid);
    });
    return child;
  }
  // Where there are no handles Node gives up before it makes the pipes.
  const { stdio } = child as { stdio?: unknown };
  if (stdio === undefined) throw noHandles(`${what} could not be started`);
  return child;
}

/** `no_resources` where a child could not be started for a shortage of the system; null where for another reason. */
export function startShortage(what: string, error: unknown): SoundpostError | null {
  return shortageOf(`${what} could not be started`, error);
}
