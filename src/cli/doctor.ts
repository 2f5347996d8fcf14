import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { codeOfErrno } from '../common/errno.js';
import { codeOf, messageOf } from '../common/errors.js';
import { readHealth } from '../service/health-file.js';
import { silentLogger } from '../common/log.js';
import { projectRoot } from '../common/project.js';
import { megabytes } from '../common/size-text.js';
import { loadConfig } from '../config/load.js';
import { sourcesOf, type SourceConfig } from '../config/sources.js';
import { openStateStore } from '../config/state-store.js';
import type { Config } from '../config/schema.js';
import { createStartEngine } from '../inference/start-engine.js';
import { summariseReport, verifyModel } from '../inference/verify.js';
import { readCatalogue } from '../models/catalogue.js';
import type { ModelRegistry } from '../models/registry.js';
import { startEmbeddedBroker } from '../mqtt/broker.js';
import { sourceWishes, startingWishes, withUsableLabels } from '../service/remembered.js';
import { LOUD_NOISE } from '../tagging/loud.js';
import { thresholdsInForce, type ThresholdInForce } from '../tagging/thresholds.js';
import { describeUnknown } from '../tagging/unknown.js';
import { resolveWatched } from '../tagging/watch.js';
import { readBoard } from '../telemetry/board.js';
import { readSoc } from '../telemetry/soc.js';
import type { CommandContext } from './context.js';
import { createAudioChecks } from './doctor-audio.js';
import { checkOwnBroker } from './doctor-broker.js';
import { checkBackground, checkClips, checkHistory } from './doctor-kept.js';
import { checkPage } from './doctor-page.js';
import type { Finding as Found } from './finding.js';
import { openRegistry } from './models.js';
import { staleFramesAdvice } from './stale-frames.js';
import { table } from './table.js';
import { originNames, summariseThresholds, thresholdText } from './thresholds.js';

/** What one check found, and what is shown of it. */
interface Check extends Found {
  /** Of the check of the labels. */
  thresholds?: readonly ThresholdInForce[];
  /** What is shown below it on a screen. */
  rows?: readonly (readonly string[])[];
}

interface Finding extends Omit<Check, 'rows'> {
  name: string;
}

type NamedCheck = [name: string, check: () => Promise<Check>];

const BROKER_TIMEOUT_MS = 5_000;
const ENOUGH_DISK_BYTES = 500e6;
/** Below the text of a finding. */
const INDENT = ' '.repeat(15);

/** `soundpost doctor`: looks at everything the service needs and says what to do. Resolves to 1 where it cannot work. */
export async function doctorCommand(context: CommandContext): Promise<number> {
  const { json, stdout } = context;
  const { config } = loadConfig(context);
  const registry = openRegistry(context);
  const audio = createAudioChecks(sourcesOf(config));
  const checks: NamedCheck[] = [
    ['node', checkNode],
    ['board', () => checkBoard(config)],
    ['sensors', () => checkSensors(config)],
    ['disk', () => checkDisk(config)],
    ['model', () => checkModel(registry, config)],
    ...perSource(config, 'labels', (source) => checkLabels(registry, config, source)),
    ...perSource(config, 'audio', (_, place) => audio(place)),
    ['ffmpeg', () => checkFfmpeg(config)],
    ['broker', () => checkBroker(config)],
    ['page', () => checkPage(config)],
    ['history', () => checkHistory(config)],
    ['clips', () => checkClips(config)],
    ['background', () => checkBackground(config)],
  ];
  const width = Math.max(8, ...checks.map(([name]) => name.length));
  const findings: Finding[] = [];
  for (const [name, check] of checks) {
    const { rows = [], ...finding } = await check().catch((error: unknown): Check => ({
      verdict: 'fail',
      detail: messageOf(error),
    }));
    findings.push({ name, ...finding });
    if (json) continue;
    stdout.write(`${finding.verdict.padEnd(4)}  ${name.padEnd(width)} ${finding.detail}\n`);
    if (rows.length > 0) stdout.write(table(rows).replace(/^/gm, INDENT).trimEnd() + '\n');
  }
  const ok = findings.every(({ verdict }) => verdict !== 'fail');
  if (json) stdout.write(`${JSON.stringify({ ok, findings })}\n`);
  return ok ? 0 : 1;
}

/** A check of each source; with several its name says of which. */
function perSource(
  config: Config,
  name: string,
  check: (source: SourceConfig, place: number) => Promise<Check>,
): NamedCheck[] {
  const sources = sourcesOf(config);
  return sources.map((source, place) => [
    sources.length === 1 ? name : `${name} ${source.name}`,
    () => check(source, place),
  ]);
}

function checkNode(): Promise<Check> {
  const supported = Number(process.versions.node.split('.')[0]) >= 20;
  const detail = `Node ${process.versions.node} on ${process.platform} ${process.arch}`;
  return Promise.resolve(
    supported
      ? { verdict: 'ok', detail }
      : { verdict: 'fail', detail: `${detail}: Soundpost needs Node 20 or later` },
  );
}

async function checkBoard({ telemetry }: Config): Promise<Check> {
  const { model } = await readBoard({ sysRoot: telemetry.sys_root, procRoot: telemetry.proc_root });
  return { verdict: 'ok', detail: model ?? 'a machine that does not tell its name' };
}

