import fc from 'fast-check';
import t from 'tap';
import type { Label } from '../../src/models/labels.js';
import { frameStartMs, hopScores, type Hop } from '../../src/tagging/hop.js';
import { slugOf, uniqueSlugs } from '../../src/tagging/slug.js';
import type { TagEvent } from '../../src/tagging/tag-event.js';
import { createTagger, type Tagger } from '../../src/tagging/tagger.js';
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
  minDurationSeconds: 0,
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

/** A hop of one frame, a second long unless it is said otherwise, that ends at `endMs`. */
function hopOf(endMs: number, scores: readonly number[], frameMs = 1000): Hop {
  const times = { startMs: endMs - frameMs, endMs, windowEndMs: endMs, frameMs, frames: 1, before: 0 };
  return { ...times, values: scores, scores, role: 'scores', spreadMs: 0 };
}

function take(tagger: Tagger, endMs: number, scores: readonly number[], frameMs = 1000): TagEvent[] {
  return tagger.hop(hopOf(endMs, scores, frameMs), endMs);
}

/** Scores of one label in one hop of a second after the other, the first one from second 0 to 1. */
function run(tagger: Tagger, scores: readonly number[], label = 0): TagEvent[] {
  return scores.flatMap((score, second) =>
    take(
      tagger,
      (second + 1) * 1000,
      labels.map(({ index }) => (index === label ? score : 0)),
    ),
  );
}

