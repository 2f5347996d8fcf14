import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectPath, sharedPath, skipWithoutShared } from './shared.js';
import { temporaryFolder } from './temporary.js';
import { createWaiting, until } from './waiting.js';

/** How a command ended, and what it printed. */
export interface CliResult {
  /** The exit code, or the name of the signal that ended it. */
  code: number | NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface CliOptions {
  /** Added to the environment; `undefined` takes a variable out of it. */
  env?: Record<string, string | undefined>;
  cwd?: string;
}

/** A command of the compiled program, at work. */
export interface RunningCli {
  readonly child: ChildProcessWithoutNullStreams;
  readonly ended: Promise<CliResult>;
  /** Resolves once it has printed something that fits; rejects where it ends before, or after two minutes. */
  printed(stream: 'stdout' | 'stderr', pattern: RegExp): Promise<void>;
}

/** The compiled program. */
export const CLI = projectPath('dist', 'src', 'main.js');

/** This process's environment without settings of Soundpost that the person at work may have. */
export function cleanEnvironment(added: CliOptions['env'] = {}): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(
    // tap's coverage hooks would load into every child.
    ([name]) => !/^(SOUNDPOST_|BALENA_|NODE_OPTIONS$|NODE_V8_COVERAGE$|TAP)/.test(name),
  );
  return { ...Object.fromEntries(inherited), NO_COLOR: '1', ...added };
}

export function startCli(args: string[], options: CliOptions = {}): RunningCli {
  const child = spawn(process.execPath, [CLI, ...args], {
    // The page has one port by default, and tests run side by side.
    env: cleanEnvironment({ ...(args[0] === 'run' && { SOUNDPOST_WEB_ENABLED: 'false' }), ...options.env }),
    cwd: options.cwd,
  });
  child.stdin.end();
  const text = { stdout: '', stderr: '' };
  const { wake, until: whenPrinted } = createWaiting();
  let end: CliResult['code'] | undefined;
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (part: string) => {
      text[name] += part;
      wake();
    });
  }
  const ended = once(child, 'close').then(([code, signal]: unknown[]): CliResult => {
    end = (code ?? signal) as CliResult['code'];
    wake();
    return { code: end, ...text };
  });
  return {
    child,
    ended,
    printed: (stream, pattern) =>
      whenPrinted(
        () => {
          if (pattern.test(text[stream])) return true;
          if (end === undefined) return false;
          throw new Error(`ended (${end}) without ${String(pattern)}:\n${text.stdout}${text.stderr}`);
        },
        () => `${String(pattern)} on ${stream}; it printed:\n${text.stdout}${text.stderr}`,
        120,
      ),
  };
}

/** Runs a command to its end. */
export function cli(args: string[], options: CliOptions = {}): Promise<CliResult> {
  return startCli(args, options).ended;
}

/** A folder for the commands of a test file, with the real network beside the bundled one where it is at hand. */
export function cliHome(t: Parameters<typeof temporaryFolder>[0]) {
  const folder = temporaryFolder(t);
  const write = (name: string, bytes: Uint8Array | string): string => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };
  const ownData = (name: string): string => {
    const own = join(folder, name);
    mkdirSync(join(own, 'models'), { recursive: true });
    return own;
  };
  const dataDir = ownData('data');
  const noShared = skipWithoutShared();
  if (noShared === false) {
    cpSync(sharedPath('models', 'mn04_as'), join(dataDir, 'models', 'mn04_as'), { recursive: true });
  }
  return {
    folder,
    /** What commands get that do not change the data folder. */
    env: { SOUNDPOST_DATA_DIR: dataDir },
    noShared,
    write,
    /** A data folder of its own for what changes the folder. */
    ownData,
  };
}

/** What `--json` prints: an object a line. */
export function jsonLines<T>(text: string): T[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);
}

/** The id of the inference process of a command, once it has one (Linux). */
export async function inferenceProcessOf(parent: number): Promise<number> {
  const find = () =>
    readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8')
      .split(' ')
      .find((pid) => pid !== '' && commandLine(Number(pid)).includes('soundpost inference'));
  let found: string | undefined;
  await until(() => (found = find()) !== undefined, `an inference process of ${parent}`, 60, 10);
  return Number(found);
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
