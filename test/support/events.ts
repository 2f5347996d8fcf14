import { isoTime, type EventPayload } from '../../src/mqtt/contract.js';

/** An event for tests, with `changes`; all of them have the same keys. */
export function eventWith(changes: Partial<EventPayload> & { id: string }): EventPayload {
  return {
    event_type: 'started',
    label: 'Dog',
    mid: '/m/0bt9lr',
    group: null,
    score: 0.8,
    peak: 0.9,
    started_at: isoTime(1_700_000_000_000),
    ended_at: null,
    duration_s: null,
    detected_at: isoTime(1_700_000_000_500),
    model: 'mn04_as',
    late: false,
    ...changes,
  };
}

/** The end of it, `seconds` later. */
export function endWith(started: EventPayload, seconds: number): EventPayload {
  return {
    ...started,
    event_type: 'ended',
    ended_at: isoTime(Date.parse(started.started_at) + 1000 * seconds),
    duration_s: seconds,
  };
}
