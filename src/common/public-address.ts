import { BlockList, isIP } from 'node:net';

/** A host as it is compared: in lower case, without a final dot and without the brackets of IPv6. */
export function plainHost(host: string): string {
  return host
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '');
}

/** What is not the public internet: IANA's registries of special-purpose addresses, and multicast. */
const special = new BlockList();
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const) {
  special.addSubnet(network, prefix, 'ipv4');
}
for (const [network, prefix] of [
  // The unspecified address, loopback, and IPv4 addresses in an old spelling.
  ['::', 96],
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['fc00::', 7],
  ['fe80::', 9],
  ['ff00::', 8],
] as const) {
  special.addSubnet(network, prefix, 'ipv6');
}

/** The 128 bits of an IPv6 address as eight groups. */
function groupsOf(address: string): number[] {
  // The URL parser writes it in the shortest form, in hexadecimal throughout.
  const [head = '', tail = ''] = plainHost(new URL(`http://[${address}]`).hostname).split('::');
  const numbers = (part: string) => (part === '' ? [] : part.split(':').map((group) => parseInt(group, 16)));
  const [front, back] = [numbers(head), numbers(tail)];
  return [...front, ...Array<number>(8 - front.length - back.length).fill(0), ...back];
}

/**
 * Whether an IP address belongs to the public internet: no loopback, no private network, no link, no multicast.
 * IPv4 addresses inside of IPv6 ones (mapped, or translated by NAT64) are judged as what they are.
 */
export function isPublicAddress(address: string): boolean {
  const kind = isIP(address);
  if (kind === 4) return !special.check(address, 'ipv4');
  if (kind !== 6 || address.includes('%')) return false;
  const groups = groupsOf(address);
  const prefix = groups.slice(0, 6).join(':');
  const mapped =
    prefix === [0, 0, 0, 0, 0, 0xffff].join(':') || prefix === [0x64, 0xff9b, 0, 0, 0, 0].join(':');
  if (!mapped) return !special.check(address, 'ipv6');
  const [high, low] = [groups[6]!, groups[7]!];
  return isPublicAddress([high >> 8, high & 255, low >> 8, low & 255].join('.'));
}
