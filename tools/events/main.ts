import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { hostFacts } from '../../src/bench/host-facts.js';
import { interruptible } from '../../src/common/interrupt.js';
import { checkReportFiles, writeReportFiles, type ReportFile } from '../../src/bench/report-files.js';
import { createWorkFolder, type WorkFolder } from '../../src/bench/work-folder.js';
import { codeOf, messageOf, SoundpostError } from '../../src/common/errors.js';
import { projectRoot } from '../../src/common/project.js';
import { createRandom } from '../../test/support/random.js';
import { encodeWav } from '../../test/support/wav.js';
import { measureCost, type Cost } from './cost.js';
import { hearRecording } from './hear-recording.js';
import { matchEvents, type FalseEvent, type Matched } from './match.js';
import { parseOptions, type Options } from './options.js';
import { readRecordings } from './recordings.js';
import { formatEventsReport, type EventsReport, type ModelReport } from './events-report.js';
import { mixScene, type PlacedSound, type Scene } from './scene.js';
import { findSubject, installCopy, type MeasuredModel } from './subjects.js';
import { delayOf, goalsOf, rowsOf, type Delay, type HeardScene } from './summary.js';

/*
 * npm run bench:events: when the service says that sounds are, against scenes in which that is known. The report goes
 * to stdout, progress to stderr.
 */

const SAMPLE_RATE = 32_000;
const PEAK_DBFS = -14;
/** More than the minimum gap, so that neighbours are two events. */
const PAUSE_SECONDS = [4, 6] as const;
/** Longer than the longest window and the minimum gap, so that everything ends before the recording does. */
const TAIL_SECONDS = 15;
/** Delays are measured at one level of noise, between the quiet and the loud one. */
const DELAY_NOISE_DBFS = -52;
const COST_SCENE_SECONDS = 45;

function progress(message: string): void {
  process.stderr.write(`bench: ${message}\n`);
}

/** A scene on the disk, where its samples are: kept as well they would fill the memory while models are measured. */
interface Recorded {
  scene: Omit<Scene, 'samples'>;
  path: string;
  seconds: number;
}

interface Bench {
  options: Options;
  folder: string;
  program: string;
  signal: AbortSignal;
  /** As fast as it can. */
  scenes: Recorded[];
  /** In real time. */
  delayScene: Recorded | null;
  /** Played in a loop while the CPU is measured. */
  costScene: Recorded | null;
}

async function record(folder: string, name: string, { samples, ...scene }: Scene): Promise<Recorded> {
  const path = join(folder, `${name}.wav`);
  await writeFile(path, encodeWav(samples, scene.sampleRate));
  return { scene, path, seconds: samples.length / scene.sampleRate };
}

async function makeScenes(
  options: Options,
  folder: string,
): Promise<Pick<Bench, 'scenes' | 'delayScene' | 'costScene'>> {
  const recordings = await readRecordings(
    options.material,
    join(projectRoot(), 'models', 'demo'),
    SAMPLE_RATE,
  );
  const mix = (noiseDbfs: number, mostSeconds: number | null, seed: number) =>
    mixScene(
      {
        recordings,
        sampleRate: SAMPLE_RATE,
        lengthsSeconds: options.lengths,
        peakDbfs: PEAK_DBFS,
        noiseDbfs,
        pauseSeconds: PAUSE_SECONDS,
        tailSeconds: TAIL_SECONDS,
        mostSeconds,
      },
      createRandom(seed),
    );
  const scenes: Recorded[] = [];
  for (let repeat = 0; options.accuracy && repeat < options.repeats; repeat += 1) {
    for (const [index, noise] of options.noise.entries()) {
      const scene = mix(noise, null, options.seed * 10_000 + repeat * 100 + index);
      scenes.push(await record(folder, `scene-${repeat}-${index}`, scene));
    }
  }
  const short = async (name: string, seconds: number, index: number) =>
    record(folder, name, mix(DELAY_NOISE_DBFS, seconds + TAIL_SECONDS, options.seed * 10_000 + index));
  return {
    scenes,
    delayScene: options.delaySeconds > 0 ? await short('scene-delay', options.delaySeconds, 9999) : null,
    costScene: options.costSeconds > 0 ? await short('scene-cost', COST_SCENE_SECONDS, 9998) : null,
  };
}

/** The labels of a sound that the model claims to name; without a word of its makers, those that it has. */
function claimedBy({ name, labels }: MeasuredModel): (sound: PlacedSound) => readonly string[] {
  return ({ recording }) => recording.claims[name] ?? recording.labels.filter((label) => labels.has(label));
}

