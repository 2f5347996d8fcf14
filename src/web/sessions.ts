import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { WEB_LIMITS } from './limits.js';

/** Somebody who has given the password. */
export interface Session {
  /** Has something closed when the session ends; returns how to take that back. */
  onEnd(close: () => void): () => void;
}

export interface Sessions {
  /** Begins a session; returns what its cookie carries. */
  begin(): string;
  /** The session of a cookie, or null where it is over or never was. It is in use from now on. */
  find(token: string): Session | null;
  end(token: string): void;
}

/**
 * Sessions are kept in memory only, so that a restart ends them all, and the password is never written down in another
 * form. At most so many at once; the one unused for longest goes.
 * @param now in ms, of a clock that is never set
 */
export function createSessions(now: () => number): Sessions {
  interface Entry extends Session {
    begunMs: number;
    usedMs: number;
    closers: Set<() => void>;
  }
  /** By the hash of the token: how long a look takes says nothing about the tokens there are. */
  const entries = new Map<string, Entry>();

  function drop(key: string): void {
    const entry = entries.get(key);
    entries.delete(key);
    for (const close of entry?.closers ?? []) close();
  }

  return {
    begin() {
      const token = randomBytes(32).toString('base64url');
      const closers = new Set<() => void>();
      entries.set(digest(token).toString('hex'), {
        begunMs: now(),
        usedMs: now(),
        closers,
        onEnd(close) {
          closers.add(close);
          return () => closers.delete(close);
        },
      });
      if (entries.size > WEB_LIMITS.sessions) drop(entries.keys().next().value!);
      return token;
    },
    find(token) {
      const key = digest(token).toString('hex');
      const entry = entries.get(key);
      if (entry === undefined) return null;
      const at = now();
      if (at - entry.usedMs > WEB_LIMITS.sessionIdleMs || at - entry.begunMs > WEB_LIMITS.sessionMs) {
        drop(key);
        return null;
      }
      entry.usedMs = at;
      entries.delete(key);
      entries.set(key, entry);
      return entry;
    },
    end: (token) => drop(digest(token).toString('hex')),
  };
}

/** Compares what is given with the password, in a time that says nothing about it. */
export function passwordCheck(password: string): (given: string) => boolean {
  const wanted = digest(password);
  return (given) => timingSafeEqual(digest(given), wanted);
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
