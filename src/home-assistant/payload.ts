import { SOURCE_NAME } from '../common/rules.js';
import { slugOf } from '../tagging/slug.js';
import type { Topics } from '../mqtt/topics.js';
import {
  entities,
  labelThresholdTemplate,
  pausedTemplate,
  TEACHING_TEMPLATE,
  thresholdCommand,
  thresholdNumber,
  type Entity,
  type Options,
  type Platform,
} from './entities.js';
import { topicsOf } from './source-topics.js';

/** A label or a group of labels that is watched, with its level of `B/label/<slug>`. */
export interface WatchedLabel {
  readonly name: string;
  readonly slug: string;
  /** Whether it can be heard: the model at work knows it, and the setting that names it is in effect. */
  readonly known: boolean;
  /** What it is to Home Assistant; null or left out: a sound. */
  readonly deviceClass?: string | null;
  /** What `threshold/set` knows by its name; null or left out: it has no threshold of its own. */
  readonly threshold?: 'label' | 'group' | null;
}

/** The box: what there is once, however many sources it has. */
export interface BoxInput {
  device: { id: string; name: string };
  /** Version of the program. */
  version: string;
  topics: Pick<Topics, 'base' | 'of'>;
  /** Ids of the models that can be chosen. */
  models: readonly string[];
  /** Models that can be installed; only those that are `shown` do not have to be enabled by hand. */
  installs: readonly { id: string; title: string; shown: boolean }[];
}

/** What is heard at one source. */
export interface HearingInput {
  watched: readonly WatchedLabel[];
  /** Whether it is known how loud full scale is. */
  calibrated: boolean;
  /** Whether its events are remembered, so that something can be said of them later. */
  remembers: boolean;
}

/** One of several sources. */
export interface SourceInput extends HearingInput {
  /** Its name in topics and commands. */
  name: string;
  /** That name as a part of entity ids, different from those of the other sources. */
  slug: string;
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
  device: {
    identifiers: string[];
    name: string;
    manufacturer: string;
    model: string;
    sw_version: string;
    via_device?: string;
  };
  origin: { name: string; sw_version: string };
  availability: Availability[];
  availability_mode: 'all';
  components: Record<string, Component>;
}

/**
 * Where Home Assistant looks for the device: `<prefix>/device/soundpost_<id>/config`, and for that of one of several
 * sources: `<prefix>/device/soundpost_<id>/source_<name>/config`. A description that is too large for one message has
 * further parts, counted from 2, at `…/soundpost_<id>/part_<n>/config` and `…/soundpost_<id>/source_<name>_P<n>/config`.
 *
 * No topic is that of two of them. Another box is another one at the level of the id. Below it `part_` and `source_`
 * tell the box from its sources; and since the name of a source has no capital letter (`SOURCE_NAME`), the one `P` that
 * there may be ends the name, also where that is like `yard_2`.
 * @param options.source null or left out: the box
 * @param options.part counted from 1
 */
export function discoveryTopic(
  prefix: string,
  deviceId: string,
  options: { source?: string | null; part?: number } = {},
): string {
  const { source = null, part = 1 } = options;
  const box = `${prefix}/device/soundpost_${deviceId}`;
  if (source !== null) return `${box}/source_${source}${part === 1 ? '' : `_P${part}`}/config`;
  return part === 1 ? `${box}/config` : `${box}/part_${part}/config`;
}

/** The source of this device whose topic this is, of any of its parts; null where it is none, or could be none. */
export function sourceOfTopic(prefix: string, deviceId: string, topic: string): string | null {
  const front = `${prefix}/device/soundpost_${deviceId}/source_`;
  if (!topic.startsWith(front)) return null;
  const name = /^([^/]+?)(?:_P(?:[2-9]|[1-9]\d+))?\/config$/.exec(topic.slice(front.length))?.[1];
  return name !== undefined && SOURCE_NAME.test(name) ? name : null;
}

/**
 * The one message that describes a box to Home Assistant (device-based discovery; the rules are in its
 * `components/mqtt/schemas.py` and `discovery.py`). The root has no keys but those it knows there, since any other
 * makes it reject all of it. Pure: the same input gives the same text.
 * @param hearing what its one source hears; null where there are several, which are devices of their own
 */
