import type { TaggingSettings } from '../tagging/watch.js';
import { confirmOf } from './formats.js';
import type { Config } from './schema.js';

/** What the configuration says of tagging, as the tagger takes it. */
export function taggingSettings({ tagging }: Pick<Config, 'tagging'>): TaggingSettings {
  return {
    labels: tagging.labels,
    threshold: tagging.threshold,
    thresholds: tagging.thresholds,
    offFraction: tagging.off_fraction,
    confirm: confirmOf(tagging.confirm),
    minDurationSeconds: tagging.min_duration_seconds,
    minGapSeconds: tagging.min_gap_seconds,
  };
}
