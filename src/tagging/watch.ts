import { SoundpostError } from '../common/errors.js';
import { guesses } from '../common/nearest.js';
import { isConfirm, parseConfirm, type Confirm } from './confirm.js';
import { isLearnt, type Label, type Recommender } from '../models/labels.js';
import { hereFrom } from './hop.js';
import {
  DEVICE_CLASSES,
  deviceClass,
  fold,
  groupNamedTwice,
  SPAN_SECONDS,
  spanSeconds,
  threshold,
  type DeviceClass,
} from './rules.js';
import { uniqueSlugs } from './slug.js';

/**
 * Several labels that count as one thing, as the configuration and `labels/set` write them. What is left out is as in
 * the settings for all.
 */
export interface LabelGroup {
  readonly name: string;
  /** Names or MIDs of labels. */
  readonly labels: readonly string[];
  /** On-threshold for all of its labels, in place of their own. */
  readonly threshold?: number;
  /** `k/n` */
  readonly confirm?: string;
  readonly min_duration_seconds?: number;
  readonly min_gap_seconds?: number;
  /** What it is to Home Assistant. */
  readonly device_class?: DeviceClass;
}

export interface TaggingSettings {
  /**
   * What may start an event: labels (by name in any case, or by MID) and groups of labels. Empty: every label
   * of the model.
   */
  labels: readonly (string | LabelGroup)[];
  /** On-threshold for all labels; null: the recommended one of each, else 0.5. */
  threshold: number | null;
  /** On-thresholds of single labels (by name or MID) and of groups (by name); they win over everything else. */
  thresholds: Readonly<Record<string, number>>;
  /** The off-threshold is this fraction of the on-threshold, 0 … 1. */
  offFraction: number;
  /** How many (k) of the last n hops must be over the on-threshold for an onset. */
  confirm: Confirm;
  /** Shorter sounds start no event. */
  minDurationSeconds: number;
  /** Shorter gaps do not end an event. */
  minGapSeconds: number;
}

/** The on-threshold where neither the settings nor the model nor its label set name one. */
export const defaultThreshold = 0.5;

/**
 * Where the on-threshold in force comes from: `thresholds` of the settings, the `group`'s own, `threshold` of the
 * settings, whoever recommends it, or the `default` of all models.
 */
export type ThresholdOrigin = 'thresholds' | 'group' | 'threshold' | Recommender | 'default';

/** A long list of unknown names, or an endless one, must not keep the event loop busy with guessing. */
const suggestionLimit = 20;

/** One label of a watched item, with the thresholds that hold for it there. */
export interface Member {
  readonly label: Label;
  readonly onThreshold: number;
  readonly offThreshold: number;
  /** From which value on frames of the role `location` say that it is there. */
  readonly here: number;
  readonly thresholdFrom: ThresholdOrigin;
}

/** Something that is on or off: a watched label or a watched group. */
export interface WatchedItem {
  /** The same before and after a change of settings or of the model, as long as the same thing is meant. */
  readonly key: string;
  /** The label's name as the model spells it, or the group's. */
  readonly name: string;
  /** Its level of the topic `B/label/<slug>`; unique among the watched items. */
  readonly slug: string;
  /** The group's name, or null for a single label. */
  readonly group: string | null;
  /** At least one. A single label has several only where the model has several labels of that name. */
  readonly members: readonly Member[];
  readonly confirm: Confirm;
  readonly minDurationMs: number;
  readonly minGapMs: number;
}

/** A name in the settings that the model does not have. */
export interface UnknownLabel {
  name: string;
  /** Up to three names of the model that come near, nearest first; only for the first names of a long list. */
  suggestions: string[];
}

/** A label or a group that the settings watch, whether the model knows it or not. */
export type NamedItem = Pick<WatchedItem, 'name' | 'slug' | 'group'> & {
  readonly known: boolean;
  /** What the settings say of a group; null where they say nothing. */
  readonly deviceClass: DeviceClass | null;
};

