import { constants } from 'node:os';

/**
 * What asks a program to end: Ctrl-C, a supervisor, a terminal that is closed, Ctrl-\. All of them ask for the same
 * orderly end.
 */
export const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/** What a shell expects of a program that a signal ended: 128 and its number. */
export function exitCodeOf(signal: (typeof STOP_SIGNALS)[number]): number {
  return 128 + constants.signals[signal];
}

/** For a child: Ctrl-C and a closed terminal reach every process of it; when to end is for its parent to say. */
export function leaveSignalsToParent(): void {
  for (const signal of STOP_SIGNALS) process.on(signal, () => undefined);
}
