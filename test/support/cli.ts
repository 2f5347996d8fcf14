import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { projectPath } from './shared.js';

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
  /** Resolves once it has printed something that fits; rejects where it ends before. */
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
    env: cleanEnvironment(options.env),
    cwd: options.cwd,
  });
  child.stdin.end();
  const text = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (part: string) => (text[name] += part));
  }
  const ended = once(child, 'close').then(([code, signal]: unknown[]): CliResult => ({
    code: (code ?? signal) as CliResult['code'],
    ...text,
  }));
  return {
    child,
    ended,
    printed: (stream, pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (pattern.test(text[stream])) resolve();
        };
        child[stream].on('data', look);
        look();
        void ended.then(({ code }) =>
          reject(new Error(`ended (${code}) without ${String(pattern)}:\n${text.stdout}${text.stderr}`)),
        );
      }),
  };
}

/** Runs a command to its end. */
export function cli(args: string[], options: CliOptions = {}): Promise<CliResult> {
  return startCli(args, options).ended;
}
