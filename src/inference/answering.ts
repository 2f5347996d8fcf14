import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { InferenceEngine } from './engine.js';
import type { EngineSeat } from './engine-seat.js';
import { embeddingOf } from './embedding-kind.js';
import type { LearningParts } from './learning.js';
import type { StreamRequest } from './model-stream.js';
import type { SourceFeed } from './source-feed.js';
import type { DueWindow } from './window-queue.js';
import type { WindowResult } from './window-report.js';

/** Has the engine at work answer the windows that are due, one at a time: of all sources, in turn. */
export interface Answering {
  /** Another stream of sound has begun, or the sound breaks off here: what waits or is being answered is not told any more. */
  breakOff(feed: SourceFeed): void;
  /** What has come up to now is not to be told of. */
  skipToNow(feed: SourceFeed): void;
  /**
   * Windows became due with a chunk that ended at `endMs` (wall clock) and arrived at `arrivedAt` (performance.now()).
   * For sources that can wait the promise resolves when there is room for more.
   * @param positions where they end, capture samples, oldest first
   */
  due(feed: SourceFeed, positions: readonly number[], endMs: number, arrivedAt: number): void | Promise<void>;
  /** Goes on where it can: the engine has come, or a stream of it. */
  dispatch(): void;
  /**
   * Calls `act` once no engine is at work on a window, never before this returns. There is one at a time; `stop`
   * calls it as well.
   */
  betweenWindows(act: () => void): void;
  /**
   * Has the engine do one run for somebody else, when no window is due; after so many windows also before the next one,
   * so that it comes even where windows are always due. Rejects with what the run throws, and from `stop` on.
   */
  aside<T>(run: (engine: InferenceEngine) => Promise<T>): Promise<T>;
  /** Resolves when no window of these sources is waiting or being answered. */
  idle(feeds: readonly SourceFeed[]): Promise<void>;
  /** For how long the oldest window has been waited for and what the last one took, both in ms. */
  waiting(now: number): { forMs: number; usualMs: number };
  /** Nothing is told any more, and what waits for a moment between two windows gets it. */
  stop(): void;
}

/** How far a source that can wait may run ahead of the oldest unanswered window: well within what is kept. */
const AHEAD_SECONDS = 1;

/** After how many windows somebody else has a turn. */
const WINDOWS_FIRST = 10;
/** Whose turn that is: no source's. */
const ASIDE_TURN = -1;

