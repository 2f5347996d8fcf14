import { cpSync, rmSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { silentLogger } from '../../src/common/log.js';
import { optimizedFolderIn, removeOptimizedCopies } from '../../src/inference/optimized-copy.js';
import { createStartEngine } from '../../src/inference/start-engine.js';
import { createRegistry } from '../../src/models/registry.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';
import { tone } from '../support/tone-models.js';
import { until } from '../support/waiting.js';

const log = silentLogger;
const ID = 'tagger';

t.test('a model leaves a copy that was optimised, and is loaded from it', async (t) => {
  const dataDir = temporaryFolder(t);
  const models = join(dataDir, 'models', ID);
  mkdirSync(models, { recursive: true });
  cpSync(projectPath('models', 'soundpost-home'), models, { recursive: true });
  rmSync(join(models, 'files.json'));
  const manifest = join(models, 'model.json');
  writeFileSync(manifest, readFileSync(manifest, 'utf8').replace('"soundpost-home"', `"${ID}"`));
  const folder = optimizedFolderIn(dataDir);
  const startEngine = createStartEngine({ log, optimizedFolder: folder });
  const registry = createRegistry({ bundledFolder: projectPath('models'), dataDir, log });
  const model = await registry.get(ID);
  const { sample_rate: rate, window_seconds: seconds } = model.manifest.input;
  const samples = tone(440, seconds, rate, 0.3);

  /** The scores of one life, which ends once a whole copy is there. */
  const live = async () => {
    const engine = await startEngine(model, { threads: 1 });
    try {
      const { scores } = await engine.infer({ samples, reset: true, windowSamples: samples.length });
      // It comes when nobody waits for it, so nobody is told.
      await until(() => copies().some((name) => name.startsWith(`${ID}.`)), 'an optimised copy', 60);
      return [...scores];
    } finally {
      await engine.stop();
    }
  };
  const copies = () => readdirSync(folder);
  mkdirSync(folder);

  const first = await live();
  const [name] = copies();
  t.match(name, /^tagger\.[0-9a-f]{16}\.[0-9a-f]{64}\.onnx$/);
  t.equal(copies().length, 1);

  const original = readFileSync(model.onnxPath);
  writeFileSync(model.onnxPath, 'no network');
  const second = await live();
  const near = (scores: number[]) => scores.every((score, index) => Math.abs(score - first[index]!) < 1e-6);
  t.ok(near(second), 'the same scores, from the copy alone');
  t.same(copies(), [name]);

  writeFileSync(model.onnxPath, original);
  const damaged = readFileSync(join(folder, name!));
  damaged[damaged.length >> 1]! ^= 1;
  writeFileSync(join(folder, name!), damaged);
  t.ok(near(await live()), 'a damaged copy is not used');
  t.not(readFileSync(join(folder, copies()[0]!)).equals(damaged), true, 'and replaced');
  t.equal(copies().length, 1);

  await removeOptimizedCopies(folder, ID);
  t.same(copies(), []);
});
