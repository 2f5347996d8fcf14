import { fork } from 'node:child_process';
import { join } from 'node:path';
import { startChild } from '../../src/common/child.js';
import { childEnvironment } from '../../src/common/child-environment.js';
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

export interface NetworkBaseline {
  runs: number;
  intervalMs: number;
  /** CPU milliseconds of all threads in one `session.run`: mean and median. */
  cpuMs: { mean: number; median: number };
  /** As the mean, but with what the process uses between two runs: more where threads spin. */
  cpuMsPerInterval: number;
  wallMs: { median: number };
  loadMs: number;
}

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
  const child = startChild('the process that measures a model', () =>
    fork(join(import.meta.dirname, 'network-process.js'), [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: childEnvironment(),
    }),
  );
  const { signal } = options;
  const kill = () => void child.kill('SIGKILL');
  signal?.addEventListener('abort', kill, { once: true });
  let complaint = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    complaint += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    let result: NetworkBaseline | undefined;
    child.on('message', (message) => {
      result = message as NetworkBaseline;
    });
    child.on('error', reject);
    child.on('close', (code, ended) => {
      signal?.removeEventListener('abort', kill);
      if (signal?.aborted === true) reject(signal.reason as Error);
      else if (result !== undefined) resolve(result);
      else
        reject(
          new SoundpostError(
            'bench_session',
            `The process that measures ${model.onnxPath} ended with ${ended ?? `code ${code ?? 'unknown'}`}: ${complaint.trim()}`,
          ),
        );
    });
    if (signal?.aborted === true) kill();
    else child.send(job);
  });
}
