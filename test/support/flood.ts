import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { generate } from 'mqtt-packet';

/*
 * Clients of MQTT 3.1.1 that do what no library does: they send as fast as the line takes it, and read nothing. Every
 * flood has an end in count and in time.
 */

export const publishPacket = (topic: string, payload: Buffer, retain = false): Buffer =>
  generate({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain });

export const subscribePacket = (messageId: number, filters: readonly string[]): Buffer =>
  generate({ cmd: 'subscribe', messageId, subscriptions: filters.map((topic) => ({ topic, qos: 0 })) });

/** A connection that has sent its CONNECT; what goes wrong with it later is not looked at. */
export async function rawClient(port: number, clientId: string): Promise<Socket> {
  const socket = connectTcp(port, '127.0.0.1');
  socket.on('error', () => undefined);
  await Promise.race([once(socket, 'connect'), once(socket, 'close')]);
  if (!socket.destroyed) socket.write(generate({ cmd: 'connect', clientId, keepalive: 60 }));
  return socket;
}

/**
 * Sends `count` packets as fast as they are taken, for `limitMs` at most. Resolves to how many the kernel took; a
 * connection that is closed is the end.
 */
export async function pour(
  socket: Socket,
  count: number,
  limitMs: number,
  make: (index: number) => Buffer,
): Promise<number> {
  const until = performance.now() + limitMs;
  for (let index = 0; index < count; index += 1) {
    if (socket.destroyed || performance.now() > until) return index;
    if (!socket.write(make(index))) {
      const ended = new AbortController();
      const timer = setTimeout(() => ended.abort(), Math.max(1, until - performance.now()));
      const options = { signal: ended.signal };
      await Promise.race([once(socket, 'drain', options), once(socket, 'close', options)]).catch(
        () => undefined,
      );
      clearTimeout(timer);
      ended.abort();
    } else if (index % 64 === 0) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return count;
}
