/** The metrics against published examples, against scikit-learn, and against their definitions written down slowly. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import {
  averageOf,
  countMatches,
  fMeasure,
  type Collar,
  type Span,
} from '../../src/evaluate/metrics/event-f1.js';
import { normalQuantile } from '../../src/evaluate/metrics/normal-quantile.js';
import {
  createPsdsCounter,
  PSDS1,
  PSDS2,
  type LabelledSpan,
  type PsdsCounter,
  type PsdsSettings,
} from '../../src/evaluate/metrics/psds.js';
import { decisionAt, dPrime, rank, thinCurve, thresholdFor } from '../../src/evaluate/metrics/ranking.js';
import { seededRandom } from '../support/random.js';
import { projectPath } from '../support/shared.js';

const TOLERANCE = 1e-6;

type NamedSpan = [file: string, onset: number, offset: number, label: string];
type FileSpan = [onset: number, offset: number, label: string];

const golden = (name: string): unknown =>
  JSON.parse(readFileSync(projectPath('test', 'golden', 'evaluate', name), 'utf8'));

const near = (t: { ok(is: boolean, what: string): unknown }, found: number, wanted: number, what: string) =>
  t.ok(Math.abs(found - wanted) <= TOLERANCE, `${what}: ${found}, and ${wanted} was published`);

/** Gives a counter the events and the detections of each operating point. */
function counted(
  labels: readonly string[],
  durations: Readonly<Record<string, number>>,
  events: readonly NamedSpan[],
  points: readonly (readonly NamedSpan[])[],
  settings: PsdsSettings,
): PsdsCounter {
  const counter = createPsdsCounter(labels.length, points.length, settings);
  const of = (spans: readonly NamedSpan[], file: string): LabelledSpan[] =>
    spans
      .filter(([name]) => name === file)
      .map(([, onset, offset, label]) => ({ onset, offset, label: labels.indexOf(label) }));
  for (const [file, seconds] of Object.entries(durations)) {
    const own = of(events, file);
    counter.addRecording(own, seconds);
    points.forEach((detected, point) => counter.addDetections(point, of(detected, file), own, seconds));
  }
  return counter;
}

interface PublishedPsds {
  durations: Record<string, number>;
  alphaCt: number;
  alphaSt: number;
  maxFalseAlarmsPerHour: number;
  examples: (Pick<PsdsSettings, 'dtc' | 'gtc' | 'cttc'> & {
    name: string;
    labels: string[];
    events: NamedSpan[];
    detected: NamedSpan[];
    counts: number[][];
    psds: number;
  })[];
}

t.test('PSDS: the published examples of psds_eval', (t) => {
  const { durations, examples, ...weights } = golden('psds.json') as PublishedPsds;
  for (const { name, labels, events, detected, counts, psds, ...criteria } of examples) {
    const counter = counted(labels, durations, events, [detected], { ...weights, ...criteria });
    const [point] = counter.points;
    const found = labels.map((_, row) => [
      ...labels.map((_, column) =>
        row === column
          ? point!.truePositives[row]!
          : (point!.crossTriggers.get(row * labels.length + column) ?? 0),
      ),
      point!.falsePositives[row]!,
    ]);
    t.same(found, counts, name);
    near(t, counter.score().value, psds, name);
  }
  t.equal(examples.length, 5);
  t.end();
});

interface RandomCases {
  psds: {
    settings: PsdsSettings;
    labels: string[];
    durations: Record<string, number>;
    events: NamedSpan[];
    points: NamedSpan[][];
    psds: number;
  }[];
  f1: {
    labels: string[];
    files: { events: FileSpan[]; detected: FileSpan[] }[];
    f1: number;
    precision: number;
    recall: number;
    meanF1: number;
  }[];
}

t.test('PSDS: what psds_eval says of random events', (t) => {
  const cases = (golden('random.json') as RandomCases).psds;
  for (const [index, { labels, durations, events, points, settings, psds }] of cases.entries()) {
    near(t, counted(labels, durations, events, points, settings).score().value, psds, `case ${index}`);
  }
  t.ok(cases.length >= 8);
  t.end();
});

