/** What is learnt from examples: the head, its threshold, and what is said of it. */
import fc from 'fast-check';
import t from 'tap';
import { codeOf } from '../../src/common/errors.js';
import { augment } from '../../src/learning/augment.js';
import { heardOf } from '../../src/learning/background.js';
import { calibrate } from '../../src/learning/calibrate.js';
import { createDraw, normal, type Draw } from '../../src/learning/draw.js';
import { doubtsOf } from '../../src/learning/doubts.js';
import { checkAlike, checkExampleCount } from '../../src/learning/examples.js';
import { clusterPeaks, thresholdFor, type HeardMoment } from '../../src/learning/false-alarms.js';
import { highestOf, logitOf, scoreOf, trainHead } from '../../src/learning/head.js';
import { leaveOutHeardBefore } from '../../src/learning/heard-before.js';
import { leaveOneOut } from '../../src/learning/leave-one-out.js';
import { fitLogistic, logistic } from '../../src/learning/logistic.js';
import { withMargin } from '../../src/learning/margin.js';
import { minimise } from '../../src/learning/minimise.js';
import { folded, normalised, normaliserOf } from '../../src/learning/normaliser.js';
import { logitsOf, quantise, restore } from '../../src/learning/quantised.js';
import { rowAt, rowsOf, type Rows } from '../../src/learning/rows.js';
import { soundingPart } from '../../src/learning/sounding.js';
import { chanceOver, fitTail, SHAPES, valueAt } from '../../src/learning/tail.js';
import { teach } from '../../src/learning/teach.js';

const DIM = 24;
const RATE = 16_000;

/** Frames around a centre; numbers are not negative, as those of a network behind a ReLU. */
function cloud(draw: Draw, centre: readonly number[], count: number, spread = 0.3): Rows {
  return rowsOf(
    Array.from({ length: count }, () =>
      Float32Array.from({ length: DIM }, (_, d) => Math.max(0, (centre[d] ?? 0) + spread * normal(draw))),
    ),
  );
}

const DOORBELL = [3, 0, 2, 0, 0, 1];
const KETTLE = [0, 2, 0, 3, 0, 0, 2];
const ROOM = [1, 1, 1, 1, 1, 1, 1, 1];

/** Hours of a room, with sounds of other kinds now and then. */
function background(
  draw: Draw,
  moments: number,
  rings: { every: number; centre: readonly number[] } | null = null,
) {
  return heardOf(
    Array.from({ length: moments }, (_, n) => {
      const other = Array.from({ length: DIM }, () => (draw() < 0.3 ? 2 * draw() : 0));
      const isRing = rings !== null && n % rings.every === 0;
      const centre = isRing ? rings.centre : draw() < 0.1 ? other : ROOM;
      return { atMs: n * 5000, seconds: 1, source: 'main', rows: quantise(cloud(draw, centre, 3)) };
    }),
  );
}

function examplesOf(draw: Draw, centres: readonly (readonly number[])[]) {
  return centres.map((centre, n) => ({
    name: `Example ${n + 1}`,
    taught: cloud(draw, centre, 20),
    plain: cloud(draw, centre, 5),
  }));
}

t.test('a minimum of a quadratic function is where it is', (t) => {
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(fc.double({ min: 0.1, max: 50, noNaN: true }), fc.double({ min: -5, max: 5, noNaN: true })),
        {
          minLength: 1,
          maxLength: 12,
        },
      ),
      (terms) => {
        const found = minimise(
          (x, gradient) => {
            let value = 0;
            terms.forEach(([curve, at], d) => {
              value += 0.5 * curve * (x[d]! - at) ** 2;
              gradient[d] = curve * (x[d]! - at);
            });
            return value;
          },
          new Float64Array(terms.length),
          { tolerance: 1e-8, steps: 500 },
        );
        return terms.every(([, at], d) => Math.abs(found[d]! - at) < 1e-4);
      },
    ),
  );
  t.end();
});

t.test(
  'logistic regression ends where its gradient is zero, and moves the bias of a lopsided pair by nothing',
  (t) => {
    // One number, positives at 1 and negatives at −1: the bias is 0 however many there are of each.
    const positives = rowsOf([Float32Array.of(1)]);
    const negatives = rowsOf(Array.from({ length: 50 }, () => Float32Array.of(-1)));
    const { weights, bias } = fitLogistic(positives, negatives, { penalty: 0.1 });
    t.ok(Math.abs(bias) < 1e-4, `bias ${bias}`);
    // ½·penalty·w² + ln(1 + e^−w): penalty · w = 1 / (1 + e^w).
    const w = weights[0]!;
    t.ok(Math.abs(0.1 * w - logistic(-w)) < 1e-4, `weight ${w}`);
    t.ok(w > 1 && w < 3);
    t.end();
  },
);

