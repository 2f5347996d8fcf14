import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Command } from '@commander-js/extra-typings';
import { hostFacts } from '../../src/bench/host-facts.js';
import { messageOf } from '../../src/common/errors.js';
import { projectRoot } from '../../src/common/project.js';
import { augment } from '../../src/learning/augment.js';
import { heardOf, type HeardBackground } from '../../src/learning/background.js';
import { thresholdFor, type HeardMoment } from '../../src/learning/false-alarms.js';
import { generalSound } from '../../src/learning/general-sound.js';
import { highestOf, logitOf, type Head } from '../../src/learning/head.js';
import type { EmbeddedExample } from '../../src/learning/leave-one-out.js';
import { logitsOf, quantise } from '../../src/learning/quantised.js';
import { joinRows, rowAt, type Rows } from '../../src/learning/rows.js';
import { soundingPart } from '../../src/learning/sounding.js';
import { teach } from '../../src/learning/teach.js';
import { createRandom, type Random } from '../../test/support/random.js';
import { whole } from '../options.js';
import { createNearest } from './baseline.js';
import { openEmbedder, type Embedded, type Embedder } from './embedder.js';
import { alarmsIn, hearIncidents, type Incidents } from './incidents.js';
import { createHome, PAUSE_SECONDS, type Home, type Presentation } from './home.js';
import { formatReport, type LearnReport, type Trial } from './report.js';
import { gatherSounds, type Sounds, type Target } from './sounds.js';

/*
 * npm run bench:learn: how well sounds are found that were taught by a few examples, at one false alarm a day, against
 * hours of other sound. The report goes to stdout, progress to stderr.
 */

const WISHED_PER_DAY = 1;
const MIN_GAP_SECONDS = 2;
/** What the service hears from one window to the next. */
const MOMENT_FRAMES = 6;
const SNRS_DB = [20, 10] as const;
/** Examples are as loud as that, some more and some less. */
const EXAMPLE_SNR_DB = { min: 16, max: 24 } as const;
const MINUTE = 60;
const DAY_MINUTES = 1440;

const options = new Command('npm run bench:learn --')
  .description('Measures how well taught sounds are found, at one false alarm a day.')
  .option(
    '--model <folder>',
    'a model with embeddings of frames',
    join(projectRoot(), 'models', 'soundpost-home'),
  )
  .option(
    '--recordings <folder>',
    'recordings of other sounds (WAV)',
    join(resolve(projectRoot(), '..'), 'shared', 'soundpost-home', 'audio'),
  )
  .option('--homes <n>', 'rooms, each with noise and sounds of its own', whole, 1)
  .option('--before <minutes>', 'what each device hears before it is taught', whole, 90)
  .option('--after <minutes>', 'how long false alarms are counted afterwards', whole, 480)
  .option('--examples <numbers>', 'how many examples', (text) => text.split(',').map(whole), [3, 5, 10])
  .option('--times <n>', 'how often each sound is to be found, in each home at each level', whole, 12)
  .option('--seed <n>', 'another one makes other sounds and rooms', whole, 1)
  .option('--json <file>', 'write what was measured as JSON')
  .parse()
  .opts();

function progress(message: string): void {
  process.stderr.write(`bench: ${message}\n`);
}

/** A stretch of life, as the device keeps it. */
async function hear(
  embedder: Embedder,
  home: Home,
  material: Sounds['before'],
  minutes: number,
  beginMs: number,
): Promise<HeardBackground> {
  const { dim, frameSeconds } = embedder;
  const moments = [];
  for (let minute = 0; minute < minutes; minute += 1) {
    const { values, count } = await embedder.embed(home.life(MINUTE, material));
    for (let first = 0; first + MOMENT_FRAMES <= count; first += MOMENT_FRAMES) {
      const rows = quantise({
        values: values.subarray(first * dim, (first + MOMENT_FRAMES) * dim),
        count: MOMENT_FRAMES,
        dim,
      });
      const atMs = beginMs + (minute * MINUTE + first * frameSeconds) * 1000;
      moments.push({ atMs, seconds: MOMENT_FRAMES * frameSeconds, source: 'main', rows });
    }
  }
  return heardOf(moments);
}

