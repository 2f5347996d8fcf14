import fc from 'fast-check';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import t, { type Test } from 'tap';
import { decodeChunks } from '../../src/audio/decode.js';
import { resampleWhole } from '../../src/audio/resample.js';
import { silentLogger as log } from '../../src/common/log.js';
import { scoreOf } from '../../src/common/linear-head.js';
import type { InferenceEngine, InferenceResult } from '../../src/inference/engine.js';
import type { LearntHead } from '../../src/inference/learnt-heads.js';
import { prepareModelInputs } from '../../src/inference/model-input.js';
import { Pipeline } from '../../src/inference/pipeline.js';
import { createStartEngine } from '../../src/inference/start-engine.js';
import type { WindowResult } from '../../src/inference/window-report.js';
import { createRegistry, type InstalledModel } from '../../src/models/registry.js';
import { createTagger } from '../../src/tagging/tagger.js';
import { hopOf } from '../../src/tagging/hop.js';
import { quietEvents } from '../support/quiet-events.js';
import { projectPath } from '../support/shared.js';
import { plainTagging } from '../support/tagging.js';
import { installToneModel, tone, WAVEFORM_RATE } from '../support/tone-models.js';
import { until } from '../support/waiting.js';

/*
 * Learnt labels in the real inference process, with the bundled model and with tone models: what comes out has to be what
 * anybody gets who runs the network and applies the heads outside.
 */

const startEngine = createStartEngine({ log });
const FEATURES = 384;

async function home(t: Test): Promise<InstalledModel> {
  return createRegistry({ bundledFolder: projectPath('models'), dataDir: t.testdir(), log }).get(
    'soundpost-home',
  );
}

async function start(t: Test, model: InstalledModel): Promise<InferenceEngine> {
  const engine = await startEngine(model, { threads: 1 });
  t.teardown(() => engine.stop());
  return engine;
}

/** Some seconds of the demo's day, at the rate of the bundled model. */
async function demo(fromSeconds: number, seconds: number): Promise<Float32Array> {
  const parts: Float32Array[] = [];
  let rate = 0;
  let count = 0;
  for await (const { samples, sampleRate } of decodeChunks(
    projectPath('models', 'demo', 'day-at-home.wav'),
    {},
  )) {
    rate = sampleRate;
    parts.push(samples.slice());
    count += samples.length;
    if (count > (fromSeconds + seconds) * rate) break;
  }
  const whole = Float32Array.from(parts.flatMap((part) => [...part]));
  return resampleWhole(whole.slice(fromSeconds * rate, (fromSeconds + seconds) * rate), rate, 32_000);
}

/** The same numbers each time, around 0 and small enough that scores are neither 0 nor 1. */
function headOf(model: InstalledModel, slug: string, seed: number, features = FEATURES): LearntHead {
  let state = seed;
  const weights = Float32Array.from({ length: features }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) / 8;
  });
  return { slug, modelSha256: model.manifest.onnx_sha256, weights, bias: 0.1, unitLength: seed % 2 === 0 };
}

/** What the network says of a window, without any of our processes. */
async function bareOutputs(model: InstalledModel) {
  const session = await InferenceSession.create(model.onnxPath, {
    intraOpNumThreads: 1,
    logSeverityLevel: 4,
  });
  const createInput = await prepareModelInputs(model.manifest.input);
  return async (window: Float32Array) => {
    const input = createInput(window.length);
    input.push(window);
    const feeds = Object.fromEntries(
      input.tensors(window.length).map(({ name, data, dims }) => [name, new Tensor('float32', data, dims)]),
    );
    const all = await session.run(feeds);
    const floats = (name: string) => (all[name] as Tensor).data as Float32Array;
    return { scores: floats('probs'), frames: floats('frames'), embeddings: floats('embedding_frames') };
  };
}

const windowOf = (samples: Float32Array) => ({ samples, reset: true, windowSamples: samples.length });
const near = (a: ArrayLike<number>, b: ArrayLike<number>, within = 1e-5) =>
  a.length === b.length && Array.from(a).every((value, at) => Math.abs(value - b[at]!) <= within);

