import { z } from 'zod';
import type { SourceKind } from '../audio/source.js';

/**
 * The MQTT contract: every topic, what it carries and how. Types, validation, the field-name test and the
 * generated documents all come from this one map, so nothing about a topic is written down a second time.
 *
 * The contract only grows: fields and topics may be added, never renamed or removed. Reading is loose (unknown
 * keys are ignored), so that an old reader understands a newer writer.
 */

/** Raised when the meaning of the contract grows; readers may look at it in `info`. */
export const SCHEMA_VERSION = 1;

/** A moment, ISO 8601 in UTC with milliseconds, as `isoTime` writes it. */
const time = z.iso.datetime({ precision: 3 });
const label = z.string().min(1);
/** AudioSet's machine identifier, null for a class of one's own. */
const mid = z.string().nullable();
const score = z.number().min(0).max(1);
const milliseconds = z.number().nonnegative();
/** A reading that this machine does not have is null, never 0. */
const reading = z.number().nullable();
const flag = z.boolean().nullable();
const count = z.number().int().nonnegative();

const sources = ['microphone', 'file', 'stream', 'demo'] as const satisfies readonly SourceKind[];

const modelSummary = z.object({
  id: z.string(),
  title: z.string(),
  /** How many labels the model knows. */
  labels: count.nullable(),
  audioset_map: reading,
  macs: reading,
});

const info = z.object({
  schema_version: z.number().int(),
  version: z.string(),
  device: z.object({ id: z.string(), name: z.string() }),
  models: z.object({ installed: z.array(modelSummary), known: z.array(modelSummary) }),
  /** The effective configuration, secrets left out. */
  config: z.record(z.string(), z.unknown()),
});

const state = z.object({
  /** Null as long as no model has been loaded. */
  model: z.string().nullable(),
  rate_hz: z.number(),
  effective_rate_hz: z.number(),
  paused: z.boolean(),
  /** Null where each label has the threshold that its model recommends. */
  threshold: score.nullable(),
  source: z.enum(sources),
  throttle: z.object({ active: z.boolean(), reason: z.string().nullable() }),
  swap: z.object({
    /** `idle`, or the step that long work is at, such as `loading`. */
    state: z.string(),
    model: z.string().nullable(),
    /** 0 … 1, null where it is not known. */
    progress: score.nullable(),
  }),
});

const tags = z.object({
  ts: time,
  seq: count,
  model: z.string(),
  window: z.object({ start: time, end: time }),
  tags: z.array(z.object({ label, mid, score })),
  /** Digital silence is -120; null where no sound came since the window before. */
  level_dbfs: reading,
  latency_ms: milliseconds,
});

const event = z.object({
  /** The same for the start and the end of one sound, and for a repeated delivery. */
  id: z.string().min(1),
  event_type: z.enum(['started', 'ended']),
  label,
  mid,
  group: z.string().nullable(),
  score,
  peak: score,
  started_at: time,
  /** Null in `started`. */
  ended_at: time.nullable(),
  duration_s: z.number().nonnegative().nullable(),
  model: z.string(),
  /** True where the event waited for the broker. The outbox writes it, whatever the publisher said. */
  late: z.boolean(),
});

const level = z.object({ ts: time, dbfs: reading, peak_dbfs: reading });

const telemetry = z.object({
  ts: time,
  uptime_s: z.number().nonnegative(),
  model: z.string().nullable(),
  rate_hz: z.object({ requested: z.number(), effective: z.number(), measured: reading }),
  latency_ms: z.object({
    count,
    mean: reading,
    p50: reading,
    p95: reading,
    p99: reading,
    max: reading,
    features_p50: reading,
    inference_p50: reading,
    queue_p50: reading,
    publish_p50: reading,
  }),
  windows: z.object({ processed: count, dropped: count }),
  soc: z.object({
    temperature_c: reading,
    frequency_mhz: reading,
    throttled: flag,
    under_voltage: flag,
    throttled_since_boot: flag,
  }),
  host: z.object({
    cpu_percent: reading,
    load_1m: reading,
    memory_rss_mb: reading,
    memory_available_mb: reading,
    disk_free_mb: reading,
  }),
  audio: z.object({ overruns: count, restarts: count }),
  inference: z.object({ restarts: count }),
  outbox: z.object({ queued: count, dropped: count }),
  /** Only where `telemetry.event_loop` asks for it: delay of the service's event loop. */
  event_loop_ms: z.object({ p50: reading, p99: reading, max: reading }).optional(),
});

const log = z.object({
  ts: time,
  level: z.enum(['warn', 'error']),
  message: z.string(),
  code: z.string().nullable(),
});

/** What a requester may add to any request; it comes back in the reply. */
const transaction = z.union([z.string().max(256), z.number()]);

const request = z.looseObject({ transaction: transaction.optional() });

