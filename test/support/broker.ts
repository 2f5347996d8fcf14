import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { silentLogger } from '../../src/common/log.js';
import { startEmbeddedBroker } from '../../src/mqtt/broker.js';

/** A broker that tests may mistreat. Its port stays the same through all of it. */
export interface TestBroker {
  readonly port: number;
  readonly url: string;
  /** Ends it as a crash would: no goodbye to anybody. */
  crash(): Promise<void>;
  /** Starts it again. */
  revive(): Promise<void>;
  stop(): Promise<void>;
}

export interface Mosquitto extends TestBroker {
  /** Freezes and thaws the process: connections stay, nothing is read. */
  freeze(): void;
  thaw(): void;
  /** Other access rules, for a broker that was started with some; they hold for whoever is connected. */
  changeAcl(lines: readonly string[]): Promise<void>;
}

export interface MosquittoOptions {
  /** A free one by default. */
  port?: number;
  /** User names and passwords; without them everybody may connect. */
  passwords?: Record<string, string>;
  /** Lines of an access control file. */
  acl?: string[];
  /** Further lines of configuration. */
  config?: string[];
}

/** A port that nothing listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Debian keeps daemons in sbin, which is not on every user's path. */
const environment = { ...process.env, PATH: `${process.env.PATH ?? ''}${delimiter}/usr/sbin` };

export async function startMosquitto(options: MosquittoOptions = {}): Promise<Mosquitto> {
  const folder = await mkdtemp(join(tmpdir(), 'soundpost-mosquitto-'));
  const port = options.port ?? (await freePort());
  const lines = [
    `listener ${port} 127.0.0.1`,
    'log_dest stderr',
    'log_type all',
    // Otherwise it leaves the rights it was started with, and cannot read its own files.
    ...(process.getuid?.() === 0 ? ['user root'] : []),
    ...(options.config ?? []),
  ];
  if (options.passwords === undefined) {
    lines.push('allow_anonymous true');
  } else {
    const file = join(folder, 'passwords');
    await writeFile(file, '');
    for (const [user, password] of Object.entries(options.passwords)) {
      const made = spawn('mosquitto_passwd', ['-b', file, user, password], {
        env: environment,
        stdio: 'ignore',
      });
      const [code] = (await once(made, 'exit')) as [number | null];
      if (code !== 0) throw new Error(`mosquitto_passwd ended with ${code}`);
    }
    lines.push('allow_anonymous false', `password_file ${file}`);
  }
  const aclFile = join(folder, 'acl');
  const writeAcl = (rules: readonly string[]): Promise<void> => writeFile(aclFile, `${rules.join('\n')}\n`);
  if (options.acl !== undefined) {
    await writeAcl(options.acl);
    await chmod(aclFile, 0o600);
    lines.push(`acl_file ${aclFile}`);
  }
  const configFile = join(folder, 'mosquitto.conf');
  await writeFile(configFile, `${lines.join('\n')}\n`);

  let child: ChildProcess | null = null;
  async function revive(): Promise<void> {
    child = spawn('mosquitto', ['-c', configFile], { env: environment, stdio: ['ignore', 'ignore', 'pipe'] });
    await running(child);
  }
  async function end(signal: NodeJS.Signals): Promise<void> {
    const present = child;
    child = null;
    if (present === null) return;
    const gone = once(present, 'exit');
    present.kill(signal);
    await gone;
  }
  await revive();
  return {
    port,
    url: `mqtt://127.0.0.1:${port}`,
    revive,
    crash: () => end('SIGKILL'),
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    async changeAcl(rules) {
      await writeAcl(rules);
      child?.kill('SIGHUP');
    },
    async stop() {
      child?.kill('SIGCONT');
      await end('SIGTERM');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function running(child: ChildProcess): Promise<void> {
  const said: string[] = [];
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`mosquitto did not start:\n${said.join('\n')}`)));
    createInterface({ input: child.stderr! }).on('line', (line) => {
      said.push(line);
      if (/mosquitto version .* running/.test(line)) resolve();
    });
  });
  child.removeAllListeners('exit');
}

/** The broker of the service itself. */
export async function startEmbedded(options: { port?: number } = {}): Promise<TestBroker> {
  const start = (port: number): ReturnType<typeof startEmbeddedBroker> =>
    startEmbeddedBroker({ host: '127.0.0.1', port, log: silentLogger });
  let broker = await start(options.port ?? 0);
  const { port, url } = broker;
  return {
    port,
    url,
    crash: () => broker.stop(),
    async revive() {
      broker = await start(port);
    },
    stop: () => broker.stop(),
  };
}