export function buildDiscovery(box: BoxInput, hearing: HearingInput | null): DiscoveryPayload {
  const place = placeOf(box, null);
  const { topics } = box;
  const isHere = (entity: Entity) => (hearing === null ? entity.on !== 'source' : isFor(entity, hearing));
  const fixed = place.fixed(entities.filter(isHere), { model: { options: box.models } });
  const installs = box.installs.map(({ id, title, shown }) =>
    place.component(
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
  return describe(box, { identifiers: [boxIdentifier(box)], name: box.device.name }, [
    ...fixed,
    ...place.labels(hearing?.watched ?? []),
    ...installs,
  ]);
}

/** The message that describes one of several sources, as a device of its own behind the box. Pure as well. */
export function buildSourceDiscovery(box: BoxInput, source: SourceInput): DiscoveryPayload {
  const place = placeOf(box, source);
  const isHere = (entity: Entity) => entity.on !== 'box' && isFor(entity, source);
  return describe(box, sourceDevice(box, source.name), [
    ...place.fixed(entities.filter(isHere)),
    ...place.labels(source.watched),
  ]);
}

/** The description of a source that is not there any more. */
export function buildGoneSource(box: BoxInput, name: string): DiscoveryPayload {
  return describe(box, sourceDevice(box, name), []);
}

/** Whether what an entity needs to know is known there. */
function isFor({ calibrated, remembers }: Entity, hearing: HearingInput): boolean {
  return (calibrated !== true || hearing.calibrated) && (remembers !== true || hearing.remembers);
}

function boxIdentifier({ device }: BoxInput): string {
  return `soundpost_${device.id}`;
}

/** No id of a device and no name of a source has a colon: no other device is called like that. */
function sourceIdentifier(box: BoxInput, name: string): string {
  return `${boxIdentifier(box)}:${name}`;
}

function sourceDevice(
  box: BoxInput,
  name: string,
): Pick<DiscoveryPayload['device'], 'identifiers' | 'name'> & { via_device: string } {
  return {
    identifiers: [sourceIdentifier(box, name)],
    name: `${box.device.name} ${titleOf(name)}`,
    via_device: boxIdentifier(box),
  };
}

/** `front-yard` as people write it: `Front yard`. */
function titleOf(name: string): string {
  const words = name.replace(/[-_]+/g, ' ').trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function describe(
  { topics, version }: BoxInput,
  { identifiers, name, ...more }: Pick<DiscoveryPayload['device'], 'identifiers' | 'name' | 'via_device'>,
  components: readonly [string, Component][],
): DiscoveryPayload {
  return {
    device: {
      identifiers,
      name,
      manufacturer: 'Soundpost',
      model: 'Sound tagger',
      sw_version: version,
      ...more,
    },
    origin: { name: 'Soundpost', sw_version: version },
    availability: [{ topic: topics.of('status') }],
    availability_mode: 'all',
    components: Object.fromEntries(components),
  };
}

type Needs = Entity['needs'] | 'never';

/** Makes the components of one device. */
interface Place {
  component(
    id: string,
    entity: Pick<Entity, 'platform' | 'name'> & { needs: Needs },
    options: Options,
  ): [string, Component];
  /** @param more further options, by the keys of entities */
  fixed(chosen: readonly Entity[], more?: Readonly<Record<string, Options>>): [string, Component][];
  labels(watched: readonly WatchedLabel[]): [string, Component][];
}

/** Of the box, or of one of several sources. */
function placeOf(box: BoxInput, source: SourceInput | null): Place {
  const { device, topics } = box;
  const uniquePrefix = source === null ? `${boxIdentifier(box)}_` : `${sourceIdentifier(box, source.name)}:`;
  const entityPrefix = `soundpost_${slugOf(device.id)}${source === null ? '' : `_${source.slug}`}`;
  const own = topicsOf(topics, source?.name ?? null);

  const service: Availability[] = [{ topic: topics.of('status') }];
  const sound: Availability[] = [...service, { topic: own.of('audio/status') }];
  const windows: Availability[] = [
    ...sound,
    { topic: topics.of('state'), value_template: pausedTemplate(source?.name ?? null) },
  ];
  // There until a model knows it again: an entity that is taken away loses what its owner has made of it.
  const never: Availability[] = [...sound, { topic: topics.of('state'), value_template: "{{ 'offline' }}" }];
  const teaching: Availability[] = [
    ...service,
    { topic: topics.of('state'), value_template: TEACHING_TEMPLATE },
  ];
  const needed: Record<Needs, { availability?: Availability[] }> = {
    service: {},
    sound: { availability: sound },
    windows: { availability: windows },
    never: { availability: never },
    teaching: { availability: teaching },
  };

  const component: Place['component'] = (id, { platform, name, needs }, options) => [
    id,
    {
      platform,
      name,
      unique_id: `${uniquePrefix}${id}`,
      default_entity_id: `${platform}.${entityPrefix}_${slugOf(id)}`,
      // All others inherit the one of the root.
      ...needed[needs],
      ...options,
    },
  ];

  /** Requests are the box's; they name the source in what they say. */
  const commandTopic = (command: string): string =>
    `${command.startsWith('request/') ? topics.base : own.base}/${command}`;

  return {
    component,
    fixed: (chosen, more = {}) =>
      chosen.map(({ key, state, attributes, command, options, ofSource, ...entity }) =>
        component(key, entity, {
          ...options,
          ...(source === null ? {} : ofSource?.(source.name)),
          ...(state === undefined ? {} : { state_topic: own.of(state) }),
          ...(attributes === undefined ? {} : { json_attributes_topic: own.of(attributes) }),
          ...(command === undefined ? {} : { command_topic: commandTopic(command) }),
          ...more[key],
        }),
      ),
    labels: (watched) =>
      watched.flatMap((label, index) => {
        const { name, slug, known, deviceClass } = label;
        const heard = component(
          `label_${slug}`,
          { platform: 'binary_sensor', name, needs: known ? 'sound' : 'never' },
          {
            device_class: deviceClass ?? 'sound',
            state_topic: own.label(slug),
            json_attributes_topic: own.last(slug),
            // What is cleared is no JSON, and Home Assistant warns of that.
            json_attributes_template: "{{ value or '{}' }}",
            qos: 1,
          },
        );
        const threshold = thresholdOptions(label, topics, source?.name ?? null);
        if (threshold === null || index >= MAX_THRESHOLDS) return [heard];
        return [
          heard,
          component(
            `threshold_${slug}`,
            { platform: 'number', name: `${name} threshold`, needs: 'service' },
            threshold,
          ),
        ];
      }),
  };
}

/** Nobody sets more of them by hand, and each is a third of a description more. */
const MAX_THRESHOLDS = 50;

/** The number that is the threshold of one label or group; null where it has none. */
function thresholdOptions(
  { name, threshold: kind }: WatchedLabel,
  topics: BoxInput['topics'],
  source: string | null,
): Options | null {
  if (kind === null || kind === undefined) return null;
  return {
    ...thresholdNumber,
    enabled_by_default: false,
    state_topic: topics.of('info'),
    value_template: labelThresholdTemplate(name, kind, source),
    command_topic: `${topics.base}/request/threshold/set`,
    command_template: thresholdCommand({ label: name, ...(source === null ? {} : { source }) }),
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
