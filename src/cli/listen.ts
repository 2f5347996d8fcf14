import { once } from 'node:events';
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
import { positive } from './tag.js';

const METER_WIDTH = 30;

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
  const log = createLogger({ level: 'warn', format: config.log.format, secrets: secretsOf(config) });
  const registry = openRegistry(context);
  const model = await registry.get(typeof own['model'] === 'string' ? own['model'] : config.model.id);
  const top = positive('--top', own['top'], 5, Number.isInteger);
  const seconds = own['seconds'] === undefined ? null : positive('--seconds', own['seconds'], 1);
  const screen = createScreen(context, top);
  const level = createLevelMeter();
  const over = new AbortController();

  const pipeline = new Pipeline({
    startEngine: createStartEngine({ log }),
    fallback: model,
    rateHz: config.inference.rate_hz,
    windowSeconds: config.inference.window_seconds,
    threads: config.model.threads,
    keepSeconds: model.manifest.input.window_seconds,
    log,
    events: {
      result: ({ scores, endMs }) => screen.tags(topTags(scores, model.labels, top), endMs),
      modelChanged: () => undefined,
      dropped: () => undefined,
      engineLost: ({ reason }) => screen.say(reason),
      fellBack: () => undefined,
    },
  });
  const sink: AudioSink = {
    begin({ name, sampleRate }) {
      pipeline.begin(sampleRate, source.realTime);
      screen.say(`hearing ${name} at ${sampleRate} Hz with ${model.manifest.id}`);
    },
    chunk(samples, endTimeMs) {
      level.add(samples);
      return pipeline.chunk(samples, endTimeMs);
    },
    status: (status) => {
      if (status.state === 'offline') screen.say(status.reason);
    },
    end: () => void pipeline.idle().then(() => over.abort()),
  };
  const source = await chooseSource({ config, root: projectRoot(), demoAllowed: true, log });
  const stop = () => over.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  const deadline = seconds === null ? null : setTimeout(stop, seconds * 1000);
  const meter = setInterval(() => {
    const now = level.take();
    if (now !== null) screen.level(now.dbfs, now.peakDbfs);
  }, 200);
  try {
    await pipeline.start(model);
    await source.start(sink);
    if (!over.signal.aborted) await once(over.signal, 'abort');
  } finally {
    clearInterval(meter);
    if (deadline !== null) clearTimeout(deadline);
    process.off('SIGINT', stop).off('SIGTERM', stop);
    await source.stop().catch((error: unknown) => screen.say(messageOf(error)));
    await pipeline.stop();
    screen.close();
  }
  return 0;
}

interface Screen {
  say(text: string): void;
  level(dbfs: number, peakDbfs: number): void;
  tags(tags: readonly Tag[], endMs: number): void;
  close(): void;
}

function createScreen({ json, stdout }: CommandContext, top: number): Screen {
  const live = !json && process.stdout.isTTY;
  let tags: readonly Tag[] = [];
  let loudness = { dbfs: LEVEL_FLOOR_DBFS, peakDbfs: LEVEL_FLOOR_DBFS };
  let drawn = false;

  const bar = (share: number) => {
    const full = Math.round(Math.max(0, Math.min(1, share)) * METER_WIDTH);
    return '█'.repeat(full) + '░'.repeat(METER_WIDTH - full);
  };
  const lift = () => {
    if (drawn) stdout.write(`\x1b[${top + 1}A\x1b[J`);
    drawn = false;
  };
  const draw = () => {
    lift();
    // -60 dBFS is a quiet room: the left end of the meter.
    stdout.write(`${bar(1 + loudness.dbfs / 60)} ${loudness.dbfs.toFixed(0).padStart(4)} dBFS\n`);
    for (let i = 0; i < top; i += 1) {
      const tag = tags[i];
      stdout.write(tag ? `${bar(tag.score)} ${tag.score.toFixed(2)} ${tag.label}\n` : '\n');
    }
    drawn = true;
  };

  return {
    say(text) {
      if (live) lift();
      process.stderr.write(`${text}\n`);
    },
    level(dbfs, peakDbfs) {
      loudness = { dbfs, peakDbfs };
      if (live) draw();
    },
    tags(next, endMs) {
      tags = next;
      const ts = new Date(endMs).toISOString();
      if (live) {
        draw();
      } else if (json) {
        stdout.write(`${JSON.stringify({ ts, level_dbfs: loudness.dbfs, tags })}\n`);
      } else {
        const named = tags.map(({ label, score }) => `${label} ${score.toFixed(2)}`).join(' · ');
        stdout.write(`${ts}  ${loudness.dbfs.toFixed(0).padStart(4)} dBFS  ${named}\n`);
      }
    },
    close: () => undefined,
  };
}
