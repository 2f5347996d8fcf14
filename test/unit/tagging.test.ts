import fc from 'fast-check';
import t from 'tap';
import type { Label } from '../../src/models/labels.js';
import { slugOf, uniqueSlugs } from '../../src/tagging/slug.js';
import { createTagger, type TagEvent, type Tagger } from '../../src/tagging/tagger.js';
import { topTags } from '../../src/tagging/top.js';
import { resolveWatched, type TaggingSettings } from '../../src/tagging/watch.js';

const labels: readonly Label[] = [
  { index: 0, name: 'Speech', mid: '/m/09x0r', threshold: null, thresholdFrom: null },
  { index: 1, name: 'Dog', mid: '/m/0bt9lr', threshold: 0.3, thresholdFrom: 'model' },
  { index: 2, name: 'Bark', mid: '/m/05tny_', threshold: null, thresholdFrom: null },
  { index: 3, name: 'Domestic animals, pets', mid: '/m/068hy', threshold: null, thresholdFrom: null },
];

const defaults: TaggingSettings = {
  labels: [],
  threshold: null,
  thresholds: {},
  offFraction: 0.5,
  confirm: { k: 1, n: 1 },
  minGapSeconds: 2,
};

function taggerOf(settings: Partial<TaggingSettings>, of: readonly Label[] = labels): Tagger {
  let count = 0;
  return createTagger({
    labels: of,
    settings: { ...defaults, ...settings },
    newId: () => `id${(count += 1)}`,
  });
}

/** Scores of one label in one window after the other, a second apart, beginning at second 1. */
function run(tagger: Tagger, scores: readonly number[], label = 0): TagEvent[] {
  return scores.flatMap((score, second) => {
    const all = new Float64Array(labels.length);
    all[label] = score;
    return tagger.window({ endMs: (second + 1) * 1000, scores: all });
  });
}

/** `started 3` where an event began at second 3; `ended 3-5` where it ended. */
function told(events: readonly TagEvent[]): string[] {
  return events.map((event) =>
    event.event_type === 'started'
      ? `started ${event.started_at / 1000}`
      : `ended ${event.started_at / 1000}-${event.ended_at! / 1000}`,
  );
}

t.test('an onset and an offset, with everything that B/event needs', (t) => {
  const tagger = taggerOf({});
  const events = run(tagger, [0.1, 0.6, 0.9, 0.25, 0.2, 0.1, 0.1]);
  const pair = { id: 'id1', slug: 'speech', label: 'Speech', mid: '/m/09x0r', group: null, started_at: 2000 };
  t.same(events, [
    { ...pair, event_type: 'started', score: 0.6, peak: 0.6, ended_at: null, duration_s: null },
    { ...pair, event_type: 'ended', score: 0.25, peak: 0.9, ended_at: 4000, duration_s: 2 },
  ]);
  t.same(tagger.on(), []);
  t.end();
});

t.test('hysteresis: on at the on-threshold, on down to the off-threshold', (t) => {
  const gapless = { minGapSeconds: 0, threshold: 0.5 };
  t.same(told(run(taggerOf(gapless), [0.49, 0.49])), [], 'below the on-threshold');
  t.same(told(run(taggerOf(gapless), [0.5, 0.25, 0.24])), ['started 1', 'ended 1-2'], 'both are reached');
  t.same(
    told(run(taggerOf({ ...gapless, offFraction: 1 }), [0.5, 0.49, 0.5])),
    ['started 1', 'ended 1-1', 'started 3'],
    'none with a fraction of 1',
  );
  t.end();
});

t.test('the minimum gap', (t) => {
  t.same(told(run(taggerOf({}), [0.6, 0, 0.3, 0, 0, 0])), ['started 1', 'ended 1-3'], 'bridges shorter gaps');
  const tagger = taggerOf({ minGapSeconds: 3 });
  t.same(told(run(tagger, [0.6, 0, 0])), ['started 1']);
  t.match(tagger.on(), [{ id: 'id1', slug: 'speech', started_at: 1000, last_heard_at: 1000 }]);
  t.same(told(run(taggerOf({ minGapSeconds: 3 }), [0.6, 0, 0, 0])), ['started 1', 'ended 1-1']);
  t.end();
});

t.test('at a slow rate a sound heard in every window is one event', (t) => {
  const tagger = taggerOf({});
  const events = [1, 2, 3].flatMap((hop) => tagger.window({ endMs: hop * 100_000, scores: [0.9, 0, 0, 0] }));
  t.same(told(events), ['started 100']);
  t.end();
});

