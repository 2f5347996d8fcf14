import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { silentLogger, type Logger } from '../../src/common/log.js';
import type { EventQuery, HistoryRow } from '../../src/history/event-finder.js';
import { openHistory, type History, type HistoryOptions } from '../../src/history/history.js';
import type { HistoryEvent } from '../../src/history/record.js';
import { isoTime } from '../../src/mqtt/contract.js';
import { applyChanges, changesWith } from '../support/byte-changes.js';
import { endWith, eventWith } from '../support/events.js';
import { createRecordingLog } from '../support/recording-log.js';
import { temporaryFolder } from '../support/temporary.js';

/* The history against a list: whatever is done to it, it says what the list says. */

const BEGIN_MS = Date.parse('2026-05-01T00:00:00.000Z');
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const labels = ['Dog', 'Smoke detector, smoke alarm', 'Siren'];
const sources = [undefined, 'yard', 'nursery'];

type Step =
  | { do: 'start'; label: number; source: number }
  | { do: 'end'; which: number }
  | { do: 'judge'; which: number; right: boolean }
  | { do: 'scores'; score: number; source: number }
  | { do: 'pass'; ms: number }
  | { do: 'reopen' }
  | { do: 'forget'; part: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant('start' as const), label: fc.nat(2), source: fc.nat(2) }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('end' as const), which: fc.nat(100) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('judge' as const), which: fc.nat(100), right: fc.boolean() }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('scores' as const), score: fc.nat(100), source: fc.nat(2) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      // Now and then the clock is set back.
      ms: fc.oneof(fc.nat(60_000), fc.nat(2 * DAY_MS), fc.integer({ min: -DAY_MS, max: 0 })),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('forget' as const), part: fc.nat(100) }) },
);

interface Kept {
  event: HistoryEvent;
  right: boolean | null;
}

const startOf = ({ started_at }: HistoryEvent): number => Date.parse(started_at);

/** What a history ought to say. */
function expectedRows(kept: Iterable<Kept>, query: EventQuery): HistoryRow[] {
  const { sinceMs = -Infinity, untilMs = Infinity, label, source } = query;
  return [...kept]
    .filter(({ event }) => startOf(event) >= sinceMs && startOf(event) < untilMs)
    .filter(({ event }) => label === undefined || event.label === label)
    .filter(({ event }) => source === undefined || (event.source ?? 'main') === source)
    .sort(({ event: one }, { event: other }) => startOf(other) - startOf(one) || (one.id > other.id ? -1 : 1))
    .map(({ event, right }) => ({ ...event, right }));
}

/** All pages of an answer. */
async function pages(history: History, query: EventQuery, limit: number): Promise<HistoryRow[]> {
  const rows: HistoryRow[] = [];
  let cursor: string | undefined;
  do {
    const page = await history.query({ ...query, limit, cursor });
    assert.ok(page.events.length <= limit);
    assert.ok(page.cursor === null || page.events.length === limit);
    rows.push(...page.events);
    assert.ok(rows.length <= 1000, 'pages come to an end');
    cursor = page.cursor ?? undefined;
  } while (cursor !== undefined);
  return rows;
}

