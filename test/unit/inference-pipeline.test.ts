import type { ErrorCode } from '../../src/common/error-codes.js';
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { codeOf, SoundpostError } from '../../src/common/errors.js';
import { silentLogger } from '../../src/common/log.js';
import { Pipeline, type PipelineOptions } from '../../src/inference/pipeline.js';
import type { WindowResult } from '../../src/inference/window-report.js';
import { createScheduler } from '../../src/inference/scheduler.js';
import type { InstalledModel } from '../../src/models/registry.js';
import {
  createEngines,
  fakeModel,
  frameStartsOf,
  ramp,
  stretchOf,
  type Behaviour,
} from '../support/stream-engine.js';
import { until } from '../support/waiting.js';

const RATE = 16_000;
const first = fakeModel('first');
const second = fakeModel('second');
/** Another rate and another window. */
const other = fakeModel('other', { sampleRate: 8000, windowSeconds: 3 });

interface Rig {
  pipeline: Pipeline;
  engines: ReturnType<typeof createEngines>['engines'];
  results: WindowResult[];
  /** What was told besides results, in order. */
  said: string[];
  faults: () => string[];
  /** Begins a stream of the ramp. */
  begin(captureRate?: number, realTime?: boolean): void;
  /** Plays so many seconds of the ramp, holding back where the pipeline asks for it. */
  play(seconds: number): Promise<void>;
  position(): number;
  /** Resolves when `condition` holds; rejects with it and with what was said where it does not. */
  until(condition: () => boolean): Promise<void>;
}

function createRig(
  options: Partial<PipelineOptions> = {},
  behaviour: Behaviour = {},
  captureRate = RATE,
): Rig {
  const { startEngine, engines, faults } = createEngines(captureRate, behaviour);
  const results: WindowResult[] = [];
  const said: string[] = [];
  let position = 0;
  let rate = captureRate;
  const pipeline = new Pipeline({
    startEngine,
    fallback: first,
    rateHz: 1,
    windowSeconds: null,
    threads: 1,
    keepSeconds: 3,
    log: silentLogger,
    restartDelays: { firstMs: 2, maxMs: 4 },
    events: {
      result: (result) => results.push(result),
      modelChanged: (model) => said.push(`model ${model.manifest.id}`),
      engineLost: ({ code }) => said.push(`lost ${code}`),
      stillOut: ({ model }) => said.push(`${model.manifest.id} is still out`),
      cameBack: (model) => said.push(`${model.manifest.id} came back`),
      fellBack: ({ from, to }) => said.push(`fell back from ${from.manifest.id} to ${to.manifest.id}`),
    },
    ...options,
  });
  return {
    pipeline,
    engines,
    results,
    said,
    faults,
    begin(captureRate = RATE, realTime = false) {
      rate = captureRate;
      position = 0;
      pipeline.sources[0]!.begin(captureRate, realTime);
    },
    async play(seconds) {
      const end = position + Math.round(seconds * rate);
      while (position < end) {
        const to = Math.min(end, position + rate / 10);
        const samples = ramp(position, to);
        position = to;
        await pipeline.sources[0]!.chunk(samples, (to * 1000) / rate);
      }
    },
    position: () => position,
    async until(condition) {
      await until(condition, () => `${String(condition)}; said was ${said.join(', ')}`, 30, 1);
    },
  };
}

async function startRig(t: Test, ...options: Parameters<typeof createRig>): Promise<Rig> {
  const rig = createRig(...options);
  t.teardown(() => rig.pipeline.stop());
  await rig.pipeline.start(first);
  return rig;
}

/** What is wrong with results of one stream at 16 kHz: each has to be the sound that it says it is. */
function wrongWith(results: readonly WindowResult[]): string[] {
  const wrong: string[] = [];
  let seq = results.length === 0 ? 0 : results[0]!.seq - 1;
  let end = 0;
  for (const result of results) {
    const { sample_rate: rate, window_seconds: seconds } = result.model.manifest.input;
    const exact = rate === RATE;
    const window = stretchOf(result.scores);
    const to = (result.endMs * RATE) / 1000;
    const from = (result.startMs * RATE) / 1000;
    // A resampler may be some samples behind.
    const tolerance = exact ? 0.01 : RATE * 0.015;
    if (result.seq <= seq) wrong.push(`${result.seq} after ${seq}`);
    if (to <= end) wrong.push(`window to ${to} after one to ${end}`);
    if (Math.abs(window.to - to) > tolerance) wrong.push(`${window.to} instead of ${to}`);
    if (exact && Math.abs(window.from - from) > tolerance) wrong.push(`from ${window.from}, not ${from}`);
    const full = Math.min(seconds * RATE, to);
    if (Math.abs((window.samples * RATE) / rate - full) > tolerance) {
      wrong.push(`a window of ${window.samples} samples at ${to}`);
    }
    seq = result.seq;
    end = to;
  }
  return wrong;
}