async function checkSensors({ telemetry }: Config): Promise<Check> {
  const soc = await readSoc({ sysRoot: telemetry.sys_root });
  if (soc.temperature_c === null) {
    return {
      verdict: 'warn',
      detail:
        'no temperature of the chip: telemetry says null, and heat cannot be controlled; nothing to do on a PC or a virtual machine, in a container mount /sys',
    };
  }
  const power = soc.under_voltage === true ? '; UNDER-VOLTAGE: use a stronger power supply' : '';
  return {
    verdict: power === '' ? 'ok' : 'warn',
    detail: `${soc.temperature_c.toFixed(1)} °C${soc.frequency_mhz === null ? '' : `, ${soc.frequency_mhz} MHz`}${power}`,
  };
}

async function checkDisk({ data_dir: folder }: Config): Promise<Check> {
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK);
  } catch (error) {
    return {
      verdict: 'fail',
      detail: `${folder} cannot be written (${codeOfErrno(error)}): give it to the user that runs Soundpost (sudo chown), or set data_dir to another folder`,
    };
  }
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const detail = `${megabytes(free)} free in ${folder}`;
  return free > ENOUGH_DISK_BYTES
    ? { verdict: 'ok', detail }
    : { verdict: 'warn', detail: `${detail}: a large model may not fit; free some, or move data_dir` };
}

async function checkModel(registry: ModelRegistry, config: Config): Promise<Check> {
  const report = await verifyModel(config.model.id, {
    registry,
    startEngine: createStartEngine({ log: silentLogger }),
    threads: config.model.threads,
  });
  const detail = `${config.model.id}: ${summariseReport(report)}`;
  if (!report.ok) return { verdict: 'fail', detail };
  const { models } = await readCatalogue(join(projectRoot(), 'models'));
  const stale = staleFramesAdvice(await registry.get(config.model.id), models);
  return stale === undefined ? { verdict: 'ok', detail } : { verdict: 'warn', detail: `${detail}; ${stale}` };
}

/**
 * What the service would listen for, with the thresholds that would be in force: by the configuration, and by what
 * was set over MQTT and is remembered.
 */
async function checkLabels(registry: ModelRegistry, config: Config, source: SourceConfig): Promise<Check> {
  const store = await openStateStore({ dataDir: config.data_dir, log: silentLogger, isReadOnly: true });
  const { modelId } = startingWishes(config, store);
  const isOne = sourcesOf(config).length === 1;
  const own = store.of(isOne ? null : source.name);
  const originText = (text: string) => (isOne ? text : withoutSection(text));
  const { tagging } = withUsableLabels(sourceWishes(source, own), source, silentLogger);
  const { labels } = await registry.get(modelId);
  const { items, unknown } = resolveWatched(labels, tagging);
  const thresholds = thresholdsInForce(items);
  const unknownText = unknown.length === 0 ? '' : `; ${modelId} does not know ${describeUnknown(unknown)}`;
  if (items.length === 0) {
    return {
      verdict: 'fail',
      detail: `nothing would ever be heard${unknownText}: choose labels that "npx soundpost models labels ${modelId}" lists`,
      thresholds,
    };
  }
  const verdict = unknown.length === 0 ? 'ok' : 'warn';
  const isEvery = tagging.labels.length === 0;
  const what = isEvery
    ? `every label of ${modelId} is watched, thresholds: ${originText(summariseThresholds(thresholds))}`
    : `watched of ${modelId}, with the thresholds in force`;
  return {
    verdict,
    detail: `${what}${loudText(source)}${unknownText}`,
    thresholds,
    // A list of hundreds would hide the findings around it; "models labels" has it.
    rows: isEvery ? [] : thresholds.map((one) => thresholdRow(one, originText)),
  };
}

function thresholdRow(
  { label, group, threshold, from }: ThresholdInForce,
  originText: (text: string) => string,
): string[] {
  const name = group === null ? label : `${group}: ${label}`;
  return [name, thresholdText(threshold), originText(originNames[from])];
}

/** What is watched without a model. */
function loudText({ tagging: { loud } }: SourceConfig): string {
  if (loud.above_background_db === null) return '';
  return `; and ${LOUD_NOISE}, from ${loud.above_background_db} dB above the background on`;
}

/** What of several sources is set beside the name of one, or for all of them: the key is the same. */
function withoutSection(text: string): string {
  return text.replaceAll('tagging.', '');
}

async function checkFfmpeg(config: Config): Promise<Check> {
  try {
    const { stdout } = await promisify(execFile)('ffmpeg', ['-hide_banner', '-version']);
    return { verdict: 'ok', detail: stdout.split('\n')[0] ?? '' };
  } catch {
    return {
      verdict: sourcesOf(config).some(({ audio }) => audio.source === 'stream') ? 'fail' : 'warn',
      detail: 'not found: network streams and recordings other than WAV need it (sudo apt install ffmpeg)',
    };
  }
}

async function checkBroker(config: Config): Promise<Check> {
  return config.mqtt.url === '' ? checkEmbeddedBroker(config) : checkOwnBroker(config, BROKER_TIMEOUT_MS);
}

async function checkEmbeddedBroker({ broker, data_dir: dataDir }: Config): Promise<Check> {
  const where = `the embedded one on ${broker.host}:${broker.port} (mqtt.url is empty)`;
  try {
    const trial = await startEmbeddedBroker({ ...broker, log: silentLogger });
    await trial.stop();
  } catch (error) {
    const { checks } = await readHealth(dataDir, Date.now());
    const isOurs = codeOf(error) === 'port_in_use' && checks[0]?.ok === true;
    if (!isOurs) throw error;
    return { verdict: 'ok', detail: `${where}, in use by the running service` };
  }
  return { verdict: 'ok', detail: where };
}
