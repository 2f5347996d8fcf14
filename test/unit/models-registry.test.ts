import fc from 'fast-check';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { SoundpostError } from '../../src/common/errors.js';
import type { Logger } from '../../src/common/log.js';
import { silentLogger } from '../../src/common/log.js';
import { readLabelNames } from '../../src/models/labels.js';
import { BUNDLED_MODEL } from '../../src/models/bundled.js';
import { parseManifest } from '../../src/models/manifest.js';
import { createRegistry } from '../../src/models/registry.js';
import { projectPath } from '../support/shared.js';

const bundledFolder = projectPath('models');

/** A manifest that is right; `changes` are laid over it, key by key. */
function tinyManifest(id: string, changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    id,
    title: `Test model ${id}`,
    family: 'test',
    architecture: 'tiny',
    input: { kind: 'waveform', name: 'waveform', sample_rate: 8000, window_seconds: 1, min_seconds: 0.25 },
    output: { scores: 'scores', activation: 'none' },
    labels: 'labels.json',
    onnx_sha256: '0'.repeat(64),
    ...changes,
  };
}

/** Writes a model folder with three labels. The registry does not look into the network. */
async function writeModelFolder(
  models: string,
  id: string,
  changes: Record<string, unknown> = {},
): Promise<string> {
  const folder = join(models, id);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'model.onnx'), 'a network');
  await writeFile(join(folder, 'model.json'), JSON.stringify(tinyManifest(id, changes)));
  const labels = ['Alpha', 'Beta', 'Gamma'].map((name, index) => ({ index, name, mid: null }));
  await writeFile(join(folder, 'labels.json'), JSON.stringify(labels));
  return folder;
}

const LOG_MEL = {
  kind: 'log_mel',
  name: 'logmel',
  layout: 'NCTF',
  sample_rate: 32000,
  window_seconds: 10,
  min_seconds: 1,
  frontend: {
    kind: 'panns',
    n_fft: 1024,
    win_length: 1024,
    hop_length: 320,
    n_mels: 64,
    f_min: 50,
    f_max: 14000,
  },
};

/** What is wrong with a manifest, as a person would read it. */
function complaint(changes: Record<string, unknown>): { code: string; message: string } {
  try {
    parseManifest(JSON.stringify(tinyManifest('x', changes)), '/m/x/model.json');
  } catch (error) {
    if (error instanceof SoundpostError) return { code: error.code, message: error.message };
    throw error;
  }
  return { code: 'none', message: '' };
}

t.test('a manifest is read strictly, and what is wrong is said by key', (t) => {
  t.equal(complaint({}).code, 'none');
  t.equal(complaint({ input: LOG_MEL }).code, 'none');
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ surprise: 1 }, /surprise: no such key; allowed here: id, title, .*onnx_sha256/],
    [
      { output: { scores: 'scores', activation: 'none', extra: 1 } },
      /output\.extra: no such key; allowed here: scores, activation, embedding/,
    ],
    [
      { input: { ...LOG_MEL, frontend: { ...LOG_MEL.frontend, hops: 1 } } },
      /input\.frontend\.hops: no such key; allowed here: kind, n_fft/,
    ],
    [{ input: { ...LOG_MEL, kind: 'image' } }, /input\.kind: expected one of "log_mel", "waveform"/],
    [{ input: { ...LOG_MEL, layout: 'NHWC' } }, /input\.layout: .*"NCTF"\|"NCFT"/],
    [{ input: { ...LOG_MEL, min_seconds: 11 } }, /input\.min_seconds: at most window_seconds, which is 10/],
    [
      { input: { ...LOG_MEL, frontend: { ...LOG_MEL.frontend, f_max: 17000 } } },
      /f_max: at most half the sample rate, 16000/,
    ],
    [
      { input: { ...LOG_MEL, frontend: { ...LOG_MEL.frontend, win_length: 2048 } } },
      /win_length: at most n_fft, which is 1024/,
    ],
    [
      { input: { ...LOG_MEL, frontend: { ...LOG_MEL.frontend, kind: 'gmp' } } },
      /frontend\.mean: a list of 64 numbers/,
    ],
    [
      { output: { scores: 'scores', activation: 'relu' } },
      /output\.activation: .*"none"\|"sigmoid"\|"softmax"/,
    ],
    [{ labels: '../../etc/passwd' }, /labels: a plain file name without folders/],
    [{ labels: '..' }, /labels: a plain file name/],
    [{ thresholds: '/etc/passwd' }, /thresholds: a plain file name/],
    [{ id: '../x' }, /id: letters, digits/],
    [{ onnx_sha256: 'ABC' }, /onnx_sha256: 64 lower-case hexadecimal digits/],
  ];
  for (const [changes, expected] of cases) {
    const { code, message } = complaint(changes);
    t.equal(code, 'model_manifest');
    t.match(message, expected);
    t.match(message, '/m/x/model.json');
  }
  t.throws(() => parseManifest('{"id": "x",', 'x.json'), {
    code: 'model_manifest',
    message: /x\.json is not valid JSON/,
  });
  t.throws(() => parseManifest('[]', 'x.json'), { code: 'model_manifest', message: /\(the whole file\)/ });
  t.end();
});

