import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { readdir, rename, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { convertCheckpoint } from '../../src/convert/convert.js';
import { SoundpostError } from '../../src/common/errors.js';
import { silentLogger as log } from '../../src/common/log.js';
import { createStartEngine } from '../../src/inference/start-engine.js';
import { verifyModel } from '../../src/inference/verify.js';
import type { ConvertCheckpoint } from '../../src/install/conversion.js';
import { createInstaller } from '../../src/install/installer.js';
import type { InstallProgress } from '../../src/install/progress.js';
import { createUpdateLock } from '../../src/install/update-lock.js';
import type { SourceSettings } from '../../src/install/obtain.js';
import { digestOfFile } from '../../src/models/files.js';
import { createRegistry } from '../../src/models/registry.js';
import { startFileServer } from '../support/file-server.js';
import { projectPath, sharedPath, skipWithoutShared } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';
import { installToneModel, labelNames, tone } from '../support/tone-models.js';

/*
 * The catalogue of these tests knows two small "checkpoints"; the stand-in for the converter makes the tone detector of
 * each. What the converter itself does is tested with the real one below and in its own tests.
 */

const startEngine = createStartEngine({ log });
const CHECKPOINT = Buffer.from('weights of a tone detector');

const entry = (id: string, changes: Record<string, unknown> = {}) => ({
  id,
  title: `Tones ${id}`,
  family: 'test',
  architecture: 'Tones',
  file: `${id}=1.pt`,
  url: `https://a.example/${id}`,
  bytes: null,
  approximate_bytes: 1000,
  sha256: null,
  md5: null,
  licence: { code: 'MIT', weights: null, note: null },
  audioset_map: 0.5,
  parameters: 10,
  macs: 20,
  labels: 'tones',
  sample_rate: 16000,
  frontend: null,
  note: null,
  ...changes,
});

async function setUp(
  t: Test,
  settings: Partial<SourceSettings> = {},
  given: { convert?: ConvertCheckpoint } = {},
) {
  const folder = temporaryFolder(t);
  const [bundledFolder, dataDir, mirror] = ['bundled', 'data', 'mirror'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  const made = await installToneModel(join(folder, 'made'), 'waveform');
  mkdirSync(join(bundledFolder, 'labels'), { recursive: true });
  const labels = labelNames(3).map((name, index) => ({ index, name, mid: null }));
  for (const name of ['tones', 'audioset-527']) {
    writeFileSync(join(bundledFolder, 'labels', `${name}.json`), JSON.stringify(labels));
  }
  mkdirSync(mirror);
  writeFileSync(join(mirror, 'tones=1.pt'), CHECKPOINT);
  writeFileSync(join(mirror, 'other=1.pt'), CHECKPOINT);
  const sha256 = await digestOfFile(join(mirror, 'tones=1.pt'), 'sha256');
  const md5 = { value: await digestOfFile(join(mirror, 'tones=1.pt'), 'md5'), evidence: 'a test' };
  const models = [entry('tones', { sha256 }), entry('other', { md5 }), entry('lost', { url: null })];
  writeFileSync(join(bundledFolder, 'catalogue.json'), JSON.stringify({ hosts: ['a.example'], models }));

  const standIn: ConvertCheckpoint = async ({ architecture, labels, outFolder, onProgress }) => {
    onProgress?.({ stage: 'write', fraction: 0.5 });
    cpSync(made.onnxPath, join(outFolder, 'model.onnx'));
    const { input, output, onnx_sha256: onnxSha256 } = made.manifest;
    const staged = await createRegistry({ bundledFolder, dataDir: join(folder, 'made'), log }).get(made.id);
    const engine = await startEngine(staged, { threads: 1 });
    const { makeSelfTest } = await import('../../src/inference/self-test.js');
    const selfTest = await makeSelfTest(engine).finally(() => engine.stop());
    if (labels !== 3) throw new SoundpostError('checkpoint_labels', `it has 3 classes, not ${labels}`);
    return { architecture, family: 'tones', input, output, parameters: 7, onnxSha256, bytes: 1, selfTest };
  };
  const registry = createRegistry({ bundledFolder, dataDir, log });
  const installer = createInstaller({
    registry,
    bundledFolder,
    settings: { mirror, allowedHosts: [], requireDigest: true, ...settings },
    convert: given.convert ?? standIn,
    startEngine,
    threads: 1,
    optimizedFolder: join(dataDir, 'optimized'),
    updateLock: createUpdateLock({ path: join(dataDir, 'balena', 'updates.lock'), log }),
    log,
    tuning: { retryDelaysMs: [], stallMs: 5000 },
  });
  const root = registry.installedFolder;
  const left = async () => (await readdir(root).catch(() => [])).sort();
  return { folder, bundledFolder, dataDir, mirror, made, sha256, registry, installer, root, left };
}

t.test('a model of the catalogue, from a folder of checkpoints', async (t) => {
  const { installer, registry, left, sha256, mirror, root } = await setUp(t);
  const seen: InstallProgress[] = [];
  const { model, installed } = await installer.pull('tones', {
    onProgress: (progress) => seen.push(progress),
  });
  t.ok(installed);
  t.match(model.manifest, {
    id: 'tones',
    family: 'test',
    labels: 'tones',
    parameters: 10,
    metrics: { audioset_map: 0.5 },
    licence: 'code MIT, weights not stated',
    source: { url: join(mirror, 'tones=1.pt'), sha256, bytes: CHECKPOINT.length },
  });
  t.same(
    [...new Set(seen.map(({ step }) => step))],
    ['downloading', 'converting', 'verifying'],
    'with progress all the way',
  );
  t.same(await left(), ['tones'], 'nothing else is left');
  t.same((await readdir(join(root, 'tones'))).sort(), [
    'files.json',
    'model.json',
    'model.onnx',
    'self-test.json',
  ]);
  t.match(await verifyModel('tones', { registry, startEngine }), {
    ok: true,
    steps: [{}, {}, {}, {}, { name: 'self-test', ok: true, detail: /same answer/ }],
  });
  t.equal((await installer.pull('tones')).installed, false, 'a second time there is nothing to do');

  const file = join(root, 'tones', 'self-test.json');
  const test = JSON.parse(readFileSync(file, 'utf8')) as { scores: number[] };
  test.scores[1] = Math.abs(test.scores[1]! - 0.5);
  writeFileSync(file, JSON.stringify(test));
  t.match((await verifyModel('tones', { registry, startEngine })).steps.at(-1), { code: 'model_digest' });
  await rm(join(root, 'tones', 'files.json'));
  t.match(await verifyModel('tones', { registry, startEngine }), {
    ok: false,
    steps: [{}, {}, {}, {}, { name: 'self-test', code: 'self_test', detail: /Tone 1/ }],
  });
  writeFileSync(file, '{"generator":"birdsong","window_samples":1,"scores":[1]}');
  t.match((await verifyModel('tones', { registry, startEngine })).steps.at(-1), { code: 'self_test' });

  writeFileSync(join(root, 'tones', 'model.json'), 'spoilt');
  t.ok((await installer.pull('tones')).installed, 'a broken one is replaced');
  t.same(await left(), ['tones']);
});

t.test('a file that nobody has published a digest of', async (t) => {
  const server = await startFileServer(t);
  const { installer, left, sha256, root, mirror } = await setUp(t, { mirror: `${server.url}/a b/` });
  server.files.set('/a b/other=1.pt', CHECKPOINT);
  const asked = { code: 'digest_unknown', message: new RegExp(`MD5 is the one.*--accept-digest ${sha256}`) };
  await t.rejects(installer.pull('other'), asked);
  t.same(await readdir(join(root, '.downloads')), ['other-other=1.pt'], 'it is kept');
  await t.rejects(installer.pull('other'), asked, 'and asked for again');
  t.equal(server.requests.length, 1, 'but not downloaded again');
  const { model } = await installer.pull('other', { sha256 });
  t.equal(model.manifest.source?.sha256, sha256);
  t.equal(server.requests.length, 1);
  t.same(await left(), ['.downloads', 'other']);
  t.same(await readdir(join(root, '.downloads')), [], 'what was installed is not kept twice');
  t.ok(existsSync(join(mirror, 'other=1.pt')));

  await installer.remove('other', []);
  const trusting = await setUp(t, { mirror: `${server.url}/a b/`, requireDigest: false });
  t.equal(
    (await trusting.installer.pull('other')).model.manifest.source?.sha256,
    sha256,
    'taken as it comes',
  );

  await t.rejects(installer.pull('other', { sha256: 'f'.repeat(64) }), { code: 'digest_mismatch' });
  server.files.set('/a b/other=1.pt', Buffer.from('damaged'));
  await t.rejects(installer.pull('other'), { code: 'digest_mismatch', message: /MD5/ });
  server.files.set('/a b/tones=1.pt', Buffer.from('damaged'));
  await t.rejects(installer.pull('tones'), { code: 'digest_mismatch', message: /SHA-256/ });
  await t.rejects(installer.pull('tones', { sha256: 'f'.repeat(64) }), {
    code: 'digest_mismatch',
    message: /is known to be/,
  });
  t.same(await readdir(join(root, '.downloads')), [], 'nothing wrong is kept');
  await t.rejects(installer.pull('lost'), { code: 'download_refused', message: /does not exist/ });
});

t.test('a file that is not what it should be is downloaded once more', async (t) => {
  const server = await startFileServer(t);
  const { installer, sha256, root } = await setUp(t, { mirror: server.url });
  for (const [id, kind] of [
    ['tones', 'SHA-256'],
    ['other', 'MD5'],
  ] as const) {
    const path = `/${id}=1.pt`;
    const pull = () => installer.pull(id, { sha256 });
    server.files.set(path, CHECKPOINT);
    server.mischief.set(path, { otherFile: { body: Buffer.from('somebody else'), times: 2 } });
    server.requests.length = 0;
    await t.rejects(id === 'tones' ? pull() : installer.pull(id), {
      code: 'digest_mismatch',
      message: new RegExp(`its ${kind} is .*twice and was the same both times`),
    });
    t.equal(server.requests.length, 2, 'but not a third time');
    t.same(await readdir(join(root, '.downloads')), []);
    server.mischief.set(path, { otherFile: { body: Buffer.from('somebody else'), times: 1 } });
    const { model } = await pull();
    t.equal(model.manifest.source?.sha256, sha256, 'a wrong answer is not the last word');
    t.equal(server.requests.length, 4);
    t.same(await readdir(join(root, '.downloads')), []);
  }
});

t.test('what cannot be pulled', async (t) => {
  const { installer, left, mirror } = await setUp(t);
  await t.rejects(installer.pull('tonnes'), { code: 'model_unknown', message: /Did you mean tones/ });
  await t.rejects(installer.pull('lost'), { code: 'download_refused' }, 'not in the mirror');
  writeFileSync(join(mirror, 'tones=1.pt'), 'damaged');
  await t.rejects(installer.pull('tones'), { code: 'digest_mismatch' });
  t.ok(existsSync(join(mirror, 'tones=1.pt')), 'a mirror is only read');
  const direct = await setUp(t, { mirror: '' });
  await t.rejects(direct.installer.pull('lost'), { code: 'no_address', message: /models import/ });
  t.same(await left(), []);
});

t.test('an installation that fails leaves nothing', async (t) => {
  const { made, ...plain } = await setUp(t);
  const { input, output } = made.manifest;
  const selfTest = { generator: 'tones-and-noise-1', window_samples: 16000, scores: [0.9, 0.9, 0.9] };
  const result = { architecture: 'Tones', family: 'test', input, output, parameters: 1, bytes: 1, selfTest };
  const cases: [string, ConvertCheckpoint, { code: string }][] = [
    [
      'the converter refuses',
      () => Promise.reject(new SoundpostError('checkpoint_shape', 'no')),
      { code: 'checkpoint_shape' },
    ],
    [
      'the network is none',
      ({ outFolder }) => {
        writeFileSync(join(outFolder, 'model.onnx'), 'rubbish');
        return digestOfFile(join(outFolder, 'model.onnx'), 'sha256').then((onnxSha256) => ({
          ...result,
          onnxSha256,
        }));
      },
      { code: 'model_unreadable' },
    ],
    [
      'the network says something else here',
      ({ outFolder }) => {
        cpSync(made.onnxPath, join(outFolder, 'model.onnx'));
        return Promise.resolve({ ...result, onnxSha256: made.manifest.onnx_sha256 });
      },
      { code: 'self_test' },
    ],
  ];
  for (const [name, convert, error] of cases) {
    const { installer, left } = await setUp(t, {}, { convert });
    await t.rejects(installer.pull('tones'), error, name);
    t.same(await left(), [], name);
  }
  const abort = new AbortController();
  await t.rejects(
    plain.installer.pull('tones', {
      signal: abort.signal,
      onProgress: ({ step }) => {
        if (step === 'verifying') abort.abort();
      },
    }),
    { code: 'aborted' },
  );
  t.same(await plain.left(), []);
});

t.test('weights of one’s own', async (t) => {
  const { installer, mirror, root, left } = await setUp(t);
  const file = join(mirror, 'tones=1.pt');
  const labels = ['Drill', 'Saw', 'Hammer'].map((name, index) => ({ index, name, mid: null }));
  const model = await installer.importCheckpoint({
    file,
    architecture: 'Tones',
    id: 'shop',
    labels,
    title: 'Workshop',
  });
  t.match(model, {
    manifest: { id: 'shop', title: 'Workshop', family: 'test', labels: 'labels.json', source: { url: file } },
    labels: [{ name: 'Drill' }, { name: 'Saw' }, { name: 'Hammer' }],
  });
  const again = { file, architecture: 'Tones', id: 'shop' };
  await t.rejects(installer.importCheckpoint(again), { code: 'model_exists', message: /models remove shop/ });
  await t.rejects(installer.importCheckpoint({ ...again, id: '../x' }), { code: 'invalid_id' });
  await t.rejects(installer.importCheckpoint({ ...again, id: 'x', file: mirror }), {
    code: 'checkpoint_unreadable',
  });
  await t.rejects(installer.importCheckpoint({ ...again, id: 'x', file: `${file}x` }), {
    code: 'checkpoint_unreadable',
    message: /cannot be read/,
  });
  await t.rejects(installer.importCheckpoint({ ...again, id: 'x', labels: labels.slice(1) }), {
    code: 'checkpoint_labels',
  });
  t.same(await left(), ['shop']);
  t.same((await readdir(join(root, 'shop'))).sort(), [
    'files.json',
    'labels.json',
    'model.json',
    'model.onnx',
    'self-test.json',
  ]);

  await t.rejects(installer.remove('shop', ['shop']), { code: 'model_in_use', message: /model\/set/ });
  await t.rejects(installer.remove('nothing', []), { code: 'model_unknown', message: /Installed: shop\./ });
  await t.rejects(installer.remove('shopp', []), { code: 'model_unknown', message: /Did you mean shop\?/ });
  await t.rejects(installer.remove('../mirror', []), { code: 'model_unknown' });
  writeFileSync(join(root, 'shop', 'model.json'), 'spoilt');
  await installer.remove('shop', ['shop']);
  t.same(await left(), [], 'a broken one may go even where it is wished for');
});

t.test('a network from an address', async (t) => {
  const server = await startFileServer(t);
  const { installer, made, left, registry } = await setUp(t, { allowedHosts: ['127.0.0.1'] });
  server.files.set('/tones.onnx', readFileSync(made.onnxPath));
  const { onnx_sha256: sha256, ...rest } = made.manifest;
  const manifest = { ...rest, id: 'remote' };
  const remote = { url: `${server.url}/tones.onnx`, sha256, manifest, labels: ['Low', 'Middle', 'High'] };

  const refused: [changes: object, code: RegExp, message?: RegExp][] = [
    [{ url: `${server.url}/nothing` }, /download_refused/],
    [{ url: 'https://other.example/x.onnx' }, /host_not_allowed/, /models\.allowed_hosts/],
    [{ url: 'file:///etc/passwd' }, /invalid_request/],
    [{ url: server.url.replace('//', '//me:100%@') }, /invalid_request/, /url: .*%25/],
    [{ sha256: undefined }, /digest_required/],
    [{ sha256: 'f'.repeat(64) }, /digest_mismatch/],
    [{ manifest: { id: 'remote' } }, /invalid_request/, /manifest\.title/],
    [{ manifest: { ...manifest, id: '../x' } }, /invalid_request/],
    [{ manifest: { ...manifest, onnx_sha256: 'f'.repeat(64) } }, /invalid_request/, /differ/],
    [
      { labels: undefined, manifest: { ...manifest, labels: 'labels.json' } },
      /invalid_request/,
      /a file cannot be sent/,
    ],
    [{ labels: ['a', 'b'] }, /model_/],
  ];
  for (const [changes, code, message = /./] of refused) {
    await t.rejects(
      installer.pullRemote({ ...remote, ...changes }),
      { code, message },
      JSON.stringify(changes).slice(0, 80),
    );
  }
  t.same(
    (await left()).filter((name) => name !== '.downloads'),
    [],
  );
  const model = await installer.pullRemote(remote);
  t.match(model, { manifest: { id: 'remote', onnx_sha256: sha256 }, labels: [{}, { name: 'Middle' }, {}] });
  await t.rejects(installer.pullRemote(remote), { code: 'model_exists' });
  t.match(await verifyModel('remote', { registry, startEngine }), { ok: true });
});

t.test(
  'without a digest, what has come from one address is never taken for what another one has',
  async (t) => {
    const server = await startFileServer(t);
    const settings = { allowedHosts: ['127.0.0.1'], requireDigest: false };
    const { installer, made } = await setUp(t, settings);
    const { onnx_sha256: sha256, ...manifest } = made.manifest;
    server.files.set('/one.onnx', readFileSync(made.onnxPath));
    const remote = {
      url: `${server.url}/one.onnx`,
      manifest: { ...manifest, id: 'remote' },
      labels: labelNames(3),
    };
    await t.rejects(installer.pullRemote({ ...remote, labels: ['a', 'b'] }), { code: /model_/ });
    await t.rejects(installer.pullRemote({ ...remote, url: `${server.url}/two.onnx` }), {
      code: 'download_refused',
    });
    t.match(await installer.pullRemote(remote), { manifest: { id: 'remote', onnx_sha256: sha256 } });
  },
);

t.test('leftovers of installations that were cut short', async (t) => {
  const { installer, root, left } = await setUp(t);
  const other = spawn('sleep', ['60']);
  await once(other, 'spawn');
  t.teardown(() => other.kill());
  const gone = spawn('true');
  await once(gone, 'exit');
  for (const name of [
    `.installing-a-${gone.pid}/a`,
    `.removing-b-${process.pid}`,
    `.installing-c-${other.pid}/c`,
    'd',
  ]) {
    mkdirSync(join(root, name), { recursive: true });
  }
  mkdirSync(join(root, '.downloads'));
  for (const name of ['old.part', 'new.part']) writeFileSync(join(root, '.downloads', name), '');
  await utimes(join(root, '.downloads', 'old.part'), 1e9, 1e9);
  await installer.removeLeftovers();
  t.same(await left(), ['.downloads', `.installing-c-${other.pid}`, 'd'], 'not what another process is at');
  t.same(await readdir(join(root, '.downloads')), ['new.part']);
});

t.test('two processes do not write one file', async (t) => {
  const server = await startFileServer(t);
  const { installer, root, sha256 } = await setUp(t, { mirror: server.url });
  server.files.set('/tones=1.pt', CHECKPOINT);
  const lock = join(root, '.downloads', 'tones-tones=1.pt.lock');
  mkdirSync(join(root, '.downloads'), { recursive: true });
  const other = spawn('sleep', ['60']);
  await once(other, 'spawn');
  writeFileSync(lock, String(other.pid));
  await t.rejects(installer.pull('tones'), { code: 'busy', message: new RegExp(String(other.pid)) });
  other.kill();
  await once(other, 'exit');
  t.equal(
    (await installer.pull('tones')).model.manifest.source?.sha256,
    sha256,
    'a lock of a dead process is none',
  );
  t.notOk(existsSync(lock));
});

t.test('the real checkpoint by the real converter', { skip: skipWithoutShared() }, async (t) => {
  const dataDir = temporaryFolder(t);
  const bundledFolder = projectPath('models');
  const registry = createRegistry({ bundledFolder, dataDir, log });
  const installer = createInstaller({
    registry,
    bundledFolder,
    settings: { mirror: sharedPath('checkpoints'), allowedHosts: [], requireDigest: true },
    convert: convertCheckpoint,
    startEngine,
    threads: 1,
    optimizedFolder: join(dataDir, 'optimized'),
    updateLock: createUpdateLock({ path: join(dataDir, 'balena', 'updates.lock'), log }),
    log,
  });
  const { model } = await installer.pull('mn04_as');
  t.match(model.manifest, { architecture: 'mn04', family: 'mobilenetv3', parameters: 983_599 });
  t.equal(model.labels.length, 527);
  t.match(await verifyModel('mn04_as', { registry, startEngine }), { ok: true });
});

t.test('the examples of docs/models.md', async (t) => {
  const docs = readFileSync(projectPath('docs', 'models.md'), 'utf8');
  const examples = [...docs.matchAll(/<!-- example: (\w+) -->\n+```json\n([^`]+)```/g)];
  t.same(
    examples.map(([, kind]) => kind),
    ['waveform', 'frames', 'log_mel'],
  );
  for (const [, kind, text] of examples) {
    const dataDir = temporaryFolder(t);
    const tones =
      kind === 'frames'
        ? await installToneModel(dataDir, 'waveform', { frames: {} })
        : await installToneModel(dataDir, kind as 'waveform' | 'log_mel');
    const folder = join(dataDir, 'models', 'my_tagger');
    await rename(tones.folder, folder);
    await rm(join(folder, 'model.json'));
    const digest = execFileSync('sha256sum', [join(folder, 'model.onnx')], { encoding: 'utf8' }).slice(0, 64);
    writeFileSync(
      join(folder, 'model.json'),
      text!.replace(/"onnx_sha256": "[^"]*"/, `"onnx_sha256": "${digest}"`),
    );
    const names = JSON.stringify(tones.labelNames.map((name, index) => ({ index, name, mid: null })));
    writeFileSync(join(folder, 'labels.json'), names);
    const registry = createRegistry({ bundledFolder: projectPath('models'), dataDir, log });
    t.match(await verifyModel('my_tagger', { registry, startEngine }), { ok: true }, kind ?? '');
    const engine = await startEngine(await registry.get('my_tagger'), { threads: 1 });
    const rate = engine.model.manifest.input.sample_rate;
    const windowSamples = engine.model.manifest.input.window_seconds * rate;
    const samples = tone(tones.tonesHz[1]!, windowSamples / rate, rate);
    // Nothing but the second half of the window.
    const late = samples.map((sample, n) => (n < windowSamples / 2 ? 0 : sample));
    const { scores } = await engine.infer({ samples, reset: true, windowSamples });
    const request = { samples: late, reset: true, windowSamples, frames: { from: 0, to: 100 } };
    const { frames } = await engine.infer(request);
    await engine.stop();
    const heard = frames && [...frames].filter((_, i) => i % 3 === 1).map((value) => value > 0.5);
    const expected = kind === 'frames' ? Array.from({ length: 10 }, (_, i) => i >= 5) : null;
    t.strictSame(heard, expected, `${kind}: the frames that hold the tone`);
    t.ok(scores[1]! > 0.9 && scores[0]! < 0.1, `${kind}: the tone is heard (${scores.join(', ')})`);
  }
});
