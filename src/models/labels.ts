import { z } from 'zod';
import { SoundpostError } from '../common/errors.js';
import { readSmallText } from './files.js';
import { parseJson } from './validate.js';

/**
 * Who recommends a threshold: `model`, the file of thresholds that its manifest names; `label_set`, the label set for
 * this label; `label_set_default`, the label set for all labels that have none of their own; `learnt`: it was taught, and
 * this was found for it.
 */
export type Recommender = 'model' | 'label_set' | 'label_set_default' | 'learnt';

/** One of the classes a model names. */
export interface Label {
  /** Position in the model's output. */
  index: number;
  name: string;
  /** AudioSet's machine identifier, or null for a class of one's own. */
  mid: string | null;
  /** The on-threshold that is recommended, or null. */
  threshold: number | null;
  /** Who recommends it; null where nobody does. */
  thresholdFrom: Recommender | null;
}

/** AudioSet's “Silence”: what says that there is nothing, and is right of a quiet room. */
export function isSilence({ mid }: Pick<Label, 'mid'>): boolean {
  return mid === '/m/028v0c';
}

/** Whether it was taught, and is none of the model's own. */
export function isLearnt({ thresholdFrom }: Pick<Label, 'thresholdFrom'>): boolean {
  return thresholdFrom === 'learnt';
}

/** What a file says of thresholds. */
export interface Thresholds {
  /** By label index. */
  readonly own: ReadonlyMap<number, number>;
  /** For the labels that have none of their own, or null. */
  readonly rest: number | null;
}

const MAX_BYTES = 8 << 20;

const threshold = z.number().gt(0).max(1).nullable().default(null);

/** Name of a label, or of a group of them. It goes into topics and onto screens, and may come from anybody. */
export const labelName = z
  .string('has to be the name of a label')
  .trim()
  .min(1, 'has to be the name of a label')
  .max(200, 'has to have at most 200 characters')
  .regex(/^\P{Cc}*$/u, 'has to be one line of text');

/** A file of labels may say more about each (how it was evaluated, say); that is left alone. */
const labelEntries = z
  .array(
    z.looseObject({
      index: z.number().int().nonnegative(),
      name: labelName,
      mid: z.string().min(1).max(100).nullable().default(null),
    }),
  )
  .min(1)
  .max(100_000);

const thresholdEntries = z.array(z.looseObject({ index: z.number().int().nonnegative(), threshold }));

/** A label without a threshold: what says nothing of them holds. */
export type LabelEntry = Pick<Label, 'index' | 'name' | 'mid'>;

/**
 * The entries of a file, which is a list of them, or an object with that list as `labels` and beside it, if need be,
 * the threshold of all labels that have none of their own as `default_threshold`.
 */
