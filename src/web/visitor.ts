import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';

/** Who sends a request. */
export interface Visitor {
  /** Of the visitor, or of the nearest proxy that is not trusted. */
  address: string;
  /** Home Assistant has let them in already. */
  isIngress: boolean;
  /** The browser speaks https to whatever stands before this server. */
  isSecure: boolean;
}

/** The address at the other end of a connection; that of IPv4 as such, whatever the socket. */
export function peerOf(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:(?=\d+\.)/i, '');
}

/**
 * @param proxies addresses of reverse proxies, which say for whom they ask
 * @param ingressFrom the address of Home Assistant's Supervisor; null where there is none
 */
export function createVisitorReader(
  proxies: readonly string[],
  ingressFrom: string | null,
): (request: IncomingMessage) => Visitor {
  const trusted = new Set(proxies.map(peerOf));
  return ({ headers, socket }) => {
    const peer = peerOf(socket.remoteAddress);
    // Each proxy adds who it was asked by at the end; what stands before that, anybody may have written.
    const forwarded = trusted.has(peer) ? lastOf(headers['x-forwarded-for']) : '';
    return {
      address: isIP(forwarded) === 0 ? peer : peerOf(forwarded),
      isIngress: ingressFrom !== null && peer === ingressFrom && headers['x-ingress-path'] !== undefined,
      // Both only ever harm who lies: the cookie is then not sent where it would have to be.
      isSecure: lastOf(headers['x-forwarded-proto']) === 'https' || /^https:/i.test(headers.origin ?? ''),
    };
  };
}

function lastOf(header: string | string[] | undefined): string {
  return (
    String(header ?? '')
      .split(',')
      .at(-1)
      ?.trim() ?? ''
  );
}
