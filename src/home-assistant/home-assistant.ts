import { didYouMean } from '../common/nearest.js';
import type { Logger } from '../common/log.js';
import { schema, type Config } from '../config/schema.js';
import type { CatalogueEntry } from '../models/catalogue.js';
import type { StatePayload } from '../mqtt/contract.js';
import { installing, installPayload, offeredModels, type Offer } from './installs.js';
import { splitDiscovery, USUAL_LIMIT_BYTES } from './parts.js';
import {
  buildDiscovery,
  discoveryTopic,
  platformsOf,
  removals,
  type DiscoveryPayload,
  type WatchedLabel,
} from './payload.js';
import type { Link } from '../mqtt/link.js';
import { openDiscoveryMemory, type Components, type DiscoveryMemory } from './discovery-memory.js';

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

/** More parts than any device needs at the smallest limit of a broker; what is in the memory beyond is somebody's joke. */
const MAX_PARTS = 1000;

/**
 * The life of the discovery message, or of several where one would be too large for the broker. Invariants:
 * - the message lies retained at the broker, is sent again after every connect, and goes before the states, which
 *   Home Assistant reads by what it says;
 * - what is announced is on the disk before it is at the broker, and stays there until its removal has been at the
 *   broker for a while: a component that is gone is described as its platform alone for so long, and then left out;
 * - nothing is described before a model is at work, since only then it is known which labels there are.
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
  watched: () => readonly WatchedLabel[];
  /** Takes nothing away in this life: the settings are not all in effect that were. */
  keepsGone: boolean;
  log: Logger;
  random?: () => number;
  /** For tests, in ms. */
  removalHoldMs?: number;
}): HomeAssistant {
  const { link, memory, log, device } = options;
  const random = options.random ?? Math.random;
  const topicOf = (part: number) => discoveryTopic(options.prefix, device.id, part);
  const removalHoldMs = options.removalHoldMs ?? REMOVAL_HOLD_MS;
  const choose = (offer: Offer) => offeredModels(offer, options.catalogue, options.mirrored);
  const { offered, unknown, unreachable } = choose(options.offer);
  for (const id of unknown) {
    log.warn(
      { code: 'model_unknown' },
      `homeassistant.models names ${id}, which is not in the catalogue.${didYouMean(
        id,
        options.catalogue.map((entry) => entry.id),
      )}`,
    );
  }
  for (const id of unreachable) {
    log.warn(
      { code: 'no_address' },
      `homeassistant.models names ${id}, for which no address is known: it can only be offered where models.mirror is set`,
    );
  }
  const shownOffer = options.offer === 'all' ? options.shownByDefault : options.offer;
  const shown = new Set(choose(shownOffer).offered.map(({ id }) => id));

  let models: readonly string[] | null = null;
  let state: Readonly<StatePayload> | null = null;
  /** The newest description, published or about to be, with its parts by their topics. */
  let described = '';
  /** What the broker has taken in this life of the service. */
  const taken = new Set<string>();
  /** What had been announced before this life said anything on a topic. */
  const before = new Map<string, Components>();
  /** The most bytes of one message. */
  let limitBytes = USUAL_LIMIT_BYTES;
  let tooLargeReported = false;
  /** What is being taken away, by topic, and what runs while it is held at the broker. */
  const held = new Map<string, readonly string[]>();
  let holdTimer: NodeJS.Timeout | null = null;
  const publishedInstalls = new Map<string, string>();
  let birthTimer: NodeJS.Timeout | null = null;
  let tooManyReported = false;

  leaveOtherTopics(link, memory, (topic) => topics().includes(topic));
  link.onTextLimit((bytes) => {
    const next = Math.min(bytes, USUAL_LIMIT_BYTES);
    if (next === limitBytes) return;
    limitBytes = next;
    forgetUntaken();
    publishDiscovery();
  });

  /** Those that have been announced, and at least the first. */
  function topics(): string[] {
    const known = new Set(memory.topics());
    let parts = 1;
    while (parts < MAX_PARTS && known.has(topicOf(parts + 1))) parts += 1;
    return Array.from({ length: parts }, (_, index) => topicOf(index + 1));
  }

  /** What no broker has taken need not be taken away again. */
  function forgetUntaken(): void {
    for (const [topic, components] of before) {
      if (taken.has(topic)) continue;
      link.forgetElsewhere(topic);
      void memory.set(topic, components);
    }
  }

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
    const inUse = state?.model ?? null;
    if (models === null || inUse === null) return;
    const whole = buildDiscovery({
      device,
      version: options.version,
      topics: link.topics,
      // The model in use is an option whoever installed it: a state that is no option is an error there.
      models: models.includes(inUse) ? models : [...models, inUse],
      installs: offered.map(({ id, title }) => ({ id, title, shown: shown.has(id) })),
      watched: watched(),
    });
    const announced = topics().map((topic) => memory.components(topic));
    const { parts, tooLarge } = splitDiscovery(whole, announced, {
      limitBytes,
      keepsGone: options.keepsGone,
    });
    const messages = parts.map((payload, index) => ({ topic: topicOf(index + 1), payload }));
    const text = JSON.stringify(messages);
    if (text === described) return;
    described = text;
    endHold();
    reportTooLarge(tooLarge);
    const send = () => {
      if (text === described) sendDescription(text, messages);
    };
    const writes = messages.map(({ topic, payload }, index) => {
      if (!before.has(topic)) before.set(topic, announced[index] ?? {});
      return memory.set(topic, { ...announced[index], ...platformsOf(payload) });
    });
    // At once where it can be: the states come after it.
    const slow = writes.filter((write) => write !== null);
    if (slow.length === 0) send();
    else void Promise.all(slow).then(send);
  }

  function reportTooLarge(ids: readonly string[]): void {
    if (ids.length === 0 || tooLargeReported) return;
    tooLargeReported = true;
    log.warn(
      { code: 'too_large' },
      `Home Assistant is not told of ${ids.join(', ')}: the broker takes no message that is large enough`,
    );
  }

  interface Message {
    topic: string;
    payload: DiscoveryPayload;
  }

  function sendDescription(text: string, [first, ...others]: Message[]): void {
    if (first === undefined) return;
    // Where the broker does not take the first part, it does not take the others.
    sendPart(text, first, () => {
      if (text !== described) return;
      for (const message of others.splice(0)) sendPart(text, message);
    });
    for (const id of [first, ...others].flatMap(({ payload }) => removals(payload))) {
      if (!hasMoved(id)) forgetInstall(link, id);
    }
  }

  /** Taken away in one part, to be described in another. */
  function hasMoved(id: string): boolean {
    return offered.some((entry) => id === `install_${entry.id}`);
  }

  function sendPart(text: string, { topic, payload }: Message, then: () => void = () => undefined): void {
    if (Object.keys(payload.components).length === 0) {
      link.publishElsewhere(topic, '', { leads: true, delivered: () => void memory.set(topic, null) });
      then();
      return;
    }
    const gone = removals(payload);
    link.publishElsewhere(topic, JSON.stringify(payload), {
      leads: true,
      // Called each time that it is sent: the hold begins anew after a birth message.
      delivered() {
        taken.add(topic);
        if (gone.length > 0 && text === described) holdRemovals(topic, gone);
        then();
      },
    });
  }

  function holdRemovals(topic: string, gone: readonly string[]): void {
    held.set(topic, gone);
    if (holdTimer !== null) clearTimeout(holdTimer);
    holdTimer = setTimeout(() => {
      for (const [from, ids] of held) {
        const left = Object.entries(memory.components(from)).filter(([id]) => !ids.includes(id));
        void memory.set(from, Object.fromEntries(left));
      }
      held.clear();
      publishDiscovery();
    }, removalHoldMs);
  }

  function endHold(): void {
    if (holdTimer !== null) clearTimeout(holdTimer);
    holdTimer = null;
    held.clear();
  }

  function publishInstalls(): void {
    if (models === null || state === null || state.model === null) return;
    const progress = installing(state.swap);
    for (const entry of offered) {
      const installed = models.includes(entry.id);
      const payload = installPayload(
        entry,
        {
          installed,
          // What is here is not on its way any more, though the last step may not be over.
          progress: !installed && progress?.id === entry.id ? progress : null,
        },
        options.digestRequired,
      );
      const text = JSON.stringify(payload);
      if (publishedInstalls.get(entry.id) === text) continue;
      publishedInstalls.set(entry.id, text);
      link.publish('install', payload, { id: entry.id });
    }
  }

  return {
    installed(ids) {
      models = [...ids];
      publishDiscovery();
      publishInstalls();
    },
    stateChanges(next) {
      state = next;
      publishDiscovery();
      publishInstalls();
    },
    birth(text) {
      if (text !== 'online') return;
      holdTimer?.refresh();
      if (birthTimer !== null) return;
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
      endHold();
      described = '';
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

/** Takes the device away where an earlier life of the service has announced it: Home Assistant is switched off. */
function retireHomeAssistant(link: Link, memory: DiscoveryMemory): void {
  for (const topic of memory.topics()) {
    for (const id of Object.keys(memory.components(topic))) forgetInstall(link, id);
  }
  leaveOtherTopics(link, memory, () => false);
}

/** Takes the device away under earlier ids and prefixes. */
function leaveOtherTopics(link: Link, memory: DiscoveryMemory, isPresent: (topic: string) => boolean): void {
  for (const topic of memory.topics()) {
    if (isPresent(topic)) continue;
    link.publishElsewhere(topic, '', { leads: true, delivered: () => void memory.set(topic, null) });
  }
}

/** The state of a model that is not offered any more would lie at the broker for ever. */
function forgetInstall(link: Link, component: string): void {
  const id = /^install_(.+)$/.exec(component)?.[1];
  if (id !== undefined) link.publishElsewhere(link.topics.of('install', { id }), '');
}
