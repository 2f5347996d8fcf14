import { appendFile, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { bodyOf, checkedLine } from '../../src/common/checked-line.js';
import { silentLogger } from '../../src/common/log.js';
import { createTurns } from '../../src/common/turns.js';
import { appendLines } from '../../src/history/append.js';
import { DAY_MS, dayFile, dayFileOf, dayOf, roomOf } from '../../src/history/day-file.js';
import type { DayFiles } from '../../src/history/day-files.js';
import { createEventFinder, cursorOf } from '../../src/history/event-finder.js';
import { lastingScores } from '../../src/history/lasting-scores.js';
import { createLineQueue } from '../../src/history/line-queue.js';
import { readLines } from '../../src/history/read-lines.js';
import { encodeRecord, headOf, recordOf, type HistoryRecord } from '../../src/history/record.js';
import { createClockTrust, crowdedOut, expired } from '../../src/history/retention.js';
import { createCurveBuilder } from '../../src/history/score-curve.js';
import { createScoreMinutes, type ScoreMinute } from '../../src/history/score-minutes.js';
import { defaultTuning } from '../../src/history/tuning.js';
import { createWriting } from '../../src/history/writing.js';
import { eventWith } from '../support/events.js';
import { createRecordingLog } from '../support/recording-log.js';
import { temporaryFolder } from '../support/temporary.js';
import { createWaiting } from '../support/waiting.js';

/* The parts of the history, without a service. */

const text = fc.string({ maxLength: 30, unit: 'grapheme' });
const score = fc.double({ min: 0, max: 1, noNaN: true });
const record: fc.Arbitrary<HistoryRecord> = fc.oneof(
  fc.record({
    kind: fc.constant('event' as const),
    atMs: fc.integer({ min: -1e12, max: 1e14 }),
    event: fc.tuple(text, text, text).map(([id, label, source]) => ({ ...eventWith({ id }), label, source })),
  }),
  fc.record({
    kind: fc.constant('judged' as const),
    atMs: fc.nat(),
    id: text,
    right: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('scores' as const),
    atMs: fc.nat(),
    source: text,
    scores: fc.array(fc.tuple(text, score), { maxLength: 5 }),
    rest: fc.option(score),
  }),
);

t.test('a record is read as it was written', (t) => {
  fc.assert(
    fc.property(record, (each) => {
      const line = encodeRecord(each);
      const head = headOf(line.subarray(0, -1));
      return (
        line.indexOf(0x0a) === line.length - 1 &&
        head?.atMs === each.atMs &&
        JSON.stringify(recordOf(head)) === JSON.stringify(each)
      );
    }),
  );
  t.pass();
  t.end();
});

t.test('a line of which a byte has changed is none', (t) => {
  fc.assert(
    fc.property(record, fc.nat(), fc.integer({ min: 1, max: 255 }), (each, place, mask) => {
      const line = encodeRecord(each).subarray(0, -1);
      line[place % line.length]! ^= mask;
      return headOf(line) === null;
    }),
  );
  t.pass();
  t.end();
});

t.test('what another program has written with a good check is no record', (t) => {
  const bodies = [
    '',
    'event',
    'event 1',
    'event x {}',
    'event 1.5 {}',
    'event 1 {}',
    'event 1 null',
    'event 1 {',
    'judged 1 {"id":1,"right":true}',
    'scores 1 {"source":"main","scores":[["Dog","1"]]}',
    'scores 1 {"source":"main","scores":{}}',
    'scores 9e99 {"source":"main","scores":[]}',
    'other 1 {}',
  ];
  for (const body of bodies) {
    const head = headOf(checkedLine(Buffer.from(body)).subarray(0, -1));
    t.equal(head === null ? null : recordOf(head), null, body);
  }
  t.equal(bodyOf(Buffer.from('short')), null);
  t.equal(bodyOf(Buffer.from('ABCDEF01 upper case')), null);
  t.end();
});

t.test('lines that wait are handed out in order, and the oldest go where there is no room', (t) => {
  const lineOf = (n: number) => ({ line: Buffer.alloc(10, n), atMs: n });
  const queue = createLineQueue(50);
  const times = () => queue.lines().map(({ atMs }) => atMs);
  t.strictSame(
    [1, 2, 3, 4, 5, 6].map((n) => queue.push(lineOf(n))),
    [0, 0, 0, 0, 0, 1],
  );
  t.strictSame(times(), [2, 3, 4, 5, 6]);
  t.equal(queue.take(25).length, 2);
  t.strictSame(times(), [2, 3, 4, 5, 6], 'those on their way can still be read');
  t.equal(queue.push(lineOf(7)), 1, 'and are not dropped');
  t.strictSame(times(), [2, 3, 5, 6, 7]);
  queue.returned();
  t.equal(queue.take(1).length, 1, 'one at least');
  queue.arrived();
  t.strictSame(times(), [3, 5, 6, 7]);
  t.equal(queue.size, 4);
  queue.take(20);
  queue.forget(6);
  queue.returned();
  t.strictSame(times(), [6, 7], 'also of those on their way');
  t.equal(queue.push(lineOf(8)), 0);
  t.equal(queue.push(lineOf(9)), 0);
  t.equal(queue.push(lineOf(10)), 0, 'their room is there again');
  t.end();
});

t.test('names of files say which they are', (t) => {
  const file = dayFile('events', 12, dayOf(Date.parse('2026-05-01T23:59:59.999Z')));
  t.equal(file.name, 'events-0000000012-2026-05-01.log');
  t.strictSame(dayFileOf(file.name), file);
  for (const name of [
    'events-12-2026-05-01.log',
    'other-0000000012-2026-05-01.log',
    'events-0000000012-2026-13-01.log',
    'events-0000000012-1969-05-01.log',
    'events-0000000012-2026-05-01.log.1',
  ])
    t.equal(dayFileOf(name), null, name);
  t.equal(dayFile('scores', 1, dayOf(Infinity)).name, 'scores-0000000001-1970-01-01.log');
  t.equal(dayFile('scores', 1, dayOf(8.64e15)).name, 'scores-0000000001-9999-12-31.log');
  t.equal(dayFile('scores', 1, dayOf(-5)).name, 'scores-0000000001-1970-01-01.log');
  t.end();
});

const filesOf = (days: readonly number[], bytes = 4096) =>
  days.map((day, n) => ({ ...dayFile('events', n + 1, day), bytes }));
const placesOf = (files: readonly { place: number }[]) =>
  files.map(({ place }) => place).sort((a, b) => a - b);

t.test('files go when their day is too long ago', (t) => {
  t.strictSame(placesOf(expired(filesOf([60, 69, 70, 99, 100]), 100, 30)), [1, 2]);
  t.strictSame(expired(filesOf([90, 91]), 0, 30), [], 'a clock that has forgotten its time costs nothing');
  t.strictSame(
    placesOf(expired(filesOf([60, 5000, 61, 100]), 100, 30)),
    [1, 2, 3],
    'one from the future too',
  );
  t.strictSame(placesOf(expired(filesOf([60, 5000, 99, 100]), 100, 30)), [1], 'once what came after it does');
  t.strictSame(placesOf(expired(filesOf([99, 0, 100]), 100, 30)), [2], 'one from 1970 alone');
  t.end();
});

t.test('the oldest files go where there is no room, and no more than have to', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(50_000), { maxLength: 20 }),
      fc.nat(100_000),
      fc.nat(500_000),
      fc.nat(19),
      (sizes, bytes, maxBytes, kept) => {
        const files = sizes.map((size, n) => ({ ...dayFile('scores', n + 1, 1), bytes: size }));
        const isKept = ({ place }: { place: number }) => place === kept;
        const gone = new Set(crowdedOut(files, { bytes, maxBytes }, isKept));
        const roomLeft = (without: ReadonlySet<object>) =>
          files.filter((file) => !without.has(file)).reduce((sum, file) => sum + roomOf(file), 0) + bytes;
        const others = files.filter((file) => !isKept(file));
        const isOldest = others.slice(0, gone.size).every((file) => gone.has(file));
        const fits = roomLeft(gone) <= maxBytes || gone.size === others.length;
        const newestGone = others[gone.size - 1];
        const needed =
          newestGone === undefined ||
          roomLeft(new Set([...gone].filter((file) => file !== newestGone))) > maxBytes;
        return isOldest && fits && needed;
      },
    ),
  );
  t.pass();
  t.end();
});

