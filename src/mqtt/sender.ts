import type { IClientPublishOptions, MqttClient } from 'mqtt';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { contract, expiryOf, type EventPayload, type OutKey, type Payload } from './contract.js';
import type { Outbox } from './outbox.js';
import { answerIn, describeRefusal } from './refused.js';
import type { Suspects } from './suspects.js';
import type { Limits } from './terms.js';
import { createTrials, type Candidate, type Trials } from './trials.js';

/** The most QoS 1 messages on their way at once; fewer where the broker asks for fewer (MQTT 5 receive maximum). */
const MAX_UNACKNOWLEDGED = 16;
/** Above this many bytes in the socket's buffer nothing more is handed over: the broker does not read. */
const MAX_BUFFERED_BYTES = 64 * 1024;
/** Replies that wait, and their bytes: what a burst of thousands of requests leaves behind while the broker takes it. */
const MAX_REPLIES = 20_000;
const MAX_REPLY_BYTES = 8 * 1024 * 1024;
/** Topics whose refusal is remembered, and logged once. */
const MAX_COMPLAINTS = 100;

/** Bytes of a packet beside topic, payload and correlation data: header, lengths and properties of MQTT 5. */
export const PACKET_OVERHEAD = 64;
/** About an event, in bytes. */
const EVENT_BYTES = 512;

/** One message as it goes to the broker. */
export interface Outgoing {
  topic: string;
  text: string;
  qos: 0 | 1;
  retain: boolean;
  correlationData?: Buffer | undefined;
  /**
   * When it stops being true, by `performance.now()`: it is not sent later, and with MQTT 5 the broker forgets it
   * then. Infinity: never.
   */
  expiresAt: number;
  isJson: boolean;
  /** Of a state: goes out before all others that have not been sent, since they are read by what it says. */
  leads?: boolean;
  /** Of a state: forgotten once the broker has it, so that it is not sent again in later sessions. */
  once?: boolean;
  /** Of a state: called when the broker has it; not when a newer message has replaced it before. */
  delivered?: () => void;
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
  /** Runs while the broker refuses events: none is handed over meanwhile. */
  eventsHeld: NodeJS.Timeout | null;
  /** Events handed over and not answered yet. */
  eventsOnTheirWay: number;
  /**
   * The last event that was answered was refused: until one is taken they go one by one. With several on their way
   * a broker that changes its mind between two of them would take the later one first.
   */
  eventsOneByOne: boolean;
  /** Replies on their way, in order. */
  replies: Set<Outgoing>;
  trials: Trials;
}

/** Something other than a message that a broker may end the connection for. */
export interface Trial {
  /** Under which name it is suspected. */
  readonly name: string;
  /** Resolves when the broker has answered. */
  run(): Promise<void>;
}

/** What became of a message: the broker has it, does not want it now, or can never take it. */
type Fate = 'taken' | 'refused' | 'unfit';

/** Packet too large; payload format invalid (MQTT 5 section 2.4): the message is at fault, not the moment. */
const UNFIT_CODES: readonly number[] = [0x95, 0x99];

export interface Sender {
  /** A state: the newest message of its topic replaces the one before, and is sent again in every session. */
  state(message: Outgoing): void;
  /** The state of this topic will not change any more: it is forgotten once the broker has it. */
  retire(topic: string): void;
  event(event: EventPayload): void;
  reply(message: Outgoing): void;
  /** Sent now, or never. With its QoS 0 it takes no place among what waits for an answer. */
  transient(message: Outgoing): void;
  /**
   * A connection is ready: `first` goes out, then every other state and whatever waited, then what is suspected of
   * ending connections, one by one, `trials` among it.
   */
  begin(client: MqttClient, limits: Limits, first: Outgoing, trials?: readonly Trial[]): void;
  /** Sends all states once more, in the present session. */
  resendStates(): void;
  /** Nothing more is known of this topic: its message is forgotten, wherever it is. */
  forget(topic: string): void;
  /** The connection is gone; what was on its way is sent again in the next session. */
  end(): void;
  readonly active: boolean;
  /** Resolves to whether everything has been acknowledged, as soon as it is, at `end()`, or after the limit. */
  flush(limitMs: number): Promise<boolean>;
  counters(): { queued: number; dropped: number };
  /** Replies for which there was no room. */
  readonly lostReplies: number;
}