const seqs = (results: readonly WindowResult[]) => results.map(({ seq }) => seq);
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

/** A promise that a test resolves. */
function gate(): { opened: Promise<void>; open: () => void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/* What may happen to a pipeline, for properties. */
const just = <K extends string>(kind: K) => fc.record({ kind: fc.constant(kind) });
const plays = (longestTenths: number) =>
  fc.record({ kind: fc.constant('play' as const), tenths: fc.integer({ min: 1, max: longestTenths }) });
const swapsTo = (...models: InstalledModel[]) =>
  fc.record({ kind: fc.constant('swap' as const), model: fc.constantFrom(...models) });
const rates = (...hz: number[]) =>
  fc.record({ kind: fc.constant('rate' as const), hz: fc.constantFrom(...hz) });

t.test('whatever happens, a file loses no window and gets none twice', async (t) => {
  const step = fc.oneof(
    { weight: 4, arbitrary: plays(60) },
    { weight: 2, arbitrary: swapsTo(first, second, other) },
    { weight: 1, arbitrary: just('kill') },
    { weight: 1, arbitrary: rates(0.1, 0.3, 1, 3, 20) },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 3, maxLength: 14 }),
      fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 8 }),
      async (steps, turns) => {
        let at = 0;
        const wait = async () => {
          for (let n = turns[at++ % turns.length]!; n > 0; n -= 1) await nextTurn();
        };
        const rig = createRig({}, { load: wait, infer: wait });
        const { pipeline } = rig;
        const reference = createScheduler({ sampleRate: RATE, rateHz: 1, minSeconds: 0.1, windowSeconds: 1 });
        const due: number[] = [];
        try {
          await pipeline.start(first);
          rig.begin();
          const swaps: Promise<unknown>[] = [];
          for (const next of steps) {
            if (next.kind === 'play') {
              for (let n = 0; n < next.tenths; n += 1) {
                await rig.play(0.1);
                due.push(...reference.due(rig.position()));
              }
            } else if (next.kind === 'swap') {
              swaps.push(
                pipeline.swap(next.model).catch((error: unknown) => {
                  // An engine that is killed while it is swapped in is a failed swap.
                  if (!['busy', 'inference_died'].includes(codeOf(error))) throw error;
                }),
              );
            } else if (next.kind === 'kill') {
              rig.engines.at(-1)?.die();
            } else {
              pipeline.setRate(next.hz);
              reference.setRate(next.hz, rig.position());
            }
          }
          await Promise.all(swaps);
          await pipeline.idle();
          const got = rig.results.map(({ endMs }) => Math.round((endMs * RATE) / 1000));
          // Windows that a change of rate made due at once are found with the next chunk.
          t.strictSame([...rig.faults(), ...wrongWith(rig.results)], []);
          t.strictSame(got, due);
          t.strictSame(seqs(rig.results), upTo(due.length));
          t.equal(rig.pipeline.counters().dropped, 0);
        } finally {
          await pipeline.stop();
        }
        t.notOk(
          rig.engines.some(({ alive }) => alive),
          'no engine is left',
        );
      },
    ),
    { numRuns: 60 },
  );
});

