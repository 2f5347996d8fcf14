import type { AudioStatus } from '../audio/source.js';
import type { StatePayload } from '../mqtt/contract.js';
import type { StateHolder } from './state.js';

/** What is set for one source and shown in `B/state`. */
export type SourceSettings = Pick<StatePayload, 'paused' | 'threshold' | 'labels' | 'audio_device'>;

/** What `B/state` says of one source: there is no other place in which it is kept. */
export interface SourceState {
  readonly now: Readonly<SourceSettings>;
  /** Changes some of it, and tells of it once. */
  change(part: Partial<SourceSettings>): void;
  /** Its sound comes, or does not. */
  heard(status: AudioStatus['state']): void;
}

/** The fields of the one source are those of the state itself. */
export function createOnlySourceState(state: StateHolder): SourceState {
  return {
    get now() {
      return state.now;
    },
    change: (part) => state.change(part),
    heard: () => undefined,
  };
}

/** One of several sources: its entry in `sources`, from which follows what the state says of all of them. */
export function createSourceState(state: StateHolder, name: string): SourceState {
  const entries = () => state.now.sources ?? [];
  const own = () => {
    const entry = entries().find((each) => each.name === name);
    if (entry === undefined) throw new Error(`the state knows no source ${name}`);
    return entry;
  };
  const changeEntry = (part: Partial<SourceSettings & { audio: AudioStatus['state'] }>): void => {
    const sources = entries().map((entry) => (entry.name === name ? { ...entry, ...part } : entry));
    state.change({ sources, ...ofAll(sources) });
  };
  return {
    get now() {
      return own();
    },
    change: changeEntry,
    heard(audio) {
      if (own().audio !== audio) changeEntry({ audio });
    },
  };
}

/** What the state says of several sources together: paused where all are, a threshold and labels that all share. */
export function ofAll(sources: readonly SourceSettings[]): SourceSettings {
  const thresholds = new Set(sources.map(({ threshold }) => threshold));
  const [threshold = null] = thresholds;
  return {
    paused: sources.every(({ paused }) => paused),
    threshold: thresholds.size === 1 ? threshold : null,
    // Where one watches every label, all labels may start an event.
    labels: sources.some(({ labels }) => labels.length === 0)
      ? []
      : [...new Set(sources.flatMap(({ labels }) => labels))],
    audio_device: null,
  };
}
