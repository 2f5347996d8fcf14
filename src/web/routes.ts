import type { IncomingMessage, ServerResponse } from 'node:http';
import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { ONLY_SOURCE } from '../common/only-source.js';
import { SOURCE_NAME } from '../common/rules.js';
import { MAX_REQUEST_BYTES } from '../mqtt/command-request.js';
import type { ResponsePayload } from '../mqtt/contract.js';
import { CLIP_ID, sendClip, type Clip } from './clips.js';
import { loginSchema, TooManyAttempts, type Entry } from './entry.js';
import type { Feed } from './feed.js';
import { isForeign } from './hosts.js';
import { errorReply, readJsonBody, SECURITY_HEADERS, sendReply } from './replies.js';
import type { Spectrograms } from './spectrogram.js';
import type { StaticFiles } from './static-files.js';
import type { Visitor } from './visitor.js';

export interface RoutesOptions {
  files: StaticFiles;
  isOwnHost: (header: string | undefined) => boolean;
  visitorOf: (request: IncomingMessage) => Visitor;
  entry: Entry;
  feed: Pick<Feed, 'open'>;
  spectrograms: Spectrograms | null;
  findClip: (id: string) => Promise<Clip | null>;
  execute: (command: string, body: Uint8Array) => Promise<ResponsePayload>;
  log: Logger;
}

/** A request that has passed the door. */
interface Call {
  request: IncomingMessage;
  response: ServerResponse;
  visitor: Visitor;
  path: string;
  query: URLSearchParams;
}

interface Route {
  method: 'GET' | 'POST';
  /** Whether it is there for who has not signed in. */
  isOpen?: boolean;
  run(call: Call, match: RegExpExecArray): void | Promise<void>;
}

const MAX_LOGIN_BYTES = 4096;

/**
 * What is answered at which address. Every request passes the same door: the name it calls the device by, whose page it
 * comes from, the method, and the password, in this order. Never throws.
 */
export function createRoutes(
  options: RoutesOptions,
): (request: IncomingMessage, response: ServerResponse) => void {
  const { files, entry, log } = options;
  const routes = createApi(options);

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const visitor = options.visitorOf(request);
    checkHost(request, visitor);
    const [path = '', query = ''] = (request.url ?? '').split('?', 2);
    const call: Call = { request, response, visitor, path, query: new URLSearchParams(query) };
    if (!path.startsWith('/api/')) {
      requireMethod(call, 'GET');
      if (!files.answer(path, request, response)) throw nothingThere();
      return;
    }
    checkOrigin(request, visitor);
    for (const [pattern, route] of routes) {
      const match = pattern.exec(path);
      if (match === null) continue;
      requireMethod(call, route.method);
      if (route.isOpen !== true) entry.admit(request, visitor);
      await route.run(call, match);
      return;
    }
    throw nothingThere();
  }

  function checkHost({ headers }: IncomingMessage, { isIngress }: Visitor): void {
    // Home Assistant passes on the name that it is called by itself, and has asked for a password.
    if (isIngress || options.isOwnHost(headers.host)) return;
    throw new SoundpostError(
      'host_refused',
      'This device is not known by the name in the address. Use its address, or name it in web.hosts.',
    );
  }

  return (request, response) => {
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
    response.on('error', () => undefined);
    answer(request, response).catch((error: unknown) => {
      if (response.headersSent || response.destroyed) {
        // The reply, or who waited for it, broke off.
        response.destroy();
        return;
      }
      if (codeOf(error) === 'internal') {
        log.error({ code: 'web_failed', err: error }, `A request to the page failed: ${messageOf(error)}`);
      }
      sendReply(response, errorReply(error), {
        ...(error instanceof TooManyAttempts && { 'Retry-After': error.seconds }),
      });
    });
  };
}

function checkOrigin({ headers }: IncomingMessage, { isIngress }: Visitor): void {
  const sender = { origin: headers.origin, fetchSite: headers['sec-fetch-site']?.toString() };
  const forwardedHost = isIngress ? headers['x-forwarded-host']?.toString() : undefined;
  if (!isForeign(sender, [headers.host, forwardedHost])) return;
  throw new SoundpostError(
    'origin_refused',
    'The request comes from the page of another address. A reverse proxy has to pass on the name that it is called by ("Host").',
  );
}

