import { epochMs, isoTime, type EventPayload } from './contract.js';
import type { Change } from './outbox-store.js';

/**
 * Sounds that have begun and not ended, as far as the store knows: what the next life has to end where this one
 * breaks off.
 */
export interface Unended {
  /** What goes into the store together with this event. May be asked for again when a write has failed. */
  changesOf(event: EventPayload, text: string): Change[];
  readonly any: boolean;
}

export function createUnended(): Unended {
  const ids = new Set<string>();
  return {
    changesOf(event, text) {
      const started = event.event_type === 'started';
      if (started) ids.add(event.id);
      else ids.delete(event.id);
      const change = started ? { begin: event.id, text } : { end: event.id };
      return ids.size > 0 ? [change, { alive: Date.now() }] : [change];
    },
    get any() {
      return ids.size > 0;
    },
  };
}

/**
 * The end of a sound that was on when the service broke off: at `aliveAt`, when it was last known to be at work (ms
 * since the epoch), with the scores of the beginning, for no later ones are known.
 */
export function endOf(started: EventPayload, aliveAt: number | null): EventPayload {
  const begunAt = epochMs(started.started_at);
  const endedAt = Math.max(begunAt, aliveAt ?? begunAt);
  return {
    ...started,
    event_type: 'ended',
    ended_at: isoTime(endedAt),
    duration_s: (endedAt - begunAt) / 1000,
    late: true,
  };
}
