import { isIP } from 'node:net';
import { z } from 'zod';
import { STREAM_SCHEMES, streamUrl } from '../audio/address.js';
import { BROKER_SCHEMES } from '../common/broker-address.js';
import { complain, formatOf, FormatError, jsonOfText, orEmpty, type Format } from './format-of.js';

/** A piece of text that the program passes on as it is. */
export function line(maxLength: number): z.ZodString {
  // eslint-disable-next-line no-control-regex -- they are what is refused
  const withoutControl = /^[^\u0000-\u001f\u007f]*$/;
  return z.string().max(maxLength).regex(withoutControl);
}

/** A host name or an address to listen on. */
const hostRule = z
  .string()
  .max(253)
  .refine(
    (text) =>
      /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/i.test(text) ||
      isIP(text) !== 0,
  );

export const host = formatOf(hostRule, {
  allowed: 'a host name or an IP address, for example 127.0.0.1 or 0.0.0.0',
});

/** The host that an entry of a list is about, without the `*.` in front of it and the port behind. */
function hostOfEntry(entry: string): string {
  const below = entry.startsWith('*.') ? entry.slice(2) : entry;
  return isIP(below) === 6 ? below : below.replace(/:\d{1,5}$/, '');
}

const hostEntry = z
  .string()
  .refine((entry) => hostRule.safeParse(hostOfEntry(entry)).success)
  .toLowerCase();

/** Names of hosts, `*.` in front standing for every host below; a port after a colon allows that port only. */
export const hosts: Format<readonly string[]> = formatOf(z.array(hostEntry).max(1000), {
  allowed:
    'a list of host names, for example ["models.example.org", "*.example.net", "192.168.1.5:8080"] (in the environment and in flags: JSON)',
  typed: true,
  coerce: jsonOfText,
});

/** Which addresses a key takes. */
interface AddressKind {
  schemes: readonly string[];
  /** The key that takes the password as it is. */
  passwordKey?: string;
  /** Where an address of this kind may be written otherwise than URL has it. */
  parse?: (text: string) => URL | undefined;
}

/** An address with one of the schemes and a host. A user name and a password may be in it. */
function addressRule({ schemes, passwordKey, parse = parseUrl }: AddressKind): z.ZodString {
  return line(2048)
    .regex(/^\S*$/)
    .superRefine((text, context) => {
      if (signOutsideAuthority(text, schemes)) {
        const way =
          passwordKey === undefined ? '' : `; or take the password out of it and give it in ${passwordKey}`;
        complain(
          context,
          `must have every "@", "/", "?" and "#" of its user name, password, path and query percent-encoded (%40, %2F, %3F, %23)${way}`,
        );
        return;
      }
      const url = parse(text);
      if (!url || !schemes.includes(url.protocol.slice(0, -1)) || url.hostname === '') {
        context.addIssue({ code: 'custom' });
        return;
      }
      if (url.username === '' && url.password === '') return;
      const credentials = credentialsOf(url);
      if (!credentials || !line(Infinity).safeParse(credentials.username + credentials.password).success) {
        complain(
          context,
          'must have the special characters of its user name and password percent-encoded ("%" as %25, "@" as %40)',
        );
      }
    });
}

/** Says what is allowed of such addresses. */
function addressText(schemes: readonly string[], example: string): string {
  return `an address that begins with ${schemes.map((scheme) => `${scheme}://`).join(', ')} and names a host, for example ${example}`;
}

/** Where a stream of sound is; empty is none. */
export const streamAddress: Format<string> = orEmpty(
  formatOf(addressRule({ schemes: STREAM_SCHEMES, parse: streamUrl }), {
    allowed: addressText(STREAM_SCHEMES, 'rtsp://192.168.1.20/stream1'),
  }),
);

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

