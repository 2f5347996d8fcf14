import { z } from 'zod';
import { RATE_HZ } from '../common/rules.js';
import * as payloads from './payloads.js';

/**
 * The MQTT contract: every topic, what it carries and how. Types, validation, the field-name test and the
 * generated documents all come from this one map, so nothing about a topic is written down a second time.
 *
 * The contract only grows: fields and topics may be added, never renamed or removed. Reading is loose (unknown
 * keys are ignored), so that an old reader understands a newer writer.
 */

/** Raised when the meaning of the contract grows; readers may look at it in `info`. */
export const SCHEMA_VERSION = 1;

/**
 * What the link does with a message that cannot be sent at once.
 * - `state`: only the newest per topic is kept; sent again after every connect.
 * - `outbox`: kept, in order, until the broker has acknowledged it.
 * - `reply`: kept in order in a short queue.
 * - `transient`: dropped; it is of no use later. With QoS 1 it goes in line with the replies of its connection.
 */
export type Delivery = 'state' | 'outbox' | 'reply' | 'transient';

export interface TopicSpec {
  /** Below `B` = `<base_topic>/<device.id>`; each `<name>` stands for a parameter. */
  readonly template: string;
  readonly direction: 'out' | 'in';
  /** `json` payloads are objects; `text` payloads are bare words or numbers, for people and for consoles. */
  readonly format: 'json' | 'text';
  readonly schema: z.ZodType;
  readonly qos: 0 | 1;
  readonly retain: boolean;
  readonly delivery: Delivery;
  /**
   * MQTT 5: after so many seconds the broker throws the message away, because it would mislead whoever gets it
   * then. Null for what holds until it is replaced. A payload that says itself when the next one is due, by
   * `interval_seconds`, lasts for three of these intervals instead (see `expiryOf`).
   */
  readonly expirySeconds: number | null;
  readonly description: string;
}

/** A sound that began longer ago is no news; `B/event` has it all the same. */
const LIVE_EVENT_EXPIRY_SECONDS = 60;
/** Three hops at the slowest rate of inference. */
const TAGS_EXPIRY_SECONDS = 3 / RATE_HZ.min;

/** What is told of a source: of the only one on topics of these names, of each of several below `source/<source>/`. */
const ofSource = {
  tags: {
    direction: 'out',
    format: 'json',
    schema: payloads.tags,
    qos: 0,
    retain: true,
    delivery: 'state',
    expirySeconds: TAGS_EXPIRY_SECONDS,
  },
  label: {
    direction: 'out',
    format: 'text',
    schema: payloads.heard,
    qos: 1,
    retain: true,
    delivery: 'state',
    expirySeconds: null,
  },
  last: {
    direction: 'out',
    format: 'json',
    schema: payloads.last,
    qos: 0,
    retain: true,
    delivery: 'state',
    expirySeconds: null,
  },
  level: {
    direction: 'out',
    format: 'json',
    schema: payloads.level,
    qos: 0,
    retain: true,
    delivery: 'state',
    expirySeconds: 60,
  },
  'audio/status': {
    direction: 'out',
    format: 'text',
    schema: payloads.availability,
    qos: 1,
    retain: true,
    delivery: 'state',
    expirySeconds: null,
  },
} as const satisfies Record<string, Omit<TopicSpec, 'template' | 'description'>>;

export type SourceKey = keyof typeof ofSource;

