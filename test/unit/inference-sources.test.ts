import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import { codeOf } from '../../src/common/errors.js';
import { silentLogger } from '../../src/common/log.js';
import { Pipeline, type PipelineOptions } from '../../src/inference/pipeline.js';
import { createRest } from '../../src/inference/rest.js';
import type { WindowResult } from '../../src/inference/window-report.js';
import { quietEvents } from '../support/quiet-events.js';
import { createEngines, fakeModel, ramp, stretchOf, type Behaviour } from '../support/stream-engine.js';

const RATE = 16_000;
/** Where the ramp of the next source begins: sound of one source can be told from that of another. */
const APART = 2 ** 20;
const first = fakeModel('first', { windowSeconds: 2 });
const second = fakeModel('second', { windowSeconds: 1 });

function createRig(sources: number, options: Partial<PipelineOptions> = {}, behaviour: Behaviour = {}) {
  const { startEngine, engines, faults } = createEngines(RATE, behaviour);
  const results: WindowResult[] = [];
  const positions = Array.from({ length: sources }, () => 0);
  /** Where the ramp of each source is. */
  const ramps = Array.from({ length: sources }, (_, source) => source * APART);
  const pipeline = new Pipeline({
    startEngine,
    fallback: first,
    rateHz: 1,
    windowSeconds: null,
    threads: 1,
    keepSeconds: 2,
    sources,
    log: silentLogger,
    restartDelays: { firstMs: 1, maxMs: 2 },
    events: { ...quietEvents, result: (result) => results.push(result) },
    ...options,
  });
  return {
    pipeline,
    engines,
    results,
    faults,
    positions,
    of: (source: number) => results.filter((result) => result.source === source),
    begin(source: number, realTime = false) {
      positions[source] = 0;
      ramps[source] = source * APART;
      pipeline.sources[source]!.begin(RATE, realTime);
    },
    /** Plays so many tenths of a second of a source; `dbfs` is the level that it is said to have. */
    async play(source: number, tenths: number, dbfs = 0) {
      for (let n = 0; n < tenths; n += 1) {
        const from = ramps[source]!;
        ramps[source] = from + RATE / 10;
        positions[source]! += RATE / 10;
        const position = positions[source]!;
        pipeline.sources[source]!.piece(position, dbfs);
        await pipeline.sources[source]!.chunk(ramp(from, ramps[source]), (position * 1000) / RATE);
      }
    },
  };
}

t.test('no source loses a window or hears another, whatever happens', async (t) => {
  const source = fc.integer({ min: 0, max: 2 });
  const step = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        kind: fc.constant('play' as const),
        source,
        tenths: fc.integer({ min: 1, max: 25 }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('swap' as const), model: fc.constantFrom(first, second) }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('kill' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('begin' as const), source }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), async (steps) => {
      const rig = createRig(3, {}, { infer: () => nextTurn() });
      const { pipeline } = rig;
      /** Windows that are due of each source. */
      const due = [0, 0, 0];
      const swaps: Promise<unknown>[] = [];
      try {
        await pipeline.start(first);
        for (const source of due.keys()) rig.begin(source);
        for (const next of steps) {
          if (next.kind === 'play') {
            const before = Math.floor(rig.positions[next.source]! / RATE);
            await rig.play(next.source, next.tenths);
            due[next.source]! += Math.floor(rig.positions[next.source]! / RATE) - before;
          } else if (next.kind === 'kill') rig.engines.at(-1)?.die();
          else if (next.kind === 'begin') {
            await pipeline.sources[next.source]!.idle();
            rig.begin(next.source);
          } else {
            const swap = pipeline.swap(next.model).catch((error: unknown) => {
              if (!['busy', 'inference_died'].includes(codeOf(error))) throw error;
            });
            swaps.push(swap);
          }
        }
        await Promise.all(swaps);
        await pipeline.idle();
        t.strictSame(rig.faults(), []);
        t.equal(pipeline.counters().dropped, 0);
        for (const [source, expected] of due.entries()) {
          const told = rig.of(source);
          t.strictSame(
            told.map(({ seq }) => seq),
            Array.from({ length: expected }, (_, index) => index + 1),
          );
          for (const { scores, endMs } of told) {
            const { to } = stretchOf(scores);
            if (Math.abs(to - source * APART - (endMs * RATE) / 1000) > 0.5) {
              throw new Error(`source ${source} was told of ${to} at ${endMs} ms`);
            }
          }
        }
      } finally {
        await pipeline.stop();
      }
      t.notOk(rig.engines.some(({ alive }) => alive));
    }),
    { numRuns: 60 },
  );
});

