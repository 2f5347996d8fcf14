/** How far long work is; on stderr, so that stdout stays for results. */
export interface Progress {
  update(text: string): void;
  done(): void;
}

const PLAIN_INTERVAL_MS = 5_000;
const TERMINAL_INTERVAL_MS = 100;

/** One line that is written over on a terminal; a plain line now and then elsewhere, and none for short work. */
export function createProgress(what: string, stream: NodeJS.WriteStream = process.stderr): Progress {
  let last = Date.now();
  let shown = false;
  return {
    update(text) {
      const now = Date.now();
      if (now - last < (stream.isTTY ? TERMINAL_INTERVAL_MS : PLAIN_INTERVAL_MS)) return;
      last = now;
      shown = true;
      stream.write(stream.isTTY ? `\r\x1b[K${what}: ${text}` : `${what}: ${text}\n`);
    },
    done() {
      if (shown && stream.isTTY) stream.write('\r\x1b[K');
    },
  };
}
