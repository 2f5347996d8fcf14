import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hasMosquitto } from '../bench/broker-process.js';
import { interruptible } from '../common/interrupt.js';
import { soakHtml } from '../bench/soak/html.js';
import {
  closingLine,
  headline,
  reportTables,
  type SoakReport,
  type SoakSettings,
} from '../bench/soak/soak-report.js';
import { runSoak } from '../bench/soak/run-soak.js';
import { DEFAULT_LIMITS, type SoakLimits } from '../bench/soak/verdict.js';
import { SoundpostError } from '../common/errors.js';
import { projectRoot } from '../common/project.js';
import { loadConfig } from '../config/load.js';
import { environmentName, keys, type Config } from '../config/schema.js';
import { BUNDLED_MODEL } from '../models/bundled.js';
import type { CommandContext } from './context.js';
import { openRegistry } from './models.js';
import { createProgress } from './progress.js';
import { checkReportFiles, writeReportFiles, type ReportFile } from '../bench/report-files.js';
import { table } from './table.js';
import { positive } from './tag.js';
import { programVersion } from './version.js';

const DEFAULT_HOURS = 24;
const PLAIN_PROGRESS_MS = 30_000;

type Own = Record<string, string | boolean | undefined>;

/** The flags that set a limit, and what they set. */
const LIMIT_FLAGS = [
  ['max-latency-drift', 'latencyDrift'],
  ['max-memory-growth', 'memoryGrowth'],
  ['max-gaps', 'gaps'],
  ['max-drops', 'drops'],
  ['max-restarts', 'restarts'],
  ['max-loop-delay', 'eventLoopMs'],
  ['max-clock-drift', 'clockDriftPpm'],
  ['max-swap-ms', 'swapMs'],
] as const satisfies readonly (readonly [string, keyof SoakLimits])[];

/**
 * `soundpost soak`: a long run of the whole service, with a verdict. Resolves to 1 where a limit was missed, else
 * to 0.
 */
export async function soakCommand(context: CommandContext, _args: string[], own: Own): Promise<number> {
  const { config } = loadConfig(context);
  const settings = settingsOf(config, own);
  const registry = openRegistry(context);
  const models = await Promise.all(
    [settings.model, ...(settings.swap === null ? [] : [settings.swap.to])].map((id) => registry.get(id)),
  );
  const files = reportFiles(own);
  await checkReportFiles(files);
  const interrupt = interruptible(() =>
    process.stderr.write('soundpost: ending the run; its report follows\n'),
  );
  const progress = createProgress('soak');
  let shownMs: number | null = null;
  try {
    const report = await runSoak({
      settings,
      version: programVersion(),
      program: fileURLToPath(new URL('../main.js', import.meta.url)),
      dataDir: config.data_dir,
      modelFolders: models
        .filter(({ bundled }) => !bundled)
        .map(({ manifest, folder }) => ({ id: manifest.id, folder })),
      recording:
        settings.source === 'microphone'
          ? null
          : settings.source === 'demo'
            ? join(projectRoot(), 'models', 'demo', 'day-at-home.wav')
            : settings.source,
      serviceSettings: forwarded(config, settings),
      signal: interrupt.signal,
      progress(text) {
        const now = performance.now();
        // A day of lines every few seconds would be a long log.
        if (shownMs === null) process.stderr.write('soundpost: the first windows have arrived\n');
        if (shownMs !== null && !process.stderr.isTTY && now - shownMs < PLAIN_PROGRESS_MS) return;
        shownMs = now;
        progress.update(text);
      },
      async interim(soFar) {
        // A full disk may have room again at the end, and the run goes on either way.
        for (const problem of await writeReportFiles(files.map((file) => withText(file, soFar)))) {
          progress.done();
          process.stderr.write(`soundpost: ${problem}; the run goes on\n`);
        }
      },
    });
    progress.done();
    // The files first: the terminal may be gone.
    const problems = await writeReportFiles(files.map((file) => withText(file, report)));
    if (own['json'] === '-') context.stdout.write(jsonText(report));
    else print(report, context);
    if (problems.length > 0) throw new SoundpostError('soak_output', problems.join('\n'));
    return report.kept === false ? 1 : 0;
  } finally {
    interrupt.release();
  }
}

/** The files that are asked for; `-` as the file for JSON is stdout. */
function reportFiles(own: Own): { flag: '--json' | '--html'; path: string }[] {
  const { json, html } = own;
  return [
    ...(typeof json === 'string' && json !== '-' ? [{ flag: '--json' as const, path: json }] : []),
    ...(typeof html === 'string' ? [{ flag: '--html' as const, path: html }] : []),
  ];
}

const jsonText = (report: SoakReport) => `${JSON.stringify(report, null, 1)}\n`;

function withText(file: ReturnType<typeof reportFiles>[number], report: SoakReport): ReportFile {
  return { ...file, text: file.flag === '--json' ? jsonText(report) : soakHtml(report) };
}

