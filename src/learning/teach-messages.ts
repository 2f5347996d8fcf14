import { z } from 'zod';
import { failedSchema } from '../common/child-messages.js';
import { DOUBTS } from './doubts.js';
import type { teach } from './teach.js';

/** What the process that teaches is told: what `teach` takes. */
export interface TeachRequest {
  readonly sound: Parameters<typeof teach>[0];
  readonly settings: Parameters<typeof teach>[1];
}

const score = z.number().min(0).max(1);
const count = z.number().int().nonnegative();

/** What it says. */
export const teachReply = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('taught'),
    taught: z.object({
      head: z.object({
        weights: z.custom<Float32Array>((value) => value instanceof Float32Array),
        bias: z.number(),
      }),
      threshold: score,
      quality: z.object({
        found: count,
        of: count,
        falseAlarmsPerDay: z.object({ low: z.number().min(0), high: z.number().min(0) }).nullable(),
        heardHours: z.number().min(0),
        isExtrapolated: z.boolean(),
        heardBefore: count,
        doubts: z.array(z.enum(DOUBTS)).readonly(),
      }),
    }),
  }),
  failedSchema,
]);
export type TeachReply = z.infer<typeof teachReply>;
