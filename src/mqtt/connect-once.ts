import type { MqttClient } from 'mqtt';
import { messageOf } from '../common/errors.js';
import { closeConnection, type Connection } from './connection.js';
import type { Trial } from './delivery.js';
import type { Failure } from './failure.js';
import type { Receive } from './incoming.js';
import type { Suspects, Hold } from './suspects.js';
import type { Limits, Negotiation, Terms } from './terms.js';

/** How a connection came to its end. */
export interface End {
  failure: Failure;
  /** From the moment when the broker let us in, in ms; 0 where it did not. */
  heldMs: number;
  /** Something that was on its way is suspected to be the reason. */
  suspected: boolean;
  held: Hold | null;
  /** To be tried again at once, with what the broker agrees to. */
  atOnce: boolean;
  /** It did not say why: an older version of the protocol is tried before the next address. */
  stay: boolean;
}

/** What a connection is for. */
export interface Use {
  /** Begins to connect. Throws where the settings cannot be used. */
  open: (terms: Terms) => Connection;
  receive: Receive;
  /** Subscribes; returns what has to be tried alone. */
  subscribe: (client: MqttClient) => Promise<Trial[]>;
  /** The connection is ready. */
  begin: (ready: { client: MqttClient; limits: Limits; trials: Trial[]; version: 4 | 5 }) => void;
  /** The connection is gone; called also where `begin` was not, once the broker had let us in. */
  end: () => void;
  /** What the broker does now is what we have asked for. */
  isStopped: () => boolean;
}

/**
 * One connection from the first byte to the last. Resolves to why it is over; never rejects for what brokers and
 * networks do. `flushMs`: how long a connection that is given up may take to close.
 */
export async function connectOnce(options: {
  negotiation: Negotiation;
  suspects: Suspects;
  use: Use;
  flushMs: number;
}): Promise<End> {
  const { negotiation, suspects, use, flushMs } = options;
  const { terms } = negotiation;
  let opened: Connection;
  try {
    opened = use.open(terms);
  } catch (error) {
    // Certificates that cannot be read are thrown here.
    const reason = `the connection cannot be set up: ${messageOf(error)}`;
    return neverOpen({ code: 'invalid_settings', reason, kind: 'refused' });
  }
  const { client, closed } = opened;
  const outcome = await opened.opened;
  if ('failure' in outcome) {
    const atOnce = negotiation.refused(outcome.failure);
    return neverOpen(outcome.failure, { atOnce, stay: negotiation.terms.version < terms.version });
  }
  const limits = negotiation.accepted(outcome.connack);
  if (limits === null) {
    await closeConnection(opened, flushMs);
    return neverOpen(lostWithoutReason, { atOnce: true });
  }
  const since = performance.now();
  client.on('message', use.receive);
  const trials = await Promise.race([use.subscribe(client), closed.then(() => [])]);
  if (client.connected) use.begin({ client, limits, trials, version: terms.version });
  const failure = (await closed) ?? lostWithoutReason;
  use.end();
  const { byBroker, told } = doneBy(failure);
  return {
    failure,
    heldMs: performance.now() - since,
    ...suspects.ended({ byBroker: byBroker && !use.isStopped(), told }),
    atOnce: false,
    stay: false,
  };
}

function neverOpen(failure: Failure, { atOnce = false, stay = false } = {}): End {
  return { failure, heldMs: 0, suspected: false, held: null, atOnce, stay };
}

/** Whether the broker may have ended a connection over what we have sent, and whether it has told so. */
export function doneBy({ code, brokerCode }: Failure): { byBroker: boolean; told: boolean } {
  return brokerCode === undefined
    ? { byBroker: suddenEnds.has(code), told: false }
    : { byBroker: messageCodes.has(brokerCode), told: true };
}

const lostWithoutReason: Failure = {
  code: 'connection_closed',
  reason: 'the broker closed the connection',
  kind: 'unreachable',
};
/** Ends without a reason that a broker can bring about. */
const suddenEnds: ReadonlySet<string> = new Set(['connection_closed', 'connection_reset']);
/** Reason codes of a DISCONNECT that are about something we have sent (MQTT 5 section 2.4). */
const messageCodes: ReadonlySet<number> = new Set([
  0x80, 0x81, 0x82, 0x83, 0x87, 0x8f, 0x90, 0x95, 0x99, 0x9a, 0x9b, 0x9e, 0xa1, 0xa2,
]);
