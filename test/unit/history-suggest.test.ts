import fc from 'fast-check';
import t, { type Test } from 'tap';
import { silentLogger } from '../../src/common/log.js';
import type { FiringHour } from '../../src/history/firing-hour.js';
import { openHistory } from '../../src/history/history.js';
import type { HeardPeak } from '../../src/history/judged-peaks.js';
import { judgedOf, ratePerDay, suggestThreshold } from '../../src/history/suggest.js';
import { isoTime } from '../../src/mqtt/contract.js';
import { thresholdSpecs } from '../../src/mqtt/threshold-specs.js';
import { createThresholdCommands } from '../../src/service/commands/suggest-thresholds.js';
import { RUNGS, rungOf, thresholdOfRung } from '../../src/tagging/ladder.js';
import { resolveWatched } from '../../src/tagging/watch.js';
import { endWith, eventWith } from '../support/events.js';
import { plainTagging } from '../support/tagging.js';
import { temporaryFolder } from '../support/temporary.js';

/* What threshold is suggested, what it rests on, and what is set. */

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const NOW_MS = Date.parse('2026-05-08T00:00:00.000Z');
/** Counts that fall from rung to rung: `n` at the lowest. */
const falling = (of: (threshold: number) => number) =>
  Float64Array.from({ length: RUNGS }, (_, rung) => of(thresholdOfRung(rung)));
const sumOf = (onsets: Float64Array, days: number) => ({ onsets, heardMs: days * DAY_MS, sinceMs: 0 });

t.test('the lowest threshold with which it would not have started more often', (t) => {
  const counts = fc.array(fc.nat({ max: 40 }), { minLength: RUNGS, maxLength: RUNGS });
  fc.assert(
    fc.property(
      counts,
      fc.constantFrom(0, 0.01, 0.5, 3, 30),
      fc.constantFrom(0.1, 1, 10),
      (some, days, perDay) => {
        const onsets = Float64Array.from(some);
        const { threshold, fires, why } = suggestThreshold(sumOf(onsets, days), perDay);
        const fits = (rung: number) => onsets.subarray(rung).every((count) => count <= perDay * days);
        const rung = threshold === null ? null : rungOf(threshold)!;
        if (days === 0) {
          if (why !== 'nothing_heard' || rung !== null) throw new Error('from nothing');
        } else if (rung === null) {
          if (why === 'too_often' ? fits(RUNGS - 1) : !fits(0)) throw new Error(why);
        } else {
          if (!fits(rung) || fits(rung - 1)) throw new Error(`${threshold} is not the lowest`);
          if (fires !== onsets[rung]) throw new Error('wrong count');
        }
      },
    ),
  );
  const often = suggestThreshold(
    sumOf(
      falling((at) => Math.round(100 * (1 - at))),
      7,
    ),
    1,
  );
  t.match(often, { threshold: 0.93, fires: 7, restsOn: 'enough', why: 'fits' });
  t.match(
    suggestThreshold(
      sumOf(
        falling(() => 100),
        7,
      ),
      1,
    ),
    { threshold: null, why: 'too_often' },
  );
  t.match(
    suggestThreshold(
      sumOf(
        falling(() => 1),
        7,
      ),
      1,
    ),
    { threshold: null, why: 'hardly_heard' },
  );
  t.match(
    suggestThreshold(
      sumOf(
        falling((at) => (at > 0.5 ? 0 : 3)),
        0.5,
      ),
      1,
    ),
    {
      threshold: 0.51,
      restsOn: 'little',
    },
  );
  t.equal(
    suggestThreshold(
      sumOf(
        falling(() => 9),
        2.9,
      ),
      1,
    ).restsOn,
    'little',
  );
  t.equal(
    suggestThreshold(
      sumOf(
        falling(() => 9),
        0.9,
      ),
      100,
    ).restsOn,
    'little',
    'less than a day',
  );
  t.end();
});

