import type { IClientOptions, IConnackPacket } from 'mqtt';
import type { Logger } from '../common/log.js';
import type { Failure } from './failure.js';

/** What is asked of a broker at a connect: the version, and how the will is to be delivered. */
export interface Terms {
  readonly version: 4 | 5;
  readonly retain: boolean;
  readonly qos: 0 | 1;
}

/** What a broker takes in one session, by what it says (MQTT 5) and by what it has refused. */
export interface Limits {
  /** The most QoS 1 messages on their way at once. */
  receiveMaximum: number;
  /** Of a whole packet. */
  maximumPacketBytes: number;
  maximumQos: 0 | 1;
  retainAvailable: boolean;
  /** The keep-alive that the broker orders; null where it takes ours. */
  keepaliveSeconds: number | null;
}

/**
 * Finds what a broker agrees to. It is asked for everything first: MQTT 5, a retained will, QoS 1. What it refuses
 * with a reason is left out and stays left out; what it refuses without one, as MQTT 3.1.1 has to, is tried in turn.
 */
export interface Negotiation {
  /** What to ask for at the next connect. */
  readonly terms: Terms;
  /** There was no connection. True: it is to be tried at once with other terms. */
  refused(failure: Failure): boolean;
  /**
   * The broker lets us in. `null`: it may only have been busy when it closed the connection before, so the terms have
   * to be proven: close this connection and connect again at once.
   */
  accepted(connack: IConnackPacket): Limits | null;
}

/** Tried one after the other where a broker closes the connection without an answer. */
const guesses: readonly Partial<Terms>[] = [
  {},
  { version: 4 },
  { version: 4, retain: false },
  { version: 4, qos: 0 },
  { version: 4, retain: false, qos: 0 },
];
/** From this one on something is lost that everybody else would get. */
const FIRST_COSTLY_GUESS = 2;

export function createNegotiation(options: { newest: 4 | 5; log: Logger }): Negotiation {
  const { log } = options;
  let agreed: Terms = { version: options.newest, retain: true, qos: 1 };
  let guess = 0;
  /** Terms that a silent broker took: they hold if it closes once more on the full ones. */
  let toBeProven: Terms | null = null;
  const told = new Set<string>();

  const terms = (): Terms =>
    toBeProven === null ? { ...agreed, ...guesses[guess] } : { ...agreed, version: 4 };

  function tell(code: string, message: string): void {
    if (told.has(code)) return;
    told.add(code);
    log.warn({ code }, message);
  }

  function tellLimits(limits: Pick<Limits, 'retainAvailable' | 'maximumQos'>): void {
    if (!limits.retainAvailable) {
      tell(
        'retain_not_supported',
        'The broker keeps no retained messages: whoever subscribes later learns how things are only when they change, and after every connect of ours. Allow retained messages there if it can',
      );
    }
    if (limits.maximumQos === 0) {
      tell(
        'qos_not_supported',
        'The broker takes QoS 0 only: what is on its way when the connection breaks is lost, events as well. Allow QoS 1 there if it can',
      );
    }
  }

  return {
    get terms() {
      return terms();
    },
    refused(failure) {
      const asked = terms();
      if (failure.code === 'closed_at_connect') {
        if (toBeProven !== null) {
          agreed = toBeProven;
          toBeProven = null;
          guess = 0;
          return true;
        }
        do guess = (guess + 1) % guesses.length;
        while (guess !== 0 && same(terms(), agreed));
        return false;
      }
      toBeProven = null;
      if (failure.kind === 'version' && asked.version === 5) {
        agreed = { ...agreed, version: 4 };
        log.debug({}, 'The broker does not speak MQTT 5; trying 3.1.1');
        return true;
      }
      guess = 0;
      if (failure.code === 'retain_not_supported' && asked.retain) {
        agreed = { ...agreed, retain: false };
        return true;
      }
      if (failure.code === 'qos_not_supported' && asked.qos === 1) {
        agreed = { ...agreed, qos: 0 };
        return true;
      }
      return false;
    },
    accepted(connack) {
      const asked = terms();
      if (guess >= FIRST_COSTLY_GUESS) {
        toBeProven = asked;
        guess = 0;
        return null;
      }
      toBeProven = null;
      guess = 0;
      const said = connack.properties ?? {};
      const limits: Limits = {
        receiveMaximum: said.receiveMaximum ?? Infinity,
        maximumPacketBytes: said.maximumPacketSize ?? Infinity,
        maximumQos: said.maximumQoS === 0 || asked.qos === 0 ? 0 : 1,
        retainAvailable: said.retainAvailable !== false && asked.retain,
        keepaliveSeconds: said.serverKeepAlive ?? null,
      };
      tellLimits(limits);
      // A broker of MQTT 5 that says nothing of a limit has none any more: the next will is a full one.
      if (asked.version === 5) {
        agreed = {
          ...agreed,
          retain: said.retainAvailable !== false,
          qos: said.maximumQoS === 0 ? 0 : 1,
        };
      }
      return limits;
    },
  };
}

function same(a: Terms, b: Terms): boolean {
  return a.version === b.version && a.retain === b.retain && a.qos === b.qos;
}

/** What our service says to a broker at a connect. The doctor says the same, under an id of its own. */
export function connectOptions(options: {
  terms: Terms;
  clientId: string;
  /** Where the broker says `offline` for us. */
  statusTopic: string;
  keepaliveSeconds: number;
  connectTimeoutMs: number;
}): IClientOptions {
  const { terms } = options;
  return {
    clientId: options.clientId,
    protocolVersion: terms.version,
    protocolId: 'MQTT',
    connectTimeout: options.connectTimeoutMs,
    keepalive: options.keepaliveSeconds,
    will: {
      topic: options.statusTopic,
      payload: Buffer.from('offline'),
      qos: terms.qos,
      retain: terms.retain,
    },
    ...(terms.version === 5 ? { properties: { maximumPacketSize: MAX_INCOMING_PACKET } } : {}),
  };
}

/** The broker never sends us anything bigger (MQTT 5); a request may have 64 KiB and gets a reply above it. */
const MAX_INCOMING_PACKET = 1024 * 1024;
