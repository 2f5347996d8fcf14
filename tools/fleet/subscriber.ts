import { connect, type IClientOptions, type MqttClient } from 'mqtt';
import { setTimeout as delay } from 'node:timers/promises';

/** A message that has not come within this time does not come. */
export const PATIENCE_MS = 3000;

/** A client that remembers what it hears. */
export interface Subscriber {
  client: MqttClient;
  /** Whether this text comes on this topic within the time. */
  hears(topic: string, text: string, limitMs?: number): Promise<boolean>;
  heard(): number;
}

/** Resolves to `otherwise` where the work fails or takes longer. */
export async function attempt<T>(work: Promise<T>, otherwise: T, limitMs = PATIENCE_MS): Promise<T> {
  const limit = new AbortController();
  try {
    return await Promise.race([
      work.catch(() => otherwise),
      delay(limitMs, otherwise, { signal: limit.signal }).catch(() => otherwise),
    ]);
  } finally {
    limit.abort();
  }
}

/** Connects; rejects where it is not let in. */
export async function open(url: string, options: IClientOptions): Promise<Subscriber> {
  const client = connect(url, { reconnectPeriod: 0, connectTimeout: 5000, ...options });
  const messages: string[] = [];
  const wakers = new Set<() => void>();
  // Before the connection is there: what waited in a session comes with its first packets.
  client.on('message', (topic, payload) => {
    messages.push(`${topic} ${payload.toString()}`);
    for (const wake of [...wakers]) wake();
  });
  await new Promise<void>((resolve, reject) => {
    client.once('connect', () => resolve());
    client.on('error', reject);
    client.once('close', () => reject(new Error(`${url} lets nobody in`)));
  });
  return {
    client,
    heard: () => messages.length,
    hears: (topic, text, limitMs = PATIENCE_MS) =>
      attempt(
        new Promise<boolean>((resolve) => {
          const look = (): void => {
            if (!messages.includes(`${topic} ${text}`)) return;
            wakers.delete(look);
            resolve(true);
          };
          wakers.add(look);
          look();
        }),
        false,
        limitMs,
      ),
  };
}