function entriesOf<Entry>(
  entries: z.ZodType<Entry[]>,
  text: string,
  path: string,
): { entries: Entry[]; rest: number | null } {
  if (!/^\uFEFF?\s*\{/.test(text))
    return { entries: parseJson(entries, text, path, 'model_labels'), rest: null };
  const schema = z.looseObject({ default_threshold: threshold, labels: entries });
  const file = parseJson(schema, text, path, 'model_labels');
  return { entries: file.labels, rest: file.default_threshold };
}

/**
 * The labels of a file, sorted by index; its thresholds are left alone.
 * @throws SoundpostError `model_labels` unless the indexes run 0, 1, 2 … without a gap and no index, name or
 * MID comes twice.
 */
export async function readLabels(path: string): Promise<LabelEntry[]> {
  return labelsFrom(await readSmallText(path, MAX_BYTES, 'model_labels'), path);
}

/**
 * The labels of a label set with the thresholds that it recommends, sorted by index.
 * @throws SoundpostError `model_labels` as `readLabels` and `readThresholds`.
 */
export async function readLabelSet(path: string): Promise<Label[]> {
  const text = await readSmallText(path, MAX_BYTES, 'model_labels');
  const labels = withoutThresholds(labelsFrom(text, path));
  return withThresholds(labels, thresholdsFrom(text, path, labels.length), {
    own: 'label_set',
    rest: 'label_set_default',
  });
}

/**
 * The labels of a file that a person has written: a file as `readLabels` takes it, a JSON list of names, CSV (a file
 * that is called so) with a heading such as that of AudioSet, `index,mid,display_name`, or one name a line.
 * @throws SoundpostError `model_labels`.
 */
export async function readLabelNames(path: string): Promise<LabelEntry[]> {
  const text = await readSmallText(path, MAX_BYTES, 'model_labels');
  if (/\.csv$/i.test(path)) return labelsOfCsv(text.replace(/^\uFEFF/, ''), path);
  if (/^\uFEFF?\s*\{/.test(text)) return labelsFrom(text, path);
  if (!/^\uFEFF?\s*\[/.test(text)) {
    return numberLabels(
      text
        .replace(/^\uFEFF/, '')
        .split('\n')
        .map((line) => line.trim())
        .filter(Boolean),
      path,
    );
  }
  const items = parseJson(z.array(z.unknown()), text, path, 'model_labels');
  if (!items.every((item) => typeof item === 'string')) return labelsFrom(text, path);
  return numberLabels(items, path);
}

const NAME_COLUMNS = ['display_name', 'name', 'label', 'class', 'category'];

/** One column of names without a heading, or columns of which the heading says which one has the names. */
function labelsOfCsv(text: string, path: string): LabelEntry[] {
  const rows = text
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '')
    .map((line) => cellsOf(line, path));
  const heading = (rows[0] ?? []).map((cell) => cell.toLowerCase());
  const at = (names: readonly string[]) => heading.findIndex((cell) => names.includes(cell));
  const [name, index, mid] = [at(NAME_COLUMNS), at(['index']), at(['mid'])];
  if (name === -1) {
    if (rows.every((row) => row.length === 1)) return numberLabels(rows.flat(), path);
    throw unfit(path, `its heading has to name the column with the names (${NAME_COLUMNS.join(', ')})`);
  }
  const entries = rows.slice(1).map((row, position) => ({
    index: index === -1 ? position : Number(row[index]),
    name: row[name] ?? '',
    mid: mid === -1 || row[mid] === '' ? null : row[mid],
  }));
  return labelsFrom(JSON.stringify(entries), path);
}

/** A line of CSV (RFC 4180): cells with a comma in them are in double quotes. */
function cellsOf(line: string, path: string): string[] {
  const cells = line.match(/(?:^|,)(?:\s*"(?:[^"]|"")*"\s*|[^",]*)/g) ?? [];
  if (cells.join('').length !== line.length) {
    throw unfit(path, `this line is no CSV: ${line.slice(0, 80)}`);
  }
  return cells.map((cell) => {
    const bare = cell.replace(/^,/, '').trim();
    return bare.startsWith('"') ? bare.slice(1, -1).replaceAll('""', '"').trim() : bare;
  });
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
  const entries = entriesOf(labelEntries, text, path)
    .entries.map(({ index, name, mid }) => ({ index, name, mid }))
    .sort((a, b) => a.index - b.index);
  const names = new Set<string>();
  const mids = new Set<string>();
  entries.forEach(({ index, name, mid }, position) => {
    if (index < position) throw unfit(path, `index ${index} comes twice`);
    if (index > position)
      throw unfit(path, `index ${position} is missing; they must run from 0 without a gap`);
    // Names differing only in case could not be told apart in a topic or on a screen.
    if (names.has(name.toLowerCase())) throw unfit(path, `the name "${name}" comes twice`);
    if (mid !== null && mids.has(mid)) throw unfit(path, `the mid "${mid}" comes twice`);
    names.add(name.toLowerCase());
    if (mid !== null) mids.add(mid);
  });
  return entries;
}

/**
 * The thresholds of a file.
 * @throws SoundpostError `model_labels` when an index comes twice or names no label.
 */
export async function readThresholds(path: string, labelCount: number): Promise<Thresholds> {
  return thresholdsFrom(await readSmallText(path, MAX_BYTES, 'model_labels'), path, labelCount);
}

function thresholdsFrom(text: string, path: string, labelCount: number): Thresholds {
  const seen = new Set<number>();
  const own = new Map<number, number>();
  const { entries, rest } = entriesOf(thresholdEntries, text, path);
  for (const { index, threshold } of entries) {
    if (seen.has(index)) throw unfit(path, `the threshold of index ${index} comes twice`);
    if (index >= labelCount)
      throw unfit(path, `index ${index} is not one of the model's ${labelCount} labels`);
    seen.add(index);
    if (threshold !== null) own.set(index, threshold);
  }
  return { own, rest };
}

/** Labels for which nobody recommends a threshold. */
export function withoutThresholds(labels: readonly LabelEntry[]): Label[] {
  return labels.map(({ index, name, mid }) => ({ index, name, mid, threshold: null, thresholdFrom: null }));
}

/**
 * Labels with the thresholds of a file; where it says nothing of one, that keeps what it has.
 * @param from who recommends the thresholds of single labels, and those of the rest.
 */
export function withThresholds(
  labels: readonly Label[],
  { own, rest }: Thresholds,
  from: Readonly<Record<'own' | 'rest', Recommender>>,
): Label[] {
  return labels.map((label) => {
    const threshold = own.get(label.index);
    if (threshold !== undefined) return { ...label, threshold, thresholdFrom: from.own };
    return rest === null ? label : { ...label, threshold: rest, thresholdFrom: from.rest };
  });
}

function unfit(path: string, what: string): SoundpostError {
  return new SoundpostError('model_labels', `${path}: ${what}. Correct the file or install the model again.`);
}
