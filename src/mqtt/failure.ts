import type { IConnackPacket } from 'mqtt';
import { messageOf } from '../common/errors.js';
import { nameOfReason, printable } from './refused.js';

/** Why there is no connection, in words for the log and with what it means for the next attempt. */
export interface Failure {
  /** Stable name; one log line per change of it. */
  code: string;
  reason: string;
  /** `refused`: waiting does not help, a person has to change something; so try slowly. */
  kind: 'unreachable' | 'refused' | 'version';
  /** The reason code of the broker's CONNACK or DISCONNECT. */
  brokerCode?: number;
  /** OpenSSL's name of what is wrong with the chain of the broker's certificate. */
  chainFault?: string;
}

/** What a person has to do about a CONNACK or DISCONNECT code (MQTT 3.1.1 table 3.1; MQTT 5 section 2.4). */
export function refusal(
  code: number,
  brokerSays: string | undefined,
  asked: { clientId: string; keepaliveSeconds: number },
): Failure {
  const said = brokerSays === undefined ? '' : ` (the broker says: ${printable(brokerSays)})`;
  const make = (name: string, kind: Failure['kind'], reason: string): Failure => ({
    code: name,
    kind,
    reason: `${reason}${said}`,
    brokerCode: code,
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
      // MQTT 3.1.1 has no other code for a keep-alive that is too long, and mosquitto uses this one for it.
      return make(
        'client_id_refused',
        'refused',
        `the broker refuses our client id ${asked.clientId}, which is made of device.id, or a keep-alive of ${asked.keepaliveSeconds} s (mosquitto's max_keepalive): see device.id and mqtt.keepalive_seconds`,
      );
    case 133:
      return make(
        'client_id_refused',
        'refused',
        `the broker refuses our client id ${asked.clientId}, which is made of device.id`,
      );
    case 141:
      return make(
        'keepalive_timeout',
        'unreachable',
        'the broker has heard nothing from us for longer than the keep-alive allows: the network or this machine is too slow, or mqtt.keepalive_seconds too short',
      );
    case 154:
      return make('retain_not_supported', 'unreachable', 'the broker keeps no retained messages');
    case 155:
      return make('qos_not_supported', 'unreachable', 'the broker does not take QoS 1');
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
        `the broker ended the connection: ${nameOfReason(code)} (reason code ${code})`,
      );
  }
}

/** What an error of the network, of TLS or of the MQTT library means. */
export function describeError(
  error: Error & { code?: number | string },
  connack: IConnackPacket | null,
  asked: { clientId: string; keepaliveSeconds: number },
): Failure {
  if (typeof error.code === 'number') return refusal(error.code, connack?.properties?.reasonString, asked);
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
      if (namesNoHost(error)) {
        return certificate(
          'the certificate of the broker names no host at all (it has no subjectAltName): make it anew with the names and IP addresses by which the broker is reached',
        );
      }
      return certificate(
        `the certificate of the broker is for another name (${printable(messageOf(error))}): write mqtt.url with a name that is in it`,
      );
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
      return {
        ...certificate(
          `the certificate of the broker is not trusted (${code}): set mqtt.ca to the authority that signed it`,
        ),
        chainFault: code,
      };
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
  // Node.js has no code of its own for this alert (RFC 7301 section 3.2).
  if (/no.application.protocol/i.test(`${code} ${error.message}`)) {
    return certificate(
      `the broker does not speak the protocol that mqtt.alpn asks for (${code}): write there what it wants, or leave it empty`,
    );
  }
  if (code.startsWith('ERR_SSL') || code === 'EPROTO') {
    return certificate(
      `no encrypted connection (${code}): check that mqtt.url names the encrypted port of the broker`,
    );
  }
  const status = /^Unexpected server response: (\d+)$/.exec(error.message)?.[1];
  if (status === '401' || status === '403') {
    return {
      code: 'not_authorized',
      kind: 'refused',
      reason: `the server in front of the broker does not let us in (HTTP status ${status}): check the path, and the token or the signature in the query, of mqtt.url`,
    };
  }
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

/** A certificate without a subjectAltName; Node falls back on its common name, which no IP address can be. */
function namesNoHost(error: Error): boolean {
  const { cert } = error as { cert?: { subjectaltname?: unknown } };
  return cert !== undefined && cert.subjectaltname === undefined;
}
