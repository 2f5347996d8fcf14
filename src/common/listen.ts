import { isIP, type AddressInfo, type Server } from 'node:net';
import { codeOfErrno } from './errno.js';

/* Where servers listen, and why they cannot. */

/** Listens; port 0 takes a free one. Rejects with what the system says; see `whyNotListening`. */
export function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/**
 * Why a server cannot listen: something is there already, the port needs special rights, or this machine does not have
 * the address.
 */
export function whyNotListening(error: unknown): 'taken' | 'rights' | 'no_address' | 'other' {
  switch (codeOfErrno(error)) {
    case 'EADDRINUSE':
      return 'taken';
    case 'EACCES':
      return 'rights';
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return 'no_address';
    default:
      return 'other';
  }
}

/** The address of a server that listens at `host`, for clients on this machine. */
export function localUrl(
  scheme: 'http' | 'mqtt',
  server: Server,
  host: string,
): { url: string; port: number } {
  const { port } = server.address() as AddressInfo;
  const local = localAddress(host);
  return { url: `${scheme}://${isIP(local) === 6 ? `[${local}]` : local}:${port}`, port };
}

function localAddress(host: string): string {
  if (host === '' || host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}