export interface Watched {
  items: readonly WatchedItem[];
  /** The items, and between them what the settings watch and the model does not know, in the order of the settings. */
  named: readonly NamedItem[];
  unknown: readonly UnknownLabel[];
}

/**
 * Works out what the settings mean for a model. Names the model does not know are left out and reported in
 * `unknown` (after a swap to another model they may be known again); a group without a single known label is
 * left out as well. Both keep their slugs, so that no other item has another slug with another model.
 * Thresholds, the first that is given: `thresholds` of the group, the group's own,
 * `thresholds` of the label, `threshold` (but for a label that was taught), the recommended one (what was found when it was
 * taught, the model's, its label set's), 0.5.
 *
 * Throws SoundpostError `invalid_tagging` where the settings contradict themselves.
 */
export function resolveWatched(labels: readonly Label[], settings: TaggingSettings): Watched {
  checkSettings(settings);
  const index = indexLabels(labels);
  const unknownNames = new Set<string>();
  const find = (name: string): readonly Label[] => {
    const found = index.get(fold(name));
    if (!found) unknownNames.add(name);
    return found ?? [];
  };

  const groupNames = new Set(settings.labels.flatMap((e) => (typeof e === 'string' ? [] : [fold(e.name)])));
  const labelThresholds = new Map<Label, number>();
  const groupThresholds = new Map<string, number>();
  for (const [name, threshold] of Object.entries(settings.thresholds)) {
    if (groupNames.has(fold(name))) groupThresholds.set(fold(name), threshold);
    else for (const label of find(name)) labelThresholds.set(label, threshold);
  }
  const memberOf = (label: Label, group: LabelGroup | null): Member => {
    const [onThreshold, thresholdFrom] = firstGiven([
      [group ? groupThresholds.get(fold(group.name)) : null, 'thresholds'],
      [group?.threshold, 'group'],
      [labelThresholds.get(label), 'thresholds'],
      // What holds for the labels of a model says nothing of one that was taught.
      ...(isLearnt(label) ? [recommended(label)] : []),
      [settings.threshold, 'threshold'],
      recommended(label),
    ]);
    const offThreshold = onThreshold * settings.offFraction;
    return { label, onThreshold, offThreshold, here: hereFrom(onThreshold), thresholdFrom };
  };

  const entries = settings.labels.length > 0 ? settings.labels : labels.map((label) => label.name);
  const items = new Map<
    string,
    Pick<WatchedItem, 'key' | 'name' | 'group'> & {
      members: readonly Member[] | null;
      timing: Timing;
      deviceClass: DeviceClass | null;
    }
  >();
  for (const entry of entries) {
    const group = typeof entry === 'string' ? null : entry;
    const found = group
      ? new Set(group.labels.flatMap(find))
      : new Set(typeof entry === 'string' ? find(entry) : []);
    const [first] = found;
    const name = typeof entry === 'string' ? (first?.name ?? entry.trim()) : entry.name;
    const key = `${group ? 'group' : 'label'}:${fold(name)}`;
    const timing = timingOf(group, settings);
    const item = { key, name, group: group?.name ?? null, timing, deviceClass: group?.device_class ?? null };
    if (!first) {
      if (!items.has(key)) items.set(key, { ...item, members: null });
      continue;
    }
    items.set(key, { ...item, members: [...found].map((label) => memberOf(label, group)) });
  }
  const slugs = uniqueSlugs([...items.values()].map((item) => item.name));
  const named = [...items.values()].map((item, position) => ({ ...item, slug: slugs[position]! }));
  const names = labels.map((label) => label.name);
  return {
    items: named.flatMap(({ key, name, slug, group, members, timing }) =>
      members === null ? [] : [{ key, name, slug, group, ...timing, members }],
    ),
    named: named.map(({ name, slug, group, members, deviceClass }) => ({
      name,
      slug,
      group,
      known: members !== null,
      deviceClass,
    })),
    unknown: [...unknownNames].map((name, position) => ({
      name,
      suggestions: position < suggestionLimit ? guesses(name, names) : [],
    })),
  };
}

type Timing = Pick<WatchedItem, 'confirm' | 'minDurationMs' | 'minGapMs'>;

