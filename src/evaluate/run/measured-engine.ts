import { createDistribution, type Distribution } from '../../bench/models/distribution.js';
import { readProcess } from '../../bench/models/process-reading.js';
import type { InferenceEngine } from '../../inference/engine.js';

/** An engine of which it is measured what its windows take. */
export interface MeasuredEngine extends InferenceEngine {
  /** Does work whose windows count, and their CPU time. */
  counting<T>(work: () => Promise<T>): Promise<T>;
  windowMs(): Distribution | null;
  cpuMsPerWindow(): number | null;
}

export function measuredEngine(engine: InferenceEngine): MeasuredEngine {
  const latency = createDistribution();
  let cpuMs: number | null = 0;
  let isCounting = false;
  const readCpuMs = async () => (await readProcess(engine.pid)).cpuMs;
  return {
    ...engine,
    async infer(request) {
      const started = performance.now();
      const result = await engine.infer(request);
      if (isCounting) latency.record(performance.now() - started);
      return result;
    },
    async counting(work) {
      const before = await readCpuMs();
      isCounting = true;
      const result = await work().finally(() => {
        isCounting = false;
      });
      const after = await readCpuMs();
      cpuMs = cpuMs === null || before === null || after === null ? null : cpuMs + after - before;
      return result;
    },
    windowMs: () => latency.summary(),
    cpuMsPerWindow: () => (cpuMs === null || latency.count === 0 ? null : cpuMs / latency.count),
  };
}
