import { connected, take, type Device, type FeedDocument } from '../model/device.js';
import type { Store } from '../lib/store.js';
import { addressOf, session } from './request.js';

/** The topics of the feed; each comes as an event of this name. */
const KEYS = [
  'status',
  'audio/status',
  'info',
  'state',
  'tags',
  'event',
  'label',
  'level',
  'source/tags',
  'source/label',
  'source/level',
  'source/audio/status',
  'telemetry',
  'log',
] as const;

/** A page that nobody sees lets go of its place after so long; browsers have few connections for each address. */
const HIDDEN_MS = 10_000;
const RETRY_MS = { first: 2000, most: 30_000 } as const;

/**
 * Keeps the device up to date for as long as the page is seen.
 * @param options.onSignedOut the session has ended
 * @returns what ends it
 */
export function followFeed(device: Store<Device>, options: { onSignedOut: () => void }): () => void {
  let source: EventSource | null = null;
  let retry: number | undefined;
  let hiding: number | undefined;
  let waitMs: number = RETRY_MS.first;
  let waiting: FeedDocument[] = [];
  let isScheduled = false;

  /** What comes in one go is drawn in one go. */
  function flush(): void {
    isScheduled = false;
    const documents = waiting;
    waiting = [];
    device.update((now) => documents.reduce(take, now));
  }
  function receive(key: string, message: MessageEvent<string>): void {
    waiting.push({ key, ...(JSON.parse(message.data) as Omit<FeedDocument, 'key'>) });
    if (isScheduled) return;
    isScheduled = true;
    queueMicrotask(flush);
  }
  const setConnection = (connection: Device['connection']): void =>
    device.update((now) => (now.connection === connection ? now : { ...now, connection }));

  function open(): void {
    if (source !== null) return;
    window.clearTimeout(retry);
    source = new EventSource(addressOf('api/feed'));
    source.addEventListener('open', () => device.update(connected));
    source.addEventListener('ready', () => {
      waitMs = RETRY_MS.first;
      setConnection('live');
    });
    for (const key of KEYS)
      source.addEventListener(key, (message) => receive(key, message as MessageEvent<string>));
    source.addEventListener('error', () => void broken());
  }
  function close(): void {
    source?.close();
    source = null;
    window.clearTimeout(retry);
  }
  async function broken(): Promise<void> {
    setConnection('lost');
    // It comes back by itself where the connection broke, but not where the server said no.
    if (source?.readyState !== EventSource.CLOSED) return;
    close();
    retry = window.setTimeout(() => open(), waitMs);
    waitMs = Math.min(RETRY_MS.most, 2 * waitMs);
    const now = await session().catch(() => null);
    if (now?.signed_in !== false || !now.password_required) return;
    close();
    options.onSignedOut();
  }
  function lookAround(): void {
    window.clearTimeout(hiding);
    if (document.visibilityState === 'visible') open();
    else hiding = window.setTimeout(close, HIDDEN_MS);
  }

  document.addEventListener('visibilitychange', lookAround);
  lookAround();
  return () => {
    document.removeEventListener('visibilitychange', lookAround);
    window.clearTimeout(hiding);
    close();
  };
}
