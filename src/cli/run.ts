import { messageOf, SoundpostError } from '../common/errors.js';
import { createLogger } from '../common/logger.js';
import { createProblemFeed } from '../common/problem-feed.js';
import { projectRoot } from '../common/project.js';
import { loadConfig } from '../config/load.js';
import { secretsOf } from '../config/mask.js';
import { createService } from '../service.js';
import { programVersion } from './version.js';
import type { CommandContext } from './context.js';

/** A container engine sends SIGKILL 10 s after SIGTERM. */
const SHUTDOWN_LIMIT_MS = 8_000;

/**
 * `soundpost run`: the service, until a signal ends it. Resolves to 0 after an orderly stop, to 1 where it could
 * not start or a fault ended it.
 */
export async function runCommand(context: CommandContext): Promise<number> {
  const { config } = loadConfig(context);
  const problems = createProblemFeed();
  const log = createLogger({
    level: config.log.level,
    format: config.log.format,
    secrets: secretsOf(config),
    onProblem: problems.emit,
  });

  return new Promise((resolve) => {
    let ending = false;
    const service = createService({
      config,
      root: projectRoot(),
      version: programVersion(),
      log,
      problems,
      onRestart: () => end('A restart was asked for', 1),
    });

    const end = (why: string, exitCode: number) => {
      if (ending) return;
      ending = true;
      log.info({}, `${why}; stopping`);
      const limit = setTimeout(() => {
        log.error({ code: 'stop' }, 'Stopping takes too long; leaving');
        process.exit(1);
      }, SHUTDOWN_LIMIT_MS);
      void service.stop().then(() => {
        clearTimeout(limit);
        resolve(exitCode);
      });
    };

    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        // A second Ctrl-C means now.
        if (ending && signal === 'SIGINT') process.exit(1);
        end(`Received ${signal}`, 0);
      });
    }
    const fault = (error: unknown) => {
      log.error({ code: 'internal', err: error }, `A fault in the program: ${messageOf(error)}`);
      end('After a fault', 1);
    };
    process.on('uncaughtException', fault);
    process.on('unhandledRejection', fault);

    service.start().catch((error: unknown) => {
      if (ending) return;
      if (error instanceof SoundpostError) {
        log.error({ code: error.code }, error.message);
        end('Could not start', error.code === 'config' ? 2 : 1);
      } else {
        fault(error);
      }
    });
  });
}
