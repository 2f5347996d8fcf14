import { z } from 'zod';
import { SoundpostError } from '../common/errors.js';
import { readSmallText } from './files.js';
import { parseJson } from './validate.js';

/** One of the classes a model names. */
export interface Label {
  /** Position in the model's output. */
  index: number;
  name: string;
  /** AudioSet's machine identifier, or null for a class of one's own. */
  mid: string | null;
  /** The on-threshold that the model's makers recommend, or null. */
  threshold: number | null;
}

const MAX_BYTES = 8 << 20;

/** A file of labels may say more about each (how it was evaluated, say); that is left alone. */
const labelFileSchema = z
  .array(
    z.looseObject({
      index: z.number().int().nonnegative(),
      name: z.string().trim().min(1).max(200),
      mid: z.string().min(1).max(100).nullable().default(null),
    }),
  )
  .min(1)
  .max(100_000);

const thresholdFileSchema = z.array(
  z.looseObject({
    index: z.number().int().nonnegative(),
    threshold: z.number().gt(0).max(1).nullable().default(null),
  }),
);

/** A label without the model's threshold: what a label set holds. */
export type LabelEntry = Pick<Label, 'index' | 'name' | 'mid'>;

/**
 * The labels of a file, sorted by index.
 * @throws SoundpostError `model_labels` unless the indexes run 0, 1, 2 … without a gap and no index, name or
 * MID comes twice.
 */
export async function readLabels(path: string): Promise<LabelEntry[]> {
  return labelsFrom(await readSmallText(path, MAX_BYTES, 'model_labels'), path);
}

/**
 * The labels of a file that a person has written: a file as `readLabels` takes it, a JSON list of names, or one name
 * a line.
 * @throws SoundpostError `model_labels`.
 */
export async function readLabelNames(path: string): Promise<LabelEntry[]> {
  const text = await readSmallText(path, MAX_BYTES, 'model_labels');
  if (!/^\uFEFF?\s*\[/.test(text)) {
    return numberLabels(text.replace(/^\uFEFF/, '').split('\n').map((line) => line.trim()).filter(Boolean), path);
  }
  const items = parseJson(z.array(z.unknown()), text, path, 'model_labels');
  if (!items.every((item) => typeof item === 'string')) return labelsFrom(text, path);
  return numberLabels(items, path);
}

/**
 * Labels from their names, in the order of the model's output.
 * @param where they come from, for messages.
 * @throws SoundpostError `model_labels`.
 */
export function numberLabels(names: readonly string[], where: string): LabelEntry[] {
  return labelsFrom(JSON.stringify(names.map((name, index) => ({ index, name, mid: null }))), where);
}

function labelsFrom(text: string, path: string): LabelEntry[] {
  const entries = parseJson(labelFileSchema, text, path, 'model_labels')
    .map(({ index, name, mid }) => ({ index, name, mid }))
    .sort((a, b) => a.index - b.index);
  const names = new Set<string>();
  const mids = new Set<string>();
  entries.forEach(({ index, name, mid }, position) => {
    if (index < position) throw unfit(path, `index ${index} comes twice`);
    if (index > position) throw unfit(path, `index ${position} is missing; they must run from 0 without a gap`);
    // Names differing only in case could not be told apart in a topic or on a screen.
    if (names.has(name.toLowerCase())) throw unfit(path, `the name "${name}" comes twice`);
    if (mid !== null && mids.has(mid)) throw unfit(path, `the mid "${mid}" comes twice`);
    names.add(name.toLowerCase());
    if (mid !== null) mids.add(mid);
  });
  return entries;
}

/**
 * The thresholds of a file by label index; labels it does not mention have none.
 * @throws SoundpostError `model_labels` when an index comes twice or names no label.
 */
export async function readThresholds(path: string, labelCount: number): Promise<Map<number, number>> {
  const text = await readSmallText(path, MAX_BYTES, 'model_labels');
  const seen = new Set<number>();
  const thresholds = new Map<number, number>();
  for (const { index, threshold } of parseJson(thresholdFileSchema, text, path, 'model_labels')) {
    if (seen.has(index)) throw unfit(path, `the threshold of index ${index} comes twice`);
    if (index >= labelCount) throw unfit(path, `index ${index} is not one of the model's ${labelCount} labels`);
    seen.add(index);
    if (threshold !== null) thresholds.set(index, threshold);
  }
  return thresholds;
}

function unfit(path: string, what: string): SoundpostError {
  return new SoundpostError('model_labels', `${path}: ${what}. Correct the file or install the model again.`);
}
