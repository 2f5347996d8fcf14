import type { Label } from '../models/labels.js';
import { fold } from './rules.js';
import type { TaggingSettings } from './watch.js';

/** A sound that was taught to the model at work, as far as its events are concerned. */
export interface Learnt {
  readonly name: string;
  /** What was found for it. */
  readonly threshold: number;
}

/** The labels of the model, and behind them what was taught, as their scores come. */
export function withLearntLabels(labels: readonly Label[], learnt: readonly Learnt[]): readonly Label[] {
  if (learnt.length === 0) return labels;
  return [
    ...labels,
    ...learnt.map(({ name, threshold }, n): Label => ({
      index: labels.length + n,
      name,
      mid: null,
      threshold,
      thresholdFrom: 'learnt',
    })),
  ];
}

/** Who teaches a sound wants to hear of it: it is watched by itself, whatever else the settings name. */
export function withLearnt(settings: TaggingSettings, learnt: readonly Learnt[]): TaggingSettings {
  if (settings.labels.length === 0) return settings;
  const named = new Set(settings.labels.map((entry) => fold(typeof entry === 'string' ? entry : entry.name)));
  const others = learnt.map(({ name }) => name).filter((name) => !named.has(fold(name)));
  return others.length === 0 ? settings : { ...settings, labels: [...settings.labels, ...others] };
}
