import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import t, { type Test } from 'tap';
import { prepareModelInputs } from '../../src/inference/model-input.js';
import { manifestSchema } from '../../src/models/manifest.js';
import { BAD_MODEL_KINDS, canCrash, installBadModel, type BadModelKind } from '../support/bad-models.js';
import { installToneModel, tone } from '../support/tone-models.js';

/** What tests of other rooms build upon must itself be as it says. */

const folder = async (test: Test): Promise<string> => {
  const path = await mkdtemp(join(tmpdir(), 'soundpost-models-'));
  test.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
};

interface Outcome {
  loaded: boolean;
  signal: NodeJS.Signals | null;
  /** Still running when its end was no longer waited for. */
  hung: boolean;
  stderr: string;
  result?: { input: string; output: string; type: string; dims: number[]; scores: string[] };
}

/** Runs a model in a process of its own; `expectHang` waits a moment after the start of the run, then kills it. */
async function runApart(path: string, amplitude: number, expectHang = false, rank = 2): Promise<Outcome> {
  const runner = join(import.meta.dirname, '..', 'support', 'run-onnx.js');
  const child = spawn(process.execPath, [runner, path, '500', String(amplitude), String(rank)]);
  const outcome: Outcome = { loaded: false, signal: null, hung: false, stderr: '' };
  child.stderr.on('data', (chunk: Buffer) => (outcome.stderr += chunk.toString()));
  const ended = new Promise<void>((resolve) => {
    child.on('close', (_code, signal) => {
      outcome.signal = signal;
      resolve();
    });
  });
  let timer: NodeJS.Timeout | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    const said = JSON.parse(line) as unknown;
    if (said === 'loaded') outcome.loaded = true;
    else if (said === 'running') {
      if (expectHang)
        timer = setTimeout(() => {
          outcome.hung = true;
          child.kill('SIGKILL');
        }, 700);
    } else outcome.result = said as NonNullable<Outcome['result']>;
  }
  clearTimeout(timer);
  await ended;
  return outcome;
}

t.test('the waveform tone detector scores the tone that sounds', async (test) => {
  const model = await installToneModel(await folder(test), 'waveform', { labels: 5 });
  manifestSchema.parse(JSON.parse(await readFile(join(model.folder, 'model.json'), 'utf8')));
  const session = await InferenceSession.create(model.onnxPath, {
    intraOpNumThreads: 1,
    logSeverityLevel: 4,
  });
  for (const [heard, hz] of [undefined, ...model.tonesHz].entries()) {
    const samples = hz === undefined ? new Float32Array(16_000) : tone(hz, 0.7, 16_000, 0.2);
    const feeds = { waveform: new Tensor('float32', samples, [1, samples.length]) };
    const { scores } = (await session.run(feeds)) as Record<string, Tensor>;
    test.same(
      Array.from(scores!.data as Float32Array, (score) => (score > 0.9 ? 1 : score < 0.1 ? 0 : score)),
      model.tonesHz.map((_, label) => (label + 1 === heard ? 1 : 0)),
      `with ${hz === undefined ? 'silence' : `${hz} Hz`}`,
    );
  }
  await session.release();
});

t.test('the log-mel tone detector scores the tone that sounds, through the front end', async (test) => {
  const model = await installToneModel(await folder(test), 'log_mel', { labels: 5, fixedWindow: true });
  manifestSchema.parse(JSON.parse(await readFile(join(model.folder, 'model.json'), 'utf8')));
  const session = await InferenceSession.create(model.onnxPath, {
    intraOpNumThreads: 1,
    logSeverityLevel: 4,
  });
  const rate = model.manifest.input.sample_rate;
  const createInput = await prepareModelInputs(model.manifest.input);
  const input = createInput(rate);
  for (const [heard, hz] of [undefined, ...model.tonesHz].entries()) {
    input.reset();
    input.push(hz === undefined ? new Float32Array(rate) : tone(hz, 1, rate, 0.2));
    const { data, dims } = input.tensors(rate)[0]!;
    const { scores } = (await session.run({ logmel: new Tensor('float32', data, dims) })) as Record<
      string,
      Tensor
    >;
    test.same(
      Array.from(scores!.data as Float32Array, (score) => (score > 0.9 ? 1 : score < 0.1 ? 0 : score)),
      model.tonesHz.map((_, label) => (label + 1 === heard ? 1 : 0)),
      `with ${hz === undefined ? 'silence' : `${Math.round(hz)} Hz`}`,
    );
  }
  await session.release();
});

