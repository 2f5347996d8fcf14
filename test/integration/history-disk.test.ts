import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { openHistory, type HistoryOptions } from '../../src/history/history.js';
import { isoTime } from '../../src/mqtt/contract.js';
import { eventWith } from '../support/events.js';
import { seededRandom } from '../support/random.js';
import { createRecordingLog } from '../support/recording-log.js';
import { projectPath } from '../support/shared.js';
import { cannotMount, mountSmallDisk } from '../support/small-disk.js';
import { temporaryFolder } from '../support/temporary.js';
import { until } from '../support/waiting.js';

/* The history on disks that are full, in a process that is killed, and in places where something else stands. */

const BEGIN_MS = Date.parse('2026-05-01T00:00:00.000Z');
const event = (n: number) =>
  eventWith({ id: `event-${String(n).padStart(5, '0')}`, started_at: isoTime(BEGIN_MS + n * 1000) });

function openHere(t: Test, dataDir: string, options: Partial<HistoryOptions> = {}) {
  const log = createRecordingLog();
  const history = openHistory({
    dataDir,
    days: 30,
    maxMb: 64,
    log,
    now: () => BEGIN_MS,
    ...options,
    tuning: { firstRetryMs: 10, maxRetryMs: 20, ...options.tuning },
  });
  t.teardown(() => history.close());
  const codes = () => log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields.code);
  const ids = async () => (await history.query({ limit: 100_000 })).events.map(({ id }) => id).reverse();
  return { history, log, codes, ids };
}

const range = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, n) => event(from + n).id);

