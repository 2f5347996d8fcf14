import type { SoundpostError } from '../common/errors.js';
import { shuttingDown, tookTooLong } from './command-errors.js';
import type { Command, CommandContext, Work } from './command.js';

/** At shutdown: what is done within this time is reported as it is, and not as called off. */
const GRACE_MS = 100;

/** A request that passed the door. */
export interface Job {
  command: Pick<Command, 'name' | 'timeoutMs'>;
  work: Work;
  /** Sends the one reply; further calls do nothing. */
  answer: (outcome: Outcome) => void;
}

export type Outcome = { data: object } | { error: unknown };

/** A job that has begun. Neither rejects. */
export interface Running {
  /** The reply is out. */
  answered: Promise<void>;
  /** The handler has come back as well. */
  settled: Promise<void>;
}

/** Carries out jobs. */
export type Execute = (job: Job) => Running;

/**
 * Runs a job: its reply is what its handler says, or that the time is over, or that the service stops, whichever is
 * first.
 * @param stopping fires when the service stops
 * @param report told of what an action throws that was to follow the reply
 */
export function execute(
  { command, work, answer }: Job,
  stopping: AbortSignal,
  report: (name: string, error: unknown) => void,
): Running {
  if (stopping.aborted) {
    answer({ error: shuttingDown() });
    return { answered: Promise.resolve(), settled: Promise.resolve() };
  }
  const abort = new AbortController();
  const limit = createLimit(command, abort, stopping);
  const actions: (() => void)[] = [];
  const context: CommandContext = {
    signal: abort.signal,
    afterReply: (action) => actions.push(action),
  };
  // An async function turns a handler that throws at once into one that rejects.
  const handled = (async (): Promise<Outcome> => {
    try {
      return { data: await work.run(context) };
    } catch (error) {
      // Whatever it says then, this is the cause.
      return { error: stopping.aborted ? shuttingDown() : error };
    }
  })();
  const answered = Promise.race([handled, limit.reached]).then((outcome) => {
    limit.lift();
    answer(outcome);
    if ('data' in outcome) runAll(actions, (error) => report(command.name, error));
  });
  return { answered, settled: Promise.all([answered, handled]).then(() => undefined) };
}

/** Ends a job by `abort` when its time is over or the service stops. `reached` is the outcome then. */
function createLimit(
  { name, timeoutMs }: Job['command'],
  abort: AbortController,
  stopping: AbortSignal,
): { reached: Promise<Outcome>; lift: () => void } {
  let timer: NodeJS.Timeout | undefined;
  const reached = new Promise<Outcome>((resolve) => {
    const end = (error: SoundpostError): void => {
      resolve({ error });
      abort.abort(error);
    };
    timer = setTimeout(() => end(tookTooLong(name, timeoutMs)), timeoutMs);
    stopping.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        timer = setTimeout(() => resolve({ error: shuttingDown() }), GRACE_MS);
        abort.abort(shuttingDown());
      },
      { signal: abort.signal },
    );
  });
  const lift = (): void => {
    clearTimeout(timer);
    // The listener for the shutdown goes with it.
    abort.abort();
  };
  return { reached, lift };
}

function runAll(actions: readonly (() => void)[], failed: (error: unknown) => void): void {
  for (const action of actions) {
    try {
      action();
    } catch (error) {
      failed(error);
    }
  }
}