t.test('each bad model is bad in its own way, and only in that', { jobs: 2 }, async (test) => {
  const dataDir = await folder(test);
  const paths = new Map<BadModelKind, string>();
  for (const kind of BAD_MODEL_KINDS)
    paths.set(kind, join((await installBadModel(dataDir, kind)).folder, 'model.onnx'));

  void test.test('manifests are right, and digests fit but for one', async (sub) => {
    for (const [kind, path] of paths) {
      const text = await readFile(join(path, '..', 'model.json'), 'utf8');
      const manifest = manifestSchema.parse(JSON.parse(text));
      const digest = createHash('sha256')
        .update(await readFile(path))
        .digest('hex');
      sub.equal(manifest.onnx_sha256 === digest, kind !== 'wrong-digest', kind);
    }
  });

  for (const kind of ['random-bytes', 'truncated'] as const)
    void test.test(`${kind} does not load`, async (sub) => {
      const outcome = await runApart(paths.get(kind)!, 0);
      sub.match(outcome, { loaded: false, signal: null });
      sub.match(outcome.stderr, /protobuf/i);
    });

  const outputs: [BadModelKind, number, object][] = [
    ['wrong-digest', 0.5, { scores: { length: 3 } }],
    ['wrong-output-width', 0.5, { dims: [1, 4] }],
    ['wrong-output-name', 0.5, { output: 'clipwise', dims: [1, 3] }],
    ['wrong-input-name', 0.5, { input: 'audio', dims: [1, 3] }],
    ['int64-output', 0.5, { type: 'int64', dims: [1, 3] }],
    ['nan-output', 0, { scores: ['NaN', 'NaN', 'NaN'] }],
    ['nan-later', 0.5, { scores: ['NaN', 'NaN', 'NaN'] }],
    ['scores-above-one', 0.5, { scores: [/^1[01]/] }],
    ['slow', 0.5, { dims: [1, 3] }],
  ];
  for (const [kind, amplitude, expected] of outputs)
    void test.test(`${kind} runs and gives what it should not`, async (sub) => {
      sub.match((await runApart(paths.get(kind)!, amplitude)).result, expected);
    });

  void test.test('wrong-rank runs on three dimensions only', async (sub) => {
    const path = paths.get('wrong-rank')!;
    sub.match((await runApart(path, 0, false, 3)).result, { dims: [1, 3] });
    const outcome = await runApart(path, 0);
    sub.match(outcome, { loaded: true, signal: null, stderr: /rank/i });
    sub.equal(outcome.result, undefined);
  });

  for (const kind of ['nan-later', 'hang-later', 'crash-later'] as const)
    void test.test(`${kind} behaves while it is quiet`, async (sub) => {
      const { result } = await runApart(paths.get(kind)!, 0.2);
      sub.match(result, { output: 'scores', type: 'float32', scores: [/^0\.9/, /^0\.0/, /^0\.0/] });
    });

  for (const [kind, amplitude] of [
    ['hang-at-once', 0],
    ['hang-later', 0.5],
  ] as const)
    void test.test(`${kind} hangs`, async (sub) => {
      const outcome = await runApart(paths.get(kind)!, amplitude, true);
      sub.match(outcome, { loaded: true, hung: true });
    });

  for (const [kind, amplitude, loaded] of [
    ['crash-in-load', 0, false],
    ['crash-at-once', 0, true],
    ['crash-later', 0.5, true],
  ] as const)
    void test.test(`${kind} kills the process`, { skip: !canCrash && 'no trap on this CPU' }, async (sub) => {
      sub.match(await runApart(paths.get(kind)!, amplitude), { loaded, signal: 'SIGFPE' });
    });
});