t.test('each piece of sound is told of once in frames, whatever happens', async (t) => {
  const frames = (hop: number, offset: number, context: number, lookback = 0) => ({
    lookback_seconds: lookback,
    hop_seconds: hop,
    offset_seconds: offset,
    context_seconds: context,
  });
  const fine = fakeModel('fine', { windowSeconds: 3, frames: frames(0.1, 0, 0.2) });
  const centred = fakeModel('centred', { windowSeconds: 2, frames: frames(0.16, -0.08, 0.64, 1) });
  const coarse = fakeModel('coarse', { windowSeconds: 1 });
  const step = fc.oneof(
    { weight: 5, arbitrary: plays(40) },
    { weight: 2, arbitrary: swapsTo(fine, centred, coarse) },
    { weight: 1, arbitrary: just('kill') },
    { weight: 1, arbitrary: just('pause') },
    { weight: 1, arbitrary: just('break') },
    { weight: 1, arbitrary: rates(0.2, 0.7, 1, 3, 5) },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 3, maxLength: 16 }),
      fc.boolean(),
      async (steps, realTime) => {
        const rig = createRig({}, { infer: () => nextTurn() });
        const { pipeline } = rig;
        /** From where on sound may be told of: what came before a pause or a break is not. */
        let floors: number[] = [];
        try {
          await pipeline.start(fine);
          rig.begin(RATE, realTime);
          for (const next of steps) {
            if (next.kind === 'play') await rig.play(next.tenths / 10);
            else if (next.kind === 'rate') pipeline.setRate(next.hz);
            else if (next.kind === 'kill') rig.engines.at(-1)?.die();
            else if (next.kind === 'swap') {
              await pipeline.swap(next.model).catch((error: unknown) => {
                if (!['busy', 'inference_died'].includes(codeOf(error))) throw error;
              });
            } else {
              await pipeline.idle();
              floors = [...floors, rig.position()];
              if (next.kind === 'break') pipeline.sources[0]!.interrupt();
              else {
                pipeline.sources[0]!.setPaused(true);
                await rig.play(0.5);
                floors.push(rig.position());
                pipeline.sources[0]!.setPaused(false);
              }
            }
          }
          await pipeline.idle();
          const toPosition = (ms: number) => (ms * RATE) / 1000;
          let told = 0;
          for (const { fresh, startMs, endMs, model } of rig.results) {
            if (fresh === null) continue;
            const [from, to] = [toPosition(fresh.startMs), toPosition(fresh.endMs)];
            const spec = model.manifest.output.frames;
            const hop = (spec?.hop_seconds ?? 0) * RATE;
            if (from < told - 1) throw new Error(`told of ${from} again, after ${told}`);
            if (to <= from) throw new Error(`frames from ${from} to ${to}`);
            if (to > toPosition(endMs) - (spec?.context_seconds ?? 0) * RATE + 1)
              throw new Error(`told of ${to} before it was final, at ${toPosition(endMs)}`);
            const reach = toPosition(startMs) + Math.max(0, (spec?.offset_seconds ?? 0) * RATE);
            const floor = Math.max(told, ...floors.filter((at) => at <= from + hop / 2));
            // What no window reaches is gone, and what a pause or a break has cut off.
            if (from > Math.max(floor, reach) + hop / 2 + 1)
              throw new Error(`left out from ${floor} to ${from}, in reach from ${reach}`);
            if (spec !== null) {
              const starts = frameStartsOf(fresh.values);
              if (starts.length !== fresh.before + fresh.count) throw new Error(`${starts.length} frames`);
              for (const [index, at] of starts.slice(fresh.before).entries()) {
                const expected = index === 0 ? from : to - (fresh.count - index) * hop;
                if (Math.abs(at - expected) > (index === 0 ? hop / 2 + 1 : 1))
                  throw new Error(`frame ${index} of ${fresh.count} is at ${at}, not ${expected}`);
              }
            }
            told = to;
          }
          t.strictSame(rig.faults(), []);
        } finally {
          await pipeline.stop();
        }
      },
    ),
    { numRuns: 100 },
  );
});

t.test('live sound drops the oldest window, counts it, and goes on in order', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({ tenths: fc.integer({ min: 1, max: 30 }), turns: fc.integer({ min: 0, max: 4 }) }),
        {
          minLength: 2,
          maxLength: 20,
        },
      ),
      fc.constantFrom(1, 3, 20),
      fc.option(fc.nat(19), { nil: null }),
      async (stretches, rateHz, killAt) => {
        const slow = async () => {
          for (let n = 0; n < 3; n += 1) await nextTurn();
        };
        const rig = createRig({ rateHz }, { infer: slow });
        try {
          await rig.pipeline.start(first);
          rig.begin(RATE, true);
          for (const [index, { tenths, turns }] of stretches.entries()) {
            await rig.play(tenths / 10);
            for (let n = 0; n < turns; n += 1) await nextTurn();
            if (index === killAt) rig.engines.at(-1)?.die();
          }
          await rig.pipeline.idle();
          const { processed, dropped } = rig.pipeline.counters();
          t.strictSame([...rig.faults(), ...wrongWith(rig.results)], []);
          t.equal(processed, rig.results.length);
          // Windows that the end took along come after the last answer.
          const last = rig.results.at(-1)?.seq ?? 0;
          t.ok(last - processed <= dropped && last <= processed + dropped, 'each gap is a counted drop');
        } finally {
          await rig.pipeline.stop();
        }
      },
    ),
    { numRuns: 40 },
  );
});

