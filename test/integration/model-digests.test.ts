import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { silentLogger } from '../../src/common/log.js';
import { runSelfTest, withSelfTest } from '../../src/inference/self-test.js';
import { createStartEngine } from '../../src/inference/start-engine.js';
import { verifyModel } from '../../src/inference/verify.js';
import { BUNDLED_MODEL } from '../../src/models/bundled.js';
import { checkDigests, DIGESTS_FILE, writeDigests } from '../../src/models/file-digests.js';
import { parseManifest } from '../../src/models/manifest.js';
import { createRegistry } from '../../src/models/registry.js';
import { start } from '../support/service-rig.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';

/** A copy of the bundled model under another name, with digests as an installation leaves them. */
async function installed(t: Test, sealed = true) {
  const dataDir = temporaryFolder(t);
  const folder = join(dataDir, 'models', 'copied');
  cpSync(projectPath('models', BUNDLED_MODEL), folder, { recursive: true });
  const path = join(folder, 'model.json');
  writeFileSync(path, readFileSync(path, 'utf8').replace(`"${BUNDLED_MODEL}"`, '"copied"'));
  if (sealed) await writeDigests(folder);
  const registry = createRegistry({ bundledFolder: projectPath('models'), dataDir, log: silentLogger });
  return { folder, registry };
}

t.test('one character in any file of a model is noticed, and the others go on', async (t) => {
  for (const [file, from, to] of [
    ['model.json', '"f_max": 1', '"f_max": 2'],
    ['labels.json', 'Speech', 'Speach'],
    ['self-test.json', '"scores":[0', '"scores":[1'],
  ] as const) {
    const { folder, registry } = await installed(t);
    t.equal((await registry.get('copied')).manifest.id, 'copied', file);
    const path = join(folder, file);
    const before = readFileSync(path, 'utf8');
    const after =
      file === 'model.json'
        ? before.replace(/"f_max": ?\d/, (match) => match.replace(/\d$/, '9'))
        : before.replace(from, to);
    t.not(before, after, `${file} has something to change`);
    writeFileSync(path, after);
    await t.rejects(registry.get('copied'), { code: 'model_digest', message: new RegExp(file) });
    t.same(
      (await registry.list()).map(({ manifest }) => manifest.id),
      [BUNDLED_MODEL],
    );
  }
});

t.test('a model without digests goes on, and its check says so', async (t) => {
  const { folder, registry } = await installed(t, false);
  writeFileSync(join(folder, DIGESTS_FILE), '{}');
  t.equal(await checkDigests(folder), 0);
  const { folder: bare, registry: other } = await installed(t, false);
  await import('node:fs/promises').then(({ rm }) => rm(join(bare, DIGESTS_FILE), { force: true }));
  const startEngine = createStartEngine({ log: silentLogger });
  const report = await verifyModel('copied', { registry: other, startEngine });
  t.match(report, { ok: true });
  t.match(report.steps.find(({ name }) => name === 'digest')?.detail, /no digests/);
  t.ok((await registry.list()).length === 2);
});

t.test('a model that says something else than when it was installed is not taken', async (t) => {
  const { folder, registry } = await installed(t);
  const path = join(folder, 'self-test.json');
  const test = JSON.parse(readFileSync(path, 'utf8')) as { scores: number[] };
  writeFileSync(path, JSON.stringify({ ...test, scores: test.scores.map((score) => 1 - score) }));
  await writeDigests(folder);
  const startEngine = withSelfTest(createStartEngine({ log: silentLogger }), silentLogger);
  await t.rejects(startEngine(await registry.get('copied'), { threads: 1 }), { code: 'self_test' });
});

t.test('the bundled files are sealed as they are', async (t) => {
  for (const name of [BUNDLED_MODEL, 'labels']) {
    const folder = projectPath('models', name);
    const digests = JSON.parse(readFileSync(join(folder, DIGESTS_FILE), 'utf8')) as object;
    const files = (await readdir(folder)).filter((file) => file !== DIGESTS_FILE && !file.endsWith('.md'));
    t.same(Object.keys(digests).sort(), files.sort(), name);
    t.ok((await checkDigests(folder))! > 0);
  }
  const registry = createRegistry({
    bundledFolder: projectPath('models'),
    dataDir: temporaryFolder(t),
    log: silentLogger,
  });
  const engine = await createStartEngine({ log: silentLogger })(await registry.get(BUNDLED_MODEL), {
    threads: 1,
  });
  t.teardown(() => engine.stop());
  t.ok((await runSelfTest(engine))!.worst < 1e-3);
});

t.test('a manifest cannot fill topics', (t) => {
  const text = readFileSync(projectPath('models', BUNDLED_MODEL, 'model.json'), 'utf8');
  const manifest = JSON.parse(text) as Record<string, unknown>;
  for (const key of ['title', 'family', 'architecture', 'licence']) {
    for (const wrong of ['x'.repeat(62_000), 'two\nlines']) {
      t.throws(() => parseManifest(JSON.stringify({ ...manifest, [key]: wrong }), 'model.json'), {
        code: 'model_manifest',
        message: new RegExp(key),
      });
    }
  }
  t.end();
});

t.test('a network from an address is refused over MQTT unless the configuration allows it', async (t) => {
  const { console } = await start(t, null, { AUDIO_SOURCE: 'demo' });
  const request = { url: 'http://127.0.0.1:9/x.onnx', sha256: '0'.repeat(64), manifest: { id: 'x' } };
  t.match(await console.request('model/pull', request), {
    status: 'error',
    error: { code: 'remote_pull_off', message: /models\.remote_pull/ },
  });
  t.match(await console.request('model/cancel'), { data: { cancelled: false, model: null } });
});
