import { codeOf, messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { Life } from './life.js';
import type { Listening } from './listening.js';

/**
 * Begins to listen to all sources, and resolves when none is being started any more. Of several, one that cannot begin
 * (a recording that is not there) takes no others along: it is `offline`, with the reason. Throws what is wrong where
 * none can begin, and as `life.goOn` does.
 */
export async function startSources(
  sources: readonly Pick<Listening, 'name' | 'start' | 'fail'>[],
  life: Pick<Life, 'goOn'>,
  log: Logger,
): Promise<void> {
  const outcomes = await Promise.allSettled(sources.map((source) => source.start()));
  life.goOn();
  const failed = outcomes.flatMap((outcome, place) =>
    outcome.status === 'rejected' ? [{ source: sources[place]!, error: outcome.reason as unknown }] : [],
  );
  const [first] = failed;
  if (first !== undefined && failed.length === sources.length) throw first.error;
  for (const { source, error } of failed) {
    log.error(
      { code: codeOf(error) },
      `The source ${source.name} is not heard until the next start: ${messageOf(error)}`,
    );
    source.fail(error);
  }
}

/** Stops all of them at the same time, and resolves when all have. Throws what went wrong with the first that threw. */
export async function stopSources(sources: readonly Pick<Listening, 'audio'>[]): Promise<void> {
  const outcomes = await Promise.allSettled(sources.map(({ audio }) => audio.stop()));
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}
