import { codeOf, messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { InferenceEngine } from './engine.js';
import type { EngineSeat } from './engine-seat.js';
import type { KeptSound } from './kept-sound.js';
import type { StreamRequest } from './model-stream.js';
import { createWindowQueue, type DueWindow } from './window-queue.js';
import { createWindowReporter, type WindowResult } from './window-report.js';

/** Has the engine at work answer the windows that are due, one at a time. */
export interface Answering {
  /** Another stream of sound, which can wait or not. */
  begin(realTime: boolean): void;
  /** The sound breaks off here: what waits or is being answered is not told any more. */
  breakOff(): void;
  /** What has come up to now is not to be told of. */
  skipToNow(): void;
  /**
   * Windows became due with a chunk that ended at `endMs` (wall clock) and arrived at `arrivedAt` (performance.now()).
   * For sources that can wait the promise resolves when there is room for more.
   * @param positions where they end, capture samples, oldest first
   */
  due(positions: readonly number[], endMs: number, arrivedAt: number): void | Promise<void>;
  /** Goes on where it can: the engine has come, or its stream. */
  dispatch(): void;
  /**
   * Calls `act` once no engine is at work on a window, never before this returns. There is one at a time; `stop`
   * calls it as well.
   */
  betweenWindows(act: () => void): void;
  /** Resolves when no window is waiting or being answered. */
  idle(): Promise<void>;
  /** For how long the oldest window has been waited for and what the last one took, both in ms. */
  waiting(now: number): { forMs: number; usualMs: number };
  /** Windows since the service began. */
  counters(): { processed: number; dropped: number };
  /** Nothing is told any more, and what waits for a moment between two windows gets it. */
  stop(): void;
}

/** How far a source that can wait may run ahead of the oldest unanswered window: well within what is kept. */
const AHEAD_SECONDS = 1;

export function createAnswering(options: {
  sound: Pick<KeptSound, 'captureRate' | 'position'>;
  seat: Pick<EngineSeat, 'engine' | 'stream' | 'lost'>;
  onResult(result: WindowResult): void;
  log: Logger;
}): Answering {
  const { sound, seat, log } = options;
  const queue = createWindowQueue();
  const reporter = createWindowReporter(sound);
  const room = createWaiters();
  const rest = createWaiters();
  const turns = createTurns();
  /** How long the engine worked on its last window. */
  let usualMs = 0;
  let isStopped = false;

  /** Sends the next due window to the engine, if it is free. */
  function dispatch(): void {
    while (!turns.busy && queue.length > 0) {
      const { engine, stream } = seat;
      if (engine === null || stream === null) return;
      const window = queue.take()!;
      room.wake();
      const request = stream.request(window.position, reporter.toldUntil);
      if (request === 'too_early') queue.rest();
      else if (request === 'gone') queue.gone();
      else {
        turns.begin();
        void serve(engine, window, request).finally(windowDone);
      }
    }
    if (!turns.busy && queue.length === 0) {
      // Where there is no engine what was due is still waited for, though it has been dropped.
      if (seat.stream !== null) queue.caughtUp();
      rest.wake();
    }
  }

  /** Has one window answered. Never rejects. */
  async function serve(engine: InferenceEngine, window: DueWindow, request: StreamRequest): Promise<void> {
    try {
      const result = await engine.infer(request);
      const seq = queue.answered(window);
      // What comes from before a break would switch on what has just been switched off.
      if (seq === null) return;
      usualMs = result.featuresMs + result.inferenceMs;
      tell(reporter.report(seq, engine, window, request, result));
    } catch (error) {
      queue.failed(window);
      seat.lost(engine, error);
    }
  }

  function tell(result: WindowResult): void {
    try {
      options.onResult(result);
    } catch (error) {
      // A listener that fails is no reason to give the engine up.
      log.error({ code: codeOf(error) }, `a result could not be used: ${messageOf(error)}`);
    }
  }

  function windowDone(): void {
    queue.rest();
    turns.end();
    room.wake();
    dispatch();
  }

  const hasRoom = () => queue.hasRoom(sound.position, AHEAD_SECONDS * sound.captureRate);

  async function waitForRoom(): Promise<void> {
    while (!hasRoom()) await room.wait();
  }

  function wakeAll(): void {
    reporter.skipTo(sound.position);
    room.wake();
    rest.wake();
  }

  function breakOff(): void {
    queue.breakOff();
    wakeAll();
  }

  return {
    begin(realTime) {
      queue.begin(realTime);
      wakeAll();
    },
    breakOff,
    skipToNow: () => reporter.skipTo(sound.position),
    due(positions, endMs, arrivedAt) {
      for (const position of positions) {
        const behindMs = ((sound.position - position) * 1000) / sound.captureRate;
        queue.push(position, endMs - behindMs, arrivedAt);
      }
      queue.trim(positions.length);
      dispatch();
      if (!hasRoom()) return waitForRoom();
    },
    dispatch,
    betweenWindows: (act) => turns.between(act),
    async idle() {
      while (!isStopped && (turns.busy || queue.length > 0)) await rest.wait();
    },
    waiting(now) {
      const since = queue.waitedSince;
      return { forMs: since === null ? 0 : now - since, usualMs };
    },
    counters: () => ({ processed: queue.processed, dropped: queue.dropped }),
    stop() {
      isStopped = true;
      breakOff();
      turns.callNow();
    },
  };
}

/** Whose turn it is: that of the engine with a window, or that of what may only happen between two windows. */
interface Turns {
  /** Whether an engine is at work on a window, of this row or of an earlier one. */
  readonly busy: boolean;
  begin(): void;
  end(): void;
  /** See `Answering.betweenWindows`. */
  between(act: () => void): void;
  /** Does not wait for the end of the window. */
  callNow(): void;
}

function createTurns(): Turns {
  let busy = false;
  let next: (() => void) | null = null;
  return {
    get busy() {
      return busy;
    },
    begin() {
      busy = true;
    },
    end() {
      busy = false;
      const act = next;
      next = null;
      act?.();
    },
    between(act) {
      const actOrWait = () => (busy ? (next = act) : act());
      if (busy) next = act;
      // In a later turn, so that an end of the engine that is known already is seen.
      else queueMicrotask(actOrWait);
    },
    callNow: () => next?.(),
  };
}

/** Those who wait for a moment that may come again. */
function createWaiters(): { wait(): Promise<void>; wake(): void } {
  const waiting: (() => void)[] = [];
  return {
    wait: () => new Promise((resolve) => waiting.push(resolve)),
    wake() {
      for (const wake of waiting.splice(0)) wake();
    },
  };
}