t.test('a clock is believed when it has gone evenly, or the files say the same', (t) => {
  let now = 100 * DAY_MS;
  let monotonic = 0;
  const pass = (ms: number) => {
    now += ms;
    monotonic += ms;
  };
  const trust = createClockTrust({ nowMs: () => now, monotonicMs: () => monotonic });
  t.notOk(trust.trusts([]), 'nobody knows yet');
  t.notOk(trust.trusts([50, 100]));
  t.ok(trust.trusts([98]), 'there are files of the day before yesterday');
  pass(3_599_000);
  t.notOk(trust.trusts([]));
  pass(1000);
  t.ok(trust.trusts([]), 'an hour');
  now += 5 * DAY_MS;
  t.notOk(trust.trusts([100]), 'it has jumped: files that are near say nothing any more');
  pass(1_800_000);
  now -= 5 * DAY_MS;
  t.notOk(trust.trusts([99]));
  pass(3_600_000);
  t.ok(trust.trusts([]));
  t.end();
});

t.test('minutes have the highest score of each label that was watched in them', (t) => {
  const window = fc.record({
    source: fc.constantFrom('yard', 'nursery'),
    afterMs: fc.oneof(fc.integer({ min: 0, max: 40_000 }), fc.integer({ min: -200_000, max: 200_000 })),
    items: fc.uniqueArray(
      fc.record({
        slug: fc.constantFrom('dog', 'cat', 'siren'),
        score: fc.oneof({ weight: 9, arbitrary: score }, { weight: 1, arbitrary: fc.constant(NaN) }),
      }),
      { selector: ({ slug }) => slug },
    ),
  });
  fc.assert(
    fc.property(fc.array(window, { maxLength: 60 }), (windows) => {
      const told = new Map<string, number>();
      const wanted = new Map<string, number>();
      const raise = (map: Map<string, number>, key: string, value: number) =>
        map.set(key, Math.max(value, map.get(key) ?? 0));
      const minutes = createScoreMinutes(({ tsMs, source, scores }) => {
        for (const [name, value] of scores) raise(told, `${source} ${tsMs} ${name}`, value);
      });
      let now = 1_700_000_000_000;
      for (const { source, afterMs, items } of windows) {
        now += afterMs;
        minutes.window(
          source,
          items.map((item) => ({ ...item, name: item.slug.toUpperCase() })),
          now,
        );
        for (const { slug, score: value } of items)
          if (value >= 0)
            raise(wanted, `${source} ${Math.floor(now / 60_000) * 60_000} ${slug.toUpperCase()}`, value);
      }
      minutes.flush();
      const sorted = (map: Map<string, number>) => JSON.stringify([...map].sort());
      return sorted(told) === sorted(wanted);
    }),
  );
  t.pass();
  t.end();
});

