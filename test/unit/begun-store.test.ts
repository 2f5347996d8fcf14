import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { openBegunStore, type KeptExample } from '../../src/learning/begun-store.js';
import { openLearntLabels } from '../../src/learning/labels-store.js';
import { rowsOf } from '../../src/learning/rows.js';
import { createBegunSounds } from '../../src/service/teaching/begun.js';
import { applyChanges, changesWith } from '../support/byte-changes.js';
import { createRecordingLog } from '../support/recording-log.js';
import { temporaryFolder } from '../support/temporary.js';
import { until } from '../support/waiting.js';

/* What is being taught is kept over a restart: whole or not at all, and no longer than somebody wants it. */

const NOW_MS = Date.parse('2026-05-01T00:00:00.000Z');
const HOUR_MS = 3_600_000;

const rows = (seed: number) =>
  rowsOf([1, 2, 3].map((n) => Float32Array.from({ length: 8 }, (_, d) => Math.sin(seed + n * d))));
const example = (n: number): KeptExample => ({
  name: `Example ${n}`,
  modelSha256: 'a'.repeat(64),
  part: { fromSeconds: 1, toSeconds: 2.5, peakDbfs: -20 },
  origin: { kind: 'heard', source: 'main', from_ms: NOW_MS, to_ms: NOW_MS + 1500 },
  span: n % 2 === 0 ? null : { fromMs: NOW_MS, toMs: NOW_MS + 1500 },
  plain: rows(n),
  taught: rows(n + 10),
});

function open(t: Test, dataDir: string, nowMs = NOW_MS) {
  const log = createRecordingLog();
  const names: string[][] = [];
  const store = openBegunStore({ dataDir, log });
  const begun = createBegunSounds({ store, onChange: (all) => names.push([...all]), now: () => nowMs });
  t.teardown(() => begun.stop());
  const codes = () => log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields.code);
  return { begun, store, names, codes };
}

const fileIn = (dataDir: string, slug: string) => join(dataDir, 'learnt', `${slug}.begun.json`);

t.test('another life goes on with what was given, but for rounding', async (t) => {
  const dataDir = temporaryFolder(t);
  const first = open(t, dataDir);
  first.begun.begin('Our doorbell');
  first.begun.begin('Kettle');
  for (const n of [1, 2]) first.begun.add('our doorbell', example(n));
  t.equal(await first.begun.isKept(), true);
  t.equal(statSync(fileIn(dataDir, 'our_doorbell')).mode & 0o777, 0o600);
  t.same(
    await openLearntLabels({ dataDir, log: createRecordingLog() }).load(),
    [],
    'that is no taught sound',
  );

  const next = open(t, dataDir, NOW_MS + HOUR_MS / 2);
  await next.begun.restore(() => false);
  t.same(next.names.at(-1)?.sort(), ['Kettle', 'Our doorbell']);
  const found = next.begun.get('Our doorbell');
  t.equal(found.sinceMs, NOW_MS);
  t.equal(found.examples.length, 2);
  for (const [n, one] of found.examples.entries()) {
    const { plain, taught, ...given } = example(n + 1);
    t.match(one, given);
    for (const [was, is] of [
      [plain, one.plain],
      [taught, one.taught],
    ] as const) {
      t.equal(is.dim, was.dim);
      t.ok(is.values.every((value, at) => Math.abs(value - was.values[at]!) < 1 / 254 + 1e-6));
    }
  }
  next.begun.remove('Our doorbell');
  next.begun.remove('Kettle');
  await next.store.stop();
  t.same(readdirSync(join(dataDir, 'learnt')), [], 'what is over leaves nothing');
});

t.test(
  'what nobody has said anything of for an hour, or is taught by now, is not gone on with',
  async (t) => {
    const dataDir = temporaryFolder(t);
    const first = open(t, dataDir);
    first.begun.begin('Bell');
    await first.begun.isKept();
    const late = open(t, dataDir, NOW_MS + HOUR_MS);
    await late.begun.restore(() => false);
    t.equal(late.begun.size, 0);
    await late.store.stop();
    t.same(readdirSync(join(dataDir, 'learnt')), []);

    first.begun.begin('Kettle');
    await first.begun.isKept();
    const taught = open(t, dataDir);
    await taught.begun.restore(({ name }) => name === 'Kettle');
    t.equal(taught.begun.size, 0);
    t.same(taught.names, [], 'nobody is told');

    first.begun.begin('Kettle');
    await first.begun.isKept();
    const early = open(t, dataDir, 0);
    await early.begun.restore(() => false);
    t.equal(early.begun.size, 1, 'a clock that is not set yet costs nothing');
  },
);

t.test('damage anywhere costs that sound and no other, and is told', async (t) => {
  const good = temporaryFolder(t);
  const first = open(t, good);
  first.begun.begin('Bell');
  first.begun.add('Bell', example(1));
  await first.begun.isKept();
  const bytes = readFileSync(fileIn(good, 'bell'));
  const whole = open(t, good);
  await whole.begun.restore(() => false);
  const expected = whole.begun.get('Bell');
  await fc.assert(
    fc.asyncProperty(changesWith([bytes]), async (changes) => {
      const dataDir = temporaryFolder(t);
      mkdirSync(join(dataDir, 'learnt'));
      writeFileSync(fileIn(dataDir, 'bell'), applyChanges(bytes, changes));
      const { begun, store, codes } = open(t, dataDir);
      await store.keep({ name: 'Kettle', sinceMs: NOW_MS, touchedMs: NOW_MS, examples: [] });
      await begun.restore(() => false);
      const names = begun.list().map(({ name }) => name);
      if (!names.includes('Kettle')) throw new Error('the other one is gone');
      if (names.length === 1 && codes().join() !== 'learnt_unreadable') throw new Error(codes().join());
      // Changes may have left it as it was.
      if (names.length === 2) t.same(begun.get('Bell'), expected);
      await begun.stop();
    }),
    { numRuns: 200 },
  );
  renameSync(fileIn(good, 'bell'), fileIn(good, 'other'));
  const { begun, codes } = open(t, good);
  await begun.restore(() => false);
  t.equal(begun.size, 0, 'a file that was renamed is not another sound');
  t.same(codes(), ['learnt_unreadable']);
});

t.test('a disk that takes nothing is said so, and what comes of it later', async (t) => {
  const dataDir = temporaryFolder(t);
  writeFileSync(join(dataDir, 'learnt'), 'a file in the place of the folder');
  const { begun, codes } = open(t, dataDir);
  begun.begin('Bell');
  t.equal(await begun.isKept(), false);
  t.same(codes(), ['learn_not_kept']);
  t.equal(begun.get('Bell').name, 'Bell', 'it goes on all the same');
  rmSync(join(dataDir, 'learnt'));
  begun.add('Bell', example(1));
  await until(async () => begun.isKept(), 'it to stand', 20);
  const next = open(t, dataDir);
  await next.begun.restore(() => false);
  t.equal(next.begun.get('Bell').examples.length, 1);
});
