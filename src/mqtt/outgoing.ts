import type { IClientPublishOptions } from 'mqtt';
import { contract, expiryOf, type OutKey, type Payload } from './contract.js';

/** Bytes of a packet beside topic, payload and correlation data: header, lengths and properties of MQTT 5. */
export const PACKET_OVERHEAD = 64;

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

/** Writes a payload as the contract says. */
export function outgoing<K extends OutKey>(key: K, topic: string, payload: Payload<K>): Outgoing {
  const { format, qos, retain } = contract[key];
  const text = format === 'text' && typeof payload === 'string' ? payload : JSON.stringify(payload);
  const expiresAt = performance.now() + 1000 * (expiryOf(key, payload) ?? Infinity);
  return { topic, text, qos, retain, expiresAt, isJson: format === 'json' };
}

/** The size of a message on the wire, in bytes, or a little more. */
export function packetBytes({ topic, text, correlationData }: Outgoing): number {
  return (
    Buffer.byteLength(text) + Buffer.byteLength(topic) + (correlationData?.length ?? 0) + PACKET_OVERHEAD
  );
}

/** What MQTT 5 lets us say about a message that expires in `leftMs`. */
export function propertiesOf(
  { correlationData, isJson }: Outgoing,
  leftMs: number,
): NonNullable<IClientPublishOptions['properties']> {
  return {
    // The payload is UTF-8 text.
    payloadFormatIndicator: true,
    ...(isJson && { contentType: 'application/json' }),
    ...(leftMs < Infinity && { messageExpiryInterval: Math.ceil(leftMs / 1000) }),
    ...(correlationData !== undefined && { correlationData }),
  };
}
