import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';

/*
 * MQTT 3.1.1 by hand, for clients that do what no library does: they send as fast as the line takes it, and read
 * nothing. Every flood has an end in count and in time.
 */

function remainingLength(bytes: number): Buffer {
  const out: number[] = [];
  for (let left = bytes; ;) {
    const byte = left % 128;
    left = Math.floor(left / 128);
    out.push(left > 0 ? byte | 0x80 : byte);
    if (left === 0) return Buffer.from(out);
  }
}

function packet(type: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([type]), remainingLength(body.length), body]);
}

function word(text: string | Buffer): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

export function connectPacket(
  clientId: string,
  account?: { username: string; password: string },
  will?: { topic: string; payload: Buffer },
): Buffer {
  const flags = 0x02 | (account === undefined ? 0 : 0xc0) | (will === undefined ? 0 : 0x24);
  return packet(
    0x10,
    word('MQTT'),
    Buffer.from([4, flags, 0, 60]),
    word(clientId),
    ...(will === undefined ? [] : [word(will.topic), word(will.payload)]),
    ...(account === undefined ? [] : [word(account.username), word(account.password)]),
  );
}

export function publishPacket(topic: string, payload: Buffer, retain = false): Buffer {
  return packet(0x30 | (retain ? 1 : 0), word(topic), payload);
}

export function subscribePacket(id: number, filters: readonly string[]): Buffer {
  return packet(
    0x82,
    Buffer.from([id >> 8, id & 0xff]),
    ...filters.flatMap((filter) => [word(filter), Buffer.from([0])]),
  );
}

/** A connection that has sent its CONNECT; what goes wrong with it later is not looked at. */
export async function rawClient(port: number, clientId: string): Promise<Socket> {
  const socket = connectTcp(port, '127.0.0.1');
  socket.on('error', () => undefined);
  await Promise.race([once(socket, 'connect'), once(socket, 'close')]);
  if (!socket.destroyed) socket.write(connectPacket(clientId));
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
