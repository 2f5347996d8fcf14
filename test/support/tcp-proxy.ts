import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** Stands between a client and a server on this machine and can be a bad network. */
export interface TcpProxy {
  readonly port: number;
  /** Ends every connection with a reset, and new ones at once, until `mend()`. */
  cut(): void;
  mend(): void;
  /** Everything that clients have sent so far. */
  sent(): Buffer;
  stop(): Promise<void>;
}

export async function startProxy(targetPort: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const sent: Buffer[] = [];
  let open = true;
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  };
  const server = createServer((near) => {
    keep(near);
    if (!open) {
      near.resetAndDestroy();
      return;
    }
    const far = connect(targetPort, '127.0.0.1');
    keep(far);
    near.on('data', (chunk: Buffer) => sent.push(chunk));
    near.pipe(far).pipe(near);
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const reset = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut() {
      open = false;
      reset();
    },
    mend() {
      open = true;
    },
    sent: () => Buffer.concat(sent),
    async stop() {
      reset();
      server.close();
      await once(server, 'close');
    },
  };
}