t.test('live sound that meets a busy engine', async (t) => {
  const { opened, open } = gate();
  const rig = await startRig(t, {}, { infer: () => opened });
  rig.begin(RATE, true);
  await rig.until(() => rig.pipeline.ready);
  for (let n = 0; n < 50; n += 1) {
    await rig.play(0.1);
    await nextTurn();
  }
  t.equal(rig.pipeline.counters().dropped, 3, 'of five windows one is at work, the newest waits');
  open();
  await rig.pipeline.idle();
  t.strictSame(
    rig.results.map(({ seq, endMs }) => [seq, endMs]),
    [
      [4, 1000],
      [5, 5000],
    ],
  );
});

t.test('a file at full speed waits for a slow engine, however far apart the windows are', async (t) => {
  const rig = await startRig(t, { rateHz: 0.1 }, { infer: () => delay(5) });
  rig.begin();
  await rig.play(65);
  await rig.pipeline.idle();
  t.equal(rig.pipeline.counters().dropped, 0);
  t.strictSame(
    rig.results.map(({ endMs }) => endMs),
    [1000, 11_000, 21_000, 31_000, 41_000, 51_000, 61_000],
  );
  t.strictSame([...rig.faults(), ...wrongWith(rig.results)], []);
});

t.test('a swap', (t) => {
  t.test('answers with a full window at once, at another rate and length', async (t) => {
    const rig = await startRig(t);
    rig.begin();
    await rig.play(5.5);
    const { loadMs } = await rig.pipeline.swap(other);
    t.equal(loadMs, 1);
    t.equal(rig.pipeline.model.manifest.id, 'other');
    await rig.play(4);
    await rig.pipeline.idle();
    t.strictSame([...rig.faults(), ...wrongWith(rig.results)], []);
    t.strictSame(seqs(rig.results), upTo(9));
    const fresh = rig.results.find(({ model }) => model === other)!;
    t.equal(fresh.endMs, 6000);
    t.equal(fresh.startMs, 3000, 'a full window');
    t.strictSame(rig.said, ['model first', 'model other']);
    t.notOk(rig.engines[0]!.alive, 'the old engine is gone');
  });

  t.test('from 48 kHz', async (t) => {
    const rig = await startRig(t, {}, {}, 48_000);
    rig.begin(48_000);
    await rig.play(4.2);
    await rig.pipeline.swap(other);
    await rig.play(3);
    await rig.pipeline.idle();
    t.strictSame(rig.faults(), []);
    for (const { scores, endMs } of rig.results) {
      const { to } = stretchOf(scores);
      t.ok(Math.abs(to - endMs * 48) < 720, `${to} at ${endMs} ms`);
    }
    t.strictSame(seqs(rig.results), upTo(7));
  });

  t.test('that fails leaves the old model at work', async (t) => {
    const failures: [string, Behaviour][] = [
      ['model_unreadable', { load: failing('second', 'model_unreadable') }],
      ['bad_output', { infer: failing('second', 'bad_output') }],
    ];
    for (const [code, behaviour] of failures) {
      const rig = await startRig(t, {}, behaviour);
      rig.begin();
      await rig.play(2.5);
      await t.rejects(rig.pipeline.swap(second), { code });
      await rig.play(2.5);
      await rig.pipeline.idle();
      t.strictSame([...rig.faults(), ...wrongWith(rig.results)], []);
      t.strictSame(seqs(rig.results), upTo(5));
      t.ok(rig.results.every(({ model }) => model === first));
      t.strictSame(rig.said, ['model first']);
      t.ok(rig.engines[0]!.alive);
      t.notOk(rig.engines.slice(1).some(({ alive }) => alive));
    }
  });

  t.test('to an engine that dies before its turn leaves the old model at work', async (t) => {
    const atWork = gate();
    const rig = await startRig(
      t,
      {},
      { infer: ({ manifest }) => (manifest.id === 'first' ? atWork.opened : undefined) },
    );
    rig.begin();
    await rig.until(() => rig.pipeline.ready);
    await nextTurn();
    await rig.play(1.5);
    const swap = rig.pipeline.swap(second, {
      onProgress: (progress) => {
        if (progress === 0.9) setImmediate(() => rig.engines[1]!.die());
      },
    });
    setTimeout(atWork.open, 20);
    await t.rejects(swap, { code: 'inference_died' });
    await rig.play(1);
    await rig.pipeline.idle();
    t.strictSame(rig.said, ['model first']);
    t.strictSame(seqs(rig.results), upTo(2));
  });

  t.test('is refused while another one runs, and called off by its signal', async (t) => {
    const hang = gate();
    const rig = await startRig(
      t,
      {},
      {
        infer: ({ manifest }) => (manifest.id === 'second' ? hang.opened : undefined),
      },
    );
    rig.begin();
    await rig.play(1.5);
    const abort = new AbortController();
    const swap = rig.pipeline.swap(second, { signal: abort.signal });
    const refused = t.rejects(swap, { code: 'aborted' });
    await rig.until(() => rig.engines.length === 2);
    await t.rejects(rig.pipeline.swap(other), { code: 'busy' });
    abort.abort();
    await refused;
    t.notOk(rig.engines[1]!.alive, 'a network that hangs does not hold it up');
    await rig.pipeline.swap(other);
    t.equal(rig.pipeline.model.manifest.id, 'other');
  });

  t.test('survives a new beginning of the sound at any point', async (t) => {
    for (let turns = 0; turns < 12; turns += 1) {
      const rig = await startRig(t);
      rig.begin();
      await rig.play(4.5);
      const swap = rig.pipeline.swap(other);
      for (let n = 0; n < turns; n += 1) await nextTurn();
      const before = rig.results.length;
      rig.begin();
      await rig.play(0.5);
      await swap;
      await rig.play(4.5);
      await rig.pipeline.idle();
      t.strictSame([...rig.faults(), ...wrongWith(rig.results.slice(before))], []);
      t.strictSame(
        rig.results.slice(before).map(({ endMs }) => endMs),
        [1000, 2000, 3000, 4000, 5000],
      );
      t.equal(rig.results.at(-1)!.model, other);
    }
  });

  t.test('takes the place of an engine that cannot be started again', async (t) => {
    let broken = false;
    const rig = await startRig(
      t,
      { restartDelays: { firstMs: 20, maxMs: 20 } },
      {
        load({ manifest }) {
          if (broken && manifest.id === 'first') throw new SoundpostError('model_digest', 'changed on disk');
        },
      },
    );
    rig.begin(RATE, true);
    await rig.play(1.5);
    broken = true;
    rig.engines[0]!.die();
    await rig.until(() => rig.said.includes('lost inference_died'));
    await rig.pipeline.swap(second);
    const said = [...rig.said];
    await delay(60);
    t.strictSame(rig.said, said, 'nothing more is said of the first one');
    t.ok(rig.pipeline.ready);
    t.equal(rig.pipeline.model, second);
  });
  t.end();
});