async function inFolder<T>(work: (dataDir: string) => Promise<T>): Promise<T> {
  const dataDir = await mkdtemp(join(tmpdir(), 'soundpost-test-'));
  try {
    return await work(dataDir);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

const query = fc.record(
  {
    sinceMs: fc.integer({ min: BEGIN_MS - DAY_MS, max: BEGIN_MS + 20 * DAY_MS }),
    untilMs: fc.integer({ min: BEGIN_MS - DAY_MS, max: BEGIN_MS + 20 * DAY_MS }),
    label: fc.constantFrom(...labels),
    source: fc.constantFrom('main', 'yard', 'nursery', 'nowhere'),
  },
  { requiredKeys: [] },
);

t.test('whatever happens, it says what was heard', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 80 }),
      fc.array(query, { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 12 }),
      (steps, queries, limit) =>
        inFolder(async (dataDir) => {
          let now = BEGIN_MS;
          const open = () =>
            // Years, for the clock of this test is not believed anyway.
            openHistory({ dataDir, days: 10_000, maxMb: 64, log: silentLogger, now: () => now });
          let history = open();
          const kept = new Map<string, Kept>();
          const curve = new Map<string, number>();
          let count = 0;
          for (const each of steps) {
            if (each.do === 'start') {
              count += 1;
              const event: HistoryEvent = {
                ...eventWith({
                  id: `sound-${String(count).padStart(4, '0')}`,
                  label: labels[each.label]!,
                  started_at: isoTime(now),
                }),
                ...(sources[each.source] !== undefined && { source: sources[each.source] }),
              };
              kept.set(event.id, { event, right: null });
              history.event(event);
            } else if (each.do === 'end' || each.do === 'judge') {
              const found = [...kept.values()][each.which % Math.max(1, kept.size)];
              if (found === undefined) {
                assert.equal(await history.judge('nobody', true), null);
              } else if (each.do === 'end') {
                if (found.event.event_type === 'ended') continue;
                found.event = endWith(found.event, 2);
                history.event(found.event);
              } else {
                found.right = each.right;
                assert.deepEqual(await history.judge(found.event.id, each.right), found.event);
              }
            } else if (each.do === 'scores') {
              const source = sources[each.source] ?? 'main';
              const tsMs = Math.floor(now / 60_000) * 60_000;
              history.scores({ tsMs, source, scores: new Map([['Dog', each.score / 100]]) });
              const key = `${source} ${tsMs}`;
              curve.set(key, Math.max(each.score / 100, curve.get(key) ?? 0));
            } else if (each.do === 'pass') {
              now += each.ms;
            } else if (each.do === 'reopen') {
              await history.close();
              history = open();
            } else {
              const all = each.part > 90;
              const beforeMs = all ? Infinity : BEGIN_MS + (each.part / 90) * (now - BEGIN_MS);
              await history.delete(all ? { all } : { beforeMs });
              for (const [id, { event }] of kept) if (startOf(event) < beforeMs) kept.delete(id);
              for (const key of curve.keys()) if (Number(key.split(' ')[1]) < beforeMs) curve.delete(key);
            }
          }
          for (const each of [{}, ...queries]) {
            assert.deepEqual(await pages(history, each, limit), expectedRows(kept.values(), each));
            const { points } = await history.scoreCurve({
              label: 'dog',
              source: each.source,
              sinceMs: BEGIN_MS - 400 * DAY_MS,
              untilMs: BEGIN_MS + 400 * DAY_MS,
              maxPoints: 800 * 24 * 60,
            });
            const wanted = new Map<number, number>();
            for (const [key, score] of curve) {
              const [source, ms] = key.split(' ');
              if (each.source !== undefined && each.source !== source) continue;
              wanted.set(Number(ms), Math.max(score, wanted.get(Number(ms)) ?? 0));
            }
            assert.deepEqual(
              points.map(({ tsMs, score }) => [tsMs, score]),
              [...wanted].sort(([one], [other]) => one - other),
            );
          }
          assert.deepEqual(history.stats().dropped, { events: 0, minutes: 0, hours: 0 });
          assert.equal(history.stats().damaged, 0);
          await history.close();
        }),
    ),
    { numRuns: 60 },
  );
  t.pass();
});

async function openHere(dataDir: string, options: Partial<HistoryOptions> = {}): Promise<History> {
  const history = openHistory({ dataDir, days: 30, maxMb: 64, log: silentLogger, ...options });
  await history.settled();
  return history;
}

const nth = (n: number, changes: Partial<HistoryEvent> = {}): HistoryEvent =>
  eventWith({
    id: `event-${String(n).padStart(5, '0')}`,
    started_at: isoTime(BEGIN_MS + n * 1000),
    ...changes,
  });

async function filesOf(dataDir: string): Promise<string[]> {
  return (await readdir(join(dataDir, 'history'))).sort().map((name) => join(dataDir, 'history', name));
}

async function good(): Promise<Buffer> {
  return inFolder(async (dataDir) => {
    const history = await openHere(dataDir, { now: () => BEGIN_MS });
    for (let n = 0; n < 20; n += 1) history.event(nth(n));
    await history.close();
    return readFile((await filesOf(dataDir))[0]!);
  });
}

t.test('damage costs the lines that it hit, and makes nothing up', async (t) => {
  const bytes = await good();
  const lines = bytes.toString().split('\n').slice(0, -1);
  await fc.assert(
    fc.asyncProperty(changesWith([bytes]), (changes) =>
      inFolder(async (dataDir) => {
        const history = await openHere(dataDir, { now: () => BEGIN_MS });
        history.event(nth(0));
        await history.close();
        const [path = ''] = await filesOf(dataDir);
        const changed = applyChanges(bytes, changes);
        await writeFile(path, changed);
        const log = createRecordingLog();
        const again = await openHere(dataDir, { log, now: () => BEGIN_MS });
        again.event(nth(100));
        const { events } = await again.query({ limit: 500 });
        await again.close();
        const left = new Set(changed.toString('latin1').split('\n'));
        const wanted = lines
          .map((line, n) => ({ line, n }))
          .filter(({ line }) => left.has(line))
          .map(({ n }) => nth(n).id);
        assert.deepEqual(
          events.map(({ id }) => id),
          [...wanted, nth(100).id].reverse(),
        );
        for (const event of events) {
          const { right, ...rest } = event;
          assert.equal(right, null);
          assert.deepEqual(rest, nth(Number(event.id.slice(-5))));
        }
        const warnings = log.lines.filter(({ level }) => level === 'warn');
        assert.ok(warnings.length <= 1);
        assert.equal(warnings.length > 0, again.stats().damaged > 0);
      }),
    ),
    { numRuns: 150 },
  );
  t.pass();
});

