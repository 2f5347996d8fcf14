import fc from 'fast-check';
import t from 'tap';
import { aWeightingDb, aWeightingSections, createAWeighting } from '../../src/audio/a-weighting.js';
import { butterworthHighpass, createBiquad } from '../../src/audio/biquad.js';
import { createShaper } from '../../src/audio/shaper.js';
import { gainDb, isStable, tone } from '../support/frequency-response.js';

const RATES = [8000, 16_000, 32_000, 44_100, 48_000, 96_000];

const rootMeanSquare = (samples: Float32Array): number =>
  Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);

/**
 * Samples as they should be, and such as a broken driver delivers. None is so small that a filter at rest takes it for
 * nothing.
 */
const anySamples = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.float({ min: -1, max: 1, noNaN: true }).map((x) => (Math.abs(x) < 1e-20 ? 0 : x)),
    },
    { weight: 1, arbitrary: fc.constantFrom(NaN, Infinity, -Infinity, 0) },
  ),
  { maxLength: 300 },
);

const withoutNonsense = (samples: Float32Array): Float32Array =>
  samples.map((sample) => (Number.isFinite(sample) ? sample : 0));

t.test('the high-pass', (t) => {
  t.test('has the published response', (t) => {
    for (const rate of RATES) {
      for (const corner of [1, 20, 80, 250, 1000, 2000]) {
        const section = butterworthHighpass(corner, rate);
        t.ok(isStable(section), `${corner} Hz at ${rate} Hz is stable`);
        t.ok(
          Math.abs(gainDb([section], corner, rate) - 10 * Math.log10(0.5)) < 1e-6,
          'half the power at the corner',
        );
        for (let hz = corner / 16; hz < rate / 2; hz *= 1.3) {
          const is = gainDb([section], hz, rate);
          // The bilinear transform bends the axis of frequencies, and does nothing else.
          const bent = Math.tan((Math.PI * corner) / rate) / Math.tan((Math.PI * hz) / rate);
          const wanted = -10 * Math.log10(1 + bent ** 4);
          if (Math.abs(is - wanted) > 1e-4)
            t.fail(`${corner} Hz at ${rate} Hz: ${is} dB at ${hz} Hz, not ${wanted}`);
          // Where it is hardly bent the response is the plain one.
          const plain = -10 * Math.log10(1 + (corner / hz) ** 4);
          if (Math.max(hz, corner) < rate / 16 && Math.abs(is - plain) > 0.25) {
            t.fail(`${corner} Hz at ${rate} Hz: ${is} dB at ${hz} Hz, far from ${plain}`);
          }
        }
      }
    }
    t.end();
  });

  t.test('is at work as its response says, whatever the chunks', (t) => {
    for (const hz of [40, 80, 500]) {
      const samples = tone(16_000, hz, 2);
      const biquad = createBiquad(butterworthHighpass(80, 16_000));
      for (let from = 0; from < samples.length; from += 777)
        biquad.process(samples.subarray(from, from + 777));
      const settled = samples.subarray(16_000);
      const is = 20 * Math.log10(rootMeanSquare(settled) * Math.SQRT2);
      const wanted = gainDb([butterworthHighpass(80, 16_000)], hz, 16_000);
      t.ok(Math.abs(is - wanted) < 0.01, `${hz} Hz: ${is} dB, wanted ${wanted}`);
    }
    t.end();
  });

  t.test('takes a constant away', (t) => {
    const samples = new Float32Array(48_000).fill(0.5);
    createBiquad(butterworthHighpass(80, 48_000)).process(samples);
    t.ok(Math.abs(samples.at(-1)!) < 1e-7, `${samples.at(-1)}`);
    t.end();
  });

  t.test('counts what is no number as 0, and never gets stuck', (t) => {
    fc.assert(
      fc.property(anySamples, fc.integer({ min: 1, max: 50 }), (list, size) => {
        const samples = Float32Array.from(list);
        const plain = withoutNonsense(samples);
        const one = createBiquad(butterworthHighpass(80, 8000));
        createBiquad(butterworthHighpass(80, 8000)).process(plain);
        for (let from = 0; from < samples.length; from += size)
          one.process(samples.subarray(from, from + size));
        if (!samples.every((sample, i) => sample === plain[i])) throw new Error('a chunk or a NaN is heard');
        // In silence it comes to rest, before its state is of numbers that are slow to reckon with.
        one.process(new Float32Array(2000));
        const after = new Float32Array(10);
        one.process(after);
        if (!after.every((sample) => sample === 0)) throw new Error(`${after[0]} is left`);
      }),
    );
    t.end();
  });

  t.test('forgets with a reset', (t) => {
    const biquad = createBiquad(butterworthHighpass(80, 8000));
    biquad.process(new Float32Array(100).fill(1));
    biquad.reset();
    const samples = new Float32Array(10);
    biquad.process(samples);
    t.ok(samples.every((sample) => sample === 0));
    t.end();
  });

  t.test('refuses corners that there are not', (t) => {
    for (const corner of [0, -1, 4000, 5000, NaN])
      t.throws(() => butterworthHighpass(corner, 8000), RangeError);
    t.throws(() => butterworthHighpass(80, NaN), RangeError);
    t.end();
  });
  t.end();
});

