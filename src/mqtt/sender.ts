import type { MqttClient } from 'mqtt';
import type { Logger } from '../common/log.js';
import type { EventPayload } from './contract.js';
import type { Trial } from './delivery.js';
import { createEventFeed } from './event-feed.js';
import type { Outbox } from './outbox.js';
import type { Outgoing } from './outgoing.js';
import { createReplyQueue } from './reply-queue.js';
import { createRounds } from './rounds.js';
import { createSession, type Session } from './session.js';
import { createStateQueue } from './state-queue.js';
import type { Suspects } from './suspects.js';
import type { Limits } from './terms.js';

/** Topics whose refusal is remembered, and logged once. */
const MAX_COMPLAINTS = 100;

export interface Sender {
  /** A state: the newest message of its topic replaces the one before, and is sent again in every session. */
  state(message: Outgoing): void;
  /** The state of this topic will not change any more: it is forgotten once the broker has it. */
  retire(topic: string): void;
  event(event: EventPayload): void;
  reply(message: Outgoing): void;
  /**
   * Sent now, or never. With QoS 0 it takes no place among what waits for an answer; with QoS 1 it waits for one in
   * line with the replies, so that none overtakes another.
   */
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

/**
 * Holds what is to be sent, and hands it to mqtt.js no faster than the broker takes it. mqtt.js is given a message
 * only while it is connected, the socket drains and fewer than the agreed number are unacknowledged, for it keeps
 * whatever it is given in memory, without a bound. What waits here is bounded: one message per state topic
 * (`state-queue.ts`), the outbox (`event-feed.ts`), a queue of replies (`reply-queue.ts`). What is on its way belongs
 * to one connection (`delivery.ts`), and so does the order in which the rest follows (`session.ts`).
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
  const states = createStateQueue();
  const replies = createReplyQueue({ log });
  const events = createEventFeed({
    outbox,
    suspects,
    log,
    pump,
    topic: eventTopic,
    refusedMs: refusedEventMs,
  });
  const complain = createComplaints(log);
  const flushes = new Set<() => void>();
  let session: Session | null = null;

  // A message of QoS 0 is settled while it is being sent, which asks for another look.
  const sendWaiting = createRounds(() => session?.sendWaiting());

  /** Sends what may be sent now, as far as the broker keeps up. */
  function pump(): void {
    if (!sendWaiting()) return;
    for (const look of flushes) look();
  }

  function reply(message: Outgoing): void {
    if (replies.add(message)) pump();
  }

  const isDone = (): boolean => session !== null && session.isDone;

  return {
    state(message) {
      states.keep(message);
      pump();
    },
    retire(topic) {
      if (states.retire(topic)) pump();
    },
    forget: (topic) => states.forget(topic),
    event: (event) => events.append(event),
    reply,
    transient(message) {
      if (session === null || session.clogged) return;
      if (message.qos > 0 || !session.sendNow(message)) reply(message);
    },
    begin(client, limits, first, trials = []) {
      session = createSession({
        client,
        limits,
        suspects,
        trials,
        complain,
        pump,
        queues: { states, replies, events },
      });
      client.stream.on('drain', pump);
      states.restart(first);
      pump();
    },
    resendStates() {
      states.queueAll();
      pump();
    },
    end() {
      // The broker may have some of what was on its way already: QoS 1 is at least once.
      session?.end();
      session = null;
      pump();
    },
    get lostReplies() {
      return replies.lost;
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
    counters: () => events.counters(),
  };
}

/** Says once of each topic what the broker does not take. */
function createComplaints(log: Logger): (topic: string, code: string, reason: string) => void {
  const complained = new Set<string>();
  return (topic, code, reason) => {
    // Requesters choose topics for their replies: there is no end to what may be refused.
    if (complained.has(topic) || complained.size >= MAX_COMPLAINTS) return;
    complained.add(topic);
    log.warn({ code, topic }, `The broker does not take ${topic}: ${reason}`);
  };
}
