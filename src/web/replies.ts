import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ErrorCode } from '../common/error-codes.js';
import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import type { ResponsePayload } from '../mqtt/contract.js';
import { WEB_LIMITS } from './limits.js';

/** With every reply: a page that was taken over could load nothing from elsewhere, and tell nobody. */
export const SECURITY_HEADERS = {
  'Content-Security-Policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "font-src 'self'",
    "media-src 'self'",
    "connect-src 'self'",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    // Home Assistant shows the page in a frame, from its own address.
    "frame-ancestors 'self'",
  ].join('; '),
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'SAMEORIGIN',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), geolocation=(), microphone=()',
} as const;

const statusOf: Partial<Record<ErrorCode, number>> = {
  invalid_payload: 400,
  invalid_request: 400,
  not_signed_in: 401,
  password_wrong: 401,
  origin_refused: 403,
  unknown_command: 404,
  no_such_path: 404,
  method_refused: 405,
  too_large: 413,
  not_json: 415,
  host_refused: 421,
  busy: 429,
  too_many_attempts: 429,
  internal: 500,
  shutting_down: 503,
  too_many_viewers: 503,
  timeout: 504,
};

/** The status of HTTP that goes with a reply. What a command could not do, though the request was right, is 422. */
export function httpStatusOf(reply: ResponsePayload): number {
  if (reply.status === 'ok') return 200;
  return statusOf[reply.error.code as ErrorCode] ?? 422;
}

/** An error in the form of a reply to a command. */
export function errorReply(error: unknown): ResponsePayload {
  return { status: 'error', error: { code: codeOf(error), message: messageOf(error) }, data: {} };
}

/** Sends a whole reply, and gives it up where it is not taken. */
export function send(
  response: ServerResponse,
  status: number,
  headers: Record<string, string | number>,
  body?: Buffer,
): void {
  if (response.headersSent || response.destroyed) return;
  response.setTimeout(WEB_LIMITS.replyMs, () => response.destroy());
  response.writeHead(status, { ...headers, ...(body !== undefined && { 'Content-Length': body.length }) });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}

/** Sends a document that nobody keeps. */
export function sendReply(
  response: ServerResponse,
  reply: ResponsePayload,
  headers: Record<string, string | number> = {},
): void {
  const json = { 'Content-Type': 'application/json; charset=utf-8', 'Cache-Control': 'no-store' };
  send(response, httpStatusOf(reply), { ...json, ...headers }, Buffer.from(JSON.stringify(reply)));
}

/** The body of a request. Rejects with `too_large`, or with what broke the connection. */
function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let parts: Buffer[] = [];
    let bytes = 0;
    // What is too much is taken and thrown away, for who is still sending does not read a reply.
    request.on('data', (part: Buffer) => {
      bytes += part.length;
      if (bytes <= maxBytes) {
        parts.push(part);
        return;
      }
      parts = [];
      const message = `The request has more than ${maxBytes} bytes, which is the limit.`;
      reject(new SoundpostError('too_large', message));
    });
    request.on('end', () => resolve(Buffer.concat(parts)));
    request.on('error', reject);
    request.on('close', () => reject(new Error('the request broke off')));
  });
}

/**
 * The body of a request, which has to be JSON where there is one: a form of another page cannot say that of itself.
 * Rejects with `not_json` or `too_large`.
 */
export async function readJsonBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const type = request.headers['content-type'];
  const isJson = /^application\/json\s*(;|$)/i.test(type ?? '');
  const refused = (): SoundpostError =>
    new SoundpostError('not_json', 'Send the request with "Content-Type: application/json".');
  if (type !== undefined && !isJson) throw refused();
  const body = await readBody(request, maxBytes);
  if (body.length > 0 && !isJson) throw refused();
  return body;
}
