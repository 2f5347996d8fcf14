/** `soundpost soak` as a person meets it: short runs of the whole service, with a verdict. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { t } from 'tap';
import type { SoakReport } from '../../src/bench/soak/soak-report.js';
import { cli, startCli } from '../support/cli.js';
import { descendants, inferencePids, startedInference, untilGone, writeWav } from '../support/service.js';
import { installToneModel, tone } from '../support/tone-models.js';
import { until } from '../support/waiting.js';

const folder = t.testdir();
const dataDir = join(folder, 'data');
const env = { SOUNDPOST_DATA_DIR: dataDir };
const recording = join(folder, 'beeps.wav');
const report = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as SoakReport;

/** Time is not what is tested: the machine may be busy, and a run of a minute has no steady state. */
const lenient = ['--max-latency-drift', '1000', '--max-memory-growth', '10', '--max-loop-delay', '10000'];
const soak = (...more: string[]) => [
  'soak',
  '--model',
  'tone-waveform',
  '--source',
  recording,
  ...lenient,
  ...more,
];

t.before(async () => {
  await installToneModel(dataDir, 'waveform');
  await installToneModel(dataDir, 'log_mel');
  const sound = tone(3100, 20, 16_000, 0.01);
  sound.set(tone(500, 3, 16_000, 0.5), 32_000);
  await writeWav(recording, sound, 16_000);
});

void t.test('two minutes of sound at full speed with swaps', async (t) => {
  const files = ['--html', join(folder, 'a.html'), '--json', join(folder, 'a.json')];
  const swaps = ['--swap-every', '30', '--swap-to', 'tone-logmel', '--max-swap-ms', '60000'];
  const run = await cli(soak('--hours', '0.034', '--speed', 'max', ...swaps, ...files), { env });
  t.equal(run.code, 0, run.stdout + run.stderr);
  t.match(run.stdout, /windows missing in the row +0 +≤ 0 +kept/);
  t.match(run.stdout, /\nNo limit was missed\. Not measured: latency p99/, 'too few windows for a p99');
  const found = report('a.json');
  t.match(found, { end: 'complete', kept: null, failure: null, faults: { total: 0 } });
  t.ok(found.audioSeconds >= 122);
  t.match(found.windows, { missing: 0, dropped: 0, processed: found.windows.lastSeq });
  t.equal(found.windows.arrived, found.windows.lastSeq! - found.windows.firstSeq! + 1);
  t.ok(found.swaps!.asked >= 1 && found.swaps!.failed === 0);
  t.match(found.swaps!.times[0], { model: 'tone-logmel', slowestMs: Number });
  t.match(run.stdout, /slowest swap, command to first tags +\d.* ms +≤ 60000 ms +kept/);
  t.ok(found.swaps!.list.every(({ tookMs, rssBeforeMb }) => tookMs! > 0 && rssBeforeMb! > 0));
  t.ok(found.events.started > 0, 'something was heard');
  t.equal(found.events.open, 0);
  t.ok(found.history.processes[0]!.rssMb['service']! > 20);
  const html = readFileSync(join(folder, 'a.html'), 'utf8');
  t.match(html, /<svg/);
  t.notMatch(html, /<script|<link|src=|NaN|undefined/, 'the page needs nothing else');
});

/** The process of the service that a soak has started, once it is there. */
async function serviceOf(pid: number): Promise<number> {
  let found: number | undefined;
  await until(
    async () => {
      found = (await descendants(pid)).find(({ command }) => command.includes('main.js run'))?.pid;
      return found !== undefined;
    },
    'the service of the soak',
    60,
    5,
  );
  return found!;
}

void t.test('an interrupt ends it with its report', async (t) => {
  const running = startCli(soak('--hours', '1', '--json', join(folder, 'b.json'), '--broker', 'embedded'), {
    env: { ...env, SOUNDPOST_INFERENCE_RATE_HZ: '10' },
  });
  const service = await serviceOf(running.child.pid!);
  await startedInference(service);
  await running.printed('stderr', /the first windows have arrived/);
  running.child.kill('SIGINT');
  const { code, stdout, stderr } = await running.ended;
  t.equal(code, 0, stdout + stderr);
  t.match(stderr, /its report follows/);
  t.match(stdout, /interrupted/);
  const found = report('b.json');
  t.match(found, { end: 'interrupted', faults: { total: 0 }, settings: { broker: 'embedded', rateHz: 10 } });
  t.ok(found.windows.arrived > 0);
  await untilGone(service);
});

void t.test('an inference process that is killed is counted, and misses the limit', async (t) => {
  const running = startCli(soak('--minutes', '0.5', '--json', join(folder, 'c.json')), { env });
  const victims = async () => {
    const service = (await descendants(running.child.pid!)).find(({ command }) =>
      command.includes('main.js run'),
    );
    return service === undefined ? [] : await inferencePids(service.pid);
  };
  // What dies while it loads is no restart but a failed start.
  await running.printed('stderr', /the first windows have arrived/);
  const [victim] = await victims();
  process.kill(victim!, 'SIGKILL');
  const { code, stdout } = await running.ended;
  t.equal(code, 1, stdout);
  t.match(stdout, /restarts of processes +1 +≤ 0 +MISSED/);
  t.match(report('c.json'), {
    kept: false,
    end: 'complete',
    restarts: { inference: 1 },
    windows: { missing: 0 },
  });
});

