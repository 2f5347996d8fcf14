import {
  contract,
  type EventPayload,
  type OutKey,
  type Payload,
  type ResponsePayload,
  type TopicArguments,
} from './contract.js';
import { outgoing } from './outgoing.js';
import type { Sender } from './sender.js';
import type { Topics } from './topics.js';

/** The one reply to a request. */
export interface Reply {
  command: string;
  payload: ResponsePayload;
  /** MQTT 5: a second place for the reply, checked already. */
  responseTopic?: string | undefined;
  correlationData?: Buffer | undefined;
}

/** How the service says what it has to say: never throws, never waits. */
export interface Publishing {
  /** What becomes of it while there is no broker is written in the contract. */
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
  /** Sends all states once more. */
  resendStates(): void;
}

/** `isStopped`: whether only replies, and what is forgotten, still count. */
export function createPublishing(options: {
  sender: Sender;
  topics: Topics;
  isStopped: () => boolean;
}): Publishing {
  const { sender, topics, isStopped } = options;

  return {
    publish(key, payload, ...parameters) {
      if (isStopped()) return;
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
      if (!isStopped()) sender.retire(topics.of(key, ...parameters));
    },
    reply({ command, payload, responseTopic, correlationData }) {
      const own = topics.of('response', { command });
      for (const topic of new Set([own, responseTopic ?? own])) {
        sender.reply({ ...outgoing('response', topic, payload), correlationData });
      }
    },
    publishElsewhere(topic, text, { leads = false, delivered } = {}) {
      if (isStopped()) return;
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
    forgetElsewhere: (topic) => sender.forget(topic),
    resendStates() {
      if (!isStopped()) sender.resendStates();
    },
  };
}
