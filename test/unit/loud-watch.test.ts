import fc from 'fast-check';
import t from 'tap';
import { createLoudWatch, LOUD_NOISE, LOUD_NOISE_SLUG, type LoudWatch } from '../../src/tagging/loud.js';
import type { TagEvent } from '../../src/tagging/tag-event.js';

const BLOCK_MS = 50;
const START_MS = 1_700_000_000_000;

const ids = (): (() => string) => {
  let count = 0;
  return () => String((count += 1));
};

const watch = (options: Partial<Parameters<typeof createLoudWatch>[0]> = {}): LoudWatch =>
  createLoudWatch({
    aboveBackgroundDb: 20,
    minDurationSeconds: 0.2,
    minGapSeconds: 1,
    newId: ids(),
    ...options,
  });

/** Blocks one after the other; the decision comes 7 ms after each. */
function hear(loud: LoudWatch, options: { background?: number | null } = {}) {
  let atMs = START_MS;
  return (count: number, dbfs: number, background = options.background ?? null): TagEvent[] => {
    const events: TagEvent[] = [];
    for (let i = 0; i < count; i += 1) {
      atMs += BLOCK_MS;
      events.push(
        ...loud.block({ endMs: atMs, lengthMs: BLOCK_MS, dbfs, backgroundDbfs: background }, atMs + 7),
      );
    }
    return events;
  };
}

t.test('a noise begins when it has lasted, and ends when it has been quiet', (t) => {
  const loud = watch();
  const blocks = hear(loud, { background: -60 });
  t.same(blocks(20, -60), []);
  t.same(blocks(3, -30), [], 'not long enough yet');
  t.notOk(loud.on());
  const onsetMs = START_MS + 20 * BLOCK_MS;
  t.same(blocks(1, -40), [
    {
      id: '1',
      event_type: 'started',
      slug: 'loud_noise',
      label: 'Loud noise',
      mid: null,
      group: null,
      score: 0.5,
      peak: 0.75,
      started_at: onsetMs,
      ended_at: null,
      duration_s: null,
      detected_at: START_MS + 24 * BLOCK_MS + 7,
    },
  ]);
  t.ok(loud.on());
  t.same(blocks(10, -10), []);
  t.same(blocks(19, -60), [], 'a gap');
  t.same(blocks(1, -46), [], 'still heard at 0.7 of the limit');
  t.same(blocks(19, -46.1), [], 'below it');
  t.same(blocks(1, -60), [
    {
      id: '1',
      event_type: 'ended',
      slug: LOUD_NOISE_SLUG,
      label: LOUD_NOISE,
      mid: null,
      group: null,
      score: 0.35,
      peak: 1,
      started_at: onsetMs,
      ended_at: START_MS + 54 * BLOCK_MS,
      duration_s: 1.7,
      detected_at: START_MS + 74 * BLOCK_MS + 7,
    },
  ]);
  t.notOk(loud.on());
  t.same(blocks(100, -46), [], 'at the lower limit nothing begins');
  t.equal(blocks(4, -40)[0]?.id, '2');
  t.end();
});

t.test('a long noise does not become its own background, and what comes after it has the new one', (t) => {
  const loud = watch();
  const blocks = hear(loud);
  t.same(blocks(1, -39, -60), []);
  t.equal(blocks(3, -39, -50).length, 1, 'not even while it is about to come on');
  t.same(blocks(20_000, -20, -20), [], 'nor for more than ten minutes');
  t.ok(loud.on());
  t.match(blocks(20, -60, -20), [{ event_type: 'ended', score: 1 }]);
  t.same(blocks(100, -20, -20), [], 'as loud as the background now');
  t.end();
});

t.test('nothing begins where no background is known', (t) => {
  const loud = watch();
  const blocks = hear(loud);
  t.same(blocks(100, 0), []);
  t.same(blocks(3, 0, -60), [], 'the time before does not count');
  t.equal(blocks(1, 0, -60)[0]?.started_at, START_MS + 100 * BLOCK_MS);
  t.same(blocks(10, NaN, -60), []);
  t.match(blocks(20, -60), [{ event_type: 'ended' }], 'it ends without one');
  t.end();
});

t.test('what is shorter than the shortest duration is no noise', (t) => {
  const loud = watch();
  const blocks = hear(loud, { background: -60 });
  for (let i = 0; i < 50; i += 1) t.same([...blocks(3, 0), ...blocks(1, -41)], []);
  t.equal(blocks(4, -40).length, 1);
  t.end();
});

t.test('blocks of a rate that has no whole 50 ms are taken for what they are', (t) => {
  const loud = watch();
  const lengthMs = (1000 * 551) / 11_025;
  const started = [1, 2, 3, 4].flatMap((block) =>
    loud.block({ endMs: START_MS + block * lengthMs, lengthMs, dbfs: 0, backgroundDbfs: -60 }, 0),
  );
  t.equal(started.length, 1, '199.9 ms are 0.2 s');
  const atOnce = watch({ minDurationSeconds: 0, minGapSeconds: 0 });
  const blocks = hear(atOnce, { background: -60 });
  t.equal(blocks(1, -40)[0]?.event_type, 'started');
  t.match(blocks(1, -60), [{ event_type: 'ended', duration_s: 0.05 }]);
  t.end();
});

