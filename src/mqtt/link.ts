import type { Duplex } from 'node:stream';
import type { IPublishPacket } from 'mqtt';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import {
  abortConnection,
  closeConnection,
  openConnection,
  parseAddresses,
  type BrokersAccess,
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
import { outgoing, PACKET_OVERHEAD } from './outgoing.js';
import { createReconnectPolicy, type ReconnectTiming } from './reconnect.js';
import { createSender } from './sender.js';
import { createSubscriptions, filterOf, type SubscriptionTiming } from './subscriptions.js';
import { createSuspects, type Hold, type SuspectTiming } from './suspects.js';
import { connectOptions, createNegotiation, type Limits } from './terms.js';
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

export interface LinkOptions extends BrokersAccess {
  /** Gives the line to the broker, in place of one to `url`: the embedded broker is in this process. */
  openStream?: (() => Duplex) | undefined;
  protocolVersion?: 4 | 5;
  /** The keep-alive to ask for; the broker may order another one. */
  keepaliveSeconds?: number;
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

export interface Timing extends ReconnectTiming, SuspectTiming, SubscriptionTiming {
  connectTimeoutMs: number;
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
  /** Forgets what was to be published there; what the broker has stays. */
  forgetElsewhere(topic: string): void;
  /**
   * Calls back, at once and on every change, before anything is sent, with the most bytes that a text may have to be
   * sure to be taken: what the broker says (MQTT 5), or what is left after one has ended connections over a larger one.
   * Infinity while no limit is known.
   */
  onTextLimit(callback: (bytes: number) => void): void;
  /** Sends all states once more. */
  resendStates(): void;
  readonly connected: boolean;
  /** Calls back on every change, at once with the present status; returns the way to unsubscribe. */
  onStatus(callback: (status: LinkStatus) => void): () => void;
  /** Of the outbox: events that wait, and events that will never be delivered. */
  counters(): { queued: number; dropped: number };
  /** Replies that were dropped because too many were waiting already. */
  lostReplies(): number;
}

const defaultTiming: Timing = {
  firstDelayMs: 1000,
  maxDelayMs: 60_000,
  refusedDelayMs: 30_000,
  lastedMs: 30_000,
  startSpreadMs: 4000,
  connectTimeoutMs: 20_000,
  refusedEventMs: 30_000,
  resubscribeMs: 15_000,
  maxResubscribeMs: 900_000,
  flushMs: 2000,
  holdMs: 600_000,
  maxHoldMs: 24 * 3_600_000,
};

const KEEPALIVE_SECONDS = 30;

const MEMORY_OUTBOX_EVENTS = 10_000;
/** Stands for the length of a topic where only the text is counted, in bytes. */
const TOPIC_BYTES = 256;

/**
 * The connection to the broker. Invariants:
 * - at most one connection or attempt at a time, at one address of the list after the other, each with a fresh mqtt.js client that carries nothing over;
 * - messages go through the sender, which keeps what cannot be sent yet, bounded;
 * - after every connect: subscriptions, `status` online, all other states, then what waited.
 *
 * Throws SoundpostError for an address, a topic or certificates that can never work.
 */
export function createLink(options: LinkOptions): Link {
  const { log, onRequest } = options;
  const timing = { ...defaultTiming, ...options.timing };
  const topics = createTopics(options.baseTopic, options.deviceId, options.birthTopic);
  const addresses = parseAddresses(options);
  const suspects = createSuspects({ timing, familyOf });
  const sender = createSender({
    suspects,
    outbox: options.outbox ?? createMemoryOutbox({ limit: MEMORY_OUTBOX_EVENTS }),
    eventTopic: topics.of('event'),
    refusedEventMs: timing.refusedEventMs,
    log,
  });
  const policy = createReconnectPolicy({
    timing,
    addresses: addresses.length,
    ...(options.random !== undefined && { random: options.random }),
    ...(options.uptimeSeconds !== undefined && { uptimeSeconds: options.uptimeSeconds }),
  });

  // They need not be of one kind: each has its own.
  const brokers = addresses.map((access) => ({
    access,
    negotiation: createNegotiation({ newest: options.protocolVersion ?? 5, log }),
    /** Why it could not be reached, as it was told last; null since we have been connected. */
    told: null as string | null,
  }));
  const current = () => brokers[policy.address]!;
  const subscriptions = createSubscriptions({
    filters: topics.subscriptions,
    suspects,
    version: () => current().negotiation.terms.version,
    isGone: () => stopped(),
    timing,
    random: options.random,
    log,
  });
  const listeners = new Set<(status: LinkStatus) => void>();
  const limitListeners = new Set<(bytes: number) => void>();
  let textLimit = Infinity;

  let status: LinkStatus = { state: 'offline', code: 'not_started', reason: 'not started' };
  let connection: Connection | null = null;
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

  /** Labels, models and commands have topics that are alike: `B/label/dog` belongs to `B/label`. */
  function familyOf(topic: string): string | null {
    if (!topic.startsWith(`${topics.base}/`)) return null;
    const [first, ...rest] = topic.slice(topics.base.length + 1).split('/');
    return rest.length === 0 ? null : `${topics.base}/${first}`;
  }

  function setTextLimit(limits: Limits): void {
    const packet = Math.min(limits.maximumPacketBytes, suspects.safeBytes);
    const next = Math.max(0, packet - PACKET_OVERHEAD - TOPIC_BYTES);
    if (next === textLimit) return;
    textLimit = next;
    for (const listener of limitListeners) listener(next);
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

  /** How a connection came to its end. */
  interface End {
    failure: Failure;
    heldMs: number;
    /** Something that was on its way is suspected to be the reason. */
    suspected: boolean;
    held: Hold | null;
    /** To be tried again at once, with what the broker agrees to. */
    atOnce: boolean;
    /** It did not say why: an older version of the protocol is tried before the next address. */
    stay: boolean;
  }

  const neverOpen = (failure: Failure, { atOnce = false, stay = false } = {}): End => ({
    failure,
    heldMs: 0,
    suspected: false,
    held: null,
    atOnce,
    stay,
  });

  /** One connection from the first byte to the last. Returns why it is over. */
  async function connectOnce(): Promise<End> {
    const { access, negotiation } = current();
    const { terms } = negotiation;
    let opened: Connection;
    try {
      const asked = connectOptions({
        terms,
        clientId: clientIdOf(options.deviceId),
        statusTopic: topics.of('status'),
        keepaliveSeconds: options.keepaliveSeconds ?? KEEPALIVE_SECONDS,
        connectTimeoutMs: timing.connectTimeoutMs,
      });
      opened = openConnection(access.address, { ...access.options, ...asked }, options.openStream);
    } catch (error) {
      // Certificates that cannot be read are thrown here.
      const reason = `the connection cannot be set up: ${messageOf(error)}`;
      return neverOpen({ code: 'invalid_settings', reason, kind: 'refused' });
    }
    connection = opened;
    const { client, closed } = opened;
    const outcome = await opened.opened;
    if ('failure' in outcome) {
      const atOnce = negotiation.refused(outcome.failure);
      return neverOpen(outcome.failure, { atOnce, stay: negotiation.terms.version < terms.version });
    }
    const limits = negotiation.accepted(outcome.connack);
    if (limits === null) {
      await closeConnection(opened, timing.flushMs);
      return neverOpen(lostWithoutReason, { atOnce: true });
    }
    const since = performance.now();

    client.on('message', receive);
    const trials = await Promise.race([subscriptions.toAll(client), closed.then(() => [])]);
    if (client.connected) {
      setTextLimit(limits);
      sender.begin(client, limits, outgoing('status', topics.of('status'), 'online'), trials);
      for (const broker of brokers) broker.told = null;
      log.info(
        { broker: access.label, protocolVersion: terms.version },
        `Connected to ${access.label}${placeNote()} (MQTT ${terms.version === 5 ? '5' : '3.1.1'})${keepaliveNote(limits)}`,
      );
      setStatus({ state: 'connected', protocolVersion: terms.version });
    }
    const failure = (await closed) ?? lostWithoutReason;
    sender.end();
    const told = failure.brokerCode !== undefined;
    const byBroker = told ? messageCodes.has(failure.brokerCode!) : suddenEnds.has(failure.code);
    return {
      failure,
      heldMs: performance.now() - since,
      ...suspects.ended({ byBroker: byBroker && !stopped(), told }),
      atOnce: false,
      stay: false,
    };
  }

  async function run(): Promise<void> {
    await pause(policy.beforeFirst(), stopping.signal);
    while (!stopped()) {
      const { failure, heldMs, suspected, held, atOnce, stay } = await connectOnce();
      connection = null;
      if (stopped()) return;
      if (atOnce) continue;
      const left = current();
      const { cause, delayMs } = policy.after(failure, heldMs, { suspected, found: held !== null, stay });
      report(left, cause, heldMs > 0);
      if (held !== null) reportHold(held);
      await pause(delayMs, stopping.signal);
    }
  }

  function reportHold({ topic, bytes, ends, maybeSize, forMs }: Hold): void {
    const filter = filterOf(topic);
    const what = filter === undefined ? `${topic} was written to` : `${filter} was subscribed to`;
    const times = ends === 1 ? 'once' : `${ends} times in a row`;
    const size = maybeSize
      ? `, or not to take so large a message (${bytes} bytes, more than any that it has taken)`
      : '';
    const verb = filter === undefined ? 'write' : 'read';
    log.warn(
      { code: 'topic_held', topic: filter ?? topic },
      `The broker ended the connection ${times} just when ${what}: that is left out for ${Math.ceil(forMs / 60_000)} min, and everything else goes on. It seems not to let this device ${verb} ${filter ?? topic}${size}; its access rules, its limits and its log say more`,
    );
  }

  /** Which one of several it is. */
  function placeNote(): string {
    return brokers.length === 1 ? '' : `, address ${policy.address + 1} of ${brokers.length}`;
  }

  /** One line for each change of the reason at an address; repeats only at debug level. */
  function report(broker: (typeof brokers)[number], failure: Failure, wasConnected: boolean): void {
    const { label } = broker.access;
    const state = failure.kind === 'unreachable' ? 'offline' : 'refused';
    const known = broker.told === failure.code;
    broker.told = failure.code;
    const next = brokers.length === 1 ? 'It goes on trying' : `Next comes ${current().access.label}`;
    const text = wasConnected
      ? `Lost the connection to ${label}: ${failure.reason}. ${next}`
      : `No connection to ${label}: ${failure.reason}. ${next}`;
    const fields = { broker: label, code: failure.code };
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
    forgetElsewhere(topic) {
      sender.forget(topic);
    },
    onTextLimit(callback) {
      limitListeners.add(callback);
      callback(textLimit);
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
    lostReplies: () => sender.lostReplies,
  };
}

/** The id of a device's client at the broker. */
export function clientIdOf(deviceId: string): string {
  return `soundpost_${deviceId}`;
}

const lostWithoutReason: Failure = {
  code: 'connection_closed',
  reason: 'the broker closed the connection',
  kind: 'unreachable',
};
/** Ends without a reason that a broker can bring about. */
const suddenEnds: ReadonlySet<string> = new Set(['connection_closed', 'connection_reset']);
/** Reason codes of a DISCONNECT that are about something we have sent (MQTT 5 section 2.4). */
const messageCodes: ReadonlySet<number> = new Set([
  0x80, 0x81, 0x82, 0x83, 0x87, 0x8f, 0x90, 0x95, 0x99, 0x9a, 0x9b, 0x9e, 0xa1, 0xa2,
]);

function keepaliveNote({ keepaliveSeconds }: Limits): string {
  return keepaliveSeconds === null
    ? ''
    : `; it orders a keep-alive of ${keepaliveSeconds} s, which is kept in place of ours`;
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
