import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startChild } from '../../common/child.js';
import { childEnvironment } from '../../common/child-environment.js';
import { messageOf } from '../../common/errors.js';
import type { Chatter } from './chatter.js';
import { parseCaptureMessage, type CaptureMessage } from './messages.js';
import { PCM_FD, type CaptureRequest } from './protocol.js';

const PROGRAM = fileURLToPath(new URL('./process.js', import.meta.url));

/** The heap of a process that only passes buffers on; left to itself, V8 takes twice the memory. */
const NODE_OPTIONS = ['--max-semi-space-size=1', '--max-old-space-size=64'];

/** How long to wait for what an ended process said; something it started may keep its pipes open. */
const DRAIN_MS = 300;

/** A running capture process, seen from its parent. */
export interface CaptureProcess {
  readonly pid: number | undefined;
  /** Raw mono float32; nothing is read from it before somebody listens. */
  readonly pcm: Readable;
  /** How it ended, for people: `was ended by SIGKILL`, `ended with code 1`, `could not be started: …`. */
  readonly ended: Promise<string>;
  /** Ends it now; `ended` resolves when it is gone. */
  kill(): void;
}

/**
 * Starts a capture process in `workFolder`, where its libraries may leave a crash.log. Throws where the folder
 * cannot be made, and SoundpostError `no_resources` where the system has no handles left.
 */
export function launchCapture(
  request: CaptureRequest,
  options: {
    workFolder: string;
    env?: NodeJS.ProcessEnv | undefined;
    chatter: Chatter;
    onMessage(message: CaptureMessage): void;
  },
): CaptureProcess {
  mkdirSync(options.workFolder, { recursive: true });
  const child = startChild('the capture process', () =>
    spawn(process.execPath, [...NODE_OPTIONS, PROGRAM, JSON.stringify(request)], {
      cwd: options.workFolder,
      env: childEnvironment(options.env),
      stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'ipc'],
    }),
  );
  const exited = new Promise<string>((resolve) => {
    child.on('exit', (code, signal) =>
      resolve(signal === null ? `ended with code ${code ?? '?'}` : `was ended by ${signal}`),
    );
    child.on('error', (error) => {
      // Also emitted when a message or a signal cannot be delivered; only a failed start has no pid.
      if (child.pid === undefined) resolve(`could not be started: ${messageOf(error)}`);
    });
  });
  const { stdout, stderr } = child;
  const pcm = child.stdio[PCM_FD] as Readable | null | undefined;
  if (!stdout || !stderr || !pcm) throw new Error('the capture process has no pipes');
  options.chatter.restart();
  options.chatter.listenTo(stdout);
  options.chatter.listenTo(stderr);
  pcm.on('error', () => undefined);
  child.on('message', (value) => {
    const message = parseCaptureMessage(value);
    if (message !== undefined) options.onMessage(message);
  });
  const close = () => {
    pcm.destroy();
    stdout.destroy();
    stderr.destroy();
    if (child.connected) child.disconnect();
  };
  // Its last messages and lines may still be on their way when it is gone.
  const drained = Promise.all([
    new Promise((resolve) => child.once('disconnect', resolve)),
    new Promise((resolve) => child.once('close', resolve)),
  ]);
  const ended = exited.then(async (how) => {
    await Promise.race([drained, delay(DRAIN_MS)]);
    close();
    return how;
  });
  return {
    pid: child.pid,
    pcm,
    ended,
    kill() {
      pcm.destroy();
      child.kill('SIGKILL');
    },
  };
}