t.test('what a normaliser does is folded into the plane', (t) => {
  const draw = createDraw(3);
  const rows = cloud(draw, ROOM, 40);
  const normaliser = normaliserOf(rows);
  const plane = { weights: Float64Array.from({ length: DIM }, () => normal(draw)), bias: 0.7 };
  const raw = folded(plane, normaliser);
  const scaled = normalised(rows, normaliser);
  for (let n = 0; n < rows.count; n += 1) {
    const difference = logitOf(raw, rowAt(rows, n)) - logitOf(plane, rowAt(scaled, n));
    t.ok(Math.abs(difference) < 1e-5, `row ${n}: ${difference}`);
  }
  t.end();
});

t.test('a head tells the sound from the others, the same one each time', (t) => {
  const draw = createDraw(11);
  const input = {
    examples: Array.from({ length: 3 }, () => cloud(draw, DOORBELL, 15)),
    negatives: cloud(draw, ROOM, 300),
  };
  const head = trainHead(input);
  t.same(trainHead(input), head);
  const own = cloud(draw, DOORBELL, 50);
  const other = cloud(draw, KETTLE, 50);
  for (let n = 0; n < 50; n += 1) {
    t.ok(scoreOf(head, rowAt(own, n)) > 0.9);
    t.ok(scoreOf(head, rowAt(other, n)) < scoreOf(head, rowAt(own, n)));
  }
  t.ok(scoreOf(head, new Float32Array(DIM)) >= 0);
  t.end();
});

t.test('one telling frame is enough: frames of silence within an example do not spoil it', (t) => {
  const draw = createDraw(12);
  const mixed = () => rowsOf([...rowsIn(cloud(draw, DOORBELL, 8)), ...rowsIn(cloud(draw, ROOM, 12))]);
  const head = trainHead({ examples: [mixed(), mixed(), mixed()], negatives: cloud(draw, ROOM, 300) });
  t.ok(highestOf(head, cloud(draw, DOORBELL, 5)) > 1);
  t.ok(highestOf(head, cloud(draw, ROOM, 100)) < 0);
  t.end();
});

function rowsIn(rows: Rows): Float32Array[] {
  return Array.from({ length: rows.count }, (_, n) => rowAt(rows, n));
}

t.test('leave-one-out leaves the example out that it scores', (t) => {
  const draw = createDraw(5);
  const examples = examplesOf(draw, [DOORBELL, DOORBELL, KETTLE]);
  const trainedOn: Rows[][] = [];
  const negatives = cloud(draw, ROOM, 200);
  const logits = leaveOneOut(examples, (others) => {
    trainedOn.push([...others]);
    return trainHead({ examples: others, negatives });
  });
  t.equal(logits.length, 3);
  trainedOn.forEach((others, n) => {
    t.equal(others.length, 2);
    t.notOk(others.includes(examples[n]!.taught));
  });
  t.ok(logits[2]! < logits[0]!, 'the one that is another sound is the worst');
  t.end();
});

t.test('a tail gives back the distribution that it was drawn from', (t) => {
  const draw = createDraw(21);
  for (const shape of [-0.4, -0.25, -0.15]) {
    const truth = { level: 2, scale: 1.5, shape, count: 0 };
    const excesses = Array.from({ length: 4000 }, () => valueAt(truth, 1 - draw()) - 2);
    const fitted = fitTail(2, excesses);
    t.ok(Math.abs(fitted.shape - shape) < 0.06, `${shape}: ${fitted.shape}`);
    t.ok(Math.abs(fitted.scale - 1.5) < 0.12, `${fitted.scale}`);
  }
  t.end();
});

