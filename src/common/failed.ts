import type { ErrorCode } from './error-codes.js';
import { codeOf, messageOf } from './errors.js';

/** What a child says whose work has failed; `failedSchema` (child-messages.ts) is its check. */
export interface Failed {
  kind: 'failed';
  code: ErrorCode;
  message: string;
}

/** What to say of an error. Apart from the check: a child has no need of zod, which takes time and memory to load. */
export function failed(error: unknown): Failed {
  return { kind: 'failed', code: codeOf(error), message: messageOf(error) };
}
