import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import { Command } from '@commander-js/extra-typings';
import { hostFacts } from '../../src/bench/host-facts.js';
import { silentLogger } from '../../src/common/log.js';
import { createFiringTally } from '../../src/history/firing-tally.js';
import { openHistory, type History } from '../../src/history/history.js';
import { createScoreMinutes } from '../../src/history/score-minutes.js';
import type { Label } from '../../src/models/labels.js';
import type { InstalledModel } from '../../src/models/registry.js';
import { isoTime, type EventPayload } from '../../src/mqtt/contract.js';
import type { Hop } from '../../src/tagging/hop.js';
import { resolveWatched, type TaggingSettings } from '../../src/tagging/watch.js';
import { whole } from '../options.js';

/*
 * npm run bench:history: what the history costs per window and per day, what the counts for suggested thresholds cost of
 * that, and how long answers take. Days pass in seconds under a simulated clock; the files are real ones.
 */

const BEGIN_MS = Date.parse('2026-05-01T00:00:00.000Z');
const MINUTE_MS = 60_000;
const DAY_SECONDS = 86_400;

interface Options {
  days: number;
  labels: number;
  events: number;
}

function parseOptions(): Options {
  return new Command('npm run bench:history --')
    .description('Measures the history: CPU per window, bytes per day, and how long answers take.')
    .option('--days <n>', 'how many days at one window a second', whole, 30)
    .option('--labels <n>', 'watched labels', whole, 20)
    .option('--events <n>', 'sounds a day, each with a start and an end', whole, 500)
    .parse()
    .opts();
}

/** Names as long as those of AudioSet are. */
function watched(count: number): { slug: string; name: string; score: number }[] {
  return Array.from({ length: count }, (_, n) => {
    const name = `Sound of a thing, no. ${n}`.slice(0, 14 + (n % 10));
    return { slug: `sound_of_${n}`, name: `${name} ${n}`, score: 0 };
  });
}

function soundAt(atMs: number, n: number, label: string): EventPayload {
  return {
    id: `01J8Z3NDEKTSV4RRFF${String(n).padStart(8, '0')}`,
    event_type: 'started',
    label,
    mid: '/m/0bt9lr',
    group: null,
    score: 0.8123,
    peak: 0.9234,
    started_at: isoTime(atMs),
    ended_at: null,
    duration_s: null,
    detected_at: isoTime(atMs + 400),
    model: 'soundpost-home',
    late: false,
  };
}

/** CPU time of the whole process since `from`, in ms; threads that write files are in it. */
function cpuMs(from?: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(from);
  return (user + system) / 1000;
}

