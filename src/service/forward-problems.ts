import type { ProblemFeed } from '../common/problem-feed.js';
import type { Link } from '../mqtt/link.js';

/** Sends warnings and errors to `B/log`, from the first connection on; those before it are kept till then. */
export function forwardProblems(problems: ProblemFeed, link: Link): () => void {
  let unsubscribe: () => void = () => undefined;
  const stopWatching = link.onStatus(({ state }) => {
    unsubscribe();
    if (state !== 'connected') return;
    unsubscribe = problems.subscribe(({ ts, level, message, code }) =>
      link.publish('log', { ts, level, message, code }),
    );
  });
  return () => {
    stopWatching();
    unsubscribe();
  };
}
