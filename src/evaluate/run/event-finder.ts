import type { RecordingHop } from '../../inference/recording-frames.js';
import { inMilliseconds } from '../../inference/new-frames.js';
import { hopOf } from '../../tagging/hop.js';
import type { Label } from '../../models/labels.js';
import type { TagEvent } from '../../tagging/tag-event.js';
import { createTagger } from '../../tagging/tagger.js';
import type { TaggingSettings } from '../../tagging/watch.js';
import type { LabelledSpan } from '../metrics/psds.js';
import type { Column } from './columns.js';

/** Finds the events of recordings as the service would, one recording after the other. */
export interface EventFinder {
  hop(hop: RecordingHop): void;
  /** The events of the recording, by column, in order and within it; the next hop begins another recording. */
  end(durationSeconds: number): LabelledSpan[];
}

/** @param settings as `watching` makes them of the same columns */
export function createEventFinder(
  labels: readonly Label[],
  columns: readonly Column[],
  settings: TaggingSettings,
): EventFinder {
  let ids = 0;
  const tagger = createTagger({ labels, settings, newId: () => String((ids += 1)) });
  const byName = new Map(columns.map(({ group, name }, index) => [nameOf(group, name), index]));
  let found: LabelledSpan[] = [];
  const collect = (events: readonly TagEvent[]) => {
    for (const { event_type: type, label, group, started_at: from, ended_at: to } of events) {
      if (type === 'started') continue;
      const column = byName.get(nameOf(group, label));
      if (column !== undefined) found.push({ label: column, onset: from / 1000, offset: to! / 1000 });
    }
  };
  return {
    hop({ fresh, scores, endSeconds }) {
      if (fresh === null) return;
      const endMs = endSeconds * 1000;
      collect(tagger.hop(hopOf(inMilliseconds(fresh, 0), scores, endMs), endMs));
    },
    end(durationSeconds) {
      collect(tagger.close(durationSeconds * 1000));
      // The last frame may reach beyond the end.
      const within = found
        .map(({ label, onset, offset }) => ({ label, onset, offset: Math.min(offset, durationSeconds) }))
        .filter(({ onset, offset }) => offset > onset)
        .sort((a, b) => a.onset - b.onset);
      found = [];
      return within;
    },
  };
}

const nameOf = (group: string | null, label: string) =>
  group === null ? `label ${label}` : `group ${group}`;