function settingsOf(config: Config, own: Own): SoakSettings {
  const text = (name: string) => (typeof own[name] === 'string' ? own[name] : undefined);
  const oneOf = <T extends string>(name: string, fallback: T, ...allowed: T[]): T => {
    const given = text(name) ?? fallback;
    const found = allowed.find((value) => value === given);
    if (found === undefined) {
      throw new SoundpostError('usage', `--${name} ${given}: must be ${allowed.join(' or ')}`);
    }
    return found;
  };
  const speed = oneOf('speed', '1', '1', 'max') === 'max' ? ('max' as const) : (1 as const);
  const source = text('source') ?? 'demo';
  if (source === 'microphone' && speed === 'max') {
    throw new SoundpostError('usage', '--speed max: a microphone delivers sound in real time only');
  }
  const model = text('model') ?? config.model.id;
  const everySeconds = own['swapEvery'] === undefined ? null : positive('--swap-every', own['swapEvery']);
  const to = text('swapTo') ?? BUNDLED_MODEL;
  if (text('swapTo') !== undefined && everySeconds === null) {
    throw new SoundpostError('usage', '--swap-to: --swap-every says how often; give both');
  }
  if (everySeconds !== null && to === model) {
    throw new SoundpostError('usage', `--swap-every: name another model than ${model} with --swap-to`);
  }
  const broker = oneOf('broker', 'auto', 'auto', 'embedded', 'mosquitto');
  if (broker === 'mosquitto' && !hasMosquitto()) {
    throw new SoundpostError('usage', '--broker mosquitto: it is not installed here; embedded needs nothing');
  }
  const limits = { ...DEFAULT_LIMITS };
  for (const [flag, key] of LIMIT_FLAGS) {
    const given = limit(flag, own);
    if (given !== undefined) limits[key] = given;
  }
  if (limits.swapMs !== null && everySeconds === null) {
    throw new SoundpostError('usage', '--max-swap-ms: --swap-every says how often to swap; give both');
  }
  return {
    hours: hoursOf(own),
    speed,
    model,
    swap: everySeconds === null ? null : { to, everySeconds },
    source: source === 'demo' || source === 'microphone' ? source : resolve(source),
    broker: broker === 'auto' ? (hasMosquitto() ? 'mosquitto' : 'embedded') : broker,
    rateHz: config.inference.rate_hz,
    limits,
  };
}

/** From --hours or --minutes. */
function hoursOf(own: Own): number {
  if (own['minutes'] === undefined) return positive('--hours', own['hours'], DEFAULT_HOURS);
  if (own['hours'] !== undefined)
    throw new SoundpostError('usage', '--minutes: give it or --hours, not both');
  return positive('--minutes', own['minutes']) / 60;
}

/** The limit that a flag sets; undefined where it was left out. */
function limit(flag: string, own: Own): number | undefined {
  // As commander names it: maxGaps.
  const given = own[flag.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())];
  if (given === undefined) return undefined;
  const value = Number(given);
  if (typeof given === 'string' && given.trim() !== '' && value >= 0) return value;
  throw new SoundpostError('usage', `--${flag} ${String(given)}: must be a number that is not below 0`);
}

/**
 * Settings of the user that change how the service works, and none that say where it is and whom it talks to, as
 * environment variables.
 */
export function forwarded(
  config: Config,
  { speed, source }: Pick<SoakSettings, 'speed' | 'source'>,
): Record<string, string> {
  const wanted = [
    'model.threads',
    'inference.window_seconds',
    ...(source === 'microphone' ? ['audio.device', 'audio.sample_rate'] : []),
    'audio.channel',
    ...[...keys.keys()].filter((key) => key.startsWith('tagging.') || key.startsWith('thermal.')),
    'telemetry.sys_root',
    'telemetry.proc_root',
  ];
  return Object.fromEntries(
    wanted.flatMap((key) => {
      // At full speed a lower rate would save no heat: the machine works without a pause either way.
      const value = key === 'thermal.enabled' && speed === 'max' ? false : valueOf(config, key);
      return value === null || value === undefined || value === ''
        ? []
        : [[environmentName(key), typeof value === 'string' ? value : JSON.stringify(value)]];
    }),
  );
}

/** What `section.key` is set to. */
function valueOf(config: Config, key: string): unknown {
  return key
    .split('.')
    .reduce<unknown>((node, name) => (node as Record<string, unknown> | undefined)?.[name], config);
}

function print(report: SoakReport, { stdout }: CommandContext): void {
  stdout.write(`${headline(report)}\n`);
  for (const rows of reportTables(report)) stdout.write(`\n${table(rows, 60)}`);
  const { failure, faults } = report;
  const trouble = [...(failure === null ? [] : [failure.reason, ...failure.lastWords]), ...faults.examples];
  if (trouble.length > 0) stdout.write(`\n${trouble.map((line) => `  ${line}\n`).join('')}`);
  stdout.write(`\n${closingLine(report)}\n`);
}
