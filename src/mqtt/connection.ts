import type { Duplex } from 'node:stream';
import { connect, MqttClient, type IClientOptions, type IConnackPacket } from 'mqtt';
import { BROKER_SCHEMES, isEncryptedAddress, tlsProblems } from '../common/broker-address.js';
import { SoundpostError } from '../common/errors.js';
import { adviseOnChain } from './certificate-advice.js';
import { describeError, refusal, type Failure } from './failure.js';

export type { Failure } from './failure.js';

/** Where the broker is and who we are to it. */
export interface BrokerAccess {
  /** `mqtt://`, `mqtts://`, `ws://` or `wss://`; may carry a user and a password, which win over those below. */
  url: string;
  username?: string | undefined;
  password?: string | undefined;
  /** PEM text: the authority that signed the broker's certificate. */
  ca?: string | undefined;
  /** PEM text: this client's certificate and its key. */
  cert?: string | undefined;
  key?: string | undefined;
  /** The protocol to ask for with ALPN; by default what the broker is known to want. */
  alpn?: string | undefined;
}

/** The same where there may be several addresses, in the order of trying. */
export type BrokersAccess = Omit<BrokerAccess, 'url'> & { url: string | readonly string[] };

/** An address that can be tried. */
export interface ParsedAccess {
  options: IClientOptions;
  address: string;
  /** The address without secrets. */
  label: string;
}

/** One network connection, from the first attempt to its end. Nothing of it outlives it. */
export interface Connection {
  readonly client: MqttClient;
  /** Settles once: with the broker's CONNACK, or with the reason why there was none. Never rejects. */
  readonly opened: Promise<{ connack: IConnackPacket } | { failure: Failure }>;
  /** Settles when the connection is gone, with the broker's or the network's reason where one was given. */
  readonly closed: Promise<Failure | null>;
}

const schemes = new Set(BROKER_SCHEMES.map((scheme) => `${scheme}:`));

/**
 * The same as `parseAccess` for each address of a list. What is for encrypted connections goes to those of the list
 * only; there must be one.
 */
export function parseAddresses(access: BrokersAccess): readonly [ParsedAccess, ...ParsedAccess[]] {
  const { url, ...others } = access;
  const plain = { username: others.username, password: others.password };
  const [first = '', ...rest] = typeof url === 'string' ? [url] : url;
  const anyEncrypted = [first, ...rest].some(isEncryptedAddress);
  const parse = (one: string): ParsedAccess =>
    parseAccess({ ...(isEncryptedAddress(one) || !anyEncrypted ? others : plain), url: one });
  return [parse(first), ...rest.map(parse)];
}

/**
 * Checks what can be checked without a network. Throws SoundpostError `invalid_broker_url` or
 * `invalid_broker_tls`.
 */
export function parseAccess(access: BrokerAccess): ParsedAccess {
  let url: URL;
  try {
    url = new URL(access.url);
  } catch (cause) {
    throw new SoundpostError(
      'invalid_broker_url',
      'mqtt.url is not an address: write it like mqtt://192.168.1.10:1883 or mqtts://broker.example:8883.',
      { cause },
    );
  }
  if (!schemes.has(url.protocol) || url.hostname === '') {
    throw new SoundpostError(
      'invalid_broker_url',
      `mqtt.url has to begin with mqtt://, mqtts://, ws:// or wss:// and name a host, not "${url.protocol}//${url.hostname}".`,
    );
  }
  const encrypted = isEncryptedAddress(url.href);
  const [problem] = tlsProblems((setting) => access[setting] !== undefined, encrypted);
  if (problem?.problem === 'unencrypted') {
    // The MQTT library would ignore a lone authority and connect in the clear.
    throw new SoundpostError(
      'invalid_broker_tls',
      `${problem.setting === 'alpn' ? 'mqtt.alpn needs' : 'mqtt.ca, mqtt.cert and mqtt.key need'} an encrypted connection: change mqtt.url to ${url.protocol === 'mqtt:' ? 'mqtts' : 'wss'}://….`,
    );
  }
  if (problem?.problem === 'alone') {
    throw new SoundpostError(
      'invalid_broker_tls',
      'mqtt.cert and mqtt.key belong together: set both or neither.',
    );
  }
  // What an address brings itself is for it alone; the rest is for whoever brings nothing.
  const username = url.username === '' ? access.username : decodeURIComponent(url.username);
  const password = url.password === '' ? access.password : decodeURIComponent(url.password);
  // Left in the address, they would win over the options and appear in messages; so would "?clientId=".
  url.username = '';
  url.password = '';
  const label = `${url.protocol}//${url.host}`;
  const options: IClientOptions = {};
  // Given beside the address, the query goes out as it is: in it, mqtt.js looks for a client id of its own.
  if (isWebSocket(url)) options.path = `${url.pathname}${url.search}`;
  url.search = '';
  url.hash = '';
  const alpn = encrypted ? (access.alpn ?? usualAlpn(url, access.cert !== undefined)) : undefined;
  if (alpn !== undefined) {
    // The options of ws go on to TLS, though its types do not say so.
    if (isWebSocket(url))
      options.wsOptions = { ALPNProtocols: [alpn] } as NonNullable<IClientOptions['wsOptions']>;
    else options.ALPNProtocols = [alpn];
  }
  if (username !== undefined) options.username = username;
  if (password !== undefined) options.password = password;
  if (access.ca !== undefined) options.ca = access.ca;
  if (access.cert !== undefined) options.cert = access.cert;
  if (access.key !== undefined) options.key = access.key;
  return { options, address: url.href, label };
}

