/** A window that is due and not answered yet. */
export interface DueWindow {
  /** Counts the breaks in the sound: which row of windows it belongs to. */
  readonly row: number;
  /** Where it ends, in capture samples since the stream began. */
  readonly position: number;
  /** Wall clock of its end, ms since the epoch. */
  readonly endMs: number;
  /** performance.now() when its last sample arrived. */
  readonly arrivedAt: number;
}

/**
 * The windows that are due, in order, with their numbers and what became of them. Where sound cannot wait, the oldest
 * is dropped; where it can, none is, and the source is told to wait. Knows no clock, no engine and no promise.
 *
 * A break in the sound begins another row, and what belongs to an earlier row is neither told nor asked again: it would
 * be told as if it were heard now.
 */
export interface WindowQueue {
  /** How many windows wait, the one at work not counted. */
  readonly length: number;
  /** When the oldest window was due that nothing has been answered since (performance.now()); null: none. */
  readonly waitedSince: number | null;
  /** Windows answered, and windows given up, since the service began. */
  readonly processed: number;
  readonly dropped: number;
  /** Another stream of sound, which can wait or not. */
  begin(realTime: boolean): void;
  /** The sound breaks off: forgets what waits and what is at work. */
  breakOff(): void;
  /** A window became due; see DueWindow. */
  push(position: number, endMs: number, arrivedAt: number): void;
  /**
   * Drops what live sound has overtaken.
   * @param fresh how many windows have just become due: several within one chunk are no falling behind
   */
  trim(fresh: number): void;
  /** Puts the oldest to work; undefined where none waits. */
  take(): DueWindow | undefined;
  /** The one at work has an answer. Returns its number; null where it belongs to an earlier row. */
  answered(window: DueWindow): number | null;
  /** The engine failed over it. A file's window is answered by the next engine; live sound has moved on. */
  failed(window: DueWindow): void;
  /** The one at work cannot be answered: its sound is no longer kept. */
  gone(): void;
  /** Nothing is at work any more. */
  rest(): void;
  /** All that can be done is done: nothing is waited for. */
  caughtUp(): void;
  /**
   * Whether the source may go on.
   * @param position how far the sound has come, capture samples
   * @param ahead how far it may be ahead of the oldest unanswered window, capture samples
   */
  hasRoom(position: number, ahead: number): boolean;
}

export function createWindowQueue(): WindowQueue {
  let row = 0;
  let realTime = true;
  let waiting: DueWindow[] = [];
  /** The window of this row that is being answered. */
  let atWork: DueWindow | null = null;
  let waitedSince: number | null = null;
  /** Counts every window that was due, answered or not. */
  let seq = 0;
  let processed = 0;
  let dropped = 0;

  const drop = (windows: number) => {
    seq += windows;
    dropped += windows;
  };

  const breakOff = () => {
    row += 1;
    waiting = [];
    atWork = null;
    waitedSince = null;
  };

  return {
    get length() {
      return waiting.length;
    },
    get waitedSince() {
      return waitedSince;
    },
    get processed() {
      return processed;
    },
    get dropped() {
      return dropped;
    },
    begin(nextIsRealTime) {
      realTime = nextIsRealTime;
      breakOff();
    },
    breakOff,
    push(position, endMs, arrivedAt) {
      waitedSince ??= arrivedAt;
      waiting.push({ row, position, endMs, arrivedAt });
    },
    trim(fresh) {
      const excess = waiting.length - Math.max(1, fresh);
      if (!realTime || excess <= 0) return;
      waiting.splice(0, excess);
      drop(excess);
    },
    take() {
      const next = waiting.shift();
      atWork = next ?? null;
      return next;
    },
    answered(window) {
      if (window.row !== row) return null;
      seq += 1;
      processed += 1;
      waitedSince = waiting[0]?.arrivedAt ?? null;
      return seq;
    },
    failed(window) {
      if (window.row !== row) return;
      if (realTime) drop(1);
      else waiting.unshift(window);
    },
    gone() {
      drop(1);
      atWork = null;
    },
    rest() {
      atWork = null;
    },
    caughtUp() {
      waitedSince = null;
    },
    hasRoom(position, ahead) {
      const oldest = atWork ?? waiting[0];
      if (realTime || oldest === undefined) return true;
      return waiting.length <= 1 && position - oldest.position <= ahead;
    },
  };
}