function requireMethod({ request, response }: Call, method: 'GET' | 'POST'): void {
  if (request.method === method || (request.method === 'HEAD' && method === 'GET')) return;
  response.setHeader('Allow', method === 'GET' ? 'GET, HEAD' : 'POST');
  throw new SoundpostError('method_refused', `Here only ${method} is answered.`);
}

function nothingThere(): SoundpostError {
  return new SoundpostError('no_such_path', 'There is nothing at this address.');
}

const done = (data: Record<string, unknown> = {}): ResponsePayload => ({ status: 'ok', data });

/** The addresses below `/api/`. */
function createApi(options: RoutesOptions): [RegExp, Route][] {
  const { entry, feed, spectrograms, files } = options;

  /** A reply that goes on ends with the session, and HEAD gets none. */
  function goOn(
    { request, response, visitor }: Call,
    open: (onClose: () => void) => { close(): void },
  ): void {
    const session = entry.admit(request, visitor);
    let forget = (): unknown => undefined;
    const stream = open(() => forget());
    if (session !== null) forget = session.onEnd(() => stream.close());
    if (request.method === 'HEAD') response.end();
  }

  return [
    [
      /^\/api\/session$/,
      {
        method: 'GET',
        isOpen: true,
        run({ request, response, visitor }) {
          sendReply(
            response,
            done({ password_required: entry.asks(visitor), signed_in: isIn(request, visitor) }),
          );
        },
      },
    ],
    [
      /^\/api\/login$/,
      {
        method: 'POST',
        isOpen: true,
        async run({ request, response, visitor }) {
          const cookie = entry.login(readLogin(await readJsonBody(request, MAX_LOGIN_BYTES)), visitor);
          sendReply(response, done(), cookie === null ? {} : { 'Set-Cookie': cookie });
        },
      },
    ],
    [
      /^\/api\/logout$/,
      {
        method: 'POST',
        isOpen: true,
        run({ request, response, visitor }) {
          sendReply(response, done(), { 'Set-Cookie': entry.logout(request, visitor) });
        },
      },
    ],
    [
      /^\/api\/feed$/,
      {
        method: 'GET',
        run: (call) => goOn(call, (onClose) => feed.open(call.response, onClose)),
      },
    ],
    [
      /^\/api\/spectrogram$/,
      {
        method: 'GET',
        run(call) {
          const source = call.query.get('source') ?? ONLY_SOURCE;
          if (spectrograms === null || !SOURCE_NAME.test(source)) throw nothingThere();
          goOn(call, (onClose) => spectrograms.open(source, call.response, onClose));
        },
      },
    ],
    [
      /^\/api\/clips\/([^/]*)$/,
      {
        method: 'GET',
        async run({ request, response }, [, id = '']) {
          const clip = CLIP_ID.test(id) ? await options.findClip(id) : null;
          if (clip === null) throw nothingThere();
          await sendClip(clip, request, response);
        },
      },
    ],
    [
      /^\/api\/openapi\.json$/,
      {
        method: 'GET',
        run({ path, request, response }) {
          if (!files.answer(path, request, response)) throw nothingThere();
        },
      },
    ],
    [
      /^\/api\/request\/([\w/-]{1,64})$/,
      {
        method: 'POST',
        async run({ request, response }, [, command = '']) {
          const body = await readJsonBody(request, MAX_REQUEST_BYTES);
          sendReply(response, await options.execute(command, body));
        },
      },
    ],
  ];

  function isIn(request: IncomingMessage, visitor: Visitor): boolean {
    try {
      entry.admit(request, visitor);
      return true;
    } catch {
      return false;
    }
  }
}

/** The password in the body of a login. Throws SoundpostError `invalid_payload` or `invalid_request`. */
function readLogin(body: Buffer): string {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new SoundpostError('invalid_payload', 'The body is not JSON.', { cause });
  }
  const parsed = loginSchema.safeParse(value);
  if (!parsed.success) throw new SoundpostError('invalid_request', 'The body has to be {"password": "…"}.');
  return parsed.data.password;
}
