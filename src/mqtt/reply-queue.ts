import type { Logger } from '../common/log.js';
import { packetBytes, type Outgoing } from './outgoing.js';

/** Replies that wait, and their bytes: what a burst of thousands of requests leaves behind while the broker takes it. */
const MAX_REPLIES = 20_000;
const MAX_REPLY_BYTES = 8 * 1024 * 1024;

/** Replies that wait for the broker, the oldest first, and those that are on their way to it. */
export interface ReplyQueue {
  /** False where there is no room: those that wait are older, and were asked for first. It is counted then. */
  add(message: Outgoing): boolean;
  /** In order. May be changed while it is gone through. */
  waiting(): Iterable<Outgoing>;
  /** Gives one up. */
  drop(message: Outgoing): void;
  /** Takes one out of the line: it is on its way, until it is settled. */
  begin(message: Outgoing): void;
  settled(message: Outgoing): void;
  /** The connection is gone: what was on its way comes first again. */
  restart(): void;
  readonly onTheirWay: number;
  /** Replies for which there was no room. */
  readonly lost: number;
}

/** @param options `maxReplies` and `maxBytes` (of whole packets) are overrides for tests */
export function createReplyQueue(options: {
  log: Logger;
  maxReplies?: number;
  maxBytes?: number;
}): ReplyQueue {
  const { log, maxReplies = MAX_REPLIES, maxBytes = MAX_REPLY_BYTES } = options;
  let replies = new Set<Outgoing>();
  let bytes = 0;
  const onTheirWay = new Set<Outgoing>();
  let lost = 0;

  function put(message: Outgoing): void {
    replies.add(message);
    bytes += packetBytes(message);
  }

  function drop(message: Outgoing): void {
    if (replies.delete(message)) bytes -= packetBytes(message);
  }

  return {
    add(message) {
      if (replies.size < maxReplies && bytes < maxBytes) {
        put(message);
        return true;
      }
      if (lost === 0) {
        log.warn(
          { code: 'replies_lost' },
          'So many replies are waiting for the broker that further ones are dropped; telemetry counts them',
        );
      }
      lost += 1;
      return false;
    },
    waiting: () => replies,
    drop,
    begin(message) {
      drop(message);
      onTheirWay.add(message);
    },
    settled: (message) => void onTheirWay.delete(message),
    restart() {
      const inOrder = [...onTheirWay, ...replies];
      replies = new Set();
      bytes = 0;
      onTheirWay.clear();
      for (const message of inOrder) put(message);
    },
    get onTheirWay() {
      return onTheirWay.size;
    },
    get lost() {
      return lost;
    },
  };
}
