import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runService } from '../bench/service-run.js';
import { measureNetwork } from '../bench/network-baseline.js';
import type { Manifest } from '../../src/models/manifest.js';
import { installCopy, type MeasuredModel } from './subjects.js';

/** CPU milliseconds per hop at one rate, with frames and without. */
export interface Cost {
  rateHz: number;
  withFrames: CostOfRun | null;
  withoutFrames: CostOfRun;
}

export interface CostOfRun {
  /** `session.run` of the network alone. */
  session: number;
  /** All processes of the service. */
  service: number;
}

const RUNS = 15;

/** What the service costs beside `session.run` alone, as `npm run bench` measures it. */
export async function measureCost(
  subject: MeasuredModel,
  options: {
    program: string;
    folder: string;
    recording: string;
    rateHz: number;
    seconds: number;
    broker: 'embedded' | 'mosquitto';
    signal: AbortSignal;
    progress: (message: string) => void;
  },
): Promise<Cost> {
  const { rateHz, signal } = options;
  const one = async (id: string, withoutFrames: boolean): Promise<CostOfRun> => {
    const folder = join(options.folder, id);
    await mkdir(folder, { recursive: true });
    const manifest: Manifest = await installCopy(subject, join(folder, 'data'), { id, withoutFrames });
    const onnxPath = join(folder, 'data', 'models', id, 'model.onnx');
    const session = await measureNetwork(
      { manifest, onnxPath },
      { runs: RUNS, intervalMs: 1000 / rateHz, signal },
    );
    const { window_seconds: windowSeconds } = manifest.input;
    const run = { ...options, folder, modelId: id, windowSeconds, eventLoop: false };
    const { cpuMsPerHop } = await runService(run);
    return { session: session.cpuMs.mean, service: cpuMsPerHop };
  };
  return {
    rateHz,
    withoutFrames: await one('without-frames', true),
    withFrames: subject.manifest.output.frames === null ? null : await one('with-frames', false),
  };
}
