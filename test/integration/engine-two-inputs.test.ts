import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import t from 'tap';
import { silentLogger as log } from '../../src/common/log.js';
import { architectures, findArchitecture } from '../../src/convert/architectures/index.js';
import { manifestInput } from '../../src/convert/convert.js';
import { selfTest } from '../../src/convert/self-test.js';
import { testSound } from '../../src/features/test-sound.js';
import { LOG_MEL, SCORES, WAVEFORM } from '../../src/convert/network.js';
import type { InferenceEngine } from '../../src/inference/engine.js';
import { createModelStream } from '../../src/inference/model-stream.js';
import { createStartEngine } from '../../src/inference/start-engine.js';
import { tagRecording, type RecordingWindow } from '../../src/inference/tag-recording.js';
import { manifestSchema, windowStep, type Manifest } from '../../src/models/manifest.js';
import { createRegistry } from '../../src/models/registry.js';
import { readGoldenArchitecture, writeNetwork } from '../support/golden-architectures.js';
import { projectPath } from '../support/shared.js';
import { waveform } from '../support/synthetic.js';
import { temporaryFolder } from '../support/temporary.js';
import { installToneModel, tone } from '../support/tone-models.js';
import { makeWav } from '../support/wav.js';

/*
 * Networks that take samples and the log-mel of the same samples. The small one joins them by frames, as those of
 * PANNs do: it fails where the window's length does not fit. With SOUNDPOST_TEST_ARCHITECTURES=all a network of
 * PANNs itself, of 80 million parameters.
 */

const RATE = 32_000;
const startEngine = createStartEngine({ log });
const heavy = ['all', 'Wavegram_Logmel_Cnn14'].includes(process.env.SOUNDPOST_TEST_ARCHITECTURES ?? '');

async function start(t: { teardown(handler: () => Promise<void>): void }, dataDir: string, id: string) {
  const registry = createRegistry({ bundledFolder: projectPath('models'), dataDir, log });
  const engine = await startEngine(await registry.get(id), { threads: 1 });
  t.teardown(() => engine.stop());
  return engine;
}

async function tag(engine: InferenceEngine, path: string, hopSeconds: number): Promise<RecordingWindow[]> {
  const windows: RecordingWindow[] = [];
  const recording = tagRecording(engine, path, { hopSeconds });
  for (;;) {
    const next = await recording.next();
    if (next.done === true) return windows;
    windows.push(next.value);
  }
}

const windowOf = (samples: Float32Array) => ({ samples, reset: true, windowSamples: samples.length });

function largestDifference(actual: Float32Array, expected: ArrayLike<number>): number {
  return actual.reduce((worst, value, i) => Math.max(worst, Math.abs(value - expected[i]!)), 0);
}

