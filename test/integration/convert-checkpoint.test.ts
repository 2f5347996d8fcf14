import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { InferenceSession, type Tensor } from 'onnxruntime-node';
import t from 'tap';
import { convertCheckpoint, type ConversionProgress } from '../../src/convert/convert.js';
import { manifestSchema } from '../../src/models/manifest.js';
import { sha256OfFile } from '../../src/models/files.js';
import { feedsOf, readGoldenArchitecture } from '../support/golden-architectures.js';
import { readFloats, readWav } from '../support/golden-frontends.js';
import { sharedPath, skipWithoutShared } from '../support/shared.js';
import { writeSyntheticCheckpoint } from '../support/synthetic-checkpoint.js';
import { waveform } from '../support/synthetic.js';
import { temporaryFolder } from '../support/temporary.js';

async function scoresOf(
  onnxPath: string,
  feeds: Record<string, Tensor>,
): Promise<{ scores: Float32Array; embedding: Float32Array | undefined }> {
  const session = await InferenceSession.create(onnxPath, { intraOpNumThreads: 1, logSeverityLevel: 4 });
  const outputs = (await session.run(feeds)) as Record<string, Tensor>;
  await session.release();
  return {
    scores: outputs.probs!.data as Float32Array,
    embedding: outputs.embedding?.data as Float32Array | undefined,
  };
}

function worst(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  return Math.max(...Array.from(expected, (value, i) => Math.abs(value - actual[i]!)));
}

