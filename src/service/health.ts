import { messageOf } from '../common/errors.js';
import type { HealthCheck, HealthFile, HealthReport } from './health-file.js';
import { serveHealth } from './health-socket.js';
import type { Logger } from '../common/log.js';
import type { Link } from '../mqtt/link.js';
import type { Hearing } from './hearing.js';
import type { Listening } from './listening.js';
import type { StateHolder } from './state.js';

const HEARTBEAT_MS = 5_000;
/** A window that has been waited for so long is overdue, or for so many hops, or so many times what one usually takes. */
const OVERDUE_MS = 10_000;
const OVERDUE_TIMES = 3;

/** Whether the service does its work, for `soundpost health` and the command `health`. */
export interface Health {
  report(): HealthReport;
  start(): void;
  stop(): Promise<void>;
}

export function createHealth(options: {
  log: Logger;
  file: HealthFile;
  dataDir: string;
  link: Link;
  hearing: Pick<Hearing, 'pipeline' | 'sources'>;
  state: StateHolder;
}): Health {
  const { file, link, hearing, state, log } = options;
  const { pipeline, sources } = hearing;
  let linkDetail = 'not connected yet';
  let timer: NodeJS.Timeout | null = null;
  let closeSocket: Promise<() => Promise<void>> | null = null;

  const inference = (): HealthCheck => {
    const failed = (detail: string) => ({ name: 'inference', ok: false, detail });
    if (!pipeline.ready) return failed('no model is loaded; it is being started');
    const { forMs, usualMs } = pipeline.waiting();
    const hopMs = 1000 / state.now.effective_rate_hz;
    const limitMs = Math.max(OVERDUE_MS, OVERDUE_TIMES * hopMs, OVERDUE_TIMES * usualMs);
    const { id } = pipeline.model.manifest;
    if (forMs > limitMs) {
      return failed(
        `${id} has not answered for ${Math.round(forMs / 1000)} s (limit ${Math.round(limitMs / 1000)} s): it hangs, or the machine is overloaded`,
      );
    }
    const { givenUp } = pipeline;
    const instead = givenUp === null ? '' : ` in place of ${givenUp.model.manifest.id}`;
    return { name: 'inference', ok: true, detail: `${id} answers${instead}` };
  };

  const report = (): HealthReport => {
    const checks = [
      {
        name: 'broker',
        ok: link.connected,
        detail: linkDetail,
      },
      audioCheck(sources),
      inference(),
    ];
    return {
      healthy: checks.every(({ ok }) => ok),
      checks,
      ...(sources.length > 1 && { sources: sources.map((source) => soundCheck(source, source.name)) }),
    };
  };

  return {
    report,
    start() {
      link.onStatus((status) => {
        linkDetail = 'reason' in status ? status.reason : status.state;
      });
      closeSocket = serveHealth(options.dataDir, report).catch((error: unknown) => {
        log.warn(
          { code: 'health_socket' },
          `The service cannot be asked for its health (${messageOf(error)}): "npx soundpost health" reads its last heartbeat instead`,
        );
        return () => Promise.resolve();
      });
      let writable = true;
      let writing = false;
      const beat = () => {
        // A disk that hangs must not be given more and more to do.
        if (writing) return;
        writing = true;
        file
          .write(report())
          .then(
            () => (writable = true),
            (error: unknown) => {
              // A full disk is no reason to stop listening.
              const text = `The health file cannot be written (${messageOf(error)}); "npx soundpost health" asks the service itself where it can`;
              if (writable) log.warn({ code: 'health_not_written' }, text);
              writable = false;
            },
          )
          .finally(() => (writing = false));
      };
      beat();
      timer = setInterval(beat, HEARTBEAT_MS);
    },
    async stop() {
      if (timer !== null) clearInterval(timer);
      timer = null;
      await (
        await closeSocket
      )?.();
      await file.remove().catch(() => undefined);
    },
  };
}

/** Whether the sound of one source arrives, or need not. */
function soundCheck({ status, state }: Listening, name: string): HealthCheck {
  return {
    name,
    ok: status.state === 'online' || status.code === 'ended' || state.now.paused,
    detail: status.state === 'online' ? 'sound arrives' : status.reason,
  };
}

/**
 * Of several sources one that is heard is enough: whoever starts an unhealthy service again must not do so, over and
 * over, because one of five cameras is off.
 */
function audioCheck(sources: readonly Listening[]): HealthCheck {
  const checks = sources.map((source) => soundCheck(source, source.name));
  const [only] = checks;
  if (only !== undefined && checks.length === 1) return { ...only, name: 'audio' };
  const silent = checks.filter(({ ok }) => !ok);
  const heard = checks.length - silent.length;
  const without = silent.map(({ name, detail: why }) => `${name} (${why})`).join(', ');
  const detail =
    silent.length === 0
      ? `sound arrives from all ${checks.length} sources`
      : `sound arrives from ${heard} of ${checks.length} sources; none from ${without}`;
  return { name: 'audio', ok: heard > 0, detail };
}
