import { z } from 'zod';
import { isErrorCode, type ErrorCode } from './error-codes.js';

/*
 * What our own children say is looked at as if it came from outside: a child may have opened a file that somebody made
 * to break it.
 */

/** A code that a child says; `internal` where it is none of ours. */
export const errorCodeSchema = z.custom<ErrorCode>((text) => isErrorCode(String(text))).catch('internal');

const MESSAGE_LENGTH = 10_000;

/** What a child says whose work has failed. */
export const failedSchema = z.object({
  kind: z.literal('failed'),
  code: errorCodeSchema,
  // What is longer is cut, so that it is told at all.
  message: z.string().transform((text) => text.slice(0, MESSAGE_LENGTH)),
});
