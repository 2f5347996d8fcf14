import { mkdir, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import type { HealthReport } from './health-file.js';

/*
 * The running service can be asked for its health at the socket `<data_dir>/run/health.sock`. Whoever connects gets
 * the report as one line of JSON. An answer proves that the event loop turns, and needs no disk that can be written
 * and no clock, which the heartbeat in the file beside it does.
 */

/** `struct sockaddr_un` has 108 bytes with the zero at the end; Node cuts off what is longer without a word. */
const MAX_PATH_BYTES = 107;
const MAX_ANSWER_BYTES = 256 * 1024;
const MAX_CONNECTIONS = 16;
/** A client that does not take its answer in that time is let go of. */
const CLIENT_MS = 5_000;

function socketPath(dataDir: string): string {
  return join(dataDir, 'run', 'health.sock');
}

/**
 * Answers with `report` until the returned function has been called. Rejects with the system's error where the socket
 * cannot be made: on file systems without sockets, and where the path is too long.
 */
export async function serveHealth(dataDir: string, report: () => HealthReport): Promise<() => Promise<void>> {
  const path = socketPath(dataDir);
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) throw new Error(`${path} is too long for a socket`);
  await mkdir(dirname(path), { recursive: true });
  // Left by a service that was killed; a second one on the same folder does not come this far.
  await rm(path, { force: true });
  const server = createServer((client) => {
    client.on('error', () => undefined);
    client.setTimeout(CLIENT_MS, () => client.destroy());
    client.end(`${JSON.stringify({ pid: process.pid, ...report() })}\n`);
  });
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  // Without file handles a connection cannot be taken; the client sees it closed.
  server.on('error', () => undefined);
  return async () => {
    await new Promise<void>((resolve) => server.close(() => resolve()));
    await rm(path, { force: true }).catch(() => undefined);
  };
}

/**
 * - `text`: what was said;
 * - `nobody`: there is no socket, nobody listens at it, or it is not for this user;
 * - `closed`: somebody took the connection and said nothing;
 * - `silent`: nothing came in time.
 */
export type SocketAnswer = { text: string } | 'nobody' | 'closed' | 'silent';

/** Asks the service of this data folder; whatever goes wrong is an answer, too. */
export function askHealth(dataDir: string, timeoutMs: number): Promise<SocketAnswer> {
  const path = socketPath(dataDir);
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return Promise.resolve('nobody');
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (answer: SocketAnswer) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => settle('silent'), timeoutMs);
    let connected = false;
    let text = '';
    socket.setEncoding('utf8');
    socket.once('connect', () => (connected = true));
    socket.on('data', (part: string) => {
      text += part;
      if (text.length > MAX_ANSWER_BYTES) settle('closed');
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // A queue of connections that nobody takes is full: the service is there.
      if (error.code === 'EAGAIN') settle('silent');
      else settle(connected ? 'closed' : 'nobody');
    });
    socket.on('close', () => settle(text === '' ? 'closed' : { text }));
  });
}
