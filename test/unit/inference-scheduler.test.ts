import fc from 'fast-check';
import t from 'tap';
import { createScheduler } from '../../src/inference/scheduler.js';

const rateHz = fc.double({ min: 0.01, max: 20, noNaN: true });
const sampleRate = fc.constantFrom(8000, 16_000, 22_050, 32_000, 44_100, 48_000);
const seconds = fc.record({
  minSeconds: fc.double({ min: 0.1, max: 2, noNaN: true }),
  windowSeconds: fc.double({ min: 2, max: 30, noNaN: true }),
});

t.test('the rate is exact over a day, whatever the chunks', (t) => {
  fc.assert(
    fc.property(rateHz, sampleRate, seconds, fc.integer({ min: 1, max: 600_000 }), (hz, rate, s, chunk) => {
      const scheduler = createScheduler({ sampleRate: rate, rateHz: hz, ...s });
      const day = 86_400 * rate;
      const first = rate * Math.max(s.minSeconds, Math.min(1 / hz, s.windowSeconds));
      const hop = rate / hz;
      let count = 0;
      // A day in a few looks, and in between some as short as a chunk is.
      const looks = [chunk, 2 * chunk, 3 * chunk, day / 2, day / 2 + chunk, day].sort((a, b) => a - b);
      for (const position of looks) {
        for (const end of scheduler.due(position)) {
          if (Math.abs(end - (first + count * hop)) > 0.51 + day * 1e-12) {
            throw new Error(`window ${count} ends at ${end} instead of ${first + count * hop}`);
          }
          if (end > position) throw new Error(`${end} is due at ${position} already`);
          count += 1;
        }
      }
      const expected = Math.floor((day - first) / hop + 1e-6) + 1;
      return Math.abs(count - expected) <= 1;
    }),
    { numRuns: 15 },
  );
  t.end();
});

t.test('after a change of the rate or a pause at most one window is owed, and windows stay in order', (t) => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('play' as const), samples: fc.integer({ min: 1, max: 400_000 }) }),
    fc.record({ kind: fc.constant('rate' as const), hz: rateHz }),
    fc.record({ kind: fc.constant('pause' as const), samples: fc.integer({ min: 0, max: 4_000_000 }) }),
  );
  fc.assert(
    fc.property(rateHz, seconds, fc.array(step, { maxLength: 30 }), (hz, s, steps) => {
      const scheduler = createScheduler({ sampleRate: 16_000, rateHz: hz, ...s });
      let position = 0;
      let last = 0;
      let hop = 16_000 / hz;
      const look = (): number[] => {
        const ends = scheduler.due(position);
        for (const end of ends) {
          if (end <= last && last > 0) throw new Error(`${end} after ${last}`);
          if (end > position) throw new Error(`${end} is due at ${position} already`);
          if (end < s.minSeconds * 16_000 - 1) throw new Error(`${end} is less than the network takes`);
          last = end;
        }
        return ends;
      };
      for (const next of steps) {
        if (next.kind === 'rate') {
          hop = 16_000 / next.hz;
          scheduler.setRate(next.hz, position);
          const owed = look();
          if (owed.length > 1) throw new Error(`${owed.length} windows are owed after a change of rate`);
        } else if (next.kind === 'pause') {
          position += next.samples;
          scheduler.resume(position);
          const owed = look();
          if (owed.length > 1) throw new Error(`${owed.length} windows are owed after a pause`);
        } else {
          const before = position;
          position += next.samples;
          const ends = look();
          const most = (position - before) / hop + 2;
          if (ends.length > most) throw new Error(`${ends.length} windows in ${next.samples} samples`);
        }
      }
    }),
    { numRuns: 300 },
  );
  t.end();
});

t.test('a faster rate before the first window does not make up for a past without windows', (t) => {
  const scheduler = createScheduler({ sampleRate: 1000, rateHz: 0.1, minSeconds: 1, windowSeconds: 10 });
  t.same(scheduler.due(5000), []);
  scheduler.setRate(10, 5000);
  t.same(scheduler.due(5000), [5000]);
  t.same(scheduler.due(5250), [5100, 5200]);
  t.end();
});

t.test('the first window comes after a hop, not before the least and not after a full window', (t) => {
  const first = (rateHz: number) =>
    createScheduler({ sampleRate: 1000, rateHz, minSeconds: 1, windowSeconds: 10 }).due(20_000)[0];
  t.equal(first(20), 1000);
  t.equal(first(0.5), 2000);
  t.equal(first(0.01), 10_000);
  t.end();
});
