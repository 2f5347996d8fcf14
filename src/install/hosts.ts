import { isIP } from 'node:net';
import { plainHost } from '../common/public-address.js';

interface Entry {
  host: string;
  /** `*.` in front: every host below, not the host itself. */
  below: boolean;
  /** Null: any. */
  port: string | null;
}

function entryOf(text: string): Entry {
  const below = text.startsWith('*.');
  const rest = below ? text.slice(2) : text;
  // The colons of a bare IPv6 address begin no port.
  const port = isIP(rest) === 6 ? null : (/^(.*):(\d+)$/.exec(rest) ?? null);
  return { host: plainHost(port?.[1] ?? rest), below, port: port?.[2] ?? null };
}

const DEFAULT_PORTS: Record<string, string> = { 'http:': '80', 'https:': '443' };

function fits(url: URL, { host, below, port }: Entry): boolean {
  const wanted = plainHost(url.hostname);
  if (port !== null && port !== (url.port || DEFAULT_PORTS[url.protocol])) return false;
  return below ? wanted.endsWith(`.${host}`) : wanted === host;
}

/**
 * Whether an address leads to a host of a list. `*.example.org` stands for every host below example.org, not for
 * itself; `example.org:8080` for that port only, `example.org` for any.
 */
export function hostIsAmong(url: URL, allowed: readonly string[]): boolean {
  return allowed.some((entry) => fits(url, entryOf(entry)));
}

/** Whether a list names the very host of an address, rather than a group that it belongs to. */
export function hostIsNamed(url: URL, allowed: readonly string[]): boolean {
  return allowed.map(entryOf).some((entry) => !entry.below && fits(url, entry));
}

/** An address as it may be shown: without credentials and without what follows the question mark. */
export function shownUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}
