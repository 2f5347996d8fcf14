import { createLevelMeter, type LevelReader } from '../audio/level.js';
import type { AudioSink, AudioSource, AudioStatus } from '../audio/source.js';
import type { Logger } from '../common/log.js';
import type { Config } from '../config/schema.js';
import { Pipeline } from '../inference/pipeline.js';
import { withSelfTest } from '../inference/self-test.js';
import { createStartEngine } from '../inference/start-engine.js';
import type { InstalledModel } from '../models/registry.js';
import type { Link } from '../mqtt/link.js';
import type { TaggingSettings } from '../tagging/watch.js';
import { createLatencyRecorder, type LatencyRecorder } from '../telemetry/latency.js';
import { createRateMeter, type RateMeter } from '../telemetry/rate.js';
import { createAnnouncer, type Announcer } from './announcer.js';
import type { Disk } from './disk.js';
import { openLabelMemory } from './label-memory.js';
import type { Life } from './life.js';
import { createModelNews } from './model-news.js';
import { createSink } from './sink.js';
import { standIn, type StateHolder } from './state.js';

/** From sound to `B/tags` and `B/event`: level, pipeline and announcer, with what measures them. */
export interface Hearing {
  readonly pipeline: Pipeline;
  readonly announcer: Announcer;
  readonly rate: RateMeter;
  readonly latency: LatencyRecorder;
  /** The level of the sound since the last look at it. */
  readonly level: LevelReader;
  /** What a source talks to. */
  sinkFor(source: AudioSource, onStatus: (status: AudioStatus) => void): AudioSink;
}

export function createHearing(options: {
  config: Config;
  disk: Pick<Disk, 'wishes' | 'optimizedFolder' | 'fallback'>;
  /** Labels that are kept and not in effect in this life. */
  keptLabels: TaggingSettings['labels'];
  /** The models that are installed now. */
  installed: readonly InstalledModel[];
  link: Link;
  state: StateHolder;
  life: Pick<Life, 'onStop'>;
  /** A window was answered. */
  onAnswered: () => void;
  /** Another model is at work, and no swap is under way that tells of it. */
  onOtherModel: () => void;
  log: Logger;
}): Hearing {
  const { config, disk, installed, link, state, log } = options;
  const { wishes } = disk;
  const latency = createLatencyRecorder();
  const rate = createRateMeter();
  const memory = openLabelMemory({ dataDir: config.data_dir, log });
  options.life.onStop(() => memory.stop());
  const announcer = createAnnouncer({
    link,
    settings: wishes.tagging,
    keptLabels: options.keptLabels,
    installed,
    topK: config.tagging.top_k,
    memory,
    latency,
    log,
  });
  const level = createLevelMeter();
  const windowLevel = level.reader();
  const pipeline: Pipeline = new Pipeline({
    startEngine: withSelfTest(createStartEngine({ log, optimizedFolder: disk.optimizedFolder }), log),
    fallback: disk.fallback,
    rateHz: wishes.rateHz,
    windowSeconds: config.inference.window_seconds,
    threads: config.model.threads,
    keepSeconds: Math.max(...installed.map(({ manifest }) => manifest.input.window_seconds)),
    log,
    events: {
      ...createModelNews({ pipeline: () => pipeline, announcer, state, log }),
      result(result) {
        options.onAnswered();
        rate.window(result.answeredAt);
        announcer.result(result, windowLevel.take()?.dbfs ?? null);
      },
      modelChanged(model) {
        announcer.modelChanged(model);
        state.change({ model: model.manifest.id, stand_in: standIn(pipeline.givenUp, model) });
        if (state.now.swap.state === 'idle') options.onOtherModel();
      },
    },
  });
  pipeline.sources[0]!.setPaused(wishes.paused);

  return {
    pipeline,
    announcer,
    rate,
    latency,
    level,
    sinkFor: (source, onStatus) =>
      createSink({
        source,
        level,
        pipeline: pipeline.sources[0]!,
        announcer,
        rate,
        link,
        onBegin: () => void windowLevel.take(),
        onStatus,
        log,
      }),
  };
}