t.test('a source that has gone silent is told with the windows of another', (t) => {
  const told: ScoreMinute[] = [];
  const minutes = createScoreMinutes((minute) => told.push(minute));
  const dog = [{ slug: 'dog', name: 'Dog', score: 0.5 }];
  minutes.window('yard', dog, 0);
  minutes.window('nursery', dog, 0);
  for (let minute = 1; minute < 5; minute += 1) minutes.window('yard', dog, minute * 60_000);
  t.strictSame(
    told.map(({ source, tsMs }) => [source, tsMs / 60_000]),
    [
      ['yard', 0],
      ['yard', 1],
      ['nursery', 0],
      ['yard', 2],
      ['yard', 3],
    ],
  );
  minutes.window('yard', dog, NaN);
  minutes.flush();
  minutes.flush();
  t.equal(told.length, 6);
  t.end();
});

t.test('of a minute that has begun nothing is told that was heard before it was forgotten', (t) => {
  const told: ScoreMinute[] = [];
  const minutes = createScoreMinutes((minute) => told.push(minute));
  const dog = (score: number) => [{ slug: 'dog', name: 'Dog', score }];
  minutes.window('main', dog(0.9), 61_000);
  minutes.window('yard', dog(0.8), 121_000);
  minutes.forget(120_000);
  minutes.window('main', dog(0.2), 90_000);
  minutes.flush();
  t.strictSame(
    told.map(({ source, scores }) => [source, scores.get('Dog')]),
    [
      ['yard', 0.8],
      ['main', 0.2],
    ],
  );
  minutes.forget(Infinity);
  minutes.flush();
  t.equal(told.length, 2);
  t.end();
});

