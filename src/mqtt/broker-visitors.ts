import type { Socket } from 'node:net';
import { isLoopback } from '../common/loopback.js';
import { createBucket } from '../common/bucket.js';
import { BROKER_LIMITS } from './broker-limits.js';

/** What is known of a connection from outside. */
export interface Visitor {
  readonly address: string;
}

/** The connections from outside. */
export interface Visitors {
  /** Takes a connection in, until it closes; null where there are as many as there may be, or they come too fast. */
  admit(socket: Socket): Visitor | null;
  /** What waits for all of them to be read, in bytes. */
  queuedBytes(): number;
  destroyAll(): void;
}

/** @param options.onGone told when a connection that was taken in is closed */
export function createVisitors(options: { onGone: (visitor: Visitor) => void }): Visitors {
  const sockets = new Map<Socket, Visitor>();
  const arrivals = createBucket(BROKER_LIMITS.connectionsPerSecond, BROKER_LIMITS.connectionsBurst);

  function mayCome(address: string): boolean {
    if (sockets.size >= BROKER_LIMITS.connections || arrivals.waitMs() > 0) return false;
    if (isLoopback(address)) return true;
    let same = 0;
    for (const visitor of sockets.values()) if (visitor.address === address) same += 1;
    return same < BROKER_LIMITS.connectionsPerAddress;
  }

  return {
    admit(socket) {
      const visitor = { address: (socket.remoteAddress ?? '').replace(/^::ffff:/, '') };
      if (!mayCome(visitor.address)) return null;
      arrivals.take(1);
      sockets.set(socket, visitor);
      socket.on('close', () => {
        sockets.delete(socket);
        options.onGone(visitor);
      });
      return visitor;
    },
    queuedBytes() {
      let all = 0;
      for (const socket of sockets.keys()) all += socket.writableLength;
      return all;
    },
    destroyAll() {
      for (const socket of sockets.keys()) socket.destroy();
    },
  };
}
