import { createLabelMatch } from './label-match.js';
import type { HistoryRecord } from './record.js';

export const MINUTE_MS = 60_000;
export const DEFAULT_POINTS = 500;

export interface CurveQuery {
  /** Name (in any case) or slug of a label or group. */
  readonly label: string;
  /** One source; the highest of all where it is left out. */
  readonly source?: string | undefined;
  /** ms since the epoch; inclusive. */
  readonly sinceMs: number;
  /** Exclusive. */
  readonly untilMs: number;
  /** At most so many points; 500 by default. */
  readonly maxPoints?: number | undefined;
}

export interface ScoreCurve {
  /** Between the beginnings of two stretches; whole minutes. */
  readonly stepMs: number;
  /**
   * The highest score of each stretch, in order, by when the stretch begins. Stretches in which the label was not
   * watched, or nothing was heard, are left out.
   */
  readonly points: readonly { readonly tsMs: number; readonly score: number }[];
}

/** Puts a curve together from the records of the files, in whatever order. Pure. */
export interface CurveBuilder {
  readonly fromMs: number;
  readonly toMs: number;
  take(record: HistoryRecord): void;
  end(): ScoreCurve;
}

export function createCurveBuilder(query: CurveQuery): CurveBuilder {
  const { source, maxPoints = DEFAULT_POINTS } = query;
  const isLabel = createLabelMatch(query.label);
  // The minute in which the stretch begins belongs to it as a whole.
  const fromMs = Math.floor(query.sinceMs / MINUTE_MS) * MINUTE_MS;
  const toMs = query.untilMs;
  const stepMs = Math.max(1, Math.ceil((toMs - fromMs) / maxPoints / MINUTE_MS)) * MINUTE_MS;
  const highest = new Map<number, number>();

  return {
    fromMs,
    toMs,
    take(record) {
      if (record.kind !== 'scores' || record.atMs < fromMs || record.atMs >= toMs) return;
      if (source !== undefined && source !== record.source) return;
      const own = record.scores.find(([name]) => isLabel(name))?.[1];
      // One of those that were too low to be written down: a bound is better than a gap.
      const score = own ?? record.rest;
      if (score === null) return;
      const stretch = Math.floor((record.atMs - fromMs) / stepMs);
      highest.set(stretch, Math.max(score, highest.get(stretch) ?? 0));
    },
    end: () => ({
      stepMs,
      points: [...highest]
        .sort(([one], [other]) => one - other)
        .map(([stretch, score]) => ({ tsMs: fromMs + stretch * stepMs, score })),
    }),
  };
}