t.test('chance and value are each other’s inverse, and a chance never rises with the value', (t) => {
  const tail = fc.record({
    level: fc.double({ min: -10, max: 10, noNaN: true }),
    scale: fc.double({ min: 0.01, max: 10, noNaN: true }),
    shape: fc.double({ min: SHAPES.min, max: 0.3, noNaN: true }),
    count: fc.constant(1),
  });
  fc.assert(
    fc.property(tail, fc.double({ min: 1e-6, max: 1, noNaN: true }), (of, chance) => {
      const value = valueAt(of, chance);
      return Math.abs(chanceOver(of, value) - chance) < 1e-6 && chanceOver(of, value + 1) <= chance + 1e-9;
    }),
  );
  t.end();
});

/** Moments of a second, one after the other, whose scores have an exponential tail. */
function noise(draw: Draw, count: number): HeardMoment[] {
  return Array.from({ length: count }, (_, n) => ({
    atMs: n * 10_000,
    seconds: 10,
    // An end at 10: 10 − 10·u^0.2 has the shape −0.2.
    score: 10 - 10 * (1 - draw()) ** 0.2,
  }));
}

t.test('a threshold lets through about as many as wished, far beyond what was heard', (t) => {
  const draw = createDraw(77);
  const wished = { wishedPerDay: 1, minGapSeconds: 2 };
  const counts: number[] = [];
  for (let home = 0; home < 60; home += 1) {
    const found = thresholdFor(noise(draw, 720), wished);
    t.ok(found !== null && Math.abs(found.heardHours - 2) < 1e-9);
    t.ok(found!.perDay.low <= 1.5 && found!.perDay.high >= 0.5);
    // Ten days of the same, of which the number is known: 8640 moments a day.
    const chance = ((10 - Math.min(10, found!.threshold)) / 10) ** 5;
    counts.push(chance * 8640);
  }
  const mean = counts.reduce((sum, one) => sum + one, 0) / counts.length;
  t.ok(mean > 0.2 && mean < 3, `${mean} false alarms a day where 1 was wished`);
  t.end();
});

t.test('a higher wish is a lower threshold', (t) => {
  const moments = noise(createDraw(78), 2000);
  const thresholds = [0.5, 1, 4, 20].map(
    (wishedPerDay) => thresholdFor(moments, { wishedPerDay, minGapSeconds: 2 })!.threshold,
  );
  t.same(
    [...thresholds].sort((one, other) => other - one),
    thresholds,
  );
  t.end();
});

t.test('where too little was heard nothing is promised', (t) => {
  const settings = { wishedPerDay: 1, minGapSeconds: 2 };
  t.equal(thresholdFor([], settings), null);
  t.equal(thresholdFor(noise(createDraw(1), 20), settings), null);
  // All of it one long sound.
  const long = Array.from({ length: 500 }, (_, n) => ({ atMs: n * 1000, seconds: 1, score: n / 500 }));
  t.equal(thresholdFor(long, settings), null);
  t.end();
});

t.test('moments closer than the gap are one sound, those of two sources are two', (t) => {
  const at = (atMs: number, score: number, source = 'a'): HeardMoment => ({
    atMs,
    seconds: 1,
    score,
    source,
  });
  const moments = [at(0, 1), at(2000, 3), at(9000, 2), at(9000, 5, 'b'), at(4000, -1)];
  t.same(clusterPeaks(moments, 0, 2), [3, 2, 5]);
  t.same(clusterPeaks(moments, 0, 10), [3, 5]);
  t.same(clusterPeaks(moments, 6, 2), []);
  t.end();
});

t.test('calibrated scores lie on the right sides of a half', (t) => {
  const { slope, shift } = calibrate([4, 5, 6], [-3, -2, -1, -4]);
  t.ok(slope > 0);
  t.ok(logistic(slope * 5 + shift) > 0.5);
  t.ok(logistic(slope * -2 + shift) < 0.5);
  t.end();
});

t.test('quantised rows are as they were, but for half a step', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: 1, maxLength: 40 }),
      (numbers) => {
        const row = Float32Array.from(numbers);
        const quantised = quantise(rowsOf([row]));
        const back = restore(quantised, [0]).values;
        const step = quantised.scales[0]!;
        return row.every((value, d) => Math.abs(back[d]! - value) <= step * 0.5001 + 1e-6);
      },
    ),
  );
  t.end();
});

t.test('what is no number is nothing', (t) => {
  const quantised = quantise(rowsOf([Float32Array.of(NaN, Infinity, 1, -0.5)]));
  const back = restore(quantised, [0]).values;
  t.same([...back.subarray(0, 3)].map(Math.round), [0, 0, 1]);
  t.end();
});