/** The counts of each label over all files. */
function countsOf(
  files: readonly { events: FileSpan[]; detected: FileSpan[] }[],
  labels: readonly string[],
  collar?: Collar,
) {
  const of = (spans: FileSpan[], label: string): Span[] =>
    spans.filter((span) => span[2] === label).map(([onset, offset]) => ({ onset, offset }));
  return labels.map((label) => {
    const counts = { reference: 0, detected: 0, correct: 0 };
    for (const { events, detected } of files) {
      const [own, found] = [of(events, label), of(detected, label)];
      counts.reference += own.length;
      counts.detected += found.length;
      counts.correct += countMatches(own, found, collar);
    }
    return counts;
  });
}

interface PublishedF1 {
  examples: {
    name: string;
    collar: Collar;
    files: { events: FileSpan[]; detected: FileSpan[] }[];
    f1?: number;
    meanF1?: number;
    /** Examples with the same word here have the same result. */
    sameAs?: string;
  }[];
}

t.test('event-based F1: the published examples of sed_eval', (t) => {
  const same = new Map<string, number>();
  for (const { name, collar, files, f1, meanF1, sameAs } of (golden('event-f1.json') as PublishedF1)
    .examples) {
    const labels = [...new Set(files.flatMap(({ events }) => events.map(([, , label]) => label)))];
    const found = averageOf(countsOf(files, labels, collar));
    if (f1 !== undefined) near(t, found.f1, f1, name);
    if (meanF1 !== undefined) near(t, found.meanF1, meanF1, name);
    if (sameAs === undefined) continue;
    near(t, found.f1, same.get(sameAs) ?? found.f1, name);
    same.set(sameAs, found.f1);
  }
  t.equal(same.get('order'), 1, 'the best matching pairs both, in whatever order');
  t.end();
});

t.test('event-based F1: what sed_eval says of random events', (t) => {
  const cases = (golden('random.json') as RandomCases).f1;
  for (const [index, { labels, files, ...wanted }] of cases.entries()) {
    const found = averageOf(countsOf(files, labels));
    near(t, found.f1, wanted.f1, `case ${index}, F1`);
    near(t, found.precision ?? 0, wanted.precision, `case ${index}, precision`);
    near(t, found.recall, wanted.recall, `case ${index}, recall`);
    near(t, found.meanF1, wanted.meanF1, `case ${index}, mean F1`);
  }
  t.ok(cases.length >= 5);
  t.end();
});

/** Debian's first: it is the one that has Debian's packages. */
const PYTHON = ['/usr/bin/python3', 'python3'].find(
  (each) =>
    (each.startsWith('/') ? existsSync(each) : true) &&
    spawnSync(each, ['-c', 'import sklearn']).status === 0,
);
function skipWithoutScikitLearn(): string | false {
  if (PYTHON !== undefined) return false;
  const reason = 'not installed: python3-sklearn';
  if (process.env['SOUNDPOST_TEST_STRICT'] === '1') throw new Error(reason);
  return reason;
}

const SCIKIT_LEARN = `
import json, sys
from sklearn.metrics import average_precision_score, roc_auc_score
for line in sys.stdin:
    case = json.loads(line)
    truth, scores = case["truth"], case["scores"]
    print(json.dumps([average_precision_score(truth, scores), roc_auc_score(truth, scores)]))
`;

t.test('average precision and AUC are those of scikit-learn', { skip: skipWithoutScikitLearn() }, (t) => {
  const random = seededRandom(t);
  const cases = Array.from({ length: 300 }, () => {
    const count = 2 + Math.floor(random() * 200);
    // Few different scores make many ties.
    const grid = [3, 10, 1000, 1e7][Math.floor(random() * 4)]!;
    const share = [0.02, 0.1, 0.5, 0.9][Math.floor(random() * 4)]!;
    const scores = Float32Array.from({ length: count }, () => Math.floor(random() * grid) / grid);
    const truth = Uint8Array.from({ length: count }, () => Number(random() < share));
    truth[0] = 1;
    truth[1] = 0;
    return { scores, truth };
  });
  const input = cases.map(({ scores, truth }) => JSON.stringify({ scores: [...scores], truth: [...truth] }));
  const { stdout, stderr, status } = spawnSync(PYTHON!, ['-c', SCIKIT_LEARN], {
    input: input.join('\n'),
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  t.equal(status, 0, stderr);
  const wanted = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as [number, number]);
  t.equal(wanted.length, cases.length);
  let worst = 0;
  const means = [0, 0, 0, 0];
  for (const [index, { scores, truth }] of cases.entries()) {
    const { averagePrecision, auc } = rank(scores, truth)!;
    const [ap, area] = wanted[index]!;
    worst = Math.max(worst, Math.abs(averagePrecision - ap), Math.abs(auc - area));
    [averagePrecision, ap, auc, area].forEach((value, at) => (means[at]! += value / cases.length));
  }
  t.ok(worst <= TOLERANCE, `the largest difference is ${worst}`);
  near(t, means[0]!, means[1]!, 'mAP');
  near(t, means[2]!, means[3]!, 'mean AUC');
  t.end();
});

/** Scores with many ties, and at least one piece of each kind. */
const pieces = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 12 }), fc.boolean()), { minLength: 2, maxLength: 40 })
  .filter((all) => all.some(([, is]) => is) && all.some(([, is]) => !is));
