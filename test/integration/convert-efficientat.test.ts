import { type InferenceSession, Tensor as OnnxTensor } from 'onnxruntime-node';
import t from 'tap';
import type { SoundpostError } from '../../src/common/errors.js';
import { findArchitecture } from '../../src/convert/architectures/index.js';
import { checkShapes } from '../../src/convert/check-shapes.js';
import { buildNetwork, EMBEDDING, LOG_MEL, SCORES } from '../../src/convert/network.js';
import { createWeights, type Weights } from '../../src/convert/weights.js';
import { createFrontend } from '../../src/features/frontend.js';
import { readGoldenArchitecture } from '../support/golden-architectures.js';
import { goldenSession } from '../support/golden-session.js';
import { syntheticLogMel } from '../support/synthetic.js';

/* What the reference outputs do not tell of EfficientAT's networks: checkpoints that differ, other lengths, batches. */

/** The tensors of an architecture's checkpoint without their values, some of them with another shape. */
function shapesOf(name: string, changed: Record<string, number[]> = {}): Weights {
  const { state_dict: tensors } = readGoldenArchitecture(name);
  return createWeights(
    new Map(
      tensors.map(([tensor, shape]) => [
        tensor,
        { shape: changed[tensor] ?? shape, data: new Float32Array() },
      ]),
    ),
  );
}

const MELS = 128;

async function scoresOf(session: InferenceSession, logMel: Float32Array, batch = 1): Promise<Float32Array> {
  const dims = [batch, 1, MELS, logMel.length / MELS / batch];
  const outputs = await session.run({ [LOG_MEL]: new OnnxTensor('float32', logMel, dims) });
  return (outputs as Record<string, OnnxTensor>)[SCORES]!.data as Float32Array;
}

t.test('a checkpoint of another width or head is refused, naming the tensor', (t) => {
  const pairs = [
    ['mn04', 'mn05'],
    ['mn05', 'mn04'],
    ['mn10', 'mn40'],
    ['mn01', 'mn02'],
    ['dymn10', 'dymn20'],
    ['dymn10', 'dymn10_replace_se'],
    ['mn10', 'dymn10'],
    ['mn10', 'mn10_fc'],
    ['mn10_fc', 'mn10_mhap'],
  ] as const;
  for (const [wanted, given] of pairs) {
    const error = t.throws(() => buildNetwork(findArchitecture(wanted), shapesOf(given)), {
      name: 'SoundpostError',
      code: 'checkpoint_shape',
      message: /another architecture\?/,
    });
    const names = readGoldenArchitecture(given).state_dict.map(([tensor]) => tensor);
    const wantedNames = readGoldenArchitecture(wanted).state_dict.map(([tensor]) => tensor);
    const { message } = error as SoundpostError;
    t.ok(
      [...names, ...wantedNames].some((tensor) => message.includes(tensor)),
      `${given} as ${wanted}: ${message}`,
    );
  }
  t.end();
});

t.test('fine-tuned networks have as many labels as their checkpoint', (t) => {
  const heads: [string, Record<string, number[]>][] = [
    ['mn04', { 'classifier.5.weight': [10, 512], 'classifier.5.bias': [10] }],
    ['dymn04', { 'classifier.5.weight': [10, 512], 'classifier.5.bias': [10] }],
    [
      'mn10_fc',
      {
        'classifier.0.weight': [10, 960, 1, 1],
        ...Object.fromEntries(
          ['weight', 'bias', 'running_mean', 'running_var'].map((leaf) => [`classifier.1.${leaf}`, [10]]),
        ),
      },
    ],
    ['mn10_mhap', { 'classifier.subspace_proj.weight': [80, 960], 'classifier.subspace_proj.bias': [80] }],
  ];
  for (const [name, changed] of heads) {
    const { model } = buildNetwork(findArchitecture(name), shapesOf(name, changed));
    const shapes = checkShapes(model.graph);
    t.same(shapes.get(SCORES), [null, 10], name);
    t.equal(
      shapes.get(EMBEDDING)?.[1],
      readGoldenArchitecture(name).body_test?.expected.embedding?.dim,
      name,
    );
  }
  const odd = { 'classifier.subspace_proj.weight': [81, 960], 'classifier.subspace_proj.bias': [81] };
  t.throws(() => buildNetwork(findArchitecture('mn10_mhap'), shapesOf('mn10_mhap', odd)), {
    code: 'checkpoint_shape',
  });
  t.end();
});

for (const name of ['mn04', 'dymn04']) {
  t.test(`${name} takes clips of any length, from the shortest`, async (t) => {
    const session = await goldenSession(t, name);
    const { input, sampleRate, minSamples } = findArchitecture(name);
    if (input.kind !== 'log_mel') throw new Error(`${name} takes no log-mel`);
    const frontend = await createFrontend(input.frontend, sampleRate);
    t.equal(frontend.minSamples, minSamples, 'the shortest is that of the front end');
    for (const samples of [minSamples, 1000, 32_000, 33_001]) {
      const scores = await scoresOf(session, syntheticLogMel(MELS * frontend.frames(samples), 'normalised'));
      t.equal(scores.length, 527, `${samples} samples`);
      t.ok(
        scores.every((score) => score > 0 && score < 1),
        'all of them probabilities',
      );
    }
  });
}

t.test('clips in a batch do not see each other', async (t) => {
  const clips = syntheticLogMel(2 * MELS * 50, 'normalised');
  const [first, second] = [clips.subarray(0, MELS * 50), clips.subarray(MELS * 50)];
  const session = await goldenSession(t, 'mn04');
  const alone = [...(await scoresOf(session, first)), ...(await scoresOf(session, second))];
  const together = await scoresOf(session, clips, 2);
  t.ok(Math.max(...alone.map((score, i) => Math.abs(score - together[i]!))) < 1e-6, 'as alone');

  const dynamic = await goldenSession(t, 'dymn04');
  await t.rejects(scoresOf(dynamic, clips, 2), 'where kernels come from the clip, the batch is 1');
});
