import { connectAsync, type MqttClient } from 'mqtt';
import { setTimeout as delay } from 'node:timers/promises';
import { BASE_TOPIC, deviceId, deviceNumber, eventKey } from './messages.js';

/** The other side of the broker: who consumes the events, and who operates the fleet. */

const EVENTS = `${BASE_TOPIC}/+/event`;
const REPLIES = 'fleet-bench/replies';
/** For the retained states of all to arrive. */
const STATUS_LIMIT_MS = 10_000;
/**
 * What the broker counts: everything that is written to it and that it writes, in packets of MQTT. (Its counter of
 * published messages, `publish/messages/received`, leaves out those that are to be retained.)
 */
const COUNTERS = {
  packetsIn: '$SYS/broker/messages/received',
  packetsOut: '$SYS/broker/messages/sent',
  bytesIn: '$SYS/broker/bytes/received',
  bytesOut: '$SYS/broker/bytes/sent',
} as const;

export type Counts = Record<keyof typeof COUNTERS, number>;

export interface Consumer {
  /** Deliveries so far. */
  count(): number;
  stop(): Promise<void>;
}

/** Gets every event, with a session that outlives its connection. */
export async function startConsumer(
  url: string,
  onEvent: (device: number, key: string, late: boolean) => void,
): Promise<Consumer> {
  const client = await connectAsync(url, {
    clientId: 'fleet-bench-consumer',
    protocolVersion: 5,
    clean: false,
    properties: { sessionExpiryInterval: 3600, receiveMaximum: 65_535 },
    reconnectPeriod: 200,
  });
  ignoreErrors(client);
  let count = 0;
  client.on('message', (topic, payload) => {
    count += 1;
    const device = deviceNumber(topic.split('/')[1] ?? '');
    const event = JSON.parse(payload.toString()) as { id: string; event_type: string; late: boolean };
    onEvent(device, eventKey(event.id, event.event_type), event.late);
  });
  await client.subscribeAsync(EVENTS, { qos: 1 });
  return { count: () => count, stop: () => end(client) };
}

export interface Gauge {
  /** What the broker has counted since its start, about a second old. */
  counts(): Counts;
  stop(): Promise<void>;
}

/** Reads the broker's own counters. */
export async function startGauge(url: string): Promise<Gauge> {
  const client = await connectAsync(url, { reconnectPeriod: 200 });
  ignoreErrors(client);
  const counts: Counts = { packetsIn: 0, packetsOut: 0, bytesIn: 0, bytesOut: 0 };
  const keys = Object.keys(COUNTERS) as (keyof Counts)[];
  client.on('message', (topic, payload) => {
    const key = keys.find((name) => COUNTERS[name] === topic);
    if (key !== undefined) counts[key] = Number(payload.toString());
  });
  await client.subscribeAsync(Object.values(COUNTERS));
  return { counts: () => ({ ...counts }), stop: () => end(client) };
}

/** How long each device took to answer, in ms; null for those that did not, or not with `ok`. */
export type Answers = (number | null)[];

/** Switches the model of every device, with a reply awaited from each. */
export async function switchModels(
  url: string,
  options: { devices: number; model: string; limitMs: number; signal: AbortSignal },
): Promise<Answers> {
  const { devices, model, limitMs, signal } = options;
  const client = await connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0 });
  ignoreErrors(client);
  const sentAt: number[] = [];
  const answers: Answers = Array.from({ length: devices }, () => null);
  try {
    let missing = devices;
    await client.subscribeAsync(REPLIES, { qos: 1 });
    const all = new Promise<void>((resolve) => {
      client.on('message', (_topic, payload, packet) => {
        const device = Number(packet.properties?.correlationData?.toString() ?? NaN);
        const reply = JSON.parse(payload.toString()) as { status: string };
        if (sentAt[device] === undefined || answers[device] !== null) return;
        missing -= 1;
        if (reply.status === 'ok') answers[device] = performance.now() - sentAt[device];
        if (missing === 0) resolve();
      });
    });
    const request = JSON.stringify({ id: model });
    await Promise.all(
      Array.from({ length: devices }, (_, device) => {
        sentAt[device] = performance.now();
        return client.publishAsync(`${BASE_TOPIC}/${deviceId(device)}/request/model/set`, request, {
          qos: 1,
          properties: { responseTopic: REPLIES, correlationData: Buffer.from(String(device)) },
        });
      }),
    );
    await withinLimit(all, limitMs, signal);
  } finally {
    await end(client);
  }
  return answers;
}

/** How many devices are `online` and `offline`, by the retained states that a newcomer gets. */
export async function countStatuses(
  url: string,
  devices: number,
): Promise<{ online: number; offline: number }> {
  const client = await connectAsync(url, { reconnectPeriod: 0 });
  ignoreErrors(client);
  const states = new Map<string, string>();
  try {
    const all = new Promise<void>((resolve) => {
      client.on('message', (topic, payload) => {
        states.set(topic, payload.toString());
        if (states.size === devices) resolve();
      });
    });
    await client.subscribeAsync(`${BASE_TOPIC}/+/status`, { qos: 1 });
    await withinLimit(all, STATUS_LIMIT_MS);
  } finally {
    await end(client);
  }
  const values = [...states.values()];
  return {
    online: values.filter((text) => text === 'online').length,
    offline: values.filter((text) => text === 'offline').length,
  };
}

/** Waits for it, but not longer than that; rejects where `signal` fires. Leaves no timer behind. */
async function withinLimit(awaited: Promise<void>, limitMs: number, signal?: AbortSignal): Promise<void> {
  const done = new AbortController();
  const limit = delay(limitMs, undefined, {
    signal: signal === undefined ? done.signal : AbortSignal.any([signal, done.signal]),
  });
  try {
    await Promise.race([awaited, limit]);
  } finally {
    limit.catch(() => undefined);
    done.abort();
  }
}

/** The broker is killed on purpose; reconnecting is the answer to every error. */
function ignoreErrors(client: MqttClient): void {
  client.on('error', () => undefined);
}

async function end(client: MqttClient): Promise<void> {
  await client.endAsync(true);
}