/** Where a broker is. Only WebSockets carry a path and a query; nothing carries a fragment. */
const brokerRule = addressRule({ schemes: BROKER_SCHEMES, passwordKey: 'mqtt.password' }).superRefine(
  (text, context) => {
    const url = parseUrl(text);
    // Several addresses of which only the first was given a scheme would be taken for one strange host.
    if (url?.hostname.includes(',')) {
      complain(context, 'must have no "," in its host: in a list every address has a scheme of its own');
    }
    if (url?.hash) {
      complain(context, 'must have no "#": what follows one is never sent (in a query write %23)');
    }
    if (url?.search && !/^wss?:$/.test(url.protocol)) {
      complain(
        context,
        'must have no "?": only ws:// and wss:// addresses have a query; user name, password and client id have keys of their own (mqtt.username, mqtt.password, device.id)',
      );
    }
  },
);

const brokerAddress = formatOf(brokerRule, {
  allowed: addressText(BROKER_SCHEMES, 'mqtt://192.168.1.10:1883'),
});

/** More are no list of one's brokers. */
const MAX_BROKER_ADDRESSES = 32;

/** Between addresses in one text. A comma in a password or in a query is followed by no scheme. */
const addressSeparator = /(?:\s*,\s*|[\r\n]+\s*)(?=(?:mqtt|ws)s?:\/\/)/i;

const brokerList = formatOf(
  z
    .array(brokerRule)
    .min(1)
    .max(MAX_BROKER_ADDRESSES)
    .superRefine((list, context) => {
      const twice = list.findIndex((entry, index) => list.indexOf(entry) !== index);
      if (twice >= 0) complain(context, `address ${twice + 1} of the list stands there twice; take one away`);
    }),
  {
    allowed: `${brokerAddress.allowed}; or a list of up to ${MAX_BROKER_ADDRESSES} such addresses (in the environment and in flags: with commas between them, or JSON)`,
    complaint(issue, value) {
      const [index] = issue.path;
      if (typeof index !== 'number') return undefined;
      return `address ${index + 1} of the list ${complaintOf(brokerAddress, (value as unknown[])[index])}`;
    },
  },
);

/** What a format says of a value that it refuses. */
function complaintOf(format: Format<unknown>, value: unknown): string {
  try {
    format.read(value);
  } catch (error) {
    if (error instanceof FormatError) return error.message;
    throw error;
  }
  return '';
}

/**
 * Where the broker is, or where its nodes are, to be tried in turn. One address is read as text, several as a list; in
 * one text they stand as JSON, with commas between them, or on lines of their own.
 */
export const brokerAddresses: Format<string | readonly string[]> = {
  ...brokerList,
  read(value) {
    const list = addressList(value);
    if (list === undefined) return value === '' ? '' : brokerAddress.read(value);
    const read = brokerList.read(list);
    return read.length === 1 ? read[0]! : read;
  },
};

/** What was written as a list, or as JSON; undefined where it is one address, or nothing that we know. */
function addressList(value: unknown): unknown {
  if (typeof value !== 'string') return Array.isArray(value) ? value : undefined;
  if (value.trimStart().startsWith('[')) return jsonOfText(value);
  const parts = value.trim().split(addressSeparator);
  return parts.length > 1 ? parts : undefined;
}

/** The addresses of `mqtt.url` or of any such key, in the order of trying; none where it is empty. */
export function addressesOf(url: string | readonly string[]): readonly string[] {
  if (typeof url !== 'string') return url;
  return url === '' ? [] : [url];
}

const mirrorSchemes = ['http', 'https'];
const mirrorAddress = formatOf(addressRule({ schemes: mirrorSchemes }), {
  allowed: addressText(mirrorSchemes, 'http://192.168.1.5/checkpoints'),
});
const mirrorFolder = formatOf(line(1024), {
  allowed: 'the path of a folder, or an address that begins with http:// or https://',
});

/** A folder, or an address prefix of the web; empty is none. */
export const mirror: Format<string> = {
  ...mirrorFolder,
  read: (value) =>
    (typeof value === 'string' && value.includes('://') ? mirrorAddress : mirrorFolder).read(value),
};

/** The user name and the password in an address, decoded; undefined where they are not decodable. */
export function credentialsOf(url: URL): { username: string; password: string } | undefined {
  try {
    return { username: decodeURIComponent(url.username), password: decodeURIComponent(url.password) };
  } catch {
    return undefined;
  }
}

/** An address as a URL, or undefined where it is none. */
export function parseUrl(value: string): URL | undefined {
  return URL.canParse(value) ? new URL(value) : undefined;
}