const asRanking = (all: readonly (readonly [number, boolean])[]) =>
  rank(
    Float32Array.from(all, ([score]) => score / 12),
    Uint8Array.from(all, ([, is]) => Number(is)),
  )!;

t.test('AUC is the part of pairs that are in order', (t) => {
  fc.assert(
    fc.property(pieces, (all) => {
      let ahead = 0;
      let pairs = 0;
      for (const [a, isA] of all) {
        for (const [b, isB] of all) {
          if (!isA || isB) continue;
          pairs += 1;
          ahead += a > b ? 1 : a === b ? 0.5 : 0;
        }
      }
      return Math.abs(asRanking(all).auc - ahead / pairs) < 1e-12;
    }),
  );
  t.end();
});

t.test('only the order of the scores counts, and not that of the pieces', (t) => {
  fc.assert(
    fc.property(pieces, fc.infiniteStream(fc.nat()), (all, order) => {
      const [first, squeezed] = [asRanking(all), all.map(([score, is]) => [score ** 2 / 12, is] as const)];
      const shuffled = squeezed
        .map((each) => ({ each, key: order.next().value as number }))
        .sort((a, b) => a.key - b.key)
        .map(({ each }) => each);
      const second = asRanking(shuffled);
      return (
        Math.abs(first.averagePrecision - second.averagePrecision) < 1e-12 &&
        Math.abs(first.auc - second.auc) < 1e-12
      );
    }),
  );
  t.end();
});

t.test('a label that is everywhere, or nowhere, has no ranking', (t) => {
  t.equal(rank(Float32Array.of(0.2, 0.4), Uint8Array.of(1, 1)), null);
  t.equal(rank(Float32Array.of(0.2, 0.4), Uint8Array.of(0, 0)), null);
  t.equal(rank(new Float32Array(0), new Uint8Array(0)), null);
  t.match(rank(Float32Array.of(0.2, 0.4), Uint8Array.of(0, 1)), { averagePrecision: 1, auc: 1 });
  t.match(rank(Float32Array.of(0.4, 0.2), Uint8Array.of(0, 1)), { averagePrecision: 0.5, auc: 0 });
  t.end();
});

t.test('a threshold for a precision has it, and the greatest recall that can be had with it', (t) => {
  fc.assert(
    fc.property(pieces, fc.double({ min: 0.05, max: 1, noNaN: true }), (all, precision) => {
      const ranking = asRanking(all);
      const found = thresholdFor(ranking, precision);
      // Each threshold that makes a difference, decided by hand.
      const recalls = [...new Set(all.map(([score]) => Math.fround(score / 12)))].flatMap((threshold) => {
        const said = all.filter(([score]) => Math.fround(score / 12) >= threshold);
        const right = said.filter(([, is]) => is).length;
        return right > 0 && right / said.length >= precision ? [right] : [];
      });
      if (recalls.length === 0) return found === null;
      const said = all.filter(([score]) => Math.fround(score / 12) >= found!.threshold);
      const right = said.filter(([, is]) => is).length;
      return (
        right === Math.max(...recalls) && right / said.length >= precision && found!.precision! >= precision
      );
    }),
  );
  t.end();
});

t.test('a decision is what its threshold lets in', (t) => {
  const ranking = rank(Float32Array.of(0.9, 0.7, 0.5, 0.1), Uint8Array.of(1, 0, 1, 0))!;
  t.match(decisionAt(ranking, 0.5), { precision: 2 / 3, recall: 1, f1: 0.8 });
  t.match(decisionAt(ranking, 0.8), { precision: 1, recall: 0.5 });
  t.same(decisionAt(ranking, 0.95), { threshold: 0.95, precision: null, recall: 0, f1: 0 });
  t.equal(thresholdFor(ranking, 1)?.threshold, 0.8, 'in the middle');
  t.equal(thresholdFor(rank(Float32Array.of(0.9, 0.7), Uint8Array.of(0, 1))!, 0.9), null);
  t.end();
});

