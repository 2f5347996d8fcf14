import type { Server } from 'node:http';
import { isIP, type AddressInfo } from 'node:net';
import { SoundpostError, messageOf } from '../common/errors.js';

/* Where the page is served, and why it cannot be. */

/** Listens; port 0 takes a free one. Throws SoundpostError `port_in_use` or `web_failed`. */
export async function listen(server: Server, host: string, port: number): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, () => {
        server.off('error', reject);
        resolve();
      });
    });
  } catch (error) {
    throw listenError(error, host, port);
  }
}

/** The address of a server that listens at `host`, for browsers on this machine. */
export function localUrl(server: Server, host: string): { url: string; port: number } {
  const { port } = server.address() as AddressInfo;
  const isEverywhere = host === '' || host === '0.0.0.0';
  const local = isEverywhere ? '127.0.0.1' : host === '::' ? '::1' : host;
  return { url: `http://${isIP(local) === 6 ? `[${local}]` : local}:${port}`, port };
}

/** The page would be open to the network, and there is no password. */
export function unprotected(host: string): SoundpostError {
  return new SoundpostError(
    'web_unprotected',
    `The page does not open to the network (web.host=${host}) without a password: everybody there could look on and command. Set web.password, or set web.host to 127.0.0.1.`,
  );
}

function listenError(error: unknown, host: string, port: number): SoundpostError {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'EADDRINUSE') {
    return new SoundpostError(
      'port_in_use',
      `The page cannot be served on ${host}:${port}: something is there already. Give it another port (web.port).`,
      { cause: error },
    );
  }
  if (code === 'EACCES') {
    return new SoundpostError(
      'web_failed',
      `The page may not be served on port ${port}: ports below 1024 need special rights. Set web.port to 8099 or another one above 1023.`,
      { cause: error },
    );
  }
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
    return new SoundpostError(
      'web_failed',
      `The page cannot be served on ${host}: this machine does not have that address. Set web.host to 127.0.0.1 or to an address of this machine.`,
      { cause: error },
    );
  }
  return new SoundpostError('web_failed', `The page cannot be served: ${messageOf(error)}`, { cause: error });
}
