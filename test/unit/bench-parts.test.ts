import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { isHangupIgnored } from '../../src/common/interrupt.js';
import {
  cpuBetween,
  cpuPerProcess,
  memoryOf,
  parseStat,
  readProcessTree,
} from '../../src/bench/process-tree.js';
import { checkReportFiles, writeReportFiles } from '../../src/bench/report-files.js';
import {
  formatServiceBenchReport,
  verdictsOf,
  type BenchReport,
} from '../../tools/bench/service-bench-report.js';
import type { ServiceRun } from '../../tools/bench/service-run.js';
import { mean, median } from '../../src/bench/statistics.js';
import { createWorkFolder } from '../../src/bench/work-folder.js';
import { forwarded } from '../../src/cli/soak.js';
import { loadConfig } from '../../src/config/load.js';

/** The line of /proc/PID/stat of a process with the given times in clock ticks. */
const statLine = (pid: number, name: string, parent: number, ticks: readonly number[]): string =>
  `${pid} (${name}) S ${parent} ${pid} ${pid} 0 -1 4194304 9 9 9 9 ${ticks.join(' ')} 20 0 1 0 100 1000 10 18446744073709551615\n`;

t.test('a process whose name holds spaces and parentheses is read right', (test) => {
  test.same(parseStat(statLine(42, 'a) S 1 (b c', 7, [100, 50, 3, 1])), {
    pid: 42,
    parent: 7,
    cpuMs: 1500,
    endedChildrenCpuMs: 40,
  });
  for (const line of ['', '42', '42 (x', '42 (x) S', 'x (y) S 1 2 3']) test.equal(parseStat(line), undefined);
  test.end();
});

t.test('a tree is the process and all that descend from it, and nobody else', (test) => {
  const proc = test.testdir({ meminfo: 'MemTotal: 1 kB\n' });
  const add = (pid: number, parent: number, ticks: number[], files: Record<string, string> = {}): void => {
    const folder = join(proc, String(pid));
    mkdirSync(folder, { recursive: true });
    const all = { stat: statLine(pid, 'node', parent, ticks), cmdline: `node\0${pid}.js\0`, ...files };
    for (const [name, text] of Object.entries(all)) writeFileSync(join(folder, name), text);
  };
  add(1, 0, [999, 999, 999, 999]);
  add(10, 1, [20, 10, 0, 0], { smaps_rollup: '0-f r\nRss:      2000 kB\nPss:     1500 kB\n' });
  add(11, 10, [5, 5, 0, 0], { smaps_rollup: 'Rss:  1000 kB\nPss:  500 kB\n' });
  // One that may not be traced by this user, below the other.
  add(12, 11, [1, 0, 0, 0], { status: 'Name:\tnode\nVmRSS:\t     300 kB\n' });
  add(20, 1, [7, 7, 7, 7]);

  const before = readProcessTree(10, proc);
  test.match(before, [
    { pid: 10, command: 'node 10.js', cpuMs: 300, rssBytes: 2_048_000, pssBytes: 1_536_000 },
    { pid: 11, cpuMs: 100, rssBytes: 1_024_000 },
    { pid: 12, cpuMs: 10, rssBytes: 307_200, pssBytes: null },
  ]);
  test.same(memoryOf(before), { rssBytes: 3_379_200, pssBytes: null });
  test.same(readProcessTree(4711, proc), []);

  // The leaf ends, its 40 ms pass to its parent; a new child has used 20 ms.
  add(10, 1, [30, 10, 0, 0]);
  add(11, 10, [6, 5, 4, 0]);
  writeFileSync(join(proc, '12', 'stat'), '');
  add(13, 10, [1, 1, 0, 0]);
  const after = readProcessTree(10, proc);
  test.equal(cpuBetween(before, after), 100 + 10 + (40 - 10) + 20);
  test.same(
    cpuPerProcess(before, after).map(({ pid, cpuMs }) => [pid, cpuMs]),
    [
      [10, 100],
      [11, 10],
    ],
  );
  test.end();
});

t.test('mean and median', (test) => {
  test.equal(mean([1, 2, 6]), 3);
  test.equal(median([5, 1, 9]), 5);
  test.equal(median([4, 1, 9, 5]), 4.5);
  test.same([mean([]), median([])], [NaN, NaN]);
  test.end();
});

const run = (cpuMsPerHop: number, rssMb: number | null, p99: number | null): ServiceRun => ({
  hops: 60,
  seconds: 60,
  cpuMsPerHop,
  processes: [{ command: '/usr/bin/node --x /opt/dist/src/main.js run', cpuMsPerHop, rssMb, pssMb: null }],
  memory: { rssMb, pssMb: null },
  windowsDropped: 0,
  latencyMs: null,
  eventLoopDelayMs: p99 === null ? null : { p50: 1, p99, max: 99 },
});
const session = {
  runs: 10,
  intervalMs: 1000,
  cpuMs: { mean: 5, median: 5 },
  cpuMsPerInterval: 6,
  wallMs: { median: 5 },
  loadMs: 20,
};
const torch = {
  torch: '2',
  fast_blas: true,
  windows: 1,
  interval_s: 1,
  cpu_ms: { total: 20, features: 10, network: 10 },
  rss_mb: 1,
  max_abs_difference: null,
};
const report = (
  service: ServiceRun,
  pytorch: BenchReport['pytorch'],
  large: BenchReport['large'],
): Omit<BenchReport, 'verdicts'> => ({
  machine: { cpu: 'CPU', cores: 2, node: '20', platform: 'linux x64', load: 0.1 },
  model: 'm',
  macs: 110e6,
  rateHz: 1,
  broker: 'mosquitto',
  session: { spaced: session, backToBack: session },
  pytorch,
  service,
  large,
});

