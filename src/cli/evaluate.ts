import { interruptible } from '../common/interrupt.js';
import { SoundpostError } from '../common/errors.js';
import { silentLogger } from '../common/log.js';
import { readMachine } from '../bench/models/model-bench-report.js';
import { checkReportFiles, writeReportFiles } from '../bench/report-files.js';
import { loadConfig } from '../config/load.js';
import { taggingSettings } from '../config/tagging-settings.js';
import { createKnownLabels } from '../evaluate/list/known-labels.js';
import { readList } from '../evaluate/list/read-list.js';
import { percent } from '../evaluate/report/columns.js';
import { formatCsv } from '../evaluate/report/csv.js';
import { formatPage } from '../evaluate/report/page.js';
import type { EvaluationReport, ModelReport } from '../evaluate/report/report.js';
import { formatTerminal } from '../evaluate/report/terminal.js';
import { formatThresholds, wantedThresholds } from '../evaluate/report/thresholds-file.js';
import { groupsOf } from '../evaluate/run/columns.js';
import { evaluate, type Candidate } from '../evaluate/run/evaluate.js';
import { createStartEngine } from '../inference/start-engine.js';
import type { InstalledModel, ModelRegistry } from '../models/registry.js';
import { createBar, type Bar } from './bar.js';
import type { CommandContext } from './context.js';
import { openRegistry } from './models.js';
import { createProgress } from './progress.js';
import { positive } from './tag.js';
import { programVersion } from './version.js';

type Flags = Record<string, string | boolean | undefined>;

const PRECISION = 0.9;
const LEAST_POSITIVES = 5;
const PIECE_SECONDS = 10;
const LEAST_PIECE_SECONDS = 1;
/** So many oddities of recordings are told one by one. */
const MOST_WARNINGS = 20;

const FORMATS = {
  json: (report: EvaluationReport) => `${JSON.stringify(report, null, 2)}\n`,
  csv: formatCsv,
  html: formatPage,
  writeThresholds: formatThresholds,
} as const;
const FLAGS = {
  json: '--json',
  csv: '--csv',
  html: '--html',
  writeThresholds: '--write-thresholds',
} as const;
const OUTPUTS = Object.keys(FORMATS) as (keyof typeof FORMATS)[];

/**
 * `soundpost evaluate LIST`: how good models are on labelled recordings of one's own: a table, and where wished JSON,
 * CSV, a page of HTML and thresholds. Interrupted, it writes nothing and ends with 128 + the number of the signal.
 * Resolves to 1 where a model could not be evaluated.
 */