t.test('quantised rows are scored as restored ones are', (t) => {
  const draw = createDraw(9);
  const quantised = quantise(cloud(draw, ROOM, 30));
  const plane = { weights: Float64Array.from({ length: DIM }, () => normal(draw)), bias: -0.3 };
  const logits = logitsOf(quantised, plane);
  const back = restore(quantised, [...Array(30).keys()]);
  for (let n = 0; n < 30; n += 1) t.ok(Math.abs(logits[n]! - logitOf(plane, rowAt(back, n))) < 1e-4);
  t.end();
});

/** Noise at −60 dBFS with a tone from one second to two. */
function recording(toneAmplitude: number, fromSeconds = 1, toSeconds = 2): Float32Array {
  const draw = createDraw(4);
  return Float32Array.from({ length: 3 * RATE }, (_, i) => {
    const at = i / RATE;
    const tone = at >= fromSeconds && at < toSeconds ? toneAmplitude * Math.sin(2 * Math.PI * 700 * at) : 0;
    return tone + 0.0017 * (2 * draw() - 1);
  });
}

const named = { backgroundDbfs: -60, name: 'Example 2' };

t.test('the sounding part of a recording is found', (t) => {
  for (const backgroundDbfs of [-60, null]) {
    const part = soundingPart(recording(0.3), RATE, { ...named, backgroundDbfs });
    t.ok(Math.abs(part.fromSeconds - 1) <= 0.04, `from ${part.fromSeconds}`);
    t.ok(Math.abs(part.toSeconds - 2) <= 0.04, `to ${part.toSeconds}`);
  }
  t.end();
});

t.test('silence, noise alone and a click are no examples, and the message says which and why', (t) => {
  const refused = (samples: Float32Array, backgroundDbfs: number | null = -60) => {
    try {
      soundingPart(samples, RATE, { ...named, backgroundDbfs });
    } catch (error) {
      return { code: codeOf(error), message: (error as Error).message };
    }
    return null;
  };
  t.match(refused(new Float32Array(RATE)), {
    code: 'learn_silent',
    message: /^Example 2 has no sound in it/,
  });
  t.match(refused(new Float32Array(RATE), null), { code: 'learn_silent' });
  t.match(refused(recording(0)), { code: 'learn_silent', message: /stand out by 6 dB/ });
  t.match(refused(recording(0.3, 1, 1.05)), { code: 'learn_too_short', message: /stands out/ });
  t.match(refused(new Float32Array(100)), { code: 'learn_too_short', message: /lasts 0\.01 s/ });
  t.match(refused(new Float32Array(RATE).fill(NaN)), { code: 'learn_silent' });
  t.equal(refused(recording(0.3)), null);
  t.end();
});

t.test('copies of an example differ in level and cut, hold the sound where they say, and never clip', (t) => {
  const samples = recording(0.9);
  const before = samples.slice();
  const part = soundingPart(samples, RATE, named);
  const copies = augment(samples, RATE, { part, backgroundDbfs: -60, seed: 7 });
  // Compared by themselves: a difference between long arrays would be spelt out.
  const alike = (one: Float32Array, other: Float32Array) => one.every((value, n) => value === other[n]);
  t.ok(alike(samples, before), 'the example itself is not changed');
  t.equal(copies.length, 5);
  const again = (seed: number) =>
    augment(samples, RATE, { part, backgroundDbfs: -60, seed }).map((copy, n) =>
      alike(copy.samples, copies[n]!.samples),
    );
  t.same(again(7), [true, true, true, true, true]);
  t.same(again(8), [false, false, false, false, false]);
  const levels = copies.map(({ samples: copy, fromSeconds, toSeconds }) => {
    t.ok(copy.every((sample) => Math.abs(sample) <= 1));
    const found = soundingPart(copy, RATE, { backgroundDbfs: -50, name: 'A copy' });
    t.ok(Math.abs(found.fromSeconds - fromSeconds) < 0.06, `${found.fromSeconds} and ${fromSeconds}`);
    t.ok(Math.abs(found.toSeconds - toSeconds) < 0.06);
    return found.peakDbfs;
  });
  t.ok(Math.max(...levels) - Math.min(...levels) > 2);
  t.end();
});

