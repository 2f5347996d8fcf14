import type { MqttClient } from 'mqtt';
import { createDelivery, type Trial } from './delivery.js';
import type { EventFeed } from './event-feed.js';
import { packetBytes, type Outgoing } from './outgoing.js';
import type { ReplyQueue } from './reply-queue.js';
import type { StateQueue } from './state-queue.js';
import type { Suspects, Verdict } from './suspects.js';
import type { Limits } from './terms.js';
import { createTrials, type Candidate } from './trials.js';

/** In which order what waits goes out over one connection. */
export interface Session {
  /** Hands over what may go now, as far as the broker keeps up: replies, events, states, and then the next trial. */
  sendWaiting(): void;
  /** Hands this one over, past what waits. False where it is suspected, or something is being tried alone. */
  sendNow(message: Outgoing): boolean;
  /** The broker does not read what it has been sent. */
  readonly clogged: boolean;
  /** The broker has acknowledged everything that it would take now. */
  readonly isDone: boolean;
  /** The connection is gone. */
  end(): void;
}

/** What one session after the other sends from. */
export interface Queues {
  states: StateQueue;
  replies: ReplyQueue;
  events: EventFeed;
}

/**
 * Begins the session of a connection that is ready.
 * @param trials what is to be tried alone beside messages
 * @param complain told what the broker does not take: the topic, a log code and the reason
 * @param pump asks for another look at what may be sent
 */
export function createSession(options: {
  client: MqttClient;
  limits: Limits;
  queues: Queues;
  suspects: Suspects;
  trials: readonly Trial[];
  complain: (topic: string, code: string, reason: string) => void;
  pump: () => void;
}): Session {
  const { client, limits, suspects, complain, pump } = options;
  const { states, replies, events } = options.queues;
  const toTry = new Set(options.trials);
  const trials = createTrials({ client, suspects, candidates, moreIsFree, pump });
  const answered = (): void => trials.look();
  const delivery = createDelivery({ client, limits, suspects, complain, answered, pump });
  events.begin(delivery, trials);

  const verdict = (message: Outgoing): Verdict => verdictOn(message, suspects);
  const isFree = (message: Outgoing): boolean => verdict(message) === 'free';

  function sendState(message: Outgoing): void {
    states.begin(message);
    delivery.send(message, (fate) => {
      if (fate === 'taken') states.taken(message);
    });
  }

  function sendStates(): void {
    for (const message of states.waiting()) {
      if (delivery.clogged) break;
      // What the broker need not acknowledge does not take one of those places, nor wait for one.
      if (message.qos > 0 && delivery.congested) continue;
      if (isFree(message)) sendState(message);
    }
  }

  function sendReply(message: Outgoing): void {
    replies.begin(message);
    delivery.send(message, () => replies.settled(message));
  }

  function sendReplies(): void {
    // A burst of them leaves room for what else needs an answer of the broker.
    const most = Math.max(1, Math.floor(delivery.places / 2));
    for (const message of replies.waiting()) {
      if (replies.onTheirWay >= most || delivery.congested) return;
      const found = verdict(message);
      // Whoever asked has long gone when a topic that is held is tried again.
      if (found === 'held') replies.drop(message);
      else if (found === 'free') sendReply(message);
    }
  }

  function attempt(trial: Trial): void {
    toTry.delete(trial);
    delivery.attempt(trial);
  }

  /** What may be tried alone now. */
  function candidates(): Candidate[] {
    const found: Candidate[] = [];
    const add = (message: Outgoing, begin: (message: Outgoing) => void): void => {
      if (!delivery.goesOut(message) || verdict(message) !== 'alone') return;
      found.push({ name: message.topic, bytes: packetBytes(message), begin: () => begin(message) });
    };
    for (const message of states.waiting()) add(message, sendState);
    for (const message of replies.waiting()) add(message, sendReply);
    for (const trial of toTry) found.push({ name: trial.name, bytes: 0, begin: () => attempt(trial) });
    const event = events.candidate();
    return event === null ? found : [...found, event];
  }

  const anyMessageIsFree = (): boolean => any(states.waiting(), isFree) || any(replies.waiting(), isFree);

  /** Something is left that may go before what is suspected. */
  function moreIsFree(): boolean {
    return anyMessageIsFree() || events.moreIsFree;
  }

  return {
    sendWaiting() {
      if (trials.exclusive) trials.next();
      if (trials.exclusive) return;
      sendReplies();
      events.handOver();
      sendStates();
      if (!delivery.clogged) trials.next();
    },
    sendNow(message) {
      if (suspects.any && (trials.exclusive || !isFree(message))) return false;
      delivery.send(message);
      return true;
    },
    get clogged() {
      return delivery.clogged;
    },
    get isDone() {
      return delivery.idle && !anyMessageIsFree() && events.isDone;
    },
    end() {
      delivery.end();
      replies.restart();
      events.end();
      trials.end();
    },
  };
}

function verdictOn(message: Outgoing, suspects: Suspects): Verdict {
  // The size of a message is worth working out only where something is suspected.
  return suspects.any ? suspects.verdict(message.topic, packetBytes(message)) : 'free';
}

function any<T>(items: Iterable<T>, is: (item: T) => boolean): boolean {
  for (const item of items) if (is(item)) return true;
  return false;
}