t.test('it has its bounds, and the oldest goes first', async (t) => {
  const dataDir = temporaryFolder(t);
  let now = BEGIN_MS;
  const history = await openHere(dataDir, { maxMb: 1, now: () => now });
  let most = 0;
  for (let n = 0; n < 6000; n += 1) {
    now += 60_000;
    history.event(nth(n, { started_at: isoTime(now) }));
    if (n % 3 === 0) history.scores({ tsMs: now, source: 'main', scores: new Map([['Dog', 0.5]]) });
    if (n % 20 === 0) await history.settled();
    most = Math.max(most, history.stats().bytes);
  }
  await history.settled();
  const { bytes, files, dropped } = history.stats();
  t.ok(most <= 1_000_000, `${most} bytes at most`);
  t.ok(bytes > 800_000 && files > 4, `${bytes} bytes in ${files} files`);
  const sizes = await Promise.all((await filesOf(dataDir)).map(async (path) => (await stat(path)).size));
  t.ok(sizes.reduce((sum, size) => sum + size, 0) <= bytes, 'counted as they are');
  const { events } = await history.query({ limit: 10_000 });
  t.equal(events[0]?.id, nth(5999).id);
  t.strictSame(
    events.map(({ id }) => id),
    events.map((_, n) => nth(5999 - n).id),
    'without a gap',
  );
  t.ok(events.length > 1000);
  t.strictSame(dropped, { events: 0, minutes: 0, hours: 0 }, 'nothing that was not written');
  await history.close();
});

t.test('what is older than the days that are kept goes, once the clock is believed', async (t) => {
  const dataDir = temporaryFolder(t);
  let now = BEGIN_MS;
  let monotonic = 0;
  const options = { days: 3, now: () => now, tuning: { monotonicMs: () => monotonic } };
  const history = await openHere(dataDir, options);
  for (let day = 0; day < 10; day += 1) {
    history.event(nth(day, { started_at: isoTime(now) }));
    await history.settled();
    now += DAY_MS;
    monotonic += DAY_MS;
  }
  const ids = async (of: History) => (await of.query({})).events.map(({ id }) => Number(id.slice(-5)));
  t.strictSame(await ids(history), [9, 8, 7, 6]);
  await history.close();
  now += 400 * DAY_MS;
  const ahead = await openHere(dataDir, options);
  ahead.event(nth(50, { started_at: isoTime(now) }));
  await ahead.settled();
  t.strictSame(await ids(ahead), [50, 9, 8, 7, 6], 'a clock that is far ahead costs nothing at once');
  now -= 400 * DAY_MS;
  ahead.event(nth(10, { started_at: isoTime(now) }));
  await ahead.settled();
  monotonic += 2 * HOUR_MS;
  now += 2 * HOUR_MS;
  ahead.event(nth(11, { started_at: isoTime(now) }));
  await ahead.settled();
  t.strictSame(
    (await ids(ahead)).sort(),
    [10, 11, 50, 7, 8, 9],
    'one from the future is as old as its neighbours',
  );
  now += 4 * DAY_MS;
  monotonic += 4 * DAY_MS;
  ahead.event(nth(12, { started_at: isoTime(now) }));
  monotonic += 2 * HOUR_MS;
  now += 2 * HOUR_MS;
  ahead.event(nth(13, { started_at: isoTime(now) }));
  await ahead.settled();
  t.strictSame(await ids(ahead), [13, 12]);
  await ahead.close();
  const later = await openHere(dataDir, { ...options, days: 1, now: () => now + 2 * DAY_MS });
  t.strictSame(await ids(later), [], 'also at the start, without anything new');
  await later.close();
});

t.test('what is deleted is not in the files any more', async (t) => {
  const dataDir = temporaryFolder(t);
  let now = BEGIN_MS;
  const history = await openHere(dataDir, { now: () => now });
  for (let n = 0; n < 40; n += 1) {
    now = BEGIN_MS + n * HOUR_MS;
    history.event(nth(n, { started_at: isoTime(now), label: n < 20 ? 'Gunshot' : 'Dog' }));
    history.scores({ tsMs: now, source: 'main', scores: new Map([[n < 20 ? 'Gunshot' : 'Dog', 0.5]]) });
    await history.settled();
  }
  await history.judge(nth(3).id, false);
  await history.judge(nth(30).id, false);
  const content = async () =>
    (await Promise.all((await filesOf(dataDir)).map((path) => readFile(path, 'latin1')))).join('');
  t.match(await content(), 'Gunshot');
  const { bytes } = await history.delete({ beforeMs: BEGIN_MS + 20 * HOUR_MS });
  t.ok(bytes > 4000);
  t.notMatch(await content(), 'Gunshot');
  t.notMatch(await content(), nth(3).id, 'nor what was said about it');
  const { events } = await history.query({});
  t.strictSame([events.length, events.at(-1)?.id], [20, nth(20).id]);
  t.equal(events.find(({ id }) => id === nth(30).id)?.right, false);
  history.event(nth(41));
  t.ok((await history.delete({ all: true })).bytes > 4000);
  t.strictSame(await filesOf(dataDir), []);
  t.strictSame((await history.query({})).events, [], 'what was waiting has gone as well');
  t.match(history.stats(), { files: 0, bytes: 0, waiting: { events: 0, minutes: 0 } });
  history.event(nth(42));
  await history.close();
  t.equal((await filesOf(dataDir)).length, 1, 'it goes on');
});