/** Frames of one label, half a second each, in hops of the numbers of frames that are given. */
function runFrames(
  tagger: Tagger,
  hops: readonly (readonly number[])[],
  options: Partial<Hop> = {},
  label = 0,
): TagEvent[] {
  let startMs = 0;
  return hops.flatMap((scores) => {
    const values = scores.flatMap((score) => labels.map(({ index }) => (index === label ? score : 0)));
    const hop: Hop = {
      startMs,
      endMs: startMs + scores.length * 500,
      frameMs: 500,
      frames: scores.length,
      before: 0,
      windowEndMs: startMs + scores.length * 500 + 500,
      values,
      scores: labels.map(() => 0),
      role: 'scores',
      spreadMs: 0,
      ...options,
    };
    startMs = hop.endMs;
    return tagger.hop(hop, hop.endMs + 100);
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
  const pair = { id: 'id1', slug: 'speech', label: 'Speech', mid: '/m/09x0r', group: null, started_at: 1000 };
  t.same(events, [
    {
      ...pair,
      event_type: 'started',
      score: 0.6,
      peak: 0.6,
      ended_at: null,
      duration_s: null,
      detected_at: 2000,
    },
    {
      ...pair,
      event_type: 'ended',
      score: 0.25,
      peak: 0.9,
      ended_at: 4000,
      duration_s: 3,
      detected_at: 6000,
    },
  ]);
  t.same(tagger.on(), []);
  t.end();
});

t.test('hysteresis: on at the on-threshold, on down to the off-threshold', (t) => {
  const gapless = { minGapSeconds: 0, threshold: 0.5 };
  t.same(told(run(taggerOf(gapless), [0.49, 0.49])), [], 'below the on-threshold');
  t.same(told(run(taggerOf(gapless), [0.5, 0.25, 0.24])), ['started 0', 'ended 0-2'], 'both are reached');
  t.same(
    told(run(taggerOf({ ...gapless, offFraction: 1 }), [0.5, 0.49, 0.5])),
    ['started 0', 'ended 0-1', 'started 2'],
    'none with a fraction of 1',
  );
  t.end();
});

t.test('the minimum gap', (t) => {
  t.same(told(run(taggerOf({}), [0.6, 0, 0.3, 0, 0, 0])), ['started 0', 'ended 0-3'], 'bridges shorter gaps');
  const tagger = taggerOf({ minGapSeconds: 3 });
  t.same(told(run(tagger, [0.6, 0, 0])), ['started 0']);
  t.match(tagger.on(), [{ id: 'id1', slug: 'speech', started_at: 0, last_heard_at: 1000 }]);
  t.same(told(run(taggerOf({ minGapSeconds: 3 }), [0.6, 0, 0, 0])), ['started 0', 'ended 0-1']);
  t.end();
});

t.test('at a slow rate a sound heard in every window is one event', (t) => {
  const tagger = taggerOf({});
  const events = [1, 2, 3].flatMap((hop) => take(tagger, hop * 100_000, [0.9, 0, 0, 0], 10_000));
  t.same(told(events), ['started 90'], 'though most of it was never looked at');
  t.match(take(tagger, 400_000, [0, 0, 0, 0], 10_000), [{ ended_at: 300_000 }]);
  t.end();
});

t.test('k of n hops confirm an onset, which lies at the first of them', (t) => {
  const confirm = { k: 2, n: 3 };
  t.same(told(run(taggerOf({ confirm }), [0.6, 0, 0, 0.6, 0, 0])), [], 'two hits too far apart');
  t.same(told(run(taggerOf({ confirm }), [0.6, 0, 0.6])), ['started 0']);
  t.same(told(run(taggerOf({ confirm, minGapSeconds: 0 }), [0.9, 0.6, 0, 0.6, 0, 0.6])), [
    'started 0',
    'ended 0-2',
    'started 3',
  ]);
  const [started] = run(taggerOf({ confirm }), [0.9, 0.6]);
  t.match(started, { score: 0.6, peak: 0.9 }, 'the peak is of all hops that confirmed it');
  const tagger = taggerOf({ confirm });
  run(tagger, [0.6]);
  tagger.close(0);
  t.same(take(tagger, 2000, [0.6, 0, 0, 0]), [], 'a break forgets what was to come on');
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
  ].flatMap((scores, second) => take(tagger, second * 1000, scores));
  t.match(events, [
    { event_type: 'started', group: 'Dogs!', slug: 'dogs', label: 'Dog', mid: '/m/0bt9lr', score: 0.35 },
    { event_type: 'ended', group: 'Dogs!', label: 'Bark', score: 0.16, peak: 0.9, duration_s: 3 },
  ]);
  t.equal(events.length, 2);
  t.match(take(tagger, 9000, [0, 0.9, 0.85, 0]), [{ label: 'Dog', score: 0.9 }]);
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
  t.throws(() => tagger.update({ ...defaults, threshold: 2 }, 0), { code: 'invalid_tagging' });
  t.equal(tagger.on().length, 1, 'and nothing has changed');
  t.end();
});

t.test('a change of settings', (t) => {
  const tagger = taggerOf({});
  take(tagger, 1000, [0.9, 0.9, 0, 0]);
  t.same(tagger.update({ ...defaults, threshold: 0.95 }, 0), [], 'what is on and watched stays on');
  t.equal(tagger.on().length, 2);
  t.match(
    tagger.update({ ...defaults, labels: ['dog'] }, 0),
    [{ event_type: 'ended', id: 'id1', label: 'Speech', ended_at: 1000 }],
    'what is no longer watched ends',
  );
  t.match(tagger.on(), [{ id: 'id2', name: 'Dog' }]);
  const ended = tagger.update({ ...defaults, labels: [{ name: 'Dog', labels: ['dog'] }] }, 0);
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
  t.match(take(tagger, 1000, [0, 0.9]), [{ slug: 'dog_2' }]);
  t.match(tagger.update({ ...defaults, labels: ['Dog'] }, 0), [{ event_type: 'ended', slug: 'dog_2' }]);
  t.match(take(tagger, 2000, [0, 0.9]), [{ event_type: 'started', slug: 'dog' }]);
  t.end();
});