t.test('scores in the process are those of the network and the heads outside of it', async (t) => {
  const model = await home(t);
  const engine = await start(t, model);
  const bare = await bareOutputs(model);
  const sound = await demo(0, 40);
  const labels = model.labels.length;
  const rate = 32_000;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 1000 }), { maxLength: 4 }),
      fc.integer({ min: 0, max: 35 }),
      fc.integer({ min: 0, max: 20 }),
      fc.integer({ min: 1, max: 12 }),
      fc.boolean(),
      async (seeds, second, from, count, embeddings) => {
        const heads = seeds.map((seed, at) => headOf(model, `own ${at}`, seed));
        await engine.learn(heads);
        const window = sound.subarray(second * rate, (second + 5) * rate);
        const to = from + count;
        const result = await engine.infer({ ...windowOf(window), frames: { from, to }, embeddings });
        const expected = await bare(window);
        const rows = Math.floor(expected.embeddings.length / FEATURES);
        const width = labels + heads.length;
        t.strictSame(
          result.heads.map(({ slug }) => slug),
          heads.map(({ slug }) => slug),
        );
        t.ok(near(result.scores.subarray(0, labels), expected.scores), 'the model’s own scores');
        const last = Math.min(to, rows);
        t.equal(result.frames!.length, (last - from) * width);
        for (let row = from; row < last; row += 1) {
          const told = result.frames!.subarray((row - from) * width, (row - from + 1) * width);
          const learnt = heads.map((head) => scoreOf(head, expected.embeddings, row * FEATURES));
          t.ok(near(told, [...expected.frames.subarray(row * labels, (row + 1) * labels), ...learnt]));
        }
        heads.forEach((head, each) => {
          const all = Array.from({ length: last - from }, (_, row) =>
            scoreOf(head, expected.embeddings, (from + row) * FEATURES),
          );
          t.ok(near([result.scores[labels + each]!], [Math.max(...all)]), 'the highest of the frames');
        });
        const first = embeddings ? from : last;
        const wanted = expected.embeddings.subarray(first * FEATURES, last * FEATURES);
        t.equal(result.pieces, last - first);
        if (!embeddings) t.equal(result.embeddings, null);
        else t.ok(near(result.embeddings!, wanted, 1e-4), 'the embeddings of the frames');
      },
    ),
    { numRuns: 25 },
  );
});

t.test('heads of another model, and of another width, are told and not applied', async (t) => {
  const model = await home(t);
  const engine = await start(t, model);
  const good = headOf(model, 'bell', 3);
  const { heads, refused } = await engine.learn([
    headOf(model, 'narrow', 1, 12),
    good,
    { ...good, slug: 'other', modelSha256: 'f'.repeat(64) },
  ]);
  t.strictSame(
    heads.map(({ slug }) => slug),
    ['bell'],
  );
  t.match(refused, [
    { slug: 'other', code: 'other_model' },
    { slug: 'narrow', code: 'bad_head', reason: /384 numbers/ },
  ]);
  const { scores } = await engine.infer(windowOf(await demo(0, 5)));
  t.equal(scores.length, model.labels.length + 1);
});

t.test('answers keep to their questions, however they are mixed', async (t) => {
  const model = await home(t);
  const engine = await start(t, model);
  const sound = await demo(0, 5);
  const asked: Promise<unknown>[] = [];
  const widths: Promise<number>[] = [];
  for (let round = 0; round < 4; round += 1) {
    const heads = Array.from({ length: round }, (_, at) => headOf(model, `own ${at}`, at + 1));
    widths.push(engine.infer(windowOf(sound)).then(({ scores }) => scores.length));
    asked.push(engine.learn(heads));
    widths.push(engine.infer(windowOf(sound)).then(({ scores }) => scores.length));
  }
  await Promise.all(asked);
  const labels = model.labels.length;
  t.strictSame(
    (await Promise.all(widths)).map((width) => width - labels),
    [0, 0, 0, 1, 1, 2, 2, 3],
  );
});

