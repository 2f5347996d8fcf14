import { resolve } from 'node:path';
import { SoundpostError } from '../common/errors.js';

/** An address that ffmpeg may be given, and what may be shown of it. */
export interface StreamAddress {
  /** What ffmpeg opens. Holds the credentials: not for logs. */
  url: string;
  /** Protocols that ffmpeg needs for it, for `-protocol_whitelist`. */
  protocols: string;
  /** Options for ffmpeg, by their names. */
  options: Readonly<Record<string, string>>;
  /** The host that is named; null for a file. */
  host: string | null;
  /** Whether everything that it leads to goes over HTTP, so that a proxy sees it: see `startEgressProxy`. */
  isHttp: boolean;
  /** Whether it is that of a camera or server that sends tracks of its own accord only when they are asked for. */
  isRtsp: boolean;
  /** The address without credentials, for people. */
  shown: string;
  /** Any text with the credentials taken out: those of this address and those in any other address. */
  clean: (text: string) => string;
}

/**
 * What each kind of address may use. Whatever an address leads to (a playlist, a redirect) is held to the same
 * list, so that none of them leads to a local file.
 */
const PROTOCOLS: Record<string, string> = {
  rtsp: 'rtp,rtcp,srtp,udp,tcp,tls,http,https,httpproxy',
  rtsps: 'rtp,rtcp,srtp,udp,tcp,tls,http,https,httpproxy',
  http: 'http,https,httpproxy,tcp,tls,crypto',
  https: 'http,https,httpproxy,tcp,tls,crypto',
  rtmp: 'rtmp,rtmpe,rtmpt,rtmpte,rtmps,rtmpts,tcp,tls,http,https,ffrtmphttp,ffrtmpcrypt',
  rtmps: 'rtmp,rtmpe,rtmpt,rtmpte,rtmps,rtmpts,tcp,tls,http,https,ffrtmphttp,ffrtmpcrypt',
  rtp: 'rtp,rtcp,udp',
  srt: 'srt',
  tcp: 'tcp',
  udp: 'udp',
};

/** What the address of a stream begins with, before the `://`. */
export const STREAM_SCHEMES = Object.keys(PROTOCOLS);

/** Cameras lose packets over UDP; those that offer only UDP are still heard. */
const RTSP_OPTIONS = { rtsp_flags: 'prefer_tcp' };

const OPTIONS: Record<string, Readonly<Record<string, string>>> = { rtsp: RTSP_OPTIONS, rtsps: RTSP_OPTIONS };

/** The picture is not even asked for, which spares the network most of the stream. Not every camera plays along. */
export const SOUND_ALONE: Readonly<Record<string, string>> = { allowed_media_types: 'audio' };

/** Kinds whose path itself is a secret: the stream key. */
const SECRET_PATH = new Set(['rtmp', 'rtmps']);

const SCHEME = /^([a-z][a-z0-9+.-]*):/i;
// eslint-disable-next-line no-control-regex -- they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;
const ANY_ADDRESS = /[a-z][a-z0-9+.-]*:\/\/[^\s'"<>]+/gi;

/**
 * Checks an address for the stream source: one of `http`, `https`, `rtsp`, `rtsps`, `rtmp`, `rtmps`, `tcp`,
 * `udp`, `rtp`, `srt`, or the path of a file. ffmpeg's own pseudo-protocols (`concat:`, `subfile:`, `pipe:`, …)
 * are refused, since they could reach what the address does not say.
 *
 * Throws SoundpostError `bad_address`; its message holds no credentials.
 */
export function parseStreamAddress(address: string): StreamAddress {
  if (address.trim() === '' || CONTROL.test(address)) {
    throw bad('the address of the stream is empty or holds control characters');
  }
  const scheme = SCHEME.exec(address)?.[1]?.toLowerCase();
  if (scheme === undefined) {
    const clean = (text: string) => text.replace(ANY_ADDRESS, masked);
    return {
      url: `file:${resolve(address)}`,
      protocols: 'file',
      options: {},
      host: null,
      isHttp: false,
      isRtsp: false,
      shown: address,
      clean,
    };
  }
  const protocols = PROTOCOLS[scheme];
  if (protocols === undefined) {
    throw bad(
      `"${scheme}:" is not a kind of stream that can be listened to; use ${STREAM_SCHEMES.join(', ')}, or the path of a file (one with a colon in it as ./name)`,
    );
  }
  const parsed = streamUrl(address);
  if (parsed === undefined) throw bad(`the ${scheme} address of the stream is not a valid address`);
  if (!/^[a-z0-9+.-]+:\/\//i.test(address)) throw bad(`the ${scheme} address lacks the // after ${scheme}:`);
  const secrets = secretsOf(parsed);
  return {
    url: address,
    protocols,
    options: OPTIONS[scheme] ?? {},
    host: parsed.hostname,
    isHttp: scheme === 'http' || scheme === 'https',
    isRtsp: scheme === 'rtsp' || scheme === 'rtsps',
    shown: masked(address),
    clean: (text) =>
      secrets.reduce((rest, secret) => rest.replaceAll(secret, '***'), text.replace(ANY_ADDRESS, masked)),
  };
}

/**
 * The address of a stream as a URL; undefined where it is none. It has to name a host, but for udp://@:5004 and the
 * like, which listen on this machine.
 */
export function streamUrl(address: string): URL | undefined {
  const named = address.replace('://@:', '://0.0.0.0:');
  const url = URL.canParse(named) ? new URL(named) : undefined;
  return url?.hostname === '' ? undefined : url;
}

/** An address without user, password, the values of its query, its fragment and a stream key. */
function masked(address: string): string {
  const match = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)(\?[^#]*)?/i.exec(address);
  if (match === null) return '***';
  const [, scheme = '', authority = '', path = '', query] = match;
  const host = authority.slice(authority.lastIndexOf('@') + 1);
  const shownPath = SECRET_PATH.has(scheme.toLowerCase()) ? path.replace(/[^/]+\/?$/, '***') : path;
  return `${scheme}://${host}${shownPath}${query === undefined ? '' : '?***'}`;
}

/** What must not appear anywhere, as it is written and as it is meant. Very short values would hide everything. */
function secretsOf(url: URL): string[] {
  const values = [url.password, ...url.searchParams.values()];
  if (url.password !== '') values.push(`${url.username}:${url.password}`);
  if (SECRET_PATH.has(url.protocol.slice(0, -1))) values.push(url.pathname.split('/').pop() ?? '');
  return [...new Set(values.flatMap((value) => [value, decoded(value), encodeURIComponent(value)]))]
    .filter((value) => value.length >= 4)
    .sort((a, b) => b.length - a.length);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function bad(message: string): SoundpostError {
  return new SoundpostError('bad_address', message);
}
