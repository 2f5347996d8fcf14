import { z } from 'zod';
import { isErrorCode, type ErrorCode } from './error-codes.js';

/*
 * What our own children say is looked at as if it came from outside: a child may have opened a file that somebody made
 * to break it.
 */

/** A code that a child says; `internal` where it is none of ours. */
export const errorCodeSchema = z.custom<ErrorCode>((text) => isErrorCode(String(text))).catch('internal');

/** What a child says whose work has failed. */
export const failedSchema = z.object({
  kind: z.literal('failed'),
  code: errorCodeSchema,
  message: z.string().max(10_000),
});
