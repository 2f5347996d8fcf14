/** What is kept of what is learnt and heard: whole or not at all, bounded, and never any sound. */
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { LogFields, Logger } from '../../src/common/log.js';
import { silentLogger } from '../../src/common/log.js';
import { decodeMoments, encodeMoment, type Moment } from '../../src/learning/background-record.js';
import { openBackground } from '../../src/learning/background.js';
import { createDraw } from '../../src/learning/draw.js';
import { openLearntLabels, type LearntLabel } from '../../src/learning/labels-store.js';
import { quantise } from '../../src/learning/quantised.js';
import { rowsOf, type Rows } from '../../src/learning/rows.js';
import { temporaryFolder } from '../support/temporary.js';

const MODEL = 'a'.repeat(64);
const OTHER_MODEL = 'b'.repeat(64);
const DAY_MS = 86_400_000;
const BEGIN_MS = Date.parse('2026-05-01T00:00:00.000Z');
const DIM = 64;

function rows(seed: number, count = 3, dim = DIM): Rows {
  const draw = createDraw(seed);
  return rowsOf(
    Array.from({ length: count }, () => Float32Array.from({ length: dim }, () => Math.fround(draw() * 5))),
    dim,
  );
}

const momentAt = (atMs: number, seed = 1, source = 'main') => ({
  atMs,
  seconds: 1,
  source,
  embeddings: rows(seed),
});

/** A log that keeps the codes of warnings. */
function listening(): { log: Logger; codes: string[] } {
  const codes: string[] = [];
  const log = { ...silentLogger, warn: (fields: LogFields) => codes.push(fields.code ?? '') };
  return { log, codes };
}

function open(t: Test, dataDir: string, maxMb = 1) {
  const { log, codes } = listening();
  const store = openBackground({ dataDir, maxMb, log, tuning: { together: 4, firstRetryMs: 60_000 } });
  t.teardown(() => store.close());
  return { store, codes };
}

const filesIn = (dataDir: string) =>
  readdirSync(join(dataDir, 'background')).map((name) => join(dataDir, 'background', name));

t.test('a moment is read as it was written, whatever stands around it', (t) => {
  const momentArbitrary = fc.record({
    atMs: fc.double({ noNaN: true, noDefaultInfinity: true }),
    seconds: fc.integer({ min: 1, max: 100 }),
    source: fc.stringMatching(/^[a-z0-9-]{0,32}$/),
    rows: fc
      .tuple(fc.nat(1000), fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 40 }))
      .map(([seed, count, dim]) => quantise(rows(seed, count, dim))),
  });
  const junk = fc.uint8Array({ maxLength: 40 }).filter((bytes) => !bytes.includes(0x53));
  fc.assert(
    fc.property(fc.array(fc.tuple(momentArbitrary, junk), { maxLength: 6 }), (parts) => {
      const bytes = Buffer.concat(
        parts.flatMap(([moment, noise]) => [encodeMoment(moment), Buffer.from(noise)]),
      );
      const { records, damaged } = decodeMoments(bytes);
      const expected: Moment[] = parts.map(([moment]) => moment);
      return (
        damaged === parts.filter(([, noise]) => noise.length > 0).length &&
        records.length === expected.length &&
        records.every(({ bytes: own }, n) => own.equals(encodeMoment(expected[n]!)))
      );
    }),
  );
  t.end();
});

t.test('a changed byte costs the moment that it is in, and no other', (t) => {
  const moments = [1, 2, 3, 4].map((seed) => ({
    atMs: seed,
    seconds: 1,
    source: 'main',
    rows: quantise(rows(seed)),
  }));
  const bytes = Buffer.concat(moments.map(encodeMoment));
  const size = bytes.length / 4;
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const changed = Buffer.from(bytes);
      changed[at]! ^= change;
      const left = decodeMoments(changed).records.map(({ moment }) => moment.atMs);
      const hit = Math.floor(at / size) + 1;
      return JSON.stringify(left) === JSON.stringify([1, 2, 3, 4].filter((n) => n !== hit));
    }),
  );
  t.end();
});

