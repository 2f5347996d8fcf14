import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { nearest } from '../common/nearest.js';
import { parseConfirm, type Confirm } from '../tagging/confirm.js';
import type { LabelGroup } from '../tagging/watch.js';

/**
 * What a value may look like. `read` takes what was written (text from the environment or a flag, or what YAML
 * makes of it), checks it, and gives the value the program works with; reading the result once more changes
 * nothing. It throws a FormatError.
 */
export interface Format<T> {
  /** Says what is allowed; completes "must be …". */
  readonly allowed: string;
  /** True for numbers, switches, lists and maps: text that is a plain YAML scalar has a meaning of its own. */
  readonly typed: boolean;
  /** Where only certain words are allowed: those words. */
  readonly words?: readonly string[];
  read(value: unknown): T;
}

/** Why a value was refused; the message completes the sentence "<key> …" and never quotes the value. */
export class FormatError extends Error {}

const numberPattern = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d{1,3})?$/i;

/** A number from `min` to `max`; with `integer` a whole one. */
export function decimal(options: {
  min: number;
  max: number;
  integer?: boolean;
  unit?: string;
}): Format<number> {
  const kind = options.integer ? 'a whole number' : 'a number';
  const unit = options.unit ? ` (${options.unit})` : '';
  const allowed = `${kind} from ${options.min} to ${options.max}${unit}`;
  return {
    allowed,
    typed: true,
    read(value) {
      const number = typeof value === 'string' && numberPattern.test(value.trim()) ? Number(value) : value;
      if (typeof number !== 'number' || !(number >= options.min && number <= options.max)) refuse(allowed);
      if (options.integer && !Number.isInteger(number)) refuse(allowed);
      return number;
    },
  };
}

const truths: readonly unknown[] = [true, 'true', 'yes', 'on', '1', 1];
const untruths: readonly unknown[] = [false, 'false', 'no', 'off', '0', 0];

/** A switch. */
export const flag: Format<boolean> = {
  allowed: 'true or false',
  typed: true,
  read(value) {
    const word = typeof value === 'string' ? value.trim().toLowerCase() : value;
    if (truths.includes(word)) return true;
    if (untruths.includes(word)) return false;
    return refuse(this.allowed);
  },
};

/** One of a few words, in any case. */
export function oneOf<const W extends string>(...words: readonly W[]): Format<W> {
  const allowed = `one of ${words.join(', ')}`;
  return {
    allowed,
    typed: false,
    words,
    read: (value) =>
      words.find((word) => typeof value === 'string' && value.trim().toLowerCase() === word.toLowerCase()) ??
      refuse(allowed),
  };
}

/** A value that may be left out: empty text is null. */
export function optional<T>(format: Format<T>): Format<T | null> {
  return {
    ...format,
    allowed: `${format.allowed}, or empty`,
    read: (value) => (value === null || value === '' ? null : format.read(value)),
  };
}

/** Text on one line; empty unless `notEmpty`. */
export function text(options: { maxLength: number; notEmpty?: boolean; what?: string }): Format<string> {
  const allowed = `${options.what ?? 'text on one line'} (at most ${options.maxLength} characters${
    options.notEmpty ? ', not empty' : ''
  })`;
  return {
    allowed,
    typed: false,
    read(value) {
      if (typeof value !== 'string' || value.length > options.maxLength || hasControl(value)) refuse(allowed);
      if (options.notEmpty && value.trim() === '') refuse(allowed);
      return value;
    },
  };
}

/** What identifies a device in topics and in Home Assistant; empty where it is still to be worked out. */
export const deviceId: Format<string> = {
  allowed: 'letters, digits, "_" and "-" only (at most 64)',
  typed: false,
  read: (value) =>
    typeof value === 'string' && /^[a-zA-Z0-9_-]{0,64}$/.test(value) ? value : refuse(deviceId.allowed),
};