t.test('time that jumps', (t) => {
  const heard = [0.9, 0, 0, 0];
  const hour = 3_600_000;
  for (const jump of [-hour, hour]) {
    const tagger = taggerOf({});
    take(tagger, 2 * hour, heard);
    t.match(
      take(tagger, 2 * hour + jump, heard),
      [
        { event_type: 'ended', id: 'id1', ended_at: 2 * hour, duration_s: 1 },
        { event_type: 'started', id: 'id2', started_at: 2 * hour + jump - 1000 },
      ],
      `by ${jump / hour} h`,
    );
  }
  const tagger = taggerOf({});
  take(tagger, 10_000, heard);
  t.same(take(tagger, 9000, heard), [], 'a second back is no break');
  t.match(tagger.close(0), [{ ended_at: 10_000, duration_s: 1 }], 'and makes no event end before it began');
  t.same(take(tagger, NaN, heard), [], 'a window without a time is none');
  t.match(take(tagger, 9500, heard), [{ started_at: 8500 }], 'a close ends the row as well');
  t.end();
});

t.test('scores that are missing or no numbers are silence', (t) => {
  const tagger = taggerOf({ minGapSeconds: 0 });
  t.match(take(tagger, 1000, [NaN, 0.9]), [{ label: 'Dog' }]);
  t.match(take(tagger, 2000, []), [{ label: 'Dog', event_type: 'ended', peak: 0.9 }]);
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
  minDurationSeconds: fc.constantFrom(0, 0, 1, 2.5),
  minGapSeconds: fc.constantFrom(0, 1, 2.5, 10),
});
const scoreArbitrary = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(0, 0.05, 0.2, 0.3, 0.5, 0.65, 0.9, 1) },
  { weight: 1, arbitrary: fc.constant(NaN) },
);
const scoresArbitrary = fc.array(scoreArbitrary, { minLength: labels.length, maxLength: labels.length });
type Step =
  | { do: 'hop'; jumpMs: number; hop: Omit<Hop, 'startMs' | 'endMs' | 'windowEndMs'> }
  | { do: 'close' }
  | { do: 'update'; settings: TaggingSettings };
const hopArbitrary: fc.Arbitrary<Omit<Hop, 'startMs' | 'endMs' | 'windowEndMs'>> = fc
  .record({
    frameMs: fc.constantFrom(40, 160, 320, 1000, 100_000),
    frames: fc.nat({ max: 6 }),
    before: fc.constantFrom(0, 0, 1, 5, 20),
    role: fc.constantFrom('scores' as const, 'scores' as const, 'location' as const),
    spreadMs: fc.constantFrom(0, 0, 640),
    scores: scoresArbitrary,
  })
  .chain((hop) =>
    fc
      .array(scoreArbitrary, {
        minLength: (hop.before + hop.frames) * labels.length,
        maxLength: (hop.before + hop.frames) * labels.length,
      })
      .map((values) => ({ ...hop, values })),
  );
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({
      do: fc.constant('hop' as const),
      // Between the end of the hop before and the beginning of this one.
      jumpMs: fc.oneof(
        { weight: 20, arbitrary: fc.constantFrom(0, 0, 0, 1, -1, 500) },
        { weight: 1, arbitrary: fc.constantFrom(-500, -5000, -1e12, 100_000, 700_000, 1e12, NaN) },
      ),
      hop: hopArbitrary,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('update' as const), settings: settingsArbitrary }) },
);