t.test('a thinned curve keeps its ends and its best points', (t) => {
  const curve = Array.from({ length: 1000 }, (_, at) => ({
    threshold: 1 - at / 1000,
    precision: at === 500 ? 1 : 0.5,
    recall: (at + 1) / 1000,
  }));
  const thin = thinCurve(curve, 50);
  t.ok(thin.length <= 50);
  t.equal(thin[0], curve[0]);
  t.equal(thin.at(-1), curve.at(-1));
  t.ok(thin.includes(curve[500]!));
  t.same(
    thin.map(({ recall }) => recall),
    thin.map(({ recall }) => recall).sort((a, b) => a - b),
  );
  t.equal(thinCurve(curve.slice(0, 10), 50).length, 10);
  t.end();
});

t.test('quantiles of the normal distribution are those of tables', (t) => {
  for (const [probability, value] of [
    [0.5, 0],
    [0.975, 1.959963984540054],
    [0.25, -0.6744897501960817],
    [0.001, -3.0902323061678132],
    [1e-20, -9.26234008979841],
  ] as const) {
    t.ok(
      Math.abs(normalQuantile(probability) - value) < 1e-12,
      `${probability}: ${normalQuantile(probability)}`,
    );
  }
  t.equal(dPrime(1), Infinity);
  t.equal(dPrime(0), -Infinity);
  // Two normal distributions one standard deviation apart: the AUC is Φ(1 / √2).
  t.ok(Math.abs(dPrime(0.7602499389065233) - 1) < 1e-12);
  t.end();
});

const span = fc
  .tuple(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 1, max: 12 }))
  .map(([onset, length]): Span => ({ onset: onset / 10, offset: (onset + length) / 10 }));

/** The largest number of pairs, by trying all. */
function mostPairs(events: readonly Span[], detected: readonly Span[]): number {
  const [event, ...others] = events;
  if (event === undefined) return 0;
  const most = Math.max(0.2, 0.2 * (event.offset - event.onset));
  return detected.reduce(
    (best, one, at) =>
      Math.abs(event.onset - one.onset) <= 0.2 && Math.abs(event.offset - one.offset) <= most
        ? Math.max(best, 1 + mostPairs(others, detected.toSpliced(at, 1)))
        : best,
    mostPairs(others, detected),
  );
}

t.test('events and detections are paired as often as they can be', (t) => {
  fc.assert(
    fc.property(fc.array(span, { maxLength: 6 }), fc.array(span, { maxLength: 6 }), (events, detected) => {
      return countMatches(events, detected) === mostPairs(events, detected);
    }),
  );
  t.end();
});

t.test('a long row of events needs no deep stack', (t) => {
  const row = (shift: number) =>
    Array.from({ length: 20_000 }, (_, at) => ({ onset: at / 10 + shift, offset: at / 10 + 0.05 + shift }));
  t.equal(countMatches(row(0), row(0.1)), 20_000);
  t.same(fMeasure({ reference: 4, detected: 0, correct: 0 }), { precision: null, recall: 0, f1: 0 });
  t.end();
});

t.test('PSDS is 1 for the truth, 0 for nothing, and between them for everything else', (t) => {
  const labelled = fc
    .uniqueArray(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 6 })
    .chain((slots) =>
      fc.tuple(
        fc.constant(slots),
        fc.array(fc.integer({ min: 0, max: 2 }), { minLength: slots.length, maxLength: slots.length }),
      ),
    )
    .map(([slots, labels]): NamedSpan[] =>
      slots.map((slot, at) => ['f', 3 * slot, 3 * slot + 2, 'abc'[labels[at]!]!]),
    );
  fc.assert(
    fc.property(labelled, labelled, fc.constantFrom(PSDS1, PSDS2), (events, detected, settings) => {
      const score = (points: NamedSpan[][]) =>
        counted(['a', 'b', 'c'], { f: 30 }, events, points, settings).score().value;
      const some = score([detected, []]);
      return (
        Math.abs(score([events]) - 1) < 1e-12 &&
        score([[]]) === 0 &&
        some >= 0 &&
        some <= 1 &&
        score([detected, events]) >= some - 1e-12
      );
    }),
  );
  t.end();
});
