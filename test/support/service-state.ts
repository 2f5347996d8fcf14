import type { StatePayload } from '../../src/mqtt/contract.js';

/** `B/state` of a service that is at work. */
export function workingState(changes: Partial<StatePayload> = {}): StatePayload {
  return {
    model: 'soundpost-home',
    rate_hz: 1,
    effective_rate_hz: 1,
    paused: false,
    threshold: null,
    labels: [],
    source: 'microphone',
    audio_device: null,
    telemetry_interval_seconds: 30,
    throttle: { active: false, reason: null },
    swap: { state: 'idle', model: null, progress: null },
    ...changes,
  };
}
