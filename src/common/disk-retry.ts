import { createBackoff } from './backoff.js';
import { messageOf } from './errors.js';
import type { Logger } from './log.js';

/** What writes to a disk that may fail: it is told once, tried again later and later, and told when it works again. */
export interface DiskRetry {
  /** The last attempt failed. */
  readonly failing: boolean;
  /** The next attempt has its time; until then none is made. */
  readonly isWaiting: boolean;
  worked(): void;
  failed(error: unknown): void;
  /** No further attempts by itself. */
  close(): void;
}

/**
 * @param options.what begins the sentences in the log: "The history in /data/history"
 * @param options.code of the warning
 * @param options.meanwhile what becomes of what is to be written, as the end of a sentence
 * @param options.again makes the next attempt
 */
export function createDiskRetry(options: {
  what: string;
  code: string;
  meanwhile: string;
  firstRetryMs: number;
  maxRetryMs: number;
  log: Logger;
  again: () => void;
}): DiskRetry {
  const { what, code, meanwhile, log, again } = options;
  const backoff = createBackoff({ firstMs: options.firstRetryMs, maxMs: options.maxRetryMs });
  let failing = false;
  let closed = false;
  let retry: NodeJS.Timeout | null = null;

  function forget(): void {
    if (retry !== null) clearTimeout(retry);
    retry = null;
  }

  return {
    get failing() {
      return failing;
    },
    get isWaiting() {
      return retry !== null;
    },
    worked() {
      forget();
      backoff.reset();
      if (failing) log.info({}, `${what} is written again`);
      failing = false;
    },
    failed(error) {
      if (retry !== null) return;
      if (!failing)
        log.warn(
          { code },
          `${what} cannot be written (${messageOf(error)}): ${meanwhile}. Check that the disk has room and that this user may write there.`,
        );
      failing = true;
      if (closed) return;
      retry = setTimeout(() => {
        retry = null;
        again();
      }, backoff.next());
      retry.unref();
    },
    close() {
      closed = true;
      forget();
    },
  };
}
