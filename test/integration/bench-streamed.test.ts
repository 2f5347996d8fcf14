import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import t, { type Test } from 'tap';
import type { BenchMachine, BenchRow } from '../../src/bench/models/model-bench-report.js';
import { runModelBench } from '../../src/bench/models/run-model-bench.js';
import { installedSubject } from '../../src/bench/models/subject.js';
import { formatMarkdown, formatTerminal } from '../../src/bench/models/table.js';
import type { LeftEdge } from '../../src/convert/streaming/plan.js';
import { silentLogger as log } from '../../src/common/log.js';
import { optimizedFolderIn } from '../../src/inference/optimized-copy.js';
import { createStartEngine } from '../../src/inference/start-engine.js';
import { latestStreamRecord } from '../../src/inference/stream-record.js';
import { createRegistry } from '../../src/models/registry.js';
import type { SocReading } from '../../src/telemetry/soc.js';
import { projectPath } from '../support/shared.js';
import { installStreamableModel, STREAMABLE_GRID, STREAMABLE_RATE } from '../support/streamable-model.js';
import { temporaryFolder } from '../support/temporary.js';

const MACHINE: BenchMachine = {
  ...{ board: null, cpu: 'x', cores: 2, memory_mb: 4000, os: null, kernel: 'k', arch: 'x64', node: '20' },
  ...{ onnxruntime: null, soundpost: '0', load_before: 0 },
};

const NO_SENSORS: SocReading = {
  ...{ temperature_c: null, frequency_mhz: null, throttled: null },
  ...{ under_voltage: null, throttled_since_boot: null },
};

async function bench(t: Test, worthBelow: number, leftEdge: LeftEdge = 'exact') {
  const dataDir = temporaryFolder(t);
  const id = await installStreamableModel(dataDir);
  const registry = createRegistry({ bundledFolder: projectPath('models'), dataDir, log });
  const optimizedFolder = optimizedFolderIn(temporaryFolder(t));
  const rows: BenchRow[] = [];
  const report = await runModelBench({
    subjects: [installedSubject(await registry.get(id))],
    ...{ threads: [1], seconds: 0.2, rateHz: 1, machine: MACHINE },
    startEngine: createStartEngine({ log }),
    streaming: {
      startEngine: createStartEngine({
        ...{ log, optimizedFolder },
        stream: () => ({ windowSeconds: null, hopSeconds: 1, leftEdge, worthBelow, worthAbove: 0 }),
      }),
      async reasonOf(model) {
        const record = await latestStreamRecord(optimizedFolder, model);
        return record !== null && 'reason' in record ? record.reason : null;
      },
      forget: () => rm(optimizedFolder, { recursive: true, force: true }),
    },
    readSoc: () => Promise.resolve(NO_SENSORS),
    signal: new AbortController().signal,
    onProgress: () => undefined,
    onRow: (row) => void rows.push(row),
  });
  return { report, row: rows[0]!, isLeft: existsSync(optimizedFolder) };
}

t.test('a network that can be a stream has both costs', async (t) => {
  const { report, row, isLeft } = await bench(t, Infinity);
  t.equal(row.error, null);
  t.ok(row.result!.cpu_s_per_hour !== null && row.result!.stream.hop_ms.total!.count >= 3);
  const { streamed } = row;
  if (streamed === null || 'reason' in streamed) return void t.fail('it is none');
  t.equal(streamed.grid_s, STREAMABLE_GRID / STREAMABLE_RATE);
  t.ok(streamed.kept_mb > 0);
  t.ok(streamed.hop_ms.total!.count >= 3);
  t.ok(streamed.cpu_s_per_hour! >= 0);
  t.match(formatTerminal(report), / CPU s\/h +streamed /);
  t.match(formatMarkdown(report), / \| CPU s\/h \| streamed p95 \| streamed \| kept MB \| /);
  t.notOk(isLeft, 'nothing stays of the second form');
});

t.test('one that is none has the reason', async (t) => {
  const { report, row } = await bench(t, 0);
  t.match(row.streamed, { reason: /^a hop would take/ });
  t.match(formatTerminal(report), /^streamable is no stream: a hop would take .*\.$/m);
  t.notMatch(formatTerminal(report), / streamed /);
});

t.test('in the approximate form that is said', async (t) => {
  const { report, row } = await bench(t, Infinity, 'stream');
  t.match(row.streamed, { left_edge: 'stream' });
  t.match(formatTerminal(report), /^Streams are computed in the approximate form/m);
  t.notMatch(formatTerminal((await bench(t, Infinity)).report), /approximate/);
});