/** Writes a payload as the contract says. */
export function outgoing<K extends OutKey>(key: K, topic: string, payload: Payload<K>): Outgoing {
  const { format, qos, retain } = contract[key];
  const text = format === 'text' && typeof payload === 'string' ? payload : JSON.stringify(payload);
  const expiresAt = performance.now() + 1000 * (expiryOf(key, payload) ?? Infinity);
  return { topic, text, qos, retain, expiresAt, isJson: format === 'json' };
}

/**
 * Holds what is to be sent, and hands it to mqtt.js no faster than the broker takes it. mqtt.js is given a message
 * only while it is connected, the socket drains and fewer than the agreed number are unacknowledged, for it keeps
 * whatever it is given in memory, without a bound. What waits here is bounded: one message per state topic, the
 * outbox, a queue of replies.
 */
export function createSender(options: {
  outbox: Outbox;
  eventTopic: string;
  /** How long events wait after the broker has refused one. */
  refusedEventMs: number;
  suspects: Suspects;
  log: Logger;
}): Sender {
  const { outbox, eventTopic, refusedEventMs, suspects, log } = options;
  /** The newest message of every state topic, and which of them the broker does not have yet, in order. */
  const states = new Map<string, Outgoing>();
  const unsent = new Set<string>();
  /** In order; the oldest first. */
  let replies = new Set<Outgoing>();
  let replyBytes = 0;
  let lostReplies = 0;
  /** What else is to be tried alone in the present session. */
  let otherTrials: readonly Trial[] = [];
  /** Topics whose refusal has been reported. */
  const complained = new Set<string>();
  const flushes = new Set<() => void>();
  let session: Session | null = null;
  let unfitEvents = 0;
  let draining = false;
  let drainCalls = 0;
  let pumping = false;
  let pumpCalls = 0;

  /** The broker does not read what it has been sent. */
  function clogged({ client }: Session): boolean {
    return client.stream.writableLength > MAX_BUFFERED_BYTES;
  }

  function congested(s: Session): boolean {
    return s.unacknowledged >= s.maxUnacknowledged || clogged(s);
  }

  /**
   * Hands one message to mqtt.js. `settled` is called when the broker has it or has refused it; not at all where the
   * connection breaks before.
   */
  function send(s: Session, message: Outgoing, settled?: (fate: Fate) => void): void {
    const { topic, text } = message;
    const leftMs = message.expiresAt - performance.now();
    if (leftMs <= 0) {
      settled?.('taken');
      return;
    }
    const bytes = packetBytes(message);
    if (bytes > s.maxPacketBytes) {
      complain(topic, 'too_large', `it has ${bytes} bytes and the broker takes ${s.maxPacketBytes}`);
      settled?.('unfit');
      return;
    }
    const qos = message.qos > s.maxQos ? s.maxQos : message.qos;
    const retain = message.retain && s.retainAvailable;
    const properties =
      s.client.options.protocolVersion === 5 ? { properties: describe(message, leftMs) } : {};
    if (qos > 0) s.unacknowledged += 1;
    const handed = suspects.handedOver(topic, bytes, qos > 0);
    s.client.publish(topic, text, { qos, retain, ...properties }, (error, packet) => {
      // The callbacks of a connection that is gone say nothing about the next one.
      if (s !== session) return;
      let fate: Fate = 'taken';
      if (error instanceof Error) {
        const answer = answerIn(error, packet);
        // No answer of the broker: the connection is breaking, and `end()` is about to be called.
        if (answer === null) return;
        complain(topic, 'publish_refused', describeRefusal(answer, 'write', topic));
        fate = UNFIT_CODES.includes(answer.code) ? 'unfit' : 'refused';
      }
      if (qos > 0) {
        s.unacknowledged -= 1;
        suspects.answered(handed);
      }
      s.trials.look();
      settled?.(fate);
      pump();
    });
  }

  function complain(topic: string, code: string, reason: string): void {
    // Requesters choose topics for their replies: there is no end to what may be refused.
    if (complained.has(topic) || complained.size >= MAX_COMPLAINTS) return;
    complained.add(topic);
    log.warn({ code, topic }, `The broker does not take ${topic}: ${reason}`);
  }

  /**
   * Sends what may be sent now, as far as the broker keeps up. A message of QoS 0 is settled while it is being sent,
   * which asks for another look: that comes after this one, not inside it.
   */
  function pump(): void {
    pumpCalls += 1;
    if (pumping) return;
    pumping = true;
    try {
      for (let served = 0; served !== pumpCalls;) {
        served = pumpCalls;
        if (session !== null) sendWaiting(session);
      }
    } finally {
      pumping = false;
    }
    for (const look of flushes) look();
  }

  function sendWaiting(s: Session): void {
    if (s.trials.exclusive) s.trials.next();
    if (s.trials.exclusive) return;
    sendReplies(s);
    drainOutbox();
    for (const topic of unsent) {
      if (clogged(s)) break;
      const message = states.get(topic);
      // What the broker need not acknowledge does not take one of those places, nor wait for one.
      if (message !== undefined && message.qos > 0 && congested(s)) continue;
      if (message !== undefined && !isFree(message)) continue;
      unsent.delete(topic);
      if (message !== undefined) sendState(s, message);
    }
    if (!clogged(s)) s.trials.next();
  }

  function sendReplies(s: Session): void {
    // A burst of them leaves room for what else needs an answer of the broker.
    const most = Math.max(1, Math.floor(s.maxUnacknowledged / 2));
    for (const message of replies) {
      if (s.replies.size >= most || congested(s)) return;
      // Whoever asked has long gone when a topic that is held is tried again.
      if (isHeld(message)) takeReply(message);
      else if (isFree(message)) sendReply(s, message);
    }
  }

  function keepReply(message: Outgoing): void {
    replies.add(message);
    replyBytes += packetBytes(message);
  }

  function takeReply(message: Outgoing): void {
    if (replies.delete(message)) replyBytes -= packetBytes(message);
  }

  function isFree(message: Outgoing): boolean {
    return !suspects.any || suspects.verdict(message.topic, packetBytes(message)) === 'free';
  }

  function isHeld(message: Outgoing): boolean {
    return suspects.any && suspects.verdict(message.topic, packetBytes(message)) === 'held';
  }

  function eventsAre(verdict: 'free' | 'alone' | 'held'): boolean {
    // One event is as long as another.
    return (suspects.any ? suspects.verdict(eventTopic, EVENT_BYTES) : 'free') === verdict;
  }

  /** What may be tried alone now. */
  function candidates(s: Session): Candidate[] {
    const found: Candidate[] = [];
    const add = (message: Outgoing, begin: () => void) => {
      const bytes = packetBytes(message);
      if (suspects.verdict(message.topic, bytes) === 'alone')
        found.push({ name: message.topic, bytes, begin });
    };
    for (const topic of unsent) {
      const message = states.get(topic);
      if (message === undefined || !goesOut(s, message)) continue;
      add(message, () => {
        unsent.delete(topic);
        sendState(s, message);
      });
    }
    for (const message of replies) {
      if (!goesOut(s, message)) continue;
      add(message, () => {
        sendReply(s, message);
      });
    }
    for (const trial of otherTrials) {
      const begin = () => {
        otherTrials = otherTrials.filter((other) => other !== trial);
        const handed = suspects.handedOver(trial.name, 0, true);
        void trial.run().then(() => {
          if (s !== session) return;
          suspects.answered(handed);
          s.trials.look();
          pump();
        });
      };
      found.push({ name: trial.name, bytes: 0, begin });
    }
    if (eventsAre('alone') && s.eventsHeld === null && outbox.counters().queued > 0) {
      // It is read from the disk first: see `sendEvents`.
      found.push({ name: eventTopic, bytes: EVENT_BYTES, begin: drainOutbox });
    }
    return found;
  }

  /** It has not expired, and the broker has not said that it is too large: it would really be handed over. */
  function goesOut(s: Session, message: Outgoing): boolean {
    return message.expiresAt > performance.now() && packetBytes(message) <= s.maxPacketBytes;
  }

  function moreIsFree(s: Session): boolean {
    for (const topic of unsent) {
      const message = states.get(topic);
      if (message !== undefined && isFree(message)) return true;
    }
    for (const message of replies) if (isFree(message)) return true;
    return eventsAre('free') && s.eventsHeld === null && outbox.counters().queued > s.eventsOnTheirWay;
  }

  function sendReply(s: Session, message: Outgoing): void {
    takeReply(message);
    s.replies.add(message);
    send(s, message, () => s.replies.delete(message));
  }

  function sendState(s: Session, message: Outgoing): void {
    send(s, message, (fate) => {
      if (fate !== 'taken' || states.get(message.topic) !== message) return;
      if (message.once === true) {
        states.delete(message.topic);
        unsent.delete(message.topic);
      }
      message.delivered?.();
    });
  }

  /** Puts every state in line, those that lead first. */
  function queueStates(): void {
    for (const leads of [true, false]) {
      for (const [topic, message] of states) if ((message.leads ?? false) === leads) unsent.add(topic);
    }
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

  function takesEvents(s: Session): boolean {
    if (!eventsAre('free')) return eventsAre('alone') && s.trials.running && suspects.onTheirWay === 0;
    if (s.trials.exclusive) return false;
    return s.eventsHeld === null && !congested(s) && !(s.eventsOneByOne && s.eventsOnTheirWay > 0);
  }

  async function sendEvents(s: Session): Promise<void> {
    while (s === session && takesEvents(s)) {
      const entries = await outbox.read(s.lastEvent, s.maxUnacknowledged - s.unacknowledged);
      if (s !== session || entries.length === 0) return;
      for (const { key, event } of entries) {
        // States may have taken the places meanwhile; the rest is read again.
        if (!takesEvents(s)) return;
        s.lastEvent = key;
        s.eventsOnTheirWay += 1;
        const alone = s.eventsOneByOne;
        send(s, outgoing('event', eventTopic, event), (fate) => {
          s.eventsOnTheirWay -= 1;
          if (fate === 'refused') {
            s.eventsOneByOne = true;
            holdEvents(s, key);
            return;
          }
          if (alone) s.eventsOneByOne = false;
          if (fate === 'unfit') unfitEvents += 1;
          outbox.remove(key).then(pump, outboxFailed);
        });
        s.trials.look();
      }
    }
  }

  /** Access rules and quotas change: a refused event stays, and the ones from it on are tried again after a while. */
  function holdEvents(s: Session, key: number): void {
    s.lastEvent = Math.min(s.lastEvent, key - 1);
    s.eventsHeld ??= setTimeout(() => {
      s.eventsHeld = null;
      pump();
    }, refusedEventMs);
  }

  function outboxFailed(error: unknown): void {
    log.error({ code: 'outbox_failed', err: error }, `The outbox of events failed: ${messageOf(error)}`);
  }

  function keep(message: Outgoing): void {
    const { topic, leads = false } = message;
    states.set(topic, message);
    const behind = leads ? [...unsent] : [];
    if (leads) unsent.clear();
    for (const next of [topic, ...behind]) unsent.add(next);
  }

  function isDone(): boolean {
    return (
      session !== null &&
      session.unacknowledged === 0 &&
      ![...unsent].some((topic) => states.has(topic) && isFree(states.get(topic)!)) &&
      ![...replies].some(isFree) &&
      (session.eventsHeld !== null || !eventsAre('free') || outbox.counters().queued === 0)
    );
  }

  outbox.onRewind(() => {
    if (session !== null) session.lastEvent = -Infinity;
    pump();
  });

  return {
    state(message) {
      keep(message);
      pump();
    },
    retire(topic) {
      const last = states.get(topic);
      if (last === undefined || last.once === true) return;
      // It may be on its way as one that stays: it is sent once more.
      keep({ ...last, once: true });
      pump();
    },
    forget(topic) {
      states.delete(topic);
      unsent.delete(topic);
    },
    event(event) {
      outbox.append(event).then(pump, outboxFailed);
    },
    reply(message) {
      if (replies.size >= MAX_REPLIES || replyBytes >= MAX_REPLY_BYTES) {
        // Those that wait are older, and were asked for first.
        if (lostReplies === 0) {
          log.warn(
            { code: 'replies_lost' },
            'So many replies are waiting for the broker that further ones are dropped; telemetry counts them',
          );
        }
        lostReplies += 1;
        return;
      }
      keepReply(message);
      pump();
    },
    transient(message) {
      if (session === null || clogged(session)) return;
      if (suspects.any && (session.trials.exclusive || !isFree(message))) this.reply(message);
      else send(session, message);
    },
    begin(client, limits, first, suspectedTrials = []) {
      const s: Session = {
        client,
        maxUnacknowledged: Math.min(MAX_UNACKNOWLEDGED, limits.receiveMaximum),
        maxPacketBytes: limits.maximumPacketBytes,
        maxQos: limits.maximumQos,
        retainAvailable: limits.retainAvailable,
        unacknowledged: 0,
        lastEvent: -Infinity,
        eventsHeld: null,
        eventsOnTheirWay: 0,
        eventsOneByOne: false,
        replies: new Set(),
        trials: createTrials({
          client,
          suspects,
          candidates: () => candidates(s),
          moreIsFree: () => moreIsFree(s),
          pump,
        }),
      };
      session = s;
      otherTrials = suspectedTrials;
      client.stream.on('drain', pump);
      outbox.markLate();
      unsent.clear();
      keep(first);
      queueStates();
      pump();
    },
    resendStates() {
      queueStates();
      pump();
    },
    end() {
      // The broker may have one of them already: QoS 1 is at least once.
      if (session !== null) {
        const waiting = replies;
        replies = new Set();
        replyBytes = 0;
        for (const message of [...session.replies, ...waiting]) keepReply(message);
        if (session.eventsHeld !== null) clearTimeout(session.eventsHeld);
        session.trials.end();
      }
      session = null;
      pump();
    },
    get lostReplies() {
      return lostReplies;
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
      return { queued, dropped: dropped + unfitEvents };
    },
  };
}

/** The size of a message on the wire, in bytes, or a little more. */
function packetBytes({ topic, text, correlationData }: Outgoing): number {
  return (
    Buffer.byteLength(text) + Buffer.byteLength(topic) + (correlationData?.length ?? 0) + PACKET_OVERHEAD
  );
}

/** What MQTT 5 lets us say about a message. */
function describe(message: Outgoing, leftMs: number): NonNullable<IClientPublishOptions['properties']> {
  const { correlationData, isJson } = message;
  return {
    // The payload is UTF-8 text.
    payloadFormatIndicator: true,
    ...(isJson && { contentType: 'application/json' }),
    ...(leftMs < Infinity && { messageExpiryInterval: Math.ceil(leftMs / 1000) }),
    ...(correlationData !== undefined && { correlationData }),
  };
}
