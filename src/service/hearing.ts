import { randomUUID } from 'node:crypto';
import type { Logger } from '../common/log.js';
import type { Config } from '../config/schema.js';
import { leftEdgeOf } from '../inference/left-edge.js';
import { Pipeline } from '../inference/pipeline.js';
import { withSelfTest } from '../inference/self-test.js';
import { createStartEngine } from '../inference/start-engine.js';
import type { InstalledModel } from '../models/registry.js';
import type { Link } from '../mqtt/link.js';
import { createSourceLink } from '../mqtt/source-link.js';
import type { TaggingSettings } from '../tagging/watch.js';
import { createLatencyRecorder, type LatencyRecorder } from '../telemetry/latency.js';
import type { Disk } from './disk.js';
import { createEventTeller } from './event-teller.js';
import { clearFormerSources } from './former-sources.js';
import type { Keeping } from './keeping.js';
import { openLabelMemory, type LabelMemory } from './label-memory.js';
import type { Life } from './life.js';
import { createListening, type Listening, type ListeningTo } from './listening.js';
import { createModelNews } from './model-news.js';
import { createOnlySourceState, createSourceState } from './source-state.js';
import { standIn, type StateHolder } from './state.js';
import { openTeaching, type Teaching } from './teaching/teaching.js';
import { nameTakenBy } from './teaching/name-taken.js';
import { withTap } from './teaching/heard.js';

/** From the sound of all sources to what is published of it, with one model. */
export interface Hearing {
  readonly pipeline: Pipeline;
  /** In the order of the configuration; at least one. */
  readonly sources: readonly Listening[];
  /** Of the windows of all sources. */
  readonly latency: LatencyRecorder;
  /** Sounds of one's own. */
  readonly teaching: Teaching;
  /** Ends everything that is on, at all sources, and tells what waits. */
  close(): void;
}

/** A stream has to be clearly cheaper: it takes memory, and a second copy on the disk. */
const STREAM_WORTH = { worthBelow: 0.8, worthAbove: 0.01 };