t.test('the bounds of a rate are those of a Poisson count', (t) => {
  // Means for which this count or more, or this count or fewer, has a probability of 0.05.
  for (const [count, low, high] of [
    [0, 0, 2.9957],
    [1, 0.0513, 4.7439],
    [5, 1.9701, 10.513],
    [20, 13.2547, 29.062],
    [100, 84.1393, 118.0804],
  ] as const) {
    const rate = ratePerDay(count, DAY_MS);
    t.equal(rate.expected, count);
    t.ok(Math.abs(rate.low - low) <= 0.03 + 0.01 * low, `${count}: ${rate.low}`);
    t.ok(Math.abs(rate.high - high) <= 0.01 * high, `${count}: ${rate.high}`);
  }
  t.equal(ratePerDay(10, 10 * DAY_MS).expected, 1);
  t.end();
});

const peak = (value: number, right: boolean | null): HeardPeak => ({
  name: 'Dog',
  sources: ['main'],
  peak: value,
  right,
});

t.test('what was judged says which threshold would have kept out the wrong ones', (t) => {
  const events = [peak(0.5, true), peak(0.55, false), peak(0.6, false), peak(0.7, true), peak(0.9, null)];
  t.same(judgedOf(events), {
    right: 2,
    wrong: 2,
    precision: 0.5,
    withoutWrong: { threshold: 0.61, loses: 1 },
  });
  t.match(judgedOf(events, 0.58), { right: 1, wrong: 1 });
  t.same(judgedOf([peak(0.9, null)]), { right: 0, wrong: 0, precision: null, withoutWrong: null });
  t.match(judgedOf([peak(0.995, false)]), { precision: 0, withoutWrong: null });
  const some = fc.array(
    fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(true, false, null)),
  );
  fc.assert(
    fc.property(some, (made) => {
      const all = made.map(([value, right]) => peak(value, right));
      const { withoutWrong } = judgedOf(all);
      if (withoutWrong === null) return;
      const { threshold, loses } = withoutWrong;
      if (judgedOf(all, threshold).wrong > 0) throw new Error('a wrong one is left');
      if (judgedOf(all, threshold - 0.0101).wrong === 0) throw new Error('a lower one would do');
      if (judgedOf(all, threshold).right !== judgedOf(all).right - loses) throw new Error('lost others');
    }),
  );
  t.end();
});

const labels = ['Dog', 'Cat', 'Bell'].map((name, index) => ({
  index,
  name,
  mid: null,
  threshold: null,
  thresholdFrom: null,
}));
const MODEL = 'soundpost-home 00000000';
const signal = new AbortController().signal;
const context = { signal, afterReply: () => undefined };

/** A week of hours at two sources; dogs bark often, cats hardly, bells are never heard. */
function rig(t: Test, sources = ['main']) {
  const history = openHistory({
    dataDir: temporaryFolder(t),
    days: 30,
    maxMb: 64,
    log: silentLogger,
    now: () => NOW_MS,
  });
  t.teardown(() => history.close());
  const dog = falling((at) => (at <= 0.5 ? 1 : 0));
  dog.fill(10, 0, rungOf(0.2)! + 1);
  const hourAt = (n: number, source: string): FiringHour => ({
    fromMs: NOW_MS - (n + 1) * HOUR_MS,
    source,
    model: MODEL,
    heardMs: HOUR_MS,
    rest: null,
    items: [
      { name: 'Dog', rules: 'x', onsets: dog },
      { name: 'Cat', rules: 'x', onsets: falling(() => 0) },
      { name: 'Bell', rules: 'old rules', onsets: dog },
    ],
  });
  for (const source of sources) for (let n = 0; n < 168; n += 1) history.firings(hourAt(n, source));
  const { items } = resolveWatched(labels, {
    ...plainTagging,
    labels: ['Dog', 'Cat', 'Bell'],
    threshold: 0.4,
  });
  const set: unknown[] = [];
  const commands = createThresholdCommands({
    history,
    sources: sources.map((name) => ({
      name,
      tally: {
        watched: () => items.map((item) => ({ item, model: MODEL, rules: 'x' })),
        open: () => (name === 'main' ? hourAt(-1, name) : null),
      },
      namesLabels: () => true,
    })),
    setThreshold(value, label, source) {
      set.push([value, label, source]);
      return Promise.resolve({ threshold: value, label: label! });
    },
    nowMs: () => NOW_MS,
  });
  const suggest = async (request: object) =>
    thresholdSpecs['thresholds/suggest'].result.parse(
      await commands['thresholds/suggest'](
        thresholdSpecs['thresholds/suggest'].schema.parse(request),
        context,
      ),
    );
  const apply = async (request: object) =>
    thresholdSpecs['thresholds/apply'].result.parse(
      await commands['thresholds/apply'](thresholdSpecs['thresholds/apply'].schema.parse(request), context),
    );
  return { history, suggest, apply, set };
}

