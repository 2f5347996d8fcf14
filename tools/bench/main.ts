import { access, cp, mkdir, readFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { join, resolve } from 'node:path';
import { messageOf, SoundpostError } from '../../src/common/errors.js';
import { projectRoot } from '../../src/common/project.js';
import { silentLogger } from '../../src/common/log.js';
import { parseManifest, type Manifest } from '../../src/models/manifest.js';
import { createRegistry } from '../../src/models/registry.js';
import { hasMosquitto } from '../../src/bench/broker-process.js';
import { hostFacts } from '../../src/bench/host-facts.js';
import { interruptible } from '../../src/common/interrupt.js';
import { parseOptions, type BenchOptions } from './options.js';
import { measurePytorch } from './pytorch-yardstick.js';
import { formatServiceBenchReport, verdictsOf, type BenchReport } from './service-bench-report.js';
import { runService } from './service-run.js';
import { benchSources } from './sources-bench.js';
import { formatSourcesReport, sourcesVerdicts, type SourcesReport } from './sources-report.js';
import { measureNetwork } from './network-baseline.js';
import { installLargeModel } from './large-model.js';
import { checkReportFiles, writeReportFiles } from '../../src/bench/report-files.js';
import { createWorkFolder, type WorkFolder } from '../../src/bench/work-folder.js';

/*
 * npm run bench: what the service costs as a whole, beside what its network alone and a PyTorch pipeline cost.
 * The report goes to stdout, progress to stderr.
 */

const LARGE_MODEL = 'synthetic-cnn14';
const BACK_TO_BACK_RUNS = 50;
const SPACED_RUNS = 15;
const SECONDS = 60;
/** Of each run with one or several sources. */
const SOURCES_SECONDS = 20;
/** V8 takes back what the start has left behind 40 to 50 s after it, some 25 MB, and compiles until then. */
const SOURCES_SETTLE_SECONDS = 45;
const SOURCES_WINDOW_SECONDS = 10;

function progress(message: string): void {
  process.stderr.write(`bench: ${message}\n`);
}

/** The load of the last minute; says so where it is too high for figures that mean something. */
function loadNow(): number {
  const load = loadavg()[0] ?? 0;
  if (load > cpus().length / 2)
    progress(
      `the machine is busy (load ${load.toFixed(1)}): caches and cores are shared, figures come out too large`,
    );
  return load;
}

async function bench(options: BenchOptions, folder: string, signal: AbortSignal): Promise<BenchReport> {
  const program = join(projectRoot(), 'dist', 'src', 'main.js');
  const { manifest, folder: modelFolder } = await findModel(options);
  const windowSeconds = manifest.input.window_seconds;
  const broker = options.broker ?? (hasMosquitto() ? 'mosquitto' : 'embedded');
  const model = { manifest, onnxPath: join(modelFolder, 'model.onnx') };
  const intervalMs = 1000 / options.rate;

  const load = loadNow();
  progress(`session.run of ${manifest.id} alone`);
  const session = {
    backToBack: await measureNetwork(model, { runs: BACK_TO_BACK_RUNS, intervalMs: 0, signal }),
    spaced: await measureNetwork(model, { runs: SPACED_RUNS, intervalMs, signal }),
  };

  progress('the PyTorch pipeline');
  const pytorch = await measureBothPytorch(options, intervalMs / 1000, signal);
  signal.throwIfAborted();

  const run = {
    program,
    recording: resolve(options.recording),
    rateHz: options.rate,
    broker,
    signal,
    progress,
  };
  const small = join(folder, 'small');
  await mkdir(join(small, 'data', 'models'), { recursive: true });
  if (!(await isBundled(manifest.id)))
    await cp(modelFolder, join(small, 'data', 'models', manifest.id), { recursive: true });
  const service = await runService({
    ...run,
    folder: small,
    modelId: manifest.id,
    windowSeconds,
    seconds: options.seconds ?? SECONDS,
    eventLoop: false,
  });

  const report: Omit<BenchReport, 'verdicts'> = {
    machine: {
      ...hostFacts(),
      load,
    },
    model: manifest.id,
    macs: manifest.macs,
    rateHz: options.rate,
    broker,
    session,
    pytorch,
    service,
    large: options.large ? await benchLarge(run, options, join(folder, 'large')) : null,
  };
  return { ...report, verdicts: verdictsOf(report) };
}

async function benchSeveral(
  options: BenchOptions & { sources: number },
  folder: string,
  signal: AbortSignal,
): Promise<SourcesReport> {
  const { manifest, folder: modelFolder } = await findModel(options);
  const { rate: rateHz, sources } = options;
  const broker = options.broker ?? (hasMosquitto() ? 'mosquitto' : 'embedded');
  const load = loadNow();
  const rounds = await benchSources({
    program: join(projectRoot(), 'dist', 'src', 'main.js'),
    folder,
    modelId: manifest.id,
    modelFolder: (await isBundled(manifest.id)) ? null : modelFolder,
    windowSeconds: SOURCES_WINDOW_SECONDS,
    rateHz,
    settleSeconds: SOURCES_SETTLE_SECONDS,
    seconds: options.seconds ?? SOURCES_SECONDS,
    sources,
    rounds: options.rounds,
    recording: resolve(options.recording),
    broker,
    signal,
    progress,
  });
  return {
    machine: { ...hostFacts(), load },
    model: manifest.id,
    windowSeconds: SOURCES_WINDOW_SECONDS,
    rateHz,
    sources,
    broker,
    rounds,
    verdicts: sourcesVerdicts({ rounds, rateHz }),
  };
}

/**
 * The model to be measured: a folder, or the id of one that is installed.
 * @throws SoundpostError `model_unknown` with the ids that there are
 */
async function findModel({
  model,
  dataDir,
}: Pick<BenchOptions, 'model' | 'dataDir'>): Promise<{ manifest: Manifest; folder: string }> {
  const manifestPath = join(model, 'model.json');
  if (await exists(manifestPath)) {
    return { manifest: parseManifest(await readFile(manifestPath, 'utf8'), manifestPath), folder: model };
  }
  const bundledFolder = join(projectRoot(), 'models');
  return createRegistry({ bundledFolder, dataDir: resolve(dataDir), log: silentLogger }).get(model);
}

async function measureBothPytorch(
  options: BenchOptions,
  intervalSeconds: number,
  signal: AbortSignal,
): Promise<BenchReport['pytorch']> {
  const { checkpoint } = options;
  if (checkpoint === undefined) return { skipped: '--checkpoint names what to compare with' };
  const measure = (windows: number, seconds: number) =>
    measurePytorch({
      script: join(projectRoot(), 'tools', 'bench', 'pytorch-pipeline.py'),
      python: options.python,
      checkpoint: resolve(checkpoint),
      recording: resolve(options.recording),
      windows,
      intervalSeconds: seconds,
      signal,
    });
  const backToBack = await measure(BACK_TO_BACK_RUNS, 0);
  if ('skipped' in backToBack) return backToBack;
  const spaced = await measure(SPACED_RUNS, intervalSeconds);
  return 'skipped' in spaced ? spaced : { spaced: spaced.result, backToBack: backToBack.result };
}

async function benchLarge(
  run: Pick<
    Parameters<typeof runService>[0],
    'program' | 'recording' | 'rateHz' | 'broker' | 'signal' | 'progress'
  >,
  options: BenchOptions,
  folder: string,
): Promise<BenchReport['large']> {
  progress('making the large model');
  const data = join(folder, 'data');
  const { bytes, folder: modelFolder } = await installLargeModel(data, LARGE_MODEL);
  run.signal.throwIfAborted();
  const manifestPath = join(modelFolder, 'model.json');
  const manifest = parseManifest(await readFile(manifestPath, 'utf8'), manifestPath);
  const onnxPath = join(modelFolder, 'model.onnx');
  const session = await measureNetwork(
    { manifest, onnxPath },
    { runs: 5, intervalMs: 0, signal: run.signal },
  );
  const service = await runService({
    ...run,
    folder,
    modelId: LARGE_MODEL,
    windowSeconds: manifest.input.window_seconds,
    seconds: Math.min(options.seconds ?? SECONDS, 30),
    eventLoop: true,
  });
  return { model: LARGE_MODEL, bytes, session, service };
}

function isBundled(id: string): Promise<boolean> {
  return exists(join(projectRoot(), 'models', id, 'model.json'));
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function told<T extends BenchReport | SourcesReport>(report: T, format: (report: T) => string): [T, string] {
  return [report, format(report)];
}

// Whoever reads it may be gone, a terminal too: that must not keep the run from ending in order.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
const options = parseOptions();
const files = options.json === undefined ? [] : [{ flag: '--json', path: options.json }];
const interrupt = interruptible(() => progress('interrupted: stopping what was started'));
let work: WorkFolder | undefined;
try {
  await checkReportFiles(files);
  work = await createWorkFolder(join(projectRoot(), 'data'), 'bench');
  const { sources } = options;
  const [report, formatted] =
    sources === undefined
      ? told(await bench(options, work.folder, interrupt.signal), formatServiceBenchReport)
      : told(await benchSeveral({ ...options, sources }, work.folder, interrupt.signal), formatSourcesReport);
  const text = `${JSON.stringify(report, null, 2)}\n`;
  const problems = await writeReportFiles(files.map((file) => ({ ...file, text })));
  process.stdout.write(formatted);
  if (problems.length > 0) throw new SoundpostError('bench_output', problems.join('\n'));
  if (options.check && report.verdicts.some(({ met }) => met === false)) process.exitCode = 1;
} catch (error) {
  if (interrupt.exitCode === null) process.stderr.write(`bench: ${messageOf(error)}\n`);
  process.exitCode = interrupt.exitCode ?? 1;
} finally {
  await work?.remove();
  interrupt.release();
}
