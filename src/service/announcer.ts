import { randomUUID } from 'node:crypto';
import type { Logger } from '../common/log.js';
import type { WindowResult } from '../inference/window-report.js';
import type { FiringTally } from '../history/firing-tally.js';
import type { WatchedScore } from '../history/score-minutes.js';
import { isLearnt, isSilence, type Label } from '../models/labels.js';
import type { InstalledModel } from '../models/registry.js';
import type { SourceLink } from '../mqtt/source-link.js';
import { createLoudWatch, LOUD_NOISE, LOUD_NOISE_SLUG, type LoudBlock } from '../tagging/loud.js';
import { withLearnt, withLearntLabels, type Learnt } from '../tagging/learnt.js';
import { slugOf, uniqueSlugs } from '../tagging/slug.js';
import type { DeviceClass } from '../tagging/rules.js';
import type { TagEvent } from '../tagging/tag-event.js';
import { createTagger, type Tagger } from '../tagging/tagger.js';
import { hopOf, hopScores } from '../tagging/hop.js';
import { topTags, type Tag } from '../tagging/top.js';
import { thresholdsInForce, type ThresholdInForce } from '../tagging/thresholds.js';
import { resolveWatched, type TaggingSettings, type Watched, type WatchedItem } from '../tagging/watch.js';
import type { LatencyRecorder } from '../telemetry/latency.js';
import type { SourceLabels } from './label-memory.js';
import { createLabelTopics } from './label-topics.js';
import { labelNames } from './remembered.js';
import { createSpellings, type Spellings } from './spellings.js';
import type { TellEvent } from './event-teller.js';
import { lastPayload, tagsPayload } from './tag-payloads.js';

/** Turns the answered windows of one source into its tags, labels and events. */
export interface Announcer {
  /**
   * Another model answers from now on: what was on ends, and the watched labels are looked up in its labels and in those
   * that were taught.
   */
  modelChanged(model: InstalledModel, learnt?: readonly Learnt[]): void;
  /**
   * Other sounds have been taught to the model at work; in the order in which they stand behind its labels. Returns
   * whether anything is other than it was.
   */
  learntChanged(learnt: readonly Learnt[]): boolean;
  /** `levelDbfs` is that of the sound since the last window. */
  result(result: WindowResult, levelDbfs: number | null): void;
  /** A short stretch of the sound was so loud; see `LoudWatch`. */
  loudness(block: LoudBlock): void;
  /** Ends everything that is on, with its OFF: on stop, pause, and a break in the sound. */
  close(): void;
  /** Ends what the network has heard: it is gone, or another one comes. */
  closeHeard(): void;
  /** Whether the network hears anything that is watched; silence is nothing. */
  isOn(): boolean;
  /** What the newest result says of what is watched: the same objects each time. */
  watchedScores(): readonly WatchedScore[];
  /**
   * From which score a label of the model at work counts, the lowest of those in force, whether it is watched or not.
   * The same function as long as nothing of it changes.
   */
  thresholdOf(): ThresholdOf;
  /**
   * Without sound nothing is on and nothing begins, whatever the network makes of digital silence; `B/tags` go on.
   */
  setAudible(audible: boolean): void;
  /** Throws SoundpostError `invalid_tagging` where the settings contradict themselves; then nothing has changed. */
  update(settings: TaggingSettings): void;
  /**
   * What settings would mean for the model at work, and throws what `update` would throw; null as long as there
   * is no model.
   */
  preview(settings: TaggingSettings): Watched | null;
  /**
   * The labels and groups that the settings name and the model knows, and those that were taught; of the model's none
   * where every label is watched.
   */
  watched(): { name: string; slug: string; group: boolean }[];
  /** The thresholds that are in force for those. */
  thresholds(): ThresholdInForce[];
  /**
   * The labels and groups that the settings name, those kept settings that are not in effect now, and what was taught. `known`: the
   * model knows it, and it is watched. None as long as there is no model.
   */
  named(): NamedLabel[];
  /** Whether the settings name what is watched; else every label is. */
  namesLabels(): boolean;
  /** How the current model or the settings spell this label (name in any case, or MID) or group; null: unknown. */
  nameOf(label: string): string | null;
}

