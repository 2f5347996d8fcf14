import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { FleetReport } from '../../tools/fleet/fleet-report.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';
import { skipWithout } from '../support/tools.js';

interface Run {
  code: number | null;
  out: string;
  err: string;
}

/** Runs the bench; `onProgress` gets what it says while it runs. */
async function bench(
  flags: string[],
  tmpdir: string,
  onProgress: (said: string, interrupt: () => void) => void = () => undefined,
): Promise<Run> {
  const child = spawn(
    process.execPath,
    [projectPath('dist/tools/fleet/main.js'), '--outbox-folder', tmpdir, ...flags],
    {
      env: { ...process.env, TMPDIR: tmpdir },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  const run: Run = { code: null, out: '', err: '' };
  child.stdout.on('data', (chunk: Buffer) => (run.out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => {
    run.err += chunk.toString();
    onProgress(run.err, () => child.kill('SIGINT'));
  });
  [run.code] = (await once(child, 'close')) as [number | null];
  return run;
}

const noMosquitto = skipWithout('mosquitto');
const quick = ['--seconds', '4', '--autosave-seconds', '1', '--start-spread-seconds', '0.2'];

t.test('twenty devices lose nothing when their broker is killed', { skip: noMosquitto }, async (t) => {
  const folder = temporaryFolder(t);
  const json = join(folder, 'report.json');
  const { code, out, err } = await bench(
    ['--devices', '20', '--event-seconds', '2', '--down-seconds', '0.2', ...quick, '--json', json],
    folder,
  );
  t.equal(code, 0, err);
  const report = JSON.parse(await readFile(json, 'utf8')) as FleetReport;
  t.same(report.failures, []);
  t.match(report, {
    options: { devices: 20, event_seconds: 2, outbox_folder: folder, processes: 1 },
    connect: { count: 20, p50_ms: Number, p95_ms: Number, max_ms: Number },
    operator: { answered: 20, failed: 0, all_ms: Number },
    restart: { recovery: { count: 20, max_ms: Number }, reconnects: { per_second: Array } },
    events: { lost: 0, out_of_order: 0, unknown: 0, dropped: 0 },
    statuses: { online_after_restart: 20, offline_after_stop: 20 },
    memory: { device_bytes: Number, broker_bytes: Number },
  });
  t.ok(report.events.published >= 20, 'each device heard something');
  t.ok(report.events.late > 0, 'what happened while the broker was away arrived, and says so');
  t.equal(
    report.restart.reconnects.per_second.reduce((sum, count) => sum + count, 0),
    20,
  );
  t.match(out, /events +\d+ published, 0 lost/);
  t.same(await readdir(folder), ['report.json'], 'nothing is left behind');
});

t.test(
  'nine devices lose nothing when one node of three is killed',
  { skip: skipWithout('nats-server') },
  async (t) => {
    const folder = temporaryFolder(t);
    const json = join(folder, 'report.json');
    const flags = ['--broker', 'nats', '--nodes', '3', '--devices', '9', '--event-seconds', '2', ...quick];
    const { code, out, err } = await bench([...flags, '--json', json], folder);
    // An event that comes out of order is told, and is no loss: the bench then ends with 1.
    t.ok(code === 0 || code === 1, err);
    const report = JSON.parse(await readFile(json, 'utf8')) as FleetReport;
    t.match(report, {
      machine: { broker: /^nats-server \d/ },
      options: { nodes: 3, devices: 9 },
      traffic: { packets_in_per_s: null },
      restart: { down_ms: 0 },
      events: { lost: 0, unknown: 0, dropped: 0 },
      abilities: { retained: true, session_other_node: true, will: true },
    });
    // The three of the killed node; where it led the others, they may close their connections while they choose anew.
    const { devices_lost: lost, recovery } = report.restart;
    t.ok(lost >= 3 && lost <= 9, `${lost} devices lost their connection`);
    t.equal(recovery.count, lost, 'each that was lost came back');
    t.match(out, new RegExp(`one node killed: ${lost} devices lost their connection`));
    t.same(await readdir(folder), ['report.json'], 'nothing is left behind');
  },
);

t.test('an interrupted bench leaves nothing behind', { skip: noMosquitto }, async (t) => {
  const folder = temporaryFolder(t);
  const { code, out, err } = await bench(['--devices', '3', ...quick], folder, (said, interrupt) => {
    if (said.includes('working for')) interrupt();
  });
  t.equal(code, 130);
  t.equal(out, '');
  t.match(err, /interrupted/);
  t.same(await readdir(folder), []);
});

t.test('flags that cannot work are refused in words', async (t) => {
  const folder = temporaryFolder(t);
  for (const [flags, message] of [
    [['--devices', '1.5'], /--devices.*whole number from 1 to 20000/],
    [['--event-seconds', '1'], /--event-seconds at least 2/],
    [['--seconds', '4'], /--autosave-seconds smaller/],
    [['--nodes', '3'], /mosquitto has one node/],
    [['--broker', 'nats', '--nodes', '2'], /--nodes.*1, 3 or 5/],
    [['--broker', 'other'], /Allowed choices are mosquitto, nats, rabbitmq/],
  ] as const) {
    const { code, err } = await bench([...flags], folder);
    t.equal(code, 2, flags.join(' '));
    t.match(err, message);
  }
  t.same(await readdir(folder), []);
});
