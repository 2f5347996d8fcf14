import { didYouMean } from '../../common/nearest.js';
import type { Label } from '../../models/labels.js';
import { fold } from '../../tagging/rules.js';
import { slugOf } from '../../tagging/slug.js';
import type { LabelGroup } from '../../tagging/watch.js';

/** What a name in a list means for a model. */
export interface Meaning {
  /** As the model or the configuration spells it. */
  name: string;
  mid: string | null;
  /** The name of the group of the configuration that it is; null for a label. */
  group: string | null;
  /** Where the model has it among its scores: one, or for a group those of its labels that the model has. */
  indexes: readonly number[];
}

/** The labels of a model by the names that lists call them. */
export interface KnownLabels {
  /** By the name of a group of the configuration, by name in any case, by MID, or by slug; null where there is none. */
  find(text: string): Meaning | null;
  /** ` Did you mean A or B?`, or nothing. */
  suggestion(text: string): string;
}

/** Blanks around commas differ from list to list. */
const plain = (text: string) => fold(text).replace(/\s*,\s*/g, ', ');

/** @param groups of `tagging.labels` */
export function createKnownLabels(labels: readonly Label[], groups: readonly LabelGroup[]): KnownLabels {
  const byName = new Map<string, Label>();
  const bySlug = new Map<string, Label>();
  for (const label of labels) {
    byName.set(plain(label.name), label);
    if (label.mid !== null) byName.set(plain(label.mid), label);
    const slug = slugOf(label.name);
    if (!bySlug.has(slug)) bySlug.set(slug, label);
  }
  const byGroup = new Map<string, Meaning>();
  for (const group of groups) {
    const members = group.labels.flatMap((name) => byName.get(plain(name)) ?? []);
    if (members.length === 0) continue;
    const indexes = [...new Set(members.map(({ index }) => index))];
    byGroup.set(plain(group.name), { name: group.name, mid: null, group: group.name, indexes });
  }
  const names = [...groups.map(({ name }) => name), ...labels.map(({ name }) => name)];
  return {
    find(text) {
      const key = plain(text);
      const group = byGroup.get(key);
      if (group !== undefined) return group;
      // A slug has neither blanks nor capitals; "Running_water" is meant as one all the same.
      const label = byName.get(key) ?? bySlug.get(slugOf(text));
      if (label === undefined) return null;
      return { name: label.name, mid: label.mid, group: null, indexes: [label.index] };
    },
    suggestion: (text) => didYouMean(text.replaceAll('_', ' '), names),
  };
}

/**
 * The single names in a cell: separated by `;` or `|`, or by commas, some of which may belong to the names ("Baby cry,
 * infant cry"). Of the commas those separate that leave the longest names that are known.
 */
export function splitLabels(cell: string, isKnown: (name: string) => boolean): string[] {
  return cell.split(/[;|]/).flatMap((part) => {
    const whole = part.trim();
    if (whole === '') return [];
    if (!whole.includes(',') || isKnown(whole)) return [whole];
    const pieces = whole
      .split(',')
      .map((piece) => piece.trim())
      .filter((piece) => piece !== '');
    const names: string[] = [];
    for (let at = 0; at < pieces.length;) {
      let end = Math.min(pieces.length, at + MOST_PARTS_OF_A_NAME);
      while (end > at + 1 && !isKnown(pieces.slice(at, end).join(', '))) end -= 1;
      names.push(pieces.slice(at, end).join(', '));
      at = end;
    }
    return names;
  });
}

/** AudioSet has names of four parts. */
const MOST_PARTS_OF_A_NAME = 8;
