import { codeOf, messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { Config } from '../config/schema.js';
import { taggingSettings } from '../config/tagging-settings.js';
import type { SourceConfig } from '../config/sources.js';
import type { SourceStore, StateStore } from '../config/state-store.js';
import { resolveWatched, type TaggingSettings } from '../tagging/watch.js';

/** What one source starts with: the configuration, and over it what was changed remotely and remembered. */
export interface SourceWishes {
  paused: boolean;
  tagging: TaggingSettings;
  /** Name, part of a name or index of the microphone; empty: the default input. */
  audioDevice: string | number;
}

/** What the service starts with, of what is not set for each source by itself. */
export interface Wishes {
  modelId: string;
  rateHz: number;
  telemetryIntervalSeconds: number;
}

/** @param store what is remembered of this source: `StateStore.of` its name, the root for the only one */
export function sourceWishes(
  { audio, tagging }: SourceConfig,
  store: Pick<SourceStore, 'get'>,
): SourceWishes {
  // Null is a wish as well: the thresholds of the model.
  const threshold = store.get('threshold', tagging.threshold);
  return {
    paused: store.get('paused', false) ?? false,
    tagging: {
      ...taggingSettings({ tagging }),
      labels: store.get('labels', tagging.labels) ?? tagging.labels,
      threshold: threshold === undefined ? tagging.threshold : threshold,
      thresholds: store.get('thresholds', tagging.thresholds) ?? tagging.thresholds,
    },
    audioDevice: store.get('audio_device', audio.device) ?? audio.device,
  };
}

export function startingWishes(config: Config, store: Pick<StateStore, 'get'>): Wishes {
  const { telemetry } = config;
  return {
    modelId: store.get('model', config.model.id) ?? config.model.id,
    rateHz: store.get('rate_hz', config.inference.rate_hz) ?? config.inference.rate_hz,
    telemetryIntervalSeconds:
      store.get('telemetry_interval', telemetry.interval_seconds) ?? telemetry.interval_seconds,
  };
}

/**
 * The same wishes, with the labels of the configuration where those that were chosen over MQTT contradict themselves:
 * what was once remembered must not keep the service from starting.
 * @param source what the configuration says of the source; the name is for the log, and only where there are several
 */
export function withUsableLabels<W extends Pick<SourceWishes, 'tagging'>>(
  wishes: W,
  { tagging, name }: Pick<SourceConfig, 'tagging'> & { name?: string },
  log: Logger,
): W {
  try {
    resolveWatched([], wishes.tagging);
    return wishes;
  } catch (error) {
    if (wishes.tagging.labels === tagging.labels) throw error;
    log.warn(
      { code: codeOf(error) },
      `The labels that were chosen over MQTT${name === undefined ? '' : ` for ${name}`} cannot be watched: ${messageOf(error)} Going on with those of the configuration; choose others with labels/set`,
    );
    return { ...wishes, tagging: { ...wishes.tagging, labels: tagging.labels } };
  }
}

/** What the service starts with after a row of starts that failed: nothing that may have made them fail. */
export function safeWishes(config: Config, bundledModel: string): Wishes {
  const model = { ...config.model, id: bundledModel };
  return startingWishes({ ...config, model }, { get: () => undefined });
}

export function safeModeMessage(reason: string, bundledModel: string): string {
  return `Safe mode: ${reason}. Going on with ${bundledModel} and without what was set over MQTT, which is kept. Set a model over MQTT or change the configuration to leave it`;
}

/** The watched labels and groups by name, as `B/state` lists them. */
export function labelNames(labels: TaggingSettings['labels']): string[] {
  return labels.map((entry) => (typeof entry === 'string' ? entry : entry.name));
}

/** Says what differs from the configuration, so that nobody wonders at it. */
export function logRemembered(wishes: Wishes, config: Config, log: Logger): void {
  if (wishes.modelId !== config.model.id) {
    log.info({}, `Going on with the model ${wishes.modelId}, chosen over MQTT`);
  }
  if (wishes.rateHz !== config.inference.rate_hz) {
    log.info({}, `Going on at ${wishes.rateHz} Hz, set over MQTT`);
  }
  if (wishes.telemetryIntervalSeconds !== config.telemetry.interval_seconds) {
    log.info({}, `Going on with telemetry every ${wishes.telemetryIntervalSeconds} s, set over MQTT`);
  }
}

/** The same of one source. @param where ` at <source>` where there are several */
export function logRememberedOf(
  wishes: SourceWishes,
  { audio, tagging }: SourceConfig,
  where: string,
  log: Logger,
): void {
  const { threshold } = wishes.tagging;
  if (threshold !== tagging.threshold) {
    log.info({}, `Going on with the threshold ${threshold ?? 'of the model'}${where}, set over MQTT`);
  }
  if (wishes.tagging.thresholds !== tagging.thresholds) {
    log.info({}, `Going on with thresholds of single labels${where} that were set over MQTT`);
  }
  if (wishes.tagging.labels !== tagging.labels) {
    log.info({}, `Going on with the labels${where} that were chosen over MQTT`);
  }
  if (wishes.audioDevice !== audio.device) {
    log.info(
      {},
      `Going on with the microphone "${wishes.audioDevice || 'default input'}"${where}, chosen over MQTT`,
    );
  }
  if (wishes.paused) log.info({}, `Still paused${where}, as was asked over MQTT`);
}
