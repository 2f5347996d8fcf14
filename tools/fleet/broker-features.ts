import type { IClientOptions, IClientPublishOptions, MqttClient } from 'mqtt';
import { setTimeout as delay } from 'node:timers/promises';
import { attempt, open, type Subscriber } from './subscriber.js';

/**
 * What a broker does, found by trying it with clients of its own before any device is there. `other` is another node
 * than the one it was done at; with one node it is the same. Null: there is no way to try it.
 */
export interface BrokerFeatures {
  /** The newest version of the protocol that it accepts. */
  mqtt_version: 4 | 5;
  /** The highest QoS that it grants to a subscription, and of a message that it acknowledges. */
  granted_qos: number;
  taken_qos: number;
  /** A retained message comes to whoever subscribes later to its topic, or to a filter with a wildcard. */
  retained: boolean;
  retained_wildcard: boolean;
  retained_other_node: boolean;
  retained_other_node_wildcard: boolean;
  /** An empty retained message takes it away again. */
  retained_removed: boolean;
  /** What comes for a session while its client is away waits, and is given out at another node. */
  session: boolean;
  session_other_node: boolean;
  /** The will of a client whose connection breaks comes to whoever listens at another node, and stays retained. */
  will: boolean;
  will_retained: boolean;
  /** A message that expires does not come any more; null without MQTT 5. */
  expiry: boolean | null;
  /** Of two members of one group each message comes to one. */
  shared_subscription: boolean;
  /** A topic with a "." in it arrives as it was sent. */
  dot_in_topic: boolean;
}

/** What is found when the first node is killed; null with one node. */
export interface CrashFeatures {
  /** The will of a client of the node that died is published by another one. */
  will_of_dead_node: boolean | null;
  /** What was retained through the node that died is still there. */
  retained_of_dead_node: boolean | null;
}

const ROOT = 'fleet-bench';
const WILL_TOPIC = `${ROOT}/dead/will`;
const RETAINED_TOPIC = `${ROOT}/dead/retained`;
/** The dead node's connections have to be noticed, and its neighbours to agree that it is dead. */
const DEATH_PATIENCE_MS = 15_000;

/** The newest version of the protocol that the broker accepts. */
export async function newestVersion(url: string): Promise<4 | 5> {
  try {
    const { client } = await open(url, { protocolVersion: 5 });
    await client.endAsync(true);
    return 5;
  } catch {
    return 4;
  }
}

