import { isIP } from 'node:net';
import { isLoopback } from '../common/loopback.js';

/** A `Host` header, or the part of an address that it stands for. */
interface HostName {
  /** In lower case, without the brackets of IPv6 and without a dot at the end. */
  name: string;
  port: string;
}

/** Reads a `Host` header; null where it is none. */
export function readHost(text: string): HostName | null {
  const [, address, name, port = ''] = /^(?:\[([\da-f:.]+)\]|([\w.-]+))(?::(\d{1,5}))?$/i.exec(text) ?? [];
  const found = (address ?? name)?.toLowerCase().replace(/\.$/, '');
  if (found === undefined || found === '' || (address !== undefined && isIP(address) !== 6)) return null;
  return { name: found, port };
}

/**
 * Whether a request names a host that this device is known by. A page of somebody else whose name has been made to lead
 * here (DNS rebinding) names that one; it cannot name an address, so addresses are let in where the server listens on
 * all of them.
 * @param host where the server listens
 * @param hosts other names and addresses that it is known by
 */
export function createHostCheck(
  host: string,
  hosts: readonly string[],
): (header: string | undefined) => boolean {
  const isEverywhere = host === '' || host === '0.0.0.0' || host === '::';
  const names = new Set(['localhost', host, ...hosts].map((name) => readHost(bracketed(name))?.name));
  return (header) => {
    const name = readHost(header ?? '')?.name;
    if (name === undefined) return false;
    return names.has(name) || isLoopback(name) || (isEverywhere && isIP(name) !== 0);
  };
}

function bracketed(name: string): string {
  return isIP(name) === 6 ? `[${name}]` : name;
}

/** What a request says of the page that it comes from. */
export interface Sender {
  origin: string | undefined;
  /** `Sec-Fetch-Site`, which a page cannot set; browsers send it to this machine and over https. */
  fetchSite: string | undefined;
}

/**
 * Whether a request was sent by a page of somebody else (CSRF). Programs that are no browsers say nothing and are none.
 * @param hosts how the device was called in this request: `Host`, and what a trusted proxy was called itself
 */
export function isForeign({ origin, fetchSite }: Sender, hosts: readonly (string | undefined)[]): boolean {
  // The same site is not enough: it is every other port of this machine as well.
  if (fetchSite !== undefined && fetchSite !== 'same-origin' && fetchSite !== 'none') return true;
  if (origin === undefined) return false;
  // A form of a page that sends no referrer says `null`; only who is asked further knows whose it is.
  if (origin === 'null') return fetchSite === undefined;
  const [, scheme, from] = /^(https?):\/\/([^/?#@]+)$/i.exec(origin) ?? [];
  if (scheme === undefined || from === undefined) return true;
  const defaultPort = scheme.toLowerCase() === 'https' ? '443' : '80';
  const sender = readHost(from);
  return !hosts.some((text) => {
    const own = readHost(text ?? '');
    return (
      own !== null && own.name === sender?.name && (own.port || defaultPort) === (sender.port || defaultPort)
    );
  });
}
