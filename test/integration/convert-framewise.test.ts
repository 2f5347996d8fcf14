import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type InferenceSession, Tensor as OnnxTensor } from 'onnxruntime-node';
import t from 'tap';
import { silentLogger } from '../../src/common/log.js';
import { findArchitecture } from '../../src/convert/architectures/index.js';
import { checkShapes } from '../../src/convert/check-shapes.js';
import { convertCheckpoint } from '../../src/convert/convert.js';
import { buildNetwork, EMBEDDING, FRAMES, LOG_MEL, SCORES } from '../../src/convert/network.js';
import { createWeights, type Weights } from '../../src/convert/weights.js';
import { createFrontend } from '../../src/features/frontend.js';
import { sha256OfFile } from '../../src/models/files.js';
import { createRegistry } from '../../src/models/registry.js';
import { cli, jsonLines } from '../support/cli.js';
import { startFileServer } from '../support/file-server.js';
import { framewiseStateDict } from '../support/framewise-tensors.js';
import { readGoldenArchitecture } from '../support/golden-architectures.js';
import { goldenSession } from '../support/golden-session.js';
import { projectPath } from '../support/shared.js';
import { writeSyntheticCheckpoint } from '../support/synthetic-checkpoint.js';
import { syntheticLogMel, waveform } from '../support/synthetic.js';
import { temporaryFolder } from '../support/temporary.js';
import { makeWav } from '../support/wav.js';

/* What the reference outputs do not tell of frame-wise networks: the ways checkpoints differ, other lengths, and the way of one from a download to tags. */

const MELS = 128;
const HOP_SECONDS = 0.04;

/** The tensors of a checkpoint without their values, some of them with another shape, under other names. */
function shapesOf(
  name: string,
  changed: Record<string, number[]> = {},
  rename = (tensor: string) => tensor,
): Weights {
  return createWeights(
    new Map(
      framewiseStateDict(name).map(([tensor, shape]) => [
        rename(tensor),
        { shape: changed[tensor] ?? shape, data: new Float32Array() },
      ]),
    ),
  );
}

/** The names that training code may have written: the golden ones begin with `model.fmn.`, heads with nothing. */
const PREFIXES: [what: string, rename: (tensor: string) => string][] = [
  ['as loaded', (tensor) => tensor],
  ['net.', (tensor) => `net.${tensor.replace('model.fmn.', 'model.')}`],
  ['model.model.', (tensor) => `model.${tensor.replace('model.fmn.', 'model.')}`],
  ['model. before heads only', (tensor) => (tensor.startsWith('model.') ? tensor : `model.${tensor}`)],
  ['net.model.fmn.', (tensor) => `net.${tensor}`],
  ['fmn.', (tensor) => tensor.replace('model.fmn.', 'fmn.')],
  ['model.', (tensor) => `model.${tensor.replace('model.fmn.', '')}`],
  ['bare', (tensor) => tensor.replace('model.fmn.', '')],
];

t.test('names of tensors as training code may have wrapped them', (t) => {
  for (const [what, rename] of PREFIXES) {
    for (const name of ['fmn04', 'fmn04_weak', 'fmn04+gru-104', 'fmn04+tf-104']) {
      const { model } = buildNetwork(findArchitecture(name), shapesOf(name, {}, rename));
      t.equal(
        checkShapes(model.graph).get(SCORES)?.at(-1),
        name === 'fmn04_weak' ? 527 : 447,
        `${what}: ${name}`,
      );
    }
  }
  const twice = framewiseStateDict('fmn04').flatMap(([tensor, shape]) =>
    ['', 'net.'].map((prefix) => [`${prefix}${tensor}`, { shape, data: new Float32Array() }] as const),
  );
  t.throws(
    () => buildNetwork(findArchitecture('fmn04'), createWeights(new Map(twice))),
    {
      code: 'checkpoint_shape',
      message: /have no place in fmn04/,
    },
    'two networks in one file',
  );
  t.end();
});