/** @param options.isOn whether something is on at a source: then none of its windows is passed over */
export function createAnswering(options: {
  feeds: readonly SourceFeed[];
  seat: Pick<EngineSeat, 'engine' | 'streamOf' | 'lost'>;
  isOn: (source: number) => boolean;
  /** What is learnt on the model's embedding. */
  learning: Pick<LearningParts, 'headsOf' | 'isSampleDue'>;
  onResult(result: WindowResult): void;
  log: Logger;
}): Answering {
  const { feeds, seat, log } = options;
  const room = createWaiters();
  const rest = createWaiters();
  const turns = createTurns();
  /** How long the engine worked on its last window. */
  let usualMs = 0;
  let isStopped = false;
  /** What is to be run for others. */
  const asides: { run: (engine: InferenceEngine) => Promise<void>; refuse: (error: unknown) => void }[] = [];
  let windowsSince = 0;

  /** The number of the last turn of each source. */
  const turnOf = feeds.map(() => 0);
  let turn = 0;

  /**
   * The source whose turn it is: of those of which a window waits, the one whose last turn lies furthest back. By the
   * age of the windows alone those whose windows come last in a hop would lose all that the engine cannot keep up with.
   */
  function next(): SourceFeed | null {
    let first: SourceFeed | null = null;
    for (const feed of feeds) {
      if (feed.queue.length === 0 || seat.streamOf(feed.source) === null) continue;
      if (first === null || turnOf[feed.source]! < turnOf[first.source]!) first = feed;
    }
    return first;
  }

  /** Sends the next due window to the engine, if it is free. */
  function dispatch(): void {
    while (!turns.busy) {
      const feed = next();
      if (feed === null || windowsSince >= WINDOWS_FIRST) {
        if (takeAside()) continue;
        if (feed === null) break;
      }
      take(feed);
    }
    if (turns.busy) return;
    for (const { source, queue } of feeds) {
      // Where there is no engine what was due is still waited for, though it has been dropped.
      if (queue.length === 0 && seat.streamOf(source) !== null) queue.caughtUp();
    }
    rest.wake();
  }

  /** Answers the oldest window of a source, or has the engine do so. */
  function take(feed: SourceFeed): void {
    const { queue, source } = feed;
    const engine = seat.engine!;
    const stream = seat.streamOf(source)!;
    const window = queue.take()!;
    turnOf[source] = turn += 1;
    room.wake();
    if (feed.mayRest(stream, window) && !options.isOn(source)) {
      const seq = queue.answered(window)!;
      queue.rest();
      tell(feed.rested(engine, stream, window, seq, options.learning.headsOf(engine)));
      return;
    }
    const request = feed.request(stream, window);
    if (request === 'too_early') queue.rest();
    else if (request === 'gone') queue.gone();
    else {
      turns.begin(source);
      feed.ran(window);
      windowsSince += 1;
      void serve(feed, engine, window, request).finally(() => windowDone(feed));
    }
  }

  /** Has one window answered. Never rejects. */
  async function serve(
    feed: SourceFeed,
    engine: InferenceEngine,
    window: DueWindow,
    request: StreamRequest,
  ): Promise<void> {
    const { source, queue, reporter } = feed;
    const columns = feed.onColumns === null ? 0 : request.newColumns;
    const isSample = () => {
      // Where it is that of a frame, there has to be one that is final.
      const isThere = request.cut !== null || embeddingOf(engine.model.manifest)?.kind === 'window';
      return isThere && options.learning.isSampleDue(source, window.endMs);
    };
    try {
      const result = await engine.infer({ ...request, source, columns, embeddings: isSample() });
      const seq = queue.answered(window);
      // What comes from before a break would switch on what has just been switched off.
      if (seq === null) return;
      usualMs = result.featuresMs + result.inferenceMs;
      feed.computed(result.computedAs ?? 'whole');
      tell(reporter.report(seq, engine, window, request, result));
      if (result.columns !== null) feed.onColumns?.(result.columns, window.endMs);
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

  function windowDone({ queue }: SourceFeed): void {
    queue.rest();
    turns.end();
    room.wake();
    dispatch();
  }

  /** Does the oldest run that is wanted by somebody else. Returns whether there is one. */
  function takeAside(): boolean {
    windowsSince = 0;
    const { engine } = seat;
    if (engine === null) return false;
    const next = asides.shift();
    if (next === undefined) return false;
    turns.begin(ASIDE_TURN);
    void next.run(engine).finally(() => {
      turns.end();
      rest.wake();
      dispatch();
    });
    return true;
  }

  const hasRoom = ({ queue, sound }: SourceFeed) =>
    queue.hasRoom(sound.position, AHEAD_SECONDS * sound.captureRate);

  async function waitForRoom(feed: SourceFeed): Promise<void> {
    while (!hasRoom(feed)) await room.wait();
  }

  const isResting = ({ source, queue }: SourceFeed) => turns.workingFor !== source && queue.length === 0;

  function breakOff({ queue, reporter, sound }: SourceFeed): void {
    queue.breakOff();
    reporter.skipTo(sound.position);
    room.wake();
    rest.wake();
  }

  function refuseAsides(): void {
    const error = new SoundpostError('shutting_down', 'The service is going away.');
    for (const { refuse } of asides.splice(0)) refuse(error);
  }

  return {
    breakOff,
    skipToNow: ({ reporter, sound }) => reporter.skipTo(sound.position),
    due(feed, positions, endMs, arrivedAt) {
      const { queue, sound } = feed;
      for (const position of positions) {
        const behindMs = ((sound.position - position) * 1000) / sound.captureRate;
        queue.push(position, endMs - behindMs, arrivedAt);
      }
      queue.trim(positions.length);
      dispatch();
      if (!hasRoom(feed)) return waitForRoom(feed);
    },
    dispatch,
    betweenWindows: (act) => turns.between(act),
    aside: (run) =>
      new Promise((resolve, reject) => {
        const settle = async (engine: InferenceEngine) => {
          try {
            resolve(await run(engine));
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)));
          }
        };
        asides.push({ run: settle, refuse: reject });
        if (isStopped) refuseAsides();
        else dispatch();
      }),
    async idle(of) {
      while (!isStopped && !of.every(isResting)) await rest.wait();
    },
    waiting(now) {
      const waits = feeds.map(({ queue }) => (queue.waitedSince === null ? 0 : now - queue.waitedSince));
      return { forMs: Math.max(0, ...waits), usualMs };
    },
    stop() {
      isStopped = true;
      for (const feed of feeds) breakOff(feed);
      refuseAsides();
      turns.callNow();
    },
  };
}

/** Whose turn it is: that of the engine with a window, or that of what may only happen between two windows. */
interface Turns {
  /** Whether an engine is at work on a window, of this row or of an earlier one. */
  readonly busy: boolean;
  /** The source whose window that is; null where none is. */
  readonly workingFor: number | null;
  begin(source: number): void;
  end(): void;
  /** See `Answering.betweenWindows`. */
  between(act: () => void): void;
  /** Does not wait for the end of the window. */
  callNow(): void;
}

function createTurns(): Turns {
  let workingFor: number | null = null;
  let next: (() => void) | null = null;
  const isBusy = () => workingFor !== null;
  return {
    get busy() {
      return isBusy();
    },
    get workingFor() {
      return workingFor;
    },
    begin(source) {
      workingFor = source;
    },
    end() {
      workingFor = null;
      const act = next;
      next = null;
      act?.();
    },
    between(act) {
      const actOrWait = () => (isBusy() ? (next = act) : act());
      if (isBusy()) next = act;
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
