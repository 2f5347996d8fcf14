import fc from 'fast-check';
import t, { type Test } from 'tap';
import { aWeightingDb } from '../../src/audio/a-weighting.js';
import { createBackground } from '../../src/audio/background.js';
import { createLevelMeter, LEVEL_FLOOR_DBFS } from '../../src/audio/level.js';
import { createLoudnessMeter, type LoudnessBlock } from '../../src/audio/loudness.js';
import { tone } from '../support/frequency-response.js';
import { createRandom } from '../support/random.js';

/** The peak of a sine of a level. */
const peakOf = (dbfs: number): number => Math.SQRT2 * 10 ** (dbfs / 20);

const near = (t: Test, is: number | null, wanted: number, within = 0.05): void =>
  void t.ok(is !== null && Math.abs(is - wanted) <= within, `${is} dB, wanted ${wanted}`);

t.test('the background', (t) => {
  t.test('is the percentile of the last levels, whatever they are', (t) => {
    const level = fc.oneof(
      fc.double({ min: -130, max: 50, noNaN: true }),
      fc.constantFrom(-120, -Infinity, -60),
    );
    fc.assert(
      fc.property(
        fc.array(level, { maxLength: 200 }),
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 10 }),
        fc.constantFrom(0, 0.1, 0.5, 1),
        (levels, capacity, fewest, share) => {
          const background = createBackground({ capacity, fewest, share });
          levels.forEach((dbfs, i) => {
            background.add(dbfs);
            const last = levels.slice(Math.max(0, i + 1 - capacity), i + 1).sort((a, b) => a - b);
            const rank = Math.max(1, Math.ceil(share * last.length));
            const wanted = Math.min(40, Math.max(LEVEL_FLOOR_DBFS, last[rank - 1]!));
            const is = background.dbfs;
            if (last.length < fewest ? is !== null : !(Math.abs(is! - wanted) < 0.0501)) {
              throw new Error(`${is}, not ${wanted}`);
            }
          });
        },
      ),
    );
    t.end();
  });

  t.test('forgets', (t) => {
    const background = createBackground({ capacity: 4, fewest: 2, share: 0.5 });
    for (const dbfs of [-10, -10, -10, -10, -10]) background.add(dbfs);
    background.forget();
    t.equal(background.dbfs, null);
    background.add(-50);
    background.add(-50);
    t.equal(background.dbfs, -50);
    t.end();
  });
  t.end();
});

