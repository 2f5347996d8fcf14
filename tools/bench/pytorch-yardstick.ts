import { execFile } from 'node:child_process';
import { access } from 'node:fs/promises';
import { promisify } from 'node:util';
import { z } from 'zod';
import { messageOf } from '../../src/common/errors.js';

const resultSchema = z.object({
  torch: z.string(),
  fast_blas: z.boolean(),
  windows: z.number(),
  interval_s: z.number(),
  cpu_ms: z.object({ total: z.number(), features: z.number(), network: z.number() }),
  rss_mb: z.number(),
  max_abs_difference: z.number().nullable(),
});

/** What pytorch-pipeline.py prints. */
export type PytorchResult = z.infer<typeof resultSchema>;

/**
 * Runs the usual PyTorch pipeline on one recording, where this machine can: it needs python3 with torch and a
 * fast BLAS (Debian: python3-torch, libopenblas0-pthread), and a checkpoint.
 * @returns what it used per window, or why it was left out.
 */
export async function measurePytorch(options: {
  /** Path of pytorch-pipeline.py. */
  script: string;
  python: string;
  checkpoint: string;
  recording: string;
  windows: number;
  intervalSeconds: number;
  /** A file of the probabilities that the network has to give, float32. */
  expected?: string;
  signal?: AbortSignal;
}): Promise<{ result: PytorchResult } | { skipped: string }> {
  const { script, python, checkpoint, recording, windows, intervalSeconds } = options;
  for (const path of [script, checkpoint, recording]) {
    try {
      await access(path);
    } catch {
      return { skipped: `${path} is not there` };
    }
  }
  try {
    await promisify(execFile)(python, ['-c', 'import torch, numpy']);
  } catch {
    return { skipped: `${python} has no torch (Debian: apt-get install python3-torch libopenblas0-pthread)` };
  }
  const args = [script, checkpoint, recording, '--windows', String(windows)];
  args.push('--interval', String(intervalSeconds));
  if (options.expected !== undefined) args.push('--check', options.expected);
  try {
    const { stdout } = await promisify(execFile)(python, args, { signal: options.signal });
    const result = resultSchema.parse(JSON.parse(stdout));
    if (!result.fast_blas)
      return { skipped: 'torch has only the reference BLAS (install libopenblas0-pthread)' };
    return { result };
  } catch (error) {
    return { skipped: `${script} failed: ${messageOf(error)}` };
  }
}
