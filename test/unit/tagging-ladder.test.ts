import fc from 'fast-check';
import t from 'tap';
import type { Label } from '../../src/models/labels.js';
import type { Hop } from '../../src/tagging/hop.js';
import { createLadder, rungOf, RUNGS, thresholdOfRung } from '../../src/tagging/ladder.js';
import { createTagger } from '../../src/tagging/tagger.js';
import { resolveWatched, type LabelGroup, type TaggingSettings } from '../../src/tagging/watch.js';

const labels: readonly Label[] = [
  { index: 0, name: 'Speech', mid: '/m/09x0r', threshold: null, thresholdFrom: null },
  { index: 1, name: 'Dog', mid: '/m/0bt9lr', threshold: 0.3, thresholdFrom: 'model' },
  { index: 2, name: 'Bark', mid: '/m/05tny_', threshold: null, thresholdFrom: null },
];

/* A ladder has to count what taggers with each of its thresholds tell, whatever comes. */

const settingsArbitrary: fc.Arbitrary<TaggingSettings> = fc.record({
  labels: fc.constantFrom<TaggingSettings['labels']>(
    [],
    ['dog'],
    [{ name: 'Dogs', labels: ['dog', 'bark'] }, 'Speech'],
    [{ name: 'Dogs', labels: ['dog', 'bark'], confirm: '1/2', min_duration_seconds: 0.5 }],
  ),
  threshold: fc.constantFrom(null, 0.6),
  thresholds: fc.constant({}),
  offFraction: fc.constantFrom(0, 0.7, 0.8, 1),
  confirm: fc.constantFrom({ k: 1, n: 1 }, { k: 2, n: 2 }, { k: 2, n: 4 }, { k: 1, n: 3 }),
  minDurationSeconds: fc.constantFrom(0, 0, 1, 2.5),
  minGapSeconds: fc.constantFrom(0, 1, 2.5, 10),
});
const scoreArbitrary = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(0, 0.001, 0.29, 0.3, 0.57, 0.58, 0.9, 1) },
  { weight: 4, arbitrary: fc.double({ min: 0, max: 1, noNaN: true }) },
  { weight: 1, arbitrary: fc.constant(NaN) },
);
/** Sounds last: a few levels in a row, each for some frames. */
const valuesArbitrary = (frames: number): fc.Arbitrary<number[]> =>
  fc
    .array(
      fc.tuple(
        fc.array(scoreArbitrary, { minLength: labels.length, maxLength: labels.length }),
        fc.integer({ min: 1, max: 8 }),
      ),
      { minLength: 1, maxLength: 4 },
    )
    .map((stretches) => {
      const rows = stretches.flatMap(([row, count]) => Array<number[]>(count).fill(row));
      return Array.from({ length: frames }, (_, n) => rows[n % rows.length]!).flat();
    });
const hopArbitrary = fc
  .record({
    frameMs: fc.constantFrom(160, 320, 1000),
    frames: fc.nat({ max: 6 }),
    before: fc.constantFrom(0, 0, 1, 5, 20),
    role: fc.constantFrom('scores' as const, 'scores' as const, 'location' as const),
    spreadMs: fc.constantFrom(0, 0, 160),
    scores: fc.array(scoreArbitrary, { minLength: labels.length, maxLength: labels.length }),
    jumpMs: fc.oneof(
      { weight: 20, arbitrary: fc.constantFrom(0, 0, 0, 1, -1, 500) },
      { weight: 1, arbitrary: fc.constantFrom(-500, -5000, 100_000, 700_000, NaN) },
    ),
  })
  .chain((hop) => valuesArbitrary(hop.before + hop.frames).map((values) => ({ ...hop, values })));
type Step =
  | ({ do: 'hop'; jumpMs: number } & Omit<Hop, 'startMs' | 'endMs' | 'windowEndMs'>)
  | { do: 'close' }
  | { do: 'thresholds'; threshold: number };
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  { weight: 20, arbitrary: hopArbitrary.map((hop) => ({ do: 'hop' as const, ...hop })) },
  { weight: 1, arbitrary: fc.constant({ do: 'close' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('thresholds' as const), threshold: fc.constantFrom(0.2, 0.8) }),
  },
);

/** The settings with one threshold for everything. */
function withThreshold(settings: TaggingSettings, threshold: number): TaggingSettings {
  const plain = (entry: string | LabelGroup) => (typeof entry === 'string' ? entry : { ...entry, threshold });
  return { ...settings, labels: settings.labels.map(plain), threshold };
}

