import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';
import { silentLogger } from '../../src/common/log.js';
import type { InferenceEngine, StartEngine } from '../../src/inference/engine.js';
import { readSignature } from '../../src/inference/read-signature.js';
import { createStartEngine } from '../../src/inference/start-engine.js';
import { verifyModel } from '../../src/inference/verify.js';
import { createRegistry, type InstalledModel } from '../../src/models/registry.js';
import { BAD_MODEL_KINDS, canCrash, installBadModel, type BadModelKind } from '../support/bad-models.js';
import { isAlive, untilGone } from '../support/service.js';
import { projectPath } from '../support/shared.js';
import { installToneModel, tone, WAVEFORM_RATE, type ToneModelOptions } from '../support/tone-models.js';

const log = silentLogger;
const startEngine = createStartEngine({ log });
/** Short watchdogs only where a model hangs on purpose: a busy machine may take seconds to start a process. */
const startImpatiently: Partial<Record<BadModelKind, StartEngine>> = {
  'hang-at-once': createStartEngine({ log, timeouts: { runMs: 2000 } }),
  'hang-later': createStartEngine({ log, timeouts: { runMs: 2000 } }),
};

async function installed(dataDir: string, id: string): Promise<InstalledModel> {
  return createRegistry({ bundledFolder: projectPath('models'), dataDir, log }).get(id);
}

async function startTone(
  t: Test,
  options: ToneModelOptions = {},
): Promise<{ engine: InferenceEngine; tonesHz: readonly number[] }> {
  const dataDir = t.testdir();
  const { id, tonesHz } = await installToneModel(dataDir, 'waveform', options);
  const engine = await startEngine(await installed(dataDir, id), { threads: 1 });
  t.teardown(() => engine.stop());
  return { engine, tonesHz };
}

const windowOf = (samples: Float32Array) => ({ samples, reset: true, windowSamples: samples.length });

t.test('a model names what it hears, window by window', async (t) => {
  const { engine, tonesHz } = await startTone(t);
  t.equal(engine.fixedWindow, false);
  t.ok(engine.loadMs > 0);
  for (const [label, hz] of tonesHz.entries()) {
    const { scores, featuresMs, inferenceMs } = await engine.infer(windowOf(tone(hz, 1, WAVEFORM_RATE)));
    t.equal(scores.length, 3);
    t.equal(scores.indexOf(Math.max(...scores)), label);
    t.ok(featuresMs >= 0 && inferenceMs > 0);
  }
  await engine.stop();
  t.strictSame(await engine.exited, { reason: 'stopped' });
  t.notOk(await isAlive(engine.pid));
  await engine.stop();
  await t.rejects(engine.infer(windowOf(new Float32Array(WAVEFORM_RATE))), { code: 'inference_died' });
});

t.test('hops on a stream give what the whole window gives', async (t) => {
  const { engine, tonesHz } = await startTone(t);
  const sound = tone(tonesHz[1]!, 2, WAVEFORM_RATE, 0.3).map((sample, n) => sample * (n / WAVEFORM_RATE));
  const hop = WAVEFORM_RATE / 4;
  await engine.infer(windowOf(sound.subarray(0, WAVEFORM_RATE)));
  for (let end = WAVEFORM_RATE + hop; end <= sound.length; end += hop) {
    const streamed = await engine.infer({
      samples: sound.subarray(end - hop, end),
      reset: false,
      windowSamples: WAVEFORM_RATE,
    });
    const whole = await engine.infer(windowOf(sound.slice(end - WAVEFORM_RATE, end)));
    t.strictSame(streamed.scores, whole.scores);
  }
  // The window may be shorter than the model's, and with a reset longer.
  const short = await engine.infer(windowOf(sound.subarray(0, WAVEFORM_RATE / 2)));
  t.equal(short.scores.length, 3);
  const long = await engine.infer(windowOf(sound));
  t.equal(long.scores.length, 3);
  const after = await engine.infer({
    samples: sound.subarray(0, hop),
    reset: false,
    windowSamples: sound.length,
  });
  t.equal(after.scores.length, 3);
});