/** The rows of those frames that lie in a stretch of the sound. */
function framesIn(
  embedder: Embedder,
  { values, count, startSeconds }: Embedded,
  fromSeconds: number,
  toSeconds: number,
): Rows {
  const { dim, frameSeconds } = embedder;
  const middle = (n: number) => startSeconds + (n + 0.5) * frameSeconds;
  const inside = [...Array(count).keys()].filter((n) => middle(n) >= fromSeconds && middle(n) <= toSeconds);
  const [first = 0] = inside;
  const rows = values.subarray(first * dim, (first + inside.length) * dim);
  return { values: rows, count: inside.length, dim };
}

/** An example as the device takes it: it finds out itself where the sound is. */
async function embedExample(
  embedder: Embedder,
  presentation: Presentation,
  home: Home,
  seed: number,
  name: string,
): Promise<EmbeddedExample & { name: string }> {
  const { samples } = presentation;
  const backgroundDbfs = 20 * Math.log10(home.bedRms);
  const part = soundingPart(samples, embedder.sampleRate, { backgroundDbfs, name });
  const copies = augment(samples, embedder.sampleRate, { part, backgroundDbfs, seed });
  const rows: Rows[] = [];
  for (const copy of copies)
    rows.push(framesIn(embedder, await embedder.embed(copy.samples), copy.fromSeconds, copy.toSeconds));
  return { name, plain: rows[0]!, taught: joinRows(rows, embedder.dim) };
}

function momentsOf({ moments }: HeardBackground, scores: Float64Array): HeardMoment[] {
  return moments.map(({ atMs, seconds, source, first, count }) => {
    let score = -Infinity;
    for (let n = first; n < first + count; n += 1) score = Math.max(score, scores[n]!);
    return { atMs, seconds, source, score };
  });
}

interface HomeSounds {
  home: Home;
  before: HeardBackground;
  after: Incidents;
  general: Rows;
}

async function oneTarget(
  embedder: Embedder,
  { home, before, after, general }: HomeSounds,
  target: Target,
  random: Random,
): Promise<Trial[]> {
  const most = Math.max(...options.examples);
  const examples: (EmbeddedExample & { name: string })[] = [];
  for (let n = 0; n < most; n += 1) {
    const snr = EXAMPLE_SNR_DB.min + random() * (EXAMPLE_SNR_DB.max - EXAMPLE_SNR_DB.min);
    const presentation = home.present(target.make(random), snr);
    examples.push(await embedExample(embedder, presentation, home, n, `Example ${n + 1}`));
  }
  const heard = new Map<number, Rows[]>();
  for (const snr of SNRS_DB) {
    const rows: Rows[] = [];
    for (let n = 0; n < options.times; n += 1) {
      const { samples } = home.present(target.make(random), snr);
      const { values, count } = await embedder.embed(samples);
      rows.push({ values, count, dim: embedder.dim });
    }
    heard.set(snr, rows);
  }
  return options.examples.map((count) => {
    const own = examples.slice(0, count);
    const began = performance.now();
    const { head, threshold, quality } = teach(
      { name: target.name, examples: own, background: before, general },
      { falseAlarmsPerDay: WISHED_PER_DAY, minGapSeconds: MIN_GAP_SECONDS },
    );
    const teachSeconds = (performance.now() - began) / 1000;
    const logit = Math.log(threshold / (1 - threshold));
    const alarms = alarmsIn(after, logitsOf(after.rows, head));
    const scores = SNRS_DB.map((snr) => heard.get(snr)!.map((rows) => highestOf(head, rows)));
    const raised = alarms.over(logit);
    const nearest = createNearest(own.map(({ plain }) => plain));
    const base = thresholdFor(momentsOf(before, nearest.ofQuantised(before.rows)), {
      wishedPerDay: WISHED_PER_DAY,
      minGapSeconds: MIN_GAP_SECONDS,
    });
    const baseThreshold = base?.threshold ?? 1;
    const baseAlarms = alarmsIn(after, nearest.ofQuantised(after.rows));
    const baseScores = SNRS_DB.map((snr) => heard.get(snr)!.map((rows) => Math.max(...nearest.ofRows(rows))));
    const foundAt = (all: readonly number[][], at: number) =>
      all.map((each) => each.filter((score) => score >= at).length);
    const wished = Math.max(1, Math.round((WISHED_PER_DAY * options.after) / DAY_MINUTES));
    return {
      target: target.name,
      isChime: target.isChime,
      examples: count,
      times: options.times,
      found: foundAt(scores, logit),
      baseFound: foundAt(baseScores, baseThreshold),
      falseAlarms: raised.length,
      falseAlarmsBy: raised,
      baseFalseAlarms: baseAlarms.over(baseThreshold).length,
      baseFoundAtEqual: foundAt(baseScores, baseAlarms.lowestWith(raised.length)),
      atWished: {
        falseAlarms: wished,
        found: foundAt(scores, alarms.lowestWith(wished)),
        baseFound: foundAt(baseScores, baseAlarms.lowestWith(wished)),
      },
      hours: options.after / 60,
      promised: quality.falseAlarmsPerDay,
      leftOut: { found: quality.found, of: quality.of },
      teachSeconds,
    };
  });
}