t.test('a suggestion for each label, from a week and the hour that has begun', async (t) => {
  const { history, suggest } = rig(t);
  const event = eventWith({ id: 'one', label: 'Dog', peak: 0.45, started_at: isoTime(NOW_MS - HOUR_MS) });
  history.event(event);
  history.event({ ...endWith(event, 2), peak: 0.47 });
  await history.judge('one', false);
  history.event(eventWith({ id: 'two', label: 'Dog', peak: 0.8, started_at: isoTime(NOW_MS - 2 * HOUR_MS) }));
  await history.judge('two', true);
  const { suggestions, ...asked } = await suggest({});
  t.same(asked, { per_day: 1, days: 7 });
  t.match(suggestions, [
    {
      label: 'Dog',
      threshold: 0.4,
      started: 2,
      would_have_started: 169,
      suggested: 0.51,
      suggested_would_have_started: 0,
      heard_hours: 169,
      rests_on: 'enough',
      why: 'fits',
      judged: {
        right: 1,
        wrong: 1,
        suggested_right: 1,
        suggested_wrong: 0,
        without_wrong: { threshold: 0.48, loses: 0 },
      },
      advice: /At 0.51 Dog would have started 0 times in 169 h.*At 0.48 none of the 1 /,
    },
    { label: 'Cat', suggested: null, why: 'hardly_heard', advice: /nothing to choose by/ },
    {
      label: 'Bell',
      suggested: null,
      why: 'nothing_heard',
      rests_on: 'nothing',
      advice: /Nothing was counted/,
    },
  ]);
  t.equal('onsets' in suggestions[0]!, false);
  t.equal('source' in suggestions[0]!, false);
  const one = await suggest({ label: 'dog', per_day: 24, days: 1 });
  t.equal(one.suggestions.length, 1);
  t.match(one.suggestions[0], { suggested: 0.21, suggested_would_have_started: 25, heard_hours: 25 });
  t.equal(one.suggestions[0]?.onsets?.length, RUNGS);
  await t.rejects(() => suggest({ label: 'Dgo' }), { code: 'label_unknown', message: /Dog/ });
  await t.rejects(suggest({ source: 'yard' }), { code: 'source_unknown' });
});

t.test('nothing is set unasked, and without a name only what rests on enough', async (t) => {
  const { suggest, apply, set } = rig(t, ['main', 'yard']);
  t.match((await suggest({})).suggestions[3], { label: 'Dog', source: 'yard' });
  t.same(set, []);
  const done = await apply({ source: 'yard' });
  t.same(done.applied, [{ label: 'Dog', source: 'yard', before: 0.4, after: 0.51 }]);
  t.match(done.left, [{ label: 'Cat' }, { label: 'Bell', why: /Nothing was counted/ }]);
  t.same(set.splice(0), [[0.51, 'Dog', 'yard']]);
  t.match(await apply({ per_day: 0.1 }), { applied: [] }, 'too little for so seldom');
  t.same(set, []);
  t.equal((await apply({ label: 'DOG', per_day: 0.1 })).applied.length, 2, 'but with a name it is meant');
  t.same(set, [
    [0.51, 'Dog', 'main'],
    [0.51, 'Dog', 'yard'],
  ]);
});

t.test('without a history there is nothing to suggest', async (t) => {
  const commands = createThresholdCommands({
    history: null,
    sources: [],
    setThreshold: () => Promise.reject(new Error('set')),
  });
  await t.rejects(commands['thresholds/suggest']({}, context), { code: 'history_off' });
  await t.rejects(commands['thresholds/apply']({}, context), { code: 'history_off' });
});
