import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { createLogger } from '../common/logger.js';
import { createProblemFeed } from '../common/problem-feed.js';
import { projectRoot } from '../common/project.js';
import { loadConfig, loadConfigAnyway } from '../config/load.js';
import { secretsOf } from '../config/mask.js';
import { STOP_SIGNALS } from '../common/signals.js';
import { createUpdateLock, updateLockPath } from '../install/update-lock.js';
import { createService } from '../service/service.js';
import { SETTLED_AFTER_MS } from '../service/start-guard.js';
import { openStartGuard, type StartGuard } from '../service/start-record.js';
import { programVersion } from './version.js';
import type { CommandContext } from './context.js';

/**
 * Signals within so long after the first are the same wish: Ctrl-C under `npm start` comes from the terminal and once
 * more from npm, a closed terminal sends SIGHUP twice.
 */
const ONE_WISH_MS = 1_000;
/** A container engine sends SIGKILL 10 s after SIGTERM. */
const SHUTDOWN_LIMIT_MS = 8_000;

/**
 * `soundpost run`: the service, until a signal ends it. Resolves to 0 after an orderly stop, to 1 where it could
 * not start or a fault ended it.
 *
 * With `--keep-going` a setting that is wrong does not end it, but is left out and told; starts that fail are
 * counted, each is followed by a longer wait before the process ends, and after a few of them the service starts in
 * safe mode. It resolves to 2 where there is no way to the broker.
 *
 * @param options.shutdownLimitMs how long a stop may take before the process is ended by force, with exit code 1
 */
export async function runCommand(
  context: CommandContext,
  options: { keepGoing: boolean; shutdownLimitMs?: number },
): Promise<number> {
  const { keepGoing, shutdownLimitMs = SHUTDOWN_LIMIT_MS } = options;
  const {
    config,
    notes,
    problems: wrong,
    unusable,
  } = keepGoing ? loadConfigAnyway(context) : strictly(context);
  const problems = createProblemFeed();
  const log = createLogger({
    level: config.log.level,
    format: config.log.format,
    secrets: secretsOf(config),
    onProblem: problems.emit,
  });
  for (const { level, message } of wrong) {
    log[level]({ code: 'config' }, `${message}. This setting is left out`);
  }
  for (const note of notes) log.info({}, note);
  const version = programVersion();
  const lockPath = updateLockPath(context.env);
  // First of all: a start that fails before it comes to its models must not leave the device without updates.
  await createUpdateLock({ path: lockPath, log }).removeLeftover();
  const guard = keepGoing ? await openStartGuard({ config, root: projectRoot(), version, log }) : null;

  return new Promise((resolve) => {
    let ending = false;
    const hurry = new AbortController();
    const settling = setTimeout(() => void guard?.settled(), SETTLED_AFTER_MS);
    const service =
      unusable !== null
        ? null
        : createService({
            config,
            root: projectRoot(),
            version,
            log,
            problems,
            onAtWork: () => void guard?.atWork(),
            onRestart: () => end('A restart was asked for', 1, true),
            updateLockPath: lockPath,
            configProblems: wrong.map(({ message }) => message),
            configIncomplete: wrong.some(({ level }) => level === 'error'),
            safeMode:
              guard === null || guard.safeMode === null
                ? null
                : { reason: guard.safeMode, modelChosen: () => guard.modelChosen() },
          });

    const end = (why: string, exitCode: number, orderly: boolean) => {
      if (ending) return;
      ending = true;
      clearTimeout(settling);
      log.info({}, `${why}; stopping`);
      const limit = setTimeout(() => {
        log.error({ code: 'stop' }, 'Stopping takes too long; leaving');
        process.exit(1);
      }, shutdownLimitMs);
      void Promise.resolve(service?.stop())
        .then(() => {
          clearTimeout(limit);
          return guard === null ? undefined : leaveSlowly(guard, orderly, log, hurry.signal);
        })
        .then(() => resolve(exitCode));
    };

    let firstAsked: number | null = null;
    for (const signal of STOP_SIGNALS) {
      process.on(signal, () => {
        const now = performance.now();
        firstAsked ??= now;
        // Who asks again does not want to wait any longer.
        if (now - firstAsked > ONE_WISH_MS) process.exit(1);
        hurry.abort();
        end(`Received ${signal}`, 0, true);
      });
    }
    const fault = (error: unknown) => {
      log.error({ code: 'internal', err: error }, `A fault in the program: ${messageOf(error)}`);
      end('After a fault', 1, false);
    };
    process.on('uncaughtException', fault);
    process.on('unhandledRejection', fault);

    if (service === null) {
      log.error({ code: 'config' }, `The service cannot do its work: ${unusable ?? ''}`);
      end('Could not start', 2, false);
      return;
    }
    service.start().catch((error: unknown) => {
      if (ending) return;
      if (error instanceof SoundpostError) {
        log.error({ code: error.code }, error.message);
        end('Could not start', ['config', 'broker_unprotected'].includes(error.code) ? 2 : 1, false);
      } else {
        fault(error);
      }
    });
  });
}

function strictly(context: CommandContext): ReturnType<typeof loadConfigAnyway> {
  return { ...loadConfig(context), problems: [], unusable: null };
}

/** Whoever starts the service again does so at once: after a failure the wait before the end makes up for that. */
async function leaveSlowly(
  guard: StartGuard,
  orderly: boolean,
  log: Logger,
  hurry: AbortSignal,
): Promise<void> {
  const ms = await guard.ended(orderly);
  if (ms === 0 || hurry.aborted) return;
  log.info({}, `Ending in ${Math.round(ms / 1000)} s, so that a loop of starts is a slow one`);
  await delay(ms, undefined, { signal: hurry }).catch(() => undefined);
}
