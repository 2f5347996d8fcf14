import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, SoundpostError } from '../../common/errors.js';
import { freePort } from '../broker-process.js';

/** One mosquitto, set up as an operator of a fleet would. Its port and its data stay the same through a crash. */
export interface FleetBroker {
  readonly url: string;
  /** Of the process that runs now; null while there is none. */
  pid(): number | null;
  /** Ends it without a goodbye. */
  crash(): Promise<void>;
  /** Starts it again; resolves when it takes connections. */
  revive(): Promise<void>;
  stop(): Promise<void>;
}

/** Debian keeps daemons in sbin, which is not on every user's path. */
const environment = { ...process.env, PATH: `${process.env.PATH ?? ''}${delimiter}/usr/sbin` };
const START_LIMIT_MS = 30_000;

/**
 * The configuration.
 * - `persistence` and a short `autosave_interval`: with the default of 30 minutes a crash takes the sessions of the
 *   consumers along, and with them what waits there.
 * - `max_queued_messages`: what a consumer may leave waiting while it is away; the default of 1000 is soon full.
 * - `max_inflight_messages 0`: the receive maximum of each client decides (the devices keep to 16).
 */
export function brokerConfiguration(options: {
  port: number;
  folder: string;
  autosaveSeconds: number;
}): string {
  return [
    `listener ${options.port} 127.0.0.1`,
    'allow_anonymous true',
    'max_connections -1',
    'persistence true',
    `persistence_location ${options.folder}/`,
    `autosave_interval ${options.autosaveSeconds}`,
    'max_queued_messages 1000000',
    'max_inflight_messages 0',
    'sys_interval 1',
    'log_dest stderr',
    'log_type error',
    'log_type warning',
    // Otherwise it leaves the rights it was started with, and cannot write its own files.
    ...(process.getuid?.() === 0 ? ['user root'] : []),
    '',
  ].join('\n');
}

/** Throws SoundpostError `no_broker` where mosquitto is not installed or does not start. */
export async function startFleetBroker(options: {
  folder: string;
  autosaveSeconds: number;
}): Promise<FleetBroker> {
  const port = await freePort();
  const file = join(options.folder, 'mosquitto.conf');
  await writeFile(file, brokerConfiguration({ ...options, port }));
  let child: ChildProcess | null = null;

  async function revive(): Promise<void> {
    const born = spawn('mosquitto', ['-c', file], { env: environment, stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    const ended: string[] = [];
    born.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-2000)));
    born.once('error', (error) => ended.push(messageOf(error)));
    born.once('exit', (code) => ended.push(`it ended with ${code}: ${said.trim()}`));
    child = born;
    const until = performance.now() + START_LIMIT_MS;
    while (!(await listens(port))) {
      const problem = ended[0] ?? (performance.now() > until ? 'it takes no connections' : null);
      if (problem !== null) {
        born.kill('SIGKILL');
        throw new SoundpostError(
          'no_broker',
          `mosquitto could not be started (${problem}). The bench needs it: on Debian, apt-get install mosquitto`,
        );
      }
      await delay(10);
    }
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    const present = child;
    child = null;
    if (present === null || present.exitCode !== null || present.signalCode !== null) return;
    const gone = once(present, 'exit');
    present.kill(signal);
    await gone;
  }

  await revive();
  return {
    url: `mqtt://127.0.0.1:${port}`,
    pid: () => child?.pid ?? null,
    crash: () => end('SIGKILL'),
    revive,
    stop: () => end('SIGTERM'),
  };
}

async function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** The soft limit of open files of a process; Infinity where there is none, or it cannot be read. */
export async function openFilesLimit(pid: number | 'self'): Promise<number> {
  const limits = await readFile(`/proc/${pid}/limits`, 'utf8').catch(() => '');
  const soft = /^Max open files\s+(\S+)/m.exec(limits)?.[1] ?? 'unlimited';
  return soft === 'unlimited' ? Infinity : Number(soft);
}
