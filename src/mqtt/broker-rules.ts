import type { AedesOptions, Client } from 'aedes';
import { BROKER_LIMITS, type Accounts } from './broker-limits.js';

/** What a client that was let in may do. */
export type Rules = Required<
  Pick<AedesOptions, 'authorizePublish' | 'authorizeSubscribe' | 'authorizeForward'>
>;

/**
 * @param options.isOwn whether this is the service itself, for which there are no bounds; null is the broker
 * @param options.keyOf under which key a client has its account
 * @param options.queuedBytes what waits for all clients together
 * @param options.complain told what a client does wrong, with a log code
 */
export function createRules(options: {
  isOwn: (client: Client | null) => boolean;
  keyOf: (client: Client) => object;
  accounts: Accounts;
  queuedBytes: () => number;
  complain: (code: string, message: string) => void;
}): Rules {
  const { isOwn, keyOf, accounts, queuedBytes, complain } = options;

  /** Whether a subscriber still reads what it is sent; one that does not is disconnected. */
  function reads({ conn }: Client): boolean {
    if (conn.destroyed) return false;
    const waiting = conn.writableLength;
    if (waiting < BROKER_LIMITS.queuedBytes) {
      if (waiting < BROKER_LIMITS.queuedBytes / 16) return true;
      if (queuedBytes() < BROKER_LIMITS.queuedBytesInAll) return true;
    }
    conn.destroy();
    complain(
      'slow_client',
      'A client of the embedded broker did not read what it has subscribed to and was disconnected.',
    );
    return false;
  }

  return {
    authorizePublish(client, packet, callback) {
      if (packet.topic.startsWith('$SYS/')) {
        callback(new Error('$SYS/ topics are reserved'));
        return;
      }
      const bytes = packet.payload.length;
      if (!isOwn(client) && packet.qos === 2 && bytes > BROKER_LIMITS.exactlyOnceBytes) {
        callback(new Error(`QoS 2 is for messages of at most ${BROKER_LIMITS.exactlyOnceBytes} bytes here`));
        return;
      }
      if (packet.retain) {
        const kept = bytes === 0 ? 0 : bytes + Buffer.byteLength(packet.topic);
        const key = isOwn(client) || client === null ? null : keyOf(client);
        if (!accounts.retain(key, packet.topic, kept)) {
          // MQTT 3.1.1 has no word for it: the message goes to whoever listens now.
          packet.retain = false;
          complain(
            'broker_full',
            'A client of the embedded broker wants more retained messages than it may have; they are passed on and not kept.',
          );
        }
      }
      callback(null);
    },
    authorizeSubscribe(client, subscription, callback) {
      if (isOwn(client) || accounts.subscribe(keyOf(client), subscription.topic)) {
        callback(null, subscription);
        return;
      }
      complain(
        'broker_full',
        'A client of the embedded broker wants more subscriptions than it may have; they are refused.',
      );
      // A SUBACK that says no.
      callback(null, null);
    },
    authorizeForward: (client, packet) => (isOwn(client) || reads(client) ? packet : null),
  };
}
