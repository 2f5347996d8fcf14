import { isIP, type AddressInfo, type Server } from 'node:net';
import { SoundpostError, messageOf } from '../common/errors.js';

/* Where a server listens, and why it cannot. */

/** Listens; port 0 takes a free one. Throws SoundpostError `port_in_use` or `broker_failed`. */
export async function listen(server: Server, host: string, port: number): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, resolve);
    });
  } catch (error) {
    throw listenError(error, host, port);
  }
}

/** The address of a server that listens at `host`, for clients on this machine. */
export function localUrl(server: Server, host: string): { url: string; port: number } {
  const { port } = server.address() as AddressInfo;
  const local = localAddress(host);
  return { url: `mqtt://${isIP(local) === 6 ? `[${local}]` : local}:${port}`, port };
}

/** The broker would be open to the network, and there is no password. */
export function unprotected(host: string): SoundpostError {
  return new SoundpostError(
    'broker_unprotected',
    `The embedded broker does not open to the network (broker.host=${host}) without a password: everybody there could listen and command. Set broker.password, use a broker of your own (mqtt.url), or set broker.host to 127.0.0.1.`,
  );
}

/** Where clients on this machine find a server that is bound to `host`. */
function localAddress(host: string): string {
  if (host === '' || host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

function listenError(error: unknown, host: string, port: number): SoundpostError {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'EADDRINUSE') {
    return new SoundpostError(
      'port_in_use',
      `The embedded broker cannot listen on ${host}:${port}: something does already, probably another MQTT broker. Use that one (mqtt.url=mqtt://127.0.0.1:${port}), or give the embedded one another port (broker.port).`,
      { cause: error },
    );
  }
  if (code === 'EACCES') {
    return new SoundpostError(
      'broker_failed',
      `The embedded broker may not listen on port ${port}: ports below 1024 need special rights. Set broker.port to 1883 or another one above 1023.`,
      { cause: error },
    );
  }
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
    return new SoundpostError(
      'broker_failed',
      `The embedded broker cannot listen on ${host}: this machine does not have that address. Set broker.host to 127.0.0.1 or to an address of this machine.`,
      { cause: error },
    );
  }
  return new SoundpostError('broker_failed', `The embedded broker cannot start: ${messageOf(error)}`, {
    cause: error,
  });
}