t.test('where the engine cannot keep up, all sources lose the same', async (t) => {
  const SOURCES = 5;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 9 }), { minLength: SOURCES, maxLength: SOURCES }),
      fc.integer({ min: 2, max: 12 }),
      async (phases, turnsPerWindow) => {
        const slow = async () => {
          for (let n = 0; n < turnsPerWindow; n += 1) await nextTurn();
        };
        const rig = createRig(SOURCES, {}, { infer: slow });
        try {
          await rig.pipeline.start(first);
          for (const [source, phase] of phases.entries()) {
            rig.begin(source, true);
            await rig.play(source, phase);
          }
          // In each tenth of a second a tenth of a window comes from each, and the event loop turns twice.
          for (let tenth = 0; tenth < 600; tenth += 1) {
            for (let source = 0; source < SOURCES; source += 1) await rig.play(source, 1);
            await nextTurn();
            await nextTurn();
          }
          const processed = rig.pipeline.sources.map((source) => source.counters().processed);
          const spread = Math.max(...processed) - Math.min(...processed);
          t.ok(spread <= 2, `${processed.join(', ')} windows answered`);
          const { dropped } = rig.pipeline.counters();
          const own = rig.pipeline.sources.reduce((sum, source) => sum + source.counters().dropped, 0);
          t.equal(own, dropped);
        } finally {
          await rig.pipeline.stop();
        }
      },
    ),
    { numRuns: 25 },
  );
});

t.test('a pause, a break and a rest are those of one source', async (t) => {
  const rig = createRig(2);
  t.teardown(() => rig.pipeline.stop());
  await rig.pipeline.start(first);
  rig.begin(0);
  rig.begin(1);
  rig.pipeline.sources[1]!.setPaused(true);
  await rig.play(0, 30);
  await rig.play(1, 30);
  await rig.pipeline.idle();
  t.same([rig.of(0).length, rig.of(1).length], [3, 0]);
  rig.pipeline.sources[1]!.setPaused(false);
  rig.pipeline.sources[0]!.interrupt();
  await rig.play(1, 20);
  await rig.pipeline.idle();
  t.same([rig.of(0).length, rig.of(1).length], [3, 2]);
});

t.test('a quiet source costs nothing, and misses nothing', async (t) => {
  const frames = { hop_seconds: 0.1, offset_seconds: 0, context_seconds: 0.2, lookback_seconds: 1 };
  const model = fakeModel('frames', { windowSeconds: 3, frames });
  /** Tenths of a second that are quiet or loud. */
  const stretch = fc.record({ tenths: fc.integer({ min: 1, max: 90 }), loud: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(stretch, { minLength: 1, maxLength: 10 }), async (stretches) => {
      const rig = createRig(1, { fallback: model, idle: { belowDbfs: -60, isOn: () => false } });
      try {
        await rig.pipeline.start(model);
        rig.begin(0);
        /** Tenths that are loud. */
        const loud: number[] = [];
        let at = 0;
        for (const { tenths, loud: isLoud } of stretches) {
          for (let n = 0; n < tenths; n += 1, at += 1) if (isLoud) loud.push(at);
          await rig.play(0, tenths, isLoud ? -20 : -80);
        }
        await rig.pipeline.idle();
        let told = 0;
        let ranAt = -Infinity;
        for (const { idle, endMs, fresh } of rig.results) {
          if (!idle) ranAt = endMs;
          else if (endMs - ranAt >= 60_000) throw new Error(`nothing was run for ${endMs - ranAt} ms`);
          if (fresh === null) continue;
          if (Math.abs(fresh.startMs - told) > 60) throw new Error(`a hole from ${told} to ${fresh.startMs}`);
          told = fresh.endMs;
          // Nothing loud is told of as silence, nor is silence that frames would still be looked at in.
          const from = fresh.startMs - 1000 * frames.lookback_seconds;
          const isLoud = loud.some((tenth) => tenth * 100 + 99 > from && tenth * 100 < endMs);
          if (idle && isLoud) throw new Error(`passed over ${from} to ${endMs}`);
          if (!idle && !isLoud && endMs > 5000 && endMs - told > 60_000) throw new Error('run for nothing');
        }
        t.equal(rig.pipeline.counters().idle, rig.results.filter(({ idle }) => idle).length);
        t.strictSame(rig.faults(), []);
      } finally {
        await rig.pipeline.stop();
      }
    }),
    { numRuns: 60 },
  );
  const rig = createRig(1, { fallback: model, idle: { belowDbfs: -60, isOn: () => false } });
  t.teardown(() => rig.pipeline.stop());
  await rig.pipeline.start(model);
  rig.begin(0);
  await rig.play(0, 1200, -80);
  await rig.pipeline.idle();
  const { processed, idle } = rig.pipeline.counters();
  t.equal(processed, 120);
  t.equal(idle, 118, 'two minutes of silence: the first window, and one after a minute');
});