/** IEC 61672-1:2013, table 3: nominal frequency (Hz), A-weighting (dB), limits of class 1 (dB). */
const TABLE: readonly (readonly [hz: number, db: number, above: number, below: number])[] = [
  [10, -70.4, 3, -Infinity],
  [12.5, -63.4, 2.5, -Infinity],
  [16, -56.7, 2, -4],
  [20, -50.5, 2, -2],
  [25, -44.7, 2, -1.5],
  [31.5, -39.4, 1.5, -1.5],
  [40, -34.6, 1, -1],
  [50, -30.2, 1, -1],
  [63, -26.2, 1, -1],
  [80, -22.5, 1, -1],
  [100, -19.1, 1, -1],
  [125, -16.1, 1, -1],
  [160, -13.4, 1, -1],
  [200, -10.9, 1, -1],
  [250, -8.6, 1, -1],
  [315, -6.6, 1, -1],
  [400, -4.8, 1, -1],
  [500, -3.2, 1, -1],
  [630, -1.9, 1, -1],
  [800, -0.8, 1, -1],
  [1000, 0, 0.7, -0.7],
  [1250, 0.6, 1, -1],
  [1600, 1, 1, -1],
  [2000, 1.2, 1, -1],
  [2500, 1.3, 1, -1],
  [3150, 1.2, 1, -1],
  [4000, 1, 1, -1],
  [5000, 0.5, 1.5, -1.5],
  [6300, -0.1, 1.5, -2],
  [8000, -1.1, 1.5, -2.5],
  [10_000, -2.5, 2, -3],
  [12_500, -4.3, 2, -5],
  [16_000, -6.6, 2.5, -16],
  [20_000, -9.3, 3, -Infinity],
];

/** The frequency that a nominal one stands for. */
const exact = (nominalHz: number): number => 10 ** (Math.round(10 * Math.log10(nominalHz)) / 10);

