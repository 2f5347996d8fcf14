import mqtt, { type IClientPublishOptions, type IPublishPacket } from 'mqtt';

export interface ProbeMessage {
  topic: string;
  text: string;
  retain: boolean;
  properties: NonNullable<IPublishPacket['properties']>;
}

/** A client that remembers what it gets, and lets a test await one message. */
export interface Probe {
  /** Everything that has arrived, in order. */
  readonly messages: readonly ProbeMessage[];
  /**
   * The first message on this topic that fits and has not been passed by an earlier call for the topic. Rejects
   * after `timeoutMs` with what did arrive.
   */
  next(topic: string, fits?: (message: ProbeMessage) => boolean, timeoutMs?: number): Promise<ProbeMessage>;
  /** Like `next`, for a JSON payload. */
  nextJson<T = Record<string, unknown>>(topic: string, fits?: (payload: T) => boolean): Promise<T>;
  /** Resolves once the broker has it. */
  publish(topic: string, payload: string | Buffer, options?: IClientPublishOptions): Promise<void>;
  /** Resolves when the connection is gone, whoever ended it. */
  readonly closed: Promise<void>;
  close(): Promise<void>;
}

export async function createProbe(
  url: string,
  topics: string[],
  options: mqtt.IClientOptions = {},
): Promise<Probe> {
  const client = await mqtt.connectAsync(url, { reconnectPeriod: 0, ...options });
  const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
  const messages: ProbeMessage[] = [];
  /** How many messages of each topic `next` has passed. */
  const passed = new Map<string, number>();
  const wakers = new Set<() => void>();
  client.on('message', (topic, payload, packet) => {
    messages.push({
      topic,
      text: payload.toString(),
      retain: packet.retain,
      properties: packet.properties ?? {},
    });
    for (const wake of wakers) wake();
  });
  await client.subscribeAsync(topics, { qos: 1 });

  function take(topic: string, fits: (message: ProbeMessage) => boolean): ProbeMessage | undefined {
    const candidates = messages.filter((message) => message.topic === topic);
    const at = candidates.findIndex((message, index) => index >= (passed.get(topic) ?? 0) && fits(message));
    if (at < 0) return undefined;
    passed.set(topic, at + 1);
    return candidates[at];
  }

  function next(topic: string, fits: (message: ProbeMessage) => boolean = () => true, timeoutMs = 30_000) {
    return new Promise<ProbeMessage>((resolve, reject) => {
      const look = (): void => {
        const found = take(topic, fits);
        if (found === undefined) return;
        finish();
        resolve(found);
      };
      const finish = (): void => {
        clearTimeout(timer);
        wakers.delete(look);
      };
      const timer = setTimeout(() => {
        finish();
        const seen = messages.slice(-30).map((message) => `  ${message.topic} ${message.text.slice(0, 200)}`);
        reject(new Error(`No such message on ${topic}. The last ones were:\n${seen.join('\n')}`));
      }, timeoutMs);
      wakers.add(look);
      look();
    });
  }

  return {
    messages,
    next,
    async nextJson<T>(topic: string, fits: (payload: T) => boolean = () => true) {
      const message = await next(topic, ({ text }) => fits(JSON.parse(text) as T));
      return JSON.parse(message.text) as T;
    },
    async publish(topic, payload, publishOptions = {}) {
      await client.publishAsync(topic, payload, { qos: 1, ...publishOptions });
    },
    closed,
    async close() {
      if (client.connected) await client.endAsync(true);
    },
  };
}
