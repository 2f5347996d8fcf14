import type { IClientOptions, IPublishPacket, MqttClient } from 'mqtt';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import {
  abortConnection,
  closeConnection,
  openConnection,
  parseAccess,
  type BrokerAccess,
  type Connection,
  type Failure,
} from './connection.js';
import {
  contract,
  type EventPayload,
  type OutKey,
  type Payload,
  type ResponsePayload,
  type TopicArguments,
} from './contract.js';
import { createMemoryOutbox, type Outbox } from './outbox.js';
import { createReconnectPolicy, type ReconnectTiming } from './reconnect.js';
import { describeRefusal, refusedTopics } from './refused.js';
import { createSender, outgoing } from './sender.js';
import { createTopics, type Topics } from './topics.js';

/** A message on one of the topics we subscribe to. Nothing in it has been checked. */
export interface IncomingMessage {
  topic: string;
  payload: Uint8Array;
  /** It lay at the broker (or, with MQTT 5, was sent to lie there). */
  retain: boolean;
  responseTopic?: string | undefined;
  correlationData?: Buffer | undefined;
}

/** The one reply to a request. */
export interface Reply {
  command: string;
  payload: ResponsePayload;
  /** MQTT 5: a second place for the reply, checked already. */
  responseTopic?: string | undefined;
  correlationData?: Buffer | undefined;
}

export type LinkStatus =
  | { state: 'connecting' }
  | { state: 'connected'; protocolVersion: 4 | 5 }
  /** `refused`: a person has to change something (credentials, certificate, a second device with this id). */
  | { state: 'offline' | 'refused'; code: string; reason: string }
  | { state: 'stopped' };

export interface LinkOptions extends BrokerAccess {
  protocolVersion?: 4 | 5;
  baseTopic: string;
  deviceId: string;
  log: Logger;
  /** Called for every request; what it throws is logged and goes no further. */
  onRequest: (message: IncomingMessage) => void;
  /** Somebody else's topic on which a message means that they have just come up, such as Home Assistant's. */
  birthTopic?: string | undefined;
  /** Called with the text of every message on it. */
  onBirth?: (text: string) => void;
  /** Where events wait; in memory by default. */
  outbox?: Outbox;
  random?: () => number;
  /** How long the machine has been up, in s: it may have come up with a whole building. The machine's by default. */
  uptimeSeconds?: number;
  /** Overrides for tests; milliseconds unless named otherwise. */
  timing?: Partial<Timing>;
}

export interface Timing extends ReconnectTiming {
  connectTimeoutMs: number;
  keepaliveSeconds: number;
  /** How long events wait after the broker has refused one. */
  refusedEventMs: number;
  /** How long `stop()` waits for the last messages. */
  flushMs: number;
}

export interface Link {
  readonly topics: Topics;
  /** Begins to connect and resolves at once: an unreachable broker is nothing unusual. */
  start(): Promise<void>;
  /** Says `offline`, waits briefly for what is on its way, and closes. Idempotent. */
  stop(): Promise<void>;
  /** Never throws, never waits; what becomes of it while there is no broker is written in the contract. */
  publish<K extends OutKey>(key: K, payload: Payload<K>, ...parameters: TopicArguments<K>): void;
  /**
   * The state of this topic will not change any more. What was published last stays at the broker, and is not sent again
   * in later sessions.
   */
  retire<K extends OutKey>(key: K, ...parameters: TopicArguments<K>): void;
  reply(reply: Reply): void;
  /**
   * Publishes a retained message, QoS 1, on a topic that is not in the contract, and again after every connect, like
   * a state. Empty text takes it off the broker and is sent until the broker has it.
   * @param leads whether it has to be there before the states
   * @param delivered called when the broker has it; not when a newer message has replaced it before
   */
  publishElsewhere(topic: string, text: string, options?: { leads?: boolean; delivered?: () => void }): void;
  /** Sends all states once more. */
  resendStates(): void;
  readonly connected: boolean;
  /** Calls back on every change, at once with the present status; returns the way to unsubscribe. */
  onStatus(callback: (status: LinkStatus) => void): () => void;
  /** Of the outbox: events that wait, and events that will never be delivered. */
  counters(): { queued: number; dropped: number };
}

const defaultTiming: Timing = {
  firstDelayMs: 1000,
  maxDelayMs: 60_000,
  refusedDelayMs: 30_000,
  lastedMs: 30_000,
  startSpreadMs: 4000,
  connectTimeoutMs: 20_000,
  keepaliveSeconds: 30,
  refusedEventMs: 30_000,
  flushMs: 2000,
};

