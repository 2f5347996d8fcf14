import { request as requestHttp, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { open } from 'node:fs/promises';
import type { EgressPolicy } from './egress-policy.js';

/** A playlist is short; its first entry stands near its beginning. */
const LOOK_BYTES = 8192;
const LOOK_MS = 5_000;
const MOST_REDIRECTS = 5;

const ADDRESS = /[a-z][a-z0-9+.-]*:\/\/[^\s"'<>]+/i;

/**
 * Whether a text is a playlist that only names other addresses (M3U, PLS, ASX, XSPF), and the first of them; null
 * where it is none, and `entry` is null where it names files instead. HLS (an M3U with `#EXT-X-` lines) is none of
 * these: ffmpeg plays it.
 */
export function playlistIn(text: string): { entry: string | null } | null {
  const lines = text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const [first = ''] = lines;
  if (lines.some((line) => line.startsWith('#EXT-X-'))) return null;
  const entries = lines.filter((line) => !line.startsWith('#'));
  const isM3u = first.startsWith('#EXTM3U') || ADDRESS.exec(entries[0] ?? '')?.index === 0;
  const isOther =
    /^\[playlist\]/i.test(first) ||
    /^<asx\b/i.test(first) ||
    /^(<\?xml[^>]*>\s*)?<playlist\b/i.test(lines.join(' '));
  if (!isM3u && !isOther) return null;
  // The name space of an XSPF is an address as well, and no entry.
  const named = /<location>\s*([^<\s]+)/i.exec(text)?.[1] ?? /href\s*=\s*["']([^"']+)/i.exec(text)?.[1];
  return { entry: ADDRESS.exec(named ?? entries.join('\n'))?.[0] ?? null };
}

/** What a file that cannot be read as sound begins with, as text. Empty where it cannot be read at all. */
export async function beginningOfFile(path: string): Promise<string> {
  try {
    const file = await open(path, 'r');
    try {
      const bytes = Buffer.alloc(LOOK_BYTES);
      const { bytesRead } = await file.read(bytes, 0, LOOK_BYTES, 0);
      return bytes.toString('utf8', 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch {
    return '';
  }
}

/** What an HTTP address gives, from its beginning, as text. Empty where it gives nothing, or nothing in time. */
export async function beginningOfStream(
  address: string,
  egress: EgressPolicy,
  signal: AbortSignal,
): Promise<string> {
  const limited = AbortSignal.any([signal, AbortSignal.timeout(LOOK_MS)]);
  try {
    let url = new URL(address);
    for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects += 1) {
      const response = await answerOf(url, egress, limited);
      const { location } = response.headers;
      if (location === undefined) return await beginningOf(response);
      response.destroy();
      url = new URL(location, url);
    }
  } catch {
    // It was only to say more precisely what is wrong.
  }
  return '';
}

async function answerOf(url: URL, egress: EgressPolicy, signal: AbortSignal): Promise<IncomingMessage> {
  const [host = ''] = await egress.addressesOf(url.hostname);
  const isTls = url.protocol === 'https:';
  return new Promise((resolve, reject) => {
    const request = (isTls ? requestHttps : requestHttp)(
      url,
      {
        // To the address that was judged, whatever the name means by now.
        lookup: (_, options, done) => {
          const family = host.includes(':') ? 6 : 4;
          if (options.all === true) done(null, [{ address: host, family }]);
          else done(null, host, family);
        },
        signal,
        agent: false,
        // As ffmpeg: cameras sign their certificates themselves.
        ...(isTls && { rejectUnauthorized: false }),
      },
      resolve,
    );
    request.on('error', reject).end();
  });
}

async function beginningOf(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of response) {
    parts.push(part as Buffer);
    length += (part as Buffer).length;
    if (length >= LOOK_BYTES) break;
  }
  return Buffer.concat(parts).toString('utf8', 0, LOOK_BYTES);
}