t.test('every start has exactly one end, and no event is too short, whatever happens', (t) => {
  fc.assert(
    fc.property(settingsArbitrary, fc.array(stepArbitrary, { maxLength: 80 }), (settings, steps) => {
      const tagger = taggerOf(settings);
      const open = new Map<string, { event: TagEvent; minDurationMs: number }>();
      const seen = new Set<string>();
      const check = (events: readonly TagEvent[]) => {
        for (const event of events) {
          if (event.event_type === 'started') {
            if (seen.has(event.id)) throw new Error('an id was used twice');
            if (open.has(event.slug)) throw new Error('started while on');
            if (event.ended_at !== null || event.duration_s !== null) throw new Error('ended at its start');
            const item = tagger.items.find(({ slug }) => slug === event.slug);
            if (item === undefined) throw new Error('started and not watched');
            seen.add(event.id);
            open.set(event.slug, { event, minDurationMs: item.minDurationMs });
            continue;
          }
          const start = open.get(event.slug);
          if (start?.event.id !== event.id) throw new Error('ended without a start');
          if (event.started_at !== start.event.started_at || event.group !== start.event.group)
            throw new Error('not a pair');
          if (event.ended_at === null || event.ended_at < event.started_at)
            throw new Error('ended too early');
          if (event.duration_s !== (event.ended_at - event.started_at) / 1000)
            throw new Error('wrong duration');
          // Times may be large numbers with small fractions.
          if (event.duration_s * 1000 < start.minDurationMs - 1) throw new Error('too short');
          if (event.peak < start.event.peak || event.peak < event.score)
            throw new Error('a peak that is none');
          open.delete(event.slug);
        }
        const on = tagger.on().map((item) => `${item.slug} ${item.id}`);
        const told = [...open.values()].map(({ event }) => `${event.slug} ${event.id}`);
        if (on.toSorted().join() !== told.toSorted().join()) throw new Error('on() and the events disagree');
        const watched = new Set(tagger.items.map((item) => item.slug));
        if ([...open.keys()].some((slug) => !watched.has(slug))) throw new Error('on and not watched');
      };
      let nowMs = 1e12;
      for (const step of steps) {
        if (step.do === 'hop') {
          const startMs = nowMs + step.jumpMs;
          const endMs = startMs + step.hop.frames * step.hop.frameMs;
          if (Number.isFinite(endMs)) nowMs = endMs;
          check(tagger.hop({ ...step.hop, startMs, endMs, windowEndMs: endMs + 640 }, endMs + 700));
        } else if (step.do === 'close') check(tagger.close(nowMs));
        else check(tagger.update(step.settings, nowMs));
      }
      check(tagger.close(nowMs));
      if (open.size > 0) throw new Error('something is still on after the close');
    }),
    { numRuns: 1000 },
  );
  t.pass();
  t.end();
});

/**
 * The same thing said another way: from the whole history of one label, without state that is carried along.
 * @param hops the scores of its frames of half a second, hop by hop
 * @returns what `told` returns, `close` at the end included.
 */
function oracle(hops: readonly (readonly number[])[], settings: TaggingSettings, on: number): string[] {
  const { k, n } = settings.confirm;
  const off = on * settings.offFraction;
  const frames = hops.flatMap((scores, hop) => scores.map((score) => ({ hop, score })));
  const events: string[] = [];
  /** Where the first frame lies of which confirmation may make use. */
  let hitsFrom = 0;
  for (let from = 0; ;) {
    const begin = frames.findIndex(({ score }, at) => at >= from && score >= on);
    if (begin === -1) return events;
    // The frames of the run in which it is heard, and the first one behind it.
    const heard = [begin];
    let behind = begin + 1;
    for (; behind < frames.length; behind += 1) {
      if (frames[behind]!.score >= off) heard.push(behind);
      else if ((behind - heard.at(-1)!) / 2 >= settings.minGapSeconds) break;
    }
    from = behind + 1;
    /** In which hops it was over of late, with the frame where that began, seen from a frame. */
    const hits = (at: number) =>
      new Map(
        frames
          .map((frame, index) => ({ ...frame, index }))
          .filter(({ index, score, hop }) => {
            return index >= hitsFrom && index <= at && score >= on && hop > frames[at]!.hop - n;
          })
          .filter(({ index, hop }) => {
            let since = index;
            while (since > 0 && frames[since - 1]!.score >= on) since -= 1;
            return frames[since]!.hop === hop || index + 1 - since >= hops[hop]!.length;
          })
          .reverse()
          .map(({ hop, index }) => [hop, index]),
      );
    const confirmedAt = heard.find((at) => hits(at).size >= k) ?? Infinity;
    const startedBy = heard.find(
      (at) => at >= confirmedAt && (at + 1 - begin) / 2 >= settings.minDurationSeconds,
    );
    if (startedBy === undefined) continue;
    const first = Math.min(begin, ...(k === 1 ? [] : hits(startedBy).values())) / 2;
    events.push(`started ${first}`, `ended ${first}-${(heard.at(-1)! + 1) / 2}`);
    hitsFrom = from;
  }
}

