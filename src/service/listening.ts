import type { LoudnessReader } from '../audio/loudness.js';
import type { AudioSource, AudioStatus } from '../audio/source.js';
import { codeOf, messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { SourceConfig } from '../config/sources.js';
import type { SourceStore } from '../config/state-store.js';
import type { PipelineSource } from '../inference/pipeline.js';
import type { WindowResult } from '../inference/window-report.js';
import type { InstalledModel } from '../models/registry.js';
import type { SourceLink } from '../mqtt/source-link.js';
import type { TaggingSettings } from '../tagging/watch.js';
import type { LatencyRecorder } from '../telemetry/latency.js';
import { createRateMeter, type RateMeter } from '../telemetry/rate.js';
import { createAnnouncer, type Announcer } from './announcer.js';
import type { TellEvent } from './event-teller.js';
import type { SourceKeeping } from './keeping.js';
import type { SourceLabels } from './label-memory.js';
import type { SourceWishes } from './remembered.js';
import { createSink } from './sink.js';
import type { SourceState } from './source-state.js';

/** A source before it is at work: what it is, and what is remembered of it. */
export interface ListeningTo {
  readonly config: SourceConfig;
  readonly audio: AudioSource;
  readonly wishes: SourceWishes;
  readonly store: SourceStore;
}

/** One source at work: from its sound to what is published of it. */
export interface Listening extends ListeningTo {
  /** As commands call it. */
  readonly name: string;
  readonly state: SourceState;
  readonly link: SourceLink;
  readonly windows: PipelineSource;
  readonly announcer: Announcer;
  /** What other thresholds would have told of it; null where there is no history. */
  readonly tally: SourceKeeping['tally'];
  readonly rate: RateMeter;
  /** The level since the last look at it. */
  readonly level: LoudnessReader;
  /** Whether its sound arrives. */
  readonly status: AudioStatus;
  /** Samples that were too loud for full scale. */
  readonly clipped: number;
  /** A window of it was answered. */
  result(result: WindowResult): void;
  setPaused(paused: boolean): void;
  /** Another microphone, or none: how loud it was says nothing any more. */
  forgetLoudness(): void;
  /** Begins to listen. Throws as `AudioSource.start` does. */
  start(): Promise<void>;
  /** It could not begin: its sound does not come, and why. */
  fail(error: unknown): void;
}

export function createListening(
  to: ListeningTo & {
    state: SourceState;
    link: SourceLink;
    windows: PipelineSource;
    tell: TellEvent;
    keeping: SourceKeeping;
    memory: Pick<SourceLabels, 'slugs' | 'isIncomplete' | 'add'>;
    keptLabels: TaggingSettings['labels'];
    installed: readonly InstalledModel[];
    taught: () => readonly string[];
    latency: LatencyRecorder;
    onStatus: () => void;
    log: Logger;
  },
): Listening {
  const { config, audio, wishes, store, state, link, windows, keeping, latency, log } = to;
  const { gain_db: gainDb, highpass_hz: highpassHz } = config.audio;
  const where = link.source === null ? '' : ` at ${link.source}`;
  const rate = createRateMeter();
  const announcer = createAnnouncer({
    link,
    tell: to.tell,
    settings: wishes.tagging,
    keptLabels: to.keptLabels,
    installed: to.installed,
    taught: to.taught,
    topK: config.tagging.top_k,
    loud: loudOf(config.tagging),
    memory: to.memory,
    tally: keeping.tally,
    latency,
    where,
    log,
  });
  let status: AudioStatus = { state: 'offline', code: 'starting', reason: 'no sound has come yet' };
  const sink = createSink({
    source: audio,
    sound: { gainDb, highpassHz },
    windows,
    announcer,
    keeping,
    isPaused: () => state.now.paused,
    rate,
    onBegin: () => void windowLevel.take(),
    onStatus(next) {
      status = next;
      link.publish('audio/status', next.state);
      state.heard(next.state);
      to.onStatus();
    },
    where,
    log,
  });
  const windowLevel = sink.loudness();

  return {
    name: config.name,
    config,
    audio,
    wishes,
    store,
    state,
    link,
    windows,
    announcer,
    tally: keeping.tally,
    rate,
    level: sink.loudness(),
    get status() {
      return status;
    },
    get clipped() {
      return sink.clipped;
    },
    result(result) {
      rate.window(result.answeredAt);
      announcer.result(result, windowLevel.take()?.dbfs ?? null);
      keeping.result(result, announcer);
    },
    setPaused(paused) {
      windows.setPaused(paused);
      rate.reset();
      if (paused) {
        announcer.close();
        keeping.interrupt();
      }
      state.change({ paused });
    },
    forgetLoudness: () => sink.forgetLoudness(),
    start: () => audio.start(sink),
    fail: (error) => sink.status({ state: 'offline', code: codeOf(error), reason: messageOf(error) }),
  };
}

/** What is watched by loudness alone; null where nothing is. */
function loudOf({ loud, min_gap_seconds: minGapSeconds }: SourceConfig['tagging']) {
  const { above_background_db: aboveBackgroundDb, min_duration_seconds: minDurationSeconds } = loud;
  return aboveBackgroundDb === null ? null : { aboveBackgroundDb, minDurationSeconds, minGapSeconds };
}
