import type { InstalledModel } from '../../models/registry.js';
import type { LabelGroup, TaggingSettings } from '../../tagging/watch.js';
import type { KnownLabels } from '../list/known-labels.js';
import type { Target } from '../list/read-list.js';

/** A target that a model knows, at its place among those that it knows. */
export interface Column {
  /** The number of the target in the list. */
  target: number;
  name: string;
  mid: string | null;
  group: string | null;
  /** The scores of the model that it is the highest of. */
  indexes: readonly number[];
}

/** The targets that a model knows. */
export interface Columns {
  all: readonly Column[];
  /** The column of each target, or -1. */
  ofTarget: readonly number[];
}

/** What a model calls the targets of a list. */
export function columnsOf(targets: readonly Target[], known: KnownLabels): Columns {
  const all: Column[] = [];
  const ofTarget = targets.map((target, number) => {
    const names = [...target.texts, ...(target.mid === null ? [] : [target.mid]), target.name];
    const meaning = names.reduce<ReturnType<KnownLabels['find']>>(
      (found, name) => found ?? known.find(name),
      null,
    );
    if (meaning === null) return -1;
    return all.push({ target: number, ...meaning }) - 1;
  });
  return { all, ofTarget };
}

/** Writes the score of each column: the highest of its labels. */
export function columnScores(columns: readonly Column[], scores: Float32Array, into: Float32Array): void {
  for (let column = 0; column < columns.length; column += 1) {
    let highest = 0;
    for (const index of columns[column]!.indexes) highest = Math.max(highest, scores[index]!);
    into[column] = Math.max(into[column]!, highest);
  }
}

/** The groups of the settings, which lists may name like labels. */
export function groupsOf(settings: Pick<TaggingSettings, 'labels'>): LabelGroup[] {
  return settings.labels.flatMap((entry) => (typeof entry === 'string' ? [] : [entry]));
}

/**
 * The settings with which the service would watch the columns and nothing else. The name of an event's group, or else
 * of its label, is the name of its column.
 */
export function watching(
  settings: TaggingSettings,
  columns: readonly Column[],
  model: Pick<InstalledModel, 'labels'>,
): TaggingSettings {
  const groups = groupsOf(settings);
  const names = new Set(columns.flatMap(({ group, name }) => [group ?? name]).map(plain));
  for (const { indexes } of columns) for (const index of indexes) names.add(plain(model.labels[index]!.name));
  return {
    ...settings,
    labels: columns.map(({ name, group }) => groups.find((each) => each.name === group) ?? name),
    // Thresholds of what is not watched name labels that this model may not have.
    thresholds: Object.fromEntries(
      Object.entries(settings.thresholds).filter(
        ([name]) =>
          names.has(plain(name)) || columns.some(({ mid }) => mid !== null && plain(mid) === plain(name)),
      ),
    ),
  };
}

/** The same with one threshold for everything. */
export function withThreshold(settings: TaggingSettings, threshold: number): TaggingSettings {
  const labels = settings.labels.map((entry) =>
    typeof entry === 'string' ? entry : { ...entry, threshold },
  );
  return { ...settings, labels, threshold, thresholds: {} };
}

const plain = (name: string) => name.trim().toLowerCase();
