import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { architectures, findArchitecture } from '../../src/convert/architectures/index.js';
import { checkShapes } from '../../src/convert/check-shapes.js';
import { buildNetwork, FRAMES, SCORES } from '../../src/convert/network.js';
import { createWeights, type Tensor } from '../../src/convert/weights.js';
import {
  compareWithGolden,
  goldenArchitectureNames,
  labelsOf,
  readGoldenArchitecture,
  type GoldenResult,
} from '../support/golden-architectures.js';
import { goldenTable } from '../support/golden-table.js';
import { temporaryFolder } from '../support/temporary.js';

/*
 * Every architecture, built with synthetic weights and run by ONNX Runtime, gives what the original PyTorch code
 * gives: one of each kind, or with SOUNDPOST_TEST_ARCHITECTURES=all every one, each in a process of its own and from a file
 * of torch.save on, or those of a list of names; SOUNDPOST_TEST_TABLE names a file for the results as a Markdown table.
 */

/** One of each kind, as small as there is; `npm test` has no time for more. */
const ONE_OF_EACH_KIND = [
  ...['Cnn6', 'Cnn14_DecisionLevelMax', 'Cnn9_GMP_64x64', 'LeeNet11', 'MobileNetV1', 'MobileNetV2'],
  ...['mn04', 'mn10_fc', 'dymn04', 'fmn04', 'fmn04+tf-104'],
];
const WHOLE_TOLERANCE = 1e-4;
const EMBEDDING_TOLERANCE = 1e-4;

const which = process.env.SOUNDPOST_TEST_ARCHITECTURES;
const tablePath = process.env.SOUNDPOST_TEST_TABLE;
const names = goldenArchitectureNames().filter((name) => {
  if (which === 'all') return true;
  return (which?.split(',') ?? ONE_OF_EACH_KIND).includes(name);
});

async function compareApart(name: string): Promise<GoldenResult> {
  const script = join(import.meta.dirname, '..', 'support', 'golden-run.js');
  const { stdout } = await promisify(execFile)(process.execPath, [script, name], { timeout: 300_000 });
  return JSON.parse(stdout) as GoldenResult;
}

/** Kernels and activations that are made from the whole window differ wherever it ends. */
const isDynamic = (name: string): boolean => /^dymn\d+$/.test(name);

function checkFrames(t: Test, { name, frames, segments }: GoldenResult): void {
  t.ok(frames, 'has frames');
  if (frames === null) return;
  const { geometry, surplus, inRange, fromClip, shifted, clickOff } = frames;
  const decides = segments !== null || name.startsWith('fmn');
  t.equal(geometry.role, decides ? 'scores' : 'location');
  t.ok(Math.abs(surplus) < 1.5, `as many as fit the window: ${surplus} too many`);
  t.ok(inRange, 'all from 0 to 1');
  t.ok(fromClip <= 1e-6, `where the neighbourhood is the clip they are its scores, within ${fromClip}`);
  // Below 1 they are nearer to where they belong than to a hop beside; deep networks of arbitrary weights smear.
  t.ok(isDynamic(name) || shifted < 1, `they move with the sound: ${shifted}`);
  t.ok(Math.abs(clickOff) < 0.25, `a click at a known time is ${clickOff} s off`);
}

t.test('every architecture has an original to compare it with', (t) => {
  const compared = new Set(goldenArchitectureNames());
  const others = architectures.map(({ name }) => name).filter((name) => !compared.has(name));
  // The same networks as Cnn9 and Cnn13 without "_hop500", behind a front end that has golden files of its own; and
  // frame-wise networks whose parts are all golden, in other combinations and sizes.
  const parts = /^fmn(04|06|10|20|30)(_weak|\+(gru|tf)-\d+)$/;
  t.same(
    others.filter((name) => !parts.test(name)),
    ['Cnn9_GMP_64x64_hop500', 'Cnn13_GMP_64x64_hop500'],
  );
  t.end();
});

t.test('shapes alone tell the classes of every network', (t) => {
  for (const name of goldenArchitectureNames()) {
    const architecture = findArchitecture(name);
    const golden = readGoldenArchitecture(name);
    const tensors = new Map<string, Tensor>();
    for (const [tensor, shape] of golden.state_dict) {
      if (!architecture.unused?.(tensor)) tensors.set(tensor, { shape, data: new Float32Array(0) });
    }
    const shapes = checkShapes(buildNetwork(architecture, createWeights(tensors)).model.graph);
    t.equal(shapes.get(SCORES)?.at(-1), labelsOf(golden), name);
    t.equal(shapes.get(FRAMES)?.at(-1), labelsOf(golden), `${name}, frames`);
  }
  t.end();
});

t.test('networks give what the originals give', { timeout: 0 }, async (t) => {
  t.ok(names.length > 0, `there are architectures called ${which ?? ONE_OF_EACH_KIND.join()}`);
  const scratch = temporaryFolder(t);
  const results: GoldenResult[] = [];
  for (const name of names) {
    await t.test(name, async (t) => {
      const result = await (which === undefined ? compareWithGolden(name, scratch) : compareApart(name));
      results.push(result);
      const { body, bodyTolerance, whole, embedding } = result;
      if (body !== null) t.ok(body <= bodyTolerance, `the network alone, within ${body}`);
      t.ok(whole <= WHOLE_TOLERANCE, `from the waveform, within ${whole}`);
      if (embedding !== null) t.ok(embedding <= EMBEDDING_TOLERANCE, `embedding, within ${embedding}`);
      if (result.segments !== null) {
        t.ok(result.segments <= WHOLE_TOLERANCE, `segments, within ${result.segments}`);
      }
      checkFrames(t, result);
    });
  }
  // Filters are not symmetrical, those of a narrow network with random weights least of all; but on the whole they are.
  const off = results.reduce((sum, { frames }) => sum + (frames?.clickOff ?? 0), 0) / results.length;
  if (results.length > 10) t.ok(Math.abs(off) < 0.05, `frames lie around what is in them, within ${off} s`);
  const table = goldenTable(results);
  if (tablePath !== undefined) writeFileSync(tablePath, table);
  if (which !== undefined) t.comment(table);
});
