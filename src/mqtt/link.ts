import type { Duplex } from 'node:stream';
import type { Logger } from '../common/log.js';
import { connectOnce, type End, type Use } from './connect-once.js';
import {
  abortConnection,
  closeConnection,
  openConnection,
  parseAddresses,
  type BrokersAccess,
  type Connection,
} from './connection.js';
import { createReceive, type Receivers } from './incoming.js';
import { keepConnected, type Ended } from './keep-connected.js';
import { createLinkReports } from './link-reports.js';
import { createStatusBoard, type LinkStatus } from './link-status.js';
import { createMemoryOutbox, type Outbox } from './outbox.js';
import { outgoing } from './outgoing.js';
import { createPublishing, type Publishing } from './publishing.js';
import { createReconnectPolicy, type ReconnectTiming } from './reconnect.js';
import { createSender } from './sender.js';
import { createSubscriptions, type SubscriptionTiming } from './subscriptions.js';
import { createSuspects, type SuspectTiming } from './suspects.js';
import { connectOptions, createNegotiation } from './terms.js';
import { createTextLimit } from './text-limit.js';
import { createTopics, familyOf, type Topics } from './topics.js';

export type { IncomingMessage } from './incoming.js';
export type { LinkStatus } from './link-status.js';
export type { Reply } from './publishing.js';

export interface LinkOptions extends BrokersAccess, Receivers {
  /** Gives the line to the broker, in place of one to `url`: the embedded broker is in this process. */
  openStream?: (() => Duplex) | undefined;
  protocolVersion?: 4 | 5;
  /** The keep-alive to ask for; the broker may order another one. */
  keepaliveSeconds?: number;
  baseTopic: string;
  deviceId: string;
  /** The names of the sources where there are several; none where there is one. */
  sources?: readonly string[];
  log: Logger;
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

export interface Link extends Publishing {
  readonly topics: Topics;
  /** Begins to connect and resolves at once: an unreachable broker is nothing unusual. */
  start(): Promise<void>;
  /** Says `offline`, waits briefly for what is on its way, and closes. Idempotent. */
  stop(): Promise<void>;
  /**
   * Calls back, at once and on every change, before anything is sent, with the most bytes that a text may have to be
   * sure to be taken: what the broker says (MQTT 5), or what is left after one has ended connections over a larger one.
   * Infinity while no limit is known.
   */
  onTextLimit(callback: (bytes: number) => void): void;
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
/**
 * The connection to the broker. Invariants:
 * - at most one connection or attempt at a time, at one address of the list after the other, each with a fresh mqtt.js client that carries nothing over;
 * - messages go through the sender, which keeps what cannot be sent yet, bounded;
 * - after every connect: subscriptions, `status` online, all other states, then what waited.
 *
 * Throws SoundpostError for an address, a topic or certificates that can never work.
 */
export function createLink(options: LinkOptions): Link {
  const { log } = options;
  const timing = { ...defaultTiming, ...options.timing };
  const { birthTopic, sources = [] } = options;
  const topics = createTopics(options.baseTopic, options.deviceId, { birthTopic, sources });
  const addresses = parseAddresses(options);
  const suspects = createSuspects({ timing, familyOf: (topic) => familyOf(topics.base, topic) });
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
  }));
  const current = () => brokers[policy.address]!;
  const stopping = new AbortController();
  const isStopped = (): boolean => stopping.signal.aborted;
  const subscriptions = createSubscriptions({
    filters: topics.subscriptions,
    suspects,
    version: () => current().negotiation.terms.version,
    isGone: isStopped,
    timing,
    random: options.random,
    log,
  });
  const reports = createLinkReports(addresses, log);
  const status = createStatusBoard(log);
  const textLimit = createTextLimit();
  const publishing = createPublishing({ sender, topics, isStopped });
  let connection: Connection | null = null;
  let running: Promise<void> | null = null;

  /** How each connection is used, whichever address it is to. */
  const use: Use = {
    open(terms) {
      const { access } = current();
      const asked = connectOptions({
        terms,
        clientId: clientIdOf(options.deviceId),
        statusTopic: topics.of('status'),
        keepaliveSeconds: options.keepaliveSeconds ?? KEEPALIVE_SECONDS,
        connectTimeoutMs: timing.connectTimeoutMs,
      });
      connection = openConnection(access.address, { ...access.options, ...asked }, options.openStream);
      return connection;
    },
    receive: createReceive(options, log),
    subscribe: (client) => subscriptions.toAll(client),
    begin({ client, limits, trials, version }) {
      textLimit.setPacket(Math.min(limits.maximumPacketBytes, suspects.safeBytes));
      sender.begin(client, limits, outgoing('status', topics.of('status'), 'online'), trials);
      reports.connected(current().access, version, limits);
      status.set({ state: 'connected', protocolVersion: version });
    },
    end: () => sender.end(),
    isStopped,
  };

  async function connect(): Promise<End> {
    const { negotiation } = current();
    const end = await connectOnce({ negotiation, suspects, use, flushMs: timing.flushMs });
    connection = null;
    return end;
  }

  function ended({ address, cause, wasConnected, held }: Ended): void {
    reports.ended(addresses[address]!, cause, { wasConnected, next: current().access });
    const state = cause.kind === 'unreachable' ? 'offline' : 'refused';
    status.set({ state, code: cause.code, reason: cause.reason });
    if (held !== null) reports.held(held);
  }

  /** Says `offline` and closes. */
  async function leave(): Promise<void> {
    const until = performance.now() + timing.flushMs;
    for (const source of sources) {
      sender.state(outgoing('source/audio/status', topics.of('source/audio/status', { source }), 'offline'));
    }
    sender.state(outgoing('audio/status', topics.of('audio/status'), 'offline'));
    sender.state(outgoing('status', topics.of('status'), 'offline'));
    const delivered = await sender.flush(timing.flushMs);
    if (connection === null) return;
    // Where "offline" was not acknowledged the will has to say it: no DISCONNECT then, it would cancel the will.
    if (delivered) await closeConnection(connection, Math.max(100, until - performance.now()));
    else abortConnection(connection);
  }

  return {
    ...publishing,
    topics,
    start() {
      if (running === null && !isStopped()) {
        status.set({ state: 'connecting' });
        running = keepConnected({ policy, connect, ended, signal: stopping.signal });
      }
      return Promise.resolve();
    },
    async stop() {
      if (isStopped()) {
        await running;
        return;
      }
      stopping.abort();
      await leave();
      await running;
      status.set({ state: 'stopped' });
      status.clear();
    },
    onTextLimit: (callback) => textLimit.listen(callback),
    get connected() {
      return sender.active;
    },
    onStatus: (callback) => status.listen(callback),
    counters: () => sender.counters(),
    lostReplies: () => sender.lostReplies,
  };
}

/** The id of a device's client at the broker. */
export function clientIdOf(deviceId: string): string {
  return `soundpost_${deviceId}`;
}