t.test('k of n windows confirm an onset, which lies at the first of them', (t) => {
  const confirm = { k: 2, n: 3 };
  t.same(told(run(taggerOf({ confirm }), [0.6, 0, 0, 0.6, 0, 0])), [], 'two hits too far apart');
  t.same(told(run(taggerOf({ confirm }), [0.6, 0, 0.6])), ['started 1']);
  t.same(told(run(taggerOf({ confirm, minGapSeconds: 0 }), [0.9, 0.6, 0, 0.6, 0, 0.6])), [
    'started 1',
    'ended 1-2',
    'started 4',
  ]);
  const [started] = run(taggerOf({ confirm }), [0.9, 0.6]);
  t.match(started, { score: 0.6, peak: 0.9 }, 'the peak is of all windows that confirmed it');
  const tagger = taggerOf({ confirm });
  run(tagger, [0.6]);
  tagger.close();
  t.same(tagger.window({ endMs: 2000, scores: [0.6, 0, 0, 0] }), [], 'a break forgets what was to come on');
  t.end();
});

t.test('thresholds: the most particular one holds', (t) => {
  const onThresholds = (settings: Partial<TaggingSettings>) =>
    resolveWatched(labels, { ...defaults, ...settings }).items.map((item) =>
      item.members.map((member) => member.onThreshold),
    );
  t.same(onThresholds({}), [[0.5], [0.3], [0.5], [0.5]], "the model's, else 0.5");
  t.same(onThresholds({ threshold: 0.4 }), [[0.4], [0.4], [0.4], [0.4]], 'one for all');
  t.same(
    onThresholds({ threshold: 0.4, thresholds: { dog: 0.2, '/M/09X0R': 0 } }),
    [[0], [0.2], [0.4], [0.4]],
    'one of its own, by name or MID, in any case',
  );
  const dogs = { name: 'Dogs', labels: ['Dog', 'Bark'] };
  t.same(onThresholds({ labels: [dogs], thresholds: { dog: 0.2 } }), [[0.2, 0.5]], "a group: its labels'");
  t.same(
    onThresholds({ labels: [{ ...dogs, threshold: 0.6 }], thresholds: { dog: 0.2 } }),
    [[0.6, 0.6]],
    "or the group's",
  );
  t.same(
    onThresholds({ labels: [{ ...dogs, threshold: 0.6 }], thresholds: { DOGS: 0.7 } }),
    [[0.7, 0.7]],
    'or the one set for the group',
  );
  t.end();
});

t.test('a group is on while any of its labels is', (t) => {
  const tagger = taggerOf({
    labels: [{ name: 'Dogs!', labels: ['dog', '/m/05tny_'] }],
    thresholds: { bark: 0.8 },
  });
  const events = [
    [0, 0.35, 0.7, 0],
    [0, 0, 0.9, 0],
    [0, 0.16, 0, 0],
    [0, 0, 0, 0],
    [0, 0, 0, 0],
  ].flatMap((scores, second) => tagger.window({ endMs: second * 1000, scores }));
  t.match(events, [
    { event_type: 'started', group: 'Dogs!', slug: 'dogs', label: 'Dog', mid: '/m/0bt9lr', score: 0.35 },
    { event_type: 'ended', group: 'Dogs!', label: 'Bark', score: 0.16, peak: 0.9, duration_s: 2 },
  ]);
  t.equal(events.length, 2);
  t.match(tagger.window({ endMs: 9000, scores: [0, 0.9, 0.85, 0] }), [{ label: 'Dog', score: 0.9 }]);
  t.end();
});

t.test('what the model does not know is reported and left out', (t) => {
  const tagger = taggerOf({
    labels: ['Dgo', 'pets', 'SPEECH', 'Theremin', { name: 'Birds', labels: ['Crow'] }, '/m/09x0r'],
    thresholds: { Barks: 0.5 },
  });
  t.same(
    tagger.items.map((item) => item.slug),
    ['speech'],
    'twice the same label is one',
  );
  t.same(tagger.unknown, [
    { name: 'Barks', suggestions: ['Bark'] },
    { name: 'Dgo', suggestions: ['Dog'] },
    { name: 'pets', suggestions: ['Domestic animals, pets'] },
    { name: 'Theremin', suggestions: [] },
    { name: 'Crow', suggestions: [] },
  ]);
  const none = taggerOf({ labels: ['Theremin'] });
  t.same(run(none, [0.9]), [], 'an unknown label is not every label');
  t.same(taggerOf({}).items.length, labels.length, 'no label is');
  t.end();
});

