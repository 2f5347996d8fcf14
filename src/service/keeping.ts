import { createClips, type Clips } from '../clips/clips.js';
import { createSpeechJudge, type SpeechJudge } from '../clips/speech.js';
import { SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { Config } from '../config/schema.js';
import { createHistoryCommands, type HistoryCommands } from '../history/commands.js';
import { openHistory, type History } from '../history/history.js';
import { createFiringTally, type FiringTally } from '../history/firing-tally.js';
import { createScoreMinutes } from '../history/score-minutes.js';
import type { WindowResult } from '../inference/window-report.js';
import type { InstalledModel } from '../models/registry.js';
import type { EventPayload } from '../mqtt/contract.js';
import type { TagEvent } from '../tagging/tag-event.js';
import type { Announcer, ThresholdOf } from './announcer.js';
import type { Life } from './life.js';
import { speechWord } from './speech-word.js';

/** What is kept of one source. */
export interface SourceKeeping {
  /** What other thresholds would have told of it; null where there is no history. */
  readonly tally: FiringTally | null;
  /** Its sound begins (anew), at this rate (Hz). */
  begin(captureRateHz: number): void;
  /** Sound as it is heard; see `Clips.chunk`. */
  chunk(samples: Float32Array, endMs: number): void;
  /** Its sound breaks off; what was on has ended. */
  interrupt(): void;
  /** @param heard what the announcer, which has had the result before, makes of it */
  result(result: WindowResult, heard: Pick<Announcer, 'watchedScores' | 'thresholdOf'>): void;
  /** An event of it. Returns the id of the clip that is made of its sound, once it has ended; else null. */
  event(event: TagEvent): string | null;
}

/** What is kept of what is heard: events, scores, and the sound of events where that is wanted. */
export interface Keeping {
  readonly clips: Clips;
  readonly commands: HistoryCommands;
  /** Null where none is kept. */
  readonly history: History | null;
  of(source: string): SourceKeeping;
  /** An event as it is published. */
  event(payload: EventPayload): void;
  modelChanged(model: InstalledModel): void;
  /** What was heard up to now is written: before a stop. */
  flush(): void;
}

export function openKeeping(options: {
  config: Config;
  /** Their names. */
  sources: readonly string[];
  life: Pick<Life, 'onStop'>;
  log: Logger;
}): Keeping {
  const { config, sources, life, log } = options;
  const { clips: wanted } = config;
  const history = config.history.enabled
    ? openHistory({
        dataDir: config.data_dir,
        days: config.history.days,
        maxMb: config.history.max_mb,
        log,
      })
    : null;
  if (history !== null) life.onStop(() => history.close());
  const minutes = createScoreMinutes((minute) => history?.scores(minute));
  const tallies = new Map<string, FiringTally>();
  if (history !== null) {
    for (const source of sources) {
      tallies.set(source, createFiringTally({ source, tell: (hour) => history.firings(hour) }));
    }
  }
  const clips = createClips({
    dataDir: config.data_dir,
    sources,
    settings: {
      enabled: wanted.enabled,
      beforeSeconds: wanted.before_seconds,
      afterSeconds: wanted.after_seconds,
      maxSeconds: wanted.max_seconds,
      maxMb: wanted.max_mb,
      days: wanted.days,
      labels: wanted.labels,
      speech: wanted.speech,
    },
    log,
  });
  life.onStop(() => clips.stop());

  function keepingOf(source: string): SourceKeeping {
    let judge: SpeechJudge | null = null;
    /** The thresholds that the judge was made for. */
    let judgedBy: ThresholdOf | null = null;
    return {
      tally: tallies.get(source) ?? null,
      begin: (captureRateHz) => clips.begin(source, captureRateHz),
      chunk: (samples, endMs) => clips.chunk(source, samples, endMs),
      interrupt: () => clips.interrupt(source),
      result(result, heard) {
        const { fresh, model } = result;
        if (fresh === null) return;
        if (history !== null && !result.idle) minutes.window(source, heard.watchedScores(), result.endMs);
        if (!clips.enabled) return;
        const thresholdOf = heard.thresholdOf();
        if (thresholdOf !== judgedBy) judge = createSpeechJudge(model.labels, thresholdOf);
        judgedBy = thresholdOf;
        const word = judge === null ? null : speechWord(judge, result);
        if (word !== null) clips.scores(source, word.startMs, word.endMs, word.isSpeech);
      },
      event(event) {
        const { id, label, mid, group, peak, started_at: startedMs, ended_at: endedMs } = event;
        if (!clips.enabled) return null;
        if (event.event_type === 'ended') {
          return clips.ended({ id, source, endedMs: endedMs ?? startedMs, peak });
        }
        clips.started({ id, source, label, mid, group, startedMs, peak });
        return null;
      },
    };
  }

  return {
    clips,
    history,
    commands: history === null ? historyOff : commandsOf(history, [minutes, ...tallies.values()]),
    of: keepingOf,
    event: (payload) => history?.event(payload),
    modelChanged({ manifest, labels }) {
      clips.modelChanged({ id: manifest.id, knowsSpeech: createSpeechJudge(labels) !== null });
    },
    flush() {
      minutes.flush();
      for (const tally of tallies.values()) tally.flush();
    },
  };
}

/** What is forgotten has to be forgotten of what has begun as well. */
function commandsOf(history: History, begun: readonly { forget(beforeMs: number): void }[]): HistoryCommands {
  const commands = createHistoryCommands(history);
  return {
    ...commands,
    'history/delete'(input, context) {
      const beforeMs = 'all' in input ? Infinity : Date.parse(input.before);
      for (const each of begun) each.forget(beforeMs);
      return commands['history/delete'](input, context);
    },
  };
}

/** The answer where nothing is kept. */
export function switchedOff(): Promise<never> {
  return Promise.reject(
    new SoundpostError(
      'history_off',
      'Nothing is kept of what was heard: history.enabled is false in the configuration.',
    ),
  );
}

const historyOff: HistoryCommands = {
  history: switchedOff,
  'history/scores': switchedOff,
  'history/delete': switchedOff,
  'event/judge': switchedOff,
};
