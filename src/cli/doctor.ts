import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describeDevices, findDevice, listInputDevices } from '../audio/devices.js';
import { createFileSource } from '../audio/file-source.js';
import { hear, type Heard } from '../audio/hear.js';
import { LEVEL_FLOOR_DBFS } from '../audio/level.js';
import type { AudioSource } from '../audio/source.js';
import { createStreamSource } from '../audio/stream-source.js';
import { codeOfErrno } from '../common/errno.js';
import { codeOf, messageOf } from '../common/errors.js';
import { readHealth } from '../service/health-file.js';
import { silentLogger, type Logger } from '../common/log.js';
import { projectRoot } from '../common/project.js';
import { megabytes } from '../common/size-text.js';
import { loadConfig } from '../config/load.js';
import { sourcesOf } from '../config/sources.js';
import { openStateStore } from '../config/state-store.js';
import type { Config } from '../config/schema.js';
import { createStartEngine } from '../inference/start-engine.js';
import { summariseReport, verifyModel } from '../inference/verify.js';
import { readCatalogue } from '../models/catalogue.js';
import type { ModelRegistry } from '../models/registry.js';
import { startEmbeddedBroker } from '../mqtt/broker.js';
import { startingWishes, withUsableLabels } from '../service/remembered.js';
import { thresholdsInForce, type ThresholdInForce } from '../tagging/thresholds.js';
import { describeUnknown } from '../tagging/unknown.js';
import { resolveWatched } from '../tagging/watch.js';
import { readBoard } from '../telemetry/board.js';
import { readSoc } from '../telemetry/soc.js';
import type { CommandContext } from './context.js';
import { checkOwnBroker } from './doctor-broker.js';
import { openRegistry } from './models.js';
import { createProgress } from './progress.js';
import { staleFramesAdvice } from './stale-frames.js';
import { table } from './table.js';
import { originNames, summariseThresholds, thresholdText } from './thresholds.js';

/** `warn`: something is missing that not everybody needs. */
type Verdict = 'ok' | 'warn' | 'fail';

interface Finding {
  name: string;
  verdict: Verdict;
  detail: string;
  /** Of the check of the labels. */
  thresholds?: readonly ThresholdInForce[];
  /** What is shown below it on a screen. */
  rows?: readonly (readonly string[])[];
}

const BROKER_TIMEOUT_MS = 5_000;
/** How much is listened to, and how long that may take. A camera is tried twice. */
const STREAM = { seconds: 4, deadlineMs: 60_000 };
const STREAM_CONNECT_MS = 20_000;
const RECORDING = { seconds: 60, deadlineMs: 60_000 };

/** Codes of warnings about the sound itself. */
const ODDITIES = new Set(['odd_sound', 'damaged_audio']);

const ENOUGH_DISK_BYTES = 500e6;
/** Below the text of a finding. */
const INDENT = ' '.repeat(15);

/** `soundpost doctor`: looks at everything the service needs and says what to do. Resolves to 1 where it cannot work. */
export async function doctorCommand(context: CommandContext): Promise<number> {
  const { json, stdout } = context;
  const { config } = loadConfig(context);
  const registry = openRegistry(context);
  const checks: [name: string, check: () => Promise<Omit<Finding, 'name'>>][] = [
    ['node', checkNode],
    ['board', () => checkBoard(config)],
    ['sensors', () => checkSensors(config)],
    ['disk', () => checkDisk(config)],
    ['model', () => checkModel(registry, config)],
    ['labels', () => checkLabels(registry, config)],
    ['audio', () => checkAudio(config)],
    ['ffmpeg', () => checkFfmpeg(config)],
    ['broker', () => checkBroker(config)],
  ];
  const findings: Finding[] = [];
  for (const [name, check] of checks) {
    const { rows = [], ...finding } = await check().catch((error: unknown): Check => ({
      verdict: 'fail',
      detail: messageOf(error),
    }));
    findings.push({ name, ...finding });
    if (json) continue;
    stdout.write(`${finding.verdict.padEnd(4)}  ${name.padEnd(8)} ${finding.detail}\n`);
    if (rows.length > 0) stdout.write(table(rows).replace(/^/gm, INDENT).trimEnd() + '\n');
  }
  const ok = findings.every(({ verdict }) => verdict !== 'fail');
  if (json) stdout.write(`${JSON.stringify({ ok, findings })}\n`);
  return ok ? 0 : 1;
}