t.test('a checkpoint of training becomes a model that works', async (t) => {
  const folder = temporaryFolder(t);
  const golden = readGoldenArchitecture('Cnn6');
  const checkpointPath = join(folder, 'Cnn6.pth');
  await writeSyntheticCheckpoint(checkpointPath, golden);

  await t.test('as the original gives it', async (t) => {
    const outFolder = temporaryFolder(t);
    const progress: ConversionProgress[] = [];
    const conversion = await convertCheckpoint({
      checkpointPath,
      architecture: 'cnn6',
      labels: 527,
      outFolder,
      onProgress: (now) => progress.push(now),
    });
    t.same(readdirSync(outFolder), ['model.onnx']);
    t.match(conversion, {
      architecture: 'Cnn6',
      parameters: golden.parameters.trainable,
      onnxSha256: await sha256OfFile(conversion.onnxPath),
      bytes: readFileSync(conversion.onnxPath).length,
    });
    t.equal(conversion.selfTest.scores.length, 527);
    t.same(progress[0]?.stage, 'read');
    t.same(progress.at(-1), { stage: 'test', fraction: 1 });
    t.doesNotThrow(() =>
      manifestSchema.parse({
        id: 'cnn6',
        title: 'Cnn6',
        family: conversion.family,
        architecture: conversion.architecture,
        input: conversion.input,
        output: conversion.output,
        labels: 'audioset-527',
        onnx_sha256: conversion.onnxSha256,
      }),
    );
    const { input } = conversion;
    for (const test of golden.waveform_tests) {
      const samples = waveform(test.waveform, golden.sample_rate).subarray(0, test.samples);
      const { scores } = await scoresOf(
        conversion.onnxPath,
        await feedsOf(input, input.sample_rate, samples),
      );
      t.ok(worst(scores, test.expected.clipwise_output!) < 1e-4, `waveform ${test.waveform}`);
    }
  });

  await t.test('with classes of its own', async (t) => {
    const tuned = join(folder, 'tuned.pth');
    const state = golden.state_dict.map(([name, shape, dtype]) =>
      name.startsWith('fc_audioset.')
        ? ([name, [10, ...shape.slice(1)], dtype] as const)
        : ([name, shape, dtype] as const),
    );
    await writeSyntheticCheckpoint(tuned, { ...golden, state_dict: state });
    const { selfTest } = await convertCheckpoint({
      checkpointPath: tuned,
      architecture: 'Cnn6',
      labels: 10,
      outFolder: temporaryFolder(t),
    });
    t.equal(selfTest.scores.length, 10);
  });

  await t.test('whatever training has wrapped it in', async (t) => {
    const small = golden.state_dict.map(([name, shape, dtype]) =>
      name.startsWith('fc_audioset.')
        ? ([name, [10, ...shape.slice(1)], dtype] as const)
        : ([name, shape, dtype] as const),
    );
    const convert = async (path: string, stateDict?: string) =>
      (
        await convertCheckpoint({
          checkpointPath: path,
          architecture: 'Cnn6',
          labels: 10,
          outFolder: temporaryFolder(t),
          stateDict,
        })
      ).selfTest.scores;
    const plain = join(folder, 'plain.pth');
    await writeSyntheticCheckpoint(plain, { ...golden, state_dict: small });
    const expected = await convert(plain);
    for (const prefix of ['model.', 'module.', 'module._orig_mod.task.backbone.']) {
      const wrapped = join(folder, `${prefix}pth`);
      await writeSyntheticCheckpoint(wrapped, { ...golden, state_dict: small }, (name) => `${prefix}${name}`);
      t.same(await convert(wrapped), expected, prefix);
    }
    // Lightning: the loss has weights too, and only then is the prefix not that of all names.
    const loss = join(folder, 'loss.pth');
    const withLoss = { ...golden, state_dict: [...small, ['loss.running_mean', [10], 'float32'] as const] };
    await writeSyntheticCheckpoint(loss, withLoss, (name) =>
      name.startsWith('loss.') ? name : `model.${name}`,
    );
    t.same(await convert(loss), expected, 'beside the weights of a loss');
    // A second copy, with moving averages.
    const twice = join(folder, 'twice.pth');
    const copies = [
      ...small,
      ...small
        .filter(([name]) => !name.includes('extractor'))
        .map(([name, shape, dtype]) => [`ema_model.${name}`, shape, dtype] as const),
    ];
    await writeSyntheticCheckpoint(twice, { ...golden, state_dict: copies }, (name) =>
      name.startsWith('ema_model.') ? name : `model.${name}`,
    );
    await t.rejects(convert(twice), {
      code: 'checkpoint_shape',
      message:
        /2 times, as model\.(ema_)?model and model\.(ema_)?model: choose one with --state-dict model\./,
    });
    t.same(await convert(twice, 'model.model'), expected);
    await t.rejects(convert(twice, 'modell'), {
      code: 'checkpoint_unreadable',
      message: /no tensors under "modell"/,
    });
  });

  /** The conversion must fail, with words that help, and leave nothing. */
  const fails = (
    name: string,
    expected: { code: string; message?: RegExp },
    request: { checkpointPath?: string; architecture?: string; labels?: number; signal?: AbortSignal },
  ): void =>
    void t.test(name, async (t) => {
      const outFolder = temporaryFolder(t);
      const whole = { checkpointPath, architecture: 'Cnn6', labels: 527, outFolder, ...request };
      await t.rejects(convertCheckpoint(whole), expected);
      t.same(readdirSync(outFolder), [], 'nothing is left');
    });

  fails(
    'other labels',
    {
      code: 'checkpoint_labels',
      message: /of that architecture.*fc_audioset\.weight.*\[527, 512\].*46 labels.*--labels FILE/,
    },
    { labels: 46 },
  );
  fails(
    'another architecture',
    {
      code: 'checkpoint_shape',
      message: /Cnn6\.pth.*Cnn10.*conv_block1.*It fits Cnn6: --architecture Cnn6\./,
    },
    { architecture: 'Cnn10' },
  );
  fails(
    'no such architecture',
    { code: 'architecture_unknown', message: /Cnn14/ },
    { architecture: 'Cnn15' },
  );
  fails('no such file', { code: 'checkpoint_unreadable' }, { checkpointPath: join(folder, 'nothing.pth') });

  const cut = join(folder, 'cut.pth');
  writeFileSync(cut, readFileSync(checkpointPath).subarray(0, 1 << 20));
  fails(
    'a file that is cut off',
    { code: 'checkpoint_unreadable', message: /cut off/ },
    { checkpointPath: cut },
  );

  const narrow = join(folder, 'narrow.pth');
  const narrowState = golden.state_dict.map(([name, shape, dtype]) =>
    name === 'conv_block3.conv1.weight'
      ? ([name, [256, 64, 5, 5], dtype] as const)
      : ([name, shape, dtype] as const),
  );
  await writeSyntheticCheckpoint(narrow, { ...golden, state_dict: narrowState });
  fails(
    'a tensor that does not fit the one before it',
    { code: 'checkpoint_shape', message: /conv_block3\.conv1\.weight.*\[256, 64, 5, 5\].*gives 128/ },
    { checkpointPath: narrow },
  );

  const notNumbers = join(folder, 'nan.pth');
  copyFileSync(checkpointPath, notNumbers);
  const bytes = readFileSync(notNumbers);
  // The bias of the last layer is at the end of the file.
  bytes.writeFloatLE(NaN, bytes.length - 4);
  writeFileSync(notNumbers, bytes);
  fails(
    'weights that are not numbers',
    { code: 'conversion_failed', message: /NaN/ },
    { checkpointPath: notNumbers },
  );

  fails('called off before', { code: 'aborted' }, { signal: AbortSignal.abort() });

  await t.test('called off while it works', async (t) => {
    const outFolder = temporaryFolder(t);
    for (const stage of ['read', 'write', 'test'] as const) {
      const control = new AbortController();
      const conversion = convertCheckpoint({
        checkpointPath,
        architecture: 'Cnn6',
        labels: 527,
        outFolder,
        signal: control.signal,
        onProgress: (progress) => {
          if (progress.stage === stage) control.abort();
        },
      });
      // What is done when the last word comes cannot be called off any more.
      const outcome = await conversion.then(
        () => 'done',
        (error: unknown) => (error as { code: string }).code,
      );
      t.equal(outcome, 'aborted', stage);
      t.notOk(existsSync(join(outFolder, 'model.onnx')));
      t.same(readdirSync(outFolder), [], 'nothing is left');
    }
  });
});

t.test("a real checkpoint gives what its authors' code gives", { skip: skipWithoutShared() }, async (t) => {
  const conversion = await convertCheckpoint({
    checkpointPath: sharedPath('checkpoints', 'mn04_as_mAP_432.pt'),
    architecture: 'mn04',
    labels: 527,
    outFolder: temporaryFolder(t),
  });
  t.equal(conversion.parameters, 983_599);
  const real = JSON.parse(readFileSync(sharedPath('golden', 'real', 'mn04_as.json'), 'utf8')) as {
    wavs: {
      file: string;
      clips: { prefix_seconds: number | 'full'; samples: number; probs_file: string; embedding_l2: number }[];
    }[];
  };
  for (const { file, clips } of real.wavs) {
    for (const { prefix_seconds: seconds, samples, probs_file: expected } of clips) {
      const feeds = await feedsOf(
        conversion.input,
        conversion.input.sample_rate,
        readWav(sharedPath('golden', file), samples),
      );
      const { scores } = await scoresOf(conversion.onnxPath, feeds);
      const difference = worst(scores, readFloats(sharedPath('golden', 'real', expected)));
      t.ok(difference < 1e-4, `${file}, ${seconds}: within ${difference}`);
    }
  }
});