t.test('what is heard is there after a restart, in the order of its times', async (t) => {
  const dataDir = temporaryFolder(t);
  const first = open(t, dataDir);
  for (const n of [3, 1, 2, 0, 4]) first.store.add(MODEL, momentAt(BEGIN_MS + n * DAY_MS, n));
  await first.store.close();
  const { store } = open(t, dataDir);
  const { moments, rows: found, heardSeconds } = await store.read(MODEL);
  t.same(
    moments.map(({ atMs }) => (atMs - BEGIN_MS) / DAY_MS),
    [0, 1, 2, 3, 4],
  );
  t.equal(heardSeconds, 5);
  t.equal(found.count, 15);
  const expected = quantise(rows(2));
  t.same([...found.codes.subarray(6 * DIM, 9 * DIM)], [...expected.codes]);
});

t.test('the moments of the examples are not among what they are told apart from', async (t) => {
  const { store } = open(t, temporaryFolder(t));
  for (let second = 0; second < 20; second += 1) store.add(MODEL, momentAt(BEGIN_MS + second * 1000));
  const without = [{ fromMs: BEGIN_MS + 8000, toMs: BEGIN_MS + 10_000 }];
  const { moments } = await store.read(MODEL, { without });
  // A second of margin on both sides, for sounds have no sharp edges.
  t.same(
    moments.map(({ atMs }) => (atMs - BEGIN_MS) / 1000),
    [0, 1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16, 17, 18, 19],
  );
});

t.test('the disk takes no more than is allowed, and every day is represented', async (t) => {
  const dataDir = temporaryFolder(t);
  const { store } = open(t, dataDir);
  const DAYS = 6;
  const perDay = 3000;
  for (let day = 0; day < DAYS; day += 1) {
    for (let n = 0; n < perDay; n += 1) {
      store.add(MODEL, momentAt(BEGIN_MS + day * DAY_MS + n * 20_000, n));
      if (n % 64 === 63) await store.settled();
    }
    await store.settled();
    t.ok((await store.bytes()) <= 2 ** 20);
  }
  t.equal(
    filesIn(dataDir).reduce((sum, path) => sum + statSync(path).size, 0),
    await store.bytes(),
  );
  const { moments } = await store.read(MODEL);
  const counts = Array.from(
    { length: DAYS },
    (_, day) => moments.filter(({ atMs }) => Math.floor((atMs - BEGIN_MS) / DAY_MS) === day).length,
  );
  t.ok(Math.min(...counts) > 100, `moments a day: ${counts.join(', ')}`);
  t.ok(Math.max(...counts) < 5 * Math.min(...counts), `moments a day: ${counts.join(', ')}`);
});

t.test('embeddings of another network are not mixed in, and make room first', async (t) => {
  const { store } = open(t, temporaryFolder(t));
  for (let n = 0; n < 60; n += 1) store.add(OTHER_MODEL, momentAt(BEGIN_MS + n * 1000, n));
  await store.settled();
  t.equal((await store.read(MODEL)).moments.length, 0);
  t.equal((await store.read(OTHER_MODEL)).moments.length, 60);
  for (let n = 0; n < 6000; n += 1) {
    store.add(MODEL, momentAt(BEGIN_MS + n * 1000, n));
    if (n % 64 === 63) await store.settled();
  }
  t.equal((await store.read(OTHER_MODEL)).moments.length, 0);
});

t.test('half a record at the end of a file, as a kill leaves it, costs nothing else', async (t) => {
  const dataDir = temporaryFolder(t);
  const first = open(t, dataDir);
  first.store.add(MODEL, momentAt(BEGIN_MS));
  await first.store.close();
  const [path] = filesIn(dataDir);
  // A whole one, which a write made again leaves, and then half of one.
  appendFileSync(path!, readFileSync(path!));
  appendFileSync(path!, readFileSync(path!).subarray(0, 60));
  const { store, codes } = open(t, dataDir);
  store.add(MODEL, momentAt(BEGIN_MS + 5000));
  const { moments } = await store.read(MODEL);
  t.same(
    moments.map(({ atMs }) => atMs - BEGIN_MS),
    [0, 5000],
  );
  t.same(codes, [], 'it was taken off before the next was written');
});

t.test(
  'a disk that takes nothing costs one warning and bounded memory, and what waits counts as heard',
  async (t) => {
    const dataDir = temporaryFolder(t);
    writeFileSync(join(dataDir, 'background'), 'a file in the place of the folder');
    const { store, codes } = open(t, dataDir);
    for (let n = 0; n < 1000; n += 1) store.add(MODEL, momentAt(BEGIN_MS + n * 1000));
    await store.settled();
    await store.settled();
    t.same(codes, ['background_not_written']);
    await t.rejects(store.read(MODEL));
    rmSync(join(dataDir, 'background'));
    const { moments } = await store.read(MODEL);
    t.ok(moments.length > 0 && moments.length <= 128, `${moments.length} moments`);
  },
);