t.test('the A-weighting', (t) => {
  t.test('is the formula of the standard', (t) => {
    // Annex E: the poles from the corners of the C-weighting and of the added high-passes.
    const [reference, low, high, added] = [1000, 10 ** 1.5, 10 ** 3.9, 10 ** 2.45];
    const c = low ** 2 * high ** 2;
    const b =
      (reference ** 2 + c / reference ** 2 - Math.SQRT1_2 * (low ** 2 + high ** 2)) / (1 - Math.SQRT1_2);
    const root = Math.sqrt(b ** 2 - 4 * c);
    const [f1, f4] = [Math.sqrt((-b - root) / 2), Math.sqrt((-b + root) / 2)];
    const [f2, f3] = [(added * (3 - Math.sqrt(5))) / 2, (added * (3 + Math.sqrt(5))) / 2];
    const formula = (hz: number): number =>
      20 *
      Math.log10(
        (f4 ** 2 * hz ** 4) /
          ((hz ** 2 + f1 ** 2) * Math.sqrt((hz ** 2 + f2 ** 2) * (hz ** 2 + f3 ** 2)) * (hz ** 2 + f4 ** 2)),
      );
    for (const [nominal, db] of TABLE) {
      const is = aWeightingDb(exact(nominal));
      t.ok(Math.abs(is - db) < 0.0501, `${nominal} Hz: ${is} dB, in the table ${db}`);
      t.ok(Math.abs(is - (formula(exact(nominal)) - formula(1000))) < 1e-5);
    }
    t.equal(aWeightingDb(1000), 0);
    t.end();
  });

  t.test('is of class 1 wherever the rate has the frequency', (t) => {
    for (const rate of [4000, 11_025, 22_050, ...RATES, 192_000, 384_000]) {
      const sections = aWeightingSections(rate);
      let rows = 0;
      for (const [nominal, db, above, below] of TABLE) {
        const hz = exact(nominal);
        if (hz >= rate / 2) continue;
        const deviation = gainDb(sections, hz, rate) - db;
        t.ok(deviation <= above && deviation >= below, `${rate} Hz: ${deviation} dB at ${nominal} Hz`);
        rows += 1;
      }
      t.ok(rows >= 23, `${rows} rows at ${rate} Hz`);
    }
    t.end();
  });

  t.test('is stable and near the formula at every rate', (t) => {
    fc.assert(
      fc.property(fc.double({ min: 4000, max: 384_000, noNaN: true }), (rate) => {
        const sections = aWeightingSections(rate);
        if (!sections.every(isStable)) throw new Error('not stable');
        for (let hz = 10; hz < Math.min(20_000, (0.999 * rate) / 2); hz *= 1.05) {
          const deviation = gainDb(sections, hz, rate) - aWeightingDb(hz);
          if (Math.abs(deviation) > 0.4) throw new Error(`${deviation} dB at ${hz} Hz`);
        }
        let before = Infinity;
        for (let hz = 20_000; hz < rate / 2; hz *= 1.05) {
          const is = gainDb(sections, hz, rate);
          if (is > before) throw new Error(`it rises at ${hz} Hz`);
          before = is;
        }
        if (Math.abs(gainDb(sections, 1000, rate)) > 1e-6) throw new Error('1 kHz is not 0 dB');
      }),
    );
    for (const rate of [100, 500, 1000, 2000, 3000, 1_000_000]) {
      const sections = aWeightingSections(rate);
      t.ok(sections.every(isStable), `${rate} Hz: stable`);
      t.ok(sections.every((section) => Object.values(section).every(Number.isFinite)));
    }
    for (const rate of [0, -1, NaN, Infinity]) t.throws(() => aWeightingSections(rate), RangeError);
    t.end();
  });

  t.test('is at work as its response says, whatever the chunks', (t) => {
    for (const rate of [8000, 48_000]) {
      for (const hz of [50, 1000, 3150]) {
        const samples = tone(rate, hz, 2);
        const weighting = createAWeighting(rate);
        let squares = 0;
        for (let from = 0; from < samples.length; from += 999) {
          const to = Math.min(samples.length, from + 999);
          const sum = weighting.sumOfSquares(samples, from, to);
          if (from >= rate) squares += sum / (samples.length - Math.ceil(rate / 999) * 999);
        }
        const is = 10 * Math.log10(2 * squares);
        t.ok(Math.abs(is - aWeightingDb(hz)) < 0.15, `${hz} Hz at ${rate} Hz: ${is} dB`);
      }
    }
    t.end();
  });

  t.test('counts what is no number as 0, and never gets stuck', (t) => {
    fc.assert(
      fc.property(anySamples, fc.nat(300), (list, at) => {
        const samples = Float32Array.from(list);
        const cut = Math.min(at, samples.length);
        const weighting = createAWeighting(8000);
        const parts =
          weighting.sumOfSquares(samples, 0, cut) + weighting.sumOfSquares(samples, cut, samples.length);
        const whole = createAWeighting(8000).sumOfSquares(withoutNonsense(samples), 0, samples.length);
        if (!(Math.abs(parts - whole) <= 1e-12 * (1 + whole))) throw new Error(`${parts}, not ${whole}`);
        const silence = new Float32Array(8000);
        weighting.sumOfSquares(silence, 0, silence.length);
        if (weighting.sumOfSquares(silence, 0, silence.length) !== 0) throw new Error('something is left');
        weighting.sumOfSquares(Float32Array.of(1, 1), 0, 2);
        weighting.reset();
        if (weighting.sumOfSquares(silence, 0, 10) !== 0) throw new Error('a reset does not forget');
      }),
    );
    t.end();
  });
  t.end();
});