t.test('where every label is watched, only those that say something are written down', (t) => {
  const minute = (count: number) => ({
    tsMs: 0,
    source: 'main',
    scores: new Map(Array.from({ length: count }, (_, n) => [`Label ${n}`, n / count])),
  });
  t.match(lastingScores(minute(64)), { scores: { length: 64 }, rest: null });
  const many = lastingScores(minute(65));
  t.match(many, { scores: { length: 64 }, rest: 0 });
  const most = lastingScores(minute(500));
  t.match(most, { scores: { length: 128 }, rest: 371 / 500 });
  t.strictSame(most.scores[0], ['Label 499', 0.998]);
  t.end();
});

t.test('a curve has the maxima of its stretches', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(300), fc.integer({ min: 0, max: 100 })), { maxLength: 100 }),
      fc.integer({ min: 1, max: 50 }),
      fc.nat(200 * 60_000),
      fc.integer({ min: 1, max: 200 * 60_000 }),
      (minutes, maxPoints, sinceMs, length) => {
        const untilMs = sinceMs + length;
        const curve = createCurveBuilder({ label: 'dog', sinceMs, untilMs, maxPoints });
        const inside: { atMs: number; score: number }[] = [];
        for (const [minute, percent] of minutes) {
          const atMs = minute * 60_000;
          curve.take({ kind: 'scores', atMs, source: 'main', scores: [['Dog', percent / 100]], rest: null });
          if (atMs > sinceMs - 60_000 && atMs < untilMs) inside.push({ atMs, score: percent / 100 });
        }
        const { stepMs, points } = curve.end();
        if (points.length > maxPoints || stepMs % 60_000 !== 0) return false;
        const covered = points.map(({ tsMs, score: highest }) => {
          const here = inside.filter(({ atMs }) => atMs >= tsMs && atMs < tsMs + stepMs);
          return here.length > 0 && highest === Math.max(...here.map((each) => each.score))
            ? here.length
            : NaN;
        });
        return covered.reduce((sum, count) => sum + count, 0) === inside.length;
      },
    ),
  );
  const curve = createCurveBuilder({ label: 'dog', source: 'yard', sinceMs: 0, untilMs: 600_000 });
  const take = (minute: number, source: string, name: string, rest: number | null) =>
    curve.take({ kind: 'scores', atMs: minute * 60_000, source, scores: [[name, 0.5]], rest });
  take(0, 'yard', 'Dog', null);
  take(1, 'nursery', 'Dog', null);
  take(2, 'yard', 'Cat', null);
  take(3, 'yard', 'Cat', 0.02);
  t.strictSame(
    curve.end().points.map(({ tsMs, score: highest }) => [tsMs / 60_000, highest]),
    [
      [0, 0.5],
      [3, 0.02],
    ],
    'not of other sources, not where it was not watched; where it was too low, a bound',
  );
  t.end();
});

/** What is written about a few sounds, in the order in which it is, and after which of it another file begins. */
const course = fc.array(
  fc.record({
    kind: fc.constantFrom('started' as const, 'ended' as const, 'judged' as const),
    sound: fc.nat(15),
    label: fc.constantFrom('Dog', 'Cat'),
    right: fc.boolean(),
    another: fc.boolean(),
  }),
  { maxLength: 60 },
);