t.test('a network on samples and their log-mel', async (t) => {
  const dataDir = temporaryFolder(t);
  const { id, tonesHz } = await installToneModel(dataDir, 'waveform_log_mel');
  const engine = await start(t, dataDir, id);
  t.equal(engine.fixedWindow, false);
  const rounded = (scores: Float32Array) => Array.from(scores, (score) => Math.round(score * 10) / 10);

  await t.test('gets both of the same window', async (t) => {
    for (const [heard, hz] of [undefined, ...tonesHz].entries()) {
      const sound = hz === undefined ? new Float32Array(RATE) : tone(hz, 1, RATE);
      const { scores } = await engine.infer(windowOf(sound));
      t.strictSame(
        rounded(scores),
        heard === 0 ? [0, 0, 0] : [...tonesHz.map((_, k) => +(k + 1 === heard)), 1],
      );
    }
    // Hops of whole frames and others; the tone swells, so every window differs.
    const swelling = tone(tonesHz[1]!, 3, RATE).map((sample, n) => (sample * n) / (3 * RATE));
    for (const hop of [6400, 7001]) {
      await engine.infer(windowOf(swelling.subarray(0, RATE)));
      const streamed: Float32Array[] = [];
      for (let end = RATE + hop; end <= swelling.length; end += hop) {
        const samples = swelling.subarray(end - hop, end);
        streamed.push((await engine.infer({ samples, reset: false, windowSamples: RATE })).scores);
      }
      for (const [index, scores] of streamed.entries()) {
        const end = RATE + hop * (index + 1);
        const whole = await engine.infer(windowOf(swelling.slice(end - RATE, end)));
        t.strictSame(scores, whole.scores, `the window that ends at ${end}, in hops of ${hop}`);
      }
    }
  });

  await t.test('would fail on a length that does not fit', async (t) => {
    for (const extra of [320, 635]) {
      await t.rejects(engine.infer(windowOf(new Float32Array(RATE + extra))), { code: 'inference_failed' });
    }
    // The original takes more than whole steps.
    for (const extra of [1, 319, 636]) await engine.infer(windowOf(new Float32Array(RATE + extra)));
  });

  await t.test('on a live stream gets windows that fit, from the first one on', async (t) => {
    const captureRate = 44_100;
    const options = {
      engine,
      captureRate,
      startPosition: () => 0,
      slackSeconds: 1,
      quality: 'fast',
    } as const;
    for (const windowSeconds of [null, 0.7777]) {
      const stream = await createModelStream({ ...options, windowSeconds });
      const sound = tone(tonesHz[0]!, 3, captureRate);
      let scores = new Float32Array();
      const lengths = new Set<number>();
      for (let at = 0; at < sound.length; at += 4321) {
        stream.append(sound.subarray(at, at + 4321));
        const request = stream.request(Math.min(at + 4321, sound.length), 0);
        if (typeof request === 'string') continue;
        lengths.add(request.windowSamples);
        ({ scores } = (await engine.infer(request)) as { scores: typeof scores });
      }
      t.ok(lengths.size > 3 && [...lengths].every((length) => length % 640 === 0), [...lengths].join());
      t.equal(stream.windowSamples, windowSeconds === null ? RATE : 24_320);
      t.strictSame(rounded(scores), [1, 0, 1]);
    }
  });

  await t.test('tags recordings of any length', async (t) => {
    const path = join(temporaryFolder(t), 'recording.wav');
    for (const length of [3200, 3520, 3839, 20_333, 31_999, 32_000, 32_001, 50_123]) {
      const sound = tone(tonesHz[1]!, length / RATE, RATE);
      writeFileSync(path, makeWav({ encoding: 'f32', sampleRate: RATE, channels: [[...sound]] }));
      const windows = await tag(engine, path, 0.3337);
      t.ok(
        windows.every(({ scores }) => rounded(scores).join() === '0,1,1'),
        `${length} samples`,
      );
      const end = windows.at(-1)!.endSeconds * RATE;
      t.equal(
        Math.round(end),
        length < RATE ? length - (length % 640) : length,
        'to the last step that fits',
      );
    }
  });
});

t.test('a manifest of two inputs', async (t) => {
  const { manifest } = await installToneModel(temporaryFolder(t), 'waveform_log_mel');
  const withInput = (change: object) =>
    manifestSchema.safeParse({ ...manifest, input: { ...manifest.input, ...change } }).error?.issues ?? [];
  t.equal(windowStep(manifest.input), 640);
  t.strictSame(withInput({ min_seconds: 0.32 }), []);
  t.match(withInput({ window_seconds: 0.99 }), [
    { path: ['input', 'window_seconds'], message: /a multiple of 0\.02/ },
  ]);
  t.match(withInput({ min_seconds: 0.01 }), [
    { path: ['input', 'min_seconds'], message: /a multiple of 0\.02/ },
  ]);
  t.match(withInput({ waveform_name: 'logmel' }), [{ path: ['input', 'waveform_name'] }]);
  t.match(withInput({ waveform_name: undefined }), [{ path: ['input', 'waveform_name'] }]);
});

t.test('what a conversion writes into a manifest', (t) => {
  for (const architecture of architectures.filter(({ input }) => input.kind === 'waveform_log_mel')) {
    const input = manifestInput(architecture);
    t.match(input, { kind: 'waveform_log_mel', name: LOG_MEL, waveform_name: WAVEFORM, min_seconds: 0.32 });
    t.equal(manifestSchema.shape.input.parse(input).kind, 'waveform_log_mel');
  }
  t.end();
});