/** A label or a group that the settings name, as it is shown. */
export interface NamedLabel {
  name: string;
  slug: string;
  known: boolean;
  deviceClass: DeviceClass | null;
  /** What `threshold/set` knows by this name; null: it has no threshold, or none that is in effect. */
  threshold: 'label' | 'group' | null;
}

/** Undefined for a label that the model does not have. */
export type ThresholdOf = (label: Label) => number | undefined;

export function createAnnouncer(options: {
  link: SourceLink;
  tell: TellEvent;
  settings: TaggingSettings;
  /** Labels that are kept for a later start and not in effect in this one, unless others are chosen. */
  keptLabels?: TaggingSettings['labels'];
  /** Models whose spelling of labels is taken for those that the model at work does not know. */
  installed?: readonly Pick<InstalledModel, 'labels'>[];
  /** The names of all that was taught, whether the model at work can use it or not; none where it is left out. */
  taught?: () => readonly string[];
  topK: number;
  /** Null: loud noises are not watched. */
  loud: { aboveBackgroundDb: number; minDurationSeconds: number; minGapSeconds: number } | null;
  memory: Pick<SourceLabels, 'slugs' | 'isIncomplete' | 'add'>;
  /** Counts what other thresholds would have told; null: nothing does. */
  tally?: Pick<FiringTally, 'modelChanged' | 'update' | 'hop' | 'close'> | null;
  latency: LatencyRecorder;
  /** ` at <source>` where there are several, for people. */
  where: string;
  log: Logger;
}): Announcer {
  const { link, latency, log, topK, memory, where, installed = [], tally = null, taught } = options;
  let { settings, keptLabels = [] } = options;
  let model: InstalledModel | null = null;
  let learnt: readonly Learnt[] = [];
  /** Those of the model, and behind them what was taught. */
  let labels: readonly Label[] = [];
  let tagger: Tagger | null = null;
  let audible = true;
  /** Of the newest window. */
  let levelDbfs: number | null = null;
  /** What the newest hop held, [labels], and the best of it. */
  let hopBuffer = new Float32Array(0);
  let now: readonly Tag[] = [];
  /** What is watched, with the newest score of each; made anew only where that changes. */
  const scored = createScored();
  let thresholdOf: ThresholdOf | null = null;
  const spellings = createSpellings();
  for (const each of installed) spellings.learn(each);
  const loudWatch = options.loud === null ? null : createLoudWatch({ ...options.loud, newId: randomUUID });
  const slugsOn = () => {
    const slugs = new Set(tagger?.on().map(({ slug }) => slug));
    if (loudWatch?.on() === true) slugs.add(LOUD_NOISE_SLUG);
    return slugs;
  };
  const topics = createLabelTopics({ link, memory, installed, on: slugsOn });

  const announce = (events: readonly TagEvent[], heardBy: string, dbfs: number | null) => {
    for (const event of events) {
      // First, so that whoever sees it go on knows as what.
      topics.tellLast(event.slug, lastPayload(event));
      topics.show(event.slug, event.event_type === 'started' ? 'ON' : 'OFF');
      options.tell(event, heardBy, dbfs);
      const name = event.group ?? event.label;
      if (event.event_type === 'started') {
        log.info({}, `Heard ${name}${where} (score ${event.score.toFixed(2)})`);
      } else log.info({}, `${name} ended${where} after ${(event.duration_s ?? 0).toFixed(1)} s`);
    }
  };
  const announceHeard = (events: readonly TagEvent[]) =>
    announce(events, model?.manifest.id ?? '', levelDbfs);

  const closeHeard = () => {
    tally?.close();
    if (tagger !== null) announceHeard(tagger.close(Date.now()));
  };

  const close = () => {
    closeHeard();
    if (loudWatch !== null) announce(loudWatch.close(Date.now()), HEARD_BY_LEVEL, null);
  };

  /** Whether the settings name what is watched, and a model is there to watch it. */
  const watching = () => namedItems(tagger, settings);

  /** Subscribers see the state of every label that is named in the settings, even before it was ever heard. */
  const showWatched = () => {
    const on = slugsOn();
    for (const { slug } of watching().items) topics.show(slug, on.has(slug) ? 'ON' : 'OFF');
    if (loudWatch !== null) topics.show(LOUD_NOISE_SLUG, on.has(LOUD_NOISE_SLUG) ? 'ON' : 'OFF');
  };

  /** What was taught is watched like what the settings name. */
  const effective = (of: TaggingSettings) => withLearnt(of, learnt);

  /** The tagger goes on with these settings and these labels. */
  function retag(): void {
    if (tagger === null) return;
    const before = tagger.items;
    const events = tagger.update(effective(settings), Date.now(), labels);
    tally?.update(tagger.items, settings.offFraction);
    thresholdOf = null;
    announceHeard(events);
    topics.retireAllBut(before, tagger.items);
    warnOfUnknown(tagger.unknown, model?.manifest.id ?? 'the model', log);
    showWatched();
  }

  function take(next: InstalledModel, nextLearnt: readonly Learnt[]): void {
    learnt = nextLearnt;
    labels = withLearntLabels(next.labels, learnt);
    hopBuffer = new Float32Array(labels.length);
    now = [];
  }

  return {
    modelChanged(next, nextLearnt = []) {
      closeHeard();
      const before = tagger?.items ?? [];
      model = next;
      take(next, nextLearnt);
      spellings.learn(next);
      tagger = createTagger({ labels, settings: effective(settings), newId: randomUUID });
      tally?.modelChanged(next, tagger.items, settings.offFraction);
      thresholdOf = null;
      topics.retireAllBut(before, tagger.items);
      warnOfUnknown(tagger.unknown, next.manifest.id, log);
      showWatched();
    },
    learntChanged(next) {
      if (model === null || isSame(next, learnt)) return false;
      take(model, next);
      retag();
      return true;
    },
    result(result, nextLevelDbfs) {
      if (tagger === null) return;
      levelDbfs = nextLevelDbfs;
      const { fresh, scores, endMs } = result;
      const hop = fresh === null ? null : hopOf(fresh, scores, endMs);
      if (hop !== null) {
        hopScores(hop, hopBuffer);
        scored.take(tagger.items, hopBuffer);
        now = topTags(hopBuffer, labels, topK).filter(({ score }) => score > 0);
      }
      // A recording that plays as fast as it can is ahead of the clock.
      const decidedMs = Math.max(Date.now(), result.endMs);
      const events = audible && hop !== null ? tagger.hop(hop, decidedMs) : [];
      link.publish('tags', tagsPayload(result, labels, now, topK, levelDbfs));
      announceHeard(events);
      // After what is waited for.
      if (audible && hop !== null) tally?.hop(hop);
      // Silence that was not looked at would make the network look fast.
      if (!result.idle) recordLatency(latency, result);
    },
    loudness(block) {
      if (loudWatch === null || !audible) return;
      const events = loudWatch.block(block, Math.max(Date.now(), block.endMs));
      if (events.length > 0) announce(events, HEARD_BY_LEVEL, block.dbfs);
    },
    close,
    closeHeard,
    watchedScores: () => scored.items,
    thresholdOf: () => (thresholdOf ??= lowestThresholds(labels, settings)),
    isOn: () => tagger !== null && tagger.on().some((item) => !isSilence(item)),
    setAudible(next) {
      audible = next;
      if (!audible) close();
    },
    update(next) {
      // The model that is still to come is made for these settings: what contradicts itself is refused now.
      resolveWatched(labels, effective(next));
      if (next.labels !== settings.labels) keptLabels = [];
      settings = next;
      retag();
    },
    preview(next) {
      const meaning = resolveWatched(labels, next);
      return model === null ? null : meaning;
    },
    watched: () => watching().items.map(({ name, slug, group }) => ({ name, slug, group: group !== null })),
    thresholds: () => thresholdsInForce(watching().items),
    namesLabels: () => settings.labels.length > 0,
    named() {
      if (tagger === null) return [];
      const named = namedLabels(watching().named, keptLabels, taught?.() ?? [], spellings);
      return loudWatch === null ? named : [...named, LOUD_ITEM];
    },
    nameOf(label) {
      const wanted = label.toLowerCase();
      const group = tagger?.items.find((item) => item.group?.toLowerCase() === wanted);
      const known = labels.find(({ name, mid }) => name.toLowerCase() === wanted || mid === label);
      return group?.name ?? known?.name ?? null;
    },
  };
}