function timingOf(group: LabelGroup | null, settings: TaggingSettings): Timing {
  const own = group?.confirm === undefined ? null : parseConfirm(group.confirm);
  return {
    confirm: own ?? settings.confirm,
    minDurationMs: 1000 * (group?.min_duration_seconds ?? settings.minDurationSeconds),
    minGapMs: 1000 * (group?.min_gap_seconds ?? settings.minGapSeconds),
  };
}

type Candidate = readonly [threshold: number | null | undefined, from: ThresholdOrigin];

/** The first that is given. */
function firstGiven(candidates: readonly Candidate[]): readonly [number, ThresholdOrigin] {
  for (const [threshold, from] of candidates) if (threshold != null) return [threshold, from];
  return [defaultThreshold, 'default'];
}

const recommended = (label: Label): Candidate => [label.threshold, label.thresholdFrom ?? 'model'];

/** The on-threshold of a label where the settings name none, and where it comes from. */
export function recommendedThreshold(label: Label): { threshold: number; from: ThresholdOrigin } {
  const [threshold, from] = firstGiven([recommended(label)]);
  return { threshold, from };
}

/** Labels by folded name and by folded MID; a name that occurs twice gives both. */
function indexLabels(labels: readonly Label[]): Map<string, Label[]> {
  const index = new Map<string, Label[]>();
  for (const label of labels) {
    for (const key of new Set([label.name, label.mid ?? label.name].map(fold))) {
      const known = index.get(key);
      if (known) known.push(label);
      else index.set(key, [label]);
    }
  }
  return index;
}

function checkSettings(settings: TaggingSettings): void {
  const fail = (what: string): never => {
    throw new SoundpostError('invalid_tagging', what);
  };
  const checkThreshold = (value: number, of: string) => {
    if (!threshold.safeParse(value).success) {
      fail(`The threshold ${of} is ${value}; it must be from 0 to 1.`);
    }
  };
  const checkSeconds = (value: number, what: string) => {
    if (!spanSeconds.safeParse(value).success) {
      fail(`${what} is ${value} s; it must be from ${SPAN_SECONDS.min} to ${SPAN_SECONDS.max}.`);
    }
  };
  const { confirm, offFraction } = settings;
  if (settings.threshold !== null) checkThreshold(settings.threshold, 'of all labels');
  for (const [name, value] of Object.entries(settings.thresholds)) checkThreshold(value, `of "${name}"`);
  if (!threshold.safeParse(offFraction).success) {
    fail(`The off-threshold's fraction is ${offFraction}; it must be from 0 to 1.`);
  }
  if (!isConfirm(confirm)) {
    fail(
      `Confirmation by ${confirm.k} of ${confirm.n} hops is not possible; say k of n with 1 ≤ k ≤ n ≤ 100.`,
    );
  }
  checkSeconds(settings.minGapSeconds, 'The minimum gap');
  checkSeconds(settings.minDurationSeconds, 'The minimum duration');
  const twice = groupNamedTwice(settings.labels);
  if (twice !== undefined) fail(`Two groups are named "${twice}"; rename one of them.`);
  for (const entry of settings.labels) {
    if (typeof entry === 'string') continue;
    if (entry.name.trim() === '') fail('A group of labels has no name; give it one.');
    const of = `of the group "${entry.name}"`;
    if (entry.threshold !== undefined) checkThreshold(entry.threshold, of);
    if (entry.confirm !== undefined && parseConfirm(entry.confirm) === null) {
      fail(`The confirmation ${of} is "${entry.confirm}"; say k/n with 1 ≤ k ≤ n ≤ 100.`);
    }
    checkSeconds(entry.min_duration_seconds ?? 0, `The minimum duration ${of}`);
    checkSeconds(entry.min_gap_seconds ?? 0, `The minimum gap ${of}`);
    if (entry.device_class !== undefined && !deviceClass.safeParse(entry.device_class).success) {
      fail(`The device class ${of} is "${entry.device_class}"; say one of ${DEVICE_CLASSES.join(', ')}.`);
    }
  }
}
