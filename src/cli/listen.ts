import { once } from 'node:events';
import { createLevelMeter, type LevelMeter } from '../audio/level.js';
import { createShaper } from '../audio/shaper.js';
import type { AudioSink, AudioSource } from '../audio/source.js';
import { messageOf } from '../common/errors.js';
import { namedLogger, type Logger } from '../common/log.js';
import { createLogger } from '../common/logger.js';
import { projectRoot } from '../common/project.js';
import { loadConfig } from '../config/load.js';
import { secretsOf } from '../config/mask.js';
import type { Config } from '../config/schema.js';
import { sourcesOf } from '../config/sources.js';
import { Pipeline, type PipelineSource } from '../inference/pipeline.js';
import { createStartEngine } from '../inference/start-engine.js';
import type { InstalledModel } from '../models/registry.js';
import { chooseSource } from '../service/choose-source.js';
import { topTags } from '../tagging/top.js';
import type { CommandContext } from './context.js';
import { createScreen, type Screen } from './listen-screen.js';
import { openRegistry } from './models.js';
import { positive } from './tag.js';

const METER_INTERVAL_MS = 200;

/** A source that is listened to in the terminal. */
interface Heard {
  /** Null for the only one. */
  readonly name: string | null;
  readonly audio: AudioSource;
  readonly meter: LevelMeter;
  readonly sink: AudioSink;
}

/**
 * `soundpost listen`: level meters and top tags of all sources, live, without a broker; see `createScreen`. Ends when the
 * recordings are over, after `--seconds`, or on a signal. Of several sources one that cannot be opened is told and left
 * out; throws what is wrong where none can be.
 */
