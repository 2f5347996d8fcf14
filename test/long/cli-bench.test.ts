/** `soundpost bench` and `soundpost recommend` as a person meets them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { t } from 'tap';
import type { Recommendation } from '../../src/bench/models/run-recommendation.js';
import type { ModelBenchReport } from '../../src/bench/models/model-bench-report.js';
import { cleanEnvironment, cli, cliHome, startCli } from '../support/cli.js';
import { descendants, untilGone, writeWav } from '../support/service.js';
import { projectPath } from '../support/shared.js';
import { makeSysFolder } from '../support/sys-folders.js';
import { temporaryFolder } from '../support/temporary.js';
import { installToneModel } from '../support/tone-models.js';

t.jobs = 2;

const { folder, ownData } = cliHome(t);
const data = ownData('bench-data');
await installToneModel(data, 'waveform', { id: 'tone' });
const broken = await installToneModel(data, 'waveform', { id: 'broken' });
writeFileSync(broken.onnxPath, 'this is not a network');
const env = { SOUNDPOST_DATA_DIR: data };

void t.test('bench: installed models, an architecture, and one that is broken', async (t) => {
  const sys = makeSysFolder('pi4');
  t.teardown(() => sys.remove());
  sys.setTemperature(51.5);
  const scratch = temporaryFolder(t);
  const file = (name: string) => join(folder, name);
  const { code, stdout, stderr } = await cli(
    ['bench', '--seconds', '0.2', '--architectures', '--models', 'all,mn01']
      .concat(['--json', file('b.json'), '--html', file('b.html'), '--markdown', file('b.md')])
      .concat(['--telemetry.sys_root', sys.sysRoot, '--telemetry.proc_root', sys.procRoot]),
    { env: { ...env, TMPDIR: scratch } },
  );
  t.equal(code, 1, 'one of them failed');
  t.match(stdout, /^Raspberry Pi 4/);
  t.match(stdout, /^model +mAP/m);
  t.match(stdout, /^mn01 \* +0\.298 +124 k +18\.\d M/m);
  t.match(stdout, /^FAILED broken \(threads: 1\) .*SHA-256/m);
  t.match(stderr, /^4 models/m);
  t.match(stderr, /^tone: \S+ ms a clip/m);
  t.notMatch(stderr, /[\r█]/, 'plain lines');

  const report = JSON.parse(readFileSync(file('b.json'), 'utf8')) as ModelBenchReport;
  t.same(
    report.rows.map(({ id, synthetic, error }) => [id, synthetic, error?.code]),
    ['soundpost-home', 'broken', 'tone', 'mn01'].map((id) => [
      id,
      id === 'mn01',
      id === 'broken' ? 'model_digest' : undefined,
    ]),
  );
  t.match(report.machine, { board: 'Raspberry Pi 4 Model B Rev 1.4', onnxruntime: /^\d+\.\d+/ });
  t.ok(report.sensors.every(({ temperature_c: celsius }) => celsius === 51.5));
  for (const { id, result, sensors, file_bytes: bytes, window_s: seconds } of report.rows) {
    if (id === 'broken') continue;
    const { clip_ms: clip, stream, memory_mb: memory, real_time_factor: factor } = result!;
    t.ok(clip.total!.count >= 3 && stream.hop_ms.total!.count >= 3, id);
    t.ok(clip.total!.mean >= clip.features!.mean + clip.network!.mean, 'the parts are parts of the whole');
    t.ok(clip.total!.min <= clip.total!.p50 && clip.total!.p99 <= clip.total!.max);
    t.ok(Math.abs(factor! - clip.total!.mean / (1000 * seconds!)) < 1e-9);
    t.ok(memory.peak! >= memory.resident! && memory.resident! > 20);
    t.ok(result!.cpu_s_per_hour! > 0 && result!.load_ms > 0 && bytes! > 0);
    t.equal(sensors?.temperature_c.peak, 51.5);
  }
  t.match(
    readFileSync(file('b.html'), 'utf8'),
    /^<!doctype html>[\s\S]*Temperature over time[\s\S]*<\/html>\n$/,
  );
  t.match(readFileSync(file('b.md'), 'utf8'), /^\| mn01 \\\* \| 0\.298/m);
  t.same(readdirSync(scratch), [], 'the network of the architecture is gone, and ONNX Runtime keeps no log');
});

void t.test('bench: interrupted, it reports what was measured', async (t) => {
  const [json, html] = [join(folder, 'interrupted.json'), join(folder, 'interrupted.html')];
  const running = startCli(
    ['bench', '--models', 'tone,soundpost-home', '--seconds', '3', '--json', json, '--html', html],
    { env },
  );
  // The first model has been measured; the interrupt comes while the second loads or is measured.
  await running.printed('stderr', /^soundpost-home: \S+ ms a clip/m);
  running.child.kill('SIGINT');
  const { code, stdout } = await running.ended;
  t.equal(code, 130);
  t.match(stdout, /Interrupted/);
  t.match(stdout, /^soundpost-home .*\d/m);
  const report = JSON.parse(readFileSync(json, 'utf8')) as ModelBenchReport;
  t.equal(report.interrupted, true);
  t.match(report.rows[0], { id: 'soundpost-home', interrupted: false, error: null });
  t.ok(report.rows[0]!.result!.clip_ms.total!.count >= 3);
  t.ok(report.rows.slice(1).every(({ interrupted }) => interrupted));
  t.match(readFileSync(html, 'utf8'), /<td data-value="soundpost-home">/);
});

void t.test('the service as a whole: a signal leaves nothing running and nothing behind', async (t) => {
  const scratch = temporaryFolder(t);
  const tone = join(data, 'models', 'tone');
  const recording = join(scratch, 'tone.wav');
  await writeWav(recording, new Float32Array(32_000), 32_000);
  const child = spawn(
    process.execPath,
    [projectPath('dist', 'tools', 'bench', 'main.js'), '--model', tone, '--recording', recording].concat([
      '--checkpoint',
      '/nowhere.pt',
      '--rate',
      '20',
      '--no-large',
    ]),
    { env: cleanEnvironment({ TMPDIR: scratch }), stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const ended = once(child, 'close') as Promise<[number]>;
  let said = '';
  for await (const part of child.stderr.setEncoding('utf8') as AsyncIterable<string>) {
    said += part;
    if (said.includes('measuring tone')) break;
  }
  const pids = (await descendants(child.pid!)).map(({ pid }) => pid);
  t.ok(pids.length >= 2, said);
  child.kill('SIGTERM');
  t.equal((await ended)[0], 143);
  await Promise.all(pids.map(untilGone));
  t.same(readdirSync(scratch), ['tone.wav']);
});

void t.test('bench: JSON on stdout and nothing else', async (t) => {
  const { code, stdout, stderr } = await cli(
    [
      'bench',
      '--models',
      'tone',
      '--seconds',
      '0.1',
      '--threads',
      '2,1',
      '--json',
      '-',
      '--html',
      join(folder, 'new', 'x.html'),
    ],
    { env },
  );
  t.same(
    (JSON.parse(stdout) as ModelBenchReport).rows.map(({ id, threads }) => [id, threads]),
    [
      ['tone', 1],
      ['tone', 2],
    ],
  );
  t.equal(code, 0, stderr);
  t.match(readFileSync(join(folder, 'new', 'x.html'), 'utf8'), /<!doctype html>/, 'its folder is made');
  const nowhere = join(folder, 'new', 'x.html', 'y.html');
  const refused = await cli(['bench', '--html', nowhere], { env });
  t.strictSame([refused.code, refused.stdout], [2, ''], 'it is said before the run, not after it');
  t.match(refused.stderr, /--html .*y\.html: cannot be written/);
});

void t.test('recommend', async (t) => {
  const { code, stdout } = await cli(['recommend', '--seconds', '1', '--json'], { env });
  t.equal(code, 0, stdout);
  const found = JSON.parse(stdout) as Recommendation;
  t.ok(['tone', 'soundpost-home'].includes(found.recommended!));
  t.equal(found.models[0]!.id, found.recommended);
  t.same(
    found.failed.map(({ id, code }) => [id, code]),
    [['broken', 'model_digest']],
  );
  t.match(found.unknown.join(' '), /on AudioSet: .*tone/);

  const sys = makeSysFolder('pi4');
  t.teardown(() => sys.remove());
  const warm = await cli(
    ['recommend', '--seconds', '2', '--rate', '4', '--telemetry.sys_root', sys.sysRoot],
    {
      env,
    },
  );
  t.match(warm.stdout, /^MODEL +MAP +BUSY/m);
  t.match(warm.stdout, /too few readings/);
  t.match(warm.stdout, /Recommended for 4 Hz: (tone|soundpost-home)\n {2}npx soundpost run --model\.id/);
});

void t.test('wrong usage', async (t) => {
  const cases: [args: string[], message: RegExp][] = [
    [['bench', '--seconds', '0'], /--seconds 0: must be a number above 0/],
    [['bench', '--threads', '1,x'], /--threads x: must be a whole number above 0/],
    [['bench', '--threads', '65'], /at most 64/],
    [['bench', '--models', 'nope'], /There is no model "nope".*Installed: soundpost-home, .*--architectures/],
    [['bench', '--models', 'nope', '--architectures'], /There is no nope.*Architectures: .*mn10/],
    [['bench', '--json'], /argument missing/],
    [['recommend', '--rate', '21'], /--rate 21: must be 0\.01 to 20 Hz/],
    [['recommend', '--max-temp', 'hot'], /--max-temp hot: must be a number above 0/],
  ];
  for (const [args, message] of cases) {
    const { code, stdout, stderr } = await cli(args, { env });
    t.strictSame([code, stdout], [2, ''], args.join(' '));
    t.match(stderr, message);
  }
});