t.test('a manifest that does not name both inputs of the network', async (t) => {
  const dataDir = temporaryFolder(t);
  const { id } = await installToneModel(dataDir, 'waveform_log_mel');
  const registry = createRegistry({ bundledFolder: projectPath('models'), dataDir, log });
  const model = await registry.get(id);
  const { input } = model.manifest;
  if (input.kind !== 'waveform_log_mel') throw new Error('not a network of two inputs');
  const refuse = (changed: Manifest['input'], message: RegExp) =>
    t.rejects(startEngine({ ...model, manifest: { ...model.manifest, input: changed } }, { threads: 1 }), {
      code: 'model_shape',
      message,
    });
  await refuse(
    { ...input, waveform_name: 'sound' },
    /no input "sound"; its inputs are "waveform" .*"logmel"/,
  );
  const { waveform_name, ...rest } = input;
  t.equal(waveform_name, 'waveform');
  await refuse({ ...rest, kind: 'log_mel' }, /more inputs than "logmel"/);
});

t.test('Wavegram_Logmel_Cnn14 from its files to its scores', { skip: !heavy && 'large' }, async (t) => {
  const architecture = findArchitecture('Wavegram_Logmel_Cnn14');
  const golden = readGoldenArchitecture(architecture.name);
  const dataDir = temporaryFolder(t);
  const folder = join(dataDir, 'models', 'wavegram');
  mkdirSync(folder, { recursive: true });
  const onnxPath = join(folder, 'model.onnx');
  await writeNetwork(architecture, golden, onnxPath);
  const digest = createHash('sha256');
  await pipeline(createReadStream(onnxPath), digest);
  const manifest = manifestSchema.parse({
    id: 'wavegram',
    title: 'Wavegram_Logmel_Cnn14 with synthetic weights',
    family: architecture.family,
    architecture: architecture.name,
    input: manifestInput(architecture),
    output: { scores: SCORES, activation: 'none' },
    labels: 'labels.json',
    onnx_sha256: digest.digest('hex'),
  });
  writeFileSync(join(folder, 'model.json'), JSON.stringify(manifest));
  const labels = Array.from({ length: 527 }, (_, index) => ({ index, name: `Label ${index}`, mid: null }));
  writeFileSync(join(folder, 'labels.json'), JSON.stringify(labels));

  const engine = await start(t, dataDir, 'wavegram');
  t.equal(engine.fixedWindow, false);
  for (const { waveform: name, samples: length, expected } of golden.waveform_tests) {
    const sound = waveform(name, RATE).slice(0, length);
    const { scores } = await engine.infer(windowOf(sound));
    const whole = largestDifference(scores, expected.clipwise_output!);
    t.ok(whole <= 1e-4, `waveform ${name} as one window: within ${whole}`);

    // The same window at the end of a stream: everything in it came hop by hop.
    const hop = 16_000;
    const stream = new Float32Array(Math.ceil(length / hop) * hop + hop);
    stream.set(sound, stream.length - length);
    let streamed = scores;
    for (let at = 0; at < stream.length; at += hop) {
      const samples = stream.subarray(at, at + hop);
      const first = at === 0;
      // Until the window is full, one that fits into what has come.
      const windowSamples = Math.min(length, at + hop);
      ({ scores: streamed } = (await engine.infer({ samples, reset: first, windowSamples })) as {
        scores: typeof scores;
      });
    }
    const difference = largestDifference(streamed, expected.clipwise_output!);
    t.ok(difference <= 1e-4, `waveform ${name} hop by hop: within ${difference}`);
  }
  const windowSeconds = 2;
  const tested = await selfTest({ architecture: architecture.name, onnxPath, windowSeconds, labels: 527 });
  const { scores } = await engine.infer(windowOf(testSound(windowSeconds * RATE, RATE)));
  const apart = largestDifference(scores, tested.scores);
  t.ok(apart <= 1e-5, `the test sound, in the conversion and in the service: within ${apart}`);

  const path = join(dataDir, 'recording.wav');
  const [{ expected, samples }] = golden.waveform_tests as [(typeof golden.waveform_tests)[number]];
  const channel = [...waveform('A', RATE).slice(0, samples)];
  writeFileSync(path, makeWav({ encoding: 'f32', sampleRate: RATE, channels: [channel] }));
  const windows = await tag(engine, path, 1);
  t.equal(windows.length, 1);
  const difference = largestDifference(windows[0]!.scores, expected.clipwise_output!);
  t.ok(difference <= 1e-4, `a recording of waveform A: within ${difference}`);
});