t.test('without embeddings of frames the window’s counts, and a model with none says so', async (t) => {
  const dataDir = t.testdir();
  const install = async (embedding: string | null) => {
    const { id } = await installToneModel(dataDir, 'waveform', { frames: {}, windowSeconds: 2 });
    const model = await createRegistry({ bundledFolder: projectPath('models'), dataDir, log }).get(id);
    const output = { ...model.manifest.output, embedding };
    return { ...model, manifest: { ...model.manifest, output } };
  };
  // Any output will do for an embedding: this one knows the three tones.
  const model = await install('scores');
  const engine = await start(t, model);
  const head = headOf(model, 'bell', 5, 3);
  await engine.learn([head]);
  const sound = new Float32Array(2 * WAVEFORM_RATE);
  sound.set(tone(500, 1, WAVEFORM_RATE), WAVEFORM_RATE / 2);
  const result = await engine.infer({ ...windowOf(sound), frames: { from: 3, to: 8 }, embeddings: true });
  const score = scoreOf(head, result.scores.subarray(0, 3));
  t.ok(near([result.scores[3]!], [score]));
  t.equal(result.frames!.length, 5 * 4);
  for (let row = 0; row < 5; row += 1) t.equal(result.frames![row * 4 + 3], result.scores[3]);
  t.strictSame(result.embeddings, result.scores.slice(0, 3));

  const mute = await start(t, await install(null));
  const { heads, refused } = await mute.learn([head]);
  t.strictSame(heads, []);
  t.match(refused, [{ slug: 'bell', code: 'no_embedding', reason: /names no output for it/ }]);
  const silent: InferenceResult = await mute.infer({ ...windowOf(sound), embeddings: true });
  t.equal(silent.embeddings, null);
});

function createRig(t: Test, model: InstalledModel, sources: number) {
  const results: WindowResult[] = [];
  const pipeline = new Pipeline({
    startEngine,
    fallback: model,
    rateHz: 1,
    windowSeconds: null,
    threads: 1,
    keepSeconds: 5,
    sources,
    log,
    restartDelays: { firstMs: 1, maxMs: 2 },
    events: { ...quietEvents, result: (result) => results.push(result) },
  });
  t.teardown(() => pipeline.stop());
  const at = Array.from({ length: sources }, () => 0);
  return {
    pipeline,
    results,
    async play(source: number, sound: Float32Array, beginMs: number) {
      const chunk = 3200;
      for (let from = 0; from < sound.length; from += chunk) {
        const part = sound.subarray(from, from + chunk);
        at[source]! += part.length;
        await pipeline.sources[source]!.chunk(part, beginMs + (at[source]! * 1000) / 32_000);
      }
      await pipeline.idle();
    },
  };
}

t.test('sound that is handed in and a restart, with two sources', async (t) => {
  const model = await home(t);
  const rig = createRig(t, model, 2);
  const { pipeline, results } = rig;
  const sounds = [await demo(0, 12), await demo(20, 12)];
  const beginMs = 1.7e12;
  const bell = headOf(model, 'bell', 8);
  await pipeline.learning.setHeads([bell]);
  await pipeline.start(model);
  for (const source of sounds.keys()) pipeline.sources[source]!.begin(32_000, false);
  for (const [source, sound] of sounds.entries())
    await rig.play(source, sound.subarray(0, 11 * 32_000), beginMs);

  const bare = await bareOutputs(model);
  const handed = await pipeline.learning.embed(sounds[0]!.slice(0, 5 * 32_000), 32_000);
  const whole = await bare(sounds[0]!.slice(0, 5 * 32_000));
  t.ok(handed.pieces.length >= 31);
  handed.pieces.forEach(({ embedding, startMs }, row) => {
    t.ok(Math.abs(startMs - (row * 160 - 80)) < 1e-6);
    t.ok(near(embedding, whole.embeddings.subarray(row * FEATURES, (row + 1) * FEATURES), 1e-3));
  });
  // The long way: windows that overlap, at another rate.
  const long = await pipeline.learning.embed(sounds[1]!.slice(0, 8.3 * 32_000), 32_000);
  t.ok(Math.abs(long.pieces.at(-1)!.endMs - 8300) < 250, `until ${long.pieces.at(-1)!.endMs}`);
  for (const [at, { startMs }] of long.pieces.slice(1).entries()) {
    const step = startMs - long.pieces[at]!.startMs;
    t.ok(step > 79 && step < 241, `a step of ${step} ms`);
  }
  const slow = await pipeline.learning.embed(tone(440, 3, 44_100, 0.2), 44_100);
  t.ok(slow.pieces.length >= 18, 'shorter than a window');
  await t.rejects(pipeline.learning.embed(tone(440, 0.5, 44_100, 0.2), 44_100), { code: 'audio_too_short' });

  const before = results.length;
  for (const { heads, learnt } of results) {
    t.strictSame(
      heads.map(({ slug }) => slug),
      ['bell'],
    );
    t.equal(learnt.length, 1);
  }
  process.kill(pipeline.pids[0]!, 'SIGKILL');
  await until(() => !pipeline.ready, 'the end of the process', 20);
  await until(() => pipeline.ready, 'another one', 60);
  for (const [source, sound] of sounds.entries())
    await rig.play(source, sound.subarray(11 * 32_000), beginMs);
  t.ok(results.length > before);
  t.ok(
    results.every(({ learnt, scores }) => learnt.length === 1 && scores.length === model.labels.length + 1),
  );
});

