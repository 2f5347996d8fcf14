import { readFileSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { findArchitecture } from '../../src/convert/architectures/index.js';
import { catalogueEntry, licenceOf, readCatalogue } from '../../src/models/catalogue.js';
import { hostIsAmong } from '../../src/models/hosts.js';
import { numberLabels, readLabelNames } from '../../src/models/labels.js';
import { projectPath, sharedPath, skipWithoutShared } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';

const folder = projectPath('models');

t.test('every entry can be had and can be built', async (t) => {
  const { models, hosts } = await readCatalogue(folder);
  t.ok(models.length > 50);
  for (const { id, url, architecture, labels } of models) {
    t.equal(findArchitecture(architecture).name, architecture, `${id}: the converter knows ${architecture}`);
    t.ok(url === null || hostIsAmong(new URL(url), hosts), `${id}: its host is among those allowed`);
    t.equal(labels, 'audioset-527');
  }
  const ids = [
    'cnn14',
    'cnn14_16k',
    'mn10_as',
    'mn04_as',
    'dymn10_as',
    'convnext_tiny',
    'leenet11',
    'cnn9_gmp',
  ];
  for (const id of ids) t.equal(catalogueEntry({ models, hosts }, id).id, id);
  t.throws(() => catalogueEntry({ models, hosts }, 'mn10_sa'), {
    code: 'model_unknown',
    message: /Did you mean mn10_as\?/,
  });
  t.equal(licenceOf(catalogueEntry({ models, hosts }, 'cnn14')), 'code MIT, weights not stated');
});

interface Fact {
  file: string | null;
  url: string | null;
  architecture: string;
  published_mAP: number | null;
  parameters_trainable: number;
  computed_macs_10s: number;
  sample_rate: number;
  frontend: string | null;
  md5_third_party?: string | null;
  licence: { code: string; weights: string | null };
}

t.test('the catalogue says what is known, and nothing else', { skip: skipWithoutShared() }, async (t) => {
  const { models } = await readCatalogue(folder);
  const facts = JSON.parse(readFileSync(sharedPath('golden', 'catalogue-facts.json'), 'utf8')) as {
    checkpoints: Fact[];
    not_for_tagging: string[];
  };
  const released = facts.checkpoints.filter(({ file }) => file !== null);
  t.equal(models.length, released.length);
  for (const fact of released) {
    const file = fact.file!.trim();
    const entry = models.find((candidate) => candidate.file === file);
    t.match(
      entry,
      {
        architecture: fact.architecture,
        audioset_map: fact.published_mAP,
        parameters: fact.parameters_trainable,
        macs: fact.computed_macs_10s,
        sample_rate: fact.sample_rate,
        frontend: fact.frontend,
      },
      file,
    );
    t.equal(entry?.md5?.value ?? null, fact.md5_third_party ?? null, `${file}: MD5`);
    t.equal(entry?.licence.weights, fact.licence.weights, `${file}: licence of the weights`);
    t.ok(fact.licence.code.startsWith(entry?.licence.code ?? 'nothing'), `${file}: licence of the code`);
    if (fact.url?.startsWith('https:') === true)
      t.equal(entry?.url, fact.url.replace('/ ', '/'), `${file}: address`);
  }
  for (const file of facts.not_for_tagging)
    t.notOk(
      models.some((entry) => entry.file === file),
      file,
    );
  const real = JSON.parse(readFileSync(sharedPath('golden', 'real', 'mn04_as.json'), 'utf8')) as {
    checkpoint_sha256: string;
  };
  t.strictSame(
    models.filter(({ sha256 }) => sha256 !== null).map(({ id, sha256 }) => [id, sha256]),
    [['mn04_as', real.checkpoint_sha256]],
    'no digest but of what was seen',
  );
});

t.test('a catalogue that is not right', async (t) => {
  const own = temporaryFolder(t);
  const write = (text: string) => writeFileSync(join(own, 'catalogue.json'), text);
  await t.rejects(readCatalogue(own), { code: 'catalogue', message: /does not exist/ });
  write('{"hosts":["a.example"],"models":[{}]}');
  await t.rejects(readCatalogue(own), { code: 'catalogue', message: /models\[0\]\.id/ });
  const good = JSON.parse(readFileSync(join(folder, 'catalogue.json'), 'utf8')) as { models: unknown[] };
  write(JSON.stringify({ ...good, models: [good.models[0], good.models[0]] }));
  await t.rejects(readCatalogue(own), { code: 'catalogue', message: /comes twice/ });
  t.same(await readdir(own), ['catalogue.json']);
});

t.test('labels that people have written', async (t) => {
  const file = join(temporaryFolder(t), 'labels.txt');
  const read = (text: string) => {
    writeFileSync(file, text);
    return readLabelNames(file);
  };
  const expected = ['Drill', 'Saw'].map((name, index) => ({ index, name, mid: null }));
  t.same(await read('Drill\r\n\n Saw \n'), expected, 'one name a line');
  t.same(await read('\uFEFFDrill\nSaw'), expected, 'with a byte order mark');
  t.same(await read(' ["Drill", "Saw"]'), expected, 'a JSON list of names');
  const entries = [
    { index: 1, name: 'Saw', mid: '/m/1' },
    { index: 0, name: 'Drill' },
  ];
  t.match(await read(JSON.stringify(entries)), [{ name: 'Drill' }, { name: 'Saw', mid: '/m/1' }]);
  for (const text of ['', '\n\n', '[]', '[1, 2]', '["a", "A"]', 'Drill\nDrill', '["a"']) {
    await t.rejects(read(text), { code: 'model_labels' }, JSON.stringify(text));
  }
  t.throws(() => numberLabels(['a', 'a'], 'the request'), {
    code: 'model_labels',
    message: /the request.*twice/,
  });
});