t.test('the shaper', (t) => {
  t.test('hands back the samples where there is nothing to do', (t) => {
    const shaper = createShaper({ gainDb: 0, highpassHz: 0 });
    shaper.begin(48_000);
    const samples = Float32Array.of(2, NaN, -0.5);
    t.equal(shaper.process(samples), samples);
    t.equal(shaper.clipped, 0);
    t.end();
  });

  t.test('amplifies, and clips and counts what goes past full scale', (t) => {
    const shaper = createShaper({ gainDb: 20 * Math.log10(2), highpassHz: 0 });
    shaper.begin(48_000);
    const samples = Float32Array.of(0.25, -0.25, 0.5, 0.75, -0.75, 3, NaN, Infinity, -Infinity);
    const shaped = shaper.process(samples);
    t.same(
      [...shaped].map((sample) => Math.round(sample * 1e6) / 1e6),
      [0.5, -0.5, 1, 1, -1, 1, 0, 0, 0],
    );
    t.equal(shaper.clipped, 2, 'what was too loud before is not counted');
    t.same([...samples.subarray(0, 6)], [0.25, -0.25, 0.5, 0.75, -0.75, 3], 'the samples stay as they were');
    shaper.process(Float32Array.of(0.9));
    t.equal(shaper.clipped, 3, 'from the start on');
    shaper.begin(16_000);
    t.equal(shaper.clipped, 3);

    const softer = createShaper({ gainDb: -20, highpassHz: 0 });
    t.same(
      [...softer.process(Float32Array.of(1, -20))].map((sample) => Math.round(sample * 1e6) / 1e6),
      [0.1, -1],
    );
    t.equal(softer.clipped, 0);
    t.end();
  });

  t.test('takes low sound away before it amplifies', (t) => {
    const shaper = createShaper({ gainDb: 20, highpassHz: 200 });
    t.throws(() => shaper.process(new Float32Array(1)), RangeError, 'a filter has to know the rate');
    shaper.begin(16_000);
    // A rumble at half of full scale, which the gain alone would clip.
    const rumble = tone(16_000, 10, 3, 0.5);
    let shaped = new Float32Array(0);
    for (let from = 0; from < rumble.length; from += 1600)
      shaped = shaper.process(rumble.subarray(from, from + 1600)).slice();
    const wanted = 20 * Math.log10(0.5) + 20 + gainDb([butterworthHighpass(200, 16_000)], 10, 16_000);
    t.ok(Math.abs(20 * Math.log10(rootMeanSquare(shaped) * Math.SQRT2) - wanted) < 0.05);
    t.equal(shaper.clipped, 0);
    shaper.begin(16_000);
    t.ok(
      shaper.process(new Float32Array(10)).every((sample) => sample === 0),
      'begins anew',
    );
    t.end();
  });

  t.test('uses one buffer', (t) => {
    const shaper = createShaper({ gainDb: 6, highpassHz: 80 });
    shaper.begin(48_000);
    const long = shaper.process(new Float32Array(2400));
    t.equal(shaper.process(new Float32Array(2400)), long, 'the same view');
    const short = shaper.process(new Float32Array(100));
    t.equal(short.length, 100);
    t.equal(short.buffer, long.buffer);
    t.equal(shaper.process(new Float32Array(2400)).buffer, long.buffer);
    t.equal(shaper.process(new Float32Array(0)).length, 0);
    t.end();
  });

  t.test('gives samples within full scale, and the same in any chunks', (t) => {
    fc.assert(
      fc.property(
        anySamples,
        fc.integer({ min: -60, max: 60 }),
        fc.constantFrom(0, 80, 2000),
        fc.integer({ min: 1, max: 70 }),
        (list, gain, highpassHz, size) => {
          if (gain === 0 && highpassHz === 0) return;
          // 4 kHz: a corner of 2 kHz lies at half of the rate.
          const [one, other] = [0, 1].map(() => createShaper({ gainDb: gain, highpassHz }));
          one!.begin(4000);
          other!.begin(4000);
          const samples = Float32Array.from(list);
          const whole = one!.process(samples);
          if (!whole.every((sample) => Math.abs(sample) <= 1)) throw new Error('past full scale');
          for (let from = 0; from < samples.length; from += size) {
            const part = other!.process(samples.subarray(from, from + size));
            if (!part.every((sample, i) => sample === whole[from + i])) throw new Error('chunks are heard');
          }
          if (one!.clipped !== other!.clipped) throw new Error('counted twice');
          if (gain <= 0 && one!.clipped > 0) throw new Error('no gain can clip here');
        },
      ),
    );
    t.end();
  });
  t.end();
});
