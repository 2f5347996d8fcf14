import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { delimiter } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, SoundpostError } from '../../src/common/errors.js';
import { readProcessTree } from '../../src/bench/process-tree.js';

/** Debian keeps daemons in sbin, which is not on every user's path. */
const environment = { ...process.env, PATH: `${process.env.PATH ?? ''}${delimiter}/usr/sbin` };

/** One broker process on this machine, with whatever it starts. Its port and its data outlive it. */
export interface BrokerNode {
  readonly port: number;
  /** Of the processes that run now. */
  pids(): number[];
  /** Starts it; resolves when it takes connections. Throws SoundpostError `no_broker`. */
  start(): Promise<void>;
  /** Ends all of its processes, those that were started by it as well. */
  end(signal: NodeJS.Signals): Promise<void>;
}

export function createNode(options: {
  /** For people. */
  name: string;
  /** What to install. */
  debianPackage: string;
  command: readonly [string, ...string[]];
  env?: Readonly<Record<string, string>>;
  port: number;
  startLimitMs: number;
}): BrokerNode {
  const { name, debianPackage, command, port, startLimitMs } = options;
  let child: ChildProcess | null = null;
  const pids = (): number[] =>
    child?.pid === undefined ? [] : readProcessTree(child.pid).map(({ pid }) => pid);

  async function end(signal: NodeJS.Signals): Promise<void> {
    const present = child;
    const all = pids();
    child = null;
    if (present === null || present.exitCode !== null || present.signalCode !== null) return;
    const gone = once(present, 'exit');
    for (const pid of all) {
      try {
        process.kill(pid, signal);
      } catch {
        // It ended with the one before it.
      }
    }
    await gone;
  }

  return {
    port,
    pids,
    end,
    async start() {
      const [program, ...args] = command;
      const born = spawn(program, args, {
        env: { ...environment, ...options.env },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let said = '';
      const ended: string[] = [];
      const listen = (chunk: Buffer) => (said = (said + chunk.toString()).slice(-600));
      born.stdout.on('data', listen);
      born.stderr.on('data', listen);
      born.once('error', (error) => ended.push(messageOf(error)));
      born.once('exit', (code) => ended.push(`it ended with ${code}: ${said.trim()}`));
      child = born;
      const until = performance.now() + startLimitMs;
      while (!(await listens(port))) {
        const problem = ended[0] ?? (performance.now() > until ? 'it takes no connections' : null);
        if (problem !== null) {
          await end('SIGKILL');
          throw new SoundpostError(
            'bench_failed',
            `${name} could not be started (${problem}). The bench needs it: on Debian, apt-get install ${debianPackage}`,
          );
        }
        await delay(10);
      }
    },
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

/** Below those that Linux gives to outgoing connections (32,768 and up, ip_local_port_range). */
const PORTS = { from: 20_000, to: 32_000 };

/**
 * Ports of the loopback address that are free and stay so while their node is dead: one that was given out by the
 * system would be taken by the next connection of a device that looks for another node.
 */
export async function lastingPorts(count: number): Promise<number[]> {
  const found = new Set<number>();
  while (found.size < count) {
    const port = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from));
    if (await isFree(port)) found.add(port);
  }
  return [...found];
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    await once(server.listen(port, '127.0.0.1'), 'listening');
    server.close();
    await once(server, 'close');
    return true;
  } catch {
    return false;
  }
}

/** The soft limit of open files of a process; Infinity where there is none, or it cannot be read. */
export async function openFilesLimit(pid: number): Promise<number> {
  const limits = await readFile(`/proc/${pid}/limits`, 'utf8').catch(() => '');
  const soft = /^Max open files\s+(\S+)/m.exec(limits)?.[1] ?? 'unlimited';
  return soft === 'unlimited' ? Infinity : Number(soft);
}
