import { createServer, isIP, type AddressInfo, type Socket } from 'node:net';
import { Aedes } from 'aedes';
import { SoundpostError, messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { createFrameGuard } from './frame-guard.js';

export interface EmbeddedBroker {
  /** For clients on this machine. */
  readonly url: string;
  readonly port: number;
  /** How many clients are connected. */
  clients(): number;
  /** Closes every connection and the port. Idempotent. */
  stop(): Promise<void>;
}

const MAX_PACKET_BYTES = 1024 * 1024;
const MAX_CONNECTIONS = 200;

/**
 * Starts the broker that is used where no other is configured: MQTT 3.1.1 over TCP, no authentication, nothing kept
 * on disk. Port 0 takes a free one. Throws SoundpostError `port_in_use` or `broker_failed`.
 */
export async function startEmbeddedBroker(options: {
  host: string;
  port: number;
  log: Logger;
}): Promise<EmbeddedBroker> {
  const { host, log } = options;
  const sockets = new Set<Socket>();
  const aedes = await Aedes.createBroker({
    connectTimeout: 10_000,
    // A subscriber that does not read holds up the others until then.
    drainTimeout: 10_000,
    preConnect: (_client, packet, callback) => {
      // A kept session would queue messages in memory without bound for a subscriber that never comes back.
      packet.clean = true;
      callback(null, true);
    },
  });
  // Faults of single clients (another MQTT version, a reset) are theirs.
  const clientFault = (_client: unknown, error: Error): void =>
    log.debug({ err: error }, `A client of the embedded broker failed: ${error.message}`);
  aedes.on('clientError', clientFault);
  aedes.on('connectionError', clientFault);
  (aedes as NodeJS.EventEmitter).on('error', (error: unknown) =>
    log.error({ code: 'broker_failed', err: error }, `The embedded broker failed: ${messageOf(error)}`),
  );

  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    guard(socket, log);
    aedes.handle(socket);
  });
  server.maxConnections = MAX_CONNECTIONS;
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port: options.port }, resolve);
    });
  } catch (error) {
    await new Promise<void>((resolve) => aedes.close(resolve));
    throw listenError(error, host, options.port);
  }
  server.on('error', (error) =>
    log.error({ code: 'broker_failed', err: error }, `The embedded broker failed: ${error.message}`),
  );

  const { port } = server.address() as AddressInfo;
  const local = localAddress(host);
  const url = `mqtt://${isIP(local) === 6 ? `[${local}]` : local}:${port}`;
  if (!isLoopback(host)) {
    log.warn(
      { code: 'broker_open', host, port },
      `The embedded broker listens on ${host}:${port} and asks nobody for a password: everyone on this network can read and command this device. Use a broker with authentication (mqtt.url), or set broker.host to 127.0.0.1.`,
    );
  }

  let stopped: Promise<void> | null = null;
  async function close(): Promise<void> {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    await new Promise<void>((resolve) => aedes.close(resolve));
    // Connections that never became clients.
    for (const socket of sockets) socket.destroy();
    await closed;
  }

  return {
    url,
    port,
    clients: () => aedes.connectedClients,
    stop: () => (stopped ??= close()),
  };
}

/**
 * Cuts a connection that announces a packet bigger than allowed, before its bytes are gathered in memory. aedes has
 * no limit of its own and takes its input by `read()`, so that is where it is watched.
 */
function guard(socket: Socket, log: Logger): void {
  const acceptable = createFrameGuard(MAX_PACKET_BYTES);
  const read = socket.read.bind(socket) as (size?: number) => Buffer | null;
  socket.read = (size?: number): Buffer | null => {
    const chunk = read(size);
    if (chunk === null || acceptable(chunk)) return chunk;
    log.warn(
      { code: 'packet_too_large' },
      `A client of the embedded broker sent a packet of more than ${MAX_PACKET_BYTES} bytes and was disconnected.`,
    );
    socket.destroy();
    return null;
  };
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
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
