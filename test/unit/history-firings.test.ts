import fc from 'fast-check';
import t from 'tap';
import { silentLogger } from '../../src/common/log.js';
import { onsetsOfText, textOfOnsets, type FiringHour } from '../../src/history/firing-hour.js';
import { createFiringSums } from '../../src/history/firing-sums.js';
import { createFiringTally } from '../../src/history/firing-tally.js';
import { openHistory } from '../../src/history/history.js';
import { encodeRecord, headOf, recordOf } from '../../src/history/record.js';
import type { Label } from '../../src/models/labels.js';
import type { Hop } from '../../src/tagging/hop.js';
import { rungOf, RUNGS } from '../../src/tagging/ladder.js';
import { resolveWatched, type TaggingSettings } from '../../src/tagging/watch.js';
import { plainTagging } from '../support/tagging.js';
import { temporaryFolder } from '../support/temporary.js';

/* What would have started with other thresholds: counted hour by hour, written down, and added up. */

const HOUR_MS = 3_600_000;
const BEGIN_MS = Date.parse('2026-05-01T00:00:00.000Z');
const countsArbitrary = fc
  .array(fc.nat({ max: 9 }), { minLength: RUNGS, maxLength: RUNGS })
  .map((counts) => Uint32Array.from(counts.sort((one, other) => other - one)));

t.test('counts are the same after they were text', (t) => {
  const wild = fc.uint32Array({ minLength: RUNGS, maxLength: RUNGS, max: 999_999_999 });
  fc.assert(
    fc.property(fc.oneof(countsArbitrary, wild), (onsets) => {
      const again = onsetsOfText(textOfOnsets(onsets));
      if (again === null || again.join() !== onsets.join()) throw new Error(textOfOnsets(onsets));
    }),
  );
  t.equal(textOfOnsets(new Uint32Array(RUNGS)), '');
  t.equal(textOfOnsets(Uint32Array.of(3, 2, 2, 1, 0, 0)), '3,2*2,1');
  for (const text of ['1,', '-1', '1*100', 'a', `${'1,'.repeat(99)}1`, '1*0,x']) {
    t.equal(onsetsOfText(text), null, text);
  }
  t.end();
});

const hourArbitrary: fc.Arbitrary<FiringHour> = fc.record({
  fromMs: fc.integer({ min: BEGIN_MS, max: BEGIN_MS + 10 * HOUR_MS }),
  source: fc.constantFrom('main', 'yard'),
  model: fc.constantFrom('a 1', 'b 2'),
  heardMs: fc.nat({ max: HOUR_MS }),
  rest: fc.constantFrom(null, 'x', 'y'),
  items: fc.uniqueArray(
    fc.record({
      name: fc.constantFrom('Dog', 'Cat "1"', 'Bell\n'),
      rules: fc.constantFrom('x', 'y', 'z'),
      onsets: countsArbitrary,
    }),
    { selector: ({ name }) => name },
  ),
});

t.test('an hour is the same after it was a line', (t) => {
  fc.assert(
    fc.property(hourArbitrary, (hour) => {
      const line = encodeRecord({ kind: 'firings', atMs: hour.fromMs, hour });
      const head = headOf(line.subarray(0, line.length - 1));
      const record = head === null ? null : recordOf(head);
      if (record?.kind !== 'firings') throw new Error('no record');
      const plain = (one: FiringHour) =>
        JSON.stringify({
          ...one,
          items: one.items.map((item) => ({ ...item, onsets: [...Array.from(item.onsets)] })),
        });
      const ordered = ({ fromMs, source, model, heardMs, rest, items }: FiringHour): FiringHour => ({
        fromMs,
        source,
        model,
        heardMs,
        rest,
        items: items.map(({ name, rules, onsets }) => ({ name, rules, onsets })),
      });
      if (plain(ordered(record.hour)) !== plain(ordered(hour))) throw new Error(plain(record.hour));
    }),
  );
  for (const content of [
    '{}',
    '{"source":"a","model":"b","heard":1,"rules":["x"],"items":[["Dog",1,"1"]]}',
    '{"source":"a","model":"b","heard":1,"rules":["x"],"items":[["Dog",0,"one"]]}',
    '{"source":"a","model":"b","heard":1,"rules":["x"],"items":[7]}',
    '{"source":"a","model":"b","heard":-1,"rules":[],"items":[]}',
  ]) {
    t.equal(recordOf({ kind: 'firings', atMs: 0, json: Buffer.from(content) }), null, content);
  }
  t.end();
});