/** The front part of a topic. */
export const topic: Format<string> = {
  allowed:
    'a topic such as "soundpost" or "home/soundpost": without "+" and "#", no "/" at either end, not starting with "$"',
  typed: false,
  read(value) {
    const isTopic =
      typeof value === 'string' && value.length > 0 && value.length <= 200 && !hasControl(value);
    if (!isTopic || /[+#]|^\/|\/$|^\$|\/\//.test(value)) return refuse(topic.allowed);
    return value;
  },
};

/** Name of a model's folder. */
export const modelId: Format<string> = {
  allowed: 'the id of a model as "npx soundpost models list" shows it',
  typed: false,
  read: (value) =>
    typeof value === 'string' && /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$/.test(value)
      ? value
      : refuse(modelId.allowed),
};

/** A host name or an address to listen on. */
export const host: Format<string> = {
  allowed: 'a host name or an IP address, for example 127.0.0.1 or 0.0.0.0',
  typed: false,
  read(value) {
    if (typeof value !== 'string' || value.length > 253) return refuse(host.allowed);
    const isName = /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/i.test(value);
    return isName || isIP(value) !== 0 ? value : refuse(host.allowed);
  },
};

/**
 * An address with one of the schemes and a host; empty is allowed. A user name and a password may be in it.
 * `passwordKey` is the key that takes the password as it is.
 */
export function address(schemes: readonly string[], example: string, passwordKey?: string): Format<string> {
  const allowed = `an address that begins with ${schemes.map((scheme) => `${scheme}://`).join(', ')} and names a host, for example ${example}`;
  return {
    allowed,
    typed: false,
    read(value) {
      if (value === '') return '';
      if (typeof value !== 'string' || value.length > 2048 || /\s/.test(value) || hasControl(value)) {
        return refuse(allowed);
      }
      if (signOutsideAuthority(value, schemes)) {
        const way =
          passwordKey === undefined ? '' : `; or take the password out of it and give it in ${passwordKey}`;
        throw new FormatError(
          `must have every "@", "/", "?" and "#" of its user name, password, path and query percent-encoded (%40, %2F, %3F, %23)${way}`,
        );
      }
      const url = parseUrl(value);
      if (!url || !schemes.includes(url.protocol.slice(0, -1)) || url.hostname === '') return refuse(allowed);
      if (url.username || url.password) {
        const credentials = credentialsOf(url);
        if (!credentials || hasControl(credentials.username + credentials.password)) {
          throw new FormatError(
            'must have the special characters of its user name and password percent-encoded ("%" as %25, "@" as %40)',
          );
        }
      }
      return value;
    },
  };
}

/**
 * Whether an "@" stands behind the end of an address' authority. In a password that is not encoded a "/", "?" or "#"
 * is such an end: what stands before it is then taken for a host and a port, what follows for path, query or fragment.
 */
function signOutsideAuthority(value: string, schemes: readonly string[]): boolean {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(value);
  if (scheme === null || !schemes.includes(scheme[1]!.toLowerCase())) return false;
  const rest = value.slice(scheme[0].length);
  // The schemes of the web take a backslash for a slash (URL standard, "special" schemes).
  const end = /^(ws|http)s?$/i.test(scheme[1]!) ? rest.search(/[/?#\\]/) : rest.search(/[/?#]/);
  return end >= 0 && rest.includes('@', end);
}

const plainBrokerAddress = address(
  ['mqtt', 'mqtts', 'ws', 'wss'],
  'mqtt://192.168.1.10:1883',
  'mqtt.password',
);

/** Where a broker is. Only WebSockets carry a path and a query; nothing carries a fragment. */
export const brokerAddress: Format<string> = {
  ...plainBrokerAddress,
  read(value) {
    const read = plainBrokerAddress.read(value);
    const url = parseUrl(read);
    // Several addresses of which only the first was given a scheme would be taken for one strange host.
    if (url?.hostname.includes(',')) {
      throw new FormatError('must have no "," in its host: in a list every address has a scheme of its own');
    }
    if (url?.hash) {
      throw new FormatError('must have no "#": what follows one is never sent (in a query write %23)');
    }
    if (url?.search && !/^wss?:$/.test(url.protocol)) {
      throw new FormatError(
        'must have no "?": only ws:// and wss:// addresses have a query; user name, password and client id have keys of their own (mqtt.username, mqtt.password, device.id)',
      );
    }
    return read;
  },
};

/** More are no list of one's brokers. */
const MAX_BROKER_ADDRESSES = 32;
/** Between addresses in one text. A comma in a password or in a query is followed by no scheme. */
const addressSeparator = /(?:\s*,\s*|[\r\n]+\s*)(?=(?:mqtt|ws)s?:\/\/)/i;

/**
 * Where the broker is, or where its nodes are, to be tried in turn. One address is read as text, several as a list; in
 * one text they stand as JSON, with commas between them, or on lines of their own.
 */
export const brokerAddresses: Format<string | readonly string[]> = {
  allowed: `${brokerAddress.allowed}; or a list of up to ${MAX_BROKER_ADDRESSES} such addresses (in the environment and in flags: with commas between them, or JSON)`,
  typed: false,
  read(value) {
    const list = addressList(value);
    if (list === undefined) return brokerAddress.read(value);
    if (list.length === 0 || list.length > MAX_BROKER_ADDRESSES) return refuse(brokerAddresses.allowed);
    const read = list.map((entry, index) => {
      try {
        return entry === '' ? refuse(brokerAddress.allowed) : brokerAddress.read(entry);
      } catch (error) {
        throw error instanceof FormatError
          ? new FormatError(`address ${index + 1} of the list ${error.message}`)
          : error;
      }
    });
    const twice = read.findIndex((entry, index) => read.indexOf(entry) !== index);
    if (twice >= 0)
      throw new FormatError(`address ${twice + 1} of the list stands there twice; take one away`);
    return read.length === 1 ? read[0]! : read;
  },
};

/** The entries of what was written as a list; undefined where it is one address, or nothing that we know. */
function addressList(value: unknown): readonly unknown[] | undefined {
  if (Array.isArray(value)) return value as unknown[];
  if (typeof value !== 'string') return undefined;
  if (value.trimStart().startsWith('[')) {
    const parsed = structured(value, brokerAddresses.allowed);
    return Array.isArray(parsed) ? (parsed as unknown[]) : refuse(brokerAddresses.allowed);
  }
  const parts = value.trim().split(addressSeparator);
  return parts.length > 1 ? parts : undefined;
}

/** The addresses of `mqtt.url` or of any such key, in the order of trying; none where it is empty. */
export function addressesOf(url: string | readonly string[]): readonly string[] {
  if (typeof url !== 'string') return url;
  return url === '' ? [] : [url];
}

/** The name of a protocol for ALPN (RFC 7301): one to 255 bytes of ASCII; empty is allowed. */
export const alpnProtocol: Format<string> = {
  allowed: 'the name of one protocol, for example x-amzn-mqtt-ca or mqtt',
  typed: false,
  read: (value) =>
    typeof value === 'string' && /^[!-~]{0,255}$/.test(value) && !value.includes(',')
      ? value
      : refuse(alpnProtocol.allowed),
};

/** A folder, or an address prefix of the web; empty is none. */
export const mirror: Format<string> = {
  allowed: 'the path of a folder, or an address that begins with http:// or https://',
  typed: false,
  read(value) {
    if (typeof value === 'string' && value.includes('://')) {
      return address(['http', 'https'], 'http://192.168.1.5/checkpoints').read(value);
    }
    return within(mirror.allowed, () => text({ maxLength: 1024 }).read(value));
  },
};

/** Names of hosts, `*.` in front standing for every host below; a port after a colon allows that port only. */
export const hosts: Format<readonly string[]> = {
  allowed:
    'a list of host names, for example ["models.example.org", "*.example.net", "192.168.1.5:8080"] (in the environment and in flags: JSON)',
  typed: true,
  read(value) {
    const list = structured(value, hosts.allowed);
    if (!Array.isArray(list) || list.length > 1000) return refuse(hosts.allowed);
    return list.map((entry: unknown) =>
      within(hosts.allowed, () => {
        if (typeof entry !== 'string') return refuse(hosts.allowed);
        const below = entry.startsWith('*.') ? entry.slice(2) : entry;
        const name = isIP(below) === 6 ? below : below.replace(/:\d{1,5}$/, '');
        if (name === '') return refuse(hosts.allowed);
        host.read(name);
        return entry.toLowerCase();
      }),
    );
  },
};

/** The user name and the password in an address, decoded; undefined where they are not decodable. */
export function credentialsOf(url: URL): { username: string; password: string } | undefined {
  try {
    return { username: decodeURIComponent(url.username), password: decodeURIComponent(url.password) };
  } catch {
    return undefined;
  }
}

/** A name (or a part of one) or the number of an audio input; empty is the default input. */
export const audioDevice: Format<string | number> = {
  allowed: 'the name of an audio input, a part of it, or its number as "npx soundpost devices" shows it',
  typed: true,
  read(value) {
    const number = typeof value === 'string' && /^\d{1,6}$/.test(value.trim()) ? Number(value) : value;
    if (typeof number === 'number' && Number.isInteger(number) && number >= 0 && number < 1e6) return number;
    return typeof value === 'string' && value.length <= 200 && !hasControl(value)
      ? value
      : refuse(audioDevice.allowed);
  },
};

/** All channels mixed, or one of them, counted from 1. */
export const audioChannel: Format<'mix' | number> = {
  allowed: '"mix" or the number of a channel from 1 to 64',
  typed: true,
  read(value) {
    if (typeof value === 'string' && value.trim().toLowerCase() === 'mix') return 'mix';
    return within(audioChannel.allowed, () => decimal({ min: 1, max: 64, integer: true }).read(value));
  },
};

/** 1 is real time. */
export const speed: Format<1 | 'max'> = {
  allowed: '1 (real time) or "max" (as fast as it goes)',
  typed: true,
  read(value) {
    if (value === 1 || value === '1') return 1;
    if (typeof value === 'string' && value.trim().toLowerCase() === 'max') return 'max';
    return refuse(speed.allowed);
  },
};

/** The version of the protocol to begin with. */
export const protocolVersion: Format<4 | 5> = {
  allowed: '5 (MQTT 5) or 4 (MQTT 3.1.1)',
  typed: true,
  read(value) {
    const number = typeof value === 'string' ? value.trim() : value;
    if (number === 5 || number === '5') return 5;
    if (number === 4 || number === '4') return 4;
    return refuse(protocolVersion.allowed);
  },
};

/** How many of the last hops must agree. */
export const confirm: Format<string> = {
  allowed: 'k/n, two whole numbers with 1 ≤ k ≤ n ≤ 100, for example 2/3',
  typed: false,
  read(value) {
    const parsed = typeof value === 'string' ? parseConfirm(value) : null;
    return parsed === null ? refuse(confirm.allowed) : `${parsed.k}/${parsed.n}`;
  },
};

/** The two numbers of `tagging.confirm`: k of the last n hops. Throws a FormatError. */
export function confirmOf(value: string): Confirm {
  return parseConfirm(value) ?? refuse(confirm.allowed);
}

const score = decimal({ min: 0, max: 1 });
const labelName = text({ maxLength: 200, notEmpty: true });

/** On-thresholds by label. */
export const thresholds: Format<Readonly<Record<string, number>>> = {
  allowed:
    'a map of labels to numbers from 0 to 1, for example {"Speech": 0.4} (in the environment and in flags: JSON)',
  typed: true,
  read(value) {
    const map = structured(value, thresholds.allowed);
    if (typeof map !== 'object' || map === null || Array.isArray(map)) return refuse(thresholds.allowed);
    const pairs = Object.entries(map).map(([label, threshold]): [string, number] => [
      within(thresholds.allowed, () => labelName.read(label)),
      within(`a map of labels to numbers; that of "${label}" must be a number from 0 to 1`, () =>
        score.read(threshold),
      ),
    ]);
    if (pairs.length > 10_000) throw new FormatError('must have at most 10000 entries');
    return Object.fromEntries(pairs);
  },
};

/** Models of the catalogue, by their ids, or all of them. */
export const offer: Format<'all' | readonly string[]> = {
  allowed:
    'all, or a list of ids of the catalogue, for example ["mn04_as", "mn10_as"] (in the environment and in flags: JSON)',
  typed: true,
  read(value) {
    if (typeof value === 'string' && value.trim().toLowerCase() === 'all') return 'all';
    const list = structured(value, offer.allowed);
    if (!Array.isArray(list) || list.length > 1000) return refuse(offer.allowed);
    return list.map((entry: unknown) => within(offer.allowed, () => modelId.read(entry)));
  },
};

/** The watched labels and groups of labels. */
export const labels: Format<readonly (string | LabelGroup)[]> = {
  allowed:
    'a list of labels, or of groups {name, labels, threshold, confirm, min_duration_seconds, min_gap_seconds} of which the last four may be left out, for example ["Speech", {"name": "Alarm", "labels": ["Siren", "Fire alarm"]}] (in the environment and in flags: JSON)',
  typed: true,
  read(value) {
    const list = structured(value, labels.allowed);
    if (!Array.isArray(list)) return refuse(labels.allowed);
    if (list.length > 10_000) throw new FormatError('must have at most 10000 entries');
    const entries = list.map((entry: unknown, index) =>
      typeof entry === 'string' ? labelOf(entry, `entry ${index + 1}`) : groupOf(entry, index + 1),
    );
    const groupNames = entries.flatMap((entry) => (typeof entry === 'string' ? [] : [entry.name]));
    const twice = groupNames.find(
      (name, index) => groupNames.findIndex((other) => other.toLowerCase() === name.toLowerCase()) !== index,
    );
    if (twice !== undefined) throw new FormatError(`must not have two groups with the name "${twice}"`);
    return entries;
  },
};

function labelOf(value: unknown, where: string): string {
  return within(`a list of labels and groups; ${where} must be the name of a label`, () =>
    labelName.read(value),
  );
}

/** What a group may say for itself in place of the settings for all. */
const groupFormats: Readonly<Record<string, Format<unknown>>> = {
  threshold: score,
  confirm,
  min_duration_seconds: decimal({ min: 0, max: 3600, unit: 'seconds' }),
  min_gap_seconds: decimal({ min: 0, max: 3600, unit: 'seconds' }),
};
const groupKeys = ['name', 'labels', ...Object.keys(groupFormats)];

function groupOf(entry: unknown, position: number): LabelGroup {
  const where = `entry ${position}`;
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
    return refuse(`a list of labels and groups; ${where} is neither a label nor a group {name, labels, …}`);
  }
  const { name, labels: members, ...others } = entry as Record<string, unknown>;
  const unknown = Object.keys(others).find((key) => !Object.hasOwn(groupFormats, key));
  if (unknown !== undefined) {
    const meant = nearest(unknown, groupKeys);
    throw new FormatError(
      `has a group (${where}) with the unknown key "${unknown}"${meant === undefined ? '' : ` (did you mean ${meant}?)`}; allowed: ${groupKeys.join(', ')}`,
    );
  }
  if (!Array.isArray(members) || members.length === 0) {
    throw new FormatError(`has a group (${where}) without "labels": a list of at least one label`);
  }
  return {
    name: within(`a list of labels and groups; the "name" of the group in ${where} must be text`, () =>
      labelName.read(name),
    ),
    labels: members.map((member) => labelOf(member, `each of "labels" in ${where}`)),
    ...Object.fromEntries(
      Object.entries(groupFormats).flatMap(([key, format]): [string, unknown][] => {
        const own = others[key];
        if (own === undefined || own === null) return [];
        const problem = `a list of labels and groups; the "${key}" in ${where} must be ${format.allowed}`;
        return [[key, within(problem, () => format.read(own))]];
      }),
    ),
  };
}

/**
 * Certificates or a private key as PEM text, or as base64 of it (one line, for environment variables). A path
 * is resolved before this; see `looksLikePath`.
 */
export function pem(kind: 'certificate' | 'key'): Format<string> {
  const what = kind === 'key' ? 'a private key (not encrypted)' : 'one or more certificates';
  const allowed = `${what} as PEM text, as base64 of it, or as the path of a PEM file`;
  return {
    allowed,
    typed: false,
    read(value) {
      if (value === '') return '';
      if (typeof value !== 'string' || value.length > 1_000_000) return refuse(allowed);
      const decoded = value.trimStart().startsWith(base64OfPem)
        ? Buffer.from(value, 'base64').toString('utf8')
        : value;
      const pemText = inLines(decoded);
      try {
        if (kind === 'key') createPrivateKey(pemText);
        else for (const certificate of certificatesOf(pemText)) new X509Certificate(certificate);
      } catch {
        return refuse(allowed);
      }
      return pemText;
    },
  };
}

/**
 * PEM text with its line ends. Panels that take one line only (a dashboard's field for a variable) turn them into
 * the two characters "\n" or into spaces, and people put quotes around it.
 */
function inLines(given: string): string {
  const unquoted = given.trim().replace(/^(["'])([^]*)\1$/, '$2');
  const text = unquoted.replace(/(\\r)?\\n/g, '\n').trim();
  const block = /(-----BEGIN [A-Z0-9 ]+-----)[^\S\n]*(?![\s-])([^-]+)(-----END [A-Z0-9 ]+-----)\s*/g;
  return `${text.replace(block, (_, begin: string, body: string, end: string) => {
    const lines = body.replace(/\s+/g, '').match(/.{1,64}/g) ?? [];
    return [begin, ...lines, `${end}\n`].join('\n');
  })}\n`.replace(/\n+$/, '\n');
}

const pemBegin = '-----BEGIN';
const base64OfPem = Buffer.from(pemBegin).toString('base64').slice(0, 12);

/** Whether what was given for a certificate or a key is the path of a file rather than the thing itself. */
export function looksLikePath(value: string): boolean {
  return value !== '' && !value.includes(pemBegin) && !value.trimStart().startsWith(base64OfPem);
}

function certificatesOf(pemText: string): string[] {
  const found = pemText.match(/-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----[^-]+-----END [A-Z0-9 ]+-----/g);
  if (!found) throw new FormatError('no certificate');
  return found;
}

/** An address as a URL, or undefined where it is none. */
export function parseUrl(value: string): URL | undefined {
  return URL.canParse(value) ? new URL(value) : undefined;
}

function refuse(allowed: string): never {
  throw new FormatError(`must be ${allowed}`);
}

/** Says `allowed` instead of what an inner format says. */
function within<T>(allowed: string, read: () => T): T {
  try {
    return read();
  } catch {
    return refuse(allowed);
  }
}

/** Lists and maps written as text are JSON. */
function structured(value: unknown, allowed: string): unknown {
  if (typeof value !== 'string') return value;
  return within(allowed, () => JSON.parse(value) as unknown);
}

function hasControl(value: string): boolean {
  // eslint-disable-next-line no-control-regex
  return /[\u0000-\u001f\u007f]/.test(value);
}