t.test('each source is a stream of its own', async (t) => {
  const { engine, tonesHz } = await startTone(t);
  const hop = WAVEFORM_RATE / 4;
  const sounds = [0, 1, 2].map((at) =>
    tone(tonesHz[at]!, 2, WAVEFORM_RATE, 0.3).map((sample, n) => sample * (n / WAVEFORM_RATE)),
  );
  for (const [source, sound] of sounds.entries()) {
    await engine.infer({ source, ...windowOf(sound.subarray(0, WAVEFORM_RATE)) });
  }
  for (let end = WAVEFORM_RATE + hop; end <= 2 * WAVEFORM_RATE; end += hop) {
    for (const [source, sound] of sounds.entries()) {
      const streamed = await engine.infer({
        source,
        samples: sound.subarray(end - hop, end),
        reset: false,
        windowSamples: WAVEFORM_RATE,
      });
      const whole = await engine.infer({ source: 7, ...windowOf(sound.slice(end - WAVEFORM_RATE, end)) });
      t.strictSame(streamed.scores, whole.scores, `source ${source} up to ${end}`);
    }
  }
  await t.rejects(
    engine.infer({ source: 9, samples: sounds[0]!.subarray(0, hop), reset: false, windowSamples: hop * 2 }),
    { code: 'bad_window' },
    'of a source that is new there is nothing to go on from',
  );
});

t.test('frames say when, in the rows that are asked for', async (t) => {
  const { engine, tonesHz } = await startTone(t, { windowSeconds: 2, frames: {} });
  const sound = new Float32Array(2 * WAVEFORM_RATE);
  sound.set(tone(tonesHz[2]!, 0.3, WAVEFORM_RATE), 0.7 * WAVEFORM_RATE);
  const over = (frames: Float32Array) =>
    Array.from({ length: frames.length / 3 }, (_, i) =>
      [...frames.subarray(3 * i, 3 * i + 3)].map((value) => (value >= 0.5 ? 1 : 0)).join(''),
    );

  const all = await engine.infer({ ...windowOf(sound), frames: { from: 0, to: 1000 } });
  const expected = Array.from({ length: 20 }, (_, i) => (i >= 7 && i < 10 ? '001' : '000'));
  t.strictSame(over(all.frames!), expected);
  t.ok(all.frames!.every((value) => value >= 0 && value <= 1));

  const some = await engine.infer({ ...windowOf(sound), frames: { from: 9, to: 12 } });
  t.strictSame(over(some.frames!), ['001', '000', '000']);
  t.strictSame(some.frames, all.frames!.slice(27, 36));
  t.strictSame(some.scores, all.scores);

  const none = await engine.infer({ ...windowOf(sound), frames: { from: 20, to: 25 } });
  t.equal(none.frames?.length, 0, 'there are only 20');
  const unasked = await engine.infer(windowOf(sound));
  t.equal(unasked.frames, null);
  t.strictSame(unasked.scores, all.scores);
  // Hops on a stream: the frames are those of the window that ends with the hop.
  const hop = await engine.infer({
    samples: new Float32Array(WAVEFORM_RATE / 2),
    reset: false,
    windowSamples: 2 * WAVEFORM_RATE,
    frames: { from: 0, to: 20 },
  });
  t.strictSame(over(hop.frames!), [...expected.slice(5), ...Array<string>(5).fill('000')]);
});

t.test('a manifest whose frames are not the network’s is refused', async (t) => {
  const dataDir = t.testdir();
  for (const { frames, message } of [
    {
      frames: { hop_seconds: 0.05 },
      message: /gives 10 frames for 1 s, where the manifest's hop of 0.05 s would make 20/,
    },
    { frames: { hop_seconds: 0.2 }, message: /gives 10 frames for 1 s/ },
  ]) {
    const { id } = await installToneModel(dataDir, 'waveform', { frames });
    await t.rejects(startEngine(await installed(dataDir, id), { threads: 1 }), {
      code: 'model_output',
      message,
    });
  }
  const { id } = await installToneModel(dataDir, 'waveform', {});
  const model = await installed(dataDir, id);
  const { output } = (await installToneModel(dataDir, 'waveform', { id: 'framed', frames: {} })).manifest;
  await t.rejects(startEngine({ ...model, manifest: { ...model.manifest, output } }, { threads: 1 }), {
    code: 'model_shape',
    message: /has no output "frames"/,
  });
});

t.test('a network with a fixed time axis says so', async (t) => {
  const { engine } = await startTone(t, { fixedWindow: true });
  t.equal(engine.fixedWindow, true);
  t.equal((await engine.infer(windowOf(new Float32Array(WAVEFORM_RATE)))).scores.length, 3);
});

t.test('a fixed time axis that is not the manifest’s window is refused', async (t) => {
  const dataDir = t.testdir();
  const { id } = await installToneModel(dataDir, 'waveform', { fixedWindow: true });
  const model = await installed(dataDir, id);
  const input = { ...model.manifest.input, window_seconds: 2 };
  await t.rejects(startEngine({ ...model, manifest: { ...model.manifest, input } }, { threads: 1 }), {
    code: 'model_shape',
    message: /\[batch, 16000\], but a window of 2 s is \[1, 32000\]/,
  });
});