t.test('a checkpoint of another network is refused, naming the tensor', (t) => {
  const pairs: [wanted: string, given: string, message: RegExp][] = [
    ['fmn04', 'fmn06', /features\.0\.0\.weight has 16 outputs instead of 8|features/],
    ['fmn20', 'fmn10', /features/],
    ['fmn10', 'fmn10+gru-256', /strong_head\.weight .*512.*960|seq_model/],
    ['fmn10+gru-256', 'fmn10+gru-128', /weight_ih_l0 has the shape \[384, 960\] instead of \[768, 960\]/],
    ['fmn10+tf-256', 'fmn10+tf-512', /seq_model\.0\.weight has 512 outputs instead of 256/],
    ['fmn10+tf-256', 'fmn10', /seq_model\.0\.weight is not in the checkpoint/],
    ['fmn10+gru-256', 'fmn10+tf-256', /seq_model\.0\.gru/],
  ];
  for (const [wanted, given, message] of pairs) {
    t.throws(
      () => checkShapes(buildNetwork(findArchitecture(wanted), shapesOf(given)).model.graph),
      { code: 'checkpoint_shape', message },
      `${given} as ${wanted}`,
    );
  }
  // The features of EfficientAT's networks have the very same shapes; what they lack is a head for frames.
  const clip = readGoldenArchitecture('mn10').state_dict.map(
    ([tensor, shape]) => [tensor, { shape, data: new Float32Array() }] as const,
  );
  t.throws(() => buildNetwork(findArchitecture('fmn10'), createWeights(new Map(clip))), {
    message: /strong_head\.weight is not in the checkpoint/,
  });
  t.end();
});

t.test('the head that was not trained may have any number of classes', (t) => {
  const odd = { 'strong_head.weight': [10, 384], 'strong_head.bias': [10] };
  const { model } = buildNetwork(findArchitecture('fmn04_weak'), shapesOf('fmn04_weak', odd));
  const shapes = checkShapes(model.graph);
  t.same(shapes.get(SCORES), [null, 527]);
  t.same(shapes.get(FRAMES), [null, null, 527]);
  t.same(shapes.get(EMBEDDING), [null, 384]);
  const fine = buildNetwork(findArchitecture('fmn04'), shapesOf('fmn04', odd)).model;
  t.same(checkShapes(fine.graph).get(FRAMES), [null, null, 10], 'a network trained for ten classes');
  t.end();
});

async function run(session: InferenceSession, logMel: Float32Array, batch = 1) {
  const dims = [batch, 1, MELS, logMel.length / MELS / batch];
  const outputs = (await session.run({ [LOG_MEL]: new OnnxTensor('float32', logMel, dims) })) as Record<
    string,
    OnnxTensor
  >;
  return { scores: outputs[SCORES]!.data as Float32Array, frames: outputs[FRAMES]! };
}

for (const name of ['fmn04', 'fmn10_weak', 'fmn10+gru-256', 'fmn04+tf-104']) {
  t.test(`${name}: a frame every 40 ms of clips of any length, alone or in a batch`, async (t) => {
    const session = await goldenSession(t, name);
    const { input, sampleRate, minSamples } = findArchitecture(name);
    if (input.kind !== 'log_mel') throw new Error(`${name} takes no log-mel`);
    const frontend = await createFrontend(input.frontend, sampleRate);
    t.equal(frontend.minSamples, minSamples, 'the shortest is that of the front end');
    const labels = name.endsWith('_weak') ? 527 : 447;
    for (const samples of [minSamples, 1600, 16_000, 36_807]) {
      const mels = frontend.frames(samples);
      const { scores, frames } = await run(session, syntheticLogMel(MELS * mels, 'normalised'));
      t.same(frames.dims, [1, Math.ceil(Math.ceil(mels / 2) / 2), labels], `${samples} samples`);
      t.ok(Math.abs(frames.dims[1]! - samples / sampleRate / HOP_SECONDS) <= 1);
      t.equal(scores.length, labels);
      t.ok(scores.every((score) => score > 0 && score < 1));
    }
    const clips = syntheticLogMel(2 * MELS * 50, 'normalised');
    const alone = await Promise.all(
      [clips.subarray(0, MELS * 50), clips.subarray(MELS * 50)].map((clip) => run(session, clip)),
    );
    const together = await run(session, clips, 2);
    for (const key of ['scores', 'frames'] as const) {
      const values = (result: typeof together) =>
        result[key] instanceof Float32Array ? result[key] : (result[key].data as Float32Array);
      const expected = alone.flatMap((result) => [...values(result)]);
      const actual = values(together);
      t.equal(actual.length, expected.length);
      t.ok(Math.max(...expected.map((value, i) => Math.abs(value - actual[i]!))) < 1e-5, `${key} as alone`);
    }
  });
}

