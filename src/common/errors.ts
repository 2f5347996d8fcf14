import type { ErrorCode } from './error-codes.js';

/**
 * An error whose message is written for the person who has to act on it: it names the thing, what is wrong
 * with it, and what to do. `code` is the stable, machine-readable name of the kind of fault (snake_case); it
 * is what MQTT error replies and `B/log` carry.
 */
export class SoundpostError extends Error {
  override readonly name = 'SoundpostError';

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** The message of anything that was thrown, without a stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The code of a SoundpostError, or `internal` for anything else. */
export function codeOf(error: unknown): ErrorCode {
  return error instanceof SoundpostError ? error.code : 'internal';
}