/** Tries everything that there is to try while all nodes are well. Throws only where nobody is let in at all. */
export async function findBrokerFeatures(urls: readonly [string, ...string[]]): Promise<BrokerFeatures> {
  const here = urls[0];
  const other = urls[1] ?? here;
  const version = await newestVersion(here);
  const opened = new Set<MqttClient>();
  let number = 0;

  async function client(url: string, options: IClientOptions = {}): Promise<Subscriber> {
    number += 1;
    const subscriber = await open(url, {
      protocolVersion: version,
      clientId: `${ROOT}-${number}`,
      ...options,
    });
    opened.add(subscriber.client);
    return subscriber;
  }
  /** Whether the broker acknowledges it. */
  async function publish(
    url: string,
    topic: string,
    text: string,
    options: IClientPublishOptions = {},
  ): Promise<boolean> {
    const { client: sender } = await client(url);
    const sent = sender.publishAsync(topic, text, { qos: 1, ...options }).then(() => true);
    const done = await attempt(sent, false);
    await sender.endAsync(true);
    return done;
  }
  /** Whether a newcomer gets it. */
  async function newcomerHears(url: string, filter: string, topic: string, text: string): Promise<boolean> {
    const listener = await client(url);
    await attempt(listener.client.subscribeAsync(filter, { qos: 1 }), []);
    return listener.hears(topic, text);
  }
  /** Whether what comes while it is away waits for a session that begins at one node and goes on at another. */
  async function sessionHears(
    from: string,
    to: string,
    name: string,
    message: { options?: IClientPublishOptions; awayMs?: number } = {},
  ): Promise<boolean> {
    const topic = `${ROOT}/session/${name}`;
    const session: IClientOptions = {
      clientId: `${ROOT}-session-${name}`,
      clean: false,
      ...(version === 5 && { properties: { sessionExpiryInterval: 60 } }),
    };
    const before = await client(from, session);
    await attempt(before.client.subscribeAsync(topic, { qos: 1 }), []);
    await before.client.endAsync();
    await publish(to, topic, 'waited', message.options);
    await delay(message.awayMs ?? 0);
    const after = await client(to, session);
    const heard = await after.hears(topic, 'waited');
    await attempt(after.client.unsubscribeAsync(topic), undefined);
    return heard;
  }

  try {
    const subscriber = await client(other);
    const granted = await attempt(subscriber.client.subscribeAsync(`${ROOT}/qos/#`, { qos: 2 }), []);
    let taken = 0;
    for (const qos of [1, 2] as const) {
      if (await publish(here, `${ROOT}/qos/${qos}`, 'x', { qos })) taken = qos;
    }

    const kept = `${ROOT}/retained/kept`;
    await publish(here, kept, 'kept', { retain: true });
    const wildcard = `${ROOT}/retained/+`;
    const retained = await newcomerHears(here, kept, kept, 'kept');
    const retainedWildcard = await newcomerHears(here, wildcard, kept, 'kept');
    const elsewhere = await newcomerHears(other, kept, kept, 'kept');
    const elsewhereWildcard = await newcomerHears(other, wildcard, kept, 'kept');
    await publish(here, kept, '', { retain: true });
    const removed = !(await newcomerHears(here, kept, kept, 'kept'));

    const willTopic = `${ROOT}/will`;
    const watcher = await client(other);
    await attempt(watcher.client.subscribeAsync(willTopic, { qos: 1 }), []);
    const mortal = await client(here, {
      will: { topic: willTopic, payload: Buffer.from('gone'), qos: 1, retain: true },
    });
    mortal.client.stream.destroy();
    const will = await watcher.hears(willTopic, 'gone');
    const willRetained = await newcomerHears(here, willTopic, willTopic, 'gone');
    await publish(here, willTopic, '', { retain: true });

    const members = [await client(here), await client(other)];
    const shared = `${ROOT}/shared`;
    for (const { client: member } of members) {
      await attempt(member.subscribeAsync(`$share/group/${shared}`, { qos: 1 }), []);
    }
    for (const text of ['1', '2', '3', '4']) await publish(here, shared, text);
    await delay(500);
    const shares = members.reduce((sum, member) => sum + member.heard(), 0);

    const dotted = `${ROOT}/dot/v1.2`;
    const dotEar = await client(other);
    await attempt(dotEar.client.subscribeAsync(`${ROOT}/dot/#`, { qos: 1 }), []);
    await publish(here, dotted, 'x');
    const dot = await dotEar.hears(dotted, 'x');

    const expiring = { options: { properties: { messageExpiryInterval: 1 } }, awayMs: 2500 };
    return {
      mqtt_version: version,
      granted_qos: granted[0]?.qos ?? 0,
      taken_qos: taken,
      retained,
      retained_wildcard: retainedWildcard,
      retained_other_node: elsewhere,
      retained_other_node_wildcard: elsewhereWildcard,
      retained_removed: retained && removed,
      session: await sessionHears(here, here, 'here'),
      session_other_node: await sessionHears(here, other, 'moved'),
      will,
      will_retained: willRetained,
      expiry: version === 5 ? !(await sessionHears(here, here, 'expiring', expiring)) : null,
      shared_subscription: shares === 4,
      dot_in_topic: dot,
    };
  } finally {
    for (const one of opened) await one.endAsync(true).catch(() => undefined);
  }
}

/** Puts a client with a will and a retained message onto the first node; the result is to be asked after its death. */
export async function prepareCrash(
  urls: readonly [string, ...string[]],
): Promise<{ outcome(): Promise<CrashFeatures>; stop(): Promise<void> }> {
  const other = urls[1];
  if (other === undefined) {
    return {
      outcome: () => Promise.resolve({ will_of_dead_node: null, retained_of_dead_node: null }),
      stop: () => Promise.resolve(),
    };
  }
  const watcher = await open(other, { clientId: `${ROOT}-watcher` });
  await attempt(watcher.client.subscribeAsync(WILL_TOPIC, { qos: 1 }), []);
  const mortal = await open(urls[0], {
    clientId: `${ROOT}-mortal`,
    will: { topic: WILL_TOPIC, payload: Buffer.from('gone'), qos: 1, retain: false },
  });
  await attempt(mortal.client.publishAsync(RETAINED_TOPIC, 'kept', { qos: 1, retain: true }), undefined);
  return {
    async outcome() {
      const will = await watcher.hears(WILL_TOPIC, 'gone', DEATH_PATIENCE_MS);
      const newcomer = await open(other, { clientId: `${ROOT}-newcomer` });
      await attempt(newcomer.client.subscribeAsync(RETAINED_TOPIC, { qos: 1 }), []);
      const retained = await newcomer.hears(RETAINED_TOPIC, 'kept');
      await newcomer.client.endAsync(true);
      return { will_of_dead_node: will, retained_of_dead_node: retained };
    },
    async stop() {
      await mortal.client.endAsync(true);
      await watcher.client.endAsync(true);
    },
  };
}
