import { SoundpostError } from '../common/errors.js';
import { deviceId as deviceIdRule, SOURCE_NAME, topic as topicRule } from '../common/rules.js';
import { contract, type OutKey, type TopicArguments, type TopicKey } from './contract.js';

/** What arrived on one of our topics: by a request topic, or by a `…/set` topic. */
export interface CommandAddress {
  /** The command's name, such as `model/set` or `pause`. */
  name: string;
  form: 'request' | 'set';
  /** The source that the topic names, of several; its name is not checked yet. */
  source?: string;
}

export interface TopicsOptions {
  /** Somebody else's topic, to be subscribed to as well. */
  birthTopic?: string | undefined;
  /** The names of the sources where there are several; none where there is one. */
  sources?: readonly string[];
}

export interface Topics {
  /** `B` = `<base_topic>/<device.id>`. */
  readonly base: string;
  /** The full topic of a key of the contract, placeholders filled in. */
  of<K extends TopicKey>(key: K, ...parameters: TopicArguments<K>): string;
  /** The names of the sources where there are several; none where there is one. */
  readonly sources: readonly string[];
  /** Everything this service ever subscribes to: its own commands, and the birth topic where there is one. */
  readonly subscriptions: readonly string[];
  /** The command that a topic addresses, or null where it is not the topic of a well-formed command. */
  commandOf(topic: string): CommandAddress | null;
  /**
   * Whether a response topic that a requester chose may be written to: an ordinary topic, not a system topic,
   * not one of ours other than a response topic, and nobody's command: a reply must never set off another command.
   */
  mayRespondTo(topic: string): boolean;
  /** Whether a response topic is below `B/response/`. */
  isOwnResponse(topic: string): boolean;
}

const MAX_COMMAND_NAME = 64;
const MAX_RESPONSE_TOPIC = 1024;
const commandName = /^[a-zA-Z0-9_-]+(\/[a-zA-Z0-9_-]+)*$/;

/**
 * First levels of topics that we publish and that could end in `/set` as well, such as `label/<slug>`: they are no name
 * of a thing to set. `below` is the front part of the templates that are looked at.
 */
function reservedBelow(below: string): ReadonlySet<string> {
  return new Set(
    Object.values(contract).flatMap(({ template }) => {
      if (!template.startsWith(below)) return [];
      const [first = '', second] = template.slice(below.length).split('/');
      return second?.startsWith('<') === true ? [first] : [];
    }),
  );
}

const OF_SOURCE = 'source/<source>/';
const reserved = reservedBelow('');
const reservedOfSource = reservedBelow(OF_SOURCE);

/** The topic of a key below `B`, placeholders filled in. */
export function topicBelow(key: TopicKey, values: Record<string, string>): string {
  return contract[key].template.replace(/<(\w+)>/g, (_, name: string) => values[name] ?? '');
}

/**
 * Builds and reads the topics of one device. Throws SoundpostError `invalid_topic` where the base topic, the device id
 * or the name of a source cannot be part of a topic, or where the birth topic is one of ours.
 */
export function createTopics(baseTopic: string, deviceId: string, options: TopicsOptions = {}): Topics {
  const { birthTopic, sources = [] } = options;
  if (!topicRule.safeParse(baseTopic).success) {
    throw new SoundpostError(
      'invalid_topic',
      `mqtt.base_topic "${baseTopic}" cannot begin a topic: use words separated by single slashes, without "+", "#" or a leading "$".`,
    );
  }
  if (!deviceIdRule.safeParse(deviceId).success) {
    throw new SoundpostError(
      'invalid_topic',
      `device.id "${deviceId}" cannot be part of a topic: use letters, digits, "_" and "-" only.`,
    );
  }
  const unfit = sources.find((source) => !SOURCE_NAME.test(source));
  if (unfit !== undefined) {
    throw new SoundpostError('invalid_topic', `The source "${unfit}" cannot be part of a topic.`);
  }
  const base = `${baseTopic}/${deviceId}`;
  if (birthTopic?.startsWith(`${base}/`) === true) {
    throw new SoundpostError(
      'invalid_topic',
      `${birthTopic} is this device’s own: choose another homeassistant.status_topic or mqtt.base_topic.`,
    );
  }
  const requestPrefix = `${base}/request/`;
  const responsePrefix = `${base}/response/`;

  return {
    base,
    sources,
    of(key, ...parameters) {
      return `${base}/${topicBelow(key, parameters[0] ?? {})}`;
    },
    subscriptions: [
      `${base}/+/set`,
      `${base}/request/#`,
      ...(sources.length === 0 ? [] : [`${base}/source/+/+/set`]),
      ...(birthTopic === undefined ? [] : [birthTopic]),
    ],
    commandOf(topic) {
      const form = topic.startsWith(requestPrefix) ? 'request' : 'set';
      const name = topic.slice(form === 'request' ? requestPrefix.length : base.length + 1);
      if (name.length > MAX_COMMAND_NAME || !commandName.test(name)) return null;
      if (form === 'request') {
        // B/request/set is caught by both subscriptions, so it could come twice; no command has that name.
        return name === 'set' ? null : { name, form };
      }
      if (!topic.startsWith(`${base}/`)) return null;
      const [first = '', second = '', ...rest] = name.split('/');
      if (rest.length === 0) return second === 'set' && !reserved.has(first) ? { name, form } : null;
      const [thing = '', verb, ...more] = rest;
      if (sources.length === 0 || first !== 'source' || verb !== 'set' || more.length > 0) return null;
      return reservedOfSource.has(thing) ? null : { name: `${thing}/set`, form, source: second };
    },
    mayRespondTo(topic) {
      if (topic === '' || topic.length > MAX_RESPONSE_TOPIC || /[+#\0]/.test(topic)) return false;
      if (topic.startsWith('$') || topic.endsWith('/set') || topic.includes('/request/')) return false;
      const ours = topic === base || topic.startsWith(`${base}/`);
      return !ours || topic.startsWith(responsePrefix);
    },
    isOwnResponse: (topic) => topic.startsWith(responsePrefix),
  };
}

/** The keys of the contract that this service publishes. */
export const outKeys = (Object.keys(contract) as TopicKey[]).filter(
  (key): key is OutKey => contract[key].direction === 'out',
);

/**
 * Labels, models and commands have topics that are alike: `B/label/dog` belongs to `B/label`; null where it is none.
 * Those of each source are a family of their own: `B/source/yard/label/dog` belongs to `B/source/yard/label`.
 */
export function familyOf(base: string, topic: string): string | null {
  if (!topic.startsWith(`${base}/`)) return null;
  const levels = topic.slice(base.length + 1).split('/');
  const front = levels[0] === 'source' ? 3 : 1;
  return levels.length <= front ? null : [base, ...levels.slice(0, front)].join('/');
}
