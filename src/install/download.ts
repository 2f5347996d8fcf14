import { open, rename, rm, stat, statfs, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { writeFileAtomic } from '../common/atomic-file.js';
import { codeOfErrno } from '../common/errno.js';
import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import { megabytes } from '../common/size-text.js';
import { readSmallText } from '../models/files.js';
import { hostIsAmong, shownUrl } from './hosts.js';

export interface DownloadRequest {
  /** http or https; a user name and a password in it are sent to its host only. */
  url: URL;
  /** Where the complete file goes; `<path>.part` beside it holds what has come so far. The folder has to be there. */
  path: string;
  /** Hosts that a redirect may lead to, besides the address's own. */
  allowedHosts: readonly string[];
  /** Asked before every request, those after redirects included; throws where it must not be made. */
  permit?: (url: URL) => Promise<void>;
  /** How large the file is, where that is known (or nearly known) before asking. */
  expectedBytes?: number | null;
  /** Room on the disk that has to be left when the file has come. */
  reserveBytes?: number;
  /** More is not taken. */
  maxBytes?: number;
  /** `total` is null where the server does not say. */
  onProgress?: (done: number, total: number | null) => void;
  signal?: AbortSignal;
}

/** What may be set otherwise in tests and on odd networks. */
export interface DownloadTuning {
  /** A server that sends nothing for so long has stalled. */
  stallMs: number;
  /** A server that gives less than so many bytes in such a time holds up whoever wants something else. */
  slow: { bytes: number; ms: number };
  /** All tries together. */
  deadlineMs: number;
  /** Before the second, third, … try. A try that brought something does not count. */
  retryDelaysMs: readonly number[];
  /** Bytes that can be written in a folder. */
  freeBytes: (folder: string) => Promise<number>;
}

const DEFAULTS: DownloadTuning = {
  stallMs: 30_000,
  // 4 KB/s: 350 MB would take a day.
  slow: { bytes: 240_000, ms: 60_000 },
  deadlineMs: 5 * 3600 * 1000,
  retryDelaysMs: [1000, 4000, 10_000],
  freeBytes: async (folder) => {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  },
};

const MAX_REDIRECTS = 5;
const DEFAULT_MAX_BYTES = 4 * 2 ** 30;
const DEFAULT_RESERVE_BYTES = 32 * 2 ** 20;

/** What was noted of a download that has begun, so that the rest of the same file can be asked for later. */
const noteSchema = z.object({ url: z.string(), validator: z.string() });

/** Worth another try: the next one may go through. */
class Interrupted extends SoundpostError {}

/**
 * Fetches a file. One that broke off, now or in an earlier call, is gone on with where the server allows it and
 * still has the same file (`Range` with `If-Range`); else it begins anew. What comes is not checked here.
 * @returns the number of bytes.
 * @throws SoundpostError `offline` (no way to the server), `download_refused` (404 and the like),
 * `download_cut` (broke off again and again), `download_stalled`, `redirect_refused`, `disk_full`,
 * `download_too_large`, `aborted`. What has come so far is kept, except where the disk is full.
 */
export async function download(
  request: DownloadRequest,
  tuning: Partial<DownloadTuning> = {},
): Promise<{ bytes: number }> {
  const settings = { ...DEFAULTS, ...tuning };
  const until = performance.now() + settings.deadlineMs;
  let failures = 0;
  let everCame = false;
  for (;;) {
    const before = await sizeOf(partOf(request.path));
    try {
      return await attempt(request, settings, until);
    } catch (error) {
      throwIfAborted(request);
      if (codeOf(error) === 'disk_full') await forget(request.path);
      const came = (await sizeOf(partOf(request.path))) > before;
      everCame ||= came;
      failures = came ? 1 : failures + 1;
      const pause = settings.retryDelaysMs[failures - 1];
      // A network that was there a moment ago may be there again in a moment.
      const worthATry = error instanceof Interrupted || (everCame && codeOf(error) === 'offline');
      if (!worthATry || pause === undefined) throw error;
      await delay(pause, undefined, { signal: request.signal }).catch(() => throwIfAborted(request));
    }
  }
}

const partOf = (path: string) => `${path}.part`;
const noteOf = (path: string) => `${path}.part.json`;

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0;
}

/** Removes what has come of a file so far. */
export async function forget(path: string): Promise<void> {
  await rm(partOf(path), { force: true });
  await rm(noteOf(path), { force: true });
}

