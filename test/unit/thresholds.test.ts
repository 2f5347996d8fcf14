import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { givenThreshold, thresholdDocuments, type Measured } from '../../tools/docs/thresholds.js';
import { readLabelSet, type Label, type Recommender } from '../../src/models/labels.js';
import { thresholdsInForce } from '../../src/tagging/thresholds.js';
import { resolveWatched, type LabelGroup, type ThresholdOrigin } from '../../src/tagging/watch.js';
import { projectPath, sharedPath, skipWithoutShared } from '../support/shared.js';
import { plainTagging } from '../support/tagging.js';

const audioset = projectPath('models', 'labels', 'audioset-527.json');

/** What the label set says was measured, by name. */
const measuredOf = () =>
  new Map(
    (
      JSON.parse(readFileSync(audioset, 'utf8')) as { labels: { name: string; measured?: Measured }[] }
    ).labels.flatMap(({ name, measured }) => (measured === undefined ? [] : [[name, measured] as const])),
  );

t.test('the first threshold that is given is in force, and it is known which that was', (t) => {
  const maybe = fc.option(fc.double({ min: 0, max: 1, noNaN: true }));
  const recommender = fc.constantFrom<Recommender>('model', 'label_set', 'label_set_default');
  fc.assert(
    fc.property(
      fc.record({
        ofGroup: maybe,
        groupOwn: maybe,
        ofLabel: maybe,
        all: maybe,
        recommended: maybe,
        recommender,
        isGrouped: fc.boolean(),
        byMid: fc.boolean(),
        fraction: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
      (given) => {
        const { ofGroup, groupOwn, ofLabel, all, recommended, recommender, isGrouped } = given;
        const dog: Label = {
          index: 0,
          name: 'Dog',
          mid: '/m/0bt9lr',
          threshold: recommended,
          thresholdFrom: recommended === null ? null : recommender,
        };
        const group: LabelGroup = {
          name: 'Pets',
          labels: ['dog'],
          ...(groupOwn !== null && { threshold: groupOwn }),
        };
        const { items } = resolveWatched([dog], {
          ...plainTagging,
          offFraction: given.fraction,
          labels: [isGrouped ? group : 'DOG'],
          threshold: all,
          thresholds: {
            // Where it is not watched, the group is no name that is known.
            ...(isGrouped && ofGroup !== null && { pets: ofGroup }),
            ...(ofLabel !== null && { [given.byMid ? '/m/0bt9lr' : 'dog']: ofLabel }),
          },
        });
        const order: [number | null, ThresholdOrigin][] = [
          [isGrouped ? ofGroup : null, 'thresholds'],
          [isGrouped ? groupOwn : null, 'group'],
          [ofLabel, 'thresholds'],
          [all, 'threshold'],
          [recommended, recommender],
          [0.5, 'default'],
        ];
        const [threshold, from] = order.find(([value]) => value !== null)!;
        const expected = [{ label: 'Dog', group: isGrouped ? 'Pets' : null, threshold, from }];
        if (JSON.stringify(thresholdsInForce(items)) !== JSON.stringify(expected)) return false;
        return items[0]!.members[0]!.offThreshold === threshold! * given.fraction;
      },
    ),
  );
  t.end();
});

t.test(
  'every label of AudioSet has a threshold, and those that were measured one of their own',
  async (t) => {
    const labels = await readLabelSet(audioset);
    const measured = measuredOf();
    t.equal(labels.length, 527);
    t.equal(measured.size, 71);
    for (const { name, threshold, thresholdFrom } of labels) {
      if (measured.has(name)) {
        t.equal(thresholdFrom, 'label_set', name);
        t.ok(threshold! >= 0.1 && threshold! <= 1, `${name}: ${threshold}`);
      } else {
        t.strictSame([threshold, thresholdFrom], [0.25, 'label_set_default'], name);
      }
    }
  },
);

t.test('they follow from what was measured ("npm run docs" writes them)', (t) => {
  const documents = Object.entries(thresholdDocuments(projectPath()));
  t.same(
    documents.map(([path]) => path),
    ['models/labels/audioset-527.json', 'docs/thresholds.md'],
  );
  for (const [path, content] of documents) t.equal(content, readFileSync(projectPath(path), 'utf8'), path);
  const rows =
    readFileSync(projectPath('docs', 'thresholds.md'), 'utf8').match(/^\| .* % \| .* % \|.*$/gm) ?? [];
  t.equal(rows.length, 71, 'the table has a row for each');
  t.end();
});

t.test('what was measured is what the label set says', { skip: skipWithoutShared() }, (t) => {
  const source = JSON.parse(readFileSync(sharedPath('models', 'thresholds-mn04_as.json'), 'utf8')) as {
    labels: ({ label: string } & Measured)[];
  };
  const expected = new Map(source.labels.map(({ label, ...measured }) => [label, measured]));
  t.strictSame(Object.fromEntries(measuredOf()), Object.fromEntries(expected));
  t.end();
});

t.test('the less a measured threshold rests on, the nearer the default', (t) => {
  const measured = (threshold: number, real: number, recall: number): Measured => ({
    threshold,
    positives: real + 1,
    real,
    recall,
    recall_at_half: 0,
    precision_at_half: null,
  });
  // Ten recordings found: the mean of the log odds of 0.1 and 0.25, -2.197 and -1.099.
  t.equal(givenThreshold(measured(0.1, 10, 1), 0.25), 0.16);
  t.equal(givenThreshold(measured(0.1, 100, 0.1), 0.25), 0.16);
  t.equal(givenThreshold(measured(0.9, 0, 1), 0.25), 0.25, 'nothing real was found');
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  const threshold = fc.double({ min: 0.05, max: 0.99, noNaN: true });
  const count = fc.integer({ min: 0, max: 1000 });
  fc.assert(
    fc.property(threshold, count, count, share, (threshold, few, more, recall) => {
      const byDefault = 0.25;
      const bound = Math.max(0.1, threshold);
      const given = givenThreshold(measured(threshold, few, recall), byDefault);
      const surer = givenThreshold(measured(threshold, few + more, recall), byDefault);
      const half = 0.005 + 1e-9;
      return (
        given >= Math.min(bound, byDefault) - half &&
        given <= Math.max(bound, byDefault) + half &&
        given >= 0.1 &&
        Math.abs(surer - bound) <= Math.abs(given - bound) + 2 * half
      );
    }),
  );
  t.end();
});
