import type { TaggingSettings } from '../../src/tagging/watch.js';

/** Every hop counts for itself: no confirmation, no shortest duration, no gap. */
export const plainTagging = {
  thresholds: {},
  offFraction: 0.7,
  confirm: { k: 1, n: 1 },
  minDurationSeconds: 0,
  minGapSeconds: 0,
} satisfies Partial<TaggingSettings>;

/** Settings that name no label, so that every label of a model is watched. */
export const allWatched: TaggingSettings = { ...plainTagging, labels: [], threshold: null, minGapSeconds: 3 };