async function attempt(
  request: DownloadRequest,
  settings: DownloadTuning,
  until: number,
): Promise<{ bytes: number }> {
  throwIfAborted(request);
  const stall = stallGuard(request, settings, until);
  try {
    return await transfer(request, settings, stall);
  } catch (error) {
    throwIfAborted(request);
    throw stall.fired() ?? explain(error, request);
  } finally {
    stall.end();
  }
}

async function transfer(
  request: DownloadRequest,
  settings: DownloadTuning,
  stall: StallGuard,
): Promise<{ bytes: number }> {
  const { url, path, maxBytes = DEFAULT_MAX_BYTES } = request;
  const { from, validator } = await resumable(request);
  await checkRoom(request, settings, (request.expectedBytes ?? 0) - from);

  const headers: Record<string, string> = { 'accept-encoding': 'identity' };
  if (from > 0) Object.assign(headers, { range: `bytes=${from}-`, 'if-range': validator });
  const response = await follow(request, headers, stall.signal);
  try {
    const start = rangeStart(response, from);
    if (start === null) {
      // The rest that was asked for does not exist: what lies here is not the beginning of what lies there.
      await forget(path);
      throw new Interrupted(
        'download_cut',
        `${shownUrl(url)}: the server no longer has the file that was begun.`,
      );
    }
    const length = contentLength(response);
    const total = length === null ? null : start + length;
    if (total !== null && total > maxBytes) throw tooLarge(url, maxBytes);
    await checkRoom(request, settings, total === null ? 0 : total - start);
    await noteDown(request, response);

    const file = await open(partOf(path), start === 0 ? 'w' : 'r+');
    let done = start;
    try {
      await file.truncate(start);
      request.onProgress?.(done, total);
      for await (const chunk of response.body ?? []) {
        stall.touch((chunk as Uint8Array).length);
        done += (chunk as Uint8Array).length;
        if (done > maxBytes) throw tooLarge(url, maxBytes);
        await writeAll(file, chunk as Uint8Array, done - (chunk as Uint8Array).length);
        request.onProgress?.(done, total);
      }
      if (total !== null && done !== total) throw cut(url, done, total);
      await file.sync();
    } finally {
      await file.close();
    }
    return await finish(path, done);
  } finally {
    // An answer that is not read to its end would keep its connection.
    await response.body?.cancel().catch(() => undefined);
  }
}

async function finish(path: string, bytes: number): Promise<{ bytes: number }> {
  await rename(partOf(path), path);
  await rm(noteOf(path), { force: true });
  return { bytes };
}

async function writeAll(file: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let offset = 0; offset < chunk.length;) {
    const { bytesWritten } = await file.write(chunk, offset, chunk.length - offset, position + offset);
    offset += bytesWritten;
  }
}

/** Where to go on: only with the same address and with a mark by which the server knows the file again. */
async function resumable({ url, path }: DownloadRequest): Promise<{ from: number; validator: string }> {
  const afresh = { from: 0, validator: '' };
  try {
    const text = await readSmallText(noteOf(path), 1 << 16, 'download_note');
    const note = noteSchema.parse(JSON.parse(text));
    if (note.url !== shownUrl(url) || note.validator === '') return afresh;
    return { from: await sizeOf(partOf(path)), validator: note.validator };
  } catch {
    return afresh;
  }
}

async function noteDown({ url, path }: DownloadRequest, response: Response): Promise<void> {
  const etag = response.headers.get('etag') ?? '';
  // A weak mark only says that the contents mean the same, not that the bytes are.
  const validator =
    etag !== '' && !etag.startsWith('W/') ? etag : (response.headers.get('last-modified') ?? '');
  await writeFileAtomic(noteOf(path), JSON.stringify({ url: shownUrl(url), validator }), { durable: false });
}

/** Where in the file the answer begins; null where it does not go on from what is there. */
function rangeStart(response: Response, from: number): number | null {
  if (response.status === 200) return 0;
  if (response.status !== 206) return null;
  const match = /^bytes (\d+)-\d+\/(?:\d+|\*)$/.exec(response.headers.get('content-range') ?? '');
  return match !== null && Number(match[1]) === from ? from : null;
}

