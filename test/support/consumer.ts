import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mqtt from 'mqtt';
import type { EventPayload } from '../../src/mqtt/contract.js';
import { startMosquitto, type Mosquitto } from './broker.js';
import { createWaiting } from './waiting.js';

/* The other end of the events, for tests that count them. */

interface Owner {
  teardown(handler: () => Promise<unknown>): void;
}

/** A broker that remembers sessions and messages when it is killed; with its defaults it does not. */
export async function lastingBroker(t: Owner): Promise<Mosquitto> {
  const folder = await mkdtemp(join(tmpdir(), 'soundpost-persistence-'));
  const broker = await startMosquitto({
    config: [
      'persistence true',
      `persistence_location ${folder}/`,
      'autosave_interval 1',
      'autosave_on_changes true',
      'max_inflight_messages 0',
      'max_queued_messages 0',
    ],
  });
  t.teardown(async () => {
    await broker.stop();
    await rm(folder, { recursive: true, force: true });
  });
  return broker;
}

/** A consumer whose session outlives everything. */
export async function startConsumer(t: Owner, url: string, base: string) {
  const events: EventPayload[] = [];
  const states = new Map<string, string>();
  const { wake, until } = createWaiting();
  const client = mqtt.connect(url, {
    clientId: `consumer-of-${base.replaceAll('/', '-')}`,
    clean: false,
    reconnectPeriod: 30,
  });
  client.on('error', () => undefined);
  client.on('message', (topic, payload) => {
    if (topic === `${base}/event`) events.push(JSON.parse(payload.toString()) as EventPayload);
    else states.set(topic.slice(base.length + 1), payload.toString());
    wake();
  });
  t.teardown(() => client.endAsync(true));
  const connected = () => new Promise<void>((resolve) => client.once('connect', () => resolve()));
  await connected();
  await client.subscribeAsync(`${base}/#`, { qos: 1 });
  return {
    events,
    /** The newest text of every other topic. */
    states,
    /** The number of the newest window, -1 before the first. */
    seq: () => (JSON.parse(states.get('tags') ?? '{"seq":-1}') as { seq: number }).seq,
    connected: async () => {
      if (!client.connected) await connected();
    },
    until: (fits: () => boolean, what: string) => until(fits, what, 30),
  };
}

export type Consumer = Awaited<ReturnType<typeof startConsumer>>;

/** A start and an end are two. */
export const nameOf = ({ id, event_type }: EventPayload): string => `${id} ${event_type}`;

/** The first delivery of each event, in order. */
export function firsts(events: readonly EventPayload[]): Map<string, EventPayload> {
  const first = new Map<string, EventPayload>();
  for (const event of events) if (!first.has(nameOf(event))) first.set(nameOf(event), event);
  return first;
}
