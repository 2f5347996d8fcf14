import { readFileSync } from 'node:fs';
import t from 'tap';
import type { OnnxGraph } from '../../src/convert/onnx.js';
import { findArchitecture } from '../../src/convert/architectures/index.js';
import { manifestInput } from '../../src/convert/convert.js';
import { buildNetwork } from '../../src/convert/network.js';
import { readOnnx } from '../../src/convert/read-onnx.js';
import { streamInputs } from '../../src/convert/streaming/stream-inputs.js';
import { createWeights, type Tensor } from '../../src/convert/weights.js';
import { prepareModelInputs } from '../../src/inference/model-input.js';
import { parseManifest, type Manifest } from '../../src/models/manifest.js';
import { readGoldenArchitecture } from '../support/golden-architectures.js';
import { seededRandom } from '../support/random.js';
import { projectPath } from '../support/shared.js';
import { openBothForms } from '../support/stream-check.js';
import { syntheticParameters, waveform } from '../support/synthetic.js';
import { temporaryFolder } from '../support/temporary.js';

/*
 * Networks of the literature with the synthetic weights of their golden files: streams give what whole windows give, from
 * sound through the real front end, for random hops and a break.
 */

/** Those that take seconds; `npm run bench:streaming` compares them all. */
const NAMES = ['Cnn6', 'MobileNetV1', 'MobileNetV2', 'LeeNet11', 'Cnn9_GMP_64x64', 'soundpost-home'];
/** Each with what its reason has to name. */
const NO_STREAMS = { dymn04: 'squeeze and excitation', mn10: 'squeeze and excitation' };
const TOLERANCE = 1e-5;
const WINDOW_SECONDS = 6;

function networkOf(name: string): { graph: OnnxGraph; input: Manifest['input'] } {
  if (name === 'soundpost-home') {
    const path = projectPath('models', name, 'model.json');
    const { graph } = readOnnx(readFileSync(projectPath('models', name, 'model.onnx')));
    return { graph, input: parseManifest(readFileSync(path, 'utf8'), path).input };
  }
  const tensors = new Map<string, Tensor>();
  for (const { name: tensor, shape, data } of syntheticParameters(readGoldenArchitecture(name))) {
    tensors.set(tensor, { shape, data });
  }
  const architecture = findArchitecture(name);
  const { model } = buildNetwork(architecture, createWeights(tensors));
  return { graph: model.graph, input: manifestInput(architecture) };
}

async function requestFor(input: Manifest['input'], leftEdge: 'exact' | 'stream') {
  const rate = input.sample_rate;
  const windowSamples = WINDOW_SECONDS * rate;
  const inputs = await streamInputs(input, { sampleRate: rate, windowSamples });
  return { inputs, windowSamples, hopSamples: rate, leftEdge } as const;
}

for (const name of NAMES) {
  t.test(`${name} as a stream`, { timeout: 300_000 }, async (t) => {
    const { graph, input } = networkOf(name);
    const request = await requestFor(input, 'exact');
    const { windowSamples } = request;
    const both = await openBothForms(graph, request, temporaryFolder(t));
    if ('reason' in both) return void t.fail(both.reason);
    const { gridSamples, hopSamples } = both.streamed.plan;
    const random = seededRandom(t);
    const feed = (await prepareModelInputs(input))(windowSamples);
    const loop = waveform('A', input.sample_rate);
    let at = 0;
    const push = (samples: number): void => {
      feed.push(
        Float32Array.from(
          { length: samples },
          (_, i) => loop[(at + i) % loop.length]! * (0.2 + random() / 2),
        ),
      );
      at += samples;
    };
    push(windowSamples);
    let moved: number | null = null;
    let worst = 0;
    const hops = 8;
    for (let hop = 0; hop < hops; hop += 1) {
      worst = Math.max(worst, await both.compare(feed.tensors(windowSamples), windowSamples, moved));
      const isBreak = hop === 4;
      moved = (1 + Math.floor((random() * hopSamples) / gridSamples)) * gridSamples;
      push(isBreak ? windowSamples : moved);
      if (isBreak) moved = null;
    }
    t.ok(worst <= TOLERANCE, `within ${worst}`);
    t.equal(both.stream.beginnings, 2, 'at the start and after the break');
    const { macs } = both.streamed;
    t.ok(macs !== null && macs.hop < 0.75 * macs.whole, 'of a hop the most is saved');
    // Of its blocks the narrow values are kept, not those that are six times as wide.
    if (name === 'MobileNetV2') t.ok(both.stream.bytes < 2e6, `${both.stream.bytes} bytes are kept`);
    await both.release();
  });
}

t.test('the cheaper form differs, and is cheaper', async (t) => {
  const { graph, input } = networkOf('MobileNetV1');
  const folder = temporaryFolder(t);
  const exact = await openBothForms(graph, await requestFor(input, 'exact'), folder);
  const request = await requestFor(input, 'stream');
  const cheap = await openBothForms(graph, request, folder);
  if ('reason' in exact || 'reason' in cheap) return void t.fail('both are streams');
  t.ok(cheap.streamed.macs!.hop < exact.streamed.macs!.hop, 'fewer sums');
  t.ok(cheap.stream.bytes < exact.stream.bytes, 'less is kept');
  const { windowSamples, gridSamples } = cheap.streamed.plan;
  const feed = (await prepareModelInputs(input))(windowSamples);
  const loop = waveform('A', input.sample_rate);
  feed.push(Float32Array.from({ length: windowSamples }, (_, i) => loop[i % loop.length]!));
  await cheap.compare(feed.tensors(windowSamples), windowSamples, null);
  feed.push(loop.subarray(0, gridSamples));
  const worst = await cheap.compare(feed.tensors(windowSamples), windowSamples, gridSamples);
  t.ok(worst > TOLERANCE && worst < 1, `by ${worst}`);
  await exact.release();
  await cheap.release();
});

t.test('networks that look at the whole window say why they are no streams', async (t) => {
  for (const [name, why] of Object.entries(NO_STREAMS)) {
    const { graph, input } = networkOf(name);
    const both = await openBothForms(graph, await requestFor(input, 'exact'), temporaryFolder(t));
    t.match('reason' in both ? both.reason : 'it is one', why, name);
  }
});