t.test('two sounds are not taught as one, and the odd ones are named', (t) => {
  const draw = createDraw(31);
  const normaliser = normaliserOf(cloud(draw, ROOM, 300));
  const refused = (centres: readonly (readonly number[])[]) => {
    const examples = examplesOf(draw, centres);
    try {
      checkAlike(
        examples.map(({ plain }) => plain),
        normaliser,
        examples.map(({ name }) => name),
      );
    } catch (error) {
      return `${codeOf(error)}: ${(error as Error).message}`;
    }
    return null;
  };
  t.equal(refused([DOORBELL, DOORBELL, DOORBELL]), null);
  t.match(
    refused([DOORBELL, KETTLE, DOORBELL]),
    /^learn_differ: Example 2 does not sound like Example 1, Example 3\./,
  );
  t.match(refused([DOORBELL, KETTLE, DOORBELL, KETTLE, DOORBELL]), /Example 2, Example 4 do not sound like/);
  t.end();
});

t.test('two examples are too few', (t) => {
  t.throws(() => checkExampleCount('Bell', 2), {
    code: 'learn_too_few',
    message: /has 2 examples.*Give 1 more/,
  });
  t.throws(() => checkExampleCount('Bell', 1), { message: /has 1 example;/ });
  t.throws(() => checkExampleCount('Bell', 51), { code: 'invalid_request' });
  checkExampleCount('Bell', 3);
  t.end();
});

const settings = { falseAlarmsPerDay: 1, minGapSeconds: 2 };

t.test(
  'the threshold lies midway to the lowest example, and never below what the background asks for',
  (t) => {
    t.equal(withMargin(2, [8, 6, 9]), 4);
    t.equal(withMargin(2, [8, 1, 9]), 2, 'an example that is missed lowers nothing');
    t.equal(withMargin(2, [2, 2]), 2);
    const logit = fc.double({ min: -20, max: 20, noNaN: true });
    fc.assert(
      fc.property(logit, fc.array(logit, { minLength: 3, maxLength: 10 }), (from, left) => {
        const threshold = withMargin(from, left);
        const reached = left.filter((one) => one >= from).length;
        return threshold >= from && left.filter((one) => one >= threshold).length === reached;
      }),
    );
    t.end();
  },
);

t.test(
  'a sound of a kind that was never heard does not reach the threshold of one that stands far apart',
  (t) => {
    const draw = createDraw(44);
    // Somewhat like the doorbell, and in no background.
    const stranger = DOORBELL.map((value, d) => 0.55 * value + (d === 4 ? 1.5 : 0));
    const { head, threshold } = teach(
      {
        name: 'Doorbell',
        examples: examplesOf(draw, [DOORBELL, DOORBELL, DOORBELL, DOORBELL, DOORBELL]),
        background: background(draw, 1500),
        general: cloud(draw, ROOM, 30),
      },
      { falseAlarmsPerDay: 1, minGapSeconds: 2 },
    );
    const reached = (centre: readonly number[]) =>
      Array.from({ length: 40 }, () => logistic(highestOf(head, cloud(draw, centre, 3))) >= threshold).filter(
        Boolean,
      ).length;
    t.equal(reached(DOORBELL), 40);
    t.ok(reached(stranger) <= 2, `${reached(stranger)} of 40`);
    t.end();
  },
);

t.test('a taught sound is found, and its quality is told', (t) => {
  const draw = createDraw(41);
  const general = cloud(draw, ROOM, 30);
  const input = {
    name: 'Doorbell',
    examples: examplesOf(draw, [DOORBELL, DOORBELL, DOORBELL, DOORBELL]),
    background: background(draw, 1500),
    general,
  };
  const { head, threshold, quality } = teach(input, settings);
  t.match(quality, { of: 4, found: 4 });
  t.ok(Math.abs(quality.heardHours - 1500 / 3600) < 1e-9);
  t.ok(quality.falseAlarmsPerDay!.high >= quality.falseAlarmsPerDay!.low);
  t.ok(threshold >= 0.09 && threshold <= 0.91, `${threshold}`);
  for (let n = 0; n < 20; n += 1) {
    t.ok(logistic(highestOf(head, cloud(draw, DOORBELL, 5))) >= threshold);
    t.ok(logistic(highestOf(head, cloud(draw, KETTLE, 5))) < threshold);
  }
  t.same(teach(input, settings), { head, threshold, quality });
  t.end();
});

