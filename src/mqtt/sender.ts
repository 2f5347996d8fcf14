import type { IConnackPacket, MqttClient } from 'mqtt';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { contract, type EventPayload, type OutKey, type Payload } from './contract.js';
import type { Outbox } from './outbox.js';

/** The most QoS 1 messages on their way at once; fewer where the broker asks for fewer (MQTT 5 receive maximum). */
const MAX_UNACKNOWLEDGED = 16;
/** Above this many bytes in the socket's buffer nothing more is handed over: the broker does not read. */
const MAX_BUFFERED_BYTES = 64 * 1024;
const MAX_REPLIES = 1024;

/** One message as it goes to the broker. */
export interface Outgoing {
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
}

export interface Sender {
  /** A state: the newest message of its topic replaces the one before, and is sent again in every session. */
  state(message: Outgoing): void;
  event(event: EventPayload): void;
  reply(message: Outgoing): void;
  /** Sent now, or never. */
  transient(message: Outgoing): void;
  /** A connection is ready: `first` goes out, then every other state and whatever waited. */
  begin(client: MqttClient, connack: IConnackPacket, first: Outgoing): void;
  /** The connection is gone; what was on its way is sent again in the next session. */
  end(): void;
  readonly active: boolean;
  /** Resolves to whether everything has been acknowledged, as soon as it is, at `end()`, or after the limit. */
  flush(limitMs: number): Promise<boolean>;
  counters(): { queued: number; dropped: number };
}

/** Writes a payload as the contract says. */
export function outgoing<K extends OutKey>(key: K, topic: string, payload: Payload<K>): Outgoing {
  const { format, qos, retain } = contract[key];
  const text = format === 'text' && typeof payload === 'string' ? payload : JSON.stringify(payload);
  return { topic, text, qos, retain };
}

/**
 * Holds what is to be sent, and hands it to mqtt.js no faster than the broker takes it. mqtt.js is given a message
 * only while it is connected, the socket drains and fewer than the agreed number are unacknowledged, for it keeps
 * whatever it is given in memory, without a bound. What waits here is bounded: one message per state topic, the
 * outbox, a queue of replies.
 */
export function createSender(options: { outbox: Outbox; eventTopic: string; log: Logger }): Sender {
  const { outbox, eventTopic, log } = options;
  /** The newest message of every state topic, and which of them the broker does not have yet, in order. */
  const states = new Map<string, Outgoing>();
  const unsent = new Set<string>();
  const replies: Outgoing[] = [];
  /** Topics whose refusal has been reported. */
  const complained = new Set<string>();
  const flushes = new Set<() => void>();
  let session: Session | null = null;
  let refusedEvents = 0;
  let draining = false;
  let drainCalls = 0;

  function congested(s: Session): boolean {
    return s.unacknowledged >= s.maxUnacknowledged || s.client.stream.writableLength > MAX_BUFFERED_BYTES;
  }

  /** Hands one message to mqtt.js. `settled` is called when the broker has it or has refused it. */
  function send(s: Session, message: Outgoing, settled?: (refused: boolean) => void): void {
    const { topic, text, correlationData } = message;
    const bytes = Buffer.byteLength(text) + Buffer.byteLength(topic) + (correlationData?.length ?? 0) + 64;
    if (bytes > s.maxPacketBytes) {
      complain(topic, 'too_large', `it has ${bytes} bytes and the broker takes ${s.maxPacketBytes}`);
      settled?.(true);
      return;
    }
    const qos = message.qos > s.maxQos ? s.maxQos : message.qos;
    const retain = message.retain && s.retainAvailable;
    const properties = correlationData === undefined ? {} : { properties: { correlationData } };
    if (qos > 0) s.unacknowledged += 1;
    s.client.publish(topic, text, { qos, retain, ...properties }, (error) => {
      // The callbacks of a connection that is gone say nothing about the next one.
      if (s !== session) return;
      if (qos > 0) s.unacknowledged -= 1;
      if (error instanceof Error) complain(topic, 'publish_refused', error.message);
      settled?.(error instanceof Error);
      pump();
    });
  }

  function complain(topic: string, code: string, reason: string): void {
    if (complained.has(topic)) return;
    complained.add(topic);
    log.warn(
      { code, topic },
      `The broker does not take ${topic}: ${reason}. Is this device allowed to write it?`,
    );
  }

  /** Sends what may be sent now, as far as the broker keeps up. */
  function pump(): void {
    const s = session;
    if (s !== null) {
      while (replies.length > 0 && !congested(s)) send(s, replies.shift()!);
      drainOutbox();
      for (const topic of unsent) {
        if (congested(s)) break;
        unsent.delete(topic);
        send(s, states.get(topic)!);
      }
    }
    for (const look of flushes) look();
  }

  /** Asks for the outbox to be looked at; one look at a time, and a new one after every call during it. */
  function drainOutbox(): void {
    drainCalls += 1;
    if (!draining) void drain().catch(outboxFailed);
  }

  async function drain(): Promise<void> {
    draining = true;
    try {
      for (let served = 0; served !== drainCalls;) {
        served = drainCalls;
        if (session !== null) await sendEvents(session);
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
        // States may have taken the places meanwhile; the rest is read again.
        if (congested(s)) return;
        s.lastEvent = key;
        send(s, outgoing('event', eventTopic, event), (refused) => {
          if (refused) refusedEvents += 1;
          outbox.remove(key).then(pump, outboxFailed);
        });
      }
    }
  }

  function outboxFailed(error: unknown): void {
    log.error({ code: 'outbox_failed', err: error }, `The outbox of events failed: ${messageOf(error)}`);
  }

  function keep(message: Outgoing): void {
    states.set(message.topic, message);
    unsent.add(message.topic);
  }

  function isDone(): boolean {
    return (
      session !== null &&
      session.unacknowledged === 0 &&
      unsent.size === 0 &&
      replies.length === 0 &&
      outbox.counters().queued === 0
    );
  }

  return {
    state(message) {
      keep(message);
      pump();
    },
    event(event) {
      outbox.append(event).then(pump, outboxFailed);
    },
    reply(message) {
      if (replies.length >= MAX_REPLIES) replies.shift();
      replies.push(message);
      pump();
    },
    transient(message) {
      if (session !== null && !congested(session)) send(session, message);
    },
    begin(client, connack, first) {
      const limits = connack.properties ?? {};
      session = {
        client,
        maxUnacknowledged: Math.min(MAX_UNACKNOWLEDGED, limits.receiveMaximum ?? MAX_UNACKNOWLEDGED),
        maxPacketBytes: limits.maximumPacketSize ?? Infinity,
        maxQos: limits.maximumQoS === 0 ? 0 : 1,
        retainAvailable: limits.retainAvailable !== false,
        unacknowledged: 0,
        lastEvent: 0,
      };
      client.stream.on('drain', pump);
      outbox.markLate();
      unsent.clear();
      keep(first);
      for (const topic of states.keys()) unsent.add(topic);
      pump();
    },
    end() {
      session = null;
      pump();
    },
    get active() {
      return session !== null;
    },
    async flush(limitMs) {
      if (session === null) return false;
      await new Promise<void>((resolve) => {
        const finish = (): void => {
          clearTimeout(timer);
          flushes.delete(look);
          resolve();
        };
        const look = (): void => {
          if (session === null || isDone()) finish();
        };
        const timer = setTimeout(finish, limitMs);
        flushes.add(look);
        pump();
      });
      return isDone();
    },
    counters() {
      const { queued, dropped } = outbox.counters();
      return { queued, dropped: dropped + refusedEvents };
    },
  };
}
