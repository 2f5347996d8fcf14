import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname, join } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { messageOf, SoundpostError } from '../common/errors.js';
import { megabytes } from '../common/size-text.js';
import { WEB_LIMITS } from './limits.js';
import { send } from './replies.js';

/** The page's files, read once. What is not among them cannot be asked for, however the path is written. */
export interface StaticFiles {
  /** Answers with the file of a path; false where there is none. */
  answer(path: string, request: IncomingMessage, response: ServerResponse): boolean;
}

interface StaticFile {
  body: Buffer;
  /** Where that is smaller. */
  zipped: Buffer | undefined;
  headers: Record<string, string>;
  etag: string;
}

const types: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.webmanifest': 'application/manifest+json; charset=utf-8',
  '.svg': 'image/svg+xml; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
};

/** Such as `assets/index-DiwrgTda.js`: another content would have another name. */
const hashed = /^\/assets\/(.*[.-])?[\w-]{8,}\.\w+$/;
const compress = promisify(gzip);

/**
 * Reads the files of a folder and of those in it: plain files of known types, none that begin with a dot.
 * @param extra further files, by the path under which they are asked for
 */
export async function readStaticFiles(
  folder: string | null,
  extra: Readonly<Record<string, string>> = {},
): Promise<StaticFiles> {
  const files = new Map<string, StaticFile>();
  let bytes = 0;

  async function add(path: string, file: string): Promise<void> {
    const type = types[extname(file)];
    if (type === undefined) return;
    const body = await readFile(file);
    bytes += body.length;
    if (bytes > WEB_LIMITS.pageBytes) {
      throw new Error(`they have more than ${megabytes(WEB_LIMITS.pageBytes)}`);
    }
    const zipped = type.includes('charset') ? await compress(body) : undefined;
    files.set(path, {
      body,
      zipped: zipped !== undefined && zipped.length < body.length ? zipped : undefined,
      headers: {
        'Content-Type': type,
        'Cache-Control': hashed.test(path) ? 'public, max-age=31536000, immutable' : 'no-cache',
        Vary: 'Accept-Encoding',
      },
      etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`,
    });
  }

  async function read(inside: string): Promise<void> {
    if (folder === null) return;
    for (const entry of await readdir(join(folder, inside), { withFileTypes: true })) {
      if (entry.name.startsWith('.')) continue;
      if (entry.isDirectory()) await read(join(inside, entry.name));
      else if (entry.isFile()) await add(`/${join(inside, entry.name)}`, join(folder, inside, entry.name));
    }
  }

  try {
    await read('');
    for (const [path, file] of Object.entries(extra)) await add(path, file);
  } catch (cause) {
    throw new SoundpostError('web_failed', `The files of the page cannot be read: ${messageOf(cause)}`, {
      cause,
    });
  }
  const index = files.get('/index.html');
  if (index !== undefined) files.set('/', index);

  return {
    answer(path, request, response) {
      const file = files.get(path);
      if (file === undefined) return false;
      const takesZip = /\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))/i.test(
        request.headers['accept-encoding']?.toString() ?? '',
      );
      const isZipped = file.zipped !== undefined && takesZip;
      // Two forms of one file are two things to a cache.
      const etag = isZipped ? file.etag.replace(/"$/, '-gz"') : file.etag;
      const headers = { ...file.headers, ETag: etag, ...(isZipped && { 'Content-Encoding': 'gzip' }) };
      const known = (request.headers['if-none-match'] ?? '').split(/\s*,\s*/);
      if (known.some((tag) => tag.replace(/^W\//, '') === etag)) send(response, 304, headers);
      else send(response, 200, headers, isZipped ? file.zipped : file.body);
      return true;
    },
  };
}
