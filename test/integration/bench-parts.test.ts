import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { cpuBetween, readProcessTree } from '../../src/bench/process-tree.js';
import { measurePytorch } from '../../tools/bench/pytorch-yardstick.js';
import { measureNetwork } from '../../tools/bench/network-baseline.js';
import { installLargeModel } from '../../tools/bench/large-model.js';
import { projectRoot } from '../../src/common/project.js';
import { parseManifest } from '../../src/models/manifest.js';
import { installBadModel } from '../support/bad-models.js';
import { sharedPath, skipWithoutShared } from '../support/shared.js';
import { installToneModel } from '../support/tone-models.js';

/** Burns `ms` of CPU time, says so, and stays until its input ends. */
const burn = (ms: number): string =>
  `while (process.cpuUsage().user < ${ms}e3); console.log('done'); process.stdin.resume();`;

t.test(
  'CPU time and memory of a real tree of processes',
  { skip: process.platform !== 'linux' },
  async (test) => {
    const source = `
    const { spawn } = require('node:child_process');
    const child = spawn(process.execPath, ['-e', ${JSON.stringify(burn(300))}], { stdio: 'inherit' });
    child.on('close', () => process.exit());`;
    const root = spawn(process.execPath, ['-e', source], { stdio: ['pipe', 'pipe', 'inherit'] });
    const closed = once(root, 'close');
    await once(root.stdout, 'data');
    const tree = readProcessTree(root.pid!);
    test.equal(tree.length, 2);
    test.equal(tree[0]!.pid, root.pid);
    test.ok(cpuBetween([], tree) >= 290, 'the child is counted');
    for (const { rssBytes, command } of tree) {
      test.ok(rssBytes !== null && rssBytes > 10e6);
      test.match(command, /node/);
    }
    root.stdin.end();
    await closed;
    test.same(readProcessTree(root.pid!), []);
  },
);

t.test('session.run alone is measured in a process of its own', async (test) => {
  const { manifest, onnxPath } = await installToneModel(test.testdir(), 'waveform');
  const options = { runs: 4, intervalMs: 0 };
  const { runs, cpuMs, wallMs, loadMs } = await measureNetwork({ manifest, onnxPath }, options);
  test.equal(runs, 4);
  test.ok([cpuMs.mean, cpuMs.median, wallMs.median, loadMs].every((ms) => ms > 0));
  const bad = await installBadModel(test.testdir(), 'random-bytes');
  await test.rejects(measureNetwork({ manifest, onnxPath: join(bad.folder, 'model.onnx') }, options), {
    code: 'bench_session',
    message: /protobuf/i,
  });
});

t.test('a small synthetic network has a right manifest and runs', async (test) => {
  const data = test.testdir();
  const { folder, bytes } = await installLargeModel(data, 'small', [4, 4, 8]);
  const path = join(folder, 'model.json');
  const manifest = parseManifest(await readFile(path, 'utf8'), path);
  const onnxPath = join(folder, 'model.onnx');
  test.equal((await readFile(onnxPath)).length, bytes);
  test.match(await measureNetwork({ manifest, onnxPath }, { runs: 1, intervalMs: 0 }), { runs: 1 });
});

t.test('the PyTorch yardstick', { skip: skipWithoutShared() }, async (test) => {
  const options = {
    script: join(projectRoot(), 'tools', 'bench', 'pytorch-pipeline.py'),
    python: '/usr/bin/python3',
    checkpoint: sharedPath('checkpoints', 'mn04_as_mAP_432.pt'),
    recording: sharedPath('golden', 'audio', 'speech.wav'),
    windows: 1,
    intervalSeconds: 0,
  };
  test.match(await measurePytorch({ ...options, python: 'false' }), { skipped: /has no torch/ });
  test.match(await measurePytorch({ ...options, checkpoint: '/nowhere.pt' }), {
    skipped: /nowhere\.pt is not there/,
  });
  const expected = sharedPath('golden', 'real', 'speech_full.f32');
  const measured = await measurePytorch({ ...options, expected });
  // Nobody has to install torch to test this project; where it is there, the network must be the right one.
  if ('skipped' in measured) test.match(measured.skipped, /has no torch|reference BLAS/);
  else test.ok(measured.result.max_abs_difference !== null && measured.result.max_abs_difference < 1e-5);
});
