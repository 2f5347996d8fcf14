import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { WEB_LIMITS } from './limits.js';
import { send } from './replies.js';

/** A recording around an event. */
export interface Clip {
  /** Such as `audio/flac`. */
  contentType: string;
  /** What it is saved as. */
  fileName: string;
  bytes: number;
  /** Its bytes from `start` to `end`, both with it. */
  read(start: number, end: number): Readable;
}

/** What ids of clips are made of; what has anything else in it is asked for nowhere. */
export const CLIP_ID = /^[\w-]{1,128}$/;

/** Sends a clip, or the part of it that is asked for, which is how browsers play and wind. */
export async function sendClip(
  clip: Clip,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const headers = {
    'Content-Type': clip.contentType,
    'Content-Disposition': `inline; filename="${clip.fileName.replace(/[^\w.-]/g, '_')}"`,
    'Accept-Ranges': 'bytes',
    'Cache-Control': 'no-store',
  };
  const range = readRange(request.headers.range, clip.bytes);
  if (range === 'unfit') {
    send(response, 416, { ...headers, 'Content-Range': `bytes */${clip.bytes}` });
    return;
  }
  const [start, end] = range ?? [0, clip.bytes - 1];
  response.setTimeout(WEB_LIMITS.replyMs, () => response.destroy());
  response.writeHead(range === null ? 200 : 206, {
    ...headers,
    'Content-Length': end - start + 1,
    ...(range !== null && { 'Content-Range': `bytes ${start}-${end}/${clip.bytes}` }),
  });
  if (request.method === 'HEAD' || clip.bytes === 0) response.end();
  else await pipeline(clip.read(start, end), response);
}

/**
 * The one range of a `Range` header: first and last byte. Null where all is to be sent, which is what a server may do
 * with several ranges and with what it does not understand.
 */
export function readRange(header: string | undefined, bytes: number): [number, number] | null | 'unfit' {
  const [, first, last] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? [];
  if (first === undefined || last === undefined || (first === '' && last === '')) return null;
  if (first === '')
    return Number(last) === 0 || bytes === 0 ? 'unfit' : [Math.max(0, bytes - Number(last)), bytes - 1];
  if (last !== '' && Number(last) < Number(first)) return null;
  if (Number(first) >= bytes) return 'unfit';
  return [Number(first), last === '' ? bytes - 1 : Math.min(Number(last), bytes - 1)];
}