t.test('a pause', async (t) => {
  const rig = await startRig(t);
  rig.begin();
  await rig.play(2.5);
  await rig.pipeline.idle();
  rig.pipeline.sources[0]!.setPaused(true);
  await rig.play(10);
  t.equal(rig.results.length, 2);
  rig.pipeline.sources[0]!.setPaused(false);
  await rig.play(2.1);
  await rig.pipeline.idle();
  t.strictSame(
    rig.results.map(({ seq, endMs }) => [seq, endMs]),
    [
      [1, 1000],
      [2, 2000],
      [3, 13_500],
      [4, 14_500],
    ],
  );
  t.strictSame([...rig.faults(), ...wrongWith(rig.results)], []);

  t.test('tells nothing of what was at work when it began', async (t) => {
    const { opened, open } = gate();
    const rig = await startRig(t, {}, { infer: () => opened });
    rig.begin();
    await nextTurn();
    await rig.play(1.1);
    await rig.until(() => rig.engines.length === 1);
    rig.pipeline.sources[0]!.setPaused(true);
    rig.pipeline.sources[0]!.setPaused(false);
    open();
    await rig.pipeline.idle();
    t.strictSame(rig.results, []);
  });

  t.test('forgets the window of an engine that dies in it', async (t) => {
    const rig = await startRig(t, {}, { infer: () => delay(10) });
    rig.begin();
    await rig.play(1.1);
    rig.pipeline.sources[0]!.setPaused(true);
    rig.engines[0]!.die();
    await rig.until(() => rig.engines.length === 2 && rig.pipeline.ready);
    rig.pipeline.sources[0]!.setPaused(false);
    await rig.play(1.1);
    await rig.pipeline.idle();
    t.strictSame(
      rig.results.map(({ endMs }) => endMs),
      [2100],
    );
  });
});

