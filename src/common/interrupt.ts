import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { exitCodeOf, type STOP_SIGNALS } from './signals.js';

type Ending = Exclude<(typeof STOP_SIGNALS)[number], 'SIGQUIT'>;

export interface Interruptible {
  readonly signal: AbortSignal;
  /** What the program should exit with where it was interrupted before its work was done; null where it was not. */
  readonly exitCode: number | null;
  release(): void;
}

/**
 * Ctrl-C, SIGTERM and the loss of the terminal (a dropped SSH session) ask long work to end; a second one ends the
 * program at once. Under nohup the loss of the terminal is not listened to.
 * @param say tells the person that it is being ended
 */
export function interruptible(say: () => void): Interruptible {
  const controller = new AbortController();
  let exitCode: number | null = null;
  const onSignal = (signal: NodeJS.Signals) => {
    const code = exitCodeOf(signal as Ending);
    if (controller.signal.aborted) process.exit(code);
    exitCode = code;
    say();
    controller.abort();
  };
  const ignore = () => undefined;
  const handlers: [Ending, (signal: NodeJS.Signals) => void][] = [
    ['SIGINT', onSignal],
    ['SIGTERM', onSignal],
    ['SIGHUP', isHangupIgnored() ? ignore : onSignal],
  ];
  for (const [signal, handler] of handlers) process.on(signal, handler);
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    release() {
      for (const [signal, handler] of handlers) process.off(signal, handler);
    },
  };
}

/**
 * Whether this process was started to outlive its terminal. Node sets ignored signals back to their defaults before
 * any JavaScript runs, so that the signal mask alone says nothing of nohup: but nohup replaces a terminal as standard
 * input by /dev/null opened for writing only, which nobody else does.
 */
export function isHangupIgnored(procRoot = '/proc'): boolean {
  const read = (...path: string[]) => {
    try {
      return readFileSync(join(procRoot, 'self', ...path), 'utf8');
    } catch {
      return '';
    }
  };
  const ignored = Number.parseInt(/^SigIgn:\s*([0-9a-f]+)$/m.exec(read('status'))?.[1] ?? '0', 16);
  const flags = Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(read('fdinfo', '0'))?.[1] ?? '0', 8);
  const WRITE_ONLY = 1;
  const ACCESS_MODE = 3;
  return ignored % 2 === 1 || (flags & ACCESS_MODE) === WRITE_ONLY;
}