t.test('an answer is the same however the records lie in files', (t) => {
  fc.assert(
    fc.property(
      course,
      fc.uniqueArray(fc.nat(30), { minLength: 16, maxLength: 16 }),
      fc.integer({ min: 1, max: 6 }),
      fc.constantFrom(undefined, 'dog'),
      fc.option(fc.tuple(fc.nat(30), fc.nat(15)), { nil: undefined }),
      (steps, begins, limit, label, after) => {
        const idOf = (sound: number) => `sound-${String(sound).padStart(2, '0')}`;
        // Two sounds begin at one moment now and then.
        const startOf = (sound: number) => Math.floor(begins[sound]! / 2);
        const files: HistoryRecord[][] = [[]];
        const said = new Map<string, { ended: boolean; labels: Set<string>; right: boolean | null }>();
        for (const { kind, sound, label: own, right, another } of steps) {
          const id = idOf(sound);
          const atMs = startOf(sound);
          const known = said.get(id);
          // In the order of life: it begins once, ends once, and is judged after it has begun.
          if (kind === 'started' ? known !== undefined : known === undefined) continue;
          if (kind === 'ended' && known?.ended === true) continue;
          const now = known ?? { ended: false, labels: new Set<string>(), right: null };
          said.set(id, now);
          if (kind === 'judged') {
            now.right = right;
            files.at(-1)!.push({ kind, atMs, id, right });
          } else {
            now.labels.add(own);
            now.ended ||= kind === 'ended';
            const event = eventWith({ id, event_type: kind, label: own, group: 'Pets' });
            files.at(-1)!.push({ kind: 'event', atMs, event });
          }
          if (another) files.push([]);
        }
        const cursor = after === undefined ? undefined : cursorOf({ atMs: after[0], id: idOf(after[1]) });
        const finder = createEventFinder({ limit, label, cursor });
        for (const file of files.reverse()) {
          for (const each of file)
            if (each.atMs >= finder.fromMs && each.atMs <= finder.toMs) finder.take(each);
          finder.fileEnds();
        }
        const wanted = [...said]
          .map(([id, now]) => ({ id, atMs: startOf(Number(id.slice(-2))), ...now }))
          .filter(({ labels }) => label === undefined || labels.has('Dog'))
          .filter(({ id, atMs }) => {
            if (after === undefined) return true;
            return atMs < after[0] || (atMs === after[0] && id < idOf(after[1]));
          })
          .sort((one, other) => other.atMs - one.atMs || (one.id > other.id ? -1 : 1));
        const { events, cursor: next } = finder.end();
        const last = wanted[limit - 1];
        return (
          JSON.stringify(events.map(({ id, event_type, right }) => [id, event_type, right])) ===
            JSON.stringify(
              wanted.slice(0, limit).map(({ id, ended, right }) => [id, ended ? 'ended' : 'started', right]),
            ) && next === (wanted.length > limit && last !== undefined ? cursorOf(last) : null)
        );
      },
    ),
    { numRuns: 1500 },
  );
  t.pass();
  t.end();
});

t.test('half a line at the end of a file is taken off before the next one', async (t) => {
  const path = join(temporaryFolder(t), 'file');
  const line = (n: number) => encodeRecord({ kind: 'judged', atMs: n, id: `${n}`, right: true });
  const times = async () => {
    const found: number[] = [];
    const damaged = await readLines(path, ({ atMs }) => found.push(atMs), { bytes: (await stat(path)).size });
    return [found, damaged];
  };
  t.equal(await appendLines(path, [line(1), line(2)], { mend: true, sync: true }), 2 * line(1).length);
  t.equal((await stat(path)).mode & 0o077, 0, 'of no interest to others');
  for (const [torn, what] of [
    [line(3).subarray(0, 20), 'a part'],
    [Buffer.alloc(5000), 'zeros of a loss of power'],
    [Buffer.from('x'), 'one byte'],
  ] as const) {
    await appendFile(path, torn);
    await appendLines(path, [line(4)], { mend: true, sync: false });
    t.strictSame((await times())[1], 0, what);
  }
  await appendFile(path, line(5).subarray(0, -1));
  t.strictSame(await times(), [[1, 2, 4, 4, 4, 5], 0], 'all but the newline');
  await appendLines(path, [line(6)], { mend: true, sync: false });
  t.strictSame(await times(), [[1, 2, 4, 4, 4, 5, 6], 0], 'stays');
  await writeFile(path, Buffer.alloc(300_000, 'x'));
  await appendLines(path, [line(7)], { mend: true, sync: false });
  t.strictSame(await times(), [[7], 1], 'what cannot be ours is not cut');
  t.equal((await readFile(path)).length, 300_001 + line(7).length);
});