function isWebSocket({ protocol }: URL): boolean {
  return protocol === 'ws:' || protocol === 'wss:';
}

/**
 * What AWS IoT wants to be asked for at port 443, where MQTT shares the door with HTTPS: without it the connection is
 * taken for one of a browser ("Protocols, port mappings, and authentication" in its developer guide).
 */
function usualAlpn(url: URL, withCertificate: boolean): string | undefined {
  const isAws = /\.iot\.[a-z0-9-]+\.amazonaws\.com(\.cn)?$/i.test(url.hostname);
  if (!isAws || url.protocol !== 'mqtts:' || url.port !== '443') return undefined;
  return withCertificate ? 'x-amzn-mqtt-ca' : 'mqtt';
}

/**
 * Opens one connection. mqtt.js's own reconnecting is off: a new client per connection starts with empty stores,
 * so nothing piles up in it behind our back (its queue has no bound).
 * @param openStream gives the line to the broker, where that is not one of the network
 */
export function openConnection(
  address: string,
  options: IClientOptions,
  openStream?: () => Duplex,
): Connection {
  const all: IClientOptions = {
    ...options,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    clean: true,
  };
  const client = openStream === undefined ? connect(address, all) : new MqttClient(openStream, all);
  const asked = { clientId: options.clientId ?? '', keepaliveSeconds: options.keepalive ?? 0 };
  let connack: IConnackPacket | null = null;
  let failure: Failure | null = null;
  /** mqtt.js keeps errors of a stream to itself that have no code, such as those of WebSockets. */
  let streamFailure: Failure | null = null;
  client.stream.on('error', (error: Error) => {
    streamFailure ??= describeError(error, connack, asked);
  });
  client.on('packetreceive', (packet) => {
    if (packet.cmd === 'connack') connack = packet;
  });
  client.on('error', (error) => {
    // The first error is the cause; a TLS failure, for one, is reported twice.
    failure ??= describeError(error, connack, asked);
  });
  client.on('disconnect', (packet) => {
    failure ??= refusal(packet.reasonCode ?? 0, packet.properties?.reasonString, asked);
  });
  const gone = new Promise<Failure | null>((resolve) => {
    // `error` may come after `close` in the same turn.
    client.once('close', () => setImmediate(() => resolve(failure ?? streamFailure)));
  });
  // The library does not hand out the certificate that was not trusted: it is fetched once more and looked at.
  const closed = gone.then((reason) => adviseOnChain(reason, address, options));
  const opened = new Promise<{ connack: IConnackPacket } | { failure: Failure }>((resolve) => {
    client.once('connect', (packet) => resolve({ connack: packet }));
    void closed.then((reason) =>
      resolve({
        failure: reason ?? {
          code: 'closed_at_connect',
          reason: 'the broker closed the connection without an answer',
          kind: 'unreachable',
        },
      }),
    );
  });
  return { client, opened, closed };
}

/** Sends DISCONNECT where possible and closes; after `limitMs` by force. Resolves when the socket is gone. */
export async function closeConnection(connection: Connection, limitMs: number): Promise<void> {
  const { client, closed } = connection;
  const timer = setTimeout(() => client.stream.destroy(), limitMs);
  client.end(false);
  await closed;
  clearTimeout(timer);
}

/** Closes without DISCONNECT, so that the broker publishes the will. */
export function abortConnection(connection: Connection): void {
  connection.client.end(true);
}
