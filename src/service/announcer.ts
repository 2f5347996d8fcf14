import { randomUUID } from 'node:crypto';
import type { Logger } from '../common/log.js';
import type { WindowResult } from '../inference/window-report.js';
import type { InstalledModel } from '../models/registry.js';
import { isoTime } from '../mqtt/contract.js';
import type { Link } from '../mqtt/link.js';
import { slugOf, uniqueSlugs } from '../tagging/slug.js';
import { createTagger, type TagEvent, type Tagger } from '../tagging/tagger.js';
import { hopOf, hopScores } from '../tagging/hop.js';
import { topTags, type Tag } from '../tagging/top.js';
import { thresholdsInForce, type ThresholdInForce } from '../tagging/thresholds.js';
import { resolveWatched, type TaggingSettings, type Watched, type WatchedItem } from '../tagging/watch.js';
import type { LatencyRecorder } from '../telemetry/latency.js';
import type { LabelMemory } from './label-memory.js';
import { labelNames } from './remembered.js';

/** Topics `B/label/<slug>` at the broker at once; nobody watches as many. */
const MAX_LABEL_TOPICS = 2000;

/** Turns answered windows into `B/tags`, `B/event` and `B/label/<slug>`. */
export interface Announcer {
  /** Another model answers from now on: what was on ends, and the watched labels are looked up in its labels. */
  modelChanged(model: InstalledModel): void;
  /** `levelDbfs` is that of the sound since the last window. */
  result(result: WindowResult, levelDbfs: number | null): void;
  /** Ends everything that is on, with its OFF: on stop, pause, and a break in the sound. */
  close(): void;
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
  /** The labels and groups that the settings name and the model knows; none where every label is watched. */
  watched(): { name: string; slug: string; group: boolean }[];
  /** The thresholds that are in force for those. */
  thresholds(): ThresholdInForce[];
  /**
   * The labels and groups that the settings name, or those kept settings that are not in effect now. `known`: the
   * model knows it, and it is watched. None as long as there is no model.
   */
  named(): { name: string; slug: string; known: boolean }[];
  /** How the current model or the settings spell this label (name in any case, or MID) or group; null: unknown. */
  nameOf(label: string): string | null;
}

