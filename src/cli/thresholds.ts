import { round } from '../common/round.js';
import type { ThresholdOrigin } from '../tagging/watch.js';

/** What people read for where a threshold comes from; docs/thresholds.md lists them in the order in which they win. */
export const originNames: Readonly<Record<ThresholdOrigin, string>> = {
  thresholds: 'tagging.thresholds',
  group: "group's own",
  threshold: 'tagging.threshold',
  model: 'model',
  label_set: 'label set',
  label_set_default: "label set's default",
  learnt: 'taught',
  default: 'default of all models',
};

/** A threshold and where it comes from. */
export interface FoundThreshold {
  readonly threshold: number;
  readonly from: ThresholdOrigin;
}

/** `0.12 to 0.55 for 71 labels (label set), 0.25 for 456 labels (label set's default)`. */
export function summariseThresholds(found: readonly FoundThreshold[]): string {
  const parts = Object.entries(originNames).flatMap(([origin, name]) => {
    const values = found.filter(({ from }) => from === origin).map(({ threshold }) => threshold);
    if (values.length === 0) return [];
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const range = least === most ? thresholdText(least) : `${thresholdText(least)} to ${thresholdText(most)}`;
    return [`${range} for ${values.length} label${values.length === 1 ? '' : 's'} (${name})`];
  });
  return parts.join(', ');
}

/** At most three decimals, without zeros at the end. */
export function thresholdText(threshold: number): string {
  return String(round(threshold, 3));
}