/** What starting a bad model must say; the others start. */
const REFUSED: Partial<Record<BadModelKind, { code: string; message: RegExp }>> = {
  'random-bytes': { code: 'model_unreadable', message: /ONNX Runtime says/ },
  truncated: { code: 'model_unreadable', message: /ONNX Runtime says/ },
  'wrong-digest': { code: 'model_digest', message: /SHA-256/ },
  'wrong-output-width': { code: 'model_output', message: /4 scores, but the model has 3 labels/ },
  'wrong-output-name': { code: 'model_shape', message: /has no output "/ },
  'wrong-input-name': { code: 'model_shape', message: /has no input "/ },
  'wrong-rank': { code: 'model_shape', message: /a waveform is float32 \[1, samples\]/ },
  'int64-output': { code: 'model_shape', message: /int64 .* where float32 is needed/ },
  'nan-output': { code: 'model_output', message: /score of label 0 is NaN/ },
  'scores-above-one': { code: 'model_output', message: /which is not from 0 to 1/ },
  'hang-at-once': {
    code: 'inference_timeout',
    message: /gave no answer for 2 s \(a window of the warm-up\)/,
  },
  'memory-declared': {
    code: 'model_memory',
    message: /too large for this machine: .*largest fixed tensor 4398\.05 GB, and a network may take/,
  },
  'memory-at-once': { code: 'model_memory', message: /asked for more than it may have/ },
  'crash-in-load': { code: 'inference_died', message: /SIGFPE/ },
  'crash-at-once': { code: 'inference_died', message: /SIGFPE/ },
};

/** What comes once the sound is loud. */
const LATER: Partial<Record<BadModelKind, { code: string; message: RegExp }>> = {
  'nan-later': { code: 'bad_output', message: /NaN/ },
  'hang-later': { code: 'inference_timeout', message: /gave no answer for 2 s/ },
  'memory-later': { code: 'model_memory', message: /asked for more/ },
  'crash-later': { code: 'inference_died', message: /SIGFPE/ },
};

t.test('a bad model is refused with its name and what is wrong, and leaves no process', async (t) => {
  const dataDir = t.testdir();
  for (const kind of BAD_MODEL_KINDS) {
    if (kind.startsWith('crash') && !canCrash) continue;
    const { id } = await installBadModel(dataDir, kind);
    const model = await installed(dataDir, id);
    const started = (startImpatiently[kind] ?? startEngine)(model, { threads: 1 });
    const refusal = REFUSED[kind];
    if (refusal !== undefined) {
      await t.rejects(started, refusal, kind);
      await t.rejects(started, {
        message: new RegExp(`The (?:inference process of the )?model ${id}|model ${id}`),
      });
      continue;
    }
    const engine = await started;
    const fault = LATER[kind];
    const quiet = await engine.infer(windowOf(new Float32Array(WAVEFORM_RATE)));
    t.equal(quiet.scores.length, 3, `${kind} behaves at first`);
    if (fault !== undefined) {
      await t.rejects(engine.infer(windowOf(tone(440, 1, WAVEFORM_RATE, 0.9))), fault, kind);
    }
    await engine.stop();
    t.notOk(await isAlive(engine.pid));
  }
});

t.test('a process takes no more memory than it is given', async (t) => {
  const dataDir = t.testdir();
  const { id } = await installBadModel(dataDir, 'memory-at-once', { elements: 2 ** 27 });
  const model = await installed(dataDir, id);
  const start = (memoryBytes: number) => createStartEngine({ log, memoryBytes })(model, { threads: 1 });
  await t.rejects(start(400e6), {
    code: 'model_memory',
    message: /bad-memory-at-once is too large for this machine: .* may take 400 MB/,
  });
  const engine = await start(1e9);
  await engine.stop();
  const greedy = await installed(dataDir, (await installBadModel(dataDir, 'memory-declared')).id);
  await t.rejects(readSignature(greedy.onnxPath), { code: 'model_memory', message: /largest fixed tensor/ });
});

t.test('a process that is killed in the middle of a window', async (t) => {
  const dataDir = t.testdir();
  const { id } = await installBadModel(dataDir, 'hang-later');
  const engine = await startEngine(await installed(dataDir, id), { threads: 1 });
  const answer = engine.infer(windowOf(tone(440, 1, WAVEFORM_RATE, 0.9)));
  const next = engine.infer(windowOf(new Float32Array(WAVEFORM_RATE)));
  process.kill(engine.pid, 'SIGKILL');
  await Promise.all([
    t.rejects(answer, { code: 'inference_died', message: /SIGKILL/ }),
    t.rejects(next, { code: 'inference_died' }, 'what waits behind it is not forgotten'),
  ]);
  t.match(await engine.exited, { reason: /SIGKILL/ });
  await engine.stop();
});

t.test('a process that is held from outside is no fault of its model', async (t) => {
  const dataDir = t.testdir();
  const { id } = await installToneModel(dataDir, 'waveform');
  const start = createStartEngine({ log, timeouts: { runMs: 1000 } });
  const engine = await start(await installed(dataDir, id), { threads: 1 });
  process.kill(engine.pid, 'SIGSTOP');
  await t.rejects(engine.infer(windowOf(tone(440, 1, WAVEFORM_RATE, 0.9))), {
    code: 'inference_died',
    message: /no answer for 1 s \(a window\): its process was held by a signal/,
  });
  await engine.stop();
  t.notOk(await isAlive(engine.pid));
});

t.test('stop ends a process that hangs', async (t) => {
  const dataDir = t.testdir();
  const { id } = await installBadModel(dataDir, 'hang-later');
  const start = createStartEngine({ log, timeouts: { stopMs: 100 } });
  const engine = await start(await installed(dataDir, id), { threads: 1 });
  const answer = engine.infer(windowOf(tone(440, 1, WAVEFORM_RATE, 0.9)));
  const rejected = t.rejects(answer, { code: 'inference_died', message: /was stopped/ });
  await engine.stop();
  await rejected;
  t.notOk(await isAlive(engine.pid));
});

t.test('a start can be called off', async (t) => {
  const dataDir = t.testdir();
  const { id } = await installBadModel(dataDir, 'hang-at-once');
  const model = await installed(dataDir, id);
  const already = AbortSignal.abort();
  await t.rejects(startEngine(model, { threads: 1, signal: already }), { code: 'aborted' });
  const controller = new AbortController();
  const started = startEngine(model, { threads: 1, signal: controller.signal });
  setImmediate(() => controller.abort());
  await t.rejects(started, { code: 'aborted', message: /hang-at-once was called off/ });
});

t.test('the process ends when its parent dies', async (t) => {
  const dataDir = t.testdir();
  const { id } = await installToneModel(dataDir, 'waveform');
  const url = (...parts: string[]) =>
    JSON.stringify(pathToFileURL(projectPath('dist', 'src', ...parts)).href);
  const script = `
    import { createStartEngine } from ${url('inference', 'start-engine.js')};
    import { createRegistry } from ${url('models', 'registry.js')};
    import { silentLogger as log } from ${url('common', 'log.js')};
    const registry = createRegistry({ bundledFolder: ${JSON.stringify(projectPath('models'))}, dataDir: ${JSON.stringify(dataDir)}, log });
    const engine = await createStartEngine({ log })(await registry.get(${JSON.stringify(id)}), { threads: 1 });
    console.log(engine.pid);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string];
  const pid = Number(line);
  t.ok(await isAlive(pid));
  parent.kill('SIGKILL');
  await untilGone(pid);
  t.pass('gone');
});

t.test('verify examines a model step by step', async (t) => {
  const dataDir = t.testdir();
  const registry = createRegistry({ bundledFolder: projectPath('models'), dataDir, log });
  const { id } = await installToneModel(dataDir, 'waveform');
  const names: string[] = [];
  const good = await verifyModel(id, { registry, startEngine, onStep: (step) => names.push(step.name) });
  t.match(good, {
    id,
    ok: true,
    steps: [
      { detail: /3 labels/ },
      { detail: /SHA-256/ },
      { ok: true },
      { detail: /3 scores/ },
      { detail: /none came/ },
    ],
  });
  t.strictSame(names, ['manifest', 'digest', 'load', 'scores', 'self-test']);

  await installBadModel(dataDir, 'wrong-digest');
  const damaged = await verifyModel('bad-wrong-digest', { registry, startEngine });
  t.match(damaged, { ok: false, steps: [{ ok: true }, { ok: false, code: 'model_digest' }] });
  await installBadModel(dataDir, 'nan-output');
  const nonsense = await verifyModel('bad-nan-output', { registry, startEngine });
  t.match(nonsense, { ok: false, steps: [{ ok: true }, { ok: true }, { ok: false, code: 'model_output' }] });
  await t.rejects(verifyModel('absent', { registry, startEngine }), { code: 'model_unknown' });
});
