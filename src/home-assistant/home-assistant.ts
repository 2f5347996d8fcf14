import { didYouMean } from '../common/nearest.js';
import type { Logger } from '../common/log.js';
import { schema, type Config } from '../config/schema.js';
import type { CatalogueEntry } from '../models/catalogue.js';
import type { StatePayload } from '../mqtt/contract.js';
import type { Link } from '../mqtt/link.js';
import { uniqueSlugs } from '../tagging/slug.js';
import { createDescriptions } from './descriptions.js';
import { openDiscoveryMemory, type DiscoveryMemory } from './discovery-memory.js';
import { createInstallStates } from './install-states.js';
import { offeredModels, type Offer } from './installs.js';
import type { BoxInput, SourceInput, WatchedLabel } from './payload.js';
import { retireHomeAssistant } from './retire.js';

/** Keeps Home Assistant's picture of this device right. */
export interface HomeAssistant {
  /**
   * The models that are installed now. Before the first call, and before a model is at work, nothing is published, so
   * that nothing is taken away only because it has not come up yet.
   */
  installed(ids: readonly string[]): void;
  /**
   * `B/state` is about to be published, which goes with every change of the model or of the watched labels. Called
   * before it is, since the state is read by what the description says.
   */
  stateChanges(next: Readonly<StatePayload>): void;
  /** Text on Home Assistant's birth topic. */
  birth(text: string): void;
  stop(): void;
}

/** Home Assistant has started and asks all its devices at once: each waits for a while of its own. */
const BIRTH_DELAY_MS = { least: 1_000, most: 10_000 };
/**
 * How long removals stay in the message at the broker. Home Assistant passes over what it is too busy for, so one
 * that was just starting gets them a second time with all that is sent after its birth message.
 */
const REMOVAL_HOLD_MS = 45_000;
/** Nobody looks at more, and the message has to get through the broker. */
const MAX_LABELS = 250;

/** A source of sound, as far as Home Assistant is concerned. */
export interface HeardSource {
  /** As topics and commands name it; not shown where there is only one. */
  readonly name: string;
  readonly watched: () => readonly WatchedLabel[];
  /** Whether it is known how loud full scale is (`audio.calibration_db`). */
  readonly calibrated: boolean;
  /** Whether its events are remembered (`history.enabled`). */
  readonly remembers: boolean;
}

/**
 * What Home Assistant is told: the description of the device (see description.ts), those of
 * its sources where there are several (see descriptions.ts), and the states of the models that
 * it may install. Nothing is said before a model is at work, since only then it is known which labels there are.
 */
export function createHomeAssistant(options: {
  prefix: string;
  device: { id: string; name: string };
  version: string;
  link: Link;
  memory: DiscoveryMemory;
  /** Which models may be installed from Home Assistant, and which of them do not have to be enabled there. */
  offer: Offer;
  shownByDefault: Offer;
  catalogue: readonly CatalogueEntry[];
  /** Whether checkpoints come from a mirror. */
  mirrored: boolean;
  /** Whether a checkpoint whose SHA-256 nobody knows is refused. */
  digestRequired: boolean;
  /** In the order of the settings, at least one; one is a part of the box, each of several a device of its own. */
  sources: readonly HeardSource[];
  /** Takes nothing away in this life: the settings are not all in effect that were. */
  keepsGone: boolean;
  log: Logger;
  random?: () => number;
  /** For tests, in ms. */
  removalHoldMs?: number;
}): HomeAssistant {
  const { link, memory, log, device } = options;
  const { offered, shown } = chooseOffers(options);
  let models: readonly string[] | null = null;
  let state: Readonly<StatePayload> | null = null;
  const installStates = createInstallStates({ link, offered, digestRequired: options.digestRequired });
  /** Null while nothing is to be said. */
  const box = (): BoxInput | null => {
    const inUse = state?.model ?? null;
    if (models === null || inUse === null) return null;
    return {
      device,
      version: options.version,
      topics: link.topics,
      // The model in use is an option whoever installed it: a state that is no option is an error there.
      models: models.includes(inUse) ? models : [...models, inUse],
      installs: offered.map(({ id, title }) => ({ id, title, shown: shown.has(id) })),
    };
  };
  const descriptions = createDescriptions({
    link,
    memory,
    prefix: options.prefix,
    deviceId: device.id,
    box,
    sources: hearings(options.sources, log),
    isOffered: (model) => offered.some(({ id }) => id === model),
    keepsGone: options.keepsGone,
    removalHoldMs: options.removalHoldMs ?? REMOVAL_HOLD_MS,
    log,
  });
  const births = createBirths(() => link.resendStates(), options.random ?? Math.random);

  function publish(): void {
    descriptions.publish();
    if (models !== null && state !== null && state.model !== null) installStates.publish(models, state.swap);
  }

  return {
    installed(ids) {
      models = [...ids];
      publish();
    },
    stateChanges(next) {
      state = next;
      publish();
    },
    birth(text) {
      if (text !== 'online') return;
      descriptions.holdAnew();
      births.come();
    },
    stop() {
      births.stop();
      descriptions.stop();
      models = null;
    },
  };
}