t.test('the loudness meter', (t) => {
  t.test('has the level and the peak of the level meter, for each reader over its own period', (t) => {
    const chunk = fc.array(
      fc.oneof({ weight: 9, arbitrary: fc.float({ min: -1, max: 1 }) }, fc.constant(Infinity)),
      {
        maxLength: 600,
      },
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(chunk, fc.boolean(), fc.boolean())), (steps) => {
        const meter = createLoudnessMeter();
        const readers = [meter.reader(), meter.reader()] as const;
        const others = [createLevelMeter(), createLevelMeter()] as const;
        meter.begin(4000);
        for (const [list, first, second] of steps) {
          meter.add(Float32Array.from(list));
          for (const other of others) other.add(Float32Array.from(list));
          for (const i of [...(first ? [0 as const] : []), ...(second ? [1 as const] : [])]) {
            const [is, wanted] = [readers[i].take(), others[i].take()];
            if ((is === null) !== (wanted === null)) throw new Error('one of them heard nothing');
            if (is === null || wanted === null) continue;
            if (is.peakDbfs !== wanted.peakDbfs || Math.abs(is.dbfs - wanted.dbfs) > 1e-9)
              throw new Error('another level');
            if (!Number.isFinite(is.dbaFs)) throw new Error(`${is.dbaFs} dBA`);
          }
        }
      }),
    );
    t.end();
  });

  t.test('weighs as the standard has it', (t) => {
    for (const rate of [16_000, 44_100, 48_000]) {
      for (const hz of [100, 1000, 4000]) {
        const meter = createLoudnessMeter();
        meter.begin(rate);
        const reader = meter.reader();
        const samples = tone(rate, hz, 1, peakOf(-20));
        meter.add(samples);
        reader.take();
        meter.add(samples);
        const { dbfs, dbaFs } = reader.take()!;
        near(t, dbfs, -20);
        near(t, dbaFs, -20 + aWeightingDb(hz), 0.3);
      }
    }
    t.end();
  });

  t.test('gives silence as the floor', (t) => {
    const meter = createLoudnessMeter();
    const reader = meter.reader();
    t.equal(reader.take(), null, 'nothing yet');
    meter.begin(8000);
    meter.add(new Float32Array(0));
    t.equal(reader.take(), null, 'still nothing');
    meter.add(new Float32Array(88_000));
    t.same(reader.take(), {
      dbfs: LEVEL_FLOOR_DBFS,
      peakDbfs: LEVEL_FLOOR_DBFS,
      dbaFs: LEVEL_FLOOR_DBFS,
      leq60sDbfs: LEVEL_FLOOR_DBFS,
      backgroundDbfs: LEVEL_FLOOR_DBFS,
    });
    meter.add(new Float32Array(8000).fill(NaN));
    t.equal(reader.take()!.dbfs, LEVEL_FLOOR_DBFS, 'what is no number is silence');
    t.end();
  });

  t.test('tells of each full block, wherever chunks end', (t) => {
    for (const rate of [8000, 11_025, 44_100]) {
      const blockSamples = Math.round(rate / 20);
      const seen: LoudnessBlock[] = [];
      const objects = new Set<LoudnessBlock>();
      const meter = createLoudnessMeter({
        onBlock(block) {
          objects.add(block);
          seen.push({ ...block });
        },
      });
      meter.begin(rate);
      const random = createRandom(rate);
      // Each block has a level of its own.
      const samples = new Float32Array(300 * blockSamples).map(
        (_, i) => 10 ** -(1 + (Math.floor(i / blockSamples) % 40) / 20) * (i % 2 === 0 ? 1 : -1),
      );
      for (let from = 0; from < samples.length;) {
        const to = from + Math.floor(random() * 3 * blockSamples);
        meter.add(samples.subarray(from, to));
        from = to;
      }
      t.equal(objects.size, 1, 'one object');
      t.same(
        seen.map(({ endSample }) => endSample),
        Array.from({ length: 300 }, (_, i) => (i + 1) * blockSamples),
      );
      t.ok(
        seen.every(({ dbfs }, i) => Math.abs(dbfs + 20 + (i % 40)) < 1e-4),
        'the level of the block and of nothing else',
      );
      t.equal(seen[198]!.backgroundDbfs, null, 'no background before 10 s');
      near(t, seen[199]!.backgroundDbfs, -56);
    }
    t.end();
  });

  t.test('knows the equivalent level of the last minute', (t) => {
    const rate = 8000;
    const meter = createLoudnessMeter();
    const reader = meter.reader();
    meter.begin(rate);
    const leq = (): number | null => reader.take()!.leq60sDbfs;
    const hear = (seconds: number, dbfs: number): void => {
      for (let i = 0; i < seconds; i += 1) meter.add(tone(rate, 1000, 1, peakOf(dbfs)));
    };
    meter.add(tone(rate, 1000, 0.9, peakOf(-20)));
    t.equal(leq(), null, 'less than a second');
    meter.add(tone(rate, 1000, 0.1, peakOf(-20)));
    near(t, leq(), -20, 0.1);
    hear(59, -20);
    near(t, leq(), -20, 0.1);
    // Half a minute of a hundredth of the power: half of the energy.
    hear(30, -40);
    near(t, leq(), -20 + 10 * Math.log10(0.505), 0.1);
    hear(30, -40);
    near(t, leq(), -40, 0.1);
    hear(61, -100);
    near(t, leq(), -100, 0.1);
    t.end();
  });

  t.test('knows the background of ten minutes', (t) => {
    const rate = 4000;
    const meter = createLoudnessMeter();
    const reader = meter.reader();
    meter.begin(rate);
    const hear = (seconds: number, dbfs: number): void =>
      meter.add(new Float32Array(seconds * rate).fill(10 ** (dbfs / 20)));
    const background = (): number | null => reader.take()!.backgroundDbfs;
    hear(9, -50);
    t.equal(background(), null, 'less than 10 s');
    hear(1, -50);
    near(t, background(), -50);
    // A car, a call: not a tenth of the time is quiet, and yet it is the background.
    hear(80, -10);
    near(t, background(), -50);
    hear(20, -10);
    near(t, background(), -10);
    hear(100, -70);
    near(t, background(), -70);
    hear(550, -30);
    near(t, background(), -30, 0.05);
    meter.begin(8000);
    meter.add(new Float32Array(80).fill(0.5));
    near(t, background(), -30, 0.05);
    t.end();
  });

  t.test('begins anew with its filters and its block, and forgets the rest only when told', (t) => {
    const seen: number[] = [];
    const meter = createLoudnessMeter({ onBlock: ({ endSample, dbfs }) => void seen.push(endSample, dbfs) });
    t.throws(() => meter.add(new Float32Array(1)), RangeError, 'a meter has to know the rate');
    const reader = meter.reader();
    meter.begin(8000);
    meter.add(new Float32Array(88_300).fill(0.9));
    seen.length = 0;
    reader.take();
    meter.begin(16_000);
    meter.add(new Float32Array(800));
    t.same(seen, [800, LEVEL_FLOOR_DBFS], 'nothing of the sound before is in the block');
    const { dbaFs, leq60sDbfs, backgroundDbfs } = reader.take()!;
    t.equal(dbaFs, LEVEL_FLOOR_DBFS, 'nor in the filters');
    t.not(leq60sDbfs, null);
    t.not(backgroundDbfs, null);
    meter.forget();
    meter.add(new Float32Array(800));
    t.match(reader.take(), { leq60sDbfs: null, backgroundDbfs: null });
    t.end();
  });

  t.test('measures sound of any rate that a file may have', (t) => {
    for (const rate of [100, 1000, 3000, 384_000, 1_000_000]) {
      const meter = createLoudnessMeter();
      const reader = meter.reader();
      meter.begin(rate);
      meter.add(tone(rate, rate / 20, 1));
      near(t, reader.take()!.dbfs, -3.01, 0.1);
      meter.add(tone(rate, rate / 20, 1));
      const { dbaFs, leq60sDbfs } = reader.take()!;
      t.ok(Number.isFinite(dbaFs) && Number.isFinite(leq60sDbfs) && dbaFs < 0, `${rate} Hz: ${dbaFs}`);
    }
    t.end();
  });

  t.test('allocates nothing per chunk', (t) => {
    const meter = createLoudnessMeter({ onBlock: () => undefined });
    meter.reader();
    meter.begin(48_000);
    const samples = tone(48_000, 440, 0.01);
    const grown = (chunks: number): number => {
      const before = process.memoryUsage().heapUsed;
      for (let i = 0; i < chunks; i += 1) meter.add(samples);
      return process.memoryUsage().heapUsed - before;
    };
    grown(5000);
    // Few at a time, and the least of many: what allocates does so each time, while the test's own surroundings do now
    // and then. A collection in between, which hides what was allocated, makes a number below 0. An object or a view
    // per chunk takes 40 bytes and more; where coverage is measured, the engine boxes a number here and there.
    const bytes = Math.min(...Array.from({ length: 25 }, () => grown(500)).filter((grew) => grew >= 0));
    t.ok(bytes < 500 * 40, `${bytes} bytes for 500 chunks`);
    t.end();
  });
  t.end();
});
