import { groupBy } from '../../common/group-by.js';
import type { InferenceEngine } from '../../inference/engine.js';
import type { TaggingSettings } from '../../tagging/watch.js';
import type { ListedEvent, ListedRecording } from '../list/read-list.js';
import { averageOf, countMatches, fMeasure, type EventCounts } from '../metrics/event-f1.js';
import { createPsdsCounter, PSDS1, PSDS2, type LabelledSpan } from '../metrics/psds.js';
import type { EventsReport, LabelReport } from '../report/report.js';
import { watching, withThreshold, type Columns } from './columns.js';
import { createEventFinder } from './event-finder.js';
import { hearEvents } from './hear.js';

/** 0.01, 0.03 … 0.99: the thresholds of the baseline of DCASE task 4. */
export const PSDS_THRESHOLDS: readonly number[] = Array.from(
  { length: 50 },
  (_, index) => (2 * index + 1) / 100,
);

/** Hears recordings as the service would and counts what it finds, with nothing of them kept. */
export interface EventScores {
  /** @param events those that lie within the recording */
  hear(recording: ListedRecording, events: readonly ListedEvent[], seconds: number): Promise<void>;
  /** Null where no event of a label that the model knows was heard. */
  report(): EventsReport | null;
  /** By column; null for a label of which no event is left. */
  labels(): LabelReport['events'][];
}

export function createEventScores(
  engine: InferenceEngine,
  columns: Columns,
  options: {
    settings: TaggingSettings;
    rateHz: number;
    windowSeconds: number | null;
    signal: AbortSignal;
  },
): EventScores {
  const { model } = engine;
  const settings = watching(options.settings, columns.all, model);
  const finders = [settings, ...PSDS_THRESHOLDS.map((each) => withThreshold(settings, each))].map((each) =>
    createEventFinder(model.labels, columns.all, each),
  );
  const labels = columns.all.length;
  const counters = [PSDS1, PSDS2].map((each) => createPsdsCounter(labels, PSDS_THRESHOLDS.length, each));
  const counts = columns.all.map((): EventCounts => ({ reference: 0, detected: 0, correct: 0 }));
  let tooShort = 0;

  function countEvents(events: readonly LabelledSpan[], detected: readonly LabelledSpan[]): void {
    const found = groupBy(detected, ({ label }) => label);
    for (const [label, own] of groupBy(events, ({ label }) => label)) {
      const { reference, correct } = counts[label]!;
      counts[label]!.reference = reference + own.length;
      counts[label]!.correct = correct + countMatches(own, found.get(label) ?? []);
    }
    for (const [label, own] of found) counts[label]!.detected += own.length;
  }

  return {
    async hear(recording, events, seconds) {
      const known = events.flatMap(({ target, onset, offset }): LabelledSpan[] => {
        const label = columns.ofTarget[target]!;
        return label === -1 ? [] : [{ label, onset, offset }];
      });
      const heard = await hearEvents(engine, recording, finders, options);
      if (heard === null) tooShort += 1;
      const [inForce = [], ...points] = heard ?? [];
      countEvents(known, inForce);
      for (const counter of counters) {
        counter.addRecording(known, seconds);
        for (const [point, detected] of points.entries()) {
          counter.addDetections(point, detected, known, seconds);
        }
      }
    },
    report() {
      const left = counts.filter(({ reference }) => reference > 0);
      if (left.length === 0) return null;
      const { f1, precision, recall, meanF1 } = averageOf(left);
      const [psds1, psds2] = counters.map((counter) => counter.score());
      return { f1, precision, recall, mean_f1: meanF1, psds1: psds1!, psds2: psds2!, too_short: tooShort };
    },
    labels: () => counts.map((each) => (each.reference === 0 ? null : { ...each, ...fMeasure(each) })),
  };
}
