import { mkdirSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { commandTable } from '../../src/mqtt/command-table.js';
import { createCommandRouter } from '../../src/mqtt/commands.js';
import { createTopics } from '../../src/mqtt/topics.js';
import { createWeb, type Web, type WebOptions } from '../../src/web/web.js';
import { createRecordingControl, type RecordingControl } from './recording-control.js';
import { createRecordingLog } from './recording-log.js';
import { temporaryFolder } from './temporary.js';
import { createWaiting } from './waiting.js';

type Teardown = { teardown(handler: () => unknown): void };

/** A page as a build would leave it, small. */
export function pageFolder(t: Teardown): string {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'assets'));
  writeFileSync(join(folder, 'index.html'), '<!doctype html><title>Soundpost</title>'.padEnd(2000));
  writeFileSync(join(folder, 'assets', 'index-a1B2c3D4.js'), 'export {};');
  writeFileSync(join(folder, '.secret.json'), '{}');
  return folder;
}

export interface RunningWeb {
  web: Web;
  url: string;
  port: number;
  control: RecordingControl;
  log: ReturnType<typeof createRecordingLog>;
}

/** The page's server on loopback, with the commands of the service, which only note that they were called. */
export async function startWeb(t: Teardown, options: Partial<WebOptions> = {}): Promise<RunningWeb> {
  const control = createRecordingControl();
  const log = createRecordingLog();
  const router = createCommandRouter({
    commands: commandTable(control),
    topics: createTopics('soundpost', 'test'),
    reply: () => undefined,
    log,
  });
  const web = createWeb({
    host: '127.0.0.1',
    port: 0,
    pageFolder: pageFolder(t),
    openApiFile: null,
    execute: (command, body) => router.request(command, body),
    log,
    ...options,
  });
  t.teardown(() => web.stop());
  return { web, ...(await web.start()), control, log };
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  /** The body as JSON. */
  readonly json: unknown;
  /** The code of an error reply. */
  readonly code: string | undefined;
}

export interface Ask {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
  /** The address to connect to; default this machine. */
  to?: string;
}

/** Asks once, over a connection of its own. */
export function ask(
  port: number,
  path: string,
  { method, headers = {}, body, to = '127.0.0.1' }: Ask = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(
      {
        host: to,
        port,
        path,
        method: method ?? (body === undefined ? 'GET' : 'POST'),
        headers: { ...(body !== undefined && { 'Content-Type': 'application/json' }), ...headers },
        agent: false,
      },
      (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('error', reject);
        response.on('end', () => {
          const whole = Buffer.concat(parts);
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: whole,
            get json() {
              return JSON.parse(whole.toString('utf8')) as unknown;
            },
            get code() {
              return (this.json as { error?: { code: string } }).error?.code;
            },
          });
        });
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}

/** Signs in; returns the cookie. */
export async function signIn(port: number, password: string): Promise<string> {
  const { status, headers } = await ask(port, '/api/login', { body: JSON.stringify({ password }) });
  if (status !== 200) throw new Error(`the login was answered with ${status}`);
  return headers['set-cookie']![0]!.split(';')[0]!;
}

export interface FeedEvent {
  name: string;
  data: { topic?: string; payload?: unknown; [field: string]: unknown };
}

export interface FeedReader {
  status: number;
  headers: IncomingHttpHeaders;
  events: FeedEvent[];
  /** How many comments came. */
  comments: number;
  until(fits: () => boolean, what: string): Promise<void>;
  /** Resolves once the reply has ended or broken off. */
  ended: Promise<void>;
  close(): void;
}

/** Reads a reply that goes on. */
export function readFeed(
  port: number,
  path = '/api/feed',
  headers: Record<string, string> = {},
): Promise<FeedReader> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ host: '127.0.0.1', port, path, headers, agent: false }, (response) => {
      const { wake, until } = createWaiting();
      let rest = '';
      const reader: FeedReader = {
        status: response.statusCode ?? 0,
        headers: response.headers,
        events: [],
        comments: 0,
        until: (fits, what) => until(fits, what, 20),
        ended: new Promise((end) => response.on('close', () => end())),
        close: () => sent.destroy(),
      };
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        const blocks = (rest + text).split('\n\n');
        rest = blocks.pop()!;
        for (const block of blocks) take(block, reader);
        wake();
      });
      response.on('error', () => undefined);
      resolve(reader);
    });
    sent.on('error', reject);
    sent.end();
  });
}

function take(block: string, reader: FeedReader): void {
  if (block.startsWith(':')) reader.comments += 1;
  const [, name, data] = /^event: (.+)\ndata: (.+)$/.exec(block) ?? [];
  if (name !== undefined && data !== undefined) {
    reader.events.push({ name, data: JSON.parse(data) as FeedEvent['data'] });
  }
}

export interface RawConnection {
  socket: Socket;
  received: () => string;
  closed: Promise<void>;
}

/** A bare connection, for what no HTTP client would send. */
export function rawConnection(port: number, to = '127.0.0.1'): Promise<RawConnection> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: to, port });
    let text = '';
    socket.setEncoding('latin1');
    socket.on('data', (part: string) => (text += part));
    socket.on('error', () => undefined);
    const closed = new Promise<void>((end) => socket.on('close', () => end()));
    socket.once('error', reject);
    socket.once('connect', () => resolve({ socket, received: () => text, closed }));
  });
}
