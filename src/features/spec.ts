import { z } from 'zod';

/** How a log-mel spectrogram is computed; the kinds are described in src/features. */
export const frontendSchema = z.strictObject({
  kind: z.enum(['panns', 'efficientat', 'efficientsed', 'convnext', 'gmp']),
  n_fft: z.number().int().min(64).max(16384),
  win_length: z.number().int().min(32).max(16384),
  hop_length: z.number().int().min(16).max(16384),
  n_mels: z.number().int().min(8).max(512),
  f_min: z.number().min(0),
  f_max: z.number().positive(),
  /** gmp only: the training set's mean and deviation per mel bin, [n_mels] each. */
  mean: z.array(z.number()).optional(),
  std: z.array(z.number().positive()).optional(),
});

export type FrontendSpec = z.infer<typeof frontendSchema>;

/** Order of the log-mel tensor: batch, 1, time, mel or batch, 1, mel, time. */
export type Layout = 'NCTF' | 'NCFT';
