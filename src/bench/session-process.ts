import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { InferenceSession } from 'onnxruntime-node';
import { loadRuntime, sessionOptions } from '../inference/runtime.js';
import type { SessionBaseline, SessionJob } from './session-baseline.js';
import { mean, median } from './statistics.js';

/* The process behind `measureSession`: takes one job from its parent, answers, ends. */

const WARM_UP_RUNS = 3;

/** The input at the model's full window; what the network declares as fixed goes first. */
function inputDims(input: SessionJob['input'], session: InferenceSession): number[] {
  const samples = Math.round(input.window_seconds * input.sample_rate);
  let dims = [1, samples];
  if (input.kind === 'log_mel') {
    const frames = Math.floor(samples / input.frontend.hop_length);
    const mels = input.frontend.n_mels;
    dims = input.layout === 'NCTF' ? [1, 1, frames, mels] : [1, 1, mels, frames];
  }
  const declared = session.inputMetadata.find(({ name }) => name === input.name);
  return dims.map((size, axis) => {
    const fixed = declared?.isTensor === true ? declared.shape[axis] : undefined;
    return typeof fixed === 'number' ? fixed : size;
  });
}

async function measure(job: SessionJob): Promise<SessionBaseline> {
  const { InferenceSession, Tensor } = await loadRuntime();
  const loadStart = performance.now();
  const session = await InferenceSession.create(job.onnxPath, sessionOptions(job.threads));
  const loadMs = performance.now() - loadStart;
  const dims = inputDims(job.input, session);
  const data = Float32Array.from(
    { length: dims.reduce((product, size) => product * size, 1) },
    () => Math.random() - 0.5,
  );
  const feeds = { [job.input.name]: new Tensor('float32', data, dims) };
  for (let run = 0; run < WARM_UP_RUNS; run++) await session.run(feeds);

  const cpuMs: number[] = [];
  const wallMs: number[] = [];
  const begin = performance.now();
  const cpuBegin = process.cpuUsage();
  for (let run = 0; run < job.runs; run++) {
    if (job.intervalMs > 0) await sleep(Math.max(0, begin + run * job.intervalMs - performance.now()));
    const cpuBefore = process.cpuUsage();
    const before = performance.now();
    await session.run(feeds);
    wallMs.push(performance.now() - before);
    const { user, system } = process.cpuUsage(cpuBefore);
    cpuMs.push((user + system) / 1000);
  }
  if (job.intervalMs > 0) await sleep(Math.max(0, begin + job.runs * job.intervalMs - performance.now()));
  const { user, system } = process.cpuUsage(cpuBegin);
  return {
    runs: job.runs,
    intervalMs: job.intervalMs,
    cpuMs: { mean: mean(cpuMs), median: median(cpuMs) },
    cpuMsPerInterval: (user + system) / 1000 / job.runs,
    wallMs: { median: median(wallMs) },
    loadMs,
  };
}

const [job] = (await once(process, 'message')) as [SessionJob];
const result = await measure(job);
process.send?.(result, () => {
  process.disconnect();
});