async function measureModel(bench: Bench, subject: MeasuredModel): Promise<ModelReport> {
  const { options, program, signal } = bench;
  const { name } = subject;
  const folder = join(bench.folder, `model-${name.replaceAll(/[^A-Za-z0-9._-]/g, '_')}`);
  await mkdir(folder, { recursive: true });
  const modelId = 'measured';
  const { input, output, title } = await installCopy(subject, join(folder, 'data'), {
    id: modelId,
    contextSeconds: options.context,
    lookbackSeconds: options.lookback,
  });
  const claimed = claimedBy(subject);
  const hear = async (recorded: Recorded, rateHz: number, speed: '1' | 'max'): Promise<Matched> => {
    const { path: recording, seconds, scene } = recorded;
    progress(
      `${name}: ${scene.sounds.length} sounds in ${Math.round(seconds)} s, noise at ${scene.noiseDbfs} dBFS, ${rateHz} Hz, ${speed === '1' ? 'in real time' : 'as fast as it can'}`,
    );
    const threshold =
      options.threshold === null ? {} : { SOUNDPOST_TAGGING_THRESHOLD: String(options.threshold) };
    const plan = { rateHz, minSeconds: input.min_seconds, windowSeconds: input.window_seconds };
    const events = await hearRecording({
      program,
      folder,
      modelId,
      plan,
      recording,
      seconds,
      speed,
      broker: options.broker,
      settings: { ...threshold, ...options.set },
      signal,
    });
    return matchEvents(scene.sounds, events, claimed);
  };

  const accuracyRateHz = options.rates[0] ?? 1;
  const heard: HeardScene[] = [];
  const delays: Delay[] = [];
  if (!subject.synthetic) {
    for (const recorded of bench.scenes) {
      heard.push({
        noiseDbfs: recorded.scene.noiseDbfs,
        ...(await hear(recorded, accuracyRateHz, 'max')),
      });
    }
    for (const rateHz of bench.delayScene === null ? [] : options.rates) {
      const delay = delayOf(rateHz, (await hear(bench.delayScene!, rateHz, '1')).outcomes);
      if (delay !== null) delays.push(delay);
    }
  }
  const rows = heard.length === 0 ? [] : rowsOf(heard, options.lengths);
  const role = output.frames?.role ?? null;
  return {
    model: name,
    title,
    role,
    windowSeconds: input.window_seconds,
    contextSeconds: output.frames?.context_seconds ?? null,
    synthetic: subject.synthetic,
    accuracyRateHz,
    rows,
    delays,
    cost: await costOf(bench, subject, folder, accuracyRateHz),
    goals: subject.synthetic ? [] : goalsOf(role, rows.at(-1) ?? null, delays),
    falseNames: falseNames(heard.flatMap(({ falseEvents }) => falseEvents)),
  };
}

async function costOf(
  { options, program, signal, costScene }: Bench,
  subject: MeasuredModel,
  folder: string,
  rateHz: number,
): Promise<Cost | null> {
  if (costScene === null) return null;
  progress(`${subject.name}: CPU per hop at ${rateHz} Hz`);
  return measureCost(subject, {
    program,
    folder: join(folder, 'cost'),
    recording: costScene.path,
    rateHz,
    seconds: options.costSeconds,
    broker: options.broker,
    signal,
    progress,
  });
}

function falseNames(events: readonly FalseEvent[]): ModelReport['falseNames'] {
  const names = new Map<string, ModelReport['falseNames'][number]>();
  for (const { event, sound } of events) {
    const of = sound?.recording.name ?? null;
    const key = JSON.stringify([event.label, of]);
    const entry = names.get(key) ?? { label: event.label, sound: of, times: 0 };
    entry.times += 1;
    names.set(key, entry);
  }
  return [...names.values()].sort((a, b) => b.times - a.times);
}

async function run(options: Options, folder: string, signal: AbortSignal): Promise<EventsReport> {
  const program = join(projectRoot(), 'dist', 'src', 'main.js');
  const load = loadavg()[0] ?? 0;
  if (load > cpus().length / 2)
    progress(
      `the machine is busy (load ${load.toFixed(1)}): delays and CPU come out too large; the times of sounds do not`,
    );
  progress('mixing scenes');
  const bench: Bench = { options, folder, program, signal, ...(await makeScenes(options, folder)) };
  const models: ModelReport[] = [];
  const skipped: EventsReport['skipped'] = [];
  for (const name of options.models) {
    signal.throwIfAborted();
    try {
      const { material: materialFolder } = options;
      const found = await findSubject(name, {
        materialFolder,
        program,
        workFolder: folder,
        signal,
        progress,
      });
      if ('skipped' in found) {
        progress(`${name}: left out, ${found.skipped}`);
        skipped.push({ model: name, reason: found.skipped });
      } else {
        models.push(await measureModel(bench, found));
      }
    } catch (error) {
      // One model that fails must not cost the others what was measured.
      if (signal.aborted || !(error instanceof SoundpostError)) throw error;
      progress(`${name}: ${messageOf(error)}`);
      skipped.push({ model: name, reason: `it failed (${codeOf(error)})` });
      process.exitCode = 1;
    }
  }
  return {
    machine: { ...hostFacts(), load },
    seed: options.seed,
    repeats: options.repeats,
    peakDbfs: PEAK_DBFS,
    threshold: options.threshold,
    settings: options.set,
    broker: options.broker,
    models,
    skipped,
  };
}

// Whoever reads it may be gone, a terminal too: that must not keep the run from ending in order.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
const options = parseOptions();
const files: Omit<ReportFile, 'text'>[] = [
  ...(options.json === undefined ? [] : [{ flag: '--json', path: options.json }]),
  ...(options.markdown === undefined ? [] : [{ flag: '--markdown', path: options.markdown }]),
];
const interrupt = interruptible(() => progress('interrupted: stopping what was started'));
let work: WorkFolder | undefined;
try {
  await checkReportFiles(files);
  work = await createWorkFolder(join(projectRoot(), 'data'), 'bench-events');
  const report = await run(options, work.folder, interrupt.signal);
  const text = formatEventsReport(report);
  const json = `${JSON.stringify(report, null, 2)}\n`;
  const problems = await writeReportFiles(
    files.map((file) => ({ ...file, text: file.flag === '--json' ? json : text })),
  );
  process.stdout.write(text);
  if (report.models.length === 0) process.exitCode = 1;
  if (problems.length > 0) throw new SoundpostError('bench_output', problems.join('\n'));
} catch (error) {
  if (interrupt.exitCode === null) process.stderr.write(`bench: ${messageOf(error)}\n`);
  process.exitCode = interrupt.exitCode ?? 1;
} finally {
  await work?.remove();
  interrupt.release();
}