t.test('limits are met, missed or not measured', (test) => {
  const large = { model: 'l', bytes: 3e8, session, service: run(1, 1, 20) };
  const good = report(
    run(7.4, 299, 3),
    { spaced: torch, backToBack: torch },
    { ...large, service: run(1, 1, 19) },
  );
  test.same(
    verdictsOf(good).map(({ value, met }) => [value, met]),
    [
      [1.48, true],
      [0.37, true],
      [299, true],
      [19, true],
    ],
  );
  const near = report(run(7.6, 300, 3), { spaced: torch, backToBack: torch }, large);
  test.equal(verdictsOf(near)[0]!.met, false, 'half as much again as the network is the most');
  const bad = report(run(15, 300, 3), { spaced: torch, backToBack: torch }, large);
  test.same(
    verdictsOf(bad).map(({ met }) => met),
    [false, false, false, false],
  );
  const bare = report(run(15, null, null), { skipped: 'no torch' }, null);
  test.same(
    verdictsOf(bare).map(({ met }) => met),
    [false, null, null, null],
  );
  for (const macs of [18e6, null]) {
    const small = { ...bad, macs };
    test.equal(verdictsOf(small)[0]!.met, null, 'beside next to nothing everything is much');
    test.match(
      formatServiceBenchReport({ ...small, verdicts: verdictsOf(small) }),
      /session\.run +3\.00 .*not judged/,
    );
  }
  const text = formatServiceBenchReport({ ...bare, verdicts: verdictsOf(bare) });
  test.match(text, /^ {2}node main\.js run +15\.0 +3\.00$/m);
  test.match(text, /left out, no torch/);
  test.match(text, /not measured/);
  test.notMatch(
    formatServiceBenchReport({ ...good, verdicts: verdictsOf(good) }),
    /NaN|undefined|null|MISSED/,
  );
  test.end();
});

t.test('whether a program was started to outlive its terminal', (test) => {
  const proc = test.testdir();
  mkdirSync(join(proc, 'self', 'fdinfo'), { recursive: true });
  const isIgnored = (ignored: string, flags: string) => {
    writeFileSync(join(proc, 'self', 'status'), `Name:\tnode\nSigBlk:\t0\nSigIgn:\t${ignored}\nSigCgt:\t1\n`);
    writeFileSync(join(proc, 'self', 'fdinfo', '0'), `pos:\t0\nflags:\t${flags}\nmnt_id:\t1\n`);
    return isHangupIgnored(proc);
  };
  test.equal(isIgnored('0000000001001000', '0100002'), false, 'a terminal');
  test.equal(isIgnored('0000000001001000', '0100000'), false, 'a file or /dev/null to read from');
  test.equal(isIgnored('0000000001001000', '0100001'), true, 'what nohup puts in place of a terminal');
  test.equal(isIgnored('0000000001001001', '0100002'), true, 'SIGHUP is ignored');
  test.equal(isHangupIgnored('/nowhere'), false);
  test.end();
});

t.test('reports: what cannot be written is known before, and costs no other', async (test) => {
  const folder = test.testdir({ file: 'old', folder: {} });
  const at = (...names: string[]) => join(folder, ...names);
  const file = (...names: string[]) => ({ flag: '--json', path: at(...names), text: 'new' });
  await checkReportFiles([file('file'), file('made', 'x'), { flag: '--html', path: '/dev/null' }]);
  test.same(readdirSync(at('made')), [], 'the attempt leaves nothing');
  test.equal(readFileSync(at('file'), 'utf8'), 'old');
  await test.rejects(checkReportFiles([file('folder')]), { code: 'usage', message: /--json .* is a folder/ });
  await test.rejects(checkReportFiles([file('file', 'x')]), { code: 'usage', message: /cannot be written/ });
  const problems = await writeReportFiles([file('folder'), file('file'), { ...file(), path: '/dev/null' }]);
  test.equal(problems.length, 1);
  test.match(problems[0], /--json .*folder: cannot be written/);
  test.equal(readFileSync(at('file'), 'utf8'), 'new');
  test.equal(statSync('/dev/null').isFile(), false, 'a device is not replaced by a file');
});

t.test('a folder for large files', async (test) => {
  const work = await createWorkFolder(test.testdir(), 'unit');
  test.match(work.folder, /soundpost-unit-/);
  writeFileSync(join(work.folder, 'x'), '');
  const before = process.listenerCount('exit');
  await work.remove();
  test.equal(existsSync(work.folder), false);
  test.equal(process.listenerCount('exit'), before - 1, 'nothing is left to be done at the exit');
});

t.test('every setting of tagging and of thermal control reaches the service of a long run', (test) => {
  const { config } = loadConfig({
    env: {
      SOUNDPOST_TAGGING_CONFIRM: '2/3',
      SOUNDPOST_TAGGING_LABELS: '["Speech"]',
      SOUNDPOST_MQTT_URL: 'mqtt://elsewhere',
    },
    flags: {},
    configPath: undefined,
  });
  const settings = forwarded(config, { speed: 1, source: 'demo' });
  test.match(settings, {
    SOUNDPOST_TAGGING_CONFIRM: '2/3',
    SOUNDPOST_TAGGING_LABELS: '["Speech"]',
    SOUNDPOST_THERMAL_ENABLED: 'true',
  });
  test.equal(settings['SOUNDPOST_MQTT_URL'], undefined, 'not whom it talks to');
  test.match(forwarded(config, { speed: 'max', source: 'demo' }), { SOUNDPOST_THERMAL_ENABLED: 'false' });
  test.end();
});