t.test('the last word about an event counts, whichever file it is in', async (t) => {
  let now = BEGIN_MS;
  const history = await openHere(temporaryFolder(t), { now: () => now });
  history.event(nth(1));
  await history.settled();
  for (const right of [false, true, true, false, true]) {
    now += DAY_MS;
    await history.judge(nth(1).id, !right);
    await history.judge(nth(1).id, right);
    await history.settled();
    t.equal((await history.query({})).events[0]?.right, right);
  }
  t.equal(history.stats().files, 6);
  await history.close();
});

t.test('a clock that goes back and forth over midnight begins one file', async (t) => {
  let now = BEGIN_MS;
  const history = await openHere(temporaryFolder(t), { now: () => now });
  for (let n = 0; n < 20; n += 1) {
    now = BEGIN_MS + (n % 2 === 0 ? 500 : -500);
    history.event(nth(n));
    await history.settled();
  }
  t.equal(history.stats().files, 1);
  t.equal((await history.query({})).events.length, 20);
  await history.close();
});

t.test('a sound is found by what it was called at either end', async (t) => {
  const history = await openHere(temporaryFolder(t));
  const group = { group: 'Alarm', label: 'Siren', mid: '/m/03kmc9', source: 'yard' };
  const started: HistoryEvent = nth(1, group);
  history.event(started);
  history.event({ ...endWith(started, 1), label: 'Smoke detector, smoke alarm', mid: '/m/01y3hg' });
  history.event(nth(2));
  const found = async (label: string) => (await history.query({ label })).events.map(({ id }) => id);
  for (const label of [
    'siren',
    'SMOKE DETECTOR, SMOKE ALARM',
    'smoke_detector_smoke_alarm',
    'alarm',
    '/m/03kmc9',
  ])
    t.strictSame(await found(label), [nth(1).id], label);
  t.strictSame(await found('dog'), [nth(2).id]);
  t.strictSame(await found('cat'), []);
  t.strictSame(await found('/m/nothing'), []);
  await history.close();
});

t.test('what cannot be kept is counted, and throws nothing', async (t) => {
  const history = await openHere(temporaryFolder(t));
  history.event(nth(1, { started_at: 'yesterday' }));
  history.event(nth(2, { label: 'x'.repeat(70_000) }));
  history.event(nth(3, { label: 5n as unknown as string }));
  history.scores({ tsMs: NaN, source: 'main', scores: new Map([['Dog', 1]]) });
  history.event(nth(4));
  t.equal((await history.query({})).events.length, 1);
  t.match(history.stats().dropped, { events: 3, minutes: 1 });
  await history.close();
  history.event(nth(5));
  t.match(history.stats().dropped, { events: 4, minutes: 1 }, 'nor after the end');
});

t.test('a question can be called off, and too many are refused', async (t) => {
  const history = await openHere(temporaryFolder(t));
  for (let n = 0; n < 1000; n += 1) history.event(nth(n));
  await history.settled();
  const stop = new AbortController();
  stop.abort(new Error('enough'));
  await t.rejects(history.query({}, stop.signal), { message: 'enough' });
  const answers = await Promise.allSettled(Array.from({ length: 40 }, () => history.query({ limit: 1 })));
  const refused = answers.filter((answer) => answer.status === 'rejected');
  t.match(refused[0]?.reason, { code: 'busy' });
  t.equal(refused.length, 8);
  t.equal((await history.query({})).events.length, 100, 'it goes on');
  await history.close();
});

t.test('files that are not its own are left alone', async (t) => {
  const dataDir = temporaryFolder(t);
  const history = await openHere(dataDir, { log: silentLogger satisfies Logger });
  await writeFile(join(dataDir, 'history', 'notes.txt'), 'mine');
  history.event(nth(1));
  await history.settled();
  await history.delete({ all: true });
  t.strictSame(await filesOf(dataDir), [join(dataDir, 'history', 'notes.txt')]);
  await history.close();
});