t.test('whatever a manifest holds, only a SoundpostError comes of it', (t) => {
  const onlySoundpostErrors = (text: string) => {
    try {
      parseManifest(text, 'x.json');
    } catch (error) {
      if (!(error instanceof SoundpostError)) throw error;
    }
  };
  fc.assert(fc.property(fc.string(), onlySoundpostErrors));
  fc.assert(fc.property(fc.json(), onlySoundpostErrors));
  const good: Record<string, unknown> = { ...tinyManifest('x'), input: LOG_MEL };
  const value = fc.jsonValue();
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(good)), value, (key, replacement) =>
      onlySoundpostErrors(JSON.stringify({ ...good, [key]: replacement })),
    ),
  );
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(LOG_MEL)), value, (key, replacement) =>
      onlySoundpostErrors(JSON.stringify({ ...good, input: { ...LOG_MEL, [key]: replacement } })),
    ),
  );
  t.end();
});

t.test('the bundled models', async (t) => {
  const registry = createRegistry({ bundledFolder, dataDir: t.testdir(), log: silentLogger });
  t.strictSame(await registry.problems(), []);
  const [home, ...others] = await registry.list();
  t.strictSame(others, []);
  t.equal(home?.manifest.id, BUNDLED_MODEL);
  t.equal(BUNDLED_MODEL, 'soundpost-home');
  t.equal(home?.bundled, true);
  t.equal(home?.labels.length, 94);
  t.strictSame(home?.labels[0], {
    index: 0,
    name: 'Speech',
    mid: '/m/09x0r',
    threshold: 0.3088,
    thresholdFrom: 'model',
  });
  t.ok(
    home?.labels.every(({ mid, threshold }) => mid !== null && threshold !== null),
    'each label has a MID and a threshold of its own',
  );
  await t.rejects(registry.get('mn40_as'), {
    code: 'model_unknown',
    message:
      'The model mn40_as is not installed. Get it with "npx soundpost models pull mn40_as" (over MQTT: request/model/pull with {"id":"mn40_as"}).',
  });
  const asked: [id: string, message: RegExp][] = [
    [
      'soundpost-hme',
      /neither here nor in the catalogue\. Did you mean soundpost-home\? Installed: soundpost-home\./,
    ],
    ['MN10_AS', /Did you mean mn10_as[,?]/],
    ['mn10', /Did you mean mn10_as[, ]/],
    ['cnn14_16', /Did you mean cnn14_16k[,?]/],
    ['fmn10_hybrid_256_strong', /cannot be converted: .*ONNX has no operator/],
    ['zzzzzzzz', /catalogue\. Installed: soundpost-home\. "npx soundpost models list" shows all\./],
  ];
  for (const [id, message] of asked)
    await t.rejects(registry.get(id), { code: 'model_unknown', message }, id);
});

t.test('the id of a former bundled model stands for its successor', async (t) => {
  const dataDir = t.testdir();
  const told: string[] = [];
  const log: Logger = { ...silentLogger, info: (_fields, message) => told.push(message) };
  const registry = createRegistry({ bundledFolder, dataDir, log });
  t.equal((await registry.get('soundpost-mini')).manifest.id, 'soundpost-home');
  t.match(told, [/soundpost-mini is no longer part.*soundpost-home has taken its place/]);
  t.equal(told.length, 1);
  await registry.get('soundpost-home');
  t.equal(told.length, 1);
  // Somebody else's model of that name would never be reached.
  await writeModelFolder(join(dataDir, 'models'), 'soundpost-mini');
  t.strictSame(
    (await registry.problems()).map(({ id, error }) => [id, error.code]),
    [['soundpost-mini', 'model_shadowed']],
  );
  t.equal((await registry.get('soundpost-mini')).bundled, true);
});