t.test('lines are put together from the slices in which a file is read', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'lines');
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 70_000 }), { maxLength: 12 }), async (sizes) => {
      const lines = sizes.map((size, n) =>
        encodeRecord({ kind: 'judged', atMs: n, id: 'x'.repeat(size), right: true }),
      );
      await writeFile(path, Buffer.concat(lines));
      const found: number[] = [];
      const whole = lines.reduce((sum, line) => sum + line.length, 0);
      const damaged = await readLines(path, ({ atMs }) => found.push(atMs), { bytes: whole });
      return damaged === 0 && found.length === sizes.length && found.every((atMs, n) => atMs === n);
    }),
    { numRuns: 40 },
  );
  t.pass();
});

/** Files whose disk does as it is told. */
function scriptedFiles() {
  const waiting = createWaiting();
  const appended: string[] = [];
  let answer: (() => void) | null = null;
  let mode: 'works' | 'fails' | 'hangs' = 'works';
  let attempts = 0;
  const files: DayFiles = {
    files: [],
    bytes: 0,
    load: () => Promise.resolve(),
    distrust: () => undefined,
    async append(_, lines) {
      attempts += 1;
      waiting.wake();
      if (mode === 'fails') throw new Error('no space');
      if (mode === 'hangs') await new Promise<void>((resolve) => (answer = resolve));
      appended.push(...lines.map(String));
      waiting.wake();
    },
    tidy: () => Promise.resolve(),
    remove: () => Promise.resolve(),
    sync: () => Promise.resolve(),
  };
  return {
    files,
    appended,
    until: waiting.until,
    attempts: () => attempts,
    be: (next: typeof mode) => (mode = next),
    answer: () => answer?.(),
  };
}

t.test(
  'a disk that hangs or fails is warned about once, and what waited is written when it works',
  async (t) => {
    const disk = scriptedFiles();
    const log = createRecordingLog();
    const queues = {
      events: createLineQueue(1000),
      scores: createLineQueue(1000),
      firings: createLineQueue(1000),
    };
    const writing = createWriting({
      folder: 'here',
      files: disk.files,
      queues,
      inTurn: createTurns(),
      tuning: { ...defaultTuning, patienceMs: 5, firstRetryMs: 2, maxRetryMs: 4, closeMs: 10_000 },
      log,
    });
    const codes = () => log.lines.map(({ level, fields }) => fields.code ?? level);
    const push = (line: string) => {
      queues.events.push({ line: Buffer.from(line), atMs: 0 });
      return writing.write();
    };
    await push('1');
    disk.be('hangs');
    const second = push('2');
    await disk.until(() => disk.attempts() === 2, 'the second write', 10);
    const alarm = createWaiting();
    const looking = setInterval(alarm.wake, 2);
    t.teardown(() => clearInterval(looking));
    await alarm.until(() => writing.failing, 'the warning', 10);
    void push('3');
    t.equal(disk.attempts(), 2, 'nothing else is tried meanwhile');
    disk.answer();
    disk.be('works');
    await second;
    await alarm.until(() => disk.appended.length === 3, 'all lines', 10);
    t.strictSame(codes(), ['history_not_written', 'info']);
    disk.be('fails');
    await push('4');
    await disk.until(() => disk.attempts() > 6, 'more attempts', 10);
    t.strictSame(
      codes(),
      ['history_not_written', 'info', 'history_not_written'],
      'one warning for all of them',
    );
    disk.be('works');
    await disk.until(() => disk.appended.length === 4, 'the fourth line', 10);
    t.strictSame(disk.appended, ['1', '2', '3', '4']);
    disk.be('fails');
    await push('5');
    await writing.close();
    await writing.close();
    t.equal(queues.events.size, 1, 'the last attempt has failed');
  },
);

t.test('a disk that answers nothing holds up no stop', async (t) => {
  const disk = scriptedFiles();
  const queues = {
    events: createLineQueue(1000),
    scores: createLineQueue(1000),
    firings: createLineQueue(1000),
  };
  disk.be('hangs');
  const writing = createWriting({
    folder: 'here',
    files: disk.files,
    queues,
    inTurn: createTurns(),
    tuning: { ...defaultTuning, closeMs: 5 },
    log: silentLogger,
  });
  queues.events.push({ line: Buffer.from('1'), atMs: 0 });
  void writing.write();
  await disk.until(() => disk.attempts() === 1, 'the write', 10);
  await writing.close();
  t.equal(disk.appended.length, 0);
  disk.answer();
  await disk.until(() => disk.appended.length === 1, 'the line', 10);
});