export const contract = {
  status: {
    template: 'status',
    direction: 'out',
    format: 'text',
    schema: payloads.availability,
    qos: 1,
    retain: true,
    delivery: 'state',
    expirySeconds: null,
    description:
      'Whether the service is there; the broker says `offline` when the connection breaks (the will).',
  },
  'audio/status': {
    template: 'audio/status',
    ...ofSource['audio/status'],
    description: 'Whether sound arrives: a dead or digitally silent microphone is `offline`.',
  },
  info: {
    template: 'info',
    direction: 'out',
    format: 'json',
    schema: payloads.info,
    qos: 1,
    retain: true,
    delivery: 'state',
    expirySeconds: null,
    description: 'Version, device, models installed and known, effective configuration without secrets.',
  },
  state: {
    template: 'state',
    direction: 'out',
    format: 'json',
    schema: payloads.state,
    qos: 1,
    retain: true,
    delivery: 'state',
    expirySeconds: null,
    description:
      'What the service does now: model, rate, pause, threshold, source, throttling, progress of a swap.',
  },
  tags: {
    template: 'tags',
    ...ofSource.tags,
    description: 'The top tags of every inference.',
  },
  event: {
    template: 'event',
    direction: 'out',
    format: 'json',
    schema: payloads.event,
    qos: 1,
    retain: false,
    delivery: 'outbox',
    expirySeconds: null,
    description: 'A sound that began or ended.',
  },
  label: {
    template: 'label/<slug>',
    ...ofSource.label,
    description: 'Whether a watched label or group is being heard.',
  },
  last: {
    template: 'last/<slug>',
    ...ofSource.last,
    description:
      'What a watched label or group was last heard as, and when; it has not ended where `ended_at` is null.',
  },
  level: {
    template: 'level',
    ...ofSource.level,
    description: 'Loudness, at most once in 5 s.',
  },
  'source/tags': {
    template: 'source/<source>/tags',
    ...ofSource.tags,
    description: 'Only with several sources, in place of `tags`: the top tags of one of them.',
  },
  'source/event': {
    template: 'source/<source>/event',
    direction: 'out',
    format: 'json',
    schema: payloads.event,
    qos: 1,
    retain: false,
    delivery: 'transient',
    expirySeconds: LIVE_EVENT_EXPIRY_SECONDS,
    description:
      'Only with several sources, and only while there is a connection: what `event` says of one of them. What must not be lost is on `event`.',
  },
  'source/label': {
    template: 'source/<source>/label/<slug>',
    ...ofSource.label,
    description:
      'Only with several sources, in place of `label/<slug>`: whether one of them hears a watched label or group.',
  },
  'source/last': {
    template: 'source/<source>/last/<slug>',
    ...ofSource.last,
    description:
      'Only with several sources, in place of `last/<slug>`: as what and when one of them last heard a watched label or group.',
  },
  'source/level': {
    template: 'source/<source>/level',
    ...ofSource.level,
    description:
      'Only with several sources, in place of `level`: the loudness at one of them, at most once in 5 s.',
  },
  'source/audio/status': {
    template: 'source/<source>/audio/status',
    ...ofSource['audio/status'],
    description:
      'Only with several sources: whether sound arrives from this one; `audio/status` is `online` when it does from all.',
  },
  telemetry: {
    template: 'telemetry',
    direction: 'out',
    format: 'json',
    schema: payloads.telemetry,
    qos: 0,
    retain: true,
    delivery: 'state',
    expirySeconds: 90,
    description: 'Latency, temperature, load and counters.',
  },
  install: {
    template: 'install/<id>',
    direction: 'out',
    format: 'json',
    schema: payloads.install,
    qos: 1,
    retain: true,
    delivery: 'state',
    expirySeconds: null,
    description:
      'Whether a model that Home Assistant is offered is installed, and how far its installation is; only with `homeassistant.enabled`.',
  },
  log: {
    template: 'log',
    direction: 'out',
    format: 'json',
    schema: payloads.log,
    qos: 0,
    retain: false,
    delivery: 'transient',
    expirySeconds: 3600,
    description: 'Warnings and errors, repeats suppressed.',
  },
  response: {
    template: 'response/<command>',
    direction: 'out',
    format: 'json',
    schema: payloads.response,
    qos: 1,
    retain: false,
    delivery: 'reply',
    expirySeconds: 600,
    description: 'The one reply to each request.',
  },
  set: {
    template: '<name>/set',
    direction: 'in',
    format: 'text',
    schema: z.string(),
    qos: 1,
    retain: false,
    delivery: 'transient',
    expirySeconds: null,
    description:
      'Sets one thing by a bare value, such as `mn10_as`, `0.5` or `ON`; answered on `response/<name>/set`.',
  },
  'source/set': {
    template: 'source/<source>/<name>/set',
    direction: 'in',
    format: 'text',
    schema: z.string(),
    qos: 1,
    retain: false,
    delivery: 'transient',
    expirySeconds: null,
    description:
      'Only with several sources: sets one thing of one of them by a bare value; answered on `response/<name>/set`.',
  },
  request: {
    template: 'request/<command>',
    direction: 'in',
    format: 'json',
    schema: payloads.request,
    qos: 1,
    retain: false,
    delivery: 'transient',
    expirySeconds: null,
    description: 'A command: empty, or a JSON object, which may carry a `transaction` of its own.',
  },
} as const satisfies Record<string, TopicSpec>;

export type TopicKey = keyof typeof contract;
/** The topics that this service writes. */
export type OutKey = {
  [K in TopicKey]: (typeof contract)[K]['direction'] extends 'out' ? K : never;
}[TopicKey];
/** What goes into a topic. */
export type Payload<K extends TopicKey> = z.infer<(typeof contract)[K]['schema']>;

type PlaceholdersOf<T extends string> = T extends `${string}<${infer P}>${infer Rest}`
  ? P | PlaceholdersOf<Rest>
  : never;
/** The parameters of a topic, `never` where it has none. */
export type Parameter<K extends TopicKey> = PlaceholdersOf<(typeof contract)[K]['template']>;
/** The last argument of functions that take a topic: present where the topic has parameters. */
export type TopicArguments<K extends TopicKey> = [Parameter<K>] extends [never]
  ? []
  : [parameters: Record<Parameter<K>, string>];

export type Availability = Payload<'status'>;
export type InfoPayload = Payload<'info'>;
export type StatePayload = Payload<'state'>;
export type TagsPayload = Payload<'tags'>;
export type EventPayload = Payload<'event'>;
export type LastPayload = Payload<'last'>;
export type LevelPayload = Payload<'level'>;
export type TelemetryPayload = Payload<'telemetry'>;
export type LogPayload = Payload<'log'>;
export type InstallPayload = Payload<'install'>;
export type ResponsePayload = Payload<'response'>;
export type Transaction = z.infer<typeof payloads.transaction>;
export const transactionSchema = payloads.transaction;

/** The expiry of one message, in whole seconds; null where it never expires. */
export function expiryOf<K extends OutKey>(key: K, payload: Payload<K>): number | null {
  const { expirySeconds } = contract[key];
  if (expirySeconds === null || typeof payload !== 'object' || !('interval_seconds' in payload)) {
    return expirySeconds;
  }
  return Math.ceil(3 * payload.interval_seconds);
}

/** A wall-clock time, in ms since the epoch, as payloads carry it: ISO 8601, UTC, milliseconds. */
export function isoTime(epochMs: number): string {
  return new Date(epochMs).toISOString();
}

/** The way back: ms since the epoch of an ISO 8601 time; NaN where it is none. */
export function epochMs(iso: string): number {
  return Date.parse(iso);
}