t.test('sums are of what is about the same, and each hour counts once', (t) => {
  fc.assert(
    fc.property(fc.array(hourArbitrary, { maxLength: 12 }), fc.array(fc.nat({ max: 11 })), (made, again) => {
      const hours = [...new Map(made.map((hour) => [`${hour.source} ${hour.fromMs}`, hour])).values()];
      const wanted = { source: 'main', model: 'a 1', name: 'Dog', rules: 'x' };
      const sums = createFiringSums([wanted, { ...wanted, name: 'Nothing', rules: 'never' }]);
      for (const hour of hours) sums.take(hour);
      for (const n of again) if (hours[n] !== undefined) sums.take(hours[n]);
      const own = hours.filter(({ source, model }) => source === 'main' && model === 'a 1');
      const counted = own.flatMap(({ items }) =>
        items.filter(({ name, rules }) => name === 'Dog' && rules === 'x'),
      );
      const heard = own.filter(
        ({ items, rest }) =>
          items.some(({ name, rules }) => name === 'Dog' && rules === 'x') ||
          (rest === 'x' && !items.some(({ name }) => name === 'Dog')),
      );
      const [sum, none] = sums.end();
      for (let rung = 0; rung < RUNGS; rung += 1) {
        const total = counted.reduce((all, { onsets }) => all + onsets[rung]!, 0);
        if (sum!.onsets[rung] !== total) throw new Error(`rung ${rung}: ${sum!.onsets[rung]}, not ${total}`);
      }
      if (sum!.heardMs !== heard.reduce((all, { heardMs }) => all + heardMs, 0)) throw new Error('heard');
      const since = heard.length === 0 ? null : Math.min(...heard.map(({ fromMs }) => fromMs));
      if (sum!.sinceMs !== since) throw new Error('since');
      if (none!.heardMs !== 0 || none!.sinceMs !== null) throw new Error('something of nothing');
    }),
  );
  t.end();
});

const labels: readonly Label[] = ['Dog', 'Cat'].map((name, index) => ({
  index,
  name,
  mid: null,
  threshold: null,
  thresholdFrom: null,
}));
const settings: TaggingSettings = { ...plainTagging, labels: ['Dog'], threshold: null };
const hopAt = (startMs: number, score: number): Hop => ({
  startMs,
  endMs: startMs + 1000,
  windowEndMs: startMs + 1000,
  frameMs: 1000,
  frames: 1,
  before: 0,
  role: 'scores',
  spreadMs: 0,
  values: [score, 0],
  scores: [score, 0],
});
const model = (id: string) =>
  ({ manifest: { id, onnx_sha256: 'a'.repeat(64) }, labels }) as unknown as Parameters<
    ReturnType<typeof createFiringTally>['modelChanged']
  >[0];