t.test('what is on is listened to, however quiet it becomes', async (t) => {
  let isOn = true;
  const rig = createRig(1, { idle: { belowDbfs: -60, isOn: () => isOn } });
  t.teardown(() => rig.pipeline.stop());
  await rig.pipeline.start(first);
  rig.begin(0);
  await rig.play(0, 100, -80);
  await rig.pipeline.idle();
  t.equal(rig.pipeline.counters().idle, 0);
  isOn = false;
  await rig.play(0, 10, -80);
  await rig.pipeline.idle();
  t.equal(rig.pipeline.counters().idle, 1);
});

t.test('a label that means silence goes on as the last run left it', async (t) => {
  const [from, to, samples] = fakeModel('silence', { windowSeconds: 1 }).labels;
  const model = {
    ...fakeModel('silence', { windowSeconds: 1 }),
    labels: [from!, to!, { ...samples!, name: 'Silence', mid: '/m/028v0c' }],
  };
  const rig = createRig(1, { fallback: model, idle: { belowDbfs: -60, isOn: () => false } });
  t.teardown(() => rig.pipeline.stop());
  await rig.pipeline.start(model);
  rig.begin(0);
  await rig.play(0, 30, -80);
  await rig.pipeline.idle();
  const [run, ...rested] = rig.results;
  t.equal(run!.idle, false);
  t.ok(run!.scores[2]! > 0);
  t.same(
    rested.map(({ idle, scores }) => [idle, [...scores]]),
    rested.map(() => [true, [0, 0, run!.scores[2]!]]),
  );
  t.ok(rested.length > 0);
});

t.test('a window that nobody has measured is run', (t) => {
  const rest = createRest(-60);
  rest.begin(1000);
  rest.ran(0);
  rest.piece(1000, -80);
  t.ok(rest.mayRest(0, 1000));
  t.notOk(rest.mayRest(0, 1200), 'the last 0.2 s are unknown');
  rest.piece(1200, Number.NaN);
  t.notOk(rest.mayRest(0, 1200), 'a level that is no number');
  const never = createRest(null);
  never.begin(1000);
  never.piece(1000, -120);
  never.ran(0);
  t.notOk(never.mayRest(0, 1000));
  t.end();
});

t.test('the log-mel of a source is asked for only while somebody looks at it', async (t) => {
  const model = fakeModel('first', { windowSeconds: 2, columnSamples: RATE / 100 });
  const rig = createRig(2, { fallback: model });
  const { pipeline } = rig;
  const seen: { source: number; columns: number; endMs: number }[] = [];
  const look = (source: number) =>
    pipeline.sources[source]!.look(({ values, bands, columnMs }, endMs) => {
      t.equal(columnMs, 10);
      seen.push({ source: values[0]!, columns: values.length / bands, endMs });
    });
  const hear = async () => {
    for (const source of [0, 1]) {
      await rig.play(source, 20);
      await pipeline.sources[source]!.idle();
    }
  };
  await pipeline.start(model);
  for (const source of [0, 1]) rig.begin(source);
  await hear();
  const [engine] = rig.engines;
  t.ok(engine!.wantedColumns.length >= 4 && engine!.wantedColumns.every((count) => count === 0), 'by nobody');

  look(1);
  const before = engine!.wantedColumns.length;
  await hear();
  t.same(
    engine!.wantedColumns.slice(before).filter((count) => count > 0),
    [100, 100],
    'what is new of the one',
  );
  t.same(seen, [
    { source: 1, columns: 100, endMs: 3000 },
    { source: 1, columns: 100, endMs: 4000 },
  ]);

  pipeline.sources[1]!.look(null);
  const then = engine!.wantedColumns.length;
  await hear();
  t.ok(
    engine!.wantedColumns.slice(then).every((count) => count === 0),
    'and nothing once nobody looks',
  );
  t.equal(seen.length, 2);
  t.same(rig.faults(), []);
  await pipeline.stop();
});