t.test('the tagger finds where a learnt label begins and ends', async (t) => {
  const model = await home(t);
  const rig = createRig(t, model, 1);
  const { pipeline, results } = rig;
  // A chime of two tones between 6 s and 7.5 s, in quiet noise.
  const sound = Float32Array.from({ length: 12 * 32_000 }, (_, at) => Math.sin(at * at) / 2000);
  const chime = tone(1800, 1.5, 32_000, 0.2);
  chime.forEach((sample, at) => (sound[6 * 32_000 + at]! += sample));
  await pipeline.start(model);
  const { pieces } = await pipeline.learning.embed(sound, 32_000);
  const inside = pieces.filter(({ startMs, endMs }) => startMs > 6100 && endMs < 7400);
  const outside = pieces.filter(({ startMs, endMs }) => endMs < 5500 || startMs > 8500);
  const mean = (of: typeof pieces) =>
    Float32Array.from({ length: FEATURES }, (_, at) =>
      of.reduce((sum, one) => sum + one.embedding[at]! / of.length, 0),
    );
  const [high, low] = [mean(inside), mean(outside)];
  // The line between the two means (a prototype for each, Snell et al. 2017), steep enough for the logistic.
  const difference = high.map((value, at) => value - low[at]!);
  const scale = 8 / difference.reduce((sum, value) => sum + value * value, 0);
  const weights = difference.map((value) => value * scale);
  const bias = -weights.reduce((sum, weight, at) => sum + (weight * (high[at]! + low[at]!)) / 2, 0);
  const head = { slug: 'chime', modelSha256: model.manifest.onnx_sha256, weights, bias };
  await pipeline.learning.setHeads([head]);
  pipeline.sources[0]!.begin(32_000, false);
  await rig.play(0, sound, 0);

  const learnt = {
    index: model.labels.length,
    name: 'Chime',
    mid: null,
    threshold: 0.5,
    thresholdFrom: null,
  };
  const tagger = createTagger({
    labels: [...model.labels, learnt],
    settings: { ...plainTagging, labels: ['Chime'], threshold: null, minGapSeconds: 0.5 },
    newId: () => '1',
  });
  const events = results.flatMap(({ fresh, scores, endMs }) =>
    fresh === null ? [] : tagger.hop(hopOf(fresh, scores, endMs), endMs),
  );
  t.strictSame(
    events.map(({ event_type: type }) => type),
    ['started', 'ended'],
  );
  const [, ended] = events;
  t.ok(Math.abs(ended!.started_at - 6000) < 600, `begins at ${ended!.started_at}`);
  t.ok(Math.abs(ended!.ended_at! - 7500) < 600, `ends at ${ended!.ended_at}`);
});
