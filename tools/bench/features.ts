/**
 * What the front ends cost on this machine: `node dist/tools/bench/features.js [--json]`.
 *
 * Per front end, each in a process of its own as in the service: milliseconds of CPU time per 100 frames of a whole
 * 10 s clip, per hop of 1 s of a stream with 10 s windows, the ratio of a whole window to a hop, and the bytes of
 * JavaScript heap that a hop allocates (1 or 2 are the measurement's own).
 */
import { execFileSync } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { getHeapStatistics } from 'node:v8';
import { createFrontend, type Frontend } from '../../src/features/frontend.js';
import type { FrontendSpec, Layout } from '../../src/features/spec.js';
import { createStreamingLogMel } from '../../src/features/streaming.js';

interface Row {
  frontend: string;
  simd: boolean;
  /** Wall clock: bank, window and loading of the transform. */
  create_ms: number;
  whole_ms_per_100_frames: number;
  whole_ms_per_window: number;
  hop_ms: number;
  hop_ms_per_100_frames: number;
  whole_to_hop_ratio: number;
  hop_heap_bytes: number;
}

interface Case {
  name: string;
  spec: FrontendSpec;
  sampleRate: number;
  layout: Layout;
}

const WINDOW_SECONDS = 10;
const HOP_SECONDS = 1;

const panns = {
  kind: 'panns',
  n_fft: 1024,
  win_length: 1024,
  hop_length: 320,
  n_mels: 64,
  f_min: 50,
  f_max: 14000,
} as const;
const efficientat = {
  kind: 'efficientat',
  n_fft: 1024,
  win_length: 800,
  hop_length: 320,
  n_mels: 128,
  f_min: 0,
  f_max: 15000,
} as const;

const CASES: Case[] = [
  { name: 'efficientat 128 mels', spec: efficientat, sampleRate: 32000, layout: 'NCFT' },
  { name: 'panns 128 mels', spec: { ...panns, n_mels: 128 }, sampleRate: 32000, layout: 'NCTF' },
  { name: 'panns 64 mels', spec: panns, sampleRate: 32000, layout: 'NCTF' },
  {
    name: 'panns 16 kHz',
    spec: { ...panns, n_fft: 512, win_length: 512, hop_length: 160, f_max: 8000 },
    sampleRate: 16000,
    layout: 'NCTF',
  },
  {
    name: 'convnext 224 mels',
    spec: { ...panns, kind: 'convnext', n_mels: 224 },
    sampleRate: 32000,
    layout: 'NCTF',
  },
  {
    name: 'gmp 64 mels',
    spec: {
      ...panns,
      kind: 'gmp',
      hop_length: 500,
      mean: new Array<number>(64).fill(-30),
      std: new Array<number>(64).fill(20),
    },
    sampleRate: 32000,
    layout: 'NCTF',
  },
];

/** Median over batches of the CPU milliseconds of a call, after a warm-up for the compiler. */
function cpuMs(batches: number, callsPerBatch: number, run: () => void): number {
  for (let i = 0; i < batches * callsPerBatch; i += 1) run();
  const times = Array.from({ length: batches }, () => {
    const started = process.cpuUsage();
    for (let i = 0; i < callsPerBatch; i += 1) run();
    const { user, system } = process.cpuUsage(started);
    return (user + system) / 1000 / callsPerBatch;
  });
  return times.sort((a, b) => a - b)[batches >> 1]!;
}

/** Noise with a tone: the time does not depend on what is heard. */
function sound(samples: number): Float32Array {
  return Float32Array.from(
    { length: samples },
    (_, n) => 0.2 * Math.sin(n / 9) + 0.1 * (Math.random() - 0.5),
  );
}

async function measure({ name, spec, sampleRate, layout }: Case): Promise<Row> {
  const started = performance.now();
  const frontend = await createFrontend(spec, sampleRate);
  const createMs = performance.now() - started;
  const windowSamples = WINDOW_SECONDS * sampleRate;
  const clip = sound(windowSamples);
  const frames = frontend.frames(windowSamples);
  const out = new Float32Array(frames * frontend.mels);
  const wholeMs = cpuMs(15, 5, () => void frontend.compute(clip, out, layout));
  const hop = streamHop(frontend, windowSamples, HOP_SECONDS * sampleRate, layout);
  const hopMs = cpuMs(15, 50, hop);
  const hopFrames = (HOP_SECONDS * sampleRate) / spec.hop_length;
  return {
    frontend: name,
    simd: frontend.simd,
    create_ms: createMs,
    whole_ms_per_100_frames: (100 * wholeMs) / frames,
    whole_ms_per_window: wholeMs,
    hop_ms: hopMs,
    hop_ms_per_100_frames: (100 * hopMs) / hopFrames,
    whole_to_hop_ratio: wholeMs / hopMs,
    hop_heap_bytes: heapBytesPerCall(400, hop),
  };
}

/** A stream with a full window; each call of the returned function moves it on by a hop and computes it. */
function streamHop(
  frontend: Frontend,
  windowSamples: number,
  hopSamples: number,
  layout: Layout,
): () => void {
  const stream = createStreamingLogMel(frontend, { maxWindowSamples: windowSamples, layout });
  const next = sound(hopSamples);
  stream.push(sound(windowSamples));
  return () => {
    stream.push(next);
    stream.logMel(windowSamples);
  };
}

/** The smallest of five measurements: what the runtime does beside it only adds, and a collection is left out. */
function heapBytesPerCall(calls: number, run: () => void): number {
  const measurements = Array.from({ length: 5 }, () => {
    const before = getHeapStatistics().used_heap_size;
    for (let i = 0; i < calls; i += 1) run();
    return (getHeapStatistics().used_heap_size - before) / calls;
  });
  return Math.min(...measurements.filter((bytes) => bytes >= 0));
}

function measureInProcess(name: string): Row {
  const output = execFileSync(process.execPath, [import.meta.filename, '--only', name], { encoding: 'utf8' });
  return JSON.parse(output) as Row;
}

function printTable(rows: readonly Row[]): void {
  const rounded = rows.map(({ frontend, ...row }) => [
    frontend,
    Object.fromEntries(
      Object.entries(row).map(([key, value]) => [
        key,
        typeof value === 'number' ? Number(value.toFixed(2)) : value,
      ]),
    ),
  ]);
  console.table(Object.fromEntries(rounded));
}

const { values } = parseArgs({
  options: { json: { type: 'boolean', default: false }, only: { type: 'string' } },
});
const only = CASES.find(({ name }) => name === values.only);
if (only) {
  process.stdout.write(JSON.stringify(await measure(only)));
} else {
  const rows = CASES.map(({ name }) => measureInProcess(name));
  if (values.json) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
  else printTable(rows);
}
