import { once } from 'node:events';
import { Writable } from 'node:stream';
import { createLevelMeter, LEVEL_FLOOR_DBFS } from '../audio/level.js';
import type { AudioSink } from '../audio/source.js';
import { messageOf } from '../common/errors.js';
import { createLogger } from '../common/logger.js';
import { projectRoot } from '../common/project.js';
import { loadConfig } from '../config/load.js';
import { secretsOf } from '../config/mask.js';
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
 * `soundpost listen`: level meter and top tags, live, without a broker. On a terminal one picture that is
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
  const screen = createScreen(context, top);
  const log = createLogger({
    level: 'warn',
    format: config.log.format,
    secrets: secretsOf(config),
    stream: screen.stderr,
  });
  const level = createLevelMeter();
  const over = new AbortController();

  const pipeline = new Pipeline({
    startEngine: createStartEngine({ log }),
    fallback: model,
    rateHz: config.inference.rate_hz,
    windowSeconds: config.inference.window_seconds,
    threads: config.model.threads,
    keepSeconds: config.inference.window_seconds ?? model.manifest.input.window_seconds,
    log,
    events: {
      result: ({ scores, endMs }) => {
        // On a terminal the meter moves by itself; a line tells the level since the line before.
        if (!screen.live) showLevel();
        screen.tags(topTags(scores, model.labels, top), endMs);
      },
      modelChanged: () => undefined,
      engineLost: ({ reason }) => screen.say(reason),
      fellBack: () => undefined,
      stillOut: () => undefined,
      cameBack: () => undefined,
    },
  });
  const sink: AudioSink = {
    begin({ name, sampleRate }) {
      pipeline.sources[0]!.begin(sampleRate, source.realTime);
      screen.say(`hearing ${name} at ${sampleRate} Hz with ${model.manifest.id}`);
    },
    chunk(samples, endTimeMs) {
      level.add(samples);
      return pipeline.sources[0]!.chunk(samples, endTimeMs);
    },
    // The source itself says why it is silent, and when it tries again.
    status: () => undefined,
    end: () => void pipeline.idle().then(() => over.abort()),
  };
  const source = await chooseSource({
    config,
    // Finer than the meter, so that it finds something new each time.
    chunkSeconds: METER_INTERVAL_MS / 2000,
    root: projectRoot(),
    demoAllowed: true,
    log,
  });
  const stop = () => over.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  let deadline: NodeJS.Timeout | undefined;
  const showLevel = () => {
    const now = level.take();
    if (now !== null) screen.level(now.dbfs);
  };
  const meter = screen.live ? setInterval(showLevel, METER_INTERVAL_MS) : undefined;
  try {
    await pipeline.start(model);
    await source.start(sink);
    if (seconds !== null) {
      // What was due by then is still shown.
      const finish = () =>
        void source
          .stop()
          .then(() => pipeline.idle())
          .then(stop, stop);
      deadline = setTimeout(finish, seconds * 1000);
    }
    if (!over.signal.aborted) await once(over.signal, 'abort');
  } finally {
    clearInterval(meter);
    clearTimeout(deadline);
    process.off('SIGINT', stop).off('SIGTERM', stop);
    await source.stop().catch((error: unknown) => screen.say(messageOf(error)));
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
  level(dbfs: number): void;
  tags(tags: readonly Tag[], endMs: number): void;
}

function createScreen({ json, stdout }: CommandContext, top: number): Screen {
  const live = !json && process.stdout.isTTY;
  let tags: readonly Tag[] = [];
  let level = LEVEL_FLOOR_DBFS;
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
  const draw = () => {
    const lines = [
      // -60 dBFS is a quiet room: the left end of the meter.
      `${bar(1 + level / 60)} ${level.toFixed(0).padStart(4)} dBFS`,
      ...Array.from({ length: top }, (_, place) => {
        const tag = tags[place];
        return tag === undefined ? '' : `${bar(tag.score)} ${tag.score.toFixed(2)} ${tag.label}`;
      }),
    ];
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
    level(dbfs) {
      level = dbfs;
      if (live) draw();
    },
    tags(next, endMs) {
      tags = next;
      const ts = new Date(endMs).toISOString();
      if (live) {
        draw();
      } else if (json) {
        stdout.write(`${JSON.stringify({ ts, level_dbfs: level, tags })}\n`);
      } else {
        const named = tags.map(({ label, score }) => `${label} ${score.toFixed(2)}`).join(' · ');
        stdout.write(`${ts}  ${level.toFixed(0).padStart(4)} dBFS  ${named}\n`);
      }
    },
  };
}
