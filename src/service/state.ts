import type { GivenUp } from '../inference/second-chance.js';
import type { InstalledModel } from '../models/registry.js';
import { isoTime, type StatePayload } from '../mqtt/contract.js';
import { labelNames, type Wishes } from './remembered.js';

/** What the service does now, in one place: the payload of `B/state`. */
export interface StateHolder {
  readonly now: Readonly<StatePayload>;
  /** Changes some of it and tells the listener, once for all that changed. */
  change(part: Partial<StatePayload>): void;
}

export function createState(initial: StatePayload, onChange: (state: StatePayload) => void): StateHolder {
  let now = initial;
  return {
    get now() {
      return now;
    },
    change(part) {
      now = { ...now, ...part };
      onChange(now);
    },
  };
}

/** Above what anybody watches by name, and below what a broker takes. */
const MAX_STATE_LABELS = 300;

/** The state as it is published: so short that every broker takes it. */
export function shownState(state: StatePayload): StatePayload {
  const { labels } = state;
  if (labels.length <= MAX_STATE_LABELS) return state;
  return {
    ...state,
    labels: labels.slice(0, MAX_STATE_LABELS),
    labels_omitted: labels.length - MAX_STATE_LABELS,
  };
}

/** What `B/state` says of a model that was given up, while `atWork` answers. */
export function standIn(givenUp: GivenUp | null, atWork: InstalledModel): StatePayload['stand_in'] {
  if (givenUp === null || givenUp.model.folder === atWork.folder) return null;
  const { model, reason, retryAtMs } = givenUp;
  return { for: model.manifest.id, reason, retry_at: isoTime(retryAtMs) };
}

/** The state before the model is loaded. */
export function initialState(wishes: Wishes, source: StatePayload['source']): StatePayload {
  const { rateHz, paused, tagging, audioDevice } = wishes;
  return {
    model: null,
    rate_hz: rateHz,
    effective_rate_hz: rateHz,
    paused,
    threshold: tagging.threshold,
    labels: labelNames(tagging.labels),
    source,
    audio_device: source === 'microphone' && audioDevice !== '' ? String(audioDevice) : null,
    telemetry_interval_seconds: wishes.telemetryIntervalSeconds,
    throttle: { active: false, reason: null },
    swap: { state: 'idle', model: null, progress: null },
    stand_in: null,
  };
}
