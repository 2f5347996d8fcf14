import type { IClientOptions, IPublishPacket, MqttClient } from 'mqtt';
import { createBackoff, type Backoff } from '../common/backoff.js';
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
  /** Where events wait; in memory by default. */
  outbox?: Outbox;
  random?: () => number;
  /** Overrides for tests; milliseconds unless named otherwise. */
  timing?: Partial<Timing>;
}

export interface Timing {
  /** Growing delays between attempts. */
  firstDelayMs: number;
  maxDelayMs: number;
  /** The least delay after a refusal. */
  refusedDelayMs: number;
  /** A connection that held this long starts the delays from the beginning. */
  lastedMs: number;
  connectTimeoutMs: number;
  keepaliveSeconds: number;
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
  reply(reply: Reply): void;
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
  connectTimeoutMs: 20_000,
  keepaliveSeconds: 30,
  flushMs: 2000,
};

/** The most QoS 1 messages on their way at once; fewer where the broker asks for fewer (MQTT 5 receive maximum). */
const MAX_UNACKNOWLEDGED = 16;
/** Above this many bytes in the socket's buffer nothing more is handed over: the broker does not read. */
const MAX_BUFFERED_BYTES = 64 * 1024;
const MAX_REPLIES = 1024;
const MEMORY_OUTBOX_EVENTS = 10_000;
/** The broker never sends us anything bigger (MQTT 5); a request may have 64 KiB and gets a reply above it. */
const MAX_INCOMING_PACKET = 1024 * 1024;
/** This many connections in a row that the broker ended soon and without a word look like a fight over the id. */
const FIGHT_AFTER = 3;

interface Outgoing {
  topic: string;
  text: string;
  qos: 0 | 1;
  retain: boolean;
  correlationData?: Buffer | undefined;
}

/** What is true of one connection only. */
interface Session {
  client: MqttClient;
  /** Bounds the broker has told us, or ours. */
  maxUnacknowledged: number;
  maxPacketBytes: number;
  maxQos: 0 | 1;
  retainAvailable: boolean;
  unacknowledged: number;
  /** Key of the last event handed over. */
  lastEvent: number;
  /** Subscribed and announced. */
  ready: boolean;
}

/**
 * The connection to the broker. Invariants:
 * - at most one connection or attempt at a time, each with a fresh mqtt.js client that carries nothing over;
 * - mqtt.js is given a message only while it is connected, the socket drains and fewer than the agreed number are
 *   unacknowledged; everything else waits here, bounded: one message per state topic, the outbox, a short
 *   queue of replies;
 * - after every connect: subscriptions, `status` online, all other states, then what waited.
 *
 * Throws SoundpostError for an address, a topic or certificates that can never work.
 */