/** The models that may be installed, and those of them that do not have to be enabled; says which ids make no sense. */
function chooseOffers(options: {
  offer: Offer;
  shownByDefault: Offer;
  catalogue: readonly CatalogueEntry[];
  mirrored: boolean;
  log: Logger;
}): { offered: readonly CatalogueEntry[]; shown: ReadonlySet<string> } {
  const { catalogue, mirrored, log } = options;
  const choose = (offer: Offer) => offeredModels(offer, catalogue, mirrored);
  const { offered, unknown, unreachable } = choose(options.offer);
  for (const id of unknown) {
    const ids = catalogue.map((entry) => entry.id);
    log.warn(
      { code: 'model_unknown' },
      `homeassistant.models names ${id}, which is not in the catalogue.${didYouMean(id, ids)}`,
    );
  }
  for (const id of unreachable) {
    log.warn(
      { code: 'no_address' },
      `homeassistant.models names ${id}, for which no address is known: it can only be offered where models.mirror is set`,
    );
  }
  const shownOffer = options.offer === 'all' ? options.shownByDefault : options.offer;
  return { offered, shown: new Set(choose(shownOffer).offered.map(({ id }) => id)) };
}

/** What is to be said of each source, as it is when it is asked for. */
function hearings(sources: readonly HeardSource[], log: Logger): { name: string; now: () => SourceInput }[] {
  const slugs = uniqueSlugs(sources.map(({ name }) => name));
  return sources.map(({ name, watched, calibrated, remembers }, index) => {
    const limitLabels = createLabelLimit(sources.length > 1 ? ` at ${name}` : '', log);
    return {
      name,
      now: () => ({ name, slug: slugs[index]!, watched: limitLabels(watched()), calibrated, remembers }),
    };
  });
}

/**
 * The way to keep to the number of labels that Home Assistant is told of; says once where there are more.
 * @param where they are watched, for people; empty where there is only one place
 */
function createLabelLimit(
  where: string,
  log: Logger,
): (all: readonly WatchedLabel[]) => readonly WatchedLabel[] {
  let isReported = false;
  return (all) => {
    if (all.length > MAX_LABELS && !isReported) {
      isReported = true;
      log.warn(
        { code: 'too_many_labels' },
        `${all.length} labels are watched${where}; Home Assistant is told of the first ${MAX_LABELS}`,
      );
    }
    return all.slice(0, MAX_LABELS);
  };
}

/**
 * Answers Home Assistant's birth messages, after a while of its own; those that come meanwhile get the same answer.
 * @param random 0 … 1
 */
function createBirths(answer: () => void, random: () => number): { come(): void; stop(): void } {
  const { least, most } = BIRTH_DELAY_MS;
  let timer: NodeJS.Timeout | null = null;
  return {
    come() {
      timer ??= setTimeout(
        () => {
          timer = null;
          answer();
        },
        least + random() * (most - least),
      );
    },
    stop() {
      if (timer !== null) clearTimeout(timer);
      timer = null;
    },
  };
}

/** As the configuration says; where Home Assistant is switched off, the device is taken away there. */
export function openHomeAssistant(options: {
  config: Config;
  version: string;
  link: Link;
  catalogue: readonly CatalogueEntry[];
  sources: readonly HeardSource[];
  keepsGone: boolean;
  log: Logger;
}): Omit<HomeAssistant, 'stop'> & { stop(): Promise<void> } {
  const { config, ...parts } = options;
  const { enabled, prefix, models } = config.homeassistant;
  const memory = openDiscoveryMemory({ dataDir: config.data_dir, log: options.log });
  if (!enabled) {
    retireHomeAssistant(options.link, memory);
    return { ...absent, stop: () => memory.stop() };
  }
  const homeAssistant = createHomeAssistant({
    ...parts,
    memory,
    prefix,
    device: config.device,
    offer: models,
    mirrored: config.models.mirror !== '',
    digestRequired: config.models.require_digest,
    shownByDefault: schema.homeassistant.models.default,
  });
  return {
    ...homeAssistant,
    async stop() {
      homeAssistant.stop();
      await memory.stop();
    },
  };
}

const nothing = () => undefined;
const absent: HomeAssistant = { installed: nothing, stateChanges: nothing, birth: nothing, stop: nothing };
