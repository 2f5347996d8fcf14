import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { silentLogger } from '../../src/common/log.js';
import type { LearntHead } from '../../src/inference/learnt-heads.js';
import { Pipeline } from '../../src/inference/pipeline.js';
import type { WindowResult } from '../../src/inference/window-report.js';
import { quietEvents } from '../support/quiet-events.js';
import { createEngines, fakeModel, ramp, type Behaviour } from '../support/stream-engine.js';
import { until } from '../support/waiting.js';

const RATE = 16_000;
const first = fakeModel('first', { windowSeconds: 2, sha256: 'a'.repeat(64), embedding: 'embedding' });
const second = fakeModel('second', { windowSeconds: 1, sha256: 'b'.repeat(64), embedding: 'embedding' });
const mute = fakeModel('mute', { windowSeconds: 1 });

const headOf = (slug: string, bias: number, model = first): LearntHead => ({
  slug,
  modelSha256: model.manifest.onnx_sha256,
  weights: Float32Array.of(1, 2, 3),
  bias,
});

function createRig(t: Test, behaviour: Behaviour = {}, sources = 1) {
  const { startEngine, engines, faults } = createEngines(RATE, behaviour);
  const results: WindowResult[] = [];
  const said: string[] = [];
  /** As somebody who listens knows them. */
  let known: readonly string[] = [];
  const wrong: string[] = [];
  const positions = Array.from({ length: sources }, () => 0);
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
    events: {
      ...quietEvents,
      result(result) {
        results.push(result);
        const names = result.heads.map(({ slug }) => slug);
        if (names.join() !== known.join()) wrong.push(`${names.join()} in place of ${known.join()}`);
        if (result.scores.length !== 3 + names.length) wrong.push(`${result.scores.length} scores`);
        result.learnt.forEach((score, at) => {
          if (score !== Math.fround(result.heads[at]!.bias)) wrong.push(`score ${at} is ${score}`);
        });
      },
      modelChanged(model) {
        said.push(model.manifest.id);
        known = [];
      },
      headsChanged(model, { heads, refused }) {
        known = heads.map(({ slug }) => slug);
        said.push(`${model.manifest.id}: ${known.join()}; not ${refused.map(({ slug }) => slug).join()}`);
      },
    },
  });
  t.teardown(() => pipeline.stop());
  return {
    pipeline,
    engines,
    results,
    said,
    faults: () => [...faults(), ...wrong],
    begin(source = 0) {
      positions[source] = 0;
      pipeline.sources[source]!.begin(RATE, false);
    },
    async play(seconds: number, source = 0) {
      for (let n = 0; n < seconds * 10; n += 1) {
        const from = positions[source]!;
        positions[source] = from + RATE / 10;
        await pipeline.sources[source]!.chunk(
          ramp(from, from + RATE / 10),
          (positions[source] * 1000) / RATE,
        );
      }
    },
  };
}

t.test('heads are told of before the first window with them, and outlive engines and swaps', async (t) => {
  const rig = createRig(t);
  const { pipeline, said, results } = rig;
  const early = await pipeline.learning.setHeads([headOf('bell', 0.5), headOf('other', 0.25, second)]);
  t.strictSame(
    early.heads.map(({ slug }) => slug),
    ['bell'],
    'what is to be expected before there is an engine',
  );
  await pipeline.start(first);
  t.strictSame(said, ['first', 'first: bell; not other']);
  rig.begin();
  await rig.play(2);
  await pipeline.idle();
  t.strictSame([...results.at(-1)!.learnt], [0.5]);

  rig.engines[0]!.die();
  await until(() => rig.engines.length === 2 && pipeline.ready, 'another engine', 10);
  t.strictSame(said.slice(2), ['first', 'first: bell; not other']);
  await rig.play(1);
  await pipeline.swap(second);
  t.strictSame(said.slice(4), ['second', 'second: other; not bell']);
  await rig.play(1);
  await pipeline.idle();
  t.strictSame([...results.at(-1)!.learnt], [0.25]);
  await pipeline.swap(mute);
  t.strictSame(said.slice(6), ['mute', 'mute: ; not bell,other']);
  await rig.play(1);
  await pipeline.idle();
  t.strictSame(results.at(-1)!.heads, []);
  await t.rejects(pipeline.learning.embed(new Float32Array(RATE), RATE), {
    code: 'no_embedding',
    message: /The model mute gives no embedding/,
  });
  await pipeline.swap(first);
  await pipeline.learning.setHeads([]);
  t.strictSame(said.slice(8), ['first', 'first: bell; not other', 'first: ; not ']);
  t.strictSame(rig.faults(), []);
});

