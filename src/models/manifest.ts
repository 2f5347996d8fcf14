import { z } from 'zod';
import { frontendSchema } from '../features/spec.js';

const id = z
  .string()
  .max(64)
  .regex(/^[a-zA-Z0-9][a-zA-Z0-9._-]*$/, 'letters, digits, ".", "_" and "-" only, not starting with a sign');

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, '64 lower-case hexadecimal digits');

const inputCommon = {
  /** Name of the graph's input. */
  name: z.string().min(1),
  sample_rate: z.number().int().min(4000).max(192000),
  window_seconds: z.number().positive().max(60),
  min_seconds: z.number().positive().max(60),
};

/** The manifest of a model, `model.json` beside `model.onnx`. */
export const manifestSchema = z.strictObject({
  id,
  title: z.string().min(1),
  family: z.string().min(1),
  architecture: z.string().min(1),
  input: z.discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('log_mel'),
      /** Batch, 1, time, mel or batch, 1, mel, time. */
      layout: z.enum(['NCTF', 'NCFT']),
      frontend: frontendSchema,
      ...inputCommon,
    }),
    z.strictObject({ kind: z.literal('waveform'), ...inputCommon }),
  ]),
  output: z.strictObject({
    /** Name of the graph's output with one score per label. */
    scores: z.string().min(1),
    /** What still has to be done to the output: nothing, or a sigmoid where it gives logits. */
    activation: z.enum(['none', 'sigmoid']),
    embedding: z.string().nullable().default(null),
  }),
  /** A label set that ships with the program, or a file beside the manifest. */
  labels: z.string().min(1),
  /** A file of labels with thresholds beside the manifest, or null. */
  thresholds: z.string().nullable().default(null),
  metrics: z.looseObject({ audioset_map: z.number().nullable().optional() }).default({}),
  parameters: z.number().int().nonnegative().nullable().default(null),
  macs: z.number().nonnegative().nullable().default(null),
  licence: z.string().default('unknown'),
  source: z
    .strictObject({ url: z.string(), sha256: sha256.nullable(), bytes: z.number().int().nullable() })
    .nullable()
    .default(null),
  onnx_sha256: sha256,
});

export type Manifest = z.infer<typeof manifestSchema>;
