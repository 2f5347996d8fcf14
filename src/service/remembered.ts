import type { Logger } from '../common/log.js';
import { parseConfirm } from '../config/formats.js';
import type { Config } from '../config/schema.js';
import type { StateStore } from '../config/state-store.js';
import type { TaggingSettings } from '../tagging/watch.js';

/** What the service starts with: the configuration, and over it what was changed remotely and remembered. */
export interface Wishes {
  modelId: string;
  rateHz: number;
  paused: boolean;
  tagging: TaggingSettings;
}

export function startingWishes(config: Config, store: StateStore): Wishes {
  const { tagging } = config;
  return {
    modelId: store.get('model', config.model.id) ?? config.model.id,
    rateHz: store.get('rate_hz', config.inference.rate_hz) ?? config.inference.rate_hz,
    paused: store.get('paused', false) ?? false,
    tagging: {
      labels: store.get('labels', tagging.labels) ?? tagging.labels,
      threshold: store.get('threshold', tagging.threshold) ?? tagging.threshold,
      thresholds: store.get('thresholds', tagging.thresholds) ?? tagging.thresholds,
      offFraction: tagging.off_fraction,
      confirm: parseConfirm(tagging.confirm),
      minGapSeconds: tagging.min_gap_seconds,
    },
  };
}

/** Says what differs from the configuration, so that nobody wonders at it. */
export function logRemembered(wishes: Wishes, config: Config, log: Logger): void {
  if (wishes.modelId !== config.model.id) {
    log.info({}, `Going on with the model ${wishes.modelId}, chosen over MQTT`);
  }
  if (wishes.rateHz !== config.inference.rate_hz) {
    log.info({}, `Going on at ${wishes.rateHz} Hz, set over MQTT`);
  }
  const { threshold } = wishes.tagging;
  if (threshold !== config.tagging.threshold) {
    log.info({}, `Going on with the threshold ${threshold ?? 'of the model'}, set over MQTT`);
  }
  if (wishes.tagging.thresholds !== config.tagging.thresholds) {
    log.info({}, 'Going on with thresholds of single labels that were set over MQTT');
  }
  if (wishes.paused) log.info({}, 'Still paused, as was asked over MQTT');
}