t.test('settings that contradict themselves are refused', (t) => {
  const wrong: Partial<TaggingSettings>[] = [
    { threshold: 1.1 },
    { threshold: NaN },
    { thresholds: { dog: -0.1 } },
    { offFraction: 2 },
    { confirm: { k: 2, n: 1 } },
    { confirm: { k: 0, n: 1 } },
    { confirm: { k: 1, n: 1.5 } },
    { minGapSeconds: -1 },
    { minGapSeconds: Infinity },
    { labels: [{ name: ' ', labels: ['dog'] }] },
    { labels: [{ name: 'a', labels: ['dog'], threshold: 7 }] },
    {
      labels: [
        { name: 'a', labels: ['dog'] },
        { name: 'A', labels: ['bark'] },
      ],
    },
  ];
  for (const settings of wrong) {
    t.throws(() => taggerOf(settings), { code: 'invalid_tagging' }, JSON.stringify(settings));
  }
  const tagger = taggerOf({});
  run(tagger, [0.9]);
  t.throws(() => tagger.update({ ...defaults, threshold: 2 }), { code: 'invalid_tagging' });
  t.equal(tagger.on().length, 1, 'and nothing has changed');
  t.end();
});

t.test('a change of settings', (t) => {
  const tagger = taggerOf({});
  tagger.window({ endMs: 1000, scores: [0.9, 0.9, 0, 0] });
  t.same(tagger.update({ ...defaults, threshold: 0.95 }), [], 'what is on and watched stays on');
  t.equal(tagger.on().length, 2);
  t.match(
    tagger.update({ ...defaults, labels: ['dog'] }),
    [{ event_type: 'ended', id: 'id1', label: 'Speech', ended_at: 1000 }],
    'what is no longer watched ends',
  );
  t.match(tagger.on(), [{ id: 'id2', name: 'Dog' }]);
  const ended = tagger.update({ ...defaults, labels: [{ name: 'Dog', labels: ['dog'] }] });
  t.match(ended, [{ id: 'id2' }], 'a group is another thing than the label it is named after');
  t.end();
});

t.test('a slug that moves to another item ends what was on under it', (t) => {
  const two: Label[] = ['Dog!', 'Dog'].map((name, index) => ({
    index,
    name,
    mid: null,
    threshold: null,
    thresholdFrom: null,
  }));
  const tagger = taggerOf({}, two);
  t.match(tagger.window({ endMs: 1000, scores: [0, 0.9] }), [{ slug: 'dog_2' }]);
  t.match(tagger.update({ ...defaults, labels: ['Dog'] }), [{ event_type: 'ended', slug: 'dog_2' }]);
  t.match(tagger.window({ endMs: 2000, scores: [0, 0.9] }), [{ event_type: 'started', slug: 'dog' }]);
  t.end();
});

t.test('time that jumps', (t) => {
  const heard = { scores: [0.9, 0, 0, 0] };
  const hour = 3_600_000;
  for (const jump of [-hour, hour]) {
    const tagger = taggerOf({});
    tagger.window({ endMs: 2 * hour, ...heard });
    t.match(
      tagger.window({ endMs: 2 * hour + jump, ...heard }),
      [
        { event_type: 'ended', id: 'id1', ended_at: 2 * hour, duration_s: 0 },
        { event_type: 'started', id: 'id2', started_at: 2 * hour + jump },
      ],
      `by ${jump / hour} h`,
    );
  }
  const tagger = taggerOf({});
  tagger.window({ endMs: 10_000, ...heard });
  t.same(tagger.window({ endMs: 9000, ...heard }), [], 'a second back is no break');
  t.match(tagger.close(), [{ ended_at: 10_000, duration_s: 0 }], 'and makes no event end before it began');
  t.same(tagger.window({ endMs: NaN, ...heard }), [], 'a window without a time is none');
  t.match(tagger.window({ endMs: 9500, ...heard }), [{ started_at: 9500 }], 'a close ends the row as well');
  t.end();
});

t.test('scores that are missing or no numbers are silence', (t) => {
  const tagger = taggerOf({ minGapSeconds: 0 });
  t.match(tagger.window({ endMs: 1000, scores: [NaN, 0.9] }), [{ label: 'Dog' }]);
  t.match(tagger.window({ endMs: 2000, scores: [] }), [{ label: 'Dog', event_type: 'ended', peak: 0.9 }]);
  t.end();
});

