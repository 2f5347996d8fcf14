import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, statfs } from 'node:fs/promises';
import { connect } from 'node:net';
import { promisify } from 'node:util';
import { listInputDevices } from '../audio/devices.js';
import { messageOf } from '../common/errors.js';
import { silentLogger } from '../common/log.js';
import { loadConfig } from '../config/load.js';
import { maskUrl } from '../config/mask.js';
import type { Config } from '../config/schema.js';
import { createStartEngine } from '../inference/start-engine.js';
import { verifyModel } from '../inference/verify.js';
import { readBoard } from '../telemetry/board.js';
import { readSoc } from '../telemetry/soc.js';
import type { CommandContext } from './context.js';
import { openRegistry } from './models.js';

/** `warn`: something is missing that not everybody needs. */
type Verdict = 'ok' | 'warn' | 'fail';

interface Finding {
  name: string;
  verdict: Verdict;
  detail: string;
}

const BROKER_TIMEOUT_MS = 5_000;
const ENOUGH_DISK_BYTES = 500e6;

/** `soundpost doctor`: looks at everything the service needs and says what to do. Resolves to 1 where it cannot work. */
export async function doctorCommand(context: CommandContext): Promise<number> {
  const { json, stdout } = context;
  const { config } = loadConfig(context);
  const checks: [name: string, check: () => Promise<Omit<Finding, 'name'>>][] = [
    ['node', checkNode],
    ['board', () => checkBoard(config)],
    ['sensors', () => checkSensors(config)],
    ['disk', () => checkDisk(config)],
    ['model', () => checkModel(context, config)],
    ['audio', () => checkAudio(config)],
    ['ffmpeg', () => checkFfmpeg(config)],
    ['broker', () => checkBroker(config)],
  ];
  const findings: Finding[] = [];
  for (const [name, check] of checks) {
    const finding = await check().catch((error: unknown) => ({
      verdict: 'fail' as const,
      detail: messageOf(error),
    }));
    findings.push({ name, ...finding });
    if (!json) stdout.write(`${finding.verdict.padEnd(4)}  ${name.padEnd(8)} ${finding.detail}\n`);
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
  return { verdict: 'ok', detail: model ?? 'unknown' };
}

async function checkSensors({ telemetry }: Config): Promise<Check> {
  const soc = await readSoc({ sysRoot: telemetry.sys_root });
  if (soc.temperature_c === null) {
    return {
      verdict: 'warn',
      detail: 'no SoC temperature here: telemetry says null, heat cannot be controlled',
    };
  }
  const power = soc.under_voltage === true ? '; UNDER-VOLTAGE: use a stronger power supply' : '';
  return {
    verdict: power === '' ? 'ok' : 'warn',
    detail: `${soc.temperature_c.toFixed(1)} °C${soc.frequency_mhz === null ? '' : `, ${soc.frequency_mhz} MHz`}${power}`,
  };
}

async function checkDisk({ data_dir: folder }: Config): Promise<Check> {
  await mkdir(folder, { recursive: true });
  await access(folder, constants.W_OK);
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const detail = `${Math.round(free / 1e6)} MB free in ${folder}`;
  return free > ENOUGH_DISK_BYTES
    ? { verdict: 'ok', detail }
    : { verdict: 'warn', detail: `${detail}: a large model may not fit` };
}

async function checkModel(context: CommandContext, config: Config): Promise<Check> {
  const report = await verifyModel(config.model.id, {
    registry: openRegistry(context),
    startEngine: createStartEngine({ log: silentLogger }),
    threads: config.model.threads,
  });
  const last = report.steps.at(-1);
  return {
    verdict: report.ok ? 'ok' : 'fail',
    detail: `${config.model.id}: ${last?.detail ?? 'nothing to check'}`,
  };
}

async function checkAudio({ audio }: Config): Promise<Check> {
  const needed = audio.source === 'microphone' ? 'fail' : 'warn';
  try {
    const { devices } = await listInputDevices();
    return { verdict: 'ok', detail: devices.map(({ name }) => name).join('; ') };
  } catch (error) {
    return { verdict: needed, detail: messageOf(error) };
  }
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

async function checkBroker({ mqtt, broker }: Config): Promise<Check> {
  if (mqtt.url === '') {
    return { verdict: 'ok', detail: `the embedded one on ${broker.host}:${broker.port} (mqtt.url is empty)` };
  }
  const { protocol, hostname, port } = new URL(mqtt.url);
  const defaults: Record<string, number> = { 'mqtt:': 1883, 'mqtts:': 8883, 'ws:': 80, 'wss:': 443 };
  const number = port === '' ? (defaults[protocol] ?? 1883) : Number(port);
  await new Promise<void>((resolve, reject) => {
    const socket = connect({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: number,
      timeout: BROKER_TIMEOUT_MS,
    });
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('timeout', () => socket.destroy(new Error('no answer')));
    socket.once('error', reject);
  }).catch((error: unknown) => {
    throw new Error(
      `${maskUrl(mqtt.url)} cannot be reached: ${messageOf(error)}. Is the address right, is the broker running?`,
    );
  });
  return { verdict: 'ok', detail: `${maskUrl(mqtt.url)} answers` };
}