export async function listenCommand(
  context: CommandContext,
  _args: string[],
  own: Record<string, string | boolean | undefined>,
): Promise<number> {
  const { config } = loadConfig(context);
  const top = positive('--top', own['top'], 5, Number.isInteger);
  const seconds = own['seconds'] === undefined ? null : positive('--seconds', own['seconds']);
  const registry = openRegistry(context);
  const model = await registry.get(typeof own['model'] === 'string' ? own['model'] : config.model.id);
  const configured = sourcesOf(config);
  const names = configured.length === 1 ? [null] : configured.map(({ name }) => name);
  const screen = createScreen(context, { top, names });
  const log = createLogger({
    level: 'warn',
    format: config.log.format,
    secrets: secretsOf(config),
    stream: screen.stderr,
  });
  const over = new AbortController();
  const stop = () => over.abort();
  const pipeline = openPipeline({ config, model, sources: names.length, top, screen, log, showLevel });
  const playing = createCountdown(names.length, stop);
  const heard = await openAll({ config, names, model, pipeline, screen, onEnd: playing.less, log });
  const stopSources = () => Promise.all(heard.map(({ audio }) => audio.stop()));

  function showLevel(source: number): void {
    const now = heard[source]!.meter.take();
    if (now !== null) screen.level(source, now.dbfs);
  }
  const showLevels = () => {
    for (const source of heard.keys()) showLevel(source);
    screen.draw();
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  const meters = screen.live ? setInterval(showLevels, METER_INTERVAL_MS) : undefined;
  let deadline: NodeJS.Timeout | undefined;
  try {
    await pipeline.start(model);
    await startAll(heard, screen, playing.less);
    if (seconds !== null) {
      // What was due by then is still shown.
      const finish = () =>
        void stopSources()
          .then(() => pipeline.idle())
          .then(stop, stop);
      deadline = setTimeout(finish, seconds * 1000);
    }
    if (!over.signal.aborted) await once(over.signal, 'abort');
  } finally {
    clearInterval(meters);
    clearTimeout(deadline);
    process.off('SIGINT', stop).off('SIGTERM', stop);
    await stopSources().catch((error: unknown) => screen.say(messageOf(error)));
    await pipeline.stop();
  }
  return 0;
}

/** The network that answers the windows of all sources, to the screen. */
function openPipeline(options: {
  config: Config;
  model: InstalledModel;
  /** How many there are. */
  sources: number;
  top: number;
  screen: Screen;
  showLevel: (source: number) => void;
  log: Logger;
}): Pipeline {
  const { config, model, sources, top, screen, showLevel, log } = options;
  return new Pipeline({
    startEngine: createStartEngine({ log }),
    fallback: model,
    rateHz: config.inference.rate_hz,
    windowSeconds: config.inference.window_seconds,
    threads: config.model.threads,
    keepSeconds: config.inference.window_seconds ?? model.manifest.input.window_seconds,
    sources,
    log,
    events: {
      result: ({ source, scores, endMs }) => {
        // On a terminal the meters move by themselves; a line tells the level since the line before.
        if (!screen.live) showLevel(source);
        screen.tags(source, topTags(scores, model.labels, top), endMs);
      },
      modelChanged: () => undefined,
      engineLost: ({ reason }) => screen.say(reason),
      fellBack: () => undefined,
      stillOut: () => undefined,
      cameBack: () => undefined,
    },
  });
}

/** The sources of the configuration, each with its place in the pipeline; none of them is at work yet. */
async function openAll(options: {
  config: Config;
  names: readonly (string | null)[];
  model: InstalledModel;
  pipeline: Pipeline;
  screen: Screen;
  /** A source has been heard to its end. */
  onEnd: () => void;
  log: Logger;
}): Promise<Heard[]> {
  const { config, names, model, pipeline, screen, onEnd, log } = options;
  const heard: Heard[] = [];
  for (const [source, { audio: settings }] of sourcesOf(config).entries()) {
    const name = names[source] ?? null;
    const audio = await chooseSource({
      audio: settings,
      dataDir: config.data_dir,
      // Finer than the meter, so that it finds something new each time.
      chunkSeconds: METER_INTERVAL_MS / 2000,
      root: projectRoot(),
      demoAllowed: true,
      log: name === null ? log : namedLogger(log, name),
    });
    const meter = createLevelMeter();
    const sink = createListenSink({
      audio,
      sound: { gainDb: settings.gain_db, highpassHz: settings.highpass_hz },
      meter,
      windows: pipeline.sources[source]!,
      onBegin: (device, sampleRate) =>
        screen.say(`${prefixOf(name)}hearing ${device} at ${sampleRate} Hz with ${model.manifest.id}`),
      onEnd,
    });
    heard.push({ name, audio, meter, sink });
  }
  return heard;
}

function createListenSink(options: {
  audio: AudioSource;
  sound: { gainDb: number; highpassHz: number };
  meter: LevelMeter;
  windows: PipelineSource;
  onBegin: (device: string, sampleRate: number) => void;
  onEnd: () => void;
}): AudioSink {
  const { audio, meter, windows, onBegin, onEnd } = options;
  const shaper = createShaper(options.sound);
  return {
    begin({ name, sampleRate }) {
      shaper.begin(sampleRate);
      windows.begin(sampleRate, audio.realTime);
      onBegin(name, sampleRate);
    },
    chunk(samples, endTimeMs) {
      const shaped = shaper.process(samples);
      meter.add(shaped);
      return windows.chunk(shaped, endTimeMs);
    },
    // The source itself says why it is silent, and when it tries again.
    status: () => undefined,
    end: () => void windows.idle().then(onEnd),
  };
}

/** Begins to listen to all of them. Throws where none can be listened to. */
async function startAll(heard: readonly Heard[], screen: Screen, onFailed: () => void): Promise<void> {
  const outcomes = await Promise.allSettled(heard.map(({ audio, sink }) => audio.start(sink)));
  const reasons = outcomes.map((outcome) =>
    outcome.status === 'rejected' ? messageOf(outcome.reason) : null,
  );
  const [first] = outcomes;
  if (first?.status === 'rejected' && !reasons.includes(null)) throw first.reason;
  for (const [source, { name }] of heard.entries()) {
    const reason = reasons[source] ?? null;
    if (reason === null) continue;
    screen.say(`${prefixOf(name)}${reason}`);
    onFailed();
  }
}

/** Calls `onNone` once `less` was called for each of `count`. */
function createCountdown(count: number, onNone: () => void): { less: () => void } {
  let left = count;
  return {
    less() {
      left -= 1;
      if (left === 0) onNone();
    },
  };
}

/** Of a line about one of several sources. */
function prefixOf(name: string | null): string {
  return name === null ? '' : `${name}: `;
}