t.test('whatever happens when, a window has the heads that were told of last', async (t) => {
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ kind: fc.constant('play' as const), tenths: fc.integer({ min: 1, max: 25 }) }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('heads' as const), count: fc.nat({ max: 3 }) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('swap' as const),
        model: fc.constantFrom(first, second, mute),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('kill' as const) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 20 }), async (steps) => {
      const rig = createRig(t, { infer: () => nextTurn() });
      const { pipeline } = rig;
      const pending: Promise<unknown>[] = [];
      await pipeline.start(first);
      rig.begin();
      let serial = 0;
      for (const next of steps) {
        if (next.kind === 'play') await rig.play(next.tenths / 10);
        else if (next.kind === 'kill') rig.engines.at(-1)?.die();
        else if (next.kind === 'swap') pending.push(pipeline.swap(next.model).catch(() => undefined));
        else {
          const heads = Array.from({ length: next.count }, () => {
            serial += 1;
            return headOf(`head ${serial}`, serial / 64, serial % 3 === 0 ? second : first);
          });
          pending.push(pipeline.learning.setHeads(heads));
        }
      }
      await Promise.all(pending);
      await pipeline.idle();
      await pipeline.stop();
      if (rig.faults().length > 0) throw new Error(rig.faults().join('\n'));
    }),
    { numRuns: 40 },
  );
});

t.test('a sample comes every so many ms of each source, and none unasked', async (t) => {
  const rig = createRig(t, {}, 2);
  const { pipeline, results } = rig;
  await pipeline.start(first);
  for (const source of [0, 1]) rig.begin(source);
  const play = async (seconds: number) => {
    for (let n = 0; n < seconds; n += 1) for (const source of [0, 1]) await rig.play(1, source);
    await pipeline.idle();
  };
  const sampled = (source: number) =>
    results.filter((one) => one.source === source && one.embedding !== null).map(({ seq }) => seq);
  await play(3);
  t.strictSame(rig.engines[0]!.sampled, []);
  pipeline.learning.setBackground({ everyMs: 2000 });
  await play(5);
  for (const source of [0, 1]) t.strictSame(sampled(source), [4, 6, 8]);
  pipeline.learning.setBackground(null);
  await play(3);
  t.strictSame(sampled(0), [4, 6, 8]);
  pipeline.learning.setBackground({ everyMs: 1000 });
  await play(2);
  t.strictSame(sampled(1), [4, 6, 8, 12, 13]);
  await pipeline.swap(mute);
  await play(2);
  t.strictSame(sampled(1), [4, 6, 8, 12, 13], 'a model without an embedding has none to give');
  t.strictSame(rig.faults(), []);
});

t.test('sound that is handed in waits for the windows that are due, but not for ever', async (t) => {
  const order: string[] = [];
  const rig = createRig(t);
  const { pipeline } = rig;
  await pipeline.start(first);
  const [engine] = rig.engines;
  const real = engine!.infer.bind(engine);
  engine!.infer = (request) => {
    order.push(request.embeddings === true ? 'aside' : 'window');
    // The ramp that the engine checks is another source's.
    if (request.embeddings !== true) return real(request);
    const embeddings = request.samples.slice(-3);
    return Promise.resolve({
      ...{ scores: embeddings, frames: null, columns: null, heads: [], featuresMs: 0, inferenceMs: 0 },
      embeddings,
      pieces: 1,
    });
  };
  rig.begin();
  const playing = rig.play(40);
  const embedded = pipeline.learning.embed(ramp(0, 6 * RATE), RATE);
  const { pieces, kind, modelSha256 } = await embedded;
  await playing;
  await pipeline.idle();
  t.equal(kind, 'window');
  t.equal(modelSha256, first.manifest.onnx_sha256);
  t.strictSame(
    pieces.map(({ startMs, endMs }) => [startMs, endMs]),
    [0, 1, 2, 3, 4].map((second) => [second * 1000, (second + 2) * 1000]),
  );
  for (const { endMs, embedding } of pieces) {
    t.strictSame(embedding, ramp((endMs * RATE) / 1000 - 3, (endMs * RATE) / 1000));
  }
  t.equal(order.filter((what) => what === 'aside').length, 5);
  t.notMatch(order.join(), 'aside,aside,aside,aside,aside', 'windows come between');
  t.equal(rig.results.length, 40);
  t.strictSame(rig.faults(), []);

  await t.rejects(pipeline.learning.embed(new Float32Array(10), RATE), { code: 'audio_too_short' });
  await t.rejects(pipeline.learning.embed(new Float32Array(RATE).fill(NaN), RATE), { code: 'bad_request' });
  const late = pipeline.learning.embed(ramp(0, 6 * RATE), RATE);
  const refused = t.rejects(late, { code: /^(shutting_down|inference_died)$/ });
  await pipeline.stop();
  await refused;
});
