import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLogger as log } from '../../src/common/log.js';
import { projectRoot } from '../../src/common/project.js';
import type { InferenceEngine } from '../../src/inference/engine.js';
import type { LearntHead } from '../../src/inference/learnt-heads.js';
import { createStartEngine } from '../../src/inference/start-engine.js';
import { createRegistry } from '../../src/models/registry.js';

/*
 * What sounds of one's own cost a window: CPU ms of the inference process and of this one, hop by hop with the bundled
 * model, in rounds in which each way has its turn. node dist/tools/bench/learning-cost.js [windows a round] [rounds]
 */
const [windows = 200, rounds = 5] = process.argv.slice(2).map(Number);

const registry = createRegistry({
  bundledFolder: join(projectRoot(), 'models'),
  dataDir: '/nonexistent',
  log,
});
const model = await registry.get('soundpost-home');
const { sample_rate: rate, window_seconds: seconds } = model.manifest.input;
const FEATURES = 384;

interface Way {
  name: string;
  heads: readonly LearntHead[];
  /** A sample of the embedding with every so many windows; 0: none. */
  every: number;
}

const heads = (count: number) =>
  Array.from({ length: count }, (_, each) => ({
    slug: `own-${each}`,
    modelSha256: model.manifest.onnx_sha256,
    weights: Float32Array.from({ length: FEATURES }, (__, at) => Math.sin(at + each) / 8),
    bias: 0,
  }));
const way = (name: string, count: number, every = 0): Way => ({
  name,
  heads: heads(count),
  every,
});
const ways = [
  way('nothing', 0),
  way('1 label', 1),
  way('10 labels', 10),
  way('background each second', 0, 1),
  way('background each 5 s', 0, 5),
  way('10 labels, background each 5 s', 10, 5),
];

/** CPU of a process in ms: user and system, in ticks of 10 ms. */
async function cpuMs(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function run(
  engine: InferenceEngine,
  { heads: learnt, every }: Way,
): Promise<{ child: number; own: number }> {
  await engine.learn(learnt);
  const hop = new Float32Array(rate).map((_, at) => Math.sin(at * at) / 20);
  const windowSamples = seconds * rate;
  // Frames of four seconds again and of one anew, as live.
  const frames = { from: 0, to: 31 };
  const before = await cpuMs(engine.pid);
  const ownBefore = process.cpuUsage();
  for (let at = 1; at <= windows; at += 1) {
    const embeddings = every > 0 && at % every === 0;
    await engine.infer({ samples: hop, reset: false, windowSamples, frames, embeddings });
  }
  const own = process.cpuUsage(ownBefore);
  return { child: (await cpuMs(engine.pid)) - before, own: (own.user + own.system) / 1000 };
}

const engine = await createStartEngine({ log })(model, { threads: 1 });
const samples = new Float32Array(seconds * rate);
for (let at = 0; at < 50; at += 1)
  await engine.infer({ samples, reset: true, windowSamples: samples.length });
const spent = ways.map(() => ({ child: [] as number[], own: [] as number[] }));
for (let round = 0; round < rounds; round += 1) {
  for (const [at, each] of ways.entries()) {
    const { child, own } = await run(engine, each);
    spent[at]!.child.push(child / windows);
    spent[at]!.own.push(own / windows);
  }
}
await engine.stop();
const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1]!;
const base = median(spent[0]!.child) + median(spent[0]!.own);
process.stdout.write(
  '                                    process   service   more than nothing (CPU ms a window)\n',
);
for (const [at, { name }] of ways.entries()) {
  const [child, own] = [median(spent[at]!.child), median(spent[at]!.own)];
  const more = (child + own - base).toFixed(2);
  process.stdout.write(
    `${name.padEnd(34)} ${child.toFixed(2).padStart(8)} ${own.toFixed(2).padStart(9)} ${more.padStart(10)}\n`,
  );
}
