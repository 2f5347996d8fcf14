import { ONLY_SOURCE } from '../common/only-source.js';
import type { HistoryRecord } from './record.js';

/** A sound that was heard, as far as its threshold is concerned. */
export interface HeardPeak {
  /** Of the group, or of the label. */
  readonly name: string;
  readonly sources: readonly string[];
  /** The highest score. */
  readonly peak: number;
  /** What somebody said of it; null where nobody has said anything. */
  readonly right: boolean | null;
}

/** The newest so many are looked at, so that memory is in bounds. */
const MOST_EVENTS = 20_000;

/** Gathers events and what was said of them, from records of the newest file first and within a file in order. Pure. */
export interface PeakGatherer {
  take(record: HistoryRecord): void;
  fileEnds(): void;
  end(): HeardPeak[];
}

export function createPeakGatherer(): PeakGatherer {
  const events = new Map<string, Omit<HeardPeak, 'right'>>();
  const judged = new Map<string, { right: boolean; file: number }>();
  let file = 0;

  return {
    take(record) {
      if (record.kind === 'event') {
        const { id, group, label, source = ONLY_SOURCE, sources, peak } = record.event;
        const before = events.get(id);
        if (before === undefined && events.size >= MOST_EVENTS) return;
        events.set(id, {
          name: group ?? label,
          sources: sources?.map(({ name }) => name) ?? [source],
          peak: Math.max(peak, before?.peak ?? 0),
        });
      }
      if (record.kind !== 'judged') return;
      const { file: said = file } = judged.get(record.id) ?? {};
      if (said === file && judged.size < MOST_EVENTS) judged.set(record.id, { right: record.right, file });
    },
    fileEnds() {
      file += 1;
    },
    end: () => [...events].map(([id, event]) => ({ ...event, right: judged.get(id)?.right ?? null })),
  };
}
