import type { ServerResponse } from 'node:http';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { contract, expiryOf, type OutKey, type Payload, type TopicArguments } from '../mqtt/contract.js';
import { topicBelow } from '../mqtt/topics.js';
import { eventText, type EventStream, type EventStreams } from './event-streams.js';

/** The documents of MQTT, for viewers. */
export interface Feed {
  /**
   * Takes a document as it goes to the broker; never throws, never waits. It must not be changed afterwards: where
   * nobody looks on it is only kept, and written as text when somebody comes.
   */
  publish<K extends OutKey>(key: K, payload: Payload<K>, ...parameters: TopicArguments<K>): void;
  /** The state of this topic will not change any more, and need not be told to who comes later. */
  retire<K extends OutKey>(key: K, ...parameters: TopicArguments<K>): void;
  /** Lets somebody look on. Throws SoundpostError `too_many_viewers`. */
  open(response: ServerResponse, onClose: () => void): EventStream;
}

interface Document {
  key: OutKey;
  topic: string;
  source: string | undefined;
  payload: unknown;
  /** In ms of the clock; Infinity: always. */
  expiresAt: number;
  /** As it goes over the line; made when somebody looks on. */
  text?: string;
}

/**
 * Keeps the newest of every retained topic, as a broker does, and hands on what comes. A viewer gets all that is kept,
 * then `ready`, then what is new. Documents of one turn of the event loop go out in one write, which all viewers share.
 * @param now in ms, of a clock that is never set
 */
export function createFeed(streams: EventStreams, log: Logger, now: () => number): Feed {
  const kept = new Map<string, Document>();
  const viewers = new Set<EventStream>();
  let fresh: string[] = [];

  function textOf(document: Document): string {
    const { key, topic, source, payload } = document;
    try {
      document.text ??= eventText(
        key,
        JSON.stringify({ topic, ...(source !== undefined && { source }), payload }),
      );
      return document.text;
    } catch (error) {
      log.error(
        { code: 'web_failed', err: error },
        `${topic} cannot be shown on the page: ${messageOf(error)}`,
      );
      return '';
    }
  }

  function flush(): void {
    if (fresh.length === 0) return;
    const bytes = Buffer.from(fresh.join(''));
    fresh = [];
    for (const viewer of viewers) viewer.send(bytes);
  }

  function snapshot(): Buffer {
    const texts = ['retry: 3000\n\n'];
    for (const document of kept.values()) if (document.expiresAt > now()) texts.push(textOf(document));
    texts.push(eventText('ready', '{}'));
    return Buffer.from(texts.join(''));
  }

  return {
    publish(key, payload, ...parameters) {
      // To each its own: who asked over HTTP is answered there.
      if (key === 'response') return;
      const { retain } = contract[key];
      if (!retain && viewers.size === 0) return;
      const values: Record<string, string> = parameters[0] ?? {};
      const topic = topicBelow(key, values);
      const expiresAt = now() + 1000 * (expiryOf(key, payload) ?? Infinity);
      const document: Document = { key, topic, source: values['source'], payload, expiresAt };
      if (retain) kept.set(topic, document);
      if (viewers.size === 0) return;
      if (fresh.length === 0) setImmediate(flush);
      fresh.push(textOf(document));
    },
    retire(key, ...parameters) {
      kept.delete(topicBelow(key, parameters[0] ?? {}));
    },
    open(response, onClose) {
      // What has come before is in the snapshot.
      flush();
      const viewer = streams.open(response, snapshot, () => {
        viewers.delete(viewer);
        onClose();
      });
      viewers.add(viewer);
      return viewer;
    },
  };
}