/** A tagger of many settings, driven by anything that can happen to it. */
const settingsArbitrary: fc.Arbitrary<TaggingSettings> = fc.record({
  labels: fc.constantFrom<TaggingSettings['labels']>(
    [],
    ['dog'],
    ['Speech', 'Bark', 'nonsense'],
    [{ name: 'Dogs', labels: ['dog', 'bark'] }],
    ['Bark', { name: 'Dogs', labels: ['dog', 'bark'], threshold: 0.8 }, { name: 'bark', labels: ['speech'] }],
  ),
  threshold: fc.constantFrom(null, 0, 0.3, 0.6, 1),
  thresholds: fc.constantFrom({}, { dog: 0.1 }, { dogs: 0.7, bark: 0.9 }),
  offFraction: fc.constantFrom(0, 0.7, 1),
  confirm: fc.constantFrom({ k: 1, n: 1 }, { k: 2, n: 2 }, { k: 2, n: 4 }, { k: 1, n: 3 }),
  minGapSeconds: fc.constantFrom(0, 1, 2.5, 10),
});
const scoreArbitrary = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(0, 0.05, 0.2, 0.3, 0.5, 0.65, 0.9, 1) },
  { weight: 1, arbitrary: fc.constant(NaN) },
);
const scoresArbitrary = fc.array(scoreArbitrary, { minLength: labels.length, maxLength: labels.length });
type Step =
  | { do: 'window'; hopMs: number; scores: number[] }
  | { do: 'close' }
  | { do: 'update'; settings: TaggingSettings };
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({
      do: fc.constant('window' as const),
      hopMs: fc.oneof(
        { weight: 20, arbitrary: fc.constantFrom(1000, 1000, 500, 100, 0) },
        { weight: 1, arbitrary: fc.constantFrom(-500, -5000, -1e12, 100_000, 700_000, 1e12) },
      ),
      scores: scoresArbitrary,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('update' as const), settings: settingsArbitrary }) },
);

t.test('every start has exactly one end, whatever happens', (t) => {
  fc.assert(
    fc.property(settingsArbitrary, fc.array(stepArbitrary, { maxLength: 80 }), (settings, steps) => {
      const tagger = taggerOf(settings);
      const open = new Map<string, TagEvent>();
      const seen = new Set<string>();
      const check = (events: readonly TagEvent[]) => {
        for (const event of events) {
          if (event.event_type === 'started') {
            if (seen.has(event.id)) throw new Error('an id was used twice');
            if (open.has(event.slug)) throw new Error('started while on');
            if (event.ended_at !== null || event.duration_s !== null) throw new Error('ended at its start');
            seen.add(event.id);
            open.set(event.slug, event);
            continue;
          }
          const start = open.get(event.slug);
          if (start?.id !== event.id) throw new Error('ended without a start');
          if (event.started_at !== start.started_at || event.group !== start.group)
            throw new Error('not a pair');
          if (event.ended_at === null || event.ended_at < event.started_at)
            throw new Error('ended too early');
          if (event.duration_s !== (event.ended_at - event.started_at) / 1000)
            throw new Error('wrong duration');
          if (event.peak < start.peak || event.peak < event.score) throw new Error('a peak that is none');
          open.delete(event.slug);
        }
        const on = tagger.on().map((item) => `${item.slug} ${item.id}`);
        const told = [...open.values()].map((event) => `${event.slug} ${event.id}`);
        if (on.toSorted().join() !== told.toSorted().join()) throw new Error('on() and the events disagree');
        const watched = new Set(tagger.items.map((item) => item.slug));
        if ([...open.keys()].some((slug) => !watched.has(slug))) throw new Error('on and not watched');
      };
      let endMs = 1e12;
      for (const step of steps) {
        if (step.do === 'window') check(tagger.window({ endMs: (endMs += step.hopMs), scores: step.scores }));
        else if (step.do === 'close') check(tagger.close());
        else check(tagger.update(step.settings));
      }
      check(tagger.close());
      if (open.size > 0) throw new Error('something is still on after the close');
    }),
    { numRuns: 400 },
  );
  t.pass();
  t.end();
});

/**
 * The same thing said another way: from the whole history of one label, without state that is carried along.
 * Returns what `told` returns, `close` at the end included.
 */
