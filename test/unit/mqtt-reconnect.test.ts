import fc from 'fast-check';
import t from 'tap';
import { createCrowdBackoff } from '../../src/common/backoff.js';
import type { Failure } from '../../src/mqtt/connection.js';
import { createReconnectPolicy, type ReconnectPolicy } from '../../src/mqtt/reconnect.js';
import { createRandom } from '../support/random.js';

const timing = {
  firstDelayMs: 1000,
  maxDelayMs: 60_000,
  refusedDelayMs: 30_000,
  lastedMs: 30_000,
  startSpreadMs: 4000,
};
const lost: Failure = { code: 'connection_closed', kind: 'unreachable', reason: 'gone' };
const absent: Failure = { code: 'connection_refused', kind: 'unreachable', reason: 'nothing there' };
const refused: Failure = { code: 'not_authorized', kind: 'refused', reason: 'no' };

/** Below 1, as Math.random() gives it. */
const drawn = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

/** The largest part of all times that lies within any `widthMs`. */
function densest(timesMs: number[], widthMs: number): number {
  const sorted = [...timesMs].sort((a, b) => a - b);
  let most = 0;
  let from = 0;
  sorted.forEach((time, index) => {
    while (sorted[from]! <= time - widthMs) from += 1;
    most = Math.max(most, index - from + 1);
  });
  return most / sorted.length;
}

t.test('the delays of a crowd', (t) => {
  t.test('are from first to max, under an end that doubles, and grow again after a reset', (t) => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5000 }),
        fc.integer({ min: 1, max: 200 }),
        fc.array(fc.tuple(drawn, fc.boolean()), { minLength: 1, maxLength: 200 }),
        (firstMs, factor, steps) => {
          const maxMs = firstMs * factor;
          let next = 0;
          const backoff = createCrowdBackoff({ firstMs, maxMs, random: () => next });
          let attempt = 0;
          for (const [random, reset] of steps) {
            if (reset) {
              backoff.reset();
              attempt = 0;
            }
            next = random;
            const delay = backoff.next();
            const end = Math.min(maxMs, firstMs * 4 * 2 ** Math.min(attempt, 60));
            if (!(delay >= firstMs && delay <= end)) return false;
            // The draw decides where in the whole range: nothing of it is wasted, nothing is cut off.
            if (Math.abs(delay - (firstMs + random * (end - firstMs))) > 1e-6 * maxMs) return false;
            attempt += 1;
          }
          return true;
        },
      ),
    );
    t.end();
  });

  t.test('never reach a number that is none, however long the outage', (t) => {
    const backoff = createCrowdBackoff({ firstMs: 1000, maxMs: 60_000, random: () => 0.999 });
    for (let n = 0; n < 5000; n += 1) backoff.next();
    t.ok(backoff.next() <= 60_000);
    t.end();
  });
  t.end();
});

