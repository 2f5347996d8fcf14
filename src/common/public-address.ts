import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/** A host as it is compared: in lower case, without a final dot and without the brackets of IPv6. */
export function plainHost(host: string): string {
  return host
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '');
}

/** IPv4 addresses in the oldest spelling inside of IPv6, which nobody routes any more: the first 96 bits are 0. */
const COMPATIBLE = ipaddr.IPv6.parseCIDR('::/96');

/**
 * Whether an IP address belongs to the public internet: no loopback, no private network, no link, no multicast, and
 * nothing else of IANA's registries of special-purpose addresses. IPv4 addresses inside of IPv6 ones (mapped, or
 * translated by NAT64) are judged as what they are.
 */
export function isPublicAddress(address: string): boolean {
  // What ipaddr.js reads besides (octal parts, zones) is no address to the system.
  if (isIP(address) === 0 || address.includes('%')) return false;
  const found = ipaddr.process(address);
  if (!(found instanceof ipaddr.IPv6)) return found.range() === 'unicast';
  if (found.range() === 'rfc6052')
    return new ipaddr.IPv4(found.toByteArray().slice(12)).range() === 'unicast';
  return found.range() === 'unicast' && !found.match(COMPATIBLE);
}