function oracle(scores: readonly number[], settings: TaggingSettings, on: number): string[] {
  const { k, n } = settings.confirm;
  const off = on * settings.offFraction;
  const events: string[] = [];
  let from = 0;
  for (;;) {
    let confirmed = -1;
    let first = -1;
    for (let at = from; at < scores.length && confirmed < 0; at += 1) {
      const hits = [...Array(n).keys()].map((back) => at - back).filter((w) => w >= from && scores[w]! >= on);
      if (scores[at]! >= on && hits.length >= k) {
        confirmed = at;
        first = Math.min(...hits);
      }
    }
    if (confirmed < 0) return events;
    events.push(`started ${first + 1}`);
    let heard = confirmed;
    let at = confirmed + 1;
    for (; at < scores.length; at += 1) {
      if (scores[at]! >= off) heard = at;
      else if (at - heard >= settings.minGapSeconds) break;
    }
    events.push(`ended ${first + 1}-${heard + 1}`);
    from = at + 1;
  }
}

t.test('onsets, offsets, hysteresis, confirmation and gap are those of the definition', (t) => {
  fc.assert(
    fc.property(
      settingsArbitrary,
      fc.constantFrom(0.2, 0.5, 0.9),
      fc.array(scoreArbitrary, { maxLength: 60 }),
      (settings, threshold, scores) => {
        const plain = { ...settings, labels: ['speech'], thresholds: {}, threshold };
        const tagger = taggerOf(plain);
        const events = [...run(tagger, scores), ...tagger.close()];
        return told(events).join() === oracle(scores, plain, threshold).join();
      },
    ),
    { numRuns: 400 },
  );
  t.end();
});

t.test('slugs', (t) => {
  t.equal(slugOf('Domestic animals, pets'), 'domestic_animals_pets');
  t.equal(slugOf("  Child's  play!"), 'child_s_play');
  t.equal(slugOf('Türklingel'), 'turklingel');
  t.match(slugOf('犬'), /^label_[0-9a-f]{8}$/);
  t.equal(slugOf('犬'), slugOf('犬'), 'the same every time');
  t.not(slugOf('犬'), slugOf('猫'));
  t.same(uniqueSlugs(['Dog', 'dog!', 'dog 2', 'DOG']), ['dog', 'dog_3', 'dog_2', 'dog_4']);
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('a', 'A', 'a 2', 'b/#+'))),
      (names) => {
        const slugs = uniqueSlugs(names);
        return (
          new Set(slugs).size === names.length &&
          slugs.every((slug) => /^[a-z0-9]+(_[a-z0-9]+)*$/.test(slug)) &&
          names.every((name) => slugOf(name).length <= 64)
        );
      },
    ),
  );
  t.end();
});

t.test('the top tags', (t) => {
  t.same(topTags(new Float32Array([0.25, 0.5, 0.75, 0.5]), labels, 3), [
    { label: 'Bark', mid: '/m/05tny_', score: 0.75 },
    { label: 'Dog', mid: '/m/0bt9lr', score: 0.5 },
    { label: 'Domestic animals, pets', mid: '/m/068hy', score: 0.5 },
  ]);
  t.same(topTags([NaN, 0.1], labels, 3), [{ label: 'Dog', mid: '/m/0bt9lr', score: 0.1 }]);
  t.same(topTags([1, 1, 1, 1], labels, 0), []);
  fc.assert(
    fc.property(scoresArbitrary, fc.nat({ max: 6 }), (scores, k) => {
      const sorted = labels
        .map((label) => ({ label: label.name, mid: label.mid, score: scores[label.index]! }))
        .filter((tag) => !Number.isNaN(tag.score))
        .toSorted((a, b) => b.score - a.score)
        .slice(0, k);
      return JSON.stringify(topTags(scores, labels, k)) === JSON.stringify(sorted);
    }),
  );
  t.end();
});

t.test('what the model does not know is named, and keeps its slug', (t) => {
  const settings = {
    ...defaults,
    labels: [
      'Glass',
      'dog',
      'glass',
      { name: 'Glass', labels: ['Shatter'] },
      { name: 'Glass!', labels: ['Bark'] },
    ],
  };
  const names = (known: readonly Label[]) =>
    resolveWatched(known, settings).named.map(({ slug, known }) => `${slug}${known ? '' : ' unknown'}`);
  t.same(names(labels), ['glass unknown', 'dog', 'glass_2 unknown', 'glass_3']);
  const more = ['Glass', 'Shatter', 'Dog', 'Bark'].map((name, index) => ({ ...labels[0]!, index, name }));
  t.same(names(more), ['glass', 'dog', 'glass_2', 'glass_3'], 'the same with a model that knows it');
  t.same(
    resolveWatched(labels, settings).items.map(({ slug }) => slug),
    ['dog', 'glass_3'],
  );
  t.end();
});