const response = z.discriminatedUnion('status', [
  z.object({
    status: z.literal('ok'),
    data: z.record(z.string(), z.unknown()),
    transaction: transaction.optional(),
  }),
  z.object({
    status: z.literal('error'),
    error: z.object({ code: z.string(), message: z.string() }),
    data: z.record(z.string(), z.unknown()),
    transaction: transaction.optional(),
  }),
]);

const availability = z.enum(['online', 'offline']);

/**
 * What the link does with a message that cannot be sent at once.
 * - `state`: only the newest per topic is kept; sent again after every connect.
 * - `outbox`: kept, in order, until the broker has acknowledged it.
 * - `reply`: kept in order in a short queue.
 * - `transient`: dropped; it is of no use later.
 */
export type Delivery = 'state' | 'outbox' | 'reply' | 'transient';

export interface TopicSpec {
  /** Below `B` = `<base_topic>/<device.id>`; `<name>` stands for a parameter. */
  readonly template: string;
  readonly direction: 'out' | 'in';
  /** `json` payloads are objects; `text` payloads are bare words or numbers, for people and for consoles. */
  readonly format: 'json' | 'text';
  readonly schema: z.ZodType;
  readonly qos: 0 | 1;
  readonly retain: boolean;
  readonly delivery: Delivery;
  readonly description: string;
}

export const contract = {
  status: {
    template: 'status',
    direction: 'out',
    format: 'text',
    schema: availability,
    qos: 1,
    retain: true,
    delivery: 'state',
    description:
      'Whether the service is there; the broker says `offline` when the connection breaks (the will).',
  },
  'audio/status': {
    template: 'audio/status',
    direction: 'out',
    format: 'text',
    schema: availability,
    qos: 1,
    retain: true,
    delivery: 'state',
    description: 'Whether sound arrives: a dead or digitally silent microphone is `offline`.',
  },
  info: {
    template: 'info',
    direction: 'out',
    format: 'json',
    schema: info,
    qos: 1,
    retain: true,
    delivery: 'state',
    description: 'Version, device, models installed and known, effective configuration without secrets.',
  },
  state: {
    template: 'state',
    direction: 'out',
    format: 'json',
    schema: state,
    qos: 1,
    retain: true,
    delivery: 'state',
    description:
      'What the service does now: model, rate, pause, threshold, source, throttling, progress of a swap.',
  },
  tags: {
    template: 'tags',
    direction: 'out',
    format: 'json',
    schema: tags,
    qos: 0,
    retain: true,
    delivery: 'state',
    description: 'The top tags of every inference.',
  },
  event: {
    template: 'event',
    direction: 'out',
    format: 'json',
    schema: event,
    qos: 1,
    retain: false,
    delivery: 'outbox',
    description: 'A sound that began or ended.',
  },
  label: {
    template: 'label/<slug>',
    direction: 'out',
    format: 'text',
    schema: z.enum(['ON', 'OFF']),
    qos: 1,
    retain: true,
    delivery: 'state',
    description: 'Whether a watched label or group is being heard.',
  },
  level: {
    template: 'level',
    direction: 'out',
    format: 'json',
    schema: level,
    qos: 0,
    retain: true,
    delivery: 'state',
    description: 'Loudness, at most once in 5 s.',
  },
  telemetry: {
    template: 'telemetry',
    direction: 'out',
    format: 'json',
    schema: telemetry,
    qos: 0,
    retain: true,
    delivery: 'state',
    description: 'Latency, temperature, load and counters.',
  },
  log: {
    template: 'log',
    direction: 'out',
    format: 'json',
    schema: log,
    qos: 0,
    retain: false,
    delivery: 'transient',
    description: 'Warnings and errors, repeats suppressed.',
  },
  response: {
    template: 'response/<command>',
    direction: 'out',
    format: 'json',
    schema: response,
    qos: 1,
    retain: false,
    delivery: 'reply',
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
    description:
      'Sets one thing by a bare value, such as `mn10_as`, `0.5` or `ON`; answered on `response/<name>/set`.',
  },
  request: {
    template: 'request/<command>',
    direction: 'in',
    format: 'json',
    schema: request,
    qos: 1,
    retain: false,
    delivery: 'transient',
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
export type LevelPayload = Payload<'level'>;
export type TelemetryPayload = Payload<'telemetry'>;
export type LogPayload = Payload<'log'>;
export type ResponsePayload = Payload<'response'>;
export type Transaction = z.infer<typeof transaction>;
export const transactionSchema = transaction;

/** A wall-clock time, in ms since the epoch, as payloads carry it: ISO 8601, UTC, milliseconds. */
export function isoTime(epochMs: number): string {
  return new Date(epochMs).toISOString();
}

/** The way back: ms since the epoch of an ISO 8601 time; NaN where it is none. */
export function epochMs(iso: string): number {
  return Date.parse(iso);
}