void t.test('a service that cannot go on ends the run with its last words', async (t) => {
  const running = startCli(soak('--hours', '1', '--json', '-'), { env });
  const service = await serviceOf(running.child.pid!);
  await startedInference(service);
  process.kill(service, 'SIGKILL');
  const { code, stdout } = await running.ended;
  t.equal(code, 1);
  t.match(JSON.parse(stdout), { end: 'failed', kept: false, failure: { reason: /ended with SIGKILL/ } });
});

/** What a soak has started, and its folder, once windows arrive. */
async function started(more: string[] = [], name = 'temporary') {
  const scratch = join(folder, name);
  mkdirSync(scratch);
  const running = startCli(soak('--hours', '1', ...more), { env: { ...env, TMPDIR: scratch } });
  await running.printed('stderr', /the first windows have arrived/);
  const pids = (await descendants(running.child.pid!)).map(({ pid }) => pid);
  t.ok(pids.length >= 2, 'the service and its inference process at least');
  return { ...running, pids, left: () => readdirSync(scratch) };
}

void t.test('a terminal that is lost ends it like SIGTERM', async (t) => {
  const { child, ended, pids, left } = await started(['--json', join(folder, 'd.json')], 'hangup');
  child.kill('SIGHUP');
  const { code, stderr } = await ended;
  t.equal(code, 0, stderr);
  t.match(report('d.json'), { end: 'interrupted' });
  await Promise.all(pids.map(untilGone));
  t.same(left(), []);
});

void t.test('a second signal ends it at once and leaves nothing', async (t) => {
  const { child, ended, pids, left } = await started([], 'twice');
  child.kill('SIGINT');
  child.kill('SIGTERM');
  const { code } = await ended;
  t.ok([130, 143].includes(code as number), `${code}`);
  await Promise.all(pids.map(untilGone));
  t.same(left(), []);
});

void t.test('whatever kills it, nothing that it has started goes on', async (t) => {
  const { child, ended, pids } = await started([], 'killed');
  child.kill('SIGKILL');
  t.equal((await ended).code, 'SIGKILL');
  await Promise.all(pids.map(untilGone));
});

void t.test('an interrupt before the first window is no failure of the service', async (t) => {
  const running = startCli(soak('--hours', '1', '--json', join(folder, 'e.json')), { env });
  await serviceOf(running.child.pid!);
  running.child.kill('SIGINT');
  const { stdout } = await running.ended;
  t.match(report('e.json'), { end: 'interrupted', failure: null });
  t.notMatch(stdout, /FAILED|MISSED\.$/m);
});

void t.test('reports that cannot be written', async (t) => {
  writeFileSync(join(folder, 'file'), '');
  const nowhere = join(folder, 'file', 'x.html');
  const refused = await cli(soak('--hours', '1', '--html', nowhere), { env });
  t.equal(refused.code, 2, 'it is said before the run, not after it');
  t.match(refused.stderr, /--html .*x\.html: cannot be written/);

  const lost = join(folder, 'lost.html');
  const { child, ended } = await started(['--html', lost, '--json', join(folder, 'f.json')], 'unwritable');
  mkdirSync(join(lost, 'in the way'), { recursive: true });
  child.kill('SIGINT');
  const { code, stdout, stderr } = await ended;
  t.equal(code, 1);
  t.match(stdout, /windows that arrived/, 'the summary is printed');
  t.match(stderr, /--html .*lost\.html: cannot be written/);
  t.match(report('f.json'), { end: 'interrupted' }, 'the other one is there');
});

void t.test('wrong usage', async (t) => {
  const wrong: [string[], RegExp][] = [
    [['--source', 'microphone', '--speed', 'max'], /real time only/],
    [['--speed', '2'], /must be 1 or max/],
    [['--hours', '0'], /--hours 0: must be a number above 0/],
    [['--swap-every', '5', '--swap-to', 'tone-waveform'], /another model/],
    [['--swap-to', 'tone-logmel'], /--swap-every says how often/],
    [['--max-gaps', '-1'], /not below 0/],
    [['--max-swap-ms', '1000'], /--swap-every says how often/],
  ];
  for (const [flags, message] of wrong) {
    const { code, stderr } = await cli(['soak', '--model', 'tone-waveform', ...flags], { env });
    t.equal(code, 2, flags.join(' '));
    t.match(stderr, message);
  }
  const unknown = await cli(['soak', '--model', 'nothing'], { env });
  t.equal(unknown.code, 1);
  t.match(unknown.stderr, /nothing/);
});