t.test('nothing but the embeddings is kept, a byte for each number', async (t) => {
  const dataDir = temporaryFolder(t);
  const { store } = open(t, dataDir);
  const given = { ...momentAt(BEGIN_MS), sound: new Float32Array(32_000).fill(0.5) };
  store.add(MODEL, given);
  await store.close();
  const [path, ...others] = filesIn(dataDir);
  t.equal(others.length, 0);
  // A head, the place and name, and three rows of a scale and 64 bytes; a second of sound has 64,000.
  t.equal(statSync(path!).size, 12 + 17 + 'main'.length + 3 * (4 + DIM));
  t.equal(statSync(path!).mode & 0o777, 0o600);
  await open(t, dataDir).store.clear();
  t.equal(filesIn(dataDir).length, 0);
});

const label = (name: string, weights: readonly number[] = [0.1, -2, 3e-7]): LearntLabel => ({
  name,
  model: { id: 'soundpost-home', sha256: MODEL },
  head: { weights: Float32Array.from(weights), bias: -1.25 },
  threshold: 0.7,
  examples: [{ kind: 'file', name: 'a.wav', sha256: OTHER_MODEL }],
  made_at: '2026-05-01T00:00:00.000Z',
  quality: {
    found: 3,
    of: 3,
    false_alarms_per_day: { low: 0.2, high: 2 },
    heard_hours: 5,
    is_extrapolated: true,
    heard_before: 2,
    doubts: ['little_heard'],
  },
});

t.test('a label is read back to the last bit', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 50 }),
      async (weights) => {
        const dataDir = temporaryFolder(t);
        const labels = openLearntLabels({ dataDir, log: silentLogger });
        await labels.save(label('My doorbell', weights));
        const [read] = await labels.load();
        return (
          read?.slug === 'my_doorbell' &&
          read.head.weights.length === weights.length &&
          weights.every((weight, n) => Object.is(read.head.weights[n], Math.fround(weight)))
        );
      },
    ),
    { numRuns: 20 },
  );
});

t.test('a name is taken once, unless it is to be replaced, and removed once', async (t) => {
  const labels = openLearntLabels({ dataDir: temporaryFolder(t), log: silentLogger });
  await t.rejects(labels.remove('Kettle'), { code: 'learn_unknown', message: /Nothing has been taught yet/ });
  await labels.save(label('Kettle'));
  await t.rejects(labels.save(label('kettle!')), { code: 'learn_exists', message: /"Kettle" already/ });
  await labels.save({ ...label('Kettle'), threshold: 0.4 }, { replace: true });
  t.match(await labels.load(), [{ name: 'Kettle', threshold: 0.4 }]);
  await t.rejects(labels.remove('Bell'), { code: 'learn_unknown', message: /There are kettle/ });
  await labels.remove('Kettle');
  t.same(await labels.load(), []);
});

t.test('damaged labels are told of and left out, the others are there', async (t) => {
  const dataDir = temporaryFolder(t);
  const { log, codes } = listening();
  const labels = openLearntLabels({ dataDir, log });
  for (const name of ['Good', 'Cut', 'Strange', 'Moved', 'Weightless']) await labels.save(label(name));
  const folder = join(dataDir, 'learnt');
  const text = readFileSync(join(folder, 'cut.json'), 'utf8');
  writeFileSync(join(folder, 'cut.json'), text.slice(0, 100));
  writeFileSync(join(folder, 'strange.json'), '{"version": 1}');
  renameSync(join(folder, 'moved.json'), join(folder, 'elsewhere.json'));
  writeFileSync(
    join(folder, 'weightless.json'),
    text.replace('cut', 'weightless').replace(/"weights": "[^"]*"/, '"weights": "AAA="'),
  );
  mkdirSync(join(folder, 'folder.json'));
  t.same(
    (await labels.load()).map(({ name }) => name),
    ['Good'],
  );
  t.same(codes, Array(5).fill('learnt_unreadable'));
});

t.test('what cannot be written changes nothing', async (t) => {
  const dataDir = temporaryFolder(t);
  writeFileSync(join(dataDir, 'learnt'), 'a file in the place of the folder');
  const labels = openLearntLabels({ dataDir, log: silentLogger });
  await t.rejects(labels.save(label('Kettle')), { code: 'disk_write', message: /Nothing was changed/ });
});
