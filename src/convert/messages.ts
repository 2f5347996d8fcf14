import { z } from 'zod';
import { failedSchema } from '../common/child-messages.js';
import { frameGeometrySchema } from '../models/manifest.js';
import type { BuildRequest, BuiltModel } from './build-model.js';
import type { selfTest, SelfTest } from './self-test.js';

/* What the service and a conversion process say to each other, over Node's channel of messages. */

export type ToConversion =
  { kind: 'build'; request: BuildRequest } | { kind: 'self-test'; request: Parameters<typeof selfTest>[0] };

const builtModel: z.ZodType<BuiltModel> = z.object({
  hasEmbedding: z.boolean(),
  frames: frameGeometrySchema.nullable(),
  parameters: z.int().nonnegative(),
  nodes: z.int().nonnegative(),
  bytes: z.int().nonnegative(),
  sha256: z.string(),
});

/** Of the file `self-test.json` as well. */
export const selfTestSchema: z.ZodType<SelfTest> = z.object({
  generator: z.string(),
  window_samples: z.int().positive(),
  scores: z.array(z.number().min(0).max(1)).min(1),
});

/** All that a conversion process says: progress any number of times, then one of the others. */
export const fromConversion = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('progress'),
    progress: z.object({ stage: z.enum(['read', 'write']), fraction: z.number().min(0).max(1) }),
  }),
  z.object({ kind: z.literal('built'), model: builtModel, peakBytes: z.number() }),
  z.object({ kind: z.literal('tested'), test: selfTestSchema, peakBytes: z.number() }),
  failedSchema,
]);

export type FromConversion = z.infer<typeof fromConversion>;
