import type { Logger } from '../common/log.js';
import { schema, type Config } from '../config/schema.js';
import type { CatalogueEntry } from '../models/catalogue.js';
import type { StatePayload } from '../mqtt/contract.js';
import { installing, installPayload, offeredModels, type Offer } from '../mqtt/discovery/installs.js';
import {
  buildDiscovery,
  discoveryTopic,
  platformsOf,
  removals,
  type WatchedLabel,
} from '../mqtt/discovery/payload.js';
import type { Link } from '../mqtt/link.js';
import { openDiscoveryMemory, type DiscoveryMemory } from './discovery-memory.js';

/** Keeps Home Assistant's picture of this device right. */
export interface HomeAssistant {
  /**
   * The models that are installed now. The first call is also the sign that the device is complete: before it
   * nothing is published, so that nothing is taken away only because it has not come up yet.
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
/** Nobody looks at more, and the message has to get through the broker. */
const MAX_LABELS = 250;

/**
 * The life of the discovery message. Invariants:
 * - the message lies retained at the broker, is sent again after every connect, and goes before the states, which
 *   Home Assistant reads by what it says;
 * - what was ever announced is remembered on the disk before it is, until its removal has reached the broker: a
 *   component that is gone is sent once as its platform alone, and then left out.
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
  watched: () => readonly WatchedLabel[];
  log: Logger;
  random?: () => number;
}): HomeAssistant {
  const { link, memory, log, device } = options;
  const random = options.random ?? Math.random;
  const topic = discoveryTopic(options.prefix, device.id);
  const { offered, unknown } = offeredModels(options.offer, options.catalogue);
  for (const id of unknown) {
    log.warn({ code: 'model_unknown' }, `homeassistant.models names ${id}, which is not in the catalogue`);
  }
  const shownOffer = options.offer === 'all' ? options.shownByDefault : options.offer;
  const shown = new Set(offeredModels(shownOffer, options.catalogue).offered.map(({ id }) => id));

  let models: readonly string[] | null = null;
  let state: Readonly<StatePayload> | null = null;
  /** The installation that is shown. It stays until the installed models are known anew. */
  let progress: ReturnType<typeof installing> = null;
  let published = '';
  const publishedInstalls = new Map<string, string>();
  let birthTimer: NodeJS.Timeout | null = null;
  let tooManyReported = false;

  leaveOtherTopics(link, memory, topic);

  function watched(): readonly WatchedLabel[] {
    const all = options.watched();
    if (all.length > MAX_LABELS && !tooManyReported) {
      tooManyReported = true;
      log.warn(
        { code: 'too_many_labels' },
        `${all.length} labels are watched; Home Assistant is told of the first ${MAX_LABELS}`,
      );
    }
    return all.slice(0, MAX_LABELS);
  }

  function publishDiscovery(): void {
    if (models === null) return;
    const inUse = state?.model ?? null;
    const payload = buildDiscovery({
      device,
      version: options.version,
      topics: link.topics,
      // The model in use is an option whoever installed it: a state that is no option is an error there.
      models: inUse === null || models.includes(inUse) ? models : [...models, inUse],
      installs: offered.map(({ id, title }) => ({ id, title, shown: shown.has(id) })),
      watched: watched(),
      known: memory.components(topic),
    });
    const text = JSON.stringify(payload);
    if (text === published) return;
    published = text;
    memory.set(topic, platformsOf(payload));
    const gone = removals(payload);
    link.publishElsewhere(topic, text, {
      leads: true,
      delivered() {
        if (gone.length === 0 || text !== published) return;
        const left = Object.entries(platformsOf(payload)).filter(([id]) => !gone.includes(id));
        memory.set(topic, Object.fromEntries(left));
        publishDiscovery();
      },
    });
    for (const id of gone) forgetInstall(link, id);
  }

  function publishInstalls(): void {
    if (models === null) return;
    for (const entry of offered) {
      const payload = installPayload(entry, {
        installed: models.includes(entry.id),
        progress: progress?.id === entry.id ? progress : null,
      });
      const text = JSON.stringify(payload);
      if (publishedInstalls.get(entry.id) === text) continue;
      publishedInstalls.set(entry.id, text);
      link.publish('install', payload, { id: entry.id });
    }
  }

  return {
    installed(ids) {
      models = [...ids];
      progress = state === null ? null : installing(state.swap);
      publishDiscovery();
      publishInstalls();
    },
    stateChanges(next) {
      state = next;
      publishDiscovery();
      progress = installing(next.swap) ?? progress;
      publishInstalls();
    },
    birth(text) {
      if (text !== 'online' || birthTimer !== null) return;
      const { least, most } = BIRTH_DELAY_MS;
      birthTimer = setTimeout(
        () => {
          birthTimer = null;
          link.resendStates();
        },
        least + random() * (most - least),
      );
    },
    stop() {
      if (birthTimer !== null) clearTimeout(birthTimer);
      birthTimer = null;
      models = null;
    },
  };
}

/** As the configuration says; where Home Assistant is switched off, the device is taken away there. */
export function openHomeAssistant(options: {
  config: Config;
  version: string;
  link: Link;
  catalogue: readonly CatalogueEntry[];
  watched: () => readonly WatchedLabel[];
  log: Logger;
}): HomeAssistant {
  const { config, ...parts } = options;
  const { enabled, prefix, models } = config.homeassistant;
  const memory = openDiscoveryMemory({ dataDir: config.data_dir, log: options.log });
  if (!enabled) {
    retireHomeAssistant(options.link, memory);
    return absent;
  }
  return createHomeAssistant({
    ...parts,
    memory,
    prefix,
    device: config.device,
    offer: models,
    shownByDefault: schema.homeassistant.models.default,
  });
}

const nothing = () => undefined;
const absent: HomeAssistant = { installed: nothing, stateChanges: nothing, birth: nothing, stop: nothing };

/** Takes the device away where an earlier life of the service has announced it: Home Assistant is switched off. */
function retireHomeAssistant(link: Link, memory: DiscoveryMemory): void {
  for (const topic of memory.topics()) {
    for (const id of Object.keys(memory.components(topic))) forgetInstall(link, id);
  }
  leaveOtherTopics(link, memory, null);
}

/** Takes the device away under earlier ids and prefixes. */
function leaveOtherTopics(link: Link, memory: DiscoveryMemory, present: string | null): void {
  for (const topic of memory.topics()) {
    if (topic === present) continue;
    link.publishElsewhere(topic, '', { leads: true, delivered: () => memory.set(topic, null) });
  }
}

/** The state of a model that is not offered any more would lie at the broker for ever. */
function forgetInstall(link: Link, component: string): void {
  const id = /^install_(.+)$/.exec(component)?.[1];
  if (id !== undefined) link.publishElsewhere(link.topics.of('install', { id }), '');
}
