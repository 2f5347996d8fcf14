import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { InferenceSession, Tensor as OnnxTensor } from 'onnxruntime-node';
import { failed } from '../../src/common/failed.js';
import { createFrontend } from '../../src/features/frontend.js';
import { loadRuntime, sessionOptions } from '../../src/inference/runtime.js';
import type { FromNetwork, NetworkBaseline, NetworkJob } from './network-baseline.js';
import { mean, median } from '../../src/bench/statistics.js';

/* The process behind `measureNetwork`: takes one job from its parent, answers, ends. */

const WARM_UP_RUNS = 3;

/** The inputs at the model's full window, by name; what the network declares as fixed goes first. */
async function inputDims(
  input: NetworkJob['input'],
  session: InferenceSession,
): Promise<Record<string, number[]>> {
  const samples = Math.round(input.window_seconds * input.sample_rate);
  const dims: Record<string, number[]> = {};
  if (input.kind !== 'waveform') {
    const frontend = await createFrontend(input.frontend, input.sample_rate);
    const [frames, mels] = [frontend.frames(samples), frontend.mels];
    dims[input.name] = input.layout === 'NCTF' ? [1, 1, frames, mels] : [1, 1, mels, frames];
  }
  if (input.kind === 'waveform') dims[input.name] = [1, samples];
  if (input.kind === 'waveform_log_mel') dims[input.waveform_name] = [1, samples];
  for (const declared of session.inputMetadata) {
    dims[declared.name]?.forEach((_, axis, sizes) => {
      const fixed = declared.isTensor ? declared.shape[axis] : undefined;
      if (typeof fixed === 'number') sizes[axis] = fixed;
    });
  }
  return dims;
}

async function measure(job: NetworkJob): Promise<NetworkBaseline> {
  const { InferenceSession, Tensor } = await loadRuntime();
  const loadStart = performance.now();
  const session = await InferenceSession.create(job.onnxPath, sessionOptions(job.threads));
  const loadMs = performance.now() - loadStart;
  const feeds: Record<string, OnnxTensor> = {};
  for (const [name, dims] of Object.entries(await inputDims(job.input, session))) {
    const length = dims.reduce((product, size) => product * size, 1);
    const data = Float32Array.from({ length }, () => Math.random() - 0.5);
    feeds[name] = new Tensor('float32', data, dims);
  }
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

const [job] = (await once(process, 'message')) as [NetworkJob];
const said: FromNetwork = await measure(job).then((baseline) => ({ kind: 'measured', baseline }), failed);
process.send?.(said, () => process.disconnect());