function taggerAt(settings: TaggingSettings, rung: number) {
  const tagger = createTagger({
    labels,
    settings: withThreshold(settings, thresholdOfRung(rung)),
    newId: () => 'id',
  });
  const onsets = new Map<string, number>();
  return {
    hop(hop: Hop): void {
      for (const { event_type: type, slug } of tagger.hop(hop, 0)) {
        if (type === 'started') onsets.set(slug, (onsets.get(slug) ?? 0) + 1);
      }
    },
    close: () => void tagger.close(0),
    onsetsOf: (slug: string): number => onsets.get(slug) ?? 0,
  };
}

t.test('the counts of each rung are those of a tagger with its threshold', (t) => {
  let counted = 0;
  fc.assert(
    fc.property(
      settingsArbitrary,
      fc.array(stepArbitrary, { minLength: 5, maxLength: 40 }),
      (settings, steps) => {
        const { items } = resolveWatched(labels, settings);
        const { offFraction } = settings;
        const ladder = createLadder({ items, offFraction });
        const taggers = Array.from({ length: RUNGS }, (_, rung) => taggerAt(settings, rung));
        let nowMs = 1e12;
        for (const step of steps) {
          if (step.do === 'hop') {
            const { jumpMs, ...rest } = step;
            const startMs = nowMs + jumpMs;
            const endMs = startMs + rest.frames * rest.frameMs;
            if (Number.isFinite(endMs)) nowMs = endMs;
            const hop = { ...rest, startMs, endMs, windowEndMs: endMs + 320 };
            ladder.hop(hop);
            for (const tagger of taggers) tagger.hop(hop);
          } else if (step.do === 'close') {
            ladder.close();
            for (const tagger of taggers) tagger.close();
          } else {
            // The thresholds in force are nothing to it.
            const next = resolveWatched(labels, withThreshold(settings, step.threshold));
            ladder.update(next.items, offFraction);
          }
        }
        for (const { item, onsets } of ladder.items) {
          for (let rung = 0; rung < RUNGS; rung += 1) {
            counted += onsets[rung]!;
            const wanted = taggers[rung]!.onsetsOf(item.slug);
            if (onsets[rung] === wanted) continue;
            throw new Error(`${item.name} at ${thresholdOfRung(rung)}: ${onsets[rung]} and not ${wanted}`);
          }
        }
      },
    ),
    { numRuns: 200 },
  );
  t.ok(counted > 10_000, `${counted} onsets were compared`);
  t.end();
});

const hopOf = (endMs: number, score: number): Hop => ({
  startMs: endMs - 1000,
  endMs,
  windowEndMs: endMs,
  frameMs: 1000,
  frames: 1,
  before: 0,
  role: 'scores',
  spreadMs: 0,
  values: [0, score, 0],
  scores: [0, score, 0],
});
const plain: TaggingSettings = {
  labels: ['Dog'],
  threshold: null,
  thresholds: {},
  offFraction: 0.5,
  confirm: { k: 1, n: 1 },
  minDurationSeconds: 0,
  minGapSeconds: 1,
};

t.test('it begins anew with other rules, and counts from 0 when it is told to', (t) => {
  const items = (more: Partial<TaggingSettings> = {}) => resolveWatched(labels, { ...plain, ...more }).items;
  const ladder = createLadder({ items: items(), offFraction: 0.5 });
  const at = (threshold: number) => ladder.items[0]!.onsets[rungOf(threshold)!];
  [0.6, 0, 0.3, 0].forEach((score, n) => ladder.hop(hopOf((n + 1) * 1000, score)));
  t.equal(at(0.3), 2);
  t.equal(at(0.31), 1);
  t.equal(at(0.61), 0);
  t.equal(ladder.heardMs, 4000);
  ladder.update(items({ thresholds: { dog: 0.9 } }), 0.5);
  t.equal(at(0.3), 2, 'its own threshold changes nothing');
  ladder.update(items({ minGapSeconds: 2 }), 0.5);
  t.equal(at(0.3), 0, 'but the rules do');
  ladder.hop(hopOf(5000, 0.6));
  t.equal(at(0.3), 1);
  ladder.update(items({ minGapSeconds: 2 }), 0.6);
  t.equal(at(0.3), 0, 'and so does the off-threshold');
  ladder.hop(hopOf(6000, 0.6));
  ladder.clear();
  t.equal(at(0.3), 0);
  t.equal(ladder.heardMs, 0);
  ladder.hop(hopOf(7000, 0.6));
  t.equal(at(0.3), 0, 'what is on was counted before');
  t.end();
});

t.test('rungs are thresholds in steps of a hundredth', (t) => {
  t.equal(thresholdOfRung(0), 0.01);
  t.equal(thresholdOfRung(RUNGS - 1), 0.99);
  for (let rung = 0; rung < RUNGS; rung += 1) t.equal(rungOf(thresholdOfRung(rung)), rung);
  t.equal(rungOf(0.004), null);
  t.equal(rungOf(0.037), 3);
  t.equal(rungOf(1), null);
  t.end();
});
