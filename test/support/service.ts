import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createProbe, type Probe, type ProbeMessage } from './mqtt-probe.js';
import { projectPath, sharedPath } from './shared.js';
import { createWaiting, until } from './waiting.js';
import { encodeWav } from './wav.js';

/** A line of the service's log. */
export interface ServiceLine {
  level: string;
  message: string;
  code: string | undefined;
}

export interface ServiceProcess {
  readonly pid: number;
  readonly lines: readonly ServiceLine[];
  /** Resolves with the exit code, or null for a signal. */
  readonly exited: Promise<number | null>;
  /** The first line, past or future, that fits; rejects when the process ends without it, or after two minutes. */
  line(fits: (line: ServiceLine) => boolean): Promise<ServiceLine>;
  signal(signal: NodeJS.Signals): void;
  /** SIGTERM, and SIGKILL where that does not help for 15 s. Resolves with the exit code. */
  stop(): Promise<number | null>;
}

/** Settings as environment variables have them: `AUDIO_FILE`, `INFERENCE_RATE_HZ`. */
export type Settings = Record<string, string>;

/** A data folder of its own that goes with the test. */
export async function makeDataDir(t: { teardown(handler: () => Promise<void>): void }): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'soundpost-data-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Installs the real AudioSet network. */
export async function installMn04(dataDir: string): Promise<void> {
  await cp(sharedPath('models', 'mn04_as'), join(dataDir, 'models', 'mn04_as'), { recursive: true });
}

/**
 * Starts the program as a user does, with nothing but these settings. It ends with the test.
 * @param env further variables, such as those of a microphone
 * @param flags further words after "soundpost run"
 */
export function startService(
  t: { teardown(handler: () => Promise<unknown>): void },
  settings: Settings,
  env: Readonly<Record<string, string>> = {},
  flags: readonly string[] = [],
): ServiceProcess {
  const clean = Object.entries(process.env).filter(([name]) => !name.startsWith('SOUNDPOST_'));
  // The page has one port by default, and tests run side by side.
  const own = Object.entries({ LOG_FORMAT: 'json', WEB_ENABLED: 'false', ...settings });
  const child = spawn(process.execPath, [projectPath('dist', 'src', 'main.js'), 'run', ...flags], {
    env: {
      ...Object.fromEntries(clean),
      ...Object.fromEntries(own.map(([name, value]) => [`SOUNDPOST_${name}`, value])),
      ...env,
    },
    cwd: settings['DATA_DIR'],
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: ServiceLine[] = [];
  const { wake, until: whenSaid } = createWaiting();
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (text) => {
      lines.push(parse(text));
      wake();
    });
  }
  let gone = false;
  const exited = once(child, 'close').then(([code]) => {
    gone = true;
    wake();
    return code as number | null;
  });
  const service: ServiceProcess = {
    pid: child.pid ?? -1,
    lines,
    exited,
    async line(fits) {
      let found: ServiceLine | undefined;
      await whenSaid(
        () => {
          found = lines.find(fits);
          if (found === undefined && gone) throw new Error(`The service ended; it said:\n${said(lines)}`);
          return found !== undefined;
        },
        () => `a line that fits ${String(fits)}; the service said:\n${said(lines)}`,
        120,
      );
      return found!;
    },
    signal: (signal) => void child.kill(signal),
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
      const code = await exited;
      clearTimeout(timer);
      return code;
    },
  };
  t.teardown(() => service.stop());
  return service;
}

function parse(text: string): ServiceLine {
  try {
    const { level, msg, message, code } = JSON.parse(text) as Record<string, string | undefined>;
    return { level: String(level), message: msg ?? message ?? text, code };
  } catch {
    return { level: 'none', message: text, code: undefined };
  }
}

export function said(lines: readonly ServiceLine[]): string {
  return lines.map(({ level, message }) => `  ${level} ${message}`).join('\n');
}

/** A client that hears everything below `B` and sends commands. */
export interface Console extends Probe {
  readonly base: string;
  /** Since when it hears everything, ms since the epoch: an event that began before may end unbegun. */
  readonly since: number;
  /** The next message on `B/<topic>`. */
  on<T = Record<string, unknown>>(
    topic: string,
    fits?: (payload: T) => boolean,
    timeoutMs?: number,
  ): Promise<T>;
  /** The next message on `B/<topic>` that is a bare word. */
  word(topic: string, fits?: (text: string) => boolean, timeoutMs?: number): Promise<string>;
  /** Everything so far on `B/<topic>`. */
  all<T = Record<string, unknown>>(topic: string): T[];
  texts(topic: string): string[];
  /** Sends to `B/<name>` and awaits the reply. */
  set(name: string, payload: string, timeoutMs?: number): Promise<Reply>;
  request(command: string, payload?: object): Promise<Reply>;
}

