import { randomUUID } from 'node:crypto';
import mqtt from 'mqtt';
import type { EventPayload, ResponsePayload } from '../../src/mqtt/contract.js';
import type { Owner } from './scope.js';
import { until } from '../../test/support/waiting.js';

/** The other end: a client whose session outlives broker and service, that keeps account of what it hears. */
export interface Watcher {
  /** Everything on `B/event`, in order, repeats included. */
  readonly events: readonly EventPayload[];
  /** The newest text of every topic below `B`, without `B/`. */
  readonly states: ReadonlyMap<string, string>;
  /** Codes on `B/log`. */
  readonly codes: readonly string[];
  /** Replies by their correlation. */
  readonly replies: ReadonlyMap<string, ResponsePayload[]>;
  /** How many windows of one of several sources were told, and how many numbers are missing in their row. */
  windowsOf(source: string): { told: number; missing: number };
  /** How many messages on `B/tags`, or of any source, there were, and the longest time between two of them, in ms. */
  readonly tags: { count: number; longestGapMs: number; reset(): void };
  json<T>(topic: string): Partial<T>;
  /** Sends a request, or any text in place of one; its correlation. */
  send(command: string, payload?: object | string): Promise<string>;
  request(command: string, payload?: object | string, seconds?: number): Promise<ResponsePayload>;
  /** Resolves with the seconds it took until so many further tags have come. */
  nextTags(count: number, what: string, seconds: number): Promise<number>;
  /** Without a broker it cannot be asked for anything. */
  readonly connected: boolean;
}

/** @param version the embedded broker speaks MQTT 3.1.1 only. */
export async function startWatcher(
  owner: Owner,
  url: string,
  base: string,
  version: 4 | 5 = 5,
): Promise<Watcher> {
  const events: EventPayload[] = [];
  const states = new Map<string, string>();
  const codes: string[] = [];
  const replies = new Map<string, ResponsePayload[]>();
  const rows = new Map<string, { told: number; missing: number; seq: number }>();
  let count = 0;
  let longestGapMs = 0;
  let last: number | null = null;
  const client = mqtt.connect(url, {
    clientId: `watcher-${randomUUID().slice(0, 8)}`,
    protocolVersion: version,
    clean: false,
    ...(version === 5 && { properties: { sessionExpiryInterval: 3600 } }),
    reconnectPeriod: 50,
  });
  client.on('error', () => undefined);
  client.on('message', (topic, payload, packet) => {
    const path = topic.slice(base.length + 1);
    const text = payload.toString();
    states.set(path, text);
    // A retained message that was cleared.
    if (text === '') return;
    if (path === 'event') events.push(JSON.parse(text) as EventPayload);
    else if (path === 'log') codes.push((JSON.parse(text) as { code: string }).code);
    else if (/^(source\/[^/]+\/)?tags$/.test(path) && !packet.retain) {
      const { seq } = JSON.parse(text) as { seq: number };
      const row = rows.get(path) ?? { told: 0, missing: 0, seq: seq - 1 };
      rows.set(path, { told: row.told + 1, missing: row.missing + seq - row.seq - 1, seq });
      const now = performance.now();
      if (last !== null) longestGapMs = Math.max(longestGapMs, now - last);
      last = now;
      count += 1;
    } else if (path.startsWith('response/')) {
      const reply = JSON.parse(text) as ResponsePayload;
      const correlation = packet.properties?.correlationData?.toString() ?? String(reply.transaction);
      replies.set(correlation, [...(replies.get(correlation) ?? []), reply]);
    }
  });
  owner.teardown(() => client.endAsync(true));
  await until(() => client.connected, `a connection to ${url}`, 20);
  await client.subscribeAsync([`${base}/#`], { qos: 1 });

  const send = async (command: string, payload: object | string = ''): Promise<string> => {
    const correlation = randomUUID();
    await client.publishAsync(
      `${base}/request/${command}`,
      typeof payload === 'string' && payload !== ''
        ? payload
        : JSON.stringify({ ...(typeof payload === 'object' && payload), transaction: correlation }),
      { qos: 1, ...(version === 5 && { properties: { correlationData: Buffer.from(correlation) } }) },
    );
    return correlation;
  };
  return {
    events,
    states,
    codes,
    replies,
    tags: {
      get count() {
        return count;
      },
      get longestGapMs() {
        return last === null ? Infinity : Math.max(longestGapMs, performance.now() - last);
      },
      reset() {
        longestGapMs = 0;
        last = performance.now();
      },
    },
    windowsOf: (source) => rows.get(`source/${source}/tags`) ?? { told: 0, missing: 0 },
    json: <T>(topic: string) => JSON.parse(states.get(topic) ?? '{}') as Partial<T>,
    send,
    async request(command, payload, seconds = 30) {
      const correlation = await send(command, payload);
      await until(() => replies.has(correlation), `a reply to ${command}`, seconds);
      return replies.get(correlation)![0]!;
    },
    async nextTags(further, what, seconds) {
      const from = count;
      return until(() => count >= from + further, what, seconds);
    },
    get connected() {
      return client.connected;
    },
  };
}
