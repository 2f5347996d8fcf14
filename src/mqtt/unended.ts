import { epochMs, isoTime, type EventPayload } from './contract.js';
import type { Change } from './outbox-store.js';

/**
 * Sounds that have begun and not ended, as far as the store knows: what the next life has to end where this one
 * breaks off. What the store is to learn of an event is written with it; while the disk cannot be written to, events
 * leave memory without, and then it is owed.
 */
export interface Unended {
  /** An event has come: a sound is on from now on, or no longer. */
  came(event: EventPayload): void;
  /** The store has this of an earlier life. */
  found(id: string): void;
  /** What goes into the store together with this event. May be asked for again when a write has failed. */
  changesOf(event: EventPayload, text: string): Change[];
  /** The event is in the store. */
  wrote(event: EventPayload): void;
  /** The event leaves memory and was not written: it is acknowledged, or given up. */
  left(event: EventPayload, text: string): void;
  /** Changes that no event brings any more, for the next write, before those of its events. */
  owed(): Change[];
  /** These are in the store. */
  paid(changes: readonly Change[]): void;
  readonly owes: boolean;
  /** A sound is on. */
  readonly any: boolean;
}

export function createUnended(): Unended {
  const on = new Set<string>();
  /** Sounds that the store may know: a write that has failed may have arrived all the same. */
  const known = new Set<string>();
  /** Sounds whose `started` is in memory only, and whether their `ended` has left before it. */
  const unwritten = new Map<string, { over: boolean }>();
  const owed = new Map<string, Change>();

  return {
    came({ id, event_type }) {
      if (event_type === 'ended') {
        on.delete(id);
        return;
      }
      on.add(id);
      unwritten.set(id, { over: false });
    },
    found: (id) => void known.add(id),
    changesOf({ id, event_type }, text) {
      if (event_type === 'ended') return [{ end: id }];
      if (unwritten.get(id)?.over === true) return [];
      known.add(id);
      return [{ begin: id, text }];
    },
    wrote({ id, event_type }) {
      const change = owed.get(id);
      if (event_type === 'ended') {
        known.delete(id);
        owed.delete(id);
      } else {
        unwritten.delete(id);
        // It left while it was being written.
        if (change !== undefined && 'begin' in change) owed.delete(id);
      }
    },
    left({ id, event_type }, text) {
      const start = unwritten.get(id);
      if (event_type === 'started') {
        unwritten.delete(id);
        if (start?.over !== true) owed.set(id, { begin: id, text });
        return;
      }
      if (start !== undefined) start.over = true;
      if (known.has(id)) owed.set(id, { end: id });
      else owed.delete(id);
    },
    owed() {
      for (const [id, change] of owed) if ('begin' in change) known.add(id);
      return [...owed.values()];
    },
    paid(changes) {
      const done = new Set(changes);
      for (const [id, change] of owed) {
        if (!done.has(change)) continue;
        owed.delete(id);
        if ('end' in change) known.delete(id);
      }
    },
    get owes() {
      return owed.size > 0;
    },
    get any() {
      return on.size > 0;
    },
  };
}

/**
 * The end of a sound that was on when the service broke off: at `aliveAt`, when it was last known to be at work (ms
 * since the epoch), with the scores of the beginning, for no later ones are known.
 */
export function endOf(started: EventPayload, aliveAt: number | null, nowMs: number): EventPayload {
  const begunAt = epochMs(started.started_at);
  const endedAt = Math.max(begunAt, aliveAt ?? begunAt);
  return {
    ...started,
    event_type: 'ended',
    ended_at: isoTime(endedAt),
    duration_s: (endedAt - begunAt) / 1000,
    detected_at: isoTime(nowMs),
    late: true,
  };
}
