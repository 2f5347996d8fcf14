import { connectAsync, type MqttClient } from 'mqtt';
import { setTimeout as delay } from 'node:timers/promises';
import { BASE_TOPIC, deviceId, deviceNumber, eventKey } from './messages.js';

/** The other side of the broker: who consumes the events, and who operates the fleet. */

const EVENTS = `${BASE_TOPIC}/+/event`;
const REPLIES = 'fleet-bench/replies';
/** For the retained states of all to arrive. */
const STATUS_LIMIT_MS = 10_000;
const SUBSCRIBE_LIMIT_MS = 30_000;
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
  /** The longest time without a delivery since the last call, in ms. */
  takeSilenceMs(): number;
  stop(): Promise<void>;
}

/** The addresses as mqtt.js takes several: in turn, at every reconnect. */
function servers(urls: readonly string[]): { host: string; port: number; protocol: 'mqtt' }[] {
  return urls.map((url) => ({
    host: new URL(url).hostname,
    port: Number(new URL(url).port),
    protocol: 'mqtt',
  }));
}

/** Gets every event, with a session that outlives its connection; it begins at the first node, which will die. */
export async function startConsumer(
  urls: readonly string[],
  version: 4 | 5,
  onEvent: (device: number, key: string, late: boolean) => void,
): Promise<Consumer> {
  const client = await connectAsync({
    servers: servers(urls),
    clientId: 'fleet-bench-consumer',
    protocolVersion: version,
    clean: false,
    ...(version === 5 && { properties: { sessionExpiryInterval: 3600, receiveMaximum: 65_535 } }),
    reconnectPeriod: 200,
    connectTimeout: 5000,
  });
  ignoreErrors(client);
  let count = 0;
  let lastAt = performance.now();
  let silenceMs = 0;
  client.on('message', (topic, payload) => {
    count += 1;
    silenceMs = Math.max(silenceMs, performance.now() - lastAt);
    lastAt = performance.now();
    const device = deviceNumber(topic.split('/')[1] ?? '');
    const event = JSON.parse(payload.toString()) as { id: string; event_type: string; late: boolean };
    onEvent(device, eventKey(event.id, event.event_type), event.late);
  });
  await subscribe(client, EVENTS);
  return {
    count: () => count,
    takeSilenceMs() {
      const longest = Math.max(silenceMs, performance.now() - lastAt);
      silenceMs = 0;
      return longest;
    },
    stop: () => end(client),
  };
}

export interface Gauge {
  /** What the broker has counted since its start, about a second old; null where it does not tell. */
  counts(): Counts | null;
  stop(): Promise<void>;
}

/** Reads the broker's own counters, where it has some (`tells`). */
export async function startGauge(url: string, tells: boolean): Promise<Gauge> {
  if (!tells) return { counts: () => null, stop: () => Promise.resolve() };
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

/**
 * Switches the model of every device, with a reply awaited from each: on one response topic with MQTT 5, on that of
 * each device without it.
 */
export async function switchModels(
  url: string,
  options: { version: 4 | 5; devices: number; model: string; limitMs: number; signal: AbortSignal },
): Promise<Answers> {
  const { version, devices, model, limitMs, signal } = options;
  const client = await connectAsync(url, { protocolVersion: version, reconnectPeriod: 0 });
  ignoreErrors(client);
  const sentAt: number[] = [];
  const answers: Answers = Array.from({ length: devices }, () => null);
  try {
    let missing = devices;
    const all = new Promise<void>((resolve) => {
      client.on('message', (topic, payload, packet) => {
        const device =
          version === 5
            ? Number(packet.properties?.correlationData?.toString() ?? NaN)
            : deviceNumber(topic.split('/')[1] ?? '');
        const reply = JSON.parse(payload.toString()) as { status: string };
        if (sentAt[device] === undefined || answers[device] !== null) return;
        missing -= 1;
        if (reply.status === 'ok') answers[device] = performance.now() - sentAt[device];
        if (missing === 0) resolve();
      });
    });
    const request = JSON.stringify({ id: model });
    const ask = (device: number) => {
      sentAt[device] = performance.now();
      return client.publishAsync(`${BASE_TOPIC}/${deviceId(device)}/request/model/set`, request, {
        qos: 1,
        ...(version === 5 && {
          properties: { responseTopic: REPLIES, correlationData: Buffer.from(String(device)) },
        }),
      });
    };
    const exchange = async () => {
      await subscribe(client, version === 5 ? REPLIES : `${BASE_TOPIC}/+/response/model/set`);
      await Promise.all(Array.from({ length: devices }, (_, device) => ask(device)));
      await all;
    };
    // A cluster that cannot keep up grants no subscription and acknowledges nothing, for as long as one waits.
    await withinLimit(exchange(), limitMs, signal);
  } finally {
    await end(client);
  }
  return answers;
}

/**
 * How many devices are `online` and `offline`, by the retained states that a newcomer at this node gets: all at once,
 * or, where the broker gives none for a wildcard, topic by topic.
 */
export async function countStatuses(
  url: string,
  devices: number,
  wildcard: boolean,
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
    const topics = Array.from({ length: devices }, (_, device) => `${BASE_TOPIC}/${deviceId(device)}/status`);
    const exchange = async () => {
      await subscribe(client, wildcard ? `${BASE_TOPIC}/+/status` : topics);
      await all;
    };
    await withinLimit(exchange(), STATUS_LIMIT_MS);
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
  // Where the limit comes first, what it waited for may fail later.
  awaited.catch(() => undefined);
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

/** A cluster may refuse a subscription while its nodes agree on something else; whoever needs it asks again. */
async function subscribe(client: MqttClient, topics: string | string[]): Promise<void> {
  const until = performance.now() + SUBSCRIBE_LIMIT_MS;
  for (;;) {
    try {
      await client.subscribeAsync(topics, { qos: 1 });
      return;
    } catch (error) {
      if (!client.connected || performance.now() > until) throw error;
      await delay(500);
    }
  }
}

/** The broker is killed on purpose; reconnecting is the answer to every error. */
function ignoreErrors(client: MqttClient): void {
  client.on('error', () => undefined);
}

async function end(client: MqttClient): Promise<void> {
  await client.endAsync(true);
}
