import { PACKET_OVERHEAD } from './outgoing.js';

/** Stands for the length of a topic where only the text is counted, in bytes. */
const TOPIC_BYTES = 256;

/** How long a text may be to be sure to be taken. */
export interface TextLimit {
  /** The largest packet that is surely taken, in bytes; Infinity while no limit is known. */
  setPacket(bytes: number): void;
  /** Calls back, at once and on every change, with the most bytes of a text. */
  listen(callback: (bytes: number) => void): void;
}

export function createTextLimit(): TextLimit {
  const listeners = new Set<(bytes: number) => void>();
  let limit = Infinity;

  return {
    setPacket(bytes) {
      const next = Math.max(0, bytes - PACKET_OVERHEAD - TOPIC_BYTES);
      if (next === limit) return;
      limit = next;
      for (const listener of listeners) listener(next);
    },
    listen(callback) {
      listeners.add(callback);
      callback(limit);
    },
  };
}
