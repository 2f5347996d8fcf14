import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** How the next answers are to be spoilt. */
export interface Mischief {
  /** Ends the connection after so many bytes of a body, as often as `times` says. */
  cutAfter?: { bytes: number; times: number };
  /** Sends so many bytes and then nothing, leaving the connection open. */
  stallAfter?: number;
  /** Knows no ranges. */
  noRanges?: boolean;
  /** Sends no ETag and no date. */
  noValidator?: boolean;
  /** Does not say how long the body is. */
  chunked?: boolean;
  status?: number;
  location?: string;
  /** Sends this file in place of the right one, as often as `times` says. */
  otherFile?: { body: Buffer; times: number };
  /** Milliseconds between two pieces of 64 KiB. */
  slowMs?: number;
}

export interface FileServer {
  readonly url: string;
  readonly port: number;
  /** What may be asked for, by path with the slash. */
  readonly files: Map<string, Buffer>;
  /** By path; `*` for every other. */
  readonly mischief: Map<string, Mischief>;
  /** Each request: path, and the headers that matter. */
  readonly requests: { path: string; range: string | undefined; authorization: string | undefined }[];
  close(): Promise<void>;
}

/** An HTTP server of files on loopback, which can be told to misbehave. */
export async function startFileServer(t: { teardown(end: () => unknown): void }): Promise<FileServer> {
  const files = new Map<string, Buffer>();
  const mischief = new Map<string, Mischief>();
  const requests: FileServer['requests'] = [];

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = decodeURIComponent((request.url ?? '/').split('?')[0]!);
    const { range, authorization } = request.headers;
    requests.push({ path, range, authorization });
    const trick = mischief.get(path) ?? mischief.get('*') ?? {};
    const other = trick.otherFile !== undefined && trick.otherFile.times-- > 0 ? trick.otherFile : undefined;
    const body = other?.body ?? files.get(path);
    if (trick.status !== undefined) {
      response
        .writeHead(trick.status, trick.location === undefined ? {} : { location: trick.location })
        .end();
      return;
    }
    if (body === undefined) {
      response.writeHead(404).end('not here');
      return;
    }
    const etag = `"${createHash('md5').update(body).digest('hex')}"`;
    const wanted = /^bytes=(\d+)-$/.exec(range ?? '')?.[1];
    const same = request.headers['if-range'] === etag;
    const start = wanted !== undefined && trick.noRanges !== true && same ? Number(wanted) : 0;
    const rest = body.subarray(start);
    response.writeHead(start > 0 ? 206 : 200, {
      ...(trick.chunked === true ? {} : { 'content-length': rest.length }),
      ...(trick.noValidator === true ? {} : { etag }),
      ...(start > 0 ? { 'content-range': `bytes ${start}-${body.length - 1}/${body.length}` } : {}),
    });
    await sendBody(response, rest, trick);
  };

  const server = createServer((request, response) => void serve(request, response).catch(() => undefined));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  t.teardown(close);
  return { url: `http://127.0.0.1:${port}`, port, files, mischief, requests, close };
}

const PIECE = 1 << 16;

async function sendBody(response: ServerResponse, body: Buffer, trick: Mischief): Promise<void> {
  const cut = trick.cutAfter !== undefined && trick.cutAfter.times > 0 ? trick.cutAfter : undefined;
  const limit = cut?.bytes ?? trick.stallAfter ?? Infinity;
  for (let offset = 0; offset < Math.min(body.length, limit); offset += PIECE) {
    if (trick.slowMs !== undefined) await new Promise((resolve) => setTimeout(resolve, trick.slowMs));
    const piece = body.subarray(offset, Math.min(body.length, offset + PIECE, limit));
    await new Promise<void>((resolve) => response.write(piece, () => resolve()));
  }
  if (cut !== undefined && body.length > cut.bytes) {
    cut.times -= 1;
    response.destroy();
  } else if (trick.stallAfter === undefined || body.length <= trick.stallAfter) {
    response.end();
  }
}
