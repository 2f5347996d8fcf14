import { connect, type IClientOptions, type IConnackPacket, type MqttClient } from 'mqtt';
import { SoundpostError, messageOf } from '../common/errors.js';
import { printable } from './refused.js';

/** Where the broker is and who we are to it. */
export interface BrokerAccess {
  /** `mqtt://`, `mqtts://`, `ws://` or `wss://`; may carry a user and a password. */
  url: string;
  username?: string | undefined;
  password?: string | undefined;
  /** PEM text: the authority that signed the broker's certificate. */
  ca?: string | undefined;
  /** PEM text: this client's certificate and its key. */
  cert?: string | undefined;
  key?: string | undefined;
}

/** Why there is no connection, in words for the log and with what it means for the next attempt. */
export interface Failure {
  /** Stable name; one log line per change of it. */
  code: string;
  reason: string;
  /** `refused`: waiting does not help, a person has to change something; so try slowly. */
  kind: 'unreachable' | 'refused' | 'version';
}

/** One network connection, from the first attempt to its end. Nothing of it outlives it. */
export interface Connection {
  readonly client: MqttClient;
  /** Settles once: with the broker's CONNACK, or with the reason why there was none. Never rejects. */
  readonly opened: Promise<{ connack: IConnackPacket } | { failure: Failure }>;
  /** Settles when the connection is gone, with the broker's or the network's reason where one was given. */
  readonly closed: Promise<Failure | null>;
}

const schemes = new Set(['mqtt:', 'mqtts:', 'ws:', 'wss:']);

/**
 * Checks what can be checked without a network. Throws SoundpostError `invalid_broker_url` or
 * `invalid_broker_tls`. The returned `label` is the address without secrets.
 */
export function parseAccess(access: BrokerAccess): {
  options: IClientOptions;
  address: string;
  label: string;
} {
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
  const encrypted = url.protocol === 'mqtts:' || url.protocol === 'wss:';
  if (!encrypted && (access.ca ?? access.cert ?? access.key) !== undefined) {
    // The MQTT library would ignore a lone authority and connect in the clear.
    throw new SoundpostError(
      'invalid_broker_tls',
      `mqtt.ca, mqtt.cert and mqtt.key need an encrypted connection: change mqtt.url to ${url.protocol === 'mqtt:' ? 'mqtts' : 'wss'}://….`,
    );
  }
  if ((access.cert === undefined) !== (access.key === undefined)) {
    throw new SoundpostError(
      'invalid_broker_tls',
      'mqtt.cert and mqtt.key belong together: set both or neither.',
    );
  }
  const username = access.username ?? (url.username === '' ? undefined : decodeURIComponent(url.username));
  const password = access.password ?? (url.password === '' ? undefined : decodeURIComponent(url.password));
  // Left in the address, they would win over the options and appear in messages; so would "?clientId=".
  url.username = '';
  url.password = '';
  const label = `${url.protocol}//${url.host}`;
  url.search = '';
  const options: IClientOptions = {};
  if (username !== undefined) options.username = username;
  if (password !== undefined) options.password = password;
  if (access.ca !== undefined) options.ca = access.ca;
  if (access.cert !== undefined) options.cert = access.cert;
  if (access.key !== undefined) options.key = access.key;
  return { options, address: url.href, label };
}

/**
 * Opens one connection. mqtt.js's own reconnecting is off: a new client per connection starts with empty stores,
 * so nothing piles up in it behind our back (its queue has no bound).
 */