/** Milliseconds to score one label in all frames of a window, on one core. */
function costMs(dim: number, frames: number): number {
  const head: Head = { weights: new Float32Array(dim).fill(0.01), bias: 0 };
  const rows: Rows = { values: new Float32Array(frames * dim).fill(0.5), count: frames, dim };
  const RUNS = 5000;
  let sum = 0;
  for (let warm = 0; warm < 500; warm += 1) sum += highestOf(head, rows);
  const began = performance.now();
  for (let n = 0; n < RUNS; n += 1) for (let f = 0; f < frames; f += 1) sum += logitOf(head, rowAt(rows, f));
  if (Number.isNaN(sum)) throw new Error('nothing was measured');
  return (performance.now() - began) / RUNS;
}

async function main(): Promise<void> {
  const embedder = await openEmbedder(options.model);
  const random = createRandom(options.seed);
  const sounds = await gatherSounds(options.recordings, embedder.sampleRate, random);
  for (const note of sounds.notes) progress(note);
  const trials: Trial[] = [];
  for (let n = 0; n < options.homes; n += 1) {
    const own = createRandom(options.seed * 1000 + n);
    const home = createHome(embedder.sampleRate, own);
    progress(`home ${n + 1}: ${options.before} minutes before, ${options.after} after`);
    const before = await hear(embedder, home, sounds.before, options.before, 0);
    const after = await hearIncidents(embedder, home, sounds.after, options.after);
    // As on a device, but for its demo recording, which is a mixture of what is heard here.
    const made = await embedder.embed(generalSound(embedder.sampleRate));
    const general = { values: made.values, count: made.count, dim: embedder.dim };
    for (const target of sounds.targets) {
      progress(`home ${n + 1}: ${target.name}`);
      trials.push(...(await oneTarget(embedder, { home, before, after, general }, target, own)));
    }
  }
  const windowFrames = Math.ceil(5 / embedder.frameSeconds);
  const report: LearnReport = {
    host: hostFacts(),
    homes: options.homes,
    beforeHours: options.before / 60,
    afterHours: options.after / 60,
    soundsPerDay: Math.round(86_400 / PAUSE_SECONDS),
    snrsDb: SNRS_DB,
    notes: sounds.notes,
    trials,
    costMs: costMs(embedder.dim, windowFrames),
    costFrames: windowFrames,
  };
  process.stdout.write(`${formatReport(report)}\n`);
  if (options.json !== undefined) await writeFile(options.json, JSON.stringify(report, null, 2));
}

main().catch((error: unknown) => {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = 1;
});
