import { readFileSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { findArchitecture } from '../../src/convert/architectures/index.js';
import { catalogueEntry, licenceOf, readCatalogue, type Catalogue } from '../../src/models/catalogue.js';
import { hostIsAmong } from '../../src/install/hosts.js';
import { numberLabels, readLabelNames, readLabels } from '../../src/models/labels.js';
import { projectPath, sharedPath, skipWithoutShared } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';

const folder = projectPath('models');

t.test('every entry can be had and can be built', async (t) => {
  const { models, hosts } = await readCatalogue(folder);
  t.ok(models.length > 50);
  for (const { id, url, architecture, labels, family } of models) {
    t.equal(findArchitecture(architecture).name, architecture, `${id}: the converter knows ${architecture}`);
    t.ok(url === null || hostIsAmong(new URL(url), hosts), `${id}: its host is among those allowed`);
    t.equal(labels, family === 'fmn' && !id.endsWith('_weak') ? 'audioset-strong-447' : 'audioset-527', id);
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
    'fmn10_strong',
    'fmn10_tf_256_strong',
    'fmn04_weak',
    'fmn10_tf_256_advanced_kd',
  ];
  for (const id of ids) t.equal(catalogueEntry({ models, hosts }, id, []).id, id);
  t.throws(() => catalogueEntry({ models, hosts }, 'mn10_sa', []), {
    code: 'model_unknown',
    message: /Did you mean mn10_as\?/,
  });
  t.equal(licenceOf(catalogueEntry({ models, hosts }, 'cnn14', [])), 'code MIT, weights CC-BY-4.0');
});

t.test('the label sets are those of AudioSet', async (t) => {
  const weak = await readLabels(join(folder, 'labels', 'audioset-527.json'));
  const strong = await readLabels(join(folder, 'labels', 'audioset-strong-447.json'));
  t.equal(weak.length, 527);
  t.equal(strong.length, 447);
  const mids = new Set(weak.map(({ mid }) => mid));
  t.equal(strong.filter(({ mid }) => mids.has(mid)).length, 376, 'most classes are in both');
  t.match(
    strong.find(({ name }) => name === 'Glass shatter'),
    { mid: weak.find(({ name }) => name === 'Shatter')?.mid },
    'some under another name',
  );
  // The networks' outputs are in the order of the names.
  const names = strong.map(({ name }) => name);
  t.same(names, [...names].sort());
});

t.test('a released checkpoint that cannot be converted says why', async (t) => {
  const catalogue = await readCatalogue(folder);
  const left = catalogue.not_buildable?.flatMap(({ ids }) => ids) ?? [];
  t.equal(left.length, 8);
  for (const id of left) {
    t.throws(() => catalogueEntry(catalogue, id, []), {
      code: 'model_unknown',
      message: /ONNX has no operator/,
    });
    const architecture = id.replace('_strong', '').replace('_', '+').replace('_', '-');
    t.throws(() => findArchitecture(architecture), {
      code: 'architecture_unknown',
      message: new RegExp(`^${architecture.replace('+', '\\+')} cannot be built`),
    });
  }
  t.throws(() => findArchitecture('fmn10+hybrid-99'), { message: /there is no architecture/ });
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

/** What was found later, and wins. */
interface FoundFact {
  id: string;
  url: string;
  bytes: number | null;
  sha256?: string;
  md5?: string;
  licence_weights: string | null;
}

t.test('the catalogue says what is known, and nothing else', { skip: skipWithoutShared() }, async (t) => {
  const { models } = await readCatalogue(folder);
  const facts = JSON.parse(readFileSync(sharedPath('golden', 'catalogue-facts.json'), 'utf8')) as {
    checkpoints: Fact[];
    not_for_tagging: string[];
  };
  const found = JSON.parse(readFileSync(sharedPath('golden', 'digests.json'), 'utf8')) as FoundFact[];
  const released = facts.checkpoints.filter(({ file }) => file !== null);
  const clipNetworks = models.filter(({ family }) => family !== 'fmn');
  t.equal(clipNetworks.length, released.length);
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
    const later = found.find(({ id }) => id === entry?.id);
    t.ok(later, `${file}: looked for again`);
    t.equal(entry?.md5?.value ?? null, later?.md5 ?? fact.md5_third_party ?? null, `${file}: MD5`);
    t.equal(entry?.sha256 ?? null, later?.sha256 ?? null, `${file}: SHA-256`);
    t.equal(entry?.bytes ?? null, later?.bytes ?? null, `${file}: size`);
    t.equal(entry?.licence.weights, later?.licence_weights, `${file}: licence of the weights`);
    t.equal(entry?.url, later?.url, `${file}: address`);
    // What is said is said by somebody.
    const { evidence, licence, md5 } = entry!;
    t.equal(evidence.sha256 !== undefined, entry?.sha256 !== null, `${file}: evidence of the SHA-256`);
    t.equal(evidence.bytes !== undefined, entry?.bytes !== null, `${file}: evidence of the size`);
    t.ok(md5 === null || md5.evidence.length > 20, `${file}: evidence of the MD5`);
    t.equal(licence.evidence !== null, licence.weights !== null, `${file}: evidence of the licence`);
    t.ok(licence.weights !== 'CC-BY-4.0' || licence.attribution?.includes('Kong'), `${file}: attribution`);
    t.ok(fact.licence.code.startsWith(entry?.licence.code ?? 'nothing'), `${file}: licence of the code`);
    if (fact.url?.startsWith('https:') === true)
      t.equal(entry?.url, fact.url.replace('/ ', '/'), `${file}: address`);
  }
  for (const file of facts.not_for_tagging)
    t.notOk(
      models.some((entry) => entry.file === file),
      file,
    );
  const withDigest = clipNetworks.filter(({ sha256 }) => sha256 !== null);
  t.equal(withDigest.length, 9);
  t.equal(clipNetworks.filter(({ url }) => url === null).length, 0, 'an address for each');
});

interface FramewiseFact {
  file: string;
  url: string;
  architecture: string;
  classes: number;
  bytes: number | null;
  sha256: string | null;
  parameters_trainable: number;
  computed_macs_10s: number;
  attention_matmul_macs_not_counted?: number;
}

t.test('so it does of frame-wise networks', { skip: skipWithoutShared() }, async (t) => {
  const catalogue = await readCatalogue(folder);
  const text = readFileSync(sharedPath('golden', 'framewise', 'catalogue-facts-sed.json'), 'utf8');
  const { checkpoints } = JSON.parse(text) as { checkpoints: FramewiseFact[] };
  const found: Catalogue['models'] = [];
  for (const fact of checkpoints) {
    const id = fact.file.replace(/(-weak-strong)?\.pt$/, '').replace(/[+-]/g, '_');
    if (fact.architecture.includes('hybrid')) {
      t.throws(() => catalogueEntry(catalogue, id, []), { message: /cannot be converted/ }, id);
      continue;
    }
    const entry = catalogueEntry(catalogue, id, []);
    found.push(entry);
    // Without the head that is not used, which has as many rows as there are classes in the strong labels.
    const unused = fact.parameters_trainable - entry.parameters;
    t.equal(unused % 447, 0, `${id}: ${unused} parameters of the other head`);
    // The count of weak networks has their head once, for the clip; it is applied to each of the 250 frames as well.
    const headInputs = unused / 447 - 1;
    const perFrame = id.endsWith('_weak') ? 250 * 527 * headInputs : 0;
    t.match(
      entry,
      {
        file: fact.file,
        url: fact.url,
        architecture: fact.architecture,
        bytes: fact.bytes,
        sha256: fact.sha256,
        audioset_map: null,
        macs: fact.computed_macs_10s + (fact.attention_matmul_macs_not_counted ?? 0) + perFrame,
      },
      id,
    );
    t.equal(String(fact.classes), entry.labels.replace(/^.*-/, ''), `${id}: labels`);
  }
  t.equal(found.length, catalogue.models.filter(({ family }) => family === 'fmn').length);
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