export async function evaluateCommand(context: CommandContext, args: string[], own: Flags): Promise<number> {
  const [listPath = ''] = args;
  const { config } = loadConfig(context);
  const settings = taggingSettings(config);
  const precision = positive('--precision', own['precision'], PRECISION, (value) => value <= 1);
  const leastPositives = positive('--least', own['least'], LEAST_POSITIVES, Number.isInteger);
  const pieceSeconds = positive(
    '--piece',
    own['piece'],
    PIECE_SECONDS,
    (value) => value >= LEAST_PIECE_SECONDS,
  );
  const outputs = OUTPUTS.flatMap((name) => {
    const path = own[name];
    return typeof path === 'string' ? [{ name, flag: FLAGS[name], path }] : [];
  });
  const files = outputs.filter(({ name, path }) => name !== 'json' || path !== '-');
  const models = await chosenModels(openRegistry(context), own['model'], config.model.id);
  if (outputs.some(({ name }) => name === 'writeThresholds') && models.length > 1) {
    throw new SoundpostError(
      'usage',
      '--write-thresholds: thresholds are those of one model; name one with --model',
    );
  }
  const groups = groupsOf(settings);
  const candidates = models.map((model): Candidate => ({
    model,
    known: createKnownLabels(model.labels, groups),
  }));
  const interrupt = interruptible(() => process.stderr.write('\ninterrupted: nothing is written\n'));
  const { signal } = interrupt;
  const bar = createBar();
  const looking = createProgress('looking for the recordings');
  try {
    const list = await readList(listPath, {
      models: candidates.map(({ known }) => known),
      audioFolder: typeof own['audio'] === 'string' ? own['audio'] : undefined,
      keepGoing: own['keepGoing'] === true,
      signal,
      onProgress: (done, of) => looking.update(`${done} of ${of}`),
    });
    looking.done();
    await checkReportFiles(files);
    for (const problem of list.leftOut) process.stderr.write(`soundpost: left out: ${problem}\n`);
    bar.say(
      `${list.recordings.length} recording${list.recordings.length === 1 ? '' : 's'}, ${list.targets.length} label${list.targets.length === 1 ? '' : 's'}, ${models.length} model${models.length === 1 ? '' : 's'}`,
    );
    const { sys_root: sysRoot, proc_root: procRoot } = config.telemetry;
    const report = await evaluate(candidates, {
      list,
      listPath,
      settings,
      precision,
      leastPositives,
      pieceSeconds,
      keepGoing: own['keepGoing'] === true,
      startEngine: createStartEngine({ log: silentLogger }),
      threads: config.model.threads,
      rateHz: config.inference.rate_hz,
      windowSeconds: config.inference.window_seconds,
      machine: await readMachine({ sysRoot, procRoot, version: programVersion() }),
      signal,
      onProgress: (progress) => bar.update(progress),
      onModel: (model) => sayModel(bar, model),
      onWarning: warnings(bar),
    });
    bar.done();
    // A press at the last moment: nothing has been written yet.
    signal.throwIfAborted();
    await write(context, report, files, outputs.length > files.length);
    return report.models.every(({ error }) => error === null) ? 0 : 1;
  } catch (error) {
    if (!signal.aborted) throw error;
    return interrupt.exitCode ?? 1;
  } finally {
    looking.done();
    bar.done();
    interrupt.release();
  }
}

/** `all`, or ids with commas between them. Throws SoundpostError `model_unknown`. */
async function chosenModels(
  registry: ModelRegistry,
  wanted: Flags[string],
  fallback: string,
): Promise<InstalledModel[]> {
  if (wanted === 'all') return registry.list();
  const ids = (typeof wanted === 'string' ? wanted : fallback)
    .split(',')
    .map((id) => id.trim())
    .filter((id) => id !== '');
  if (ids.length === 0) throw new SoundpostError('usage', '--model: name a model, or all');
  return Promise.all([...new Set(ids)].map((id) => registry.get(id)));
}

function sayModel(bar: Bar, { id, means, error }: ModelReport): void {
  if (error !== null) bar.say(`${id}: FAILED: ${error.message}`);
  else
    bar.say(
      `${id}: ${means === null ? 'no label can be told from the rest' : `mAP ${means.map.toFixed(3)}`}`,
    );
}

function warnings(bar: Bar) {
  let told = 0;
  return (_recording: unknown, warning: string): void => {
    told += 1;
    if (told <= MOST_WARNINGS) bar.say(`soundpost: ${warning}`);
    if (told === MOST_WARNINGS) bar.say('soundpost: what is odd about further recordings is not told');
  };
}

/** The files first: the terminal may be gone. With JSON on stdout nothing else is printed there. */
async function write(
  context: CommandContext,
  report: EvaluationReport,
  files: readonly { name: keyof typeof FORMATS; flag: string; path: string }[],
  jsonToStdout: boolean,
): Promise<void> {
  const problems = await writeReportFiles(
    files.map(({ name, flag, path }) => ({ flag, path, text: FORMATS[name](report, path) })),
  );
  const thresholds = files.find(({ name }) => name === 'writeThresholds');
  const [model] = report.models;
  if (thresholds !== undefined && model !== undefined) {
    const count = wantedThresholds(report).size;
    process.stderr.write(
      `${thresholds.path}: thresholds of ${count} of ${model.labels.length} labels for a precision of ${percent(report.settings.precision)}; the others do not reach it, or are in fewer than ${report.settings.least_positives} pieces\n`,
    );
  }
  context.stdout.write(jsonToStdout ? FORMATS.json(report) : formatTerminal(report));
  if (problems.length > 0) throw new SoundpostError('evaluation_output', problems.join('\n'));
}
