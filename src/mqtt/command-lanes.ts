import { setTimeout as delay } from 'node:timers/promises';
import { laneTaken, shuttingDown, tookTooLong, tooManyWait } from './command-errors.js';
import type { Execute, Job } from './command-run.js';

/** How many commands may wait behind the one that runs. */
export const MAX_WAITING = 16;
/** How long the look at an exclusive request may take before it is let into its lane. */
const ADMIT_MS = 10_000;
/** In a flood: after each command the lane rests as long as that has taken, up to so long. */
const MAX_REST_MS = 100;

/** Where jobs run. `track` is told of all work that a stop has to wait for. */
interface LaneOptions {
  execute: Execute;
  stopping: AbortSignal;
  track: (work: Promise<void>) => void;
}

export interface Lane {
  /** Runs the job, now or later, or answers why not. */
  take(job: Job): void;
}

export interface OrdinaryLane extends Lane {
  /** Refuses what waits, since the service stops. */
  refuseAll(): void;
}

/**
 * Jobs one after the other; at most `MAX_WAITING` wait, the next one is `busy`. A row of them without an end takes half
 * of the time at most.
 */
export function createOrdinaryLane({ execute, stopping, track }: LaneOptions): OrdinaryLane {
  const waiting: Job[] = [];
  let busy = false;

  async function run(): Promise<void> {
    busy = true;
    try {
      let row = 0;
      for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
        row += 1;
        const begun = performance.now();
        await execute(job).answered;
        if (waiting.length === 0 || row <= MAX_WAITING) continue;
        const worked = performance.now() - begun;
        await delay(Math.min(MAX_REST_MS, worked), undefined, { signal: stopping }).catch(() => undefined);
      }
    } finally {
      busy = false;
    }
  }

  return {
    take(job) {
      if (waiting.length >= MAX_WAITING) {
        job.answer({ error: tooManyWait(waiting.length) });
        return;
      }
      waiting.push(job);
      if (!busy) track(run());
    },
    refuseAll() {
      for (const job of waiting.splice(0)) job.answer({ error: shuttingDown() });
    },
  };
}

/**
 * One job at a time, and none waits: there is no second one until the first has really ended, even where its time limit
 * has been reported before that. A job that cannot be carried out anyway is refused before it takes the lane.
 */
export function createExclusiveLane({ execute, stopping, track }: LaneOptions): Lane {
  let busy = false;
  /** Jobs that are being looked at. */
  let admitting = 0;

  async function admit(job: Job, look: () => Promise<void>): Promise<void> {
    admitting += 1;
    let giveUp: () => void = () => undefined;
    let timer: NodeJS.Timeout | undefined;
    try {
      // A disk that hangs must not leave anybody without a reply.
      const over = new Promise<never>((_, reject) => {
        giveUp = () => reject(shuttingDown());
        stopping.addEventListener('abort', giveUp);
        timer = setTimeout(() => reject(tookTooLong(job.command.name, ADMIT_MS)), ADMIT_MS);
      });
      await Promise.race([look(), over]);
    } catch (error) {
      job.answer({ error: stopping.aborted ? shuttingDown() : error });
      return;
    } finally {
      admitting -= 1;
      clearTimeout(timer);
      stopping.removeEventListener('abort', giveUp);
    }
    enter(job);
  }

  function enter(job: Job): void {
    if (busy) {
      job.answer({ error: laneTaken(job.command.name) });
      return;
    }
    busy = true;
    track(run(job));
  }

  async function run(job: Job): Promise<void> {
    try {
      await execute(job).settled;
    } finally {
      busy = false;
    }
  }

  return {
    take(job) {
      if (job.work.admit === undefined) enter(job);
      else if (busy || admitting >= MAX_WAITING) job.answer({ error: laneTaken(job.command.name) });
      else track(admit(job, job.work.admit));
    },
  };
}