export function createHearing(options: {
  config: Config;
  disk: Pick<Disk, 'wishes' | 'optimizedFolder' | 'fallback'>;
  /** What there is to listen to; at least one. */
  to: readonly ListeningTo[];
  /** Labels of a source, by its place, that are kept and not in effect in this life. */
  keptLabels: (source: number) => TaggingSettings['labels'];
  /** The models that are installed now. */
  installed: readonly InstalledModel[];
  link: Link;
  state: StateHolder;
  keeping: Keeping;
  life: Pick<Life, 'onStop'>;
  /** A window was answered. */
  onAnswered: () => void;
  /** Another model is at work, and no swap is under way that tells of it. */
  onOtherModel: () => void;
  /** Other sounds have been taught. */
  onLearntChanged: () => void;
  log: Logger;
}): Hearing {
  const { config, disk, to, installed, link, state, keeping, log } = options;
  const isOne = to.length === 1;
  const latency = createLatencyRecorder();
  const memory = openMemory({ ...options, sources: isOne ? [] : to.map((one) => one.config.name) });
  const teller = createEventTeller({
    link,
    kept: keeping,
    sourceCount: to.length,
    windowMs: 1000 * config.fusion.window_seconds,
    newId: randomUUID,
  });
  const belowDbfs = config.inference.idle_below_dbfs;

  const teaching = openTeaching({
    config,
    sources: to.map((one) => one.config.name),
    learning: () => pipeline.learning,
    model: () => (pipeline.ready ? pipeline.model : null),
    takenBy: (name) =>
      nameTakenBy(name, {
        labels: pipeline.model.labels,
        watched: sources.flatMap(({ announcer }) => announcer.watched()),
      }),
    clips: keeping.clips,
    life: options.life,
    onBegun: (names) => state.change({ learning: [...names] }),
    log,
  });

  /** Of all that was taught, when that was told of last. */
  let toldNames = '';

  const leftEdge = leftEdgeOf(config.model.streaming);
  const pipeline: Pipeline = new Pipeline({
    startEngine: withSelfTest(
      createStartEngine({
        log,
        optimizedFolder: disk.optimizedFolder,
        ...(leftEdge !== null && {
          stream: () => ({
            windowSeconds: config.inference.window_seconds,
            hopSeconds: 1 / state.now.rate_hz,
            leftEdge,
            ...STREAM_WORTH,
          }),
        }),
      }),
      log,
    ),
    fallback: disk.fallback,
    rateHz: disk.wishes.rateHz,
    windowSeconds: config.inference.window_seconds,
    threads: config.model.threads,
    keepSeconds: Math.max(...installed.map(({ manifest }) => manifest.input.window_seconds)),
    sources: to.length,
    ...(belowDbfs !== null && {
      idle: { belowDbfs, isOn: (source) => sources[source]!.announcer.isOn() },
    }),
    log,
    events: {
      ...createModelNews({
        pipeline: () => pipeline,
        closeHeard() {
          for (const { announcer } of sources) announcer.closeHeard();
        },
        state,
        log,
      }),
      result(result) {
        options.onAnswered();
        const source = sources[result.source]!;
        source.result(result);
        teaching.result(source.name, result);
      },
      modelChanged(model, heads) {
        const learnt = teaching.learntOf(heads);
        for (const { announcer } of sources) announcer.modelChanged(model, learnt);
        keeping.modelChanged(model);
        state.change({ model: model.manifest.id, stand_in: standIn(pipeline.givenUp, model) });
        if (state.now.swap.state === 'idle') options.onOtherModel();
      },
      headsChanged(model, heads) {
        teaching.headsChanged(model, heads);
        const learnt = teaching.learntOf(heads.heads);
        const isChanged = sources.map(({ announcer }) => announcer.learntChanged(learnt)).includes(true);
        const names = teaching.names().join('\n');
        if (isChanged || names !== toldNames) options.onLearntChanged();
        toldNames = names;
      },
    },
  });

  const sources: readonly Listening[] = to.map((one, index) => {
    const name = isOne ? null : one.config.name;
    const own = createSourceLink(link, name);
    return createListening({
      ...one,
      state: name === null ? createOnlySourceState(state) : createSourceState(state, name),
      link: own,
      windows: pipeline.sources[index]!,
      tell: teller.of(own),
      keeping: withTap(keeping.of(one.config.name), teaching.of(one.config.name)),
      memory: memory.of(name),
      keptLabels: options.keptLabels(index),
      installed,
      taught: () => teaching.names(),
      latency,
      onStatus: () => {
        if (!isOne) link.publish('audio/status', audioOfAll(sources));
      },
      log,
    });
  });
  for (const { windows, wishes } of sources) windows.setPaused(wishes.paused);
  return {
    pipeline,
    sources,
    latency,
    teaching,
    close() {
      for (const { announcer } of sources) announcer.close();
      teller.stop();
      keeping.flush();
    },
  };
}

/** What has retained topics at the broker; those of sources that are gone are cleared. */
function openMemory(options: {
  config: Config;
  /** Their names where there are several now; none where there is one. */
  sources: readonly string[];
  installed: readonly InstalledModel[];
  link: Link;
  life: Pick<Life, 'onStop'>;
  log: Logger;
}): LabelMemory {
  const { config, life, ...others } = options;
  const { data_dir: dataDir } = config;
  const labels = openLabelMemory({ dataDir, log: options.log });
  life.onStop(() => labels.stop());
  const former = clearFormerSources({ ...others, dataDir, labels });
  life.onStop(() => former.stop());
  return labels;
}

/** Whether the sound of all sources arrives. */
function audioOfAll(sources: readonly Pick<Listening, 'status'>[]): 'online' | 'offline' {
  return sources.every(({ status }) => status.state === 'online') ? 'online' : 'offline';
}