/**
 * What the settings name and what was taught; where the settings name nothing, everything is watched, and named is only
 * what was taught.
 */
function namedItems(tagger: Tagger | null, { labels }: TaggingSettings): Pick<Tagger, 'items' | 'named'> {
  if (tagger === null) return { items: [], named: [] };
  if (labels.length > 0) return tagger;
  const items = tagger.items.filter(({ members }) => members.some(({ label }) => isLearnt(label)));
  return { items, named: items.map((item) => ({ ...item, known: true, deviceClass: null })) };
}

function isSame(one: readonly Learnt[], other: readonly Learnt[]): boolean {
  return (
    one.length === other.length &&
    one.every(({ name, threshold }, n) => name === other[n]!.name && threshold === other[n]!.threshold)
  );
}

/** Of each label, the lowest threshold that holds for it: by itself, and in the watched groups that it is in. */
function lowestThresholds(labels: readonly Label[], settings: TaggingSettings): ThresholdOf {
  const lowest = new Map<Label, number>();
  // Without a list, every label is watched: what would hold for it if it were.
  for (const each of [settings, { ...settings, labels: [] }]) {
    for (const { members } of resolveWatched(labels, each).items) {
      for (const { label, onThreshold } of members) {
        lowest.set(label, Math.min(onThreshold, lowest.get(label) ?? 1));
      }
    }
  }
  return (label) => lowest.get(label);
}

