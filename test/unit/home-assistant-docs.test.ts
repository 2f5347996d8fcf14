import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config/load.js';
import { buildDiscovery, buildSourceDiscovery } from '../../src/home-assistant/payload.js';
import { createTopics } from '../../src/mqtt/topics.js';
import { uniqueSlugs } from '../../src/tagging/slug.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';

t.test('the guide to Home Assistant names entities that its configuration gives', (t) => {
  const guide = readFileSync(projectPath('docs/home-assistant.md'), 'utf8');
  const texts = [...guide.matchAll(/```yaml\n([^]*?)```/g)].map(([, text]) => text!);
  const blocks = texts.map((text) => parse(text) as unknown);
  t.equal(blocks.length, 6);
  const configPath = join(temporaryFolder(t), 'soundpost.yaml');
  writeFileSync(configPath, texts[0]!);
  const { config } = loadConfig({ configPath, env: {}, root: projectPath('.') });
  t.equal(config.homeassistant.enabled, true, 'nothing has to be switched on');
  const watched = config.tagging.labels;
  const known = readFileSync(projectPath('models/labels/audioset-527.json'), 'utf8');
  for (const name of watched.flatMap((entry) => (typeof entry === 'string' ? [entry] : entry.labels))) {
    t.ok(known.includes(JSON.stringify(name)), name);
  }
  const names = watched.map((entry) => (typeof entry === 'string' ? entry : entry.name));
  const slugs = uniqueSlugs(names);
  const box = {
    device: config.device,
    version: '1',
    topics: createTopics('soundpost', config.device.id),
    models: [],
    installs: [],
  };
  const { components } = buildDiscovery(box, {
    watched: names.map((name, index) => ({ name, slug: slugs[index]!, known: true })),
    calibrated: false,
    remembers: true,
  });
  const ids = new Set(Object.values(components).map((component) => component['default_entity_id']));
  const used = guide.match(/[a-z_]+\.soundpost_nursery_[a-z_]+/g) ?? [];
  t.ok(used.length > 5);
  for (const id of used) t.ok(ids.has(id), id);
  for (const automation of blocks[2] as object[]) t.hasProps(automation, ['alias', 'triggers', 'actions']);
  t.end();
});

t.test('and those that it names of several sources', (t) => {
  const guide = readFileSync(projectPath('docs/home-assistant.md'), 'utf8');
  const [, text] = /## Several sources[^]*?```yaml\n([^]*?)```/.exec(guide)!;
  const { device, audio } = parse(text!) as {
    device: { id: string; name: string };
    audio: { sources: { name: string; labels: string[] }[] };
  };
  const box = {
    device,
    version: '1',
    topics: createTopics('soundpost', device.id),
    models: [],
    installs: [],
  };
  const sources = uniqueSlugs(audio.sources.map(({ name }) => name));
  const devices = [
    buildDiscovery(box, null),
    ...audio.sources.map(({ name, labels }, index) => {
      const slugs = uniqueSlugs(labels);
      const watched = labels.map((label, n) => ({ name: label, slug: slugs[n]!, known: true }));
      return buildSourceDiscovery(box, {
        name,
        slug: sources[index]!,
        watched,
        calibrated: true,
        remembers: true,
      });
    }),
  ];
  for (const { device } of devices) t.ok(guide.includes(`_${device.name}_`), device.name);
  const ids = new Set(
    devices.flatMap(({ components }) => Object.values(components).map((one) => one['default_entity_id'])),
  );
  const used = guide.match(/[a-z_]+\.soundpost_house_[a-z_]+/g) ?? [];
  t.ok(used.length > 1);
  for (const id of used) t.ok(ids.has(id), id);
  // Each entity is in the row of the box or in that of the first source.
  const rows = ['House', 'House Nursery'].map((name) => new RegExp(`\\| _${name}_ .*`).exec(guide)![0]);
  devices.slice(0, 2).forEach(({ components }, index) => {
    for (const id of Object.keys(components)) {
      const isDiagnostic = components[id]!['entity_category'] === 'diagnostic';
      if (isDiagnostic || id.startsWith('label_')) continue;
      t.match(rows[index], new RegExp(`\\b${id}\\b`), id);
    }
  });
  t.end();
});

t.test('its pictures are small, and say in words what they show', (t) => {
  const guide = readFileSync(projectPath('docs/home-assistant.md'), 'utf8');
  const pictures = [...guide.matchAll(/!\[([^\]]*)\]\(([^)]+)\)/g)];
  t.equal(pictures.length, 3);
  for (const [, words = '', path = ''] of pictures) {
    t.ok(words.length > 60, `${path}: ${words}`);
    const bytes = readFileSync(projectPath('docs', path));
    t.equal(bytes.toString('latin1', 0, 4) + bytes.toString('latin1', 8, 12), 'RIFFWEBP', path);
    t.ok(bytes.length < 150_000, `${path}: ${bytes.length} bytes`);
  }
  t.end();
});
