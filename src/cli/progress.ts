import { createStatusLine, type TerminalStream } from './status-line.js';

/** How far long work is; on stderr, so that stdout stays for results. */
export interface Progress {
  update(text: string): void;
  done(): void;
}

const PLAIN_INTERVAL_MS = 5_000;
const TERMINAL_INTERVAL_MS = 100;

/** One line that is written over on a terminal; a plain line now and then elsewhere, and none for short work. */
export function createProgress(what: string, stream: TerminalStream = process.stderr): Progress {
  const line = createStatusLine(stream, [process.stdout, process.stderr]);
  let last = Date.now();
  return {
    update(text) {
      const now = Date.now();
      if (now - last < (stream.isTTY ? TERMINAL_INTERVAL_MS : PLAIN_INTERVAL_MS)) return;
      last = now;
      if (stream.isTTY) line.show(`${what}: ${text}`);
      else stream.write(`${what}: ${text}\n`);
    },
    done: () => line.clear(),
  };
}
