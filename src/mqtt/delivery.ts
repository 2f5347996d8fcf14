import type { MqttClient } from 'mqtt';
import { packetBytes, propertiesOf, type Outgoing } from './outgoing.js';
import { answerIn, describeRefusal } from './refused.js';
import type { Suspects } from './suspects.js';
import type { Limits } from './terms.js';

/** The most QoS 1 messages on their way at once; fewer where the broker asks for fewer (MQTT 5 receive maximum). */
const MAX_UNACKNOWLEDGED = 16;
/** Above this many bytes in the socket's buffer nothing more is handed over: the broker does not read. */
const MAX_BUFFERED_BYTES = 64 * 1024;
/** Packet too large; payload format invalid (MQTT 5 section 2.4): the message is at fault, not the moment. */
const UNFIT_CODES: readonly number[] = [0x95, 0x99];

/** What became of a message: the broker has it, does not want it now, or can never take it. */
export type Fate = 'taken' | 'refused' | 'unfit';

/** Something other than a message that a broker may end the connection for. */
export interface Trial {
  /** Under which name it is suspected. */
  readonly name: string;
  /** Resolves when the broker has answered. */
  run(): Promise<void>;
}

/** What is on its way over one connection. */
export interface Delivery {
  /**
   * Hands one message to mqtt.js. `settled` is called when the broker has it or has refused it, or at once where it
   * will not be sent at all; never where the connection breaks before.
   */
  send(message: Outgoing, settled?: (fate: Fate) => void): void;
  /** Does something else that the broker answers. */
  attempt(trial: Trial): void;
  /** It has not expired, and the broker has not said that it is too large: it would really be handed over. */
  goesOut(message: Outgoing): boolean;
  /** The most messages that may be on their way and want an answer, and how many of these places are left. */
  readonly places: number;
  readonly freePlaces: number;
  /** The broker does not read what it has been sent. */
  readonly clogged: boolean;
  /** It does not, or no place is left. */
  readonly congested: boolean;
  /** Nothing is on its way that the broker has to acknowledge. */
  readonly idle: boolean;
  /** The connection is gone: its callbacks say nothing about the next one. */
  end(): void;
}

/**
 * @param complain told what the broker does not take, with a log code and the reason for people
 * @param answered the broker has answered, or a message that it does not answer has gone out; called before `settled`
 * @param pump asks for another look at what may be sent; called after `settled`
 */
export function createDelivery(options: {
  client: Pick<MqttClient, 'publish'> & {
    stream: Pick<MqttClient['stream'], 'writableLength'>;
    options: Pick<MqttClient['options'], 'protocolVersion'>;
  };
  limits: Limits;
  suspects: Suspects;
  complain: (topic: string, code: string, reason: string) => void;
  answered: () => void;
  pump: () => void;
}): Delivery {
  const { client, limits, suspects, complain, answered, pump } = options;
  const { maximumPacketBytes } = limits;
  const places = Math.min(MAX_UNACKNOWLEDGED, limits.receiveMaximum);
  let unacknowledged = 0;
  let over = false;

  function isClogged(): boolean {
    return client.stream.writableLength > MAX_BUFFERED_BYTES;
  }

  /** Null where it is no answer of the broker: the connection is breaking, and `end()` is about to be called. */
  function fateOf(topic: string, error: unknown, packet: unknown): Fate | null {
    if (!(error instanceof Error)) return 'taken';
    const answer = answerIn(error, packet);
    if (answer === null) return null;
    complain(topic, 'publish_refused', describeRefusal(answer, 'write', topic));
    return UNFIT_CODES.includes(answer.code) ? 'unfit' : 'refused';
  }

  function publish(message: Outgoing, leftMs: number, settled?: (fate: Fate) => void): void {
    const { topic, text } = message;
    const qos = message.qos > limits.maximumQos ? limits.maximumQos : message.qos;
    const retain = message.retain && limits.retainAvailable;
    const properties =
      client.options.protocolVersion === 5 ? { properties: propertiesOf(message, leftMs) } : {};
    if (qos > 0) unacknowledged += 1;
    const handed = suspects.handedOver(topic, packetBytes(message), qos > 0);
    client.publish(topic, text, { qos, retain, ...properties }, (error, packet) => {
      if (over) return;
      const fate = fateOf(topic, error, packet);
      if (fate === null) return;
      if (qos > 0) {
        unacknowledged -= 1;
        suspects.answered(handed);
      }
      answered();
      settled?.(fate);
      pump();
    });
  }

  return {
    send(message, settled) {
      const leftMs = message.expiresAt - performance.now();
      const bytes = packetBytes(message);
      if (leftMs <= 0) settled?.('taken');
      else if (bytes > maximumPacketBytes) {
        const reason = `it has ${bytes} bytes and the broker takes ${maximumPacketBytes}`;
        complain(message.topic, 'too_large', reason);
        settled?.('unfit');
      } else publish(message, leftMs, settled);
    },
    attempt(trial) {
      const handed = suspects.handedOver(trial.name, 0, true);
      void trial.run().then(() => {
        if (over) return;
        suspects.answered(handed);
        answered();
        pump();
      });
    },
    goesOut: (message) => message.expiresAt > performance.now() && packetBytes(message) <= maximumPacketBytes,
    places,
    get freePlaces() {
      return places - unacknowledged;
    },
    get clogged() {
      return isClogged();
    },
    get congested() {
      return unacknowledged >= places || isClogged();
    },
    get idle() {
      return unacknowledged === 0;
    },
    end() {
      over = true;
    },
  };
}
