/**
 * What the clients of the embedded broker may take of this machine: it is a small one, and the service lives in the
 * same process. The service's own link is not counted.
 */
export const BROKER_LIMITS = {
  connections: 100,
  /** From one address that is not this machine. */
  connectionsPerAddress: 30,
  connectionsPerSecond: 20,
  connectionsBurst: 100,
  /** Of one packet: a request has 64 KB at most. Before anything of it is gathered. */
  packetBytes: 256 * 1024,
  /** aedes keeps messages of QoS 2 until they are released: so many of a client, each so large. */
  exactlyOnceMessages: 10,
  exactlyOnceBytes: 16 * 1024,
  subscriptions: 50,
  subscriptionsInAll: 1000,
  filterBytes: 1024,
  retainedBytes: 512 * 1024,
  retainedBytesInAll: 2 * 1024 * 1024,
  retainedTopics: 500,
  retainedTopicsInAll: 1000,
  /** Bytes that wait for a subscriber that does not read. Whoever subscribes to all gets all retained ones at once. */
  queuedBytes: 4 * 1024 * 1024,
  queuedBytesInAll: 16 * 1024 * 1024,
  /** What comes faster is read later: the line fills, and the sender waits. */
  packetsPerSecond: 200,
  packetsBurst: 500,
  bytesPerSecond: 256 * 1024,
  bytesBurst: 1024 * 1024,
  packetsPerSecondInAll: 400,
  packetsBurstInAll: 1000,
  bytesPerSecondInAll: 1024 * 1024,
  bytesBurstInAll: 2 * 1024 * 1024,
  /** Whoever has sent fewer packets lately does not wait for what others send. */
  unhurriedPackets: 20,
} as const;

/** Counts what is kept for clients, each by a key of its own, and says whether more may be. */
export interface Accounts {
  /**
   * A retained message of a client (null: of the service itself) takes the place of what is at its topic.
   * @param bytes of topic and payload; 0 takes the message away
   * @returns whether it may be kept; where not, what was there stays.
   */
  retain(client: object | null, topic: string, bytes: number): boolean;
  /** @returns whether the client may have this subscription. */
  subscribe(client: object, filter: string): boolean;
  unsubscribe(client: object, filters: readonly string[]): void;
  /** The client is gone; what it had retained stays, and stays counted. */
  gone(client: object): void;
}

export function createAccounts(limits = BROKER_LIMITS): Accounts {
  /** What is at each topic that somebody else than the service has written. */
  const retained = new Map<string, { client: object; bytes: number }>();
  const sums = new Map<object, { bytes: number; topics: number }>();
  const subscriptions = new Map<object, Set<string>>();
  let retainedBytes = 0;
  let subscribed = 0;

  const add = (client: object, bytes: number, topics: number) => {
    const sum = sums.get(client) ?? { bytes: 0, topics: 0 };
    sum.bytes += bytes;
    sum.topics += topics;
    if (sum.topics > 0) sums.set(client, sum);
    else sums.delete(client);
    retainedBytes += bytes;
  };

  return {
    retain(client, topic, bytes) {
      const there = retained.get(topic);
      if (client !== null && bytes > 0) {
        const own = sums.get(client) ?? { bytes: 0, topics: 0 };
        const mine = there?.client === client ? there.bytes : 0;
        if (
          own.bytes - mine + bytes > limits.retainedBytes ||
          own.topics + (mine > 0 ? 0 : 1) > limits.retainedTopics ||
          retainedBytes - (there?.bytes ?? 0) + bytes > limits.retainedBytesInAll ||
          retained.size + (there === undefined ? 1 : 0) > limits.retainedTopicsInAll
        ) {
          return false;
        }
      }
      if (there !== undefined) {
        add(there.client, -there.bytes, -1);
        retained.delete(topic);
      }
      if (client !== null && bytes > 0) {
        add(client, bytes, 1);
        retained.set(topic, { client, bytes });
      }
      return true;
    },
    subscribe(client, filter) {
      const own = subscriptions.get(client) ?? new Set();
      if (own.has(filter)) return true;
      if (
        own.size >= limits.subscriptions ||
        subscribed >= limits.subscriptionsInAll ||
        Buffer.byteLength(filter) > limits.filterBytes
      ) {
        return false;
      }
      own.add(filter);
      subscribed += 1;
      subscriptions.set(client, own);
      return true;
    },
    unsubscribe(client, filters) {
      const own = subscriptions.get(client);
      for (const filter of filters) if (own?.delete(filter) === true) subscribed -= 1;
    },
    gone(client) {
      subscribed -= subscriptions.get(client)?.size ?? 0;
      subscriptions.delete(client);
    },
  };
}