t.test('what is converted knows when', async (t) => {
  const folder = temporaryFolder(t);
  const checkpointPath = join(folder, 'fmn10.pt');
  await writeSyntheticCheckpoint(checkpointPath, readGoldenArchitecture('fmn10'));
  const request = { checkpointPath, architecture: 'FMN10', outFolder: folder };
  const { input, output, parameters, family, selfTest } = await convertCheckpoint({
    ...request,
    labels: 447,
  });
  t.match(input, {
    kind: 'log_mel',
    layout: 'NCFT',
    sample_rate: 16_000,
    window_seconds: 10,
    min_seconds: 0.1,
    frontend: { kind: 'efficientsed', n_fft: 512, win_length: 400, hop_length: 160, f_max: 7000 },
  });
  t.same(output.frames, {
    name: FRAMES,
    embedding: null,
    role: 'scores',
    hop_seconds: 0.04,
    offset_seconds: 0,
    context_seconds: 0.82,
    spread_seconds: 0,
    lookback_seconds: 0,
  });
  t.equal(family, 'fmn');
  t.equal(selfTest.scores.length, 447);
  t.equal(parameters, 3_830_798 - 447 * 961, 'without the head that was not trained');
  await t.rejects(convertCheckpoint({ ...request, labels: 527 }), {
    code: 'checkpoint_labels',
    message: /447 classes \(the tensor strong_head\.weight .*\), but there are 527 labels/,
  });
});

t.test('from a mirror of the makers’ files to tags', async (t) => {
  const folder = temporaryFolder(t);
  const golden = readGoldenArchitecture('fmn04');
  const checkpoint = join(folder, 'fmn04_strong.pt');
  // Under the names of the training code.
  await writeSyntheticCheckpoint(checkpoint, golden, PREFIXES[1]![1]);
  const sha256 = await sha256OfFile(checkpoint);
  const server = await startFileServer(t);
  server.files.set('/fmn04_strong.pt', readFileSync(checkpoint));
  const data = join(folder, 'data');
  mkdirSync(data);
  const env = { SOUNDPOST_DATA_DIR: data, SOUNDPOST_MODELS_MIRROR: server.url };

  const asked = await cli(['models', 'pull', 'fmn04_strong'], { env });
  t.equal(asked.code, 1);
  t.match(asked.stderr, new RegExp(`--accept-digest ${sha256}`));
  const pulled = await cli(['models', 'pull', 'fmn04_strong', '--accept-digest', sha256], { env });
  t.equal(pulled.code, 0, pulled.stderr);
  const manifest = JSON.parse(
    readFileSync(join(data, 'models', 'fmn04_strong', 'model.json'), 'utf8'),
  ) as Record<string, unknown>;
  t.match(manifest, {
    family: 'fmn',
    architecture: 'fmn04',
    labels: 'audioset-strong-447',
    thresholds: null,
    output: { frames: { role: 'scores', hop_seconds: HOP_SECONDS } },
    source: { sha256, url: `${server.url}/fmn04_strong.pt` },
  });
  const info = await cli(['models', 'info', 'fmn04_strong'], { env });
  t.match(info.stdout, /\nframes +scores every 40 ms, final 0\.82 s later\n/);
  t.match(info.stdout, /\nlabels +447: Accelerating, revving, vroom; /);
  const verified = await cli(['models', 'verify', 'fmn04_strong'], { env });
  t.equal(verified.code, 0, verified.stdout);

  // The score of a label is that of its best frame, and the original has all frames of these.
  const { classes } = golden.waveform_tests[0]!.expected.framewise_output!;
  const wav = join(folder, 'a.wav');
  const channels = [Array.from(waveform('A', 16_000))];
  writeFileSync(wav, makeWav({ encoding: 's16', sampleRate: 16_000, channels }));
  const tagged = await cli(['tag', '--model', 'fmn04_strong', '--json', '--top', '447', wav], { env });
  t.equal(tagged.code, 0, tagged.stderr);
  interface Tagged {
    windows: { tags: { label: string; score: number }[] }[];
  }
  const { windows } = jsonLines<Tagged>(tagged.stdout)[0]!;
  t.equal(windows.length, 1);
  const sets = createRegistry({ bundledFolder: projectPath('models'), dataDir: data, log: silentLogger });
  const labels = await sets.labelSet('audioset-strong-447');
  for (const [index, values] of Object.entries(classes)) {
    const { name } = labels[Number(index)]!;
    const score = windows[0]!.tags.find(({ label }) => label === name)?.score ?? NaN;
    t.ok(Math.abs(score - Math.max(...values)) < 1e-4, `${name}: ${score}`);
  }

  // From a file of one's own: the labels are those of the released weights of this architecture.
  const args = ['models', 'import', checkpoint, '--architecture', 'fmn04', '--id', 'own'];
  const imported = await cli(args, { env });
  t.equal(imported.code, 0, imported.stderr);
  t.match(JSON.parse(readFileSync(join(data, 'models', 'own', 'model.json'), 'utf8')), {
    labels: 'audioset-strong-447',
    family: 'fmn',
  });
  const hybrid = await cli(['models', 'pull', 'fmn10_hybrid_256_strong'], { env });
  t.equal(hybrid.code, 1);
  t.match(hybrid.stderr, /fmn10_hybrid_256_strong cannot be converted: .*ONNX has no operator/);
});