const MEMORY_OUTBOX_EVENTS = 10_000;
/** The broker never sends us anything bigger (MQTT 5); a request may have 64 KiB and gets a reply above it. */
const MAX_INCOMING_PACKET = 1024 * 1024;
/**
 * The connection to the broker. Invariants:
 * - at most one connection or attempt at a time, each with a fresh mqtt.js client that carries nothing over;
 * - messages go through the sender, which keeps what cannot be sent yet, bounded;
 * - after every connect: subscriptions, `status` online, all other states, then what waited.
 *
 * Throws SoundpostError for an address, a topic or certificates that can never work.
 */
export function createLink(options: LinkOptions): Link {
  const { log, onRequest } = options;
  const timing = { ...defaultTiming, ...options.timing };
  const topics = createTopics(options.baseTopic, options.deviceId, options.birthTopic);
  const access = parseAccess(options);
  const sender = createSender({
    outbox: options.outbox ?? createMemoryOutbox({ limit: MEMORY_OUTBOX_EVENTS }),
    eventTopic: topics.of('event'),
    refusedEventMs: timing.refusedEventMs,
    log,
  });
  const policy = createReconnectPolicy({
    timing,
    ...(options.random !== undefined && { random: options.random }),
    ...(options.uptimeSeconds !== undefined && { uptimeSeconds: options.uptimeSeconds }),
  });

  const listeners = new Set<(status: LinkStatus) => void>();

  let status: LinkStatus = { state: 'offline', code: 'not_started', reason: 'not started' };
  let connection: Connection | null = null;
  /** The newest version to try; lowered for good once the broker has refused 5. `version` is the one in use. */
  let newest: 4 | 5 = options.protocolVersion ?? 5;
  let version = newest;
  let running: Promise<void> | null = null;
  const stopping = new AbortController();
  const stopped = (): boolean => stopping.signal.aborted;

  function setStatus(next: LinkStatus): void {
    status = next;
    for (const listener of listeners) {
      try {
        listener(next);
      } catch (error) {
        log.error(
          { code: 'listener_failed', err: error },
          `A listener to the MQTT status failed: ${messageOf(error)}`,
        );
      }
    }
  }

  function clientOptions(): IClientOptions {
    const will = {
      topic: topics.of('status'),
      payload: Buffer.from('offline'),
      qos: 1 as const,
      retain: true,
    };
    return {
      ...access.options,
      clientId: `soundpost_${options.deviceId}`,
      protocolVersion: version,
      protocolId: 'MQTT',
      connectTimeout: timing.connectTimeoutMs,
      keepalive: timing.keepaliveSeconds,
      will,
      ...(version === 5 ? { properties: { maximumPacketSize: MAX_INCOMING_PACKET } } : {}),
    };
  }

  function receive(topic: string, payload: Uint8Array, packet: IPublishPacket): void {
    try {
      if (topic === options.birthTopic) {
        options.onBirth?.(Buffer.from(payload).toString('utf8'));
        return;
      }
      onRequest({
        topic,
        payload,
        retain: packet.retain,
        responseTopic: packet.properties?.responseTopic,
        correlationData: packet.properties?.correlationData,
      });
    } catch (error) {
      log.error({ code: 'request_failed', topic, err: error }, `A request failed: ${messageOf(error)}`);
    }
  }

  async function subscribe(client: MqttClient): Promise<void> {
    try {
      // Our own messages never come back; the retain flag stays as it was sent, so that a stale command shows.
      const flags = version === 5 ? { nl: true, rap: true, rh: 0 } : {};
      await client.subscribeAsync([...topics.subscriptions], { qos: 1, ...flags });
    } catch (error) {
      if (stopped() || !client.connected) return;
      const { packet } = error as { packet?: unknown };
      const refused = refusedTopics(topics.subscriptions, packet).map(
        ({ topic, ...answer }) => `${topic}: ${describeRefusal(answer, 'read', topic)}`,
      );
      log.warn(
        { code: 'subscribe_refused' },
        `The broker does not let us read ${refused.length === 0 ? `our topics (${messageOf(error)})` : refused.join('; ')}. What is sent there will not arrive`,
      );
    }
  }

  /** One connection from the first byte to the last. Returns why it is over. */
  async function connectOnce(): Promise<{ failure: Failure; heldMs: number }> {
    let opened: Connection;
    try {
      opened = openConnection(access.address, clientOptions());
    } catch (error) {
      // Certificates that cannot be read are thrown here.
      const reason = `the connection cannot be set up: ${messageOf(error)}`;
      return { failure: { code: 'invalid_settings', reason, kind: 'refused' }, heldMs: 0 };
    }
    connection = opened;
    const { client, closed } = opened;
    const outcome = await opened.opened;
    if ('failure' in outcome) return { failure: outcome.failure, heldMs: 0 };
    const since = performance.now();

    client.on('message', receive);
    await Promise.race([subscribe(client), closed]);
    if (client.connected) {
      sender.begin(client, outcome.connack, outgoing('status', topics.of('status'), 'online'));
      log.info(
        { broker: access.label, protocolVersion: version },
        `Connected to ${access.label} (MQTT ${version === 5 ? '5' : '3.1.1'})`,
      );
      setStatus({ state: 'connected', protocolVersion: version });
    }
    const failure = await closed;
    sender.end();
    return {
      failure: failure ?? {
        code: 'connection_closed',
        reason: 'the broker closed the connection',
        kind: 'unreachable',
      },
      heldMs: performance.now() - since,
    };
  }

  async function run(): Promise<void> {
    await pause(policy.beforeFirst(), stopping.signal);
    while (!stopped()) {
      const attempted = version;
      const { failure, heldMs } = await connectOnce();
      connection = null;
      if (stopped()) return;

      if (failure.kind === 'version' && attempted === 5) {
        newest = 4;
        version = 4;
        log.debug({ broker: access.label }, 'The broker does not speak MQTT 5; trying 3.1.1');
        continue;
      }
      // Some brokers drop a newer client without an answer: the next attempt asks in the other version.
      version = failure.code === 'closed_at_connect' && attempted === newest ? 4 : newest;

      const { cause, delayMs } = policy.after(failure, heldMs);
      report(cause, heldMs > 0);
      await pause(delayMs, stopping.signal);
    }
  }

  /** One line for each change of the reason; repeats only at debug level. */
  function report(failure: Failure, wasConnected: boolean): void {
    const state = failure.kind === 'unreachable' ? 'offline' : 'refused';
    const known = (status.state === 'offline' || status.state === 'refused') && status.code === failure.code;
    const text = wasConnected
      ? `Lost the connection to ${access.label}: ${failure.reason}. It goes on trying`
      : `No connection to ${access.label}: ${failure.reason}. It goes on trying`;
    const fields = { broker: access.label, code: failure.code };
    if (known) log.debug(fields, text);
    else log.warn(fields, text);
    setStatus({ state, code: failure.code, reason: failure.reason });
  }

  return {
    topics,
    start() {
      if (running === null && !stopping.signal.aborted) {
        setStatus({ state: 'connecting' });
        running = run();
      }
      return Promise.resolve();
    },
    async stop() {
      if (stopping.signal.aborted) {
        await running;
        return;
      }
      stopping.abort();
      const until = performance.now() + timing.flushMs;
      sender.state(outgoing('audio/status', topics.of('audio/status'), 'offline'));
      sender.state(outgoing('status', topics.of('status'), 'offline'));
      const delivered = await sender.flush(timing.flushMs);
      if (connection !== null) {
        // Where "offline" was not acknowledged the will has to say it: no DISCONNECT then, it would cancel the will.
        if (delivered) await closeConnection(connection, Math.max(100, until - performance.now()));
        else abortConnection(connection);
      }
      await running;
      setStatus({ state: 'stopped' });
      listeners.clear();
    },
    publish(key, payload, ...parameters) {
      if (stopping.signal.aborted) return;
      const spec = contract[key];
      const topic = topics.of(key, ...parameters);
      switch (spec.delivery) {
        case 'state':
          sender.state(outgoing(key, topic, payload));
          break;
        case 'outbox':
          // Only events are delivered so; the contract's types cannot say that.
          sender.event(payload as EventPayload);
          break;
        case 'reply':
          sender.reply(outgoing(key, topic, payload));
          break;
        case 'transient':
          sender.transient(outgoing(key, topic, payload));
          break;
      }
    },
    retire(key, ...parameters) {
      if (!stopping.signal.aborted) sender.retire(topics.of(key, ...parameters));
    },
    reply({ command, payload, responseTopic, correlationData }) {
      const own = topics.of('response', { command });
      for (const topic of new Set([own, responseTopic ?? own])) {
        sender.reply({ ...outgoing('response', topic, payload), correlationData });
      }
    },
    publishElsewhere(topic, text, { leads = false, delivered } = {}) {
      if (stopping.signal.aborted) return;
      sender.state({
        topic,
        text,
        qos: 1,
        retain: true,
        expiresAt: Infinity,
        isJson: text !== '',
        leads,
        once: text === '',
        ...(delivered === undefined ? {} : { delivered }),
      });
    },
    resendStates() {
      if (!stopping.signal.aborted) sender.resendStates();
    },
    get connected() {
      return sender.active;
    },
    onStatus(callback) {
      listeners.add(callback);
      callback(status);
      return () => listeners.delete(callback);
    },
    counters: () => sender.counters(),
  };
}

/** Waits; less where the signal fires. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted || ms <= 0) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