export function openConnection(address: string, options: IClientOptions): Connection {
  const client = connect(address, {
    ...options,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    clean: true,
  });
  let connack: IConnackPacket | null = null;
  let failure: Failure | null = null;
  /** mqtt.js keeps errors of a stream to itself that have no code, such as those of WebSockets. */
  let streamFailure: Failure | null = null;
  client.stream.on('error', (error: Error) => {
    streamFailure ??= describe(error, connack);
  });
  client.on('packetreceive', (packet) => {
    if (packet.cmd === 'connack') connack = packet;
  });
  client.on('error', (error) => {
    // The first error is the cause; a TLS failure, for one, is reported twice.
    failure ??= describe(error, connack);
  });
  client.on('disconnect', (packet) => {
    failure ??= refusal(packet.reasonCode ?? 0, packet.properties?.reasonString);
  });
  const closed = new Promise<Failure | null>((resolve) => {
    // `error` may come after `close` in the same turn.
    client.once('close', () => setImmediate(() => resolve(failure ?? streamFailure)));
  });
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

/** What a person has to do about a CONNACK or DISCONNECT code (MQTT 3.1.1 table 3.1; MQTT 5 section 2.4). */
function refusal(code: number, brokerSays: string | undefined): Failure {
  const said = brokerSays === undefined ? '' : ` (the broker says: ${printable(brokerSays)})`;
  const make = (name: string, kind: Failure['kind'], reason: string): Failure => ({
    code: name,
    kind,
    reason: `${reason}${said}`,
  });
  switch (code) {
    case 1:
    case 132:
      return make('unsupported_version', 'version', 'the broker does not speak this version of MQTT');
    case 4:
    case 134:
      return make(
        'bad_credentials',
        'refused',
        'the user name or password is wrong: check mqtt.username and mqtt.password',
      );
    case 5:
    case 135:
      return make(
        'not_authorized',
        'refused',
        'the broker does not let us in: check mqtt.username, mqtt.password and its access rules',
      );
    case 2:
    case 133:
      return make(
        'client_id_refused',
        'refused',
        'the broker refuses our client id, which is made of device.id',
      );
    case 138:
      return make('banned', 'refused', 'the broker has banned this client');
    case 140:
      return make(
        'bad_authentication_method',
        'refused',
        'the broker asks for another method of authentication',
      );
    case 142:
      return make(
        'session_taken_over',
        'refused',
        'another client connected with our id: two devices with the same device.id? Give each its own',
      );
    case 3:
    case 136:
    case 137:
    case 139:
      return make('broker_unavailable', 'unreachable', 'the broker is busy or shutting down');
    default:
      return make(
        `reason_${code}`,
        'unreachable',
        `the broker ended the connection with reason code ${code}`,
      );
  }
}

function describe(error: Error & { code?: number | string }, connack: IConnackPacket | null): Failure {
  if (typeof error.code === 'number') return refusal(error.code, connack?.properties?.reasonString);
  const code = error.code ?? '';
  const certificate = (reason: string): Failure => ({ code: 'certificate', kind: 'refused', reason });
  const network = (name: string, reason: string): Failure => ({ code: name, kind: 'unreachable', reason });
  switch (code) {
    case 'ECONNREFUSED':
      return network('connection_refused', 'nothing listens there (connection refused)');
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return network('host_not_found', 'the host name cannot be resolved');
    case 'ECONNRESET':
    case 'EPIPE':
      return network('connection_reset', 'the connection was reset');
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EHOSTDOWN':
    case 'ENETDOWN':
      return network('unreachable', `the network does not reach it (${code})`);
    case 'CERT_HAS_EXPIRED':
      return certificate(
        'the certificate of the broker has expired: renew it there, or set the clock of this machine right',
      );
    case 'CERT_NOT_YET_VALID':
      return certificate(
        'the certificate of the broker is not valid yet: set the clock of this machine right',
      );
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return certificate(
        `the certificate of the broker is for another name (${printable(messageOf(error))}): write mqtt.url with a name that is in it`,
      );
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
      return certificate(
        `the certificate of the broker is not trusted (${code}): set mqtt.ca to the authority that signed it`,
      );
    default:
  }
  // Alerts of the broker (RFC 8446 section 6): before TLS 1.3 a missing certificate was a plain handshake failure.
  if (/ALERT_(CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE)$/.test(code)) {
    return certificate(
      `the broker asks for a certificate of this device (${code}): set mqtt.cert and mqtt.key to one that it accepts`,
    );
  }
  if (/ALERT_(UNKNOWN_CA|(BAD|UNSUPPORTED)_CERTIFICATE|CERTIFICATE_\w+)$/.test(code)) {
    return certificate(
      `the broker does not accept our certificate (${code}): check who signed mqtt.cert, how long it is valid, and mqtt.key`,
    );
  }
  if (code.startsWith('ERR_SSL') || code === 'EPROTO') {
    return certificate(
      `no encrypted connection (${code}): check that mqtt.url names the encrypted port of the broker`,
    );
  }
  const status = /^Unexpected server response: (\d+)$/.exec(error.message)?.[1];
  if (status !== undefined) {
    return network(
      'no_websocket',
      `the server answers with HTTP status ${status} instead of a WebSocket: check the port and the path in mqtt.url`,
    );
  }
  if (error.message === 'connack timeout') return network('no_answer', 'the broker does not answer');
  if (error.message === 'Keepalive timeout') return network('silent', 'the broker has gone silent');
  return network(code === '' ? 'connection_failed' : code.toLowerCase(), printable(messageOf(error)));
}