const historyArbitrary = fc.array(fc.array(scoreArbitrary, { maxLength: 5 }), { maxLength: 25 });

t.test('onsets, offsets, hysteresis, confirmation, duration and gap are those of the definition', (t) => {
  fc.assert(
    fc.property(
      settingsArbitrary,
      fc.constantFrom(0.2, 0.5, 0.9),
      historyArbitrary,
      (settings, threshold, hops) => {
        const plain = { ...settings, labels: ['speech'], thresholds: {}, threshold };
        const tagger = taggerOf(plain);
        const events = [...runFrames(tagger, hops), ...tagger.close(0)];
        return told(events).join() === oracle(hops, plain, threshold).join();
      },
    ),
    { numRuns: 1000 },
  );
  t.end();
});

t.test('without confirmation it does not matter how the frames come in hops', (t) => {
  fc.assert(
    fc.property(settingsArbitrary, historyArbitrary, fc.array(fc.nat({ max: 4 })), (settings, hops, cuts) => {
      const plain = { ...settings, confirm: { k: 1, n: 1 } };
      const frames = hops.flat();
      const other: number[][] = [];
      for (let at = 0, cut = 0; at < frames.length; cut += 1) {
        const length = (cuts[cut % Math.max(1, cuts.length)] ?? 0) + 1;
        other.push(frames.slice(at, (at += length)));
      }
      const all = (cut: readonly (readonly number[])[]) => {
        const tagger = taggerOf(plain);
        return told([...runFrames(tagger, cut), ...tagger.close(0)]);
      };
      t.same(all(other), all(hops));
    }),
    { numRuns: 200 },
  );
  t.end();
});

/** The same frames as `runFrames` takes, with so many in front of the new ones; `revise` says what is thought of those. */
function runLookingBack(
  tagger: Tagger,
  hops: readonly (readonly number[])[],
  lookback: number,
  revise: (score: number) => number = (score) => score,
): TagEvent[] {
  const all: number[] = [];
  return hops.flatMap((scores) => {
    const again = lookback === 0 ? [] : all.slice(-lookback).map(revise);
    all.push(...scores);
    const endMs = all.length * 500;
    const values = [...again, ...scores].flatMap((score) =>
      labels.map(({ index }) => (index === 0 ? score : 0)),
    );
    const hop: Hop = {
      startMs: endMs - scores.length * 500,
      endMs,
      windowEndMs: endMs + 500,
      frameMs: 500,
      frames: scores.length,
      before: again.length,
      values,
      scores: labels.map(() => 0),
      role: 'scores',
      spreadMs: 0,
    };
    return tagger.hop(hop, endMs + 600);
  });
}

t.test('looking once more at frames that say the same changes nothing', (t) => {
  fc.assert(
    fc.property(
      settingsArbitrary,
      fc.constantFrom(0.2, 0.5, 0.9),
      historyArbitrary,
      fc.integer({ min: 1, max: 12 }),
      (settings, threshold, hops, lookback) => {
        const plain = { ...settings, labels: ['speech'], thresholds: {}, threshold };
        const run = (frames: number) => {
          const tagger = taggerOf(plain);
          return told([...runLookingBack(tagger, hops, frames), ...tagger.close(0)]);
        };
        return run(lookback).join() === run(0).join();
      },
    ),
    { numRuns: 1000 },
  );
  t.end();
});