t.test('a device that has heard nothing yet learns as well, and promises nothing', (t) => {
  const draw = createDraw(42);
  const { head, threshold, quality } = teach(
    {
      name: 'Doorbell',
      examples: examplesOf(draw, [DOORBELL, DOORBELL, DOORBELL]),
      background: heardOf([]),
      general: cloud(draw, ROOM, 100),
    },
    settings,
  );
  t.match(quality, { falseAlarmsPerDay: null, heardHours: 0, of: 3 });
  t.ok(logistic(highestOf(head, cloud(draw, DOORBELL, 5))) >= threshold);
  t.ok(logistic(highestOf(head, cloud(draw, ROOM, 50))) < threshold);
  t.end();
});

t.test('too few and different examples are refused before anything is learnt', (t) => {
  const draw = createDraw(43);
  const with_ = (centres: readonly (readonly number[])[]) => () =>
    teach(
      {
        name: 'Doorbell',
        examples: examplesOf(draw, centres),
        background: background(draw, 50),
        general: cloud(draw, ROOM, 100),
      },
      settings,
    );
  t.throws(with_([DOORBELL, DOORBELL]), { code: 'learn_too_few' });
  t.throws(with_([DOORBELL, DOORBELL, KETTLE]), { code: 'learn_differ' });
  t.end();
});

/** The doorbell of a neighbour: not the same. */
const NEIGHBOUR = [2.4, 0, 2, 1.5, 0, 1];

t.test('a sound that was heard before it was taught is left out of what it is told apart from', (t) => {
  const draw = createDraw(51);
  const examples = examplesOf(draw, [DOORBELL, DOORBELL, DOORBELL, DOORBELL]);
  const taughtAfter = (heard: ReturnType<typeof background>) =>
    teach({ name: 'Doorbell', examples, background: heard, general: cloud(draw, ROOM, 30) }, settings);
  const { head, threshold, quality } = taughtAfter(background(draw, 1500, { every: 150, centre: DOORBELL }));
  t.match(quality, { found: 4, of: 4, doubts: ['little_heard'] });
  t.ok(quality.heardBefore >= 8 && quality.heardBefore <= 10, `${quality.heardBefore} of 10 rings`);
  const heardSeconds = quality.heardHours * 3600;
  t.ok(Math.abs(heardSeconds - (1500 - quality.heardBefore)) < 1e-6, 'what is left out was not heard');
  for (let n = 0; n < 20; n += 1)
    t.ok(logistic(highestOf(head, cloud(draw, DOORBELL, 5))) >= threshold, `ring ${n}`);
  t.equal(taughtAfter(background(draw, 1500)).quality.heardBefore, 0);
  t.end();
});

t.test('what only resembles the sound stays, and so does what is there all day', (t) => {
  const draw = createDraw(52);
  const examples = examplesOf(draw, [DOORBELL, DOORBELL, DOORBELL]);
  const left = (every: number, centre: readonly number[]) => {
    const heard = background(draw, 1500, { every, centre });
    const normaliser = normaliserOf(restore(heard.rows, [...Array(heard.rows.count).keys()]));
    const found = leaveOutHeardBefore(examples, heard, { normaliser, minGapSeconds: 2 });
    return { ...found, gone: heard.moments.length - found.background.moments.length };
  };
  t.match(left(150, NEIGHBOUR), { sounds: 0, isCommon: false, gone: 0 });
  t.match(left(150, KETTLE), { sounds: 0, isCommon: false, gone: 0 });
  const some = left(100, DOORBELL);
  t.equal(some.isCommon, false);
  t.ok(some.sounds >= 12 && some.sounds <= 15, `${some.sounds} of 15 rings`);
  t.equal(some.gone, some.sounds);
  // One in fifty: more than the hundredth that may be left out.
  const common = left(50, DOORBELL);
  t.match(common, { isCommon: true, gone: 0 });
  t.ok(common.sounds >= 24, `${common.sounds} of 30 rings`);
  t.end();
});

t.test('doubts are told: misses, a day that is not over, and a sound that is there all day', (t) => {
  const good = { found: 5, of: 5, heardHours: 40, isCommon: false };
  t.same(doubtsOf(good), []);
  t.same(doubtsOf({ ...good, found: 4 }), ['misses']);
  t.same(doubtsOf({ ...good, found: 9, of: 10 }), []);
  t.same(doubtsOf({ ...good, heardHours: 4.7, isCommon: true }), ['little_heard', 'common']);
  t.end();
});
