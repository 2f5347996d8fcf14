import { access, cp, mkdir, readFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { join, resolve } from 'node:path';
import { Command, Option } from '@commander-js/extra-typings';
import { messageOf, SoundpostError } from '../../src/common/errors.js';
import { projectRoot } from '../../src/common/project.js';
import { silentLogger } from '../../src/common/log.js';
import { parseManifest, type Manifest } from '../../src/models/manifest.js';
import { createRegistry } from '../../src/models/registry.js';
import { hasMosquitto } from '../../src/bench/broker-process.js';
import { hostFacts } from '../../src/bench/host-facts.js';
import { interruptible } from '../../src/common/interrupt.js';
import { measurePytorch } from './pytorch-yardstick.js';
import { formatServiceBenchReport, verdictsOf, type BenchReport } from './service-bench-report.js';
import { runService } from './service-run.js';
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

interface Options {
  seconds: number;
  rate: number;
  model: string;
  recording: string;
  dataDir: string;
  checkpoint?: string;
  python: string;
  broker?: 'embedded' | 'mosquitto';
  large: boolean;
  json?: string;
  check: boolean;
}

function progress(message: string): void {
  process.stderr.write(`bench: ${message}\n`);
}

/** A positive number, for commander. */
function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`"${text}" is not a positive number.`);
  return value;
}

function parseOptions(): Options {
  return new Command('npm run bench --')
    .description('Measures the service as a whole: CPU per hop, memory, event-loop delay.')
    .option('--seconds <s>', 'how long to measure, after warming up', positive, 60)
    .option('--rate <hz>', 'inferences per second', positive, 1)
    .option(
      '--model <id>',
      'an installed model, or a folder with model.json and model.onnx',
      'soundpost-home',
    )
    .option('--data-dir <folder>', 'where installed models are', process.env['SOUNDPOST_DATA_DIR'] ?? 'data')
    .option(
      '--recording <wav>',
      'mono 16-bit, 32 kHz; the demo recording where left out',
      join(projectRoot(), 'models', 'demo', 'day-at-home.wav'),
    )
    .option(
      '--checkpoint <pt>',
      'the EfficientAT checkpoint that the model was made of, to be compared with in PyTorch',
    )
    .option('--python <program>', 'a Python with torch', '/usr/bin/python3')
    .addOption(
      new Option('--broker <kind>', 'default: mosquitto where it is installed').choices([
        'embedded',
        'mosquitto',
      ]),
    )
    .option('--no-large', 'leave out the large synthetic model (needs 330 MB on disk)')
    .option('--json <file>', 'write what was measured as JSON')
    .option('--check', 'exit with 1 when a limit is missed', false)
    .parse()
    .opts();
}

async function bench(options: Options, folder: string, signal: AbortSignal): Promise<BenchReport> {
  const program = join(projectRoot(), 'dist', 'src', 'main.js');
  const { manifest, folder: modelFolder } = await findModel(options);
  const windowSeconds = manifest.input.window_seconds;
  const broker = options.broker ?? (hasMosquitto() ? 'mosquitto' : 'embedded');
  const model = { manifest, onnxPath: join(modelFolder, 'model.onnx') };
  const intervalMs = 1000 / options.rate;

  const load = loadavg()[0] ?? 0;
  if (load > cpus().length / 2)
    progress(
      `the machine is busy (load ${load.toFixed(1)}): caches and cores are shared, figures come out too large`,
    );
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
  const bundled = await exists(join(projectRoot(), 'models', manifest.id, 'model.json'));
  if (!bundled) await cp(modelFolder, join(small, 'data', 'models', manifest.id), { recursive: true });
  const service = await runService({
    ...run,
    folder: small,
    modelId: manifest.id,
    windowSeconds,
    seconds: options.seconds,
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

/**
 * The model to be measured: a folder, or the id of one that is installed.
 * @throws SoundpostError `model_unknown` with the ids that there are
 */
async function findModel({ model, dataDir }: Options): Promise<{ manifest: Manifest; folder: string }> {
  const manifestPath = join(model, 'model.json');
  if (await exists(manifestPath)) {
    return { manifest: parseManifest(await readFile(manifestPath, 'utf8'), manifestPath), folder: model };
  }
  const bundledFolder = join(projectRoot(), 'models');
  return createRegistry({ bundledFolder, dataDir: resolve(dataDir), log: silentLogger }).get(model);
}

async function measureBothPytorch(
  options: Options,
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
  options: Options,
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
    seconds: Math.min(options.seconds, 30),
    eventLoop: true,
  });
  return { model: LARGE_MODEL, bytes, session, service };
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
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
  const report = await bench(options, work.folder, interrupt.signal);
  const text = `${JSON.stringify(report, null, 2)}\n`;
  const problems = await writeReportFiles(files.map((file) => ({ ...file, text })));
  process.stdout.write(formatServiceBenchReport(report));
  if (problems.length > 0) throw new SoundpostError('bench_output', problems.join('\n'));
  if (options.check && report.verdicts.some(({ met }) => met === false)) process.exitCode = 1;
} catch (error) {
  if (interrupt.exitCode === null) process.stderr.write(`bench: ${messageOf(error)}\n`);
  process.exitCode = interrupt.exitCode ?? 1;
} finally {
  await work?.remove();
  interrupt.release();
}
