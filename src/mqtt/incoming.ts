import type { IPublishPacket } from 'mqtt';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';

/** A message on one of the topics we subscribe to. Nothing in it has been checked. */
export interface IncomingMessage {
  topic: string;
  payload: Uint8Array;
  /** It lay at the broker (or, with MQTT 5, was sent to lie there). */
  retain: boolean;
  responseTopic?: string | undefined;
  correlationData?: Buffer | undefined;
}

/** Who gets what comes in; what they throw is logged and goes no further. */
export interface Receivers {
  onRequest: (message: IncomingMessage) => void;
  /** Somebody else's topic on which a message means that they have just come up, such as Home Assistant's. */
  birthTopic?: string | undefined;
  /** Called with the text of every message on it. */
  onBirth?: ((text: string) => void) | undefined;
}

/** What is called with every message that comes in. */
export type Receive = (topic: string, payload: Uint8Array, packet: IPublishPacket) => void;

export function createReceive({ onRequest, birthTopic, onBirth }: Receivers, log: Logger): Receive {
  return (topic, payload, packet) => {
    try {
      if (topic === birthTopic) {
        onBirth?.(Buffer.from(payload).toString('utf8'));
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
  };
}