t.test('a model may name a label set that ships with the program', async (t) => {
  const dataDir = t.testdir();
  await writeModelFolder(join(dataDir, 'models'), 'big', { labels: 'audioset-527' });
  await writeModelFolder(join(dataDir, 'models'), 'lost', { labels: 'audioset-528' });
  const registry = createRegistry({ bundledFolder, dataDir, log: silentLogger });
  const { labels } = await registry.get('big');
  t.equal(labels.length, 527);
  const recommended = (index: number) => [
    labels[index]?.name,
    labels[index]?.threshold,
    labels[index]?.thresholdFrom,
  ];
  t.strictSame(recommended(526), ['Field recording', 0.25, 'label_set_default']);
  t.strictSame(recommended(75), ['Bark', 0.17, 'label_set']);
  t.equal(labels[526]?.mid, '/m/07hvw1');
  await t.rejects(registry.get('lost'), {
    code: 'model_labels',
    message: /no label set "audioset-528"\. Known sets: audioset-527/,
  });
});

t.test('a broken folder is reported and does not hide the others', async (t) => {
  const dataDir = t.testdir();
  const models = join(dataDir, 'models');
  await writeModelFolder(models, 'good');
  await writeModelFolder(models, 'renamed', { id: 'other' });
  await writeModelFolder(models, 'soundpost-home');
  await mkdir(join(models, 'empty'));
  await mkdir(join(models, '.incoming'));
  await writeFile(join(models, 'README'), 'not a folder');
  await writeModelFolder(models, 'unparsable');
  await writeFile(join(models, 'unparsable', 'model.json'), '{');
  await mkdir(join(models, 'headless'));
  await writeFile(join(models, 'headless', 'model.json'), JSON.stringify(tinyManifest('headless')));

  const warnings: string[] = [];
  const log: Logger = { ...silentLogger, warn: (_fields, message) => warnings.push(message) };
  const registry = createRegistry({ bundledFolder, dataDir, log });
  t.strictSame(
    (await registry.list()).map((model) => [model.manifest.id, model.bundled]),
    [
      ['soundpost-home', true],
      ['good', false],
    ],
  );
  t.strictSame(
    (await registry.problems()).map(({ id, error }) => [id, error.code]),
    [
      ['empty', 'model_manifest'],
      ['headless', 'model_unreadable'],
      ['renamed', 'model_manifest'],
      ['soundpost-home', 'model_shadowed'],
      ['unparsable', 'model_manifest'],
    ],
  );
  t.equal(warnings.length, 5, 'each is logged once, however often the folders are looked at');
  t.equal((await registry.get('soundpost-home')).bundled, true, 'the bundled model stays what it is');
  await t.rejects(registry.get('renamed'), {
    message: /"id" is "other", but the folder is called "renamed"/,
  });

  await writeFile(join(models, 'unparsable', 'model.json'), JSON.stringify(tinyManifest('unparsable')));
  t.ok(await registry.get('unparsable'), 'what was repaired is found without a restart');
});

t.test('labels must be complete and unambiguous', async (t) => {
  const dataDir = t.testdir();
  const models = join(dataDir, 'models');
  const entry = (index: number, name: string, more: object = {}) => ({ index, name, ...more });
  const files: Record<string, [unknown, RegExp]> = {
    gap: [[entry(0, 'a'), entry(2, 'b')], /index 1 is missing/],
    'twice-index': [[entry(0, 'a'), entry(0, 'b')], /index 0 comes twice/],
    'twice-name': [[entry(0, 'Cat'), entry(1, 'cat')], /the name "cat" comes twice/],
    'twice-mid': [
      [entry(0, 'a', { mid: '/m/1' }), entry(1, 'b', { mid: '/m/1' })],
      /the mid "\/m\/1" comes twice/,
    ],
    none: [[], /is not right/],
    nameless: [[{ index: 0 }], /0\.name|\[0\]\.name/],
    map: [{ 0: 'a' }, /expected array/],
  };
  for (const [id, [content]] of Object.entries(files)) {
    const folder = await writeModelFolder(models, id);
    await writeFile(join(folder, 'labels.json'), JSON.stringify(content));
  }
  const registry = createRegistry({ bundledFolder, dataDir, log: silentLogger });
  for (const [id, [, expected]] of Object.entries(files)) {
    await t.rejects(registry.get(id), { code: 'model_labels', message: expected });
  }
});

t.test('thresholds come from the file that the manifest names, and only then', async (t) => {
  const dataDir = t.testdir();
  const models = join(dataDir, 'models');
  const own = await writeModelFolder(models, 'own', { thresholds: 'thresholds.json' });
  await writeFile(
    join(own, 'thresholds.json'),
    JSON.stringify([
      { index: 2, threshold: 0.3 },
      { index: 0, threshold: null },
    ]),
  );
  const beyond = await writeModelFolder(models, 'beyond', { thresholds: 'thresholds.json' });
  await writeFile(join(beyond, 'thresholds.json'), JSON.stringify([{ index: 3, threshold: 0.3 }]));
  const unused = await writeModelFolder(models, 'unused');
  const labels = JSON.parse(await readFile(join(unused, 'labels.json'), 'utf8')) as object[];
  await writeFile(
    join(unused, 'labels.json'),
    JSON.stringify(labels.map((label) => ({ ...label, threshold: 0.9 }))),
  );

  const registry = createRegistry({ bundledFolder, dataDir, log: silentLogger });
  t.strictSame(
    (await registry.get('own')).labels.map((label) => label.threshold),
    [null, null, 0.3],
  );
  t.strictSame(
    (await registry.get('unused')).labels.map((label) => label.threshold),
    [null, null, null],
  );
  await t.rejects(registry.get('beyond'), {
    code: 'model_labels',
    message: /index 3 is not one of the model's 3/,
  });
});

