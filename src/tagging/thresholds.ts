import type { ThresholdOrigin, WatchedItem } from './watch.js';

/** The on-threshold that is in force for a watched label, and where it comes from. */
export interface ThresholdInForce {
  label: string;
  /** The watched group that it is in, or null for a label that is watched by itself. */
  group: string | null;
  threshold: number;
  from: ThresholdOrigin;
}

/** The thresholds of watched items, label by label, in their order. */
export function thresholdsInForce(items: readonly WatchedItem[]): ThresholdInForce[] {
  return items.flatMap(({ group, members }) =>
    members.map(({ label, onThreshold, thresholdFrom }) => ({
      label: label.name,
      group,
      threshold: onThreshold,
      from: thresholdFrom,
    })),
  );
}
