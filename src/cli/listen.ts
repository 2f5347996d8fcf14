import { once } from 'node:events';
import { Writable } from 'node:stream';
import { createLevelMeter, LEVEL_FLOOR_DBFS, type LevelMeter } from '../audio/level.js';
import { createShaper } from '../audio/shaper.js';
import type { AudioSink, AudioSource } from '../audio/source.js';
import { messageOf } from '../common/errors.js';
import { createLogger } from '../common/logger.js';
import { projectRoot } from '../common/project.js';
import { loadConfig } from '../config/load.js';
import { secretsOf } from '../config/mask.js';
import { sourcesOf } from '../config/sources.js';
import { Pipeline } from '../inference/pipeline.js';
import { createStartEngine } from '../inference/start-engine.js';
import { chooseSource } from '../service/choose-source.js';
import { topTags, type Tag } from '../tagging/top.js';
import type { CommandContext } from './context.js';
import { openRegistry } from './models.js';
import { clip, terminalWidth } from './table.js';
import { positive } from './tag.js';

const METER_WIDTH = 30;
const METER_INTERVAL_MS = 200;

/**
 * `soundpost listen`: level meters and top tags of all sources, live, without a broker. On a terminal one picture that is
 * drawn over; elsewhere a line for each window; with --json an object for each window.
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

  const pipeline = new Pipeline({
    startEngine: createStartEngine({ log }),
    fallback: model,
    rateHz: config.inference.rate_hz,
    windowSeconds: config.inference.window_seconds,
    threads: config.model.threads,
    keepSeconds: config.inference.window_seconds ?? model.manifest.input.window_seconds,
    sources: configured.length,
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
  const opened: { audio: AudioSource; meter: LevelMeter; sink: AudioSink }[] = [];
  let playing = configured.length;
  for (const [source, { audio: settings }] of configured.entries()) {
    const audio = await chooseSource({
      audio: settings,
      dataDir: config.data_dir,
      // Finer than the meter, so that it finds something new each time.
      chunkSeconds: METER_INTERVAL_MS / 2000,
      root: projectRoot(),
      demoAllowed: true,
      log,
    });
    const meter = createLevelMeter();
    const shaper = createShaper({ gainDb: settings.gain_db, highpassHz: settings.highpass_hz });
    const windows = pipeline.sources[source]!;
    const sink: AudioSink = {
      begin({ name, sampleRate }) {
        shaper.begin(sampleRate);
        windows.begin(sampleRate, audio.realTime);
        const where = names[source] === null ? '' : `${names[source]}: `;
        screen.say(`${where}hearing ${name} at ${sampleRate} Hz with ${model.manifest.id}`);
      },
      chunk(samples, endTimeMs) {
        const shaped = shaper.process(samples);
        meter.add(shaped);
        return windows.chunk(shaped, endTimeMs);
      },
      // The source itself says why it is silent, and when it tries again.
      status: () => undefined,
      end: () =>
        void windows.idle().then(() => {
          playing -= 1;
          if (playing === 0) over.abort();
        }),
    };
    opened.push({ audio, meter, sink });
  }
  const stopSources = () => Promise.all(opened.map(({ audio }) => audio.stop()));
  const stop = () => over.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  let deadline: NodeJS.Timeout | undefined;
  const showLevel = (source: number) => {
    const now = opened[source]!.meter.take();
    if (now !== null) screen.level(source, now.dbfs);
  };
  const showLevels = () => {
    for (const source of opened.keys()) showLevel(source);
    screen.draw();
  };
  const meters = screen.live ? setInterval(showLevels, METER_INTERVAL_MS) : undefined;
  try {
    await pipeline.start(model);
    await Promise.all(opened.map(({ audio, sink }) => audio.start(sink)));
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

interface Screen {
  /** A picture that is drawn over, instead of lines. */
  readonly live: boolean;
  /** Where logs go: above the picture. */
  readonly stderr: Writable & { isTTY: boolean };
  say(text: string): void;
  /** Of a source, by its number. */
  level(source: number, dbfs: number): void;
  tags(source: number, tags: readonly Tag[], endMs: number): void;
  draw(): void;
}

/** @param names of the sources where there are several; null for the only one */
function createScreen(
  { json, stdout }: CommandContext,
  { top, names }: { top: number; names: readonly (string | null)[] },
): Screen {
  const live = !json && process.stdout.isTTY;
  const sources = names.map((name) => ({ name, tags: [] as readonly Tag[], level: LEVEL_FLOOR_DBFS }));
  const nameWidth = Math.max(...names.map((name) => name?.length ?? 0));
  let drawnLines = 0;

  const bar = (share: number) => {
    const full = Math.round(Math.max(0, Math.min(1, share)) * METER_WIDTH);
    return '█'.repeat(full) + '░'.repeat(METER_WIDTH - full);
  };
  const erased = () => {
    const text = drawnLines === 0 ? '' : `\x1b[${drawnLines}A\x1b[J`;
    drawnLines = 0;
    return text;
  };
  const aside = (text: string) => {
    if (live) stdout.write(erased());
    process.stderr.write(text);
  };
  // -60 dBFS is a quiet room: the left end of the meter.
  const meterOf = (level: number) => `${bar(1 + level / 60)} ${level.toFixed(0).padStart(4)} dBFS`;
  const named = (tags: readonly Tag[]) =>
    tags.map(({ label, score }) => `${label} ${score.toFixed(2)}`).join(' · ');
  /** One source has a line for each tag, several a line each. */
  const picture = (): string[] => {
    const [only] = sources;
    if (sources.length > 1 || only === undefined) {
      return sources.map(
        ({ name, level, tags }) => `${name!.padEnd(nameWidth)} ${meterOf(level)}  ${named(tags)}`,
      );
    }
    const tagLines = Array.from({ length: top }, (_, place) => {
      const tag = only.tags[place];
      return tag === undefined ? '' : `${bar(tag.score)} ${tag.score.toFixed(2)} ${tag.label}`;
    });
    return [meterOf(only.level), ...tagLines];
  };
  const draw = () => {
    const lines = picture();
    // A line that the terminal wraps, or a picture higher than it, could not be drawn over.
    const shown = process.stdout.rows > 1 ? lines.slice(0, process.stdout.rows - 1) : lines;
    const text = shown.map((line) => `${clip(line, terminalWidth(process.stdout) - 1)}\n`).join('');
    // In one piece, so that the picture does not flicker.
    stdout.write(erased() + text);
    drawnLines = shown.length;
  };

  return {
    live,
    stderr: Object.assign(
      new Writable({
        write(line: Buffer, _encoding, done) {
          aside(line.toString());
          done();
        },
      }),
      { isTTY: process.stderr.isTTY },
    ),
    say: (text) => aside(`${text}\n`),
    level(source, dbfs) {
      sources[source]!.level = dbfs;
    },
    tags(source, next, endMs) {
      const of = sources[source]!;
      of.tags = next;
      const { name, level, tags } = of;
      const ts = new Date(endMs).toISOString();
      if (live) {
        draw();
      } else if (json) {
        const which = name === null ? {} : { source: name };
        stdout.write(`${JSON.stringify({ ts, ...which, level_dbfs: level, tags })}\n`);
      } else {
        const which = name === null ? '' : `${name.padEnd(nameWidth)}  `;
        stdout.write(`${ts}  ${which}${level.toFixed(0).padStart(4)} dBFS  ${named(tags)}\n`);
      }
    },
    draw: () => {
      if (live) draw();
    },
  };
}
