import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { interruptible } from '../common/interrupt.js';
import { readArchitectureTensors } from '../bench/models/architecture-tensors.js';
import { formatPage } from '../bench/models/page.js';
import { readMachine, type BenchRow, type ModelBenchReport } from '../bench/models/model-bench-report.js';
import { runModelBench, type BenchStreaming } from '../bench/models/run-model-bench.js';
import { installedSubject, syntheticSubject, type Subject } from '../bench/models/subject.js';
import { formatMarkdown, formatTerminal, short } from '../bench/models/table.js';
import { createWorkFolder, type WorkFolder } from '../bench/work-folder.js';
import { SoundpostError } from '../common/errors.js';
import { silentLogger } from '../common/log.js';
import { didYouMean } from '../common/nearest.js';
import { projectRoot } from '../common/project.js';
import { THREADS } from '../common/rules.js';
import { loadConfig } from '../config/load.js';
import { architectures, findArchitecture } from '../convert/architectures/index.js';
import type { LeftEdge } from '../convert/streaming/plan.js';
import { leftEdgeOf } from '../inference/left-edge.js';
import { optimizedFolderIn } from '../inference/optimized-copy.js';
import { createStartEngine } from '../inference/start-engine.js';
import { latestStreamRecord } from '../inference/stream-record.js';
import { modelUnknown, readCatalogue } from '../models/catalogue.js';
import type { ModelRegistry } from '../models/registry.js';
import { readSoc } from '../telemetry/soc.js';
import { createBar, minutesAndSeconds } from './bar.js';
import type { CommandContext } from './context.js';
import { openRegistry } from './models.js';
import { checkReportFiles, writeReportFiles } from '../bench/report-files.js';
import { positive } from './tag.js';
import { programVersion } from './version.js';

type Flags = Record<string, string | boolean | undefined>;

/** What the service's default is, and what the CPU time of an hour is told for. */
const RATE_HZ = 1;
/** What a model takes at the most that is measured as a stream, too, beside one that is not. */
const WITH_STREAMS = 1.5;

/**
 * `soundpost bench`: latency, memory and temperature of each model on this machine, as a table and, where wished, as
 * JSON, as a page of HTML and as Markdown. Interrupted, it reports what was measured and ends with 128 + the number
 * of the signal.
 * Resolves to 1 where a model could not be measured.
 */
export async function benchCommand(context: CommandContext, _args: string[], own: Flags): Promise<number> {
  const { config } = loadConfig(context);
  const seconds = positive('--seconds', own['seconds'], 60);
  const threads = threadsFrom(own['threads'], config.model.threads);
  const outputs = outputsFrom(own);
  const registry = openRegistry(context);
  const { sys_root: sysRoot, proc_root: procRoot } = config.telemetry;
  const machine = await readMachine({ sysRoot, procRoot, version: programVersion() });
  await checkReportFiles(filesOf(outputs));
  const interrupt = interruptible(() =>
    process.stderr.write('\ninterrupted: finishing with what there is (once more to end at once)\n'),
  );
  // Made where it is needed.
  let work: WorkFolder | undefined;
  const bar = createBar();
  try {
    const leftEdge = leftEdgeOf(config.model.streaming);
    const withStreams = leftEdge !== null;
    const withArchitectures = own['architectures'] === true;
    if (withStreams || withArchitectures) work = await createWorkFolder(config.data_dir, 'bench');
    const subjects = await chooseSubjects(registry, own, withArchitectures ? work?.folder : undefined);
    bar.say(
      `${subjects.length} model${subjects.length === 1 ? '' : 's'}, about ${minutesAndSeconds(subjects.length * threads.length * (seconds * (withStreams ? WITH_STREAMS : 1) + 3))}; Ctrl-C ends it with what was measured until then`,
    );
    const report = await runModelBench({
      subjects,
      threads,
      seconds,
      rateHz: RATE_HZ,
      machine,
      startEngine: createStartEngine({ log: silentLogger }),
      ...(leftEdge !== null && work !== undefined && { streaming: streamingIn(work.folder, leftEdge) }),
      readSoc: () => readSoc({ sysRoot }),
      signal: interrupt.signal,
      onProgress: (progress) => bar.update(progress),
      onRow({ id, threads: count, result, streamed, error }) {
        const latency = result?.clip_ms.total;
        const what =
          latency === null || latency === undefined
            ? `FAILED: ${error?.message ?? 'nothing was measured'}`
            : `${short(latency.mean)} ms a clip, p99 ${short(latency.p99)}${hopText(result, streamed)}`;
        bar.say(`${id}${threads.length > 1 ? ` (threads: ${count})` : ''}: ${what}`);
      },
    });
    bar.done();
    await write(context, report, outputs);
    if (report.interrupted) return interrupt.exitCode ?? 1;
    return report.rows.every(({ error }) => error === null) ? 0 : 1;
  } finally {
    bar.done();
    await work?.remove();
    interrupt.release();
  }
}

/**
 * Streams of whatever can be one, however little it saves. They are made in a folder of the run: what the service would
 * find worth it is another question, and its folder is left as it was.
 */
function streamingIn(folder: string, leftEdge: LeftEdge): BenchStreaming {
  const optimizedFolder = optimizedFolderIn(folder);
  const wish = {
    ...{ windowSeconds: null, hopSeconds: 1 / RATE_HZ, leftEdge },
    ...{ worthBelow: Infinity, worthAbove: 0 },
  };
  return {
    startEngine: createStartEngine({ log: silentLogger, optimizedFolder, stream: () => wish }),
    async reasonOf(id) {
      const record = await latestStreamRecord(optimizedFolder, id);
      return record !== null && 'reason' in record ? record.reason : null;
    },
    forget: () => rm(optimizedFolder, { recursive: true, force: true }),
  };
}

