import type { GivenUp } from '../inference/second-chance.js';
import type { InstalledModel } from '../models/registry.js';
import { isoTime, type StatePayload } from '../mqtt/contract.js';
import type { ListeningTo } from './listening.js';
import { labelNames, type Wishes } from './remembered.js';
import { ofAll, type SourceSettings } from './source-state.js';

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
  const { sources } = state;
  if (sources === undefined) return withFewLabels(state, MAX_STATE_LABELS);
  const each = Math.floor(MAX_STATE_LABELS / sources.length);
  return {
    ...withFewLabels(state, MAX_STATE_LABELS),
    sources: sources.map((source) => withFewLabels(source, each)),
  };
}

function withFewLabels<T extends { labels: string[] }>(
  shown: T,
  most: number,
): T & { labels_omitted?: number } {
  const { labels } = shown;
  if (labels.length <= most) return shown;
  return { ...shown, labels: labels.slice(0, most), labels_omitted: labels.length - most };
}

/** What `B/state` says of a model that was given up, while `atWork` answers. */
export function standIn(givenUp: GivenUp | null, atWork: InstalledModel): StatePayload['stand_in'] {
  if (givenUp === null || givenUp.model.folder === atWork.folder) return null;
  const { model, reason, retryAtMs } = givenUp;
  return { for: model.manifest.id, reason, retry_at: isoTime(retryAtMs) };
}

/** The state before the model is loaded. */
export function initialState(
  wishes: Pick<Wishes, 'rateHz' | 'telemetryIntervalSeconds'>,
  to: readonly Pick<ListeningTo, 'config' | 'audio' | 'wishes'>[],
): StatePayload {
  const { rateHz } = wishes;
  const each = to.map(settingsOf);
  const [first] = each;
  const { kind } = to[0]!.audio;
  return {
    model: null,
    rate_hz: rateHz,
    effective_rate_hz: rateHz,
    ...(each.length === 1 ? first! : ofAll(each)),
    source: kind,
    telemetry_interval_seconds: wishes.telemetryIntervalSeconds,
    throttle: { active: false, reason: null },
    swap: { state: 'idle', model: null, progress: null },
    stand_in: null,
    learning: [],
    ...(each.length > 1 && {
      sources: to.map(({ config, audio }, index) => ({
        name: config.name,
        source: audio.kind,
        ...each[index]!,
        audio: 'offline' as const,
      })),
    }),
  };
}

function settingsOf({ audio, wishes }: Pick<ListeningTo, 'audio' | 'wishes'>): SourceSettings {
  const { paused, tagging, audioDevice } = wishes;
  return {
    paused,
    threshold: tagging.threshold,
    labels: labelNames(tagging.labels),
    audio_device: audio.kind === 'microphone' && audioDevice !== '' ? String(audioDevice) : null,
  };
}