t.test('what is written survives kills, and no kill costs what was there before', async (t) => {
  const dataDir = temporaryFolder(t);
  const random = seededRandom(t);
  const promised: string[] = [];
  const LIVES = 12;
  for (let life = 0; life < LIVES; life += 1) {
    const child = spawn(
      process.execPath,
      [projectPath('dist/test/support/history-process.js'), dataDir, String(life)],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    t.teardown(() => child.kill('SIGKILL'));
    const lines = createInterface({ input: child.stdout });
    const wanted = promised.length + 1 + Math.floor(random() * 30);
    const exited = once(child, 'exit');
    for await (const line of lines) {
      promised.push(line);
      if (promised.length === wanted) child.kill('SIGKILL');
    }
    await exited;
    t.ok(promised.length >= wanted, `life ${life}: ${promised.length} sounds are promised`);
  }
  const { history, codes } = openHere(t, dataDir);
  const { events } = await history.query({ limit: 100_000 });
  const found = new Map(events.map((each) => [each.id, each]));
  t.strictSame(
    promised.filter((id) => found.get(id)?.event_type !== 'ended'),
    [],
    'all of them, with their ends',
  );
  t.ok(events.length <= promised.length + LIVES, 'and at most the one in hand besides');
  t.ok(codes().every((code) => code === 'history_damaged'));
  // The last life's half a line, if there is one; those before were taken off by the next.
  t.ok(history.stats().damaged <= 2, `${history.stats().damaged} damaged`);
});

t.test('a disk that is full', { skip: cannotMount() }, (t) => {
  t.test('what comes meanwhile waits in memory, and is written once there is room', async (t) => {
    const disk = mountSmallDisk(t, '1m');
    const { history, log, codes, ids } = openHere(t, disk.folder);
    for (let n = 0; n < 100; n += 1) history.event(event(n));
    await history.settled();
    disk.fill();
    for (let n = 100; n < 200; n += 1) history.event(event(n));
    await history.settled();
    await until(() => history.stats().failing, 'the disk to be full', 10);
    t.strictSame(codes(), ['history_not_written']);
    t.strictSame(await ids(), range(0, 199), 'all can be asked for');
    await history.judge(event(150).id, true);
    for (let n = 200; n < 205; n += 1) history.event(event(n));
    await history.settled();
    t.strictSame(codes(), ['history_not_written'], 'told once');
    disk.free();
    await until(() => log.lines.some(({ level }) => level === 'info'), 'written again', 30);
    await history.settled();
    t.match(history.stats(), { failing: false, waiting: { events: 0 }, dropped: { events: 0 } });
    const next = openHere(t, disk.folder);
    t.strictSame(await next.ids(), range(0, 204));
    t.equal(next.history.stats().damaged, 0, 'the half line is off');
    t.equal(
      (await next.history.query({ cursor: `${BEGIN_MS + 151_000}.` + event(151).id, limit: 1 })).events[0]
        ?.right,
      true,
    );
  });

  t.test('memory has its bounds: the oldest that waits goes, and is counted', async (t) => {
    const disk = mountSmallDisk(t, '1m');
    disk.fill();
    const { history, ids } = openHere(t, disk.folder, { tuning: { eventBytes: 20_000, scoreBytes: 1000 } });
    for (let n = 0; n < 200; n += 1) {
      history.event(event(n));
      history.scores({ tsMs: BEGIN_MS + n * 60_000, source: 'main', scores: new Map([['Dog', 0.5]]) });
    }
    await history.settled();
    const { dropped, waiting } = history.stats();
    t.equal(dropped.events + waiting.events, 200);
    t.equal(dropped.minutes + waiting.minutes, 200);
    t.ok(waiting.events > 20 && waiting.events < 80, `${waiting.events} wait`);
    t.strictSame(await ids(), range(200 - waiting.events, 199), 'the newest are there');
    disk.free();
    await until(() => history.stats().waiting.events === 0, 'written', 30);
    t.strictSame(await ids(), range(200 - waiting.events, 199));
  });

  t.test('the stop is one more attempt, and the last one', async (t) => {
    const disk = mountSmallDisk(t, '1m');
    disk.fill();
    const slow = { tuning: { firstRetryMs: 3_600_000, maxRetryMs: 3_600_000 } };
    const one = openHere(t, disk.folder, slow);
    one.history.event(event(1));
    await one.history.settled();
    disk.free();
    await one.history.close();
    t.strictSame(await openHere(t, disk.folder).ids(), [event(1).id]);
    disk.fill();
    const two = openHere(t, disk.folder, slow);
    for (let n = 2; n < 100; n += 1) two.history.event(event(n));
    await two.history.settled();
    await two.history.close();
    const left = await openHere(t, disk.folder).ids();
    t.ok(left.length < 60, 'as many as the last block had room for');
    t.strictSame(left, range(1, left.length));
  });

  t.test('deleting takes no room, and what is left can be read', async (t) => {
    const disk = mountSmallDisk(t, '1m');
    const { history, ids } = openHere(t, disk.folder);
    for (let n = 0; n < 100; n += 1) history.event(event(n));
    await history.settled();
    disk.fill();
    await t.rejects(history.delete({ beforeMs: BEGIN_MS + 20_000 }), {
      code: 'disk_write',
      message: /could not be deleted/,
    });
    t.strictSame(await ids(), range(0, 99), 'a part of a file is written anew, which takes some');
    t.ok((await history.delete({ all: true })).bytes > 10_000);
    t.strictSame(await ids(), []);
    t.strictSame(readdirSync(join(disk.folder, 'history')), []);
    history.event(event(100));
    await until(() => history.stats().waiting.events === 0, 'the room to be used', 30);
    t.strictSame(await ids(), [event(100).id]);
  });

  t.test('a disk that is read-only for a while', async (t) => {
    const disk = mountSmallDisk(t, '1m');
    const { history, codes, ids } = openHere(t, disk.folder);
    history.event(event(1));
    await history.settled();
    disk.setReadOnly(true);
    history.event(event(2));
    await history.settled();
    t.strictSame(codes(), ['history_not_written']);
    t.strictSame(await ids(), range(1, 2));
    await t.rejects(history.delete({ all: true }), { code: 'disk_write' });
    disk.setReadOnly(false);
    await until(() => history.stats().waiting.events === 0, 'written', 30);
    // What was to be deleted and waited in memory has gone; what was on the disk has not.
    t.strictSame(await ids(), [event(1).id]);
  });
  t.end();
});

t.test('a folder that somebody deletes is made again', async (t) => {
  const dataDir = temporaryFolder(t);
  const { history, ids, log } = openHere(t, dataDir);
  history.event(event(1));
  await history.settled();
  rmSync(join(dataDir, 'history'), { recursive: true });
  t.strictSame(await ids(), [], 'nothing is left to be read');
  history.event(event(2));
  await until(() => history.stats().waiting.events === 0, 'written', 30);
  t.strictSame(await ids(), [event(2).id]);
  t.ok(log.lines.every(({ level }) => level !== 'error'));
});

t.test('something else in the place of the folder, or of a file', async (t) => {
  const kinds: [string, (path: string) => void][] = [
    ['a pipe', (path) => execFileSync('mkfifo', [path])],
    ['a file', (path) => writeFileSync(path, 'not a folder')],
    ['a link to itself', (path) => symlinkSync(path, path)],
    ['a device', (path) => symlinkSync('/dev/zero', path)],
  ];
  for (const [kind, make] of kinds) {
    const dataDir = temporaryFolder(t);
    make(join(dataDir, 'history'));
    const { history, codes, ids, log } = openHere(t, dataDir);
    history.event(event(1));
    t.strictSame(await ids(), [event(1).id], `${kind}: it works from memory`);
    t.strictSame(codes(), ['history_not_written'], kind);
    t.match(log.lines[0]?.message, join(dataDir, 'history'), 'named');
    rmSync(join(dataDir, 'history'));
    await until(() => history.stats().waiting.events === 0, 'written', 30);
  }
  for (const [kind, make] of [...kinds, ['a folder', (path: string) => mkdirSync(path)] as const]) {
    const dataDir = temporaryFolder(t);
    const folder = join(dataDir, 'history');
    mkdirSync(folder);
    const name = 'events-0000000001-2026-05-01.log';
    make(join(folder, name));
    const { history, ids } = openHere(t, dataDir);
    history.event(event(1));
    await history.settled();
    await until(() => history.stats().waiting.events === 0, 'written', 30);
    t.strictSame(await ids(), [event(1).id], `${kind} as a file`);
    await history.close();
  }
});

t.test('nobody else may read it', async (t) => {
  const dataDir = temporaryFolder(t);
  const { history } = openHere(t, dataDir);
  history.event(event(1));
  await history.settled();
  const folder = join(dataDir, 'history');
  t.equal(statSync(folder).mode & 0o077, 0);
  for (const name of readdirSync(folder)) t.equal(statSync(join(folder, name)).mode & 0o077, 0, name);
});
