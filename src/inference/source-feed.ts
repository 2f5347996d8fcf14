import type { ComputedAs, InferenceEngine, LogMelColumns } from './engine.js';
import type { LearntHead } from './learnt-heads.js';
import { createKeptSound, type KeptSound } from './kept-sound.js';
import type { ModelStream, StreamRequest } from './model-stream.js';
import { createRest } from './rest.js';
import { createScheduler, type Scheduler } from './scheduler.js';
import { createWindowQueue, type DueWindow, type WindowQueue } from './window-queue.js';
import { createWindowReporter, type WindowReporter, type WindowResult } from './window-report.js';

/**
 * What the pipeline has of one source: the sound that is kept of it, when its windows are due, those that wait, and up
 * to where it has been told of. Knows no engine but by its stream, and none of the other sources.
 */
export interface SourceFeed {
  /** Its number among the sources. */
  readonly source: number;
  readonly sound: KeptSound;
  readonly queue: WindowQueue;
  readonly reporter: WindowReporter;
  /** Sound starts anew; see `Pipeline`. */
  begin(options: { captureRate: number; realTime: boolean; minSeconds: number; windowSeconds: number }): void;
  /** The level of a piece of the sound that comes with the next chunk, see `Rest`. */
  piece(endPosition: number, dbfs: number): void;
  /**
   * Takes sound; returns the capture positions at which windows end that are due with it, none in a pause.
   * @param stream the one at work, which may want them on a grid
   */
  take(samples: Float32Array, stream: ModelStream | null): readonly number[];
  setRate(rateHz: number): void;
  /** In a pause sound is kept, and no window is due. Returns whether that is a change. */
  setPaused(paused: boolean): boolean;
  /** The request for a window; see `ModelStream.request`. */
  request(stream: ModelStream, window: DueWindow): StreamRequest | 'too_early' | 'gone';
  /** Whether a window may be answered as silence, unless something is on; see `Rest`. */
  mayRest(stream: ModelStream, window: DueWindow): boolean;
  /** A window is being run. */
  ran(window: DueWindow): void;
  /** A window was answered as silence. `heads`: those of the engine. */
  rested(
    engine: InferenceEngine,
    stream: ModelStream,
    window: DueWindow,
    seq: number,
    heads: readonly LearntHead[],
  ): WindowResult;
  /** Who looks at the log-mel that the network sees; null: nobody, and then none is handed over. */
  onColumns: OnColumns | null;
  /** A window was answered, computed in this way. */
  computed(as: ComputedAs | null): void;
  /**
   * Windows since the service began; `idle` of those that were processed were answered as silence, `streamed` computed as
   * a stream, of which `begun` for the first time after a start or a break.
   */
  counters(): SourceCounters;
}

/** Is given the columns of the log-mel that are new with a window; `endMs` is the wall clock of its end. */
export type OnColumns = (columns: LogMelColumns, endMs: number) => void;

export interface SourceCounters {
  processed: number;
  dropped: number;
  idle: number;
  streamed: number;
  begun: number;
}

const NONE: readonly number[] = [];

/** @param options.idleBelowDbfs windows of which nothing is as loud may be answered as silence; null: none */
export function createSourceFeed(options: {
  source: number;
  rateHz: number;
  keepSeconds: number;
  windowSeconds: number | null;
  idleBelowDbfs: number | null;
}): SourceFeed {
  const { source } = options;
  const sound = createKeptSound({ seconds: options.keepSeconds, windowSeconds: options.windowSeconds });
  const queue = createWindowQueue();
  const reporter = createWindowReporter(source, sound);
  const rest = createRest(options.idleBelowDbfs);
  let { rateHz } = options;
  let scheduler: Scheduler | null = null;
  let isPaused = false;
  let idle = 0;
  let streamed = 0;
  let begun = 0;

  /** Whether windows move by a step of the engine's grid at the least. */
  function isOnGrid(stream: ModelStream | null): stream is ModelStream {
    return stream !== null && stream.gridSeconds > 0 && rateHz * stream.gridSeconds <= 1;
  }

  return {
    source,
    sound,
    queue,
    reporter,
    begin({ captureRate, realTime, minSeconds, windowSeconds }) {
      sound.begin(captureRate);
      rest.begin(captureRate);
      queue.begin(realTime);
      scheduler = createScheduler({ sampleRate: captureRate, rateHz, minSeconds, windowSeconds });
    },
    piece: (endPosition, dbfs) => rest.piece(endPosition, dbfs),
    take(samples, stream) {
      sound.append(samples);
      // Nothing waits in a pause: it began with a break.
      if (isPaused || scheduler === null) return NONE;
      return isOnGrid(stream)
        ? scheduler.due(sound.position, (end) => stream.onGrid(end))
        : scheduler.due(sound.position);
    },
    setRate(hz) {
      rateHz = hz;
      scheduler?.setRate(hz, sound.position);
    },
    setPaused(paused) {
      if (paused === isPaused) return false;
      isPaused = paused;
      if (!paused) scheduler?.resume(sound.position);
      return true;
    },
    request: (stream, { position }) =>
      stream.request(position, reporter.toldUntil, { onGrid: isOnGrid(stream) }),
    mayRest(stream, { position }) {
      const from = reporter.toldUntil - stream.memorySeconds * sound.captureRate;
      return rest.mayRest(from, position);
    },
    ran: ({ position }) => rest.ran(position),
    rested(engine, stream, window, seq, heads) {
      idle += 1;
      return reporter.silence(seq, engine, window, stream, heads);
    },
    onColumns: null,
    computed(as) {
      if (as === 'stream' || as === 'begun') streamed += 1;
      if (as === 'begun') begun += 1;
    },
    counters: () => ({ processed: queue.processed, dropped: queue.dropped, idle, streamed, begun }),
  };
}