/** The scores of watched items, in objects that stay the same as long as the items do. */
function createScored() {
  let items: readonly WatchedItem[] = [];
  let scores: { slug: string; name: string; score: number }[] = [];
  return {
    get items(): readonly WatchedScore[] {
      return scores;
    },
    /** @param hop Float32Array, [labels] */
    take(watched: readonly WatchedItem[], hop: Float32Array): void {
      if (watched !== items) {
        items = watched;
        scores = items.map(({ slug, name }) => ({ slug, name, score: 0 }));
      }
      for (let at = 0; at < scores.length; at += 1) {
        let highest = 0;
        for (const { label } of items[at]!.members) highest = Math.max(highest, hop[label.index] ?? 0);
        scores[at]!.score = highest;
      }
    },
  };
}

/** In place of the model's id in events that no network has heard. */
const HEARD_BY_LEVEL = 'level';
const LOUD_ITEM = {
  name: LOUD_NOISE,
  slug: LOUD_NOISE_SLUG,
  known: true,
  deviceClass: null,
  threshold: null,
};

/** What Home Assistant is to know of: see `Announcer.named`. What the model knows comes before what is only kept. */
function namedLabels(
  inEffect: Tagger['named'],
  keptLabels: TaggingSettings['labels'],
  taught: readonly string[],
  spellings: Spellings,
): NamedLabel[] {
  const named = inEffect.map(({ name, slug, group, known, deviceClass }): NamedLabel => {
    if (group !== null) return { name, slug, known, deviceClass, threshold: 'group' };
    const label = { known, deviceClass, threshold: 'label' } as const;
    if (known) return { name, slug, ...label };
    const spelt = spellings.of(name);
    return { name: spelt, slug: spelt === name ? slug : slugOf(spelt), ...label };
  });
  // What is not in effect has the slugs that it has when it is.
  const keptNames = [...new Set([...labelNames(keptLabels), ...taught].map((name) => spellings.of(name)))];
  const slugs = uniqueSlugs(keptNames);
  const kept = keptNames.map((name, position): NamedLabel => ({
    name,
    slug: slugs[position]!,
    known: false,
    deviceClass: null,
    threshold: null,
  }));
  const bySlug = new Map<string, NamedLabel>();
  for (const item of [...named, ...kept]) {
    if (item.known || !bySlug.has(item.slug)) bySlug.set(item.slug, item);
  }
  return [...bySlug.values()];
}

/** Says which of the watched labels a model does not know, and what it has that may be meant. */
function warnOfUnknown(unknown: Tagger['unknown'], modelId: string, log: Logger): void {
  for (const { name, suggestions } of unknown) {
    const hint = suggestions.length > 0 ? `; it has ${suggestions.map((s) => `"${s}"`).join(', ')}` : '';
    log.warn({ code: 'label_unknown' }, `${modelId} does not know the watched label "${name}"${hint}`);
  }
}

/** To be called when all that a window led to has been published. */
function recordLatency(latency: LatencyRecorder, result: WindowResult): void {
  const done = performance.now();
  latency.record({
    total: done - result.arrivedAt,
    queue: result.queueMs,
    features: result.featuresMs,
    inference: result.inferenceMs,
    publish: done - result.answeredAt,
  });
}
