import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

/*
 * The thresholds of AudioSet's 527 labels, from what was measured of some of them. The label set holds both, so that
 * nobody has to take the numbers on trust; docs/thresholds.md explains the rule and shows them side by side.
 */

const share = z.number().min(0).max(1);

const measuredSchema = z.strictObject({
  /** The lowest threshold with a precision of at least 0.8; 0.05 is the lowest that was tried. */
  threshold: share,
  /** Recordings of this sound. */
  positives: z.number().int().positive(),
  /** How many of them were recorded, and not made by a program. */
  real: z.number().int().nonnegative(),
  /** Share of the recordings that reach the threshold. */
  recall: share,
  recall_at_half: share,
  /** Null: nothing reached 0.5. */
  precision_at_half: share.nullable(),
});

/** What a network was measured to make of the recordings of one label. */
export type Measured = z.infer<typeof measuredSchema>;

const labelSetSchema = z.strictObject({
  default_threshold: share,
  how: z.string(),
  labels: z.array(
    z.strictObject({
      index: z.number().int(),
      mid: z.string(),
      name: z.string(),
      threshold: share.optional(),
      measured: measuredSchema.optional(),
    }),
  ),
});
type LabelSet = z.infer<typeof labelSetSchema>;

/** No label gets a lower threshold: below, a measured one is only where the search ended. */
const LEAST = 0.1;
/** So many found recordings weigh as much as the default. */
const EVEN = 10;
/** More found recordings than these count no further: those of one sound come from few collections. */
const MOST = 40;

/**
 * The threshold that a label is given: between the measured one, which is not taken for less than 0.1, and the
 * default, on the scale of log odds, in which the scores of a sigmoid are even. The measured one rests on the real
 * recordings that were found with it, n of them, at most 40, and weighs n / (n + 10). To two decimals.
 */
export function givenThreshold(measured: Measured, byDefault: number): number {
  const found = Math.min(MOST, measured.recall * measured.real);
  const weight = found / (found + EVEN);
  const odds = weight * logOdds(Math.max(LEAST, measured.threshold)) + (1 - weight) * logOdds(byDefault);
  return Math.round(100 / (1 + Math.exp(-odds))) / 100;
}

function logOdds(share: number): number {
  return Math.log(share / (1 - share));
}

const LABEL_SET = 'models/labels/audioset-527.json';
const DOCUMENT = 'docs/thresholds.md';
const TABLE = /(?<=<!-- table -->\n\n)[^]*?(?=\n<!-- end of the table -->)/;

/**
 * The files that hold the thresholds, by their path in the project, with the thresholds as they follow from what was
 * measured.
 * @param root the project's folder.
 */
export function thresholdDocuments(root: string): Record<string, string> {
  const read = (path: string) => readFileSync(join(root, path), 'utf8');
  const set = labelSetSchema.parse(JSON.parse(read(LABEL_SET)));
  const labels = set.labels.map(({ index, mid, name, measured }) => ({
    index,
    mid,
    name,
    ...(measured && { threshold: givenThreshold(measured, set.default_threshold), measured }),
  }));
  return {
    [LABEL_SET]: labelSetText({ ...set, labels }),
    // A function, since a "$" in a replacement has a meaning.
    [DOCUMENT]: read(DOCUMENT).replace(TABLE, () => table(labels)),
  };
}

/** A label a line, so that a change of one is seen as one. */
function labelSetText({ labels, ...head }: LabelSet): string {
  const lines = labels.map((label) => `  ${JSON.stringify(label).replace(/([,:])(?=["{\d])/g, '$1 ')}`);
  const first = Object.entries(head).map(([key, value]) => ` "${key}": ${JSON.stringify(value)},\n`);
  return `{\n${first.join('')} "labels": [\n${lines.join(',\n')}\n ]\n}\n`;
}

function table(labels: LabelSet['labels']): string {
  const percent = (value: number) => `${Math.round(value * 100)} %`;
  const rows = labels.flatMap(({ name, threshold, measured }) =>
    threshold === undefined || measured === undefined
      ? []
      : [
          [
            name,
            threshold.toFixed(2),
            measured.threshold.toFixed(3),
            percent(measured.recall),
            percent(measured.recall_at_half),
            String(measured.positives),
            String(measured.real),
          ],
        ],
  );
  const head = ['label', 'threshold', 'measured', 'found with it', 'found at 0.5', 'recordings', 'real'];
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]!.length)),
  );
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join(' | ')} |\n`;
  const rule = widths.map((width, column) =>
    column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  return [line(head), line(rule), ...rows.map(line)].join('');
}
