import { join } from 'node:path';
import { z } from 'zod';
import { askChild } from '../../src/common/ask-child.js';
import { failedSchema } from '../../src/common/child-messages.js';
import { SoundpostError } from '../../src/common/errors.js';
import type { Manifest } from '../../src/models/manifest.js';

/** What to measure; sent to the process that does it. */
export interface NetworkJob {
  onnxPath: string;
  input: Manifest['input'];
  threads: number;
  runs: number;
  /** Milliseconds from the start of one run to the start of the next; 0 is back to back. */
  intervalMs: number;
}

const networkBaseline = z.object({
  runs: z.int(),
  intervalMs: z.number(),
  /** CPU milliseconds of all threads in one `session.run`: mean and median. */
  cpuMs: z.object({ mean: z.number(), median: z.number() }),
  /** As the mean, but with what the process uses between two runs: more where threads spin. */
  cpuMsPerInterval: z.number(),
  wallMs: z.object({ median: z.number() }),
  loadMs: z.number(),
});
export type NetworkBaseline = z.infer<typeof networkBaseline>;

const fromNetwork = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('measured'), baseline: networkBaseline }),
  failedSchema,
]);
export type FromNetwork = z.infer<typeof fromNetwork>;

/**
 * Measures `session.run` alone, with the service's session options, in a process of its own: the least that a
 * service around this model can cost.
 * @param model an installed model, or its manifest and the path of its network.
 * @throws SoundpostError `bench_session` when the process fails; the signal's reason when it fires.
 */
export async function measureNetwork(
  model: { manifest: Pick<Manifest, 'input'>; onnxPath: string },
  options: { threads?: number; runs: number; intervalMs: number; signal?: AbortSignal },
): Promise<NetworkBaseline> {
  const job: NetworkJob = {
    onnxPath: model.onnxPath,
    input: model.manifest.input,
    threads: options.threads ?? 1,
    runs: options.runs,
    intervalMs: options.intervalMs,
  };
  const { signal } = options;
  const program = join(import.meta.dirname, 'network-process.js');
  const { reply, end } = await askChild('the process that measures a model', program, job, {
    says: fromNetwork,
    signal,
  });
  signal?.throwIfAborted();
  if (reply?.kind === 'measured') return reply.baseline;
  throw new SoundpostError(
    'bench_session',
    `The process that measures ${model.onnxPath} failed: ${reply?.message ?? end}.`,
  );
}
