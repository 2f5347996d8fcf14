import { setTimeout as delay } from 'node:timers/promises';
import { listen, localUrl } from '../common/listen.js';
import type { Logger } from '../common/log.js';
import { isLoopback } from '../common/loopback.js';
import type { ResponsePayload } from '../mqtt/contract.js';
import { listenError, unprotected } from './address.js';
import type { Clip } from './clips.js';
import { createBoundedServer } from './connections.js';
import { createEntry } from './entry.js';
import { createEventStreams } from './event-streams.js';
import { createFeed, type Feed } from './feed.js';
import { createHostCheck } from './hosts.js';
import { WEB_LIMITS, type WebLimits } from './limits.js';
import { createRoutes } from './routes.js';
import { createSpectrograms, type SpectrogramTap } from './spectrogram.js';
import { readStaticFiles, type StaticFiles } from './static-files.js';
import { createVisitorReader } from './visitor.js';

export interface WebOptions {
  host: string;
  /** 0 takes a free one. */
  port: number;
  /** Empty: nobody is asked, and only this machine and the ingress are let in. */
  password?: string;
  /** Other names and addresses by which browsers may call this device. */
  hosts?: readonly string[];
  /** Addresses of reverse proxies, whose `X-Forwarded-For` is believed. */
  proxies?: readonly string[];
  /** The address of Home Assistant's Supervisor, whose visitors are not asked for a password; null: there is none. */
  ingressFrom?: string | null;
  /** The page, built; null: there is none, and only the API answers. */
  pageFolder: string | null;
  /** The description of the API; null: there is none. */
  openApiFile: string | null;
  /** Carries out a request as one that came over MQTT; never rejects. */
  execute: (command: string, body: Uint8Array) => Promise<ResponsePayload>;
  /** Finds a clip by its id; left out where none are kept. */
  findClip?: (id: string) => Promise<Clip | null>;
  /** Left out where nothing is heard. */
  spectrogram?: SpectrogramTap;
  log: Logger;
  /** In place of those that hold everywhere, for tests. */
  limits?: Partial<WebLimits>;
  /** In ms, of a clock that is never set. */
  now?: () => number;
}

export interface Web extends Pick<Feed, 'publish' | 'retire'> {
  /**
   * Opens the door. Rejects with SoundpostError `web_unprotected` (others reach it and there is no password),
   * `port_in_use` or `web_failed`.
   */
  start(): Promise<{ url: string; port: number }>;
  counters(): WebCounters;
  /** Ends every reply and closes the port. Idempotent. */
  stop(): Promise<void>;
}

/** How many look on now, and how many viewers were dropped since the start because they did not read. */
export interface WebCounters {
  viewers: number;
  dropped: number;
}

/** How long replies that are under way may take to end, at the stop. */
const STOP_MS = 500;

/** The page's server. Documents that are published before it starts are kept for its viewers. */
export function createWeb(options: WebOptions): Web {
  const {
    host,
    password = '',
    ingressFrom = null,
    proxies = [],
    log,
    now = () => performance.now(),
  } = options;
  const limits = { ...WEB_LIMITS, ...options.limits };
  let dropped = 0;
  const onDropped = (): void => {
    dropped += 1;
    log.info({}, 'A viewer of the page that did not read any more was dropped');
  };
  const feeds = createEventStreams({ onDropped, limits });
  const pictures = createEventStreams({ onDropped, limits });
  const feed = createFeed(feeds, log, now);
  let files: StaticFiles = { answer: () => false };
  let port = options.port;

  const isLocal = isLoopback(host);
  const server = createBoundedServer({
    handle: createRoutes({
      files: { answer: (path, request, response) => files.answer(path, request, response) },
      isOwnHost: createHostCheck(host, options.hosts ?? []),
      visitorOf: createVisitorReader(proxies, ingressFrom),
      entry: createEntry({ password, port: () => port, log, now }),
      feed,
      spectrograms:
        options.spectrogram === undefined ? null : createSpectrograms(pictures, options.spectrogram),
      findClip: options.findClip ?? (() => Promise.resolve(null)),
      execute: options.execute,
      log,
    }),
    shared: ingressFrom === null ? proxies : [...proxies, ingressFrom],
    onlyFrom: isLocal || password !== '' ? null : ingressFrom,
    limits,
  });

  let stopped: Promise<void> | null = null;
  async function close(): Promise<void> {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    feeds.closeAll();
    pictures.closeAll();
    server.closeIdleConnections();
    await Promise.race([closed, delay(STOP_MS)]);
    server.closeAllConnections();
    await closed;
  }

  return {
    publish: (...document) => feed.publish(...document),
    retire: (...topic) => feed.retire(...topic),
    async start() {
      if (!isLocal && password === '' && ingressFrom === null) throw unprotected(host);
      files = await readStaticFiles(
        options.pageFolder,
        options.openApiFile === null ? {} : { '/api/openapi.json': options.openApiFile },
      );
      await listen(server, host, options.port).catch((error: unknown) => {
        throw listenError(error, host, options.port);
      });
      server.on('error', (error) =>
        log.error({ code: 'web_failed', err: error }, `The server of the page failed: ${error.message}`),
      );
      const place = localUrl('http', server, host);
      port = place.port;
      return place;
    },
    counters: () => ({ viewers: feeds.count + pictures.count, dropped }),
    stop: () => (stopped ??= close()),
  };
}
