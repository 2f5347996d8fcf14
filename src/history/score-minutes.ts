import { MINUTE_MS } from './score-curve.js';

/** The score of a watched label or group in one window. */
export interface WatchedScore {
  readonly slug: string;
  readonly name: string;
  readonly score: number;
}

/** One minute of a source, or what was heard of it. */
export interface ScoreMinute {
  /** When the minute begins, ms since the epoch. */
  readonly tsMs: number;
  readonly source: string;
  /** The highest score of each watched label or group, by its name. */
  readonly scores: ReadonlyMap<string, number>;
}

/** Makes minutes of windows. */
export interface ScoreMinutes {
  /**
   * The scores of a window, which ended at `tsMs` (ms since the epoch); with the first window of another minute the one
   * before is told. Allocates nothing else, and keeps nothing of `items`.
   */
  window(source: string, items: readonly WatchedScore[], tsMs: number): void;
  /** Forgets what was heard of the minutes that began before this moment (ms since the epoch) and are not over yet. */
  forget(beforeMs: number): void;
  /** Tells what there is of the minutes that have begun: at a stop, a pause, before a clock is set. */
  flush(): void;
}

interface Cell {
  name: string;
  /** Below 0 where it was not watched in this minute. */
  highest: number;
}

interface Open {
  minute: number;
  readonly cells: Map<string, Cell>;
}

/** @param tell is given every minute once; it may be given the same minute again, with what was heard later of it */
export function createScoreMinutes(tell: (minute: ScoreMinute) => void): ScoreMinutes {
  const sources = new Map<string, Open>();

  function finish(source: string, open: Open): void {
    const scores = new Map<string, number>();
    for (const [slug, cell] of open.cells) {
      if (cell.highest >= 0) scores.set(cell.name, Math.max(cell.highest, scores.get(cell.name) ?? 0));
      // What is not watched any more must not stay for ever.
      else open.cells.delete(slug);
      cell.highest = -1;
    }
    if (scores.size > 0) tell({ tsMs: open.minute * MINUTE_MS, source, scores });
  }

  /** Those that have gone silent are over as well. Sources are a little apart, and must not end each other's minutes. */
  function finishSilent(minute: number): void {
    for (const [source, open] of sources) {
      if (Math.abs(open.minute - minute) <= 1) continue;
      finish(source, open);
      if (open.cells.size === 0) sources.delete(source);
    }
  }

  return {
    window(source, items, tsMs) {
      const minute = Math.floor(tsMs / MINUTE_MS);
      if (!Number.isFinite(minute)) return;
      let open = sources.get(source);
      if (open === undefined) {
        open = { minute, cells: new Map() };
        sources.set(source, open);
      } else if (open.minute !== minute) {
        finish(source, open);
        open.minute = minute;
        finishSilent(minute);
      }
      for (let n = 0; n < items.length; n += 1) {
        const { slug, name, score } = items[n]!;
        if (!(score >= 0)) continue;
        const cell = open.cells.get(slug);
        if (cell === undefined) open.cells.set(slug, { name, highest: score });
        else {
          cell.name = name;
          if (score > cell.highest) cell.highest = score;
        }
      }
    },
    forget(beforeMs) {
      for (const [source, { minute }] of sources) {
        if (minute * MINUTE_MS < beforeMs) sources.delete(source);
      }
    },
    flush() {
      for (const [source, open] of sources) finish(source, open);
    },
  };
}
