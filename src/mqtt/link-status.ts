import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';

export type LinkStatus =
  | { state: 'connecting' }
  | { state: 'connected'; protocolVersion: 4 | 5 }
  /** `refused`: a person has to change something (credentials, certificate, a second device with this id). */
  | { state: 'offline' | 'refused'; code: string; reason: string }
  | { state: 'stopped' };

/** The present status, and who wants to know of it. */
export interface StatusBoard {
  /** Tells everybody; what a listener throws is logged and goes no further. */
  set(status: LinkStatus): void;
  /** Calls back on every change, at once with the present status; returns the way to unsubscribe. */
  listen(callback: (status: LinkStatus) => void): () => void;
  /** Nobody is told any more. */
  clear(): void;
}

export function createStatusBoard(log: Logger): StatusBoard {
  const listeners = new Set<(status: LinkStatus) => void>();
  let status: LinkStatus = { state: 'offline', code: 'not_started', reason: 'not started' };

  return {
    set(next) {
      status = next;
      for (const listener of listeners) {
        try {
          listener(next);
        } catch (error) {
          log.error(
            { code: 'listener_failed', err: error },
            `A listener to the MQTT status failed: ${messageOf(error)}`,
          );
        }
      }
    },
    listen(callback) {
      listeners.add(callback);
      callback(status);
      return () => listeners.delete(callback);
    },
    clear: () => listeners.clear(),
  };
}