t.test('a pause that is digitally silent is no background for every sound', (t) => {
  const blocks = hear(watch(), { background: -120 });
  t.same(blocks(20, -70), [], '50 dB above nothing is no noise');
  t.match(blocks(20, -59), [{ event_type: 'started' }]);
  t.end();
});

t.test('closing ends what is on, and forgets what was about to come on', (t) => {
  const loud = watch();
  const blocks = hear(loud, { background: -60 });
  t.same(loud.close(START_MS), []);
  blocks(3, 0);
  t.same(loud.close(START_MS), []);
  t.same(blocks(3, 0), [], 'it has to last anew');
  blocks(1, 0);
  blocks(2, -60);
  t.match(loud.close(START_MS + 12_345), [
    { event_type: 'ended', id: '1', ended_at: START_MS + 7 * BLOCK_MS, detected_at: START_MS + 12_345 },
  ]);
  t.notOk(loud.on());
  t.same(loud.close(START_MS), []);
  t.end();
});

t.test('whatever is heard: pairs, in order, of the right length, with scores that say how loud', (t) => {
  const stretch = fc.record({
    count: fc.integer({ min: 1, max: 30 }),
    dbfs: fc.integer({ min: -120, max: 0 }),
    background: fc.option(fc.integer({ min: -120, max: -20 }), { freq: 8 }),
    close: fc.boolean(),
  });
  const settings = fc.record({
    aboveBackgroundDb: fc.integer({ min: 3, max: 80 }),
    minDurationSeconds: fc.constantFrom(0, 0.05, 0.2, 1),
    minGapSeconds: fc.constantFrom(0, 0.1, 1, 3),
  });
  fc.assert(
    fc.property(settings, fc.array(stretch, { maxLength: 40 }), (options, stretches) => {
      const loud = watch(options);
      const blocks = hear(loud);
      const fail = (what: string): never => {
        throw new Error(what);
      };
      let open: TagEvent | null = null;
      let endedBefore = -Infinity;
      let heardMs = START_MS;
      const take = (events: readonly TagEvent[], closed: boolean): void => {
        for (const event of events) {
          const { score, peak, started_at: startedAt, ended_at: endedAt } = event;
          if (!(score >= 0 && score <= peak && peak <= 1 && peak >= 0.5))
            fail(`score ${score}, peak ${peak}`);
          if (event.event_type === 'started') {
            if (open !== null) fail('two at a time');
            if (score < 0.5) fail('it began below the limit');
            if (startedAt < endedBefore) fail('it began in the one before');
            if (heardMs - startedAt < 1000 * options.minDurationSeconds - 1) fail('too short');
            open = event;
            continue;
          }
          if (open === null || open.id !== event.id || open.started_at !== startedAt) fail('no pair');
          if (endedAt === null || endedAt < startedAt || endedAt > heardMs) return fail('ends nowhere');
          if (Math.abs(event.duration_s! - (endedAt - startedAt) / 1000) > 1e-9) fail('a wrong duration');
          if (!closed && heardMs - endedAt < 1000 * options.minGapSeconds - 1) fail('it ended too soon');
          endedBefore = endedAt;
          open = null;
        }
        if (loud.on() !== (open !== null)) fail('on() is wrong');
      };
      for (const { count, dbfs, background, close } of stretches) {
        for (let i = 0; i < count; i += 1) {
          heardMs += BLOCK_MS;
          const events = blocks(1, dbfs, background);
          if (background === null && events.some(({ event_type: type }) => type === 'started'))
            fail('no background');
          take(events, false);
        }
        if (close) take(loud.close(heardMs), true);
        if (close && loud.on()) fail('closed and on');
      }
    }),
  );
  t.end();
});

t.test('whatever else is heard: a noise that is loud and long enough is told of once', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 3, max: 60 }),
      fc.integer({ min: 0, max: 40 }),
      fc.array(fc.integer({ min: 0, max: 30 }), { minLength: 4, maxLength: 60 }),
      (aboveBackgroundDb, quietBlocks, noise) => {
        const loud = watch({ aboveBackgroundDb });
        const blocks = hear(loud, { background: -70 });
        const events = blocks(quietBlocks, -70);
        for (const dB of noise) events.push(...blocks(1, -70 + aboveBackgroundDb + dB));
        events.push(...blocks(20, -70));
        const [started, ended] = events;
        const highest = Math.min(1, 0.5 + (0.5 * Math.max(...noise)) / aboveBackgroundDb);
        return (
          events.length === 2 &&
          started!.started_at === START_MS + quietBlocks * BLOCK_MS &&
          Math.abs(ended!.peak - highest) < 1e-9 &&
          Math.abs(ended!.duration_s! - (noise.length * BLOCK_MS) / 1000) < 1e-9
        );
      },
    ),
  );
  t.end();
});