t.test('sound that breaks off takes its unanswered windows along', async (t) => {
  const { opened, open } = gate();
  const rig = await startRig(t, {}, { infer: () => opened });
  rig.begin(RATE, true);
  await nextTurn();
  await nextTurn();
  await rig.play(2.5);
  rig.pipeline.sources[0]!.interrupt();
  open();
  await rig.pipeline.idle();
  t.strictSame(rig.results, []);
});

t.test('an engine that fails', (t) => {
  t.test('again and again is given up for the bundled model', async (t) => {
    const rig = await startRig(t, {}, { infer: failing('second', 'bad_output', 1) });
    rig.begin();
    await rig.play(0.5);
    await rig.pipeline.swap(second);
    await rig.play(3);
    await rig.pipeline.idle();
    t.equal(rig.pipeline.model, first);
    t.strictSame(seqs(rig.results), upTo(3), 'a file loses nothing by it');
    t.strictSame([...rig.faults(), ...wrongWith(rig.results)], []);
    t.strictSame(rig.said.slice(-2), ['fell back from second to first', 'model first']);
    t.equal(rig.said.filter((text) => text === 'lost bad_output').length, 2);
  });

  t.test('by hanging once is started again, and given up when it hangs again', async (t) => {
    const rig = await startRig(t, {}, { infer: failing('second', 'inference_timeout', 1) });
    rig.begin();
    await rig.play(0.5);
    await rig.pipeline.swap(second);
    await rig.play(1);
    await rig.pipeline.idle();
    t.strictSame(rig.said, [
      'model first',
      'model second',
      'lost inference_timeout',
      'model second',
      'fell back from second to first',
      'model first',
    ]);
    t.strictSame(seqs(rig.results), [1]);
  });

  t.test('that was given up is tried again until it works', async (t) => {
    let attempts = 0;
    const load = ({ manifest }: InstalledModel) => {
      if (manifest.id !== 'second') return;
      attempts += 1;
      if (attempts < 3) throw new SoundpostError('model_unreadable', 'the disk has no wish to');
    };
    const rig = createRig({ retryDelays: { firstMs: 5, maxMs: 20 } }, { load });
    t.teardown(() => rig.pipeline.stop());
    await rig.pipeline.start(second);
    t.match(rig.pipeline.givenUp, { model: { manifest: { id: 'second' } }, reason: /no wish/ });
    await rig.until(() => rig.said.at(-1) === 'second came back');
    t.strictSame(rig.said, [
      'fell back from second to first',
      'model first',
      'second is still out',
      'model second',
      'second came back',
    ]);
    t.equal(rig.pipeline.givenUp, null);
    t.equal(rig.pipeline.model, second);
  });

  t.test('that was given up is left alone once another is chosen, and chosen at any time', async (t) => {
    let broken = true;
    const { opened, open } = gate();
    let tries = 0;
    const load = async ({ manifest }: InstalledModel) => {
      if (manifest.id !== 'second') return;
      tries += 1;
      if (broken && tries > 1) await opened;
      if (broken) throw new SoundpostError('model_unreadable', 'broken');
    };
    const rig = createRig({ retryDelays: { firstMs: 2, maxMs: 2 } }, { load });
    t.teardown(() => rig.pipeline.stop());
    await rig.pipeline.start(second);
    await rig.until(() => tries === 2);
    // An attempt hangs in the middle: nobody has to wait for it.
    const third = { ...first, folder: '/models/third', manifest: { ...first.manifest, id: 'third' } };
    const choosing = rig.pipeline.swap(third);
    broken = false;
    open();
    await choosing;
    t.equal(rig.pipeline.model, third);
    t.equal(rig.pipeline.givenUp, null);
  });

  t.test('for want of processes is no failure of the model', async (t) => {
    let lives = 0;
    const load = () => {
      lives += 1;
      if (lives === 1 || (lives > 2 && lives < 6)) throw new SoundpostError('no_resources', 'no handles');
    };
    const rig = createRig({}, { load });
    t.teardown(() => rig.pipeline.stop());
    await rig.pipeline.start(second);
    t.notOk(rig.pipeline.ready, 'the start goes on without it');
    await rig.until(() => rig.pipeline.ready);
    rig.engines.at(-1)!.die();
    await rig.until(() => rig.said.filter((text) => text === 'model second').length === 2);
    t.equal(rig.pipeline.model, second);
    t.notOk(rig.said.some((text) => text.startsWith('fell back')));
  });

  t.test('is waited for: health sees it', async (t) => {
    const { opened, open } = gate();
    const rig = await startRig(t, {}, { infer: () => opened });
    rig.begin(RATE, true);
    t.equal(rig.pipeline.waiting().forMs, 0);
    await rig.play(2);
    t.ok(rig.pipeline.waiting(performance.now() + 27_000).forMs >= 27_000);
    open();
    await rig.pipeline.idle();
    t.equal(rig.pipeline.waiting(performance.now() + 27_000).forMs, 0);
    rig.engines[0]!.die();
    await nextTurn();
    await rig.play(1);
    t.ok(rig.pipeline.waiting(performance.now() + 27_000).forMs >= 27_000, 'without an engine, too');
  });

  t.test('at the start is replaced by the bundled model', async (t) => {
    const rig = createRig({}, { load: failing('second', 'model_shape') });
    t.teardown(() => rig.pipeline.stop());
    await rig.pipeline.start(second);
    t.strictSame(rig.said, ['fell back from second to first', 'model first']);
  });

  t.test('at the end of a file is waited for', async (t) => {
    const rig = await startRig(t, {}, { infer: () => delay(5) });
    rig.begin();
    await rig.play(1);
    rig.engines[0]!.die();
    await nextTurn();
    await rig.pipeline.idle();
    t.strictSame(seqs(rig.results), [1]);
  });
  t.end();
});

