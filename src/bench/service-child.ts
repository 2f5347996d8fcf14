import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectAsync, type MqttClient } from 'mqtt';

/** The service as a child process, with the last of what it said. */
export interface ServiceChild {
  readonly pid: number;
  /** Resolves when it is gone: its exit code, or the signal. */
  readonly exited: Promise<number | string>;
  readonly gone: boolean;
  lastWords(): string[];
  /** SIGTERM, and SIGKILL where that does not help. */
  stop(): Promise<number | string>;
}

/** The service leaves by itself 8 s after SIGTERM at the latest. */
const STOP_MS = 15_000;
const KEPT_LINES = 30;

/**
 * Starts `<program> run` with these settings and none of this process's own. It is in a process group of its own:
 * Ctrl-C is for whoever measures it, who then stops it in order. It ends when this process does, however that ends.
 */
export function startServiceChild(options: {
  program: string;
  folder: string;
  settings: Readonly<Record<string, string>>;
}): ServiceChild {
  const own = Object.entries(process.env).filter(([name]) => !/^(SOUNDPOST_|BALENA_)/.test(name));
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, 'end-with-parent.js'), options.program, 'run'],
    {
      cwd: options.folder,
      env: { ...Object.fromEntries(own), ...options.settings },
      // end-with-parent.ts watches its standard input: nothing is written there, and its end is that of this process.
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    },
  );
  const killNow = () => void child.kill('SIGKILL');
  // Before its folder is removed.
  process.prependOnceListener('exit', killNow);
  const lines: string[] = [];
  for (const input of [child.stdout, child.stderr]) {
    createInterface({ input }).on('line', (line) => {
      lines.push(line.slice(0, 500));
      if (lines.length > KEPT_LINES) lines.shift();
    });
  }
  child.stdin.on('error', () => undefined);
  const state = { gone: false };
  const exited = once(child, 'close').then(([code, signal]: unknown[]) => {
    state.gone = true;
    process.removeListener('exit', killNow);
    return (code ?? signal) as number | string;
  });
  return {
    pid: child.pid ?? -1,
    exited,
    get gone() {
      return state.gone;
    },
    lastWords: () => [...lines],
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(killNow, STOP_MS);
      const code = await exited;
      clearTimeout(timer);
      return code;
    },
  };
}

const CONNECT_MS = 60_000;
const RETRY_MS = 25;

/**
 * Connects to a broker that may be part of the service and not up yet.
 * @throws Error when the service ends before, after a minute, or with the signal's reason when it fires.
 */
export async function connectTo(
  port: number,
  options: { gone: () => boolean; signal: AbortSignal },
): Promise<MqttClient> {
  const until = performance.now() + CONNECT_MS;
  for (;;) {
    options.signal.throwIfAborted();
    try {
      return await connectAsync(
        `mqtt://127.0.0.1:${port}`,
        { reconnectPeriod: 0, connectTimeout: 5000 },
        false,
      );
    } catch (error) {
      if (options.gone()) throw new Error('the service ended', { cause: error });
      if (performance.now() > until) throw new Error('the broker cannot be reached', { cause: error });
      await sleep(RETRY_MS);
    }
  }
}