t.test('the newest word on a frame counts, until it has been told', (t) => {
  const better = (score: number) => (score === 0.4 ? 0.9 : score);
  const settings = { minGapSeconds: 1 };
  const late = [
    [0, 0.4],
    [0.4, 0],
    [0, 0],
    [0, 0],
  ];
  t.same(told(runLookingBack(taggerOf(settings), late, 0)), [], 'never over when it was new');
  t.same(
    told(runLookingBack(taggerOf(settings), late, 3, better)),
    ['started 0.5', 'ended 0.5-1.5'],
    'over when more had been heard',
  );
  t.same(
    told(runLookingBack(taggerOf({ ...settings, confirm: { k: 2, n: 2 } }), late, 4, better)),
    ['started 0.5', 'ended 0.5-1.5'],
    'its hops are those in which it was new',
  );
  const longer = (score: number) => (score === 0.1 ? 0.9 : score);
  const on = [[0, 0.9], [0.1], [0, 0], [0, 0]];
  t.same(
    told(runLookingBack(taggerOf(settings), on, 4, longer)),
    ['started 0.5', 'ended 0.5-1.5'],
    'what is on may have lasted longer',
  );
  const doubted = (score: number) => (score === 0.9 ? 0 : score);
  t.same(
    told(runLookingBack(taggerOf(settings), on, 4, doubted)),
    ['started 0.5', 'ended 0.5-1'],
    'what was told stands',
  );
  const again = [
    [0.9, 0],
    [0, 0],
    [0, 0],
    [0, 0],
  ];
  t.same(
    told(runLookingBack(taggerOf(settings), again, 8)),
    ['started 0', 'ended 0-0.5'],
    'and is not told twice',
  );
  t.end();
});

t.test('one clap is in one hop, and shorter sounds start nothing', (t) => {
  const clap = [
    [0, 0],
    [0, 0.9],
    [0, 0],
    [0, 0],
    [0, 0],
  ];
  const confirm = { k: 2, n: 3 };
  t.same(told(runFrames(taggerOf({ minGapSeconds: 0 }), clap)), ['started 1.5', 'ended 1.5-2']);
  t.same(told(runFrames(taggerOf({ confirm }), clap)), [], 'confirmation keeps it out');
  t.same(told(runFrames(taggerOf({ minDurationSeconds: 1 }), clap)), [], 'so does a minimum duration');
  t.same(
    told(
      runFrames(taggerOf({ minDurationSeconds: 1, minGapSeconds: 0 }), [
        [0, 0.9],
        [0.9, 0],
      ]),
    ),
    ['started 0.5', 'ended 0.5-1.5'],
  );
  const onTheBorder = [
    [0, 0.9],
    [0.9, 0],
    [0, 0],
    [0, 0],
  ];
  t.same(
    told(runFrames(taggerOf({ confirm }), onTheBorder)),
    ['started 0.5', 'ended 0.5-1.5'],
    'a hop of sound',
  );
  const shortOnTheBorder = [
    [0, 0, 0, 0.9],
    [0.9, 0, 0, 0],
    [0, 0, 0, 0],
  ];
  t.same(told(runFrames(taggerOf({ confirm }), shortOnTheBorder)), [], 'less than a hop is one');
  const twoOfThem = [
    [0, 0.9],
    [0, 0],
    [0.9, 0],
    [0, 0],
  ];
  t.same(
    told(runFrames(taggerOf({ confirm, minGapSeconds: 0 }), twoOfThem)),
    ['started 0.5', 'ended 0.5-2.5'],
    'two claps are confirmed as one',
  );
  t.end();
});