t.test('a manifest overrides its label set, label by label or as a whole', async (t) => {
  const dataDir = t.testdir();
  const models = join(dataDir, 'models');
  const own = async (id: string, thresholds: unknown) => {
    const folder = await writeModelFolder(models, id, {
      labels: 'audioset-527',
      thresholds: 'thresholds.json',
    });
    await writeFile(join(folder, 'thresholds.json'), JSON.stringify(thresholds));
  };
  await own('some', [{ index: 75, threshold: 0.6 }]);
  await own('all', { default_threshold: 0.4, labels: [{ index: 75, threshold: 0.6 }], note: 'mine' });
  await own('rest', { default_threshold: 0.4, labels: [] });
  await own('nobody', { default_threshold: null, labels: [] });
  await own('wrong', { default_threshold: 2, labels: [] });
  await own('without', { default_threshold: 0.4 });

  const registry = createRegistry({ bundledFolder, dataDir, log: silentLogger });
  const [speech, dog, bark] = [0, 74, 75];
  const recommended = async (id: string) => {
    const { labels } = await registry.get(id);
    return [speech, dog, bark].map((index) => [labels[index]?.threshold, labels[index]?.thresholdFrom]);
  };
  t.strictSame(await recommended('some'), [
    [0.25, 'label_set_default'],
    [0.43, 'label_set'],
    [0.6, 'model'],
  ]);
  t.strictSame(await recommended('all'), [
    [0.4, 'model'],
    [0.4, 'model'],
    [0.6, 'model'],
  ]);
  t.strictSame(await recommended('rest'), [
    [0.4, 'model'],
    [0.4, 'model'],
    [0.4, 'model'],
  ]);
  t.strictSame((await recommended('nobody'))[2], [0.17, 'label_set']);
  // The examples that people copy.
  const examples = [
    ...(await readFile(projectPath('docs', 'models.md'), 'utf8')).matchAll(
      /<!-- thresholds: (\w+) -->\n+```json\n([^`]+)```/g,
    ),
  ];
  for (const [, id = '', text = ''] of examples) await own(id, JSON.parse(text));
  t.strictSame(await recommended('list'), [
    [0.25, 'label_set_default'],
    [0.35, 'model'],
    [0.2, 'model'],
  ]);
  t.strictSame(await recommended('object'), [
    [0.4, 'model'],
    [0.4, 'model'],
    [0.2, 'model'],
  ]);
  await t.rejects(registry.get('wrong'), { code: 'model_labels', message: /default_threshold: .*1/ });
  await t.rejects(registry.get('without'), { code: 'model_labels', message: /labels: .*expected array/ });
});

t.test('a file of labels may be an object; its thresholds count where the manifest says so', async (t) => {
  const dataDir = t.testdir();
  const models = join(dataDir, 'models');
  const names = ['Alpha', 'Beta', 'Gamma'];
  const text = JSON.stringify({
    default_threshold: 0.4,
    labels: names.map((name, index) => ({ index, name, ...(index === 1 && { threshold: 0.7 }) })),
  });
  for (const [id, thresholds] of [
    ['silent', null],
    ['spoken', 'labels.json'],
  ] as const) {
    const folder = await writeModelFolder(models, id, { thresholds });
    await writeFile(join(folder, 'labels.json'), text);
  }
  const registry = createRegistry({ bundledFolder, dataDir, log: silentLogger });
  const silent = (await registry.get('silent')).labels;
  t.strictSame(
    silent.map(({ name, threshold, thresholdFrom }) => [name, threshold, thresholdFrom]),
    names.map((name) => [name, null, null]),
  );
  t.strictSame(
    (await registry.get('spoken')).labels.map(({ threshold, thresholdFrom }) => [threshold, thresholdFrom]),
    [0.4, 0.7, 0.4].map((threshold) => [threshold, 'model']),
  );
  const file = join(models, 'spoken', 'labels.json');
  t.strictSame(
    (await readLabelNames(file)).map(({ name }) => name),
    names,
    'a person may import it too',
  );
});