t.test('hours are told when they are over, and parts of them where something else is counted', (t) => {
  const told: FiringHour[] = [];
  const tally = createFiringTally({
    source: 'main',
    tell: (hour) =>
      told.push({
        ...hour,
        items: hour.items.map((item) => ({ ...item, onsets: Uint32Array.from(Array.from(item.onsets)) })),
      }),
  });
  const watch = (more: Partial<TaggingSettings> = {}) => {
    const next = { ...settings, ...more };
    return [resolveWatched(labels, next).items, next.offFraction] as const;
  };
  const at = rungOf(0.5)!;
  tally.hop(hopAt(BEGIN_MS, 0.6));
  t.equal(tally.open(), null, 'nothing without a model');
  t.same(tally.watched(), []);
  tally.modelChanged(model('one'), ...watch());
  for (const second of [1, 2, 3, 4]) tally.hop(hopAt(BEGIN_MS + second * 1000, second % 2 === 0 ? 0.6 : 0));
  t.match(tally.open(), { fromMs: BEGIN_MS + 1000, heardMs: 4000, model: 'one aaaaaaaa', rest: null });
  t.equal(tally.open()?.items[0]?.onsets[at], 2);
  tally.update(...watch({ threshold: 0.9 }));
  t.equal(told.length, 0, 'a threshold changes nothing');
  tally.hop(hopAt(BEGIN_MS + HOUR_MS, 0.6));
  t.match(told, [{ fromMs: BEGIN_MS + 1000, source: 'main', heardMs: 4000, items: [{ name: 'Dog' }] }]);
  t.equal(told[0]?.items[0]?.onsets[at], 2);
  t.equal(tally.open()?.items[0]?.onsets[at], 1, 'the next hour, and a sound of its own behind a long gap');
  tally.update(...watch({ confirm: { k: 1, n: 2 } }));
  t.equal(told.length, 2);
  t.not(told[1]?.items[0]?.rules, tally.watched()[0]?.rules);
  tally.hop(hopAt(BEGIN_MS + HOUR_MS + 1000, 0.6));
  tally.modelChanged(model('two'), ...watch());
  t.equal(told.length, 3);
  tally.hop(hopAt(BEGIN_MS + HOUR_MS + 2000, 0.6));
  tally.forget(BEGIN_MS);
  t.not(tally.open(), null, 'what came later is not forgotten');
  tally.forget(Infinity);
  t.equal(tally.open(), null);
  tally.hop(hopAt(NaN, 0.6));
  tally.flush();
  t.equal(told.length, 3, 'nothing was heard since');
  tally.hop(hopAt(BEGIN_MS + HOUR_MS + 3000, 0));
  tally.flush();
  t.match(told[3], { model: 'two aaaaaaaa', heardMs: 1000 });
  t.end();
});

t.test('where very much is watched, what would have started highest is written down', (t) => {
  const many = Array.from({ length: 300 }, (_, index) => ({ ...labels[0]!, index, name: `Label ${index}` }));
  const all: TaggingSettings = { ...settings, labels: [] };
  const tally = createFiringTally({ source: 'main', tell: () => undefined });
  const { items } = resolveWatched(many, all);
  tally.modelChanged({ ...model('many'), labels: many }, items, all.offFraction);
  const scores = many.map((_, n) => n / 300);
  tally.hop({ ...hopAt(BEGIN_MS, 0), values: scores, scores });
  const hour = tally.open()!;
  t.equal(hour.items.length, 128);
  t.equal(hour.rest, tally.watched()[0]?.rules);
  t.equal(hour.items[0]?.name, 'Label 297');
  t.ok(hour.items.every(({ name }) => Number(name.slice(6)) >= 169));
  t.ok(encodeRecord({ kind: 'firings', atMs: BEGIN_MS, hour }).length < 64 * 1024);
  t.end();
});

t.test('the history keeps hours, over restarts and damage, until they are deleted', async (t) => {
  const dataDir = temporaryFolder(t);
  const open = () =>
    openHistory({ dataDir, days: 30, maxMb: 64, log: silentLogger, now: () => BEGIN_MS + 5 * HOUR_MS });
  const hourAt = (n: number): FiringHour => ({
    fromMs: BEGIN_MS + n * HOUR_MS,
    source: 'main',
    model: 'a 1',
    heardMs: HOUR_MS,
    rest: null,
    items: [{ name: 'Dog', rules: 'x', onsets: Uint32Array.from({ length: RUNGS }, () => n + 1) }],
  });
  const all = { sinceMs: -Infinity, untilMs: Infinity };
  const firsts = async (history: ReturnType<typeof open>, range = all): Promise<number[]> => {
    const found: number[] = [];
    await history.firingHours(range, (hour) => found.push(hour.items[0]!.onsets[0]!));
    return found.sort();
  };
  const history = open();
  for (const n of [0, 1, 2, 3]) history.firings(hourAt(n));
  t.same(await firsts(history), [1, 2, 3, 4], 'also what waits to be written');
  await history.close();
  const again = open();
  t.teardown(() => again.close());
  t.same(await firsts(again), [1, 2, 3, 4]);
  t.same(await firsts(again, { sinceMs: BEGIN_MS + HOUR_MS, untilMs: BEGIN_MS + 2 * HOUR_MS }), [2, 3]);
  t.match(again.stats(), { waiting: { hours: 0 }, dropped: { hours: 0 } });
  await again.delete({ beforeMs: BEGIN_MS + 2 * HOUR_MS });
  t.same(await firsts(again), [3, 4]);
  await again.delete({ all: true });
  t.same(await firsts(again), []);
});