t.test('stop', (t) => {
  t.test('in the middle of anything leaves no engine', async (t) => {
    for (let turns = 0; turns < 14; turns += 1) {
      const rig = createRig({}, { load: () => delay(2), infer: () => delay(1) });
      const starting = rig.pipeline.start(first);
      if (turns >= 4) {
        await starting;
        rig.begin();
        await rig.play(1.5);
        if (turns % 2 === 0) rig.engines[0]!.die();
        void rig.pipeline.swap(second).catch(() => undefined);
      } else {
        starting.catch(() => undefined);
      }
      for (let n = 0; n < turns; n += 1) await nextTurn();
      await rig.pipeline.stop();
      const count = rig.engines.length;
      t.notOk(
        rig.engines.some(({ alive }) => alive),
        `after ${turns} turns`,
      );
      const heard = rig.results.length;
      await rig.play(2);
      await delay(8);
      t.equal(rig.engines.length, count, 'nothing is started any more');
      t.equal(rig.results.length, heard);
    }
  });
  t.end();
});

/** Throws for one model, in the windows after the first `good` ones. */
function failing(id: string, code: ErrorCode, good = 0): (model: InstalledModel) => void {
  let count = 0;
  return ({ manifest }) => {
    if (manifest.id !== id) return;
    count += 1;
    if (count > good) throw new SoundpostError(code, 'as it was told to');
  };
}

t.test('a configured window that is too short keeps nobody waiting for the first answer', async (t) => {
  const patient = fakeModel('patient', { windowSeconds: 3, minSeconds: 1 });
  const rig = createRig({ windowSeconds: 0.1, rateHz: 0.01 });
  t.teardown(() => rig.pipeline.stop());
  await rig.pipeline.start(patient);
  rig.begin();
  await rig.play(2);
  await rig.until(() => rig.results.length > 0);
  t.match(rig.results, [{ startMs: 0, endMs: 1000 }], 'the shortest that the network takes');
  t.strictSame(rig.faults(), []);
});