type Check = Omit<Finding, 'name'>;

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
async function checkLabels(registry: ModelRegistry, config: Config): Promise<Check> {
  const store = await openStateStore({ dataDir: config.data_dir, log: silentLogger, isReadOnly: true });
  const { tagging, modelId } = withUsableLabels(
    startingWishes(config, store),
    sourcesOf(config)[0],
    silentLogger,
  );
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
    ? `every label of ${modelId} is watched, thresholds: ${summariseThresholds(thresholds)}`
    : `watched of ${modelId}, with the thresholds in force`;
  return {
    verdict,
    detail: `${what}${unknownText}`,
    thresholds,
    // A list of hundreds would hide the findings around it; "models labels" has it.
    rows: isEvery ? [] : thresholds.map(thresholdRow),
  };
}

function thresholdRow({ label, group, threshold, from }: ThresholdInForce): string[] {
  return [group === null ? label : `${group}: ${label}`, thresholdText(threshold), originNames[from]];
}

async function checkAudio({ audio }: Config): Promise<Check> {
  const parts = { track: audio.track, ...(audio.channel !== 'mix' && { channel: audio.channel }) };
  switch (audio.source) {
    case 'demo':
      return { verdict: 'ok', detail: 'the demo recording (audio.source is "demo")' };
    case 'file':
      return checkHeard(RECORDING, (log) =>
        createFileSource({ path: audio.file, loop: false, speed: 'max', ...parts, log }),
      );
    case 'stream':
      return checkHeard(STREAM, (log) =>
        createStreamSource({
          address: audio.url === '' ? audio.file : audio.url,
          ...parts,
          // Twice, so that a camera is also asked in the other way.
          attempts: 2,
          timing: { connectMs: STREAM_CONNECT_MS },
          log,
        }),
      );
    case 'microphone':
    case 'auto':
  }
  const { device } = audio;
  try {
    const { devices } = await listInputDevices();
    const { name } = findDevice(devices, device);
    const others = devices.filter((other) => other.name !== name);
    return {
      verdict: 'ok',
      detail: others.length === 0 ? name : `${name}; there is also ${describeDevices(others)}`,
    };
  } catch (error) {
    return { verdict: audio.source === 'microphone' ? 'fail' : 'warn', detail: messageOf(error) };
  }
}

/** Listens to a stream or a recording for a while, and says what was heard. */
async function checkHeard(
  limits: { seconds: number; deadlineMs: number },
  open: (log: Logger) => AudioSource,
): Promise<Check> {
  const oddities: string[] = [];
  const log: Logger = {
    ...silentLogger,
    warn: ({ code }, message) => {
      if (typeof code === 'string' && ODDITIES.has(code)) oddities.push(message);
    },
  };
  const progress = createProgress('listening');
  const started = Date.now();
  const ticking = setInterval(() => {
    progress.update(`${Math.round((Date.now() - started) / 1000)} s`);
  }, 1000);
  let heard: Heard;
  try {
    heard = await hear(open(log), limits);
  } finally {
    clearInterval(ticking);
    progress.done();
  }
  const { level } = heard;
  const isSilent = level.peakDbfs <= LEVEL_FLOOR_DBFS;
  if (isSilent && oddities.length === 0) {
    oddities.push(
      'not even noise: is the microphone of the camera switched on? Another audio.track or audio.channel may have the sound',
    );
  }
  const details = heard.details === undefined ? '' : `, ${heard.details}`;
  const loudness = isSilent
    ? 'digital silence'
    : `${level.dbfs.toFixed(0)} dBFS (peak ${level.peakDbfs.toFixed(0)})`;
  const what = `${heard.name}, ${heard.sampleRate} Hz${details}: heard ${heard.seconds.toFixed(1)} s of ${loudness}`;
  return { verdict: oddities.length === 0 ? 'ok' : 'warn', detail: [what, ...oddities].join('; ') };
}

async function checkFfmpeg({ audio }: Config): Promise<Check> {
  try {
    const { stdout } = await promisify(execFile)('ffmpeg', ['-hide_banner', '-version']);
    return { verdict: 'ok', detail: stdout.split('\n')[0] ?? '' };
  } catch {
    return {
      verdict: audio.source === 'stream' ? 'fail' : 'warn',
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
