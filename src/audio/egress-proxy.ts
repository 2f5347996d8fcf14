import { randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { messageOf } from '../common/errors.js';
import type { EgressPolicy } from './egress-policy.js';

/** The one way out for an ffmpeg that reads a stream over HTTP. */
export interface EgressProxy {
  /** Variables for ffmpeg that send it this way. */
  readonly env: NodeJS.ProcessEnv;
  /** Why it was not let through, the last time. */
  refusal(): string | undefined;
  close(): void;
}

/** More than any request of ffmpeg. */
const MOST_HEAD_BYTES = 32 * 1024;

/** A server that takes longer than this to be connected to is not there. */
const CONNECT_MS = 15_000;

/**
 * Starts an HTTP proxy on the loopback interface for one ffmpeg. ffmpeg follows redirects and playlists wherever they
 * lead, and has no option against it; so every connection that it makes over HTTP or HTTPS passes here, where the
 * host is judged (`EgressPolicy`) and connected to under the very address that was judged. Only who has read this
 * process's environment knows the password, so it is no open proxy for the other users of the machine.
 *
 * The bytes behind the head of a request pass as they are, in both directions: what radio servers answer is not
 * always HTTP ("ICY 200 OK"), which is why this is no HTTP library.
 */
export async function startEgressProxy(policy: EgressPolicy): Promise<EgressProxy> {
  const token = randomBytes(16).toString('hex');
  const expected = Buffer.from(`Basic ${Buffer.from(`gate:${token}`).toString('base64')}`);
  const sockets = new Set<Socket>();
  let refusal: string | undefined;

  const server = createServer((client) => {
    keep(client);
    let head = Buffer.alloc(0);
    const collect = (bytes: Buffer) => {
      head = Buffer.concat([head, bytes]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0 && head.length < MOST_HEAD_BYTES) return;
      client.off('data', collect).pause();
      const text = end < 0 ? '' : head.subarray(0, end).toString('latin1');
      void pass(client, text, head.subarray(end + 4));
    };
    client.on('data', collect);
  });

  /** Sees one connection through, or says why not. */
  async function pass(client: Socket, head: string, body: Buffer): Promise<void> {
    const [first = '', ...fields] = head.split('\r\n');
    const [method = '', target = ''] = first.split(' ');
    const given = Buffer.from(valueOf(fields, 'proxy-authorization'));
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      answer(client, '407 Proxy Authentication Required', 'Proxy-Authenticate: Basic realm="gate"\r\n');
      return;
    }
    const isTunnel = method === 'CONNECT';
    const address = isTunnel ? `https://${target}` : target;
    const url = URL.canParse(address) ? new URL(address) : null;
    if (url === null || !['http:', 'https:'].includes(url.protocol)) {
      answer(client, '400 Bad Request');
      return;
    }
    try {
      const upstream = await connected(await policy.addressesOf(url.hostname), url);
      if (isTunnel) client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      else upstream.write(headFor(url, method, fields), 'latin1');
      upstream.write(body);
      client.pipe(upstream).pipe(client);
    } catch (error) {
      refusal = messageOf(error);
      answer(client, '403 Forbidden');
    }
  }

  async function connected(addresses: readonly string[], url: URL): Promise<Socket> {
    const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
    let failure: unknown;
    for (const host of addresses) {
      const socket = connect({ host, port });
      keep(socket);
      try {
        await once(socket, 'connect', { signal: AbortSignal.timeout(CONNECT_MS) });
        return socket;
      } catch (error) {
        socket.destroy();
        failure = error;
      }
    }
    throw new Error(`${url.host} cannot be reached: ${messageOf(failure)}`);
  }

  /** A socket that breaks takes nothing with it, and all go with the proxy. */
  function keep(socket: Socket): void {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    env: { http_proxy: `http://gate:${token}@127.0.0.1:${port}`, no_proxy: undefined },
    refusal: () => refusal,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/**
 * The head of a request as the server itself wants it: with its path instead of the whole address, and without what
 * was meant for the proxy. One request a connection, so that the next one, maybe to another host, is judged as well.
 */
function headFor(url: URL, method: string, fields: readonly string[]): string {
  const others = fields.filter((field) => !/^(proxy-|connection:)/i.test(field));
  return [`${method} ${url.pathname}${url.search} HTTP/1.1`, ...others, 'Connection: close', '', ''].join(
    '\r\n',
  );
}

function valueOf(fields: readonly string[], name: string): string {
  const field = fields.find((text) => text.toLowerCase().startsWith(`${name}:`)) ?? '';
  return field.slice(name.length + 1).trim();
}

function answer(client: Socket, status: string, fields = ''): void {
  client.resume();
  client.end(`HTTP/1.1 ${status}\r\n${fields}Content-Length: 0\r\nConnection: close\r\n\r\n`);
}