function put(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** One day after the other at one window a second; returns the CPU per window in ms. */
async function fill(history: History, options: Options, clock: { nowMs: number }): Promise<number> {
  const minutes = createScoreMinutes((minute) => history.scores(minute));
  const items = watched(options.labels);
  const secondsPerSound = Math.max(1, Math.floor(DAY_SECONDS / options.events));
  const windows = options.days * DAY_SECONDS;
  let on: EventPayload | null = null;
  const from = process.cpuUsage();
  for (let window = 0; window < windows; window += 1) {
    clock.nowMs = BEGIN_MS + window * 1000;
    for (let n = 0; n < items.length; n += 1)
      items[n]!.score = ((window * 7919 + n * 104_729) % 10_007) / 10_007;
    minutes.window('main', items, clock.nowMs);
    if (window % secondsPerSound === 0) {
      on = soundAt(clock.nowMs, window, items[window % items.length]!.name);
      history.event(on);
    } else if (on !== null && window % secondsPerSound === 3) {
      history.event({ ...on, event_type: 'ended', ended_at: isoTime(clock.nowMs), duration_s: 3 });
      on = null;
    }
    // A minute is written at a time, as it is in life.
    if (window % 60 === 59) await history.settled();
  }
  minutes.flush();
  await history.settled();
  return cpuMs(from) / windows;
}

/** As `soundpost-home` has them. */
const FRAME_MS = 160;
const FRAMES_PER_WINDOW = Math.floor(1000 / FRAME_MS);

/** The settings that the service has by default, for these labels. */
function settingsFor(labels: readonly Label[]): TaggingSettings {
  return {
    labels: labels.map(({ name }) => name),
    threshold: null,
    thresholds: {},
    offFraction: 0.7,
    confirm: { k: 1, n: 1 },
    minDurationSeconds: 0,
    minGapSeconds: 2,
  };
}

/**
 * A day of the counts: `events` sounds, each of three seconds and near 0.8 in its label, over scores that wander below
 * 0.15 as those of a quiet room do.
 * @returns CPU of a window in ms, and what a day takes on the disk, in bytes
 */
async function firingsCost(
  folder: string,
  { labels: count, events }: Options,
): Promise<{ perWindowMs: number; bytesPerDay: number }> {
  const labels: Label[] = watched(count).map(({ name }, index) => ({
    ...{ index, name, mid: null },
    threshold: 0.4,
    thresholdFrom: 'model',
  }));
  const settings = settingsFor(labels);
  const history = openHistory({ dataDir: folder, days: 3650, maxMb: 10_000, log: silentLogger });
  const tally = createFiringTally({ source: 'main', tell: (hour) => history.firings(hour) });
  const manifest = { id: 'soundpost-home', onnx_sha256: '0'.repeat(64) } as InstalledModel['manifest'];
  const { items } = resolveWatched(labels, settings);
  tally.modelChanged({ manifest, labels }, items, settings.offFraction);
  const secondsPerSound = Math.max(4, Math.floor(DAY_SECONDS / events));
  const day = (take: (hop: Hop) => void): void => {
    const values = new Float32Array(FRAMES_PER_WINDOW * count);
    const scores = new Float32Array(count);
    for (let window = 0; window < DAY_SECONDS; window += 1) {
      const loud = window % secondsPerSound < 3 ? Math.floor(window / secondsPerSound) % count : -1;
      for (let frame = 0; frame < FRAMES_PER_WINDOW; frame += 1) {
        for (let n = 0; n < count; n += 1) {
          const wander = ((window * 7919 + frame * 31 + n * 104_729) % 10_007) / 10_007;
          values[frame * count + n] = n === loud ? 0.7 + 0.2 * wander : 0.15 * wander ** 3;
        }
      }
      scores.set(values.subarray(0, count));
      const startMs = BEGIN_MS + window * 1000;
      take({
        ...{ startMs, endMs: startMs + 1000, windowEndMs: startMs + 1000, frameMs: 1000 / FRAMES_PER_WINDOW },
        ...{ frames: FRAMES_PER_WINDOW, before: 0, role: 'scores', spreadMs: 0, values, scores },
      });
    }
  };
  // What the sound itself takes to be made is no cost of the counts.
  const making = process.cpuUsage();
  day(() => undefined);
  const madeMs = cpuMs(making);
  const counting = process.cpuUsage();
  day((hop) => tally.hop(hop));
  tally.flush();
  await history.settled();
  const perWindowMs = (cpuMs(counting) - madeMs) / DAY_SECONDS;
  await history.close();
  const { bytes } = history.stats();
  return { perWindowMs, bytesPerDay: bytes };
}

/** The collector alone: what a window costs in which nothing is written. */
function collectorMicroseconds(labels: number): number {
  const minutes = createScoreMinutes(() => undefined);
  const items = watched(labels);
  const RUNS = 1_000_000;
  for (let n = 0; n < 10_000; n += 1) minutes.window('main', items, 0);
  const from = performance.now();
  for (let n = 0; n < RUNS; n += 1) minutes.window('main', items, 0);
  return ((performance.now() - from) * 1000) / RUNS;
}

async function timed(name: string, work: () => Promise<number>): Promise<void> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  await turn();
  delay.enable();
  const cpu = process.cpuUsage();
  const from = performance.now();
  const count = await work();
  const ms = performance.now() - from;
  delay.disable();
  put(
    `${name.padEnd(42)} ${ms.toFixed(0).padStart(6)} ms, CPU ${cpuMs(cpu).toFixed(0).padStart(5)} ms, loop held up ${(delay.max / 1e6).toFixed(1).padStart(5)} ms at most, ${count} entries`,
  );
}

const options = parseOptions();
const dataDir = await mkdtemp(join(tmpdir(), 'soundpost-history-'));
try {
  const clock = { nowMs: BEGIN_MS };
  const open = (): History =>
    openHistory({ dataDir, days: 3650, maxMb: 10_000, log: silentLogger, now: () => clock.nowMs });
  const { cpu, cores } = hostFacts();
  put(`${cpu}, ${cores} cores, Node ${process.version}`);
  put(`${options.labels} labels, ${options.events} sounds a day, ${options.days} days at 1 Hz`);
  const first = open();
  const perWindowMs = await fill(first, options, clock);
  await first.close();
  const { bytes, files } = first.stats();
  put(`CPU per window, all in all                 ${(perWindowMs * 1000).toFixed(1)} µs`);
  put(`of it in the window itself                 ${collectorMicroseconds(options.labels).toFixed(2)} µs`);
  put(
    `on the disk per day                        ${(bytes / options.days / 1e6).toFixed(2)} MB (${files} files)`,
  );
  const firings = await firingsCost(join(dataDir, 'firings'), options);
  put(`counts of thresholds, per window           ${firings.perWindowMs.toFixed(4)} ms`);
  put(`counts of thresholds, on the disk per day  ${(firings.bytesPerDay / 1000).toFixed(1)} KB`);
  const history = open();
  const endMs = clock.nowMs;
  const curve = (days: number) => async () =>
    (
      await history.scoreCurve({
        label: 'Sound of a thi 0',
        sinceMs: endMs - days * DAY_SECONDS * 1000,
        untilMs: endMs + MINUTE_MS,
        maxPoints: 500,
      })
    ).points.length;
  await timed('newest 100 events, first question', async () => (await history.query({})).events.length);
  await timed('newest 100 events, again', async () => (await history.query({})).events.length);
  await timed(
    '100 events of one label',
    async () => (await history.query({ label: 'Sound of a thi 0' })).events.length,
  );
  await timed(`curve of ${options.days} days, first question`, curve(options.days));
  await timed('curve of a day', curve(1));
  const rss = process.memoryUsage.rss() / 1e6;
  put(`memory of the process                      ${rss.toFixed(0)} MB`);
  await history.close();
} finally {
  await rm(dataDir, { recursive: true, force: true });
}
