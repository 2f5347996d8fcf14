import type { Logger } from '../common/log.js';
import { codeOf, messageOf } from '../common/errors.js';
import { maskConfig } from '../config/mask.js';
import type { Config } from '../config/schema.js';
import type { Installer } from '../install/installer.js';
import type { CatalogueEntry } from '../models/catalogue.js';
import type { InstalledModel, ModelRegistry } from '../models/registry.js';
import { SCHEMA_VERSION, type InfoPayload } from '../mqtt/contract.js';
import type { Link } from '../mqtt/link.js';
import { bounded, type CutList } from './bounded.js';
import { modelSummary, timeResolutionSeconds } from './model-summary.js';
import type { ThresholdInForce } from '../tagging/thresholds.js';

/** The models of the catalogue. Where it cannot be read that is said, and the service does without. */
export async function knownModels(
  installer: Pick<Installer, 'catalogue'>,
  log: Logger,
): Promise<CatalogueEntry[]> {
  try {
    return (await installer.catalogue()).models;
  } catch (error) {
    log.warn({ code: codeOf(error) }, messageOf(error));
    return [];
  }
}

/** What `B/info` says of models of the catalogue. How many labels is null where the label set cannot be read. */
export function knownSummaries(
  entries: readonly CatalogueEntry[],
  registry: Pick<ModelRegistry, 'labelSet'>,
): Promise<InfoPayload['models']['known']> {
  return Promise.all(
    entries.map(async ({ id, title, labels, audioset_map, macs }) => {
      const set = await registry.labelSet(labels).catch(() => null);
      return { id, title, labels: set?.length ?? null, audioset_map, macs };
    }),
  );
}

/**
 * Publishes `B/info`, after a fresh look at the models unless `look` is false: for what changes nothing of them. Resolves
 * to what was published.
 */
export type PublishInfo = (options?: { look?: boolean }) => Promise<InfoPayload>;

/**
 * Makes the way to publish `B/info`.
 * @param options.installed told of the installed models at each look, before `B/info` is published
 * @param options.thresholds those in force for what the settings watch
 * @param options.safeModeReason why the service does without the configured model now, or null
 */
export function createInfo(options: {
  config: Config;
  version: string;
  configProblems: readonly string[];
  safeModeReason: () => string | null;
  /** The model at work, or null. */
  model: () => InstalledModel | null;
  /** Length of its windows, in seconds. */
  windowSeconds: () => number;
  thresholds: () => (ThresholdInForce & { source?: string })[];
  registry: Pick<ModelRegistry, 'list' | 'labelSet'>;
  installer: Pick<Installer, 'catalogue'>;
  link: Pick<Link, 'publish'>;
  installed: (ids: readonly string[]) => void;
  log: Logger;
}): PublishInfo {
  const { config, version, registry, installer, link, log } = options;
  /** As they were at the last look. */
  let models: InfoPayload['models'] | null = null;

  async function lookAtModels(): Promise<InfoPayload['models']> {
    const installed = (await registry.list()).map(modelSummary);
    options.installed(installed.map(({ id }) => id));
    return { installed, known: await knownSummaries(await knownModels(installer, log), registry) };
  }

  return async ({ look = true } = {}) => {
    if (look || models === null) models = await lookAtModels();
    const model = options.model();
    const info: InfoPayload = {
      schema_version: SCHEMA_VERSION,
      version,
      device: { id: config.device.id, name: config.device.name },
      time_resolution_s:
        model === null ? null : timeResolutionSeconds(model.manifest, options.windowSeconds()),
      models,
      config: maskConfig(config),
      config_problems: [...options.configProblems],
      safe_mode: options.safeModeReason(),
      thresholds: options.thresholds(),
    };
    const { document, omitted } = bounded(info, CUT_LISTS, MAX_INFO_BYTES);
    const sent = Object.keys(omitted).length === 0 ? document : { ...document, omitted };
    link.publish('info', sent);
    return sent;
  };
}

/** `B/info` once the service is whole, and again when something that it tells has changed by itself. */
export interface InfoRefresh {
  /** Publishes it. Throws what `PublishInfo` throws. */
  first(): Promise<void>;
  /** Publishes it once more; does nothing before `first` is over. What fails is logged. */
  again(): void;
}

export function createInfoRefresh(publishInfo: PublishInfo, log: Logger): InfoRefresh {
  let isInformed = false;
  return {
    async first() {
      await publishInfo();
      isInformed = true;
    },
    again() {
      if (!isInformed) return;
      publishInfo().catch((error: unknown) => {
        log.warn({ code: codeOf(error) }, `The models cannot be listed: ${messageOf(error)}`);
      });
    },
  };
}

/** Of `B/info`: brokers of cloud providers take packets of 128 KB, with topic and headers. */
const MAX_INFO_BYTES = 100_000;

type ShownConfig = InfoPayload['config'];

/** A list at `tagging.<key>` of the configuration that is shown; a map is a list of its entries. */
function taggingList(key: 'labels' | 'thresholds'): CutList<InfoPayload> {
  const tagging = ({ config }: InfoPayload) =>
    (config as ShownConfig & { tagging?: Record<string, unknown> }).tagging;
  return {
    name: `config.tagging.${key}`,
    read(info) {
      const value = tagging(info)?.[key];
      return Array.isArray(value) ? (value as unknown[]) : Object.entries(value ?? {});
    },
    write(info, list) {
      const value = Array.isArray(tagging(info)?.[key])
        ? list
        : Object.fromEntries(list as readonly (readonly [string, unknown])[]);
      return { ...info, config: { ...info.config, tagging: { ...tagging(info), [key]: value } } };
    },
  };
}

/** The sources of the configuration, each of which may have long lists of its own. */
const sourcesList: CutList<InfoPayload> = {
  name: 'config.audio.sources',
  read: ({ config }) => audioOf(config).sources ?? [],
  write: (info, list) => ({
    ...info,
    config: { ...info.config, audio: { ...audioOf(info.config), sources: list } },
  }),
};

function audioOf(config: ShownConfig): { sources?: readonly unknown[] } {
  return (config as ShownConfig & { audio?: { sources?: readonly unknown[] } }).audio ?? {};
}

const CUT_LISTS: readonly CutList<InfoPayload>[] = [
  {
    name: 'models.installed',
    read: ({ models }) => models.installed,
    write: (info, list) => ({
      ...info,
      models: { ...info.models, installed: list as InfoPayload['models']['installed'] },
    }),
  },
  {
    name: 'models.known',
    read: ({ models }) => models.known,
    write: (info, list) => ({
      ...info,
      models: { ...info.models, known: list as InfoPayload['models']['known'] },
    }),
  },
  {
    name: 'thresholds',
    read: ({ thresholds }) => thresholds ?? [],
    write: (info, list) => ({ ...info, thresholds: list as NonNullable<InfoPayload['thresholds']> }),
  },
  {
    name: 'config_problems',
    read: (info) => info.config_problems ?? [],
    write: (info, list) => ({ ...info, config_problems: list as string[] }),
  },
  taggingList('labels'),
  taggingList('thresholds'),
  sourcesList,
];