t.test('the policy of reconnecting', (t) => {
  t.test('waits from 1 to 60 s where there is no broker', (t) => {
    fc.assert(
      fc.property(fc.array(drawn, { minLength: 1, maxLength: 50 }), (draws) => {
        let index = 0;
        const policy = createReconnectPolicy({
          timing,
          uptimeSeconds: 3600,
          random: () => draws[index++ % draws.length]!,
        });
        return draws.every(() => {
          const { delayMs, cause } = policy.after(absent, 0);
          return delayMs >= 1000 && delayMs <= 60_000 && cause === absent;
        });
      }),
    );
    t.end();
  });

  const tired = (): ReconnectPolicy => {
    const policy = createReconnectPolicy({ timing, uptimeSeconds: 3600, random: () => 0.5 });
    for (let n = 0; n < 10; n += 1) policy.after(absent, 0);
    return policy;
  };

  t.test('only a connection that lasted starts the delays from the beginning', (t) => {
    t.equal(tired().after(lost, 29_999).delayMs, 30_500, 'a short one does not');
    t.equal(tired().after(lost, 30_000).delayMs, 2500);
    t.end();
  });

  t.test('a refusal is retried slowly, and not by all at the same moment', (t) => {
    const delays = Array.from({ length: 1000 }, (_, seed) => {
      const policy = createReconnectPolicy({ timing, uptimeSeconds: 3600, random: createRandom(seed) });
      return policy.after(refused, 0).delayMs;
    });
    t.ok(Math.min(...delays) >= 30_000);
    t.ok(Math.max(...delays) <= 60_000);
    t.ok(densest(delays, 1000) < 0.1, 'no second has a tenth of them');
    t.end();
  });

  t.test(
    'several addresses: each in turn, after delays that grow once a round, a refusal felt by who refused',
    (t) => {
      const step = fc.record({
        draw: drawn,
        failure: fc.constantFrom(lost, absent, refused),
        heldMs: fc.constantFrom(0, 10, 60_000),
        stay: fc.boolean(),
      });
      fc.assert(
        fc.property(
          fc.integer({ min: 1, max: 5 }),
          fc.array(step, { minLength: 1, maxLength: 60 }),
          (addresses, steps) => {
            let draw = 0;
            const policy = createReconnectPolicy({
              timing,
              addresses,
              uptimeSeconds: 3600,
              random: () => draw,
            });
            const lastWord = new Map<number, string>();
            let fails = 0;
            let place = 0;
            t.equal(policy.address, 0, 'the first one first');
            for (const { draw: next, failure, heldMs, stay } of steps) {
              draw = next;
              if (heldMs >= timing.lastedMs) fails = 0;
              const { delayMs, cause } = policy.after(failure, heldMs, {
                suspected: false,
                found: false,
                stay,
              });
              lastWord.set(place, cause.kind);
              if (!stay) place = (place + 1) % addresses;
              if (policy.address !== place) return false;
              const end = Math.min(60_000, 4000 * 2 ** Math.floor(fails / addresses));
              fails += 1;
              const jittered = 1000 + draw * (end - 1000);
              const patient = Math.max(jittered, 30_000 * (1 + draw));
              const due = lastWord.get(place) === 'refused' ? patient : jittered;
              if (Math.abs(delayMs - due) > 1e-6) return false;
            }
            return true;
          },
        ),
      );
      t.end();
    },
  );

  t.test('three connections in a row that the broker ends soon are told, and nobody is blamed', (t) => {
    const policy = createReconnectPolicy({ timing, uptimeSeconds: 3600 });
    t.equal(policy.after(lost, 10).cause, lost);
    t.equal(policy.after(lost, 10).cause, lost);
    t.match(policy.after(lost, 10), { cause: { code: 'closed_again', kind: 'refused', reason: /its log/ } });
    t.equal(policy.after(absent, 0).cause, absent, 'nothing there is another matter');
    t.equal(policy.after(lost, 10).cause, lost, 'and the count begins again');
    t.end();
  });

  t.test('ends over a message are tried again soon, all the sooner once it is found', (t) => {
    const policy = createReconnectPolicy({ timing, uptimeSeconds: 3600, random: () => 0.5 });
    for (const delayMs of [2500, 4500, 8500, 16_500]) {
      t.match(policy.after(lost, 10, { suspected: true, found: false }), { cause: lost, delayMs });
    }
    t.match(policy.after(lost, 10, { suspected: true, found: true }), { cause: lost, delayMs: 2500 });
    t.end();
  });

  t.test('the first attempt is put off on a machine that has just come up, and nowhere else', (t) => {
    const just = Array.from({ length: 1000 }, (_, seed) =>
      createReconnectPolicy({ timing, uptimeSeconds: 20, random: createRandom(seed) }).beforeFirst(),
    );
    t.ok(just.every((delayMs) => delayMs >= 0 && delayMs <= 4000));
    t.ok(densest(just, 100) < 0.06, 'a building that comes up at once does not connect at once');
    t.equal(createReconnectPolicy({ timing, uptimeSeconds: 7200 }).beforeFirst(), 0);
    t.end();
  });

  t.test('a thousand devices go over to the second address spread out', (t) => {
    const there = Array.from({ length: 1000 }, (_, seed) => {
      const options = { timing, addresses: 3, uptimeSeconds: 3600, random: createRandom(seed) };
      return createReconnectPolicy(options).after(lost, 3_600_000).delayMs;
    });
    t.ok(Math.min(...there) >= 1000 && Math.max(...there) <= 4000);
    t.ok(densest(there, 100) < 0.06, 'no tenth of a second has many of them');
    t.end();
  });

  // A fleet against a clock of its own: who tries when, with a broker that is away for a while.
  for (const { awayMs, within, most } of [
    { awayMs: 500, within: 4000, most: 0.06 },
    { awayMs: 10_000, within: 60_000, most: 0.05 },
    { awayMs: 600_000, within: 60_000, most: 0.05 },
  ]) {
    t.test(`a thousand devices come back spread out after ${awayMs / 1000} s without a broker`, (t) => {
      const back = Array.from({ length: 1000 }, (_, seed) => {
        const policy = createReconnectPolicy({ timing, uptimeSeconds: 3600, random: createRandom(seed) });
        let now = policy.after(lost, 3_600_000).delayMs;
        while (now < awayMs) now += policy.after(absent, 0).delayMs;
        return now - awayMs;
      });
      t.ok(Math.max(...back) <= within, `all are back within ${within / 1000} s`);
      t.ok(densest(back, 100) < most, 'no tenth of a second has many of them');
      t.end();
    });
  }
  t.end();
});