export function createAnnouncer(options: {
  link: Link;
  settings: TaggingSettings;
  /** Labels that are kept for a later start and not in effect in this one, unless others are chosen. */
  keptLabels?: TaggingSettings['labels'];
  /** Models whose spelling of labels is taken for those that the model at work does not know. */
  installed?: readonly Pick<InstalledModel, 'labels'>[];
  topK: number;
  memory: LabelMemory;
  latency: LatencyRecorder;
  log: Logger;
}): Announcer {
  const { link, latency, log, topK, memory } = options;
  let { settings } = options;
  let model: InstalledModel | null = null;
  let tagger: Tagger | null = null;
  let audible = true;
  /** What the newest hop held, [labels], and the best of it. */
  let hopBuffer = new Float32Array(0);
  let now: readonly Tag[] = [];
  /** Labels by name in any case and by MID: the same label has the same name with a model that does not know it. */
  const spellings = new Map<string, string>();
  const learn = ({ labels }: Pick<InstalledModel, 'labels'>) => {
    for (const { name, mid } of labels) {
      for (const text of [name, mid ?? name]) spellings.set(text.toLowerCase(), name);
    }
  };
  for (const installed of options.installed ?? []) learn(installed);
  const nameOfUnknown = (text: string) => spellings.get(text.trim().toLowerCase()) ?? text.trim();

  let keptLabels = options.keptLabels ?? [];
  /** What is kept and not in effect, with the slugs that it has when it is. */
  const kept = () => {
    const names = [...new Set(labelNames(keptLabels).map(nameOfUnknown))];
    const slugs = uniqueSlugs(names);
    return names.map((name, position) => ({ name, slug: slugs[position]!, known: false }));
  };

  /** The slugs that have a topic at the broker, in the order of their last use. */
  const topics = new Set<string>();
  const showLabel = (slug: string, text: 'ON' | 'OFF') => {
    topics.delete(slug);
    topics.add(slug);
    if (topics.size > MAX_LABEL_TOPICS) takeAwayOldest();
    link.publish('label', text, { slug });
  };
  /** Groups may have ever new names, and models ever new labels: what was used longest ago leaves the broker. */
  const takeAwayOldest = () => {
    const on = new Set(tagger?.on().map(({ slug }) => slug));
    for (const slug of topics) {
      if (on.has(slug)) continue;
      topics.delete(slug);
      link.publishElsewhere(link.topics.of('label', { slug }), '');
      return;
    }
  };

  const announce = (events: readonly TagEvent[]) => {
    for (const event of events) {
      const name = event.group ?? event.label;
      memory.add(event.slug);
      showLabel(event.slug, event.event_type === 'started' ? 'ON' : 'OFF');
      link.publish('event', {
        id: event.id,
        event_type: event.event_type,
        label: event.label,
        mid: event.mid,
        group: event.group,
        score: round(event.score),
        peak: round(event.peak),
        started_at: isoTime(event.started_at),
        ended_at: event.ended_at === null ? null : isoTime(event.ended_at),
        duration_s: event.duration_s === null ? null : round(event.duration_s, 3),
        detected_at: isoTime(event.detected_at),
        model: model?.manifest.id ?? '',
        late: false,
      });
      if (event.event_type === 'started') log.info({}, `Heard ${name} (score ${event.score.toFixed(2)})`);
      else log.info({}, `${name} ended after ${(event.duration_s ?? 0).toFixed(1)} s`);
    }
  };

  /** Subscribers see the state of every label that is named in the settings, even before it was ever heard. */
  const showWatched = () => {
    if (tagger === null || settings.labels.length === 0) return;
    const on = new Set(tagger.on().map((item) => item.slug));
    for (const { slug } of tagger.items) {
      memory.add(slug);
      showLabel(slug, on.has(slug) ? 'ON' : 'OFF');
    }
  };

  /** Groups may have ever new names: what is not watched any more must not be kept for ever. */
  const retireAllBut = (before: readonly WatchedItem[], now: readonly WatchedItem[]) => {
    const kept = new Set(now.map(({ slug }) => slug));
    for (const { slug } of before) if (!kept.has(slug)) link.retire('label', { slug });
  };

  // What an earlier life of the service left ON at the broker was never ended by it.
  const left = new Set(memory.slugs());
  if (memory.isIncomplete) {
    for (const { labels } of options.installed ?? []) {
      for (const slug of uniqueSlugs(labels.map(({ name }) => name))) left.add(slug);
    }
  }
  for (const slug of left) showLabel(slug, 'OFF');

  const warnOfUnknown = () => {
    for (const { name, suggestions } of tagger?.unknown ?? []) {
      const hint = suggestions.length > 0 ? `; it has ${suggestions.map((s) => `"${s}"`).join(', ')}` : '';
      log.warn(
        { code: 'label_unknown' },
        `${model?.manifest.id ?? 'the model'} does not know the watched label "${name}"${hint}`,
      );
    }
  };

  return {
    modelChanged(next) {
      if (tagger !== null) announce(tagger.close(Date.now()));
      const before = tagger?.items ?? [];
      model = next;
      hopBuffer = new Float32Array(next.labels.length);
      now = [];
      learn(next);
      tagger = createTagger({ labels: next.labels, settings, newId: randomUUID });
      retireAllBut(before, tagger.items);
      warnOfUnknown();
      showWatched();
    },
    result(result, levelDbfs) {
      if (tagger === null) return;
      const { fresh, scores, endMs } = result;
      const hop = fresh === null ? null : hopOf(fresh, scores, endMs);
      if (hop !== null) {
        hopScores(hop, hopBuffer);
        now = topTags(hopBuffer, result.model.labels, topK).filter(({ score }) => score > 0);
      }
      // A recording that plays as fast as it can is ahead of the clock.
      const decidedMs = Math.max(Date.now(), result.endMs);
      const events = audible && hop !== null ? tagger.hop(hop, decidedMs) : [];
      link.publish('tags', {
        ts: isoTime(Date.now()),
        seq: result.seq,
        model: result.model.manifest.id,
        window: { start: isoTime(result.startMs), end: isoTime(result.endMs) },
        tags: topTags(result.scores, result.model.labels, topK).map(rounded),
        now: now.map(rounded),
        level_dbfs: levelDbfs === null ? null : round(levelDbfs, 1),
        latency_ms: round(performance.now() - result.arrivedAt, 3),
      });
      announce(events);
      const done = performance.now();
      latency.record({
        total: done - result.arrivedAt,
        queue: result.queueMs,
        features: result.featuresMs,
        inference: result.inferenceMs,
        publish: done - result.answeredAt,
      });
    },
    close() {
      if (tagger !== null) announce(tagger.close(Date.now()));
    },
    setAudible(next) {
      audible = next;
      if (!audible && tagger !== null) announce(tagger.close(Date.now()));
    },
    update(next) {
      // The model that is still to come is made for these settings: what contradicts itself is refused now.
      if (tagger === null) resolveWatched([], next);
      const before = tagger?.items ?? [];
      const events = tagger?.update(next, Date.now()) ?? [];
      if (next.labels !== settings.labels) keptLabels = [];
      settings = next;
      announce(events);
      retireAllBut(before, tagger?.items ?? []);
      warnOfUnknown();
      showWatched();
    },
    preview(next) {
      const meaning = resolveWatched(model?.labels ?? [], next);
      return model === null ? null : meaning;
    },
    watched() {
      if (tagger === null || settings.labels.length === 0) return [];
      return tagger.items.map(({ name, slug, group }) => ({ name, slug, group: group !== null }));
    },
    thresholds() {
      return tagger === null || settings.labels.length === 0 ? [] : thresholdsInForce(tagger.items);
    },
    named() {
      if (tagger === null) return [];
      const inEffect = settings.labels.length === 0 ? [] : tagger.named;
      const named = inEffect.map(({ name, slug, group, known }) => {
        if (known || group !== null) return { name, slug, known };
        const spelt = nameOfUnknown(name);
        return { name: spelt, slug: spelt === name ? slug : slugOf(spelt), known };
      });
      const bySlug = new Map<string, { name: string; slug: string; known: boolean }>();
      for (const item of [...named, ...kept()]) {
        if (item.known || !bySlug.has(item.slug)) bySlug.set(item.slug, item);
      }
      return [...bySlug.values()];
    },
    nameOf(label) {
      const wanted = label.toLowerCase();
      const group = tagger?.items.find((item) => item.group?.toLowerCase() === wanted);
      const known = model?.labels.find(({ name, mid }) => name.toLowerCase() === wanted || mid === label);
      return group?.name ?? known?.name ?? null;
    },
  };
}

function rounded({ label, mid, score }: Tag): Tag {
  return { label, mid, score: round(score) };
}

function round(value: number, digits = 4): number {
  const scale = 10 ** digits;
  return Math.round(value * scale) / scale;
}
