import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';

/** Stands between a client and a server on this machine and can be a bad network. */
export interface TcpProxy {
  readonly port: number;
  /** Ends every connection with a reset, and new ones at once, until `mend()`. */
  cut(): void;
  /** Nothing gets through in either direction until `mend()`; connections stay. */
  pause(): void;
  /** Every chunk goes on in pieces of at most this many bytes, each on its own, until `mend()`. */
  slice(bytes: number): void;
  /**
   * Resets the connection after so many further bytes from the client: the server still gets these, up to the middle
   * of a packet. Resolves when it has happened; once only.
   */
  resetAfter(bytes: number): Promise<void>;
  /**
   * The connections that there are, and new ones until `mend()`, stay open, and nothing comes of what either side
   * sends: it never arrives.
   */
  halfOpen(): void;
  /** A good network again. Connections that were half open stay so. */
  mend(): void;
  /** Everything that clients have sent so far. */
  sent(): Buffer;
  /** The connections that clients have made so far. */
  connections(): number;
  stop(): Promise<void>;
}

export async function startProxy(targetPort: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const sent: Buffer[] = [];
  /** Sockets of connections that are half open. */
  const lost = new WeakSet<Socket>();
  let mode: 'open' | 'cut' | 'half-open' = 'open';
  let pieces = Infinity;
  let accepted = 0;
  let paused: Promise<void> | null = null;
  let resume: () => void = () => undefined;
  let budget: { bytes: number; spent: () => void } | null = null;

  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  };

  /** Passes on what `from` sends; `fromClient` bytes count for `resetAfter`. */
  async function pass(from: Socket, to: Socket, fromClient: boolean): Promise<void> {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      if (fromClient) sent.push(chunk);
      if (lost.has(from)) continue;
      for (let at = 0; at < chunk.length;) {
        if (paused !== null) await paused;
        let piece = chunk.subarray(at, at + Math.min(pieces, chunk.length));
        if (fromClient && budget !== null) {
          piece = piece.subarray(0, budget.bytes);
          budget.bytes -= piece.length;
        }
        at += piece.length;
        if (piece.length > 0 && !to.write(piece)) await Promise.race([once(to, 'drain'), once(to, 'close')]);
        if (fromClient && budget?.bytes === 0) {
          budget.spent();
          budget = null;
          to.end();
          from.resetAndDestroy();
          return;
        }
        if (pieces < Infinity) await turn();
      }
    }
    to.end();
  }

  const server = createServer({ pauseOnConnect: true }, (near) => {
    accepted += 1;
    keep(near);
    if (mode === 'cut') {
      near.resetAndDestroy();
      return;
    }
    if (mode === 'half-open') return;
    const far = connect({ port: targetPort, host: '127.0.0.1', noDelay: true });
    near.setNoDelay(true);
    keep(far);
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
    pass(near, far, true).catch(() => far.destroy());
    pass(far, near, false).catch(() => near.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  const mend = (): void => {
    mode = 'open';
    pieces = Infinity;
    paused = null;
    resume();
  };
  const reset = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut() {
      mode = 'cut';
      reset();
    },
    pause() {
      paused ??= new Promise((resolve) => (resume = resolve));
    },
    slice(bytes) {
      pieces = bytes;
    },
    resetAfter: (bytes) =>
      new Promise((resolve) => {
        budget = { bytes, spent: resolve };
      }),
    halfOpen() {
      mode = 'half-open';
      for (const socket of sockets) lost.add(socket);
    },
    mend,
    sent: () => Buffer.concat(sent),
    connections: () => accepted,
    async stop() {
      mend();
      reset();
      server.close();
      await once(server, 'close');
    },
  };
}