/** What a hop costs in both forms, where there are two. */
function hopText(result: BenchRow['result'], streamed: BenchRow['streamed']): string {
  const [whole, stream] = [result?.stream, streamed].map((form) =>
    form == null || 'reason' in form ? null : form.cpu_ms_per_hop,
  );
  if (whole == null || stream == null) return '';
  return `; ${short(whole)} ms of CPU a hop, ${short(stream)} as a stream`;
}

interface Outputs {
  json?: string;
  html?: string;
  markdown?: string;
}

const FORMATS = {
  json: (report: ModelBenchReport) => `${JSON.stringify(report, null, 2)}\n`,
  html: formatPage,
  markdown: formatMarkdown,
};

function outputsFrom(own: Flags): Outputs {
  const outputs: Outputs = {};
  for (const name of ['json', 'html', 'markdown'] as const) {
    const value = own[name];
    if (typeof value === 'string') outputs[name] = value;
  }
  return outputs;
}

/** The files that are asked for; `-` as the file for JSON is stdout. */
function filesOf(outputs: Outputs) {
  return (['json', 'html', 'markdown'] as const).flatMap((name) => {
    const path = outputs[name];
    return path === undefined || (name === 'json' && path === '-')
      ? []
      : [{ flag: `--${name}`, path, format: FORMATS[name] }];
  });
}

/** The files first: the terminal may be gone. With JSON on stdout nothing else is printed there. */
async function write(context: CommandContext, report: ModelBenchReport, outputs: Outputs): Promise<void> {
  const problems = await writeReportFiles(
    filesOf(outputs).map(({ flag, path, format }) => ({ flag, path, text: format(report) })),
  );
  context.stdout.write(outputs.json === '-' ? FORMATS.json(report) : formatTerminal(report));
  if (problems.length > 0) throw new SoundpostError('bench_output', problems.join('\n'));
}

/** `1,2,4`. Throws SoundpostError `usage`. */
function threadsFrom(text: Flags[string], fallback: number): number[] {
  if (typeof text !== 'string') return [fallback];
  const counts = text.split(',').map((part) => positive('--threads', part, NaN, Number.isInteger));
  if (counts.some((count) => count > THREADS.max)) {
    throw new SoundpostError('usage', `--threads ${text}: at most ${THREADS.max}`);
  }
  return [...new Set(counts)].sort((a, b) => a - b);
}

/**
 * The models that were asked for: installed ones, and with --architectures the architectures that --models names, or
 * all of them where it names none.
 * @param folder where synthetic networks are written; undefined where none are wanted
 * Throws SoundpostError `usage` where a name is not known.
 */
async function chooseSubjects(
  registry: ModelRegistry,
  own: Flags,
  folder: string | undefined,
): Promise<Subject[]> {
  const text = typeof own['models'] === 'string' ? own['models'] : undefined;
  const names = text
    ?.split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const all = names === undefined || names.includes('all');
  const installed = await registry.list();
  const wanted = new Set(names ?? []);
  wanted.delete('all');
  const subjects: Subject[] = [];
  for (const model of installed) {
    if (all || wanted.has(model.manifest.id)) subjects.push(installedSubject(model));
    wanted.delete(model.manifest.id);
  }
  if (folder !== undefined) {
    const chosen = namedArchitectures(wanted);
    subjects.push(...(await synthetic(registry, chosen.length > 0 ? chosen : architectures, folder)));
  }
  if (wanted.size > 0) {
    const ids = installed.map(({ manifest }) => manifest.id);
    const catalogue = await readCatalogue(join(projectRoot(), 'models'));
    const faults = [...wanted].map((name) =>
      folder === undefined
        ? modelUnknown(name, { installed: ids, catalogue }).message
        : `There is no ${name}.${didYouMean(name, [...ids, ...architectures.map((one) => one.name)])} Installed: ${ids.join(', ')}.`,
    );
    throw new SoundpostError(
      'usage',
      `--models ${text ?? ''}: ${faults.join(' ')} ${
        folder !== undefined
          ? `Architectures: ${architectures.map(({ name }) => name).join(', ')}.`
          : 'With --architectures a name may also be an architecture (mn10, Cnn14), which is measured with synthetic weights.'
      }`,
    );
  }
  return subjects;
}

/** Takes the names that are architectures out of the list. */
function namedArchitectures(wanted: Set<string>) {
  return [...wanted].flatMap((name) => {
    const known = architectures.some((one) => one.name.toLowerCase() === name.toLowerCase());
    if (!known) return [];
    wanted.delete(name);
    return [findArchitecture(name)];
  });
}

async function synthetic(
  registry: ModelRegistry,
  chosen: typeof architectures,
  folder: string,
): Promise<Subject[]> {
  const bundled = join(projectRoot(), 'models');
  const [tensors, catalogue] = await Promise.all([readArchitectureTensors(bundled), readCatalogue(bundled)]);
  const subjects = chosen.map(async (architecture) => {
    const shapes = tensors.get(architecture.name);
    if (shapes === undefined) return [];
    const released = catalogue.models.filter((entry) => entry.architecture === architecture.name);
    const name = released[0]?.labels ?? 'audioset-527';
    const labelSet = { name, labels: await registry.labelSet(name) };
    return [syntheticSubject({ architecture, tensors: shapes, released, labelSet, folder })];
  });
  return (await Promise.all(subjects)).flat();
}