t.test('a group has its own confirmation, duration and gap', (t) => {
  const group = {
    name: 'Talk',
    labels: ['Speech'],
    confirm: '1/1',
    min_duration_seconds: 1,
    min_gap_seconds: 0,
  };
  const tagger = taggerOf({ labels: ['Speech', group], confirm: { k: 3, n: 3 }, minGapSeconds: 5 });
  const events = runFrames(tagger, [
    [0.9, 0.9],
    [0, 0.9],
    [0, 0],
    [0.9, 0],
  ]);
  t.same(
    events.map(({ group, event_type, started_at, ended_at }) => [group, event_type, started_at, ended_at]),
    [
      ['Talk', 'started', 0, null],
      ['Talk', 'ended', 0, 1000],
    ],
  );
  t.same(told(tagger.close(0)), []);
  for (const wrong of [{ confirm: '3/2' }, { min_gap_seconds: -1 }, { min_duration_seconds: NaN }]) {
    const labels = [{ ...group, ...wrong }];
    t.throws(
      () => taggerOf({ labels }),
      { code: 'invalid_tagging', message: /"Talk"/ },
      JSON.stringify(wrong),
    );
  }
  t.end();
});

t.test('location: the window says whether, the frames say where', (t) => {
  const hop: Partial<Hop> = { role: 'location', scores: [0.6, 0, 0, 0] };
  const settings = { minGapSeconds: 0 };
  const here = [
    [0.1, 0.9],
    [0.9, 0.2],
  ];
  t.same(told(runFrames(taggerOf(settings), here, hop)), ['started 0.5', 'ended 0.5-1.5']);
  const weak = { ...hop, scores: [0.4, 0, 0, 0] };
  t.same(told(runFrames(taggerOf(settings), here, weak)), [], 'a window under the threshold has nothing');
  t.match(runFrames(taggerOf(settings), here, hop), [{ score: 0.6, peak: 0.6 }, {}], "the window's scores");
  t.end();
});

t.test('what values smear over the edges of a sound is taken off', (t) => {
  const spread: Partial<Hop> = { spreadMs: 500 };
  const settings = { minGapSeconds: 1.5 };
  const wide = [
    [0, 0.9],
    [0.9, 0.9],
    [0.9, 0],
    [0, 0],
  ];
  t.same(told(runFrames(taggerOf(settings), wide, spread)), ['started 1', 'ended 1-2']);
  const short = [
    [0, 0.9],
    [0, 0],
    [0, 0],
  ];
  t.same(told(runFrames(taggerOf(settings), short, spread)), ['started 1', 'ended 1-1'], 'never less than 0');
  t.same(
    told(runFrames(taggerOf({ ...settings, minDurationSeconds: 1.5 }), wide, spread)),
    [],
    'the duration is that of the sound',
  );
  const twice = [
    [0.9, 0.9],
    [0.9, 0],
    [0.9, 0.9],
    [0.9, 0],
  ];
  t.same(
    told(runFrames(taggerOf({ minGapSeconds: 2 }), twice, spread)),
    ['started 0.5'],
    'and so is the gap: one and a half seconds here',
  );
  t.same(told(runFrames(taggerOf({ minGapSeconds: 1.5 }), twice, spread)), [
    'started 0.5',
    'ended 0.5-1',
    'started 2.5',
    'ended 2.5-3',
  ]);
  t.end();
});

t.test('what a hop held', (t) => {
  const out = new Float32Array(2);
  const hop: Hop = {
    startMs: 1000,
    endMs: 1900,
    frameMs: 400,
    frames: 2,
    before: 0,
    windowEndMs: 2000,
    values: [0.25, 0.5, 0.75, NaN],
    scores: [0.125, 0.375],
    role: 'scores',
    spreadMs: 0,
  };
  hopScores(hop, out);
  t.same([...out], [0.75, 0.5], 'the highest frame');
  hopScores({ ...hop, role: 'location' }, out);
  t.same([...out], [0.125, 0.375], "the window's score where a frame has it");
  hopScores({ ...hop, role: 'location', values: [0.25, 0.5, 0.25, 0] }, out);
  t.same([...out], [0, 0.375], 'and nothing elsewhere');
  hopScores({ ...hop, frames: 0 }, out);
  t.same([...out], [0, 0]);
  t.same([frameStartMs(hop, 0), frameStartMs(hop, 1)], [1000, 1500], 'the first one joins the hop before');
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
