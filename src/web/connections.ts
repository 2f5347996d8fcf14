import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { isLoopback } from '../common/loopback.js';
import type { WebLimits } from './limits.js';
import { peerOf } from './visitor.js';

/**
 * A server of HTTP whose connections are bounded: how many there are, how long a request may take to come, how large
 * its head may be.
 * @param options.shared addresses behind which many visitors stand
 * @param options.onlyFrom nobody else may connect, but this machine; null: everybody may
 */
export function createBoundedServer(options: {
  handle: (request: IncomingMessage, response: ServerResponse) => void;
  shared: readonly string[];
  onlyFrom: string | null;
  limits: WebLimits;
}): Server {
  const { limits } = options;
  const shared = new Set(options.shared.map(peerOf));
  const perAddress = new Map<string, number>();
  const server = createServer(
    {
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersMs,
      requestTimeout: limits.requestMs,
      keepAliveTimeout: limits.idleMs,
      connectionsCheckingInterval: 1000,
    },
    options.handle,
  );
  server.maxConnections = limits.connections;

  function mayCome(address: string): boolean {
    if (isLoopback(address)) return true;
    if (options.onlyFrom !== null && address !== options.onlyFrom) return false;
    return shared.has(address) || (perAddress.get(address) ?? 0) < limits.connectionsPerAddress;
  }

  // The server's own listener is there already: what is destroyed here is never read.
  server.on('connection', (socket: Socket) => {
    const address = peerOf(socket.remoteAddress);
    if (!mayCome(address)) {
      socket.destroy();
      return;
    }
    perAddress.set(address, (perAddress.get(address) ?? 0) + 1);
    socket.on('close', () => {
      const left = (perAddress.get(address) ?? 1) - 1;
      if (left > 0) perAddress.set(address, left);
      else perAddress.delete(address);
    });
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const status: Record<string, string> = {
      HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
      ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
    };
    if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy();
    else {
      socket.end(
        `HTTP/1.1 ${status[error.code ?? ''] ?? '400 Bad Request'}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
      );
      // Who sends nonsense may not read either.
      setTimeout(() => socket.destroy(), 1000).unref();
    }
  });
  return server;
}