function contentLength(response: Response): number | null {
  const text = response.headers.get('content-length') ?? '';
  return /^\d{1,15}$/.test(text) ? Number(text) : null;
}

/** Asks, and goes after redirects as far as they may lead. */
async function follow(
  request: DownloadRequest,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Response> {
  let url = new URL(request.url);
  const authorization = authorizationOf(url);
  url.username = url.password = '';
  const first = url;
  for (let redirects = 0; ; redirects += 1) {
    await request.permit?.(url);
    const own = url.host === first.host && authorization !== null ? { authorization } : {};
    const response = await fetch(url, { headers: { ...headers, ...own }, redirect: 'manual', signal });
    const location = response.headers.get('location');
    const redirected = response.status >= 300 && response.status < 400 && location !== null;
    if (!redirected) {
      if ([200, 206, 416].includes(response.status)) return response;
      await response.body?.cancel().catch(() => undefined);
      throw refused(url, response.status);
    }
    await response.body?.cancel().catch(() => undefined);
    if (redirects === MAX_REDIRECTS) {
      throw redirectRefused(url, `it leads on and on (more than ${MAX_REDIRECTS} times)`);
    }
    if (!URL.canParse(location, url.href))
      throw redirectRefused(url, 'it leads to something that is no address');
    url = checkRedirect(url, new URL(location, url), first, request.allowedHosts);
  }
}

function checkRedirect(from: URL, to: URL, first: URL, allowedHosts: readonly string[]): URL {
  if (to.protocol !== 'https:' && to.protocol !== 'http:') {
    throw redirectRefused(from, `it leads to ${to.protocol}, which is not the web`);
  }
  if (from.protocol === 'https:' && to.protocol === 'http:') {
    throw redirectRefused(from, 'it leads from https to http, where anybody on the way can change the file');
  }
  if (to.hostname !== first.hostname && !hostIsAmong(to, allowedHosts)) {
    throw redirectRefused(
      from,
      `it leads to the host ${to.hostname}, which is not allowed. If that is right, add it to models.allowed_hosts`,
    );
  }
  to.username = to.password = '';
  return to;
}

/** The user and the password of an address, null where it has none; undefined: they are not encoded as they should be. */
export function credentialsOf({ username, password }: URL): string | null | undefined {
  if (username === '' && password === '') return null;
  try {
    return `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  } catch {
    return undefined;
  }
}

export const CREDENTIALS_ADVICE =
  'the user name or the password in the address has a "%" that encodes nothing: write it as %25.';

function authorizationOf(url: URL): string | null {
  const plain = credentialsOf(url);
  if (plain === undefined) {
    throw new SoundpostError('download_refused', `${url.host} was not asked: ${CREDENTIALS_ADVICE}`);
  }
  return plain === null ? null : `Basic ${Buffer.from(plain).toString('base64')}`;
}

async function checkRoom(request: DownloadRequest, settings: DownloadTuning, bytes: number): Promise<void> {
  const folder = dirname(request.path);
  const needed = Math.max(0, bytes) + (request.reserveBytes ?? DEFAULT_RESERVE_BYTES);
  const free = await settings.freeBytes(folder);
  if (free >= needed) return;
  throw new SoundpostError(
    'disk_full',
    `There is not enough room for this in ${folder}: ${megabytes(needed)} are needed, ${megabytes(free)} are free. Remove a model ("npx soundpost models remove ID") or make room otherwise.`,
  );
}

interface StallGuard {
  readonly signal: AbortSignal;
  touch(bytes: number): void;
  /** The error where the server has been silent for too long. */
  fired(): SoundpostError | undefined;
  end(): void;
}

function stallGuard({ url, signal }: DownloadRequest, settings: DownloadTuning, until: number): StallGuard {
  const { stallMs, slow } = settings;
  const controller = new AbortController();
  let error: SoundpostError | undefined;
  let came = 0;
  const end = (why: SoundpostError) => {
    error ??= why;
    controller.abort(error);
  };
  const silence = setTimeout(
    () =>
      end(
        new Interrupted(
          'download_stalled',
          `${url.host} has sent nothing for ${stallMs / 1000} s. What has come is kept: pull again to go on with it.`,
        ),
      ),
    stallMs,
  );
  const rate = setInterval(() => {
    // Another try would bring no more: whoever waits behind it comes first.
    if (came < slow.bytes) end(tooSlow(url, came, slow.ms));
    came = 0;
  }, slow.ms);
  const deadline = setTimeout(
    () =>
      end(
        new SoundpostError(
          'download_stalled',
          `The download from ${url.host} took longer than ${(settings.deadlineMs / 3.6e6).toFixed(1)} h and was given up. What has come is kept: pull again to go on with it.`,
        ),
      ),
    Math.max(0, until - performance.now()),
  );
  const onAbort = () => controller.abort();
  signal?.addEventListener('abort', onAbort, { once: true });
  return {
    signal: controller.signal,
    touch(bytes) {
      came += bytes;
      silence.refresh();
    },
    fired: () => error,
    end() {
      clearTimeout(silence);
      clearInterval(rate);
      clearTimeout(deadline);
      signal?.removeEventListener('abort', onAbort);
      controller.abort();
    },
  };
}

function tooSlow(url: URL, bytes: number, ms: number): SoundpostError {
  return new SoundpostError(
    'download_stalled',
    `${url.host} is too slow: ${bytes} bytes came in ${ms / 1000} s. What has come is kept: pull again to go on with it.`,
  );
}

function throwIfAborted({ url, signal }: DownloadRequest): void {
  if (signal?.aborted !== true) return;
  throw new SoundpostError(
    'aborted',
    `The download from ${url.host} was called off; what has come is kept.`,
    {
      cause: signal.reason,
    },
  );
}

/** Faults of the name service and the network that say: there is no way to this server now. */
const NO_WAY = [
  'ENOTFOUND',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ETIMEDOUT',
];
const DISK_FULL = ['ENOSPC', 'EDQUOT'];

function explain(error: unknown, { url, path }: DownloadRequest): unknown {
  if (error instanceof SoundpostError) return error;
  if (DISK_FULL.includes(codeOfErrno(error))) {
    return new SoundpostError(
      'disk_full',
      `The disk is full: ${path} could not be written. Remove a model ("npx soundpost models remove ID") or make room otherwise.`,
      { cause: error },
    );
  }
  // fetch says "fetch failed" or "terminated" and keeps the reason to itself.
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  const code = codeOfErrno(cause);
  if (NO_WAY.includes(code) || code.startsWith('UND_ERR_CONNECT')) {
    return new SoundpostError(
      'offline',
      `${url.host} cannot be reached (${messageOf(cause)}). Check the network connection of this machine, or set models.mirror to a server or a folder that can be.`,
      { cause: error },
    );
  }
  if (code.includes('CERT') || code.startsWith('ERR_TLS') || code.startsWith('ERR_SSL')) {
    return new SoundpostError(
      'download_refused',
      `The certificate of ${url.host} is not trusted (${messageOf(cause)}). Check the clock of this machine, and who stands between it and the network.`,
      { cause: error },
    );
  }
  if (!(error instanceof TypeError)) {
    return new SoundpostError('disk_write', `${path} could not be written: ${messageOf(error)}.`, {
      cause: error,
    });
  }
  return new Interrupted(
    'download_cut',
    `The download from ${url.host} broke off (${messageOf(cause)}). What has come is kept: pull again to go on with it.`,
    { cause: error },
  );
}

function cut(url: URL, done: number, total: number): SoundpostError {
  return new Interrupted(
    'download_cut',
    `The download from ${url.host} broke off after ${done} of ${total} bytes. What has come is kept: pull again to go on with it.`,
  );
}

function refused(url: URL, status: number): SoundpostError {
  const where = shownUrl(url);
  if (status === 404 || status === 410) {
    return new SoundpostError('download_refused', `${where} does not exist (${status}).`);
  }
  if (status === 401 || status === 403) {
    return new SoundpostError('download_refused', `${where} may not be read (${status}).`);
  }
  const message = `${url.host} answered ${status} for ${where}.`;
  // The server is overloaded or being mended.
  if (status === 429 || status >= 500)
    return new Interrupted('download_refused', `${message} Try again later.`);
  return new SoundpostError('download_refused', message);
}

function redirectRefused(url: URL, why: string): SoundpostError {
  return new SoundpostError('redirect_refused', `The redirect of ${shownUrl(url)} was not followed: ${why}.`);
}

function tooLarge(url: URL, maxBytes: number): SoundpostError {
  return new SoundpostError('download_too_large', `${shownUrl(url)} is larger than ${megabytes(maxBytes)}.`);
}
