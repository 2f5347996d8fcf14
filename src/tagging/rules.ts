import { z } from 'zod';
import { numberFrom } from '../common/rules.js';
import { labelName } from '../models/labels.js';
import { parseConfirm } from './confirm.js';
import type { LabelGroup } from './watch.js';

/** A score from which on a sound counts, or a part of one. */
export const SCORE = { min: 0, max: 1 } as const;
export const threshold = numberFrom(SCORE.min, SCORE.max);

/** How long a sound, or a gap in one, has to be to count. */
export const SPAN_SECONDS = { min: 0, max: 3600 } as const;
export const spanSeconds = numberFrom(SPAN_SECONDS.min, SPAN_SECONDS.max, 's');

/** `k/n`, without spaces once it has been read. */
export const confirmText = z
  .string('has to be text such as "2/3"')
  .overwrite((text) => {
    const confirm = parseConfirm(text);
    return confirm === null ? text : `${confirm.k}/${confirm.n}`;
  })
  .refine((text) => parseConfirm(text) !== null, 'has to be k/n, two whole numbers with 1 ≤ k ≤ n ≤ 100');

/** What a group may be to Home Assistant (its device classes of binary sensors); `sound` where nothing is said. */
export const DEVICE_CLASSES = ['sound', 'smoke', 'gas', 'carbon_monoxide', 'safety'] as const;
export const deviceClass = z.enum(DEVICE_CLASSES, `has to be one of ${DEVICE_CLASSES.join(', ')}`);
export type DeviceClass = z.infer<typeof deviceClass>;

/** Several labels that count as one thing. */
export const labelGroup = z.strictObject({
  name: labelName,
  labels: z.array(labelName).min(1),
  threshold: threshold.exactOptional(),
  confirm: confirmText.exactOptional(),
  min_duration_seconds: spanSeconds.exactOptional(),
  min_gap_seconds: spanSeconds.exactOptional(),
  device_class: deviceClass.exactOptional(),
} satisfies Record<keyof LabelGroup, z.ZodType>);

const watchedLabel = z.union(
  [labelName, labelGroup],
  'has to be the name of a label, or a group {"name","labels","threshold"?,"confirm"?,"min_duration_seconds"?,"min_gap_seconds"?,"device_class"?}',
);

/** What may start an event: labels, and groups of labels. `groupNamedTwice` is a rule of it too. */
export const watchedLabels = z.array(watchedLabel).max(10_000);

/** The form in which names of labels and groups are compared. */
export function fold(name: string): string {
  return name.trim().toLowerCase();
}

/** The name of a group that another one before it has as well; undefined where there is none. */
export function groupNamedTwice(labels: readonly (string | LabelGroup)[]): string | undefined {
  const seen = new Set<string>();
  for (const entry of labels) {
    if (typeof entry === 'string') continue;
    if (seen.has(fold(entry.name))) return entry.name;
    seen.add(fold(entry.name));
  }
  return undefined;
}
