import { z } from 'zod';
import { failedSchema } from '../../common/child-messages.js';
import { frameGeometrySchema } from '../../models/manifest.js';
import type { TensorShape } from './architecture-tensors.js';

/* What a benchmark and the process that writes it a network say to each other. */

export interface SyntheticJob {
  architecture: string;
  tensors: readonly TensorShape[];
  onnxPath: string;
  windowSeconds: number;
}

const syntheticNetwork = z.object({
  bytes: z.int(),
  sha256: z.string(),
  parameters: z.int(),
  /** For one window; null where the graph does not tell. */
  macs: z.number().nullable(),
  hasEmbedding: z.boolean(),
  frames: frameGeometrySchema.nullable(),
});

export type SyntheticNetwork = z.infer<typeof syntheticNetwork>;

export const fromSynthetic = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('written'), network: syntheticNetwork }),
  failedSchema,
]);

export type FromSynthetic = z.infer<typeof fromSynthetic>;
