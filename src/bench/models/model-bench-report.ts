import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { z } from 'zod';
import { readBoard } from '../../telemetry/board.js';
import type { ModelMeasurement, StreamedMeasurement } from './measure.js';
import type { SensorPoint, SensorSpan } from './sensors.js';
import type { SubjectFacts } from './subject.js';

/** The machine that was measured; null where it does not tell. */
export interface BenchMachine {
  board: string | null;
  cpu: string;
  cores: number;
  memory_mb: number;
  os: string | null;
  kernel: string;
  arch: string;
  node: string;
  onnxruntime: string | null;
  soundpost: string;
  /** Load of one minute before the run: other work makes every figure larger. */
  load_before: number;
}

/** One model with one number of threads. */
export interface BenchRow extends SubjectFacts {
  threads: number;
  file_bytes: number | null;
  /** Seconds since the run began. */
  from_s: number;
  to_s: number;
  /** The run was interrupted while this model was being measured. */
  interrupted: boolean;
  sensors: SensorSpan | null;
  result: ModelMeasurement | null;
  /** The same as a stream, or why the network is none; null where that was not asked for. */
  streamed: StreamedMeasurement | { reason: string } | null;
  /** Why there is no result. */
  error: { code: string; message: string } | null;
}

/** What `soundpost bench --json` writes. Times are in the unit that the name ends with. */
export interface ModelBenchReport {
  schema: 1;
  started_at: string;
  finished_at: string;
  interrupted: boolean;
  settings: { seconds: number; rate_hz: number; threads: readonly number[] };
  machine: BenchMachine;
  rows: BenchRow[];
  sensors: SensorPoint[];
}

/** Reads what this machine is. */
export async function readMachine(options: {
  sysRoot: string;
  procRoot: string;
  version: string;
}): Promise<BenchMachine> {
  const { model } = await readBoard(options);
  const release_ = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const processors = cpus();
  return {
    board: model,
    cpu: processors[0]?.model.trim() ?? 'unknown CPU',
    cores: processors.length,
    memory_mb: Math.round(totalmem() / 1e6),
    os: /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(release_)?.[1] ?? null,
    kernel: release(),
    arch: process.arch,
    node: process.versions.node,
    onnxruntime: onnxruntimeVersion(),
    soundpost: options.version,
    load_before: loadavg()[0] ?? 0,
  };
}

/** From its package: loading the library would cost this process its memory. */
function onnxruntimeVersion(): string | null {
  try {
    const found: unknown = createRequire(import.meta.url)('onnxruntime-node/package.json');
    return z.object({ version: z.string() }).parse(found).version;
  } catch {
    return null;
  }
}