export interface Reply {
  status: 'ok' | 'error';
  data: Record<string, unknown>;
  error?: { code: string; message: string };
}

export async function createConsole(
  t: { teardown(handler: () => Promise<void>): void },
  url: string,
  deviceId: string,
  options: Parameters<typeof createProbe>[2] = {},
): Promise<Console> {
  const base = `soundpost/${deviceId}`;
  const probe = await createProbe(url, [`${base}/#`], options);
  t.teardown(() => probe.close());
  const texts = (topic: string) =>
    probe.messages.filter((message) => message.topic === `${base}/${topic}`).map(({ text }) => text);
  const word = async (topic: string, fits: (text: string) => boolean = () => true, timeoutMs = 60_000) =>
    (await probe.next(`${base}/${topic}`, ({ text }: ProbeMessage) => fits(text), timeoutMs)).text;
  async function on<T>(topic: string, fits: (payload: T) => boolean = () => true, timeoutMs = 60_000) {
    return JSON.parse(await word(topic, (text) => fits(JSON.parse(text) as T), timeoutMs)) as T;
  }
  return {
    ...probe,
    base,
    since: Date.now(),
    on,
    word,
    texts,
    all: <T>(topic: string) => texts(topic).map((text) => JSON.parse(text) as T),
    async set(name, payload, timeoutMs) {
      await probe.publish(`${base}/${name}`, payload);
      return on<Reply>(`response/${name}`, undefined, timeoutMs);
    },
    async request(command, payload) {
      await probe.publish(`${base}/request/${command}`, payload === undefined ? '' : JSON.stringify(payload));
      return on<Reply>(`response/${command}`);
    },
  };
}

/** The living descendants of a process, and what they run. */
export async function descendants(pid: number): Promise<{ pid: number; command: string }[]> {
  const parents = new Map<number, number>();
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const stat = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '');
    const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (state !== 'Z' && stat !== '') parents.set(Number(entry), Number(ppid));
  }
  const found: { pid: number; command: string }[] = [];
  for (const child of parents.keys()) {
    let above: number | undefined = parents.get(child);
    while (above !== undefined && above !== pid) above = parents.get(above);
    if (above !== pid) continue;
    const command = await readFile(`/proc/${child}/cmdline`, 'utf8').catch(() => '');
    found.push({ pid: child, command: command.replaceAll('\0', ' ') });
  }
  return found;
}

/** The inference processes of a service; they rename themselves once they run. */
export async function inferencePids(pid: number): Promise<number[]> {
  return (await descendants(pid))
    .filter(({ command }) => /inference\/process\.js|^soundpost inference/.test(command))
    .map((found) => found.pid);
}

/** The inference processes of a service, once there are some. */
export async function startedInference(pid: number): Promise<number[]> {
  let pids: number[] = [];
  await until(
    async () => (pids = await inferencePids(pid)).length > 0,
    `an inference process of ${pid}`,
    60,
    5,
  );
  return pids;
}

/** Resolves once a process has ended. */
export async function untilGone(pid: number): Promise<void> {
  await until(
    async () => !(await isAlive(pid)),
    () => `the end of process ${pid}`,
    30,
    10,
  );
}

/**
 * After an orderly stop nothing is left of what a service had started. The shell that holds the list of its children is
 * ended last, as the service itself ends, and so goes a moment later.
 */
export async function nothingLeft(
  t: { notOk(value: unknown, message: string): unknown },
  children: readonly { pid: number; command: string }[],
): Promise<void> {
  for (const { pid, command } of children) {
    if (command.includes('soundpost leash')) await untilGone(pid);
    else t.notOk(await isAlive(pid), command);
  }
}

/** Whether a process is there and no zombie. */
export async function isAlive(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat !== '' && stat.slice(stat.lastIndexOf(')') + 2)[0] !== 'Z';
}

/** Resident memory of a process in MB; NaN, which is within no bound, where it has gone. */
export function residentMb(pid: number): number {
  try {
    const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return (Number(kibibytes) * 1024) / 1e6;
  } catch {
    return NaN;
  }
}

/** Writes mono samples as a 16-bit WAV file. */
export async function writeWav(path: string, samples: Float32Array, sampleRate: number): Promise<void> {
  await writeFile(path, encodeWav(samples, sampleRate));
}
