import { messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';

/** What a start is given, so that it can be undone and called off. */
export interface Life {
  /** Has `step` done at the stop, before what was handed over earlier. */
  readonly onStop: (step: () => void | Promise<void>) => void;
  /**
   * A start takes a while; a stop that comes in the middle of it must not be overtaken by the rest of it. Throws
   * SoundpostError `aborted` from the stop on.
   */
  readonly goOn: () => void;
}

/**
 * Makes something that is started once and can be stopped at any time, in the middle of its start too.
 * @param begin starts it, and says for each thing that has begun how it is ended; what it throws, `start` throws,
 * after all that had begun has been ended
 * @returns `stop` resolves when everything has ended; it never rejects, and is idempotent
 */
export function createLife(
  begin: (life: Life) => Promise<void>,
  log: Logger,
): { start(): Promise<void>; stop(): Promise<void> } {
  const steps: (() => void | Promise<void>)[] = [];
  let starting: Promise<void> = Promise.resolve();
  let stopping: Promise<void> | null = null;

  const life: Life = {
    onStop: (step) => void steps.push(step),
    goOn() {
      if (stopping !== null) throw new SoundpostError('aborted', 'The start was called off');
    },
  };

  async function undo(): Promise<void> {
    for (const step of steps.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        log.warn({ code: 'stop' }, `while stopping: ${messageOf(error)}`);
      }
    }
  }

  return {
    start: () =>
      (starting = begin(life).catch(async (error: unknown) => {
        await undo();
        throw error;
      })),
    stop: () =>
      (stopping ??= (async () => {
        // What has begun is ended first: that is what makes a start that hangs give up.
        await undo();
        await starting.catch(() => undefined);
      })()),
  };
}