export function createLink(options: LinkOptions): Link {
  const { log, onRequest } = options;
  const timing = { ...defaultTiming, ...options.timing };
  const topics = createTopics(options.baseTopic, options.deviceId);
  const access = parseAccess(options);
  const outbox = options.outbox ?? createMemoryOutbox({ limit: MEMORY_OUTBOX_EVENTS });
  const backoff: Backoff = createBackoff({
    firstMs: timing.firstDelayMs,
    maxMs: timing.maxDelayMs,
    ...(options.random === undefined ? {} : { random: options.random }),
  });

  /** The newest message of every state topic, and which of them the broker does not have yet. */
  const states = new Map<string, Outgoing>();
  const unsent = new Set<string>();
  const replies: Outgoing[] = [];
  const listeners = new Set<(status: LinkStatus) => void>();
  /** Topics whose refusal has been reported. */
  const complained = new Set<string>();

  let status: LinkStatus = { state: 'offline', code: 'not_started', reason: 'not started' };
  let session: Session | null = null;
  let connection: Connection | null = null;
  /** The newest version to try; lowered for good once the broker has refused 5. `version` is the one in use. */
  let newest: 4 | 5 = options.protocolVersion ?? 5;
  let version = newest;
  let running: Promise<void> | null = null;
  let refusedEvents = 0;
  let draining = false;
  let outboxCalls = 0;
  const stopping = new AbortController();
  const stopped = (): boolean => stopping.signal.aborted;
  /** Woken whenever something has left; `stop()` waits on it. */
  let onProgress: () => void = () => undefined;

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

  // ---- sending -------------------------------------------------------------------------------------------------

  function congested(s: Session): boolean {
    return s.unacknowledged >= s.maxUnacknowledged || s.client.stream.writableLength > MAX_BUFFERED_BYTES;
  }

  /** Hands one message to mqtt.js. `settled` is called when the broker has it or has refused it. */
  function send(s: Session, message: Outgoing, settled?: (refused: boolean) => void): void {
    const bytes = Buffer.byteLength(message.text) + Buffer.byteLength(message.topic) + 64;
    if (bytes > s.maxPacketBytes) {
      complain(message.topic, 'too_large', `it has ${bytes} bytes and the broker takes ${s.maxPacketBytes}`);
      settled?.(true);
      return;
    }
    const qos = message.qos > s.maxQos ? s.maxQos : message.qos;
    if (qos > 0) s.unacknowledged += 1;
    const properties =
      message.correlationData === undefined
        ? {}
        : { properties: { correlationData: message.correlationData } };
    s.client.publish(
      message.topic,
      message.text,
      { qos, retain: message.retain && s.retainAvailable, ...properties },
      (error) => {
        // The callbacks of a connection that is gone say nothing about the next one.
        if (s !== session) return;
        if (qos > 0) s.unacknowledged -= 1;
        if (error instanceof Error) complain(message.topic, 'publish_refused', error.message);
        settled?.(error instanceof Error);
        pump();
      },
    );
  }

  function complain(topic: string, code: string, reason: string): void {
    if (complained.has(topic)) return;
    complained.add(topic);
    log.warn(
      { code, topic },
      `The broker does not take ${topic}: ${reason}. Is this device allowed to write it?`,
    );
  }

  /** Sends what may be sent now: replies first, then events, then states, as far as the broker keeps up. */
  function pump(): void {
    const s = session;
    if (s?.ready !== true) return;
    while (replies.length > 0 && !congested(s)) send(s, replies.shift()!);
    drainOutbox();
    sendStates(s);
    onProgress();
  }

  function sendStates(s: Session): void {
    for (const topic of unsent) {
      if (congested(s)) return;
      unsent.delete(topic);
      send(s, states.get(topic)!);
    }
  }

  /** Asks for the outbox to be looked at; one look at a time, and a new one after every call during it. */
  function drainOutbox(): void {
    outboxCalls += 1;
    if (!draining) void drain().catch(outboxFailed);
  }

  async function drain(): Promise<void> {
    draining = true;
    try {
      for (let served = 0; served !== outboxCalls;) {
        served = outboxCalls;
        if (session?.ready === true) await sendEvents(session);
      }
    } finally {
      draining = false;
    }
  }

  async function sendEvents(s: Session): Promise<void> {
    while (s === session && !congested(s)) {
      const entries = await outbox.read(s.lastEvent, s.maxUnacknowledged - s.unacknowledged);
      if (s !== session || entries.length === 0) return;
      for (const { key, event } of entries) {
        s.lastEvent = key;
        send(s, outgoing('event', topics.of('event'), event), (refused) => {
          if (refused) refusedEvents += 1;
          void outbox
            .remove(key)
            .catch(outboxFailed)
            .then(() => onProgress());
        });
      }
    }
  }

  function outboxFailed(error: unknown): void {
    log.error({ code: 'outbox_failed', err: error }, `The outbox of events failed: ${messageOf(error)}`);
  }

  function keepState(message: Outgoing): void {
    states.set(message.topic, message);
    unsent.add(message.topic);
  }

  // ---- connecting ----------------------------------------------------------------------------------------------

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

  function newSession(opened: Connection, connack: { properties?: ConnackLimits | undefined }): Session {
    const limits = connack.properties ?? {};
    return {
      client: opened.client,
      maxUnacknowledged: Math.min(MAX_UNACKNOWLEDGED, limits.receiveMaximum ?? MAX_UNACKNOWLEDGED),
      maxPacketBytes: limits.maximumPacketSize ?? Infinity,
      maxQos: limits.maximumQoS === 0 ? 0 : 1,
      retainAvailable: limits.retainAvailable !== false,
      unacknowledged: 0,
      lastEvent: 0,
      ready: false,
    };
  }

  function receive(topic: string, payload: Uint8Array, packet: IPublishPacket): void {
    try {
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
      log.warn(
        { code: 'subscribe_refused' },
        `The broker does not let us read ${topics.subscriptions.join(' and ')} (${messageOf(error)}): commands will not arrive until its access rules allow it.`,
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

    const s = newSession(opened, outcome.connack);
    session = s;
    client.on('message', receive);
    client.stream.on('drain', pump);
    await Promise.race([subscribe(client), closed]);
    if (client.connected) {
      // The clock of what waited starts here, not at the CONNACK: nothing has been sent so far.
      outbox.markLate();
      for (const topic of states.keys()) unsent.add(topic);
      announce('online');
      s.ready = true;
      log.info(
        { broker: access.label, protocolVersion: version },
        `Connected to ${access.label} (MQTT ${version === 5 ? '5' : '3.1.1'})`,
      );
      setStatus({ state: 'connected', protocolVersion: version });
      pump();
    }
    const failure = await closed;
    session = null;
    return {
      failure: failure ?? {
        code: 'connection_closed',
        reason: 'the broker closed the connection',
        kind: 'unreachable',
      },
      heldMs: performance.now() - since,
    };
  }

  /** `status` goes out before every other state. */
  function announce(availability: 'online' | 'offline'): void {
    const topic = topics.of('status');
    const others = [...unsent].filter((other) => other !== topic);
    unsent.clear();
    keepState(outgoing('status', topic, availability));
    for (const other of others) unsent.add(other);
  }

  async function run(): Promise<void> {
    let suddenEnds = 0;
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

      const lasted = heldMs >= timing.lastedMs;
      if (lasted) backoff.reset();
      suddenEnds = heldMs > 0 && !lasted && failure.code === 'connection_closed' ? suddenEnds + 1 : 0;
      const cause = suddenEnds >= FIGHT_AFTER ? { ...failure, ...fight } : failure;
      report(cause, heldMs > 0);
      const delayMs = Math.max(backoff.next(), cause.kind === 'unreachable' ? 0 : timing.refusedDelayMs);
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

  // ---- the face ------------------------------------------------------------------------------------------------

  /** Whether everything that waits has been acknowledged, or will have been in this time. */
  async function flush(limitMs: number): Promise<boolean> {
    const done = (): boolean =>
      session?.ready === true &&
      unsent.size === 0 &&
      replies.length === 0 &&
      session.unacknowledged === 0 &&
      outbox.counters().queued === 0;
    if (session?.ready !== true || connection === null) return false;
    const { closed } = connection;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, limitMs);
      const finish = (): void => {
        clearTimeout(timer);
        resolve();
      };
      onProgress = () => {
        if (done()) finish();
      };
      void closed.then(finish);
      pump();
    });
    onProgress = () => undefined;
    return done();
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
      keepState(outgoing('audio/status', topics.of('audio/status'), 'offline'));
      keepState(outgoing('status', topics.of('status'), 'offline'));
      const delivered = await flush(timing.flushMs);
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
          keepState(outgoing(key, topic, payload));
          break;
        case 'outbox':
          // Only events are delivered so; the contract's types cannot say that.
          outbox.append(payload as EventPayload).then(pump, outboxFailed);
          return;
        case 'reply':
          queueReply(outgoing(key, topic, payload));
          break;
        case 'transient':
          if (session?.ready === true && !congested(session)) send(session, outgoing(key, topic, payload));
          return;
      }
      pump();
    },
    reply({ command, payload, responseTopic, correlationData }) {
      const own = topics.of('response', { command });
      for (const topic of new Set([own, responseTopic ?? own])) {
        queueReply({ ...outgoing('response', topic, payload), correlationData });
      }
      pump();
    },
    get connected() {
      return session?.ready === true;
    },
    onStatus(callback) {
      listeners.add(callback);
      callback(status);
      return () => listeners.delete(callback);
    },
    counters() {
      const { queued, dropped } = outbox.counters();
      return { queued, dropped: dropped + refusedEvents };
    },
  };

  function queueReply(message: Outgoing): void {
    if (replies.length >= MAX_REPLIES) replies.shift();
    replies.push(message);
  }
}

const fight = {
  code: 'session_taken_over',
  kind: 'refused' as const,
  reason:
    'the broker keeps closing the connection soon after it began. Another client with our id? Give each device its own device.id',
};

interface ConnackLimits {
  receiveMaximum?: number;
  maximumPacketSize?: number;
  maximumQoS?: number;
  retainAvailable?: boolean;
}

function outgoing<K extends OutKey>(key: K, topic: string, payload: Payload<K>): Outgoing {
  const { format, qos, retain } = contract[key];
  const text = format === 'text' && typeof payload === 'string' ? payload : JSON.stringify(payload);
  return { topic, text, qos, retain };
}

/** Waits; less where the signal fires. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
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
