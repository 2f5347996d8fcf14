import { slugOf } from '../tagging/slug.js';
import type { Topics } from '../mqtt/topics.js';
import { entities, type Entity, type Options, type Platform } from './entities.js';

/** A label or a group of labels that is watched, with its level of `B/label/<slug>`. */
export interface WatchedLabel {
  readonly name: string;
  readonly slug: string;
  /** Whether it can be heard: the model at work knows it, and the setting that names it is in effect. */
  readonly known: boolean;
}

export interface DiscoveryInput {
  device: { id: string; name: string };
  /** Version of the program. */
  version: string;
  topics: Pick<Topics, 'base' | 'of'>;
  /** Ids of the models that can be chosen. */
  models: readonly string[];
  /** Models that can be installed; only those that are `shown` do not have to be enabled by hand. */
  installs: readonly { id: string; title: string; shown: boolean }[];
  watched: readonly WatchedLabel[];
}

interface Availability {
  topic: string;
  value_template?: string;
}

/** One entity, or only its platform: that takes it away. */
export type Component = { platform: Platform } & Record<
  string,
  string | number | boolean | readonly string[] | Availability[]
>;

export interface DiscoveryPayload {
  device: { identifiers: string[]; name: string; manufacturer: string; model: string; sw_version: string };
  origin: { name: string; sw_version: string };
  availability: Availability[];
  availability_mode: 'all';
  components: Record<string, Component>;
}

/**
 * Where Home Assistant looks for the device: `<prefix>/device/soundpost_<id>/config`. A description that is too large
 * for one message has further parts, counted from 2, at `<prefix>/device/soundpost_<id>/part_<n>/config`.
 */
export function discoveryTopic(prefix: string, deviceId: string, part = 1): string {
  const device = `${prefix}/device/soundpost_${deviceId}`;
  return part === 1 ? `${device}/config` : `${device}/part_${part}/config`;
}

/**
 * The one message that describes a device to Home Assistant (device-based discovery; the rules are in its
 * `components/mqtt/schemas.py` and `discovery.py`). The root has no keys but those it knows there, since any other
 * makes it reject all of it. Pure: the same input gives the same text.
 */
export function buildDiscovery(input: DiscoveryInput): DiscoveryPayload {
  const { device, topics, version } = input;
  const prefix = `soundpost_${device.id}`;
  const entityPrefix = `soundpost_${slugOf(device.id)}`;
  const service: Availability[] = [{ topic: topics.of('status') }];
  const sound: Availability[] = [...service, { topic: topics.of('audio/status') }];

  const windows: Availability[] = [
    ...sound,
    { topic: topics.of('state'), value_template: "{{ 'offline' if value_json.paused else 'online' }}" },
  ];
  // There until a model knows it again: an entity that is taken away loses what its owner has made of it.
  const never: Availability[] = [...sound, { topic: topics.of('state'), value_template: "{{ 'offline' }}" }];
  const needed = {
    service: {},
    sound: { availability: sound },
    windows: { availability: windows },
    never: { availability: never },
  };

  const component = (
    id: string,
    { platform, name, needs }: Pick<Entity, 'platform' | 'name'> & { needs: keyof typeof needed },
    options: Options,
  ): [string, Component] => [
    id,
    {
      platform,
      name,
      unique_id: `${prefix}_${id}`,
      default_entity_id: `${platform}.${entityPrefix}_${slugOf(id)}`,
      // All others inherit the one of the root.
      ...needed[needs],
      ...options,
    },
  ];

  const fixed = entities.map(({ key, state, attributes, command, options, ...entity }) =>
    component(key, entity, {
      ...options,
      ...(state === undefined ? {} : { state_topic: topics.of(state) }),
      ...(attributes === undefined ? {} : { json_attributes_topic: topics.of(attributes) }),
      ...(command === undefined ? {} : { command_topic: `${topics.base}/${command}` }),
      ...(key === 'model' ? { options: input.models } : {}),
    }),
  );
  const labels = input.watched.map(({ name, slug, known }) =>
    component(
      `label_${slug}`,
      { platform: 'binary_sensor', name, needs: known ? 'sound' : 'never' },
      { device_class: 'sound', state_topic: topics.of('label', { slug }), qos: 1 },
    ),
  );
  const installs = input.installs.map(({ id, title, shown }) =>
    component(
      `install_${id}`,
      { platform: 'update', name: title, needs: 'service' },
      {
        entity_category: 'config',
        icon: 'mdi:brain',
        state_topic: topics.of('install', { id }),
        command_topic: `${topics.base}/request/model/pull`,
        payload_install: JSON.stringify({ id }),
        ...(shown ? {} : { enabled_by_default: false }),
      },
    ),
  );

  return {
    device: {
      identifiers: [prefix],
      name: device.name,
      manufacturer: 'Soundpost',
      model: 'Sound tagger',
      sw_version: version,
    },
    origin: { name: 'Soundpost', sw_version: version },
    availability: service,
    availability_mode: 'all',
    components: Object.fromEntries([...fixed, ...labels, ...installs]),
  };
}

/** The platform of every entity in a payload, by the id of its component. */
export function platformsOf({ components }: DiscoveryPayload): Record<string, Platform> {
  return Object.fromEntries(Object.entries(components).map(([id, { platform }]) => [id, platform]));
}

/** The ids of components that a payload takes away. */
export function removals({ components }: DiscoveryPayload): string[] {
  return Object.entries(components).flatMap(([id, component]) => ('unique_id' in component ? [] : [id]));
}
