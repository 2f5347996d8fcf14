import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config/load.js';
import { buildDiscovery } from '../../src/home-assistant/payload.js';
import { createTopics } from '../../src/mqtt/topics.js';
import { uniqueSlugs } from '../../src/tagging/slug.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';

t.test('the guide to Home Assistant names entities that its configuration gives', (t) => {
  const guide = readFileSync(projectPath('docs/home-assistant.md'), 'utf8');
  const texts = [...guide.matchAll(/```yaml\n([^]*?)```/g)].map(([, text]) => text!);
  const blocks = texts.map((text) => parse(text) as unknown);
  t.equal(blocks.length, 4);
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
  const { components } = buildDiscovery({
    device: config.device,
    version: '1',
    topics: createTopics('soundpost', config.device.id),
    models: [],
    installs: [],
    watched: names.map((name, index) => ({ name, slug: slugs[index]!, known: true })),
  });
  const ids = new Set(Object.values(components).map((component) => component['default_entity_id']));
  const used = guide.match(/[a-z_]+\.soundpost_nursery_[a-z_]+/g) ?? [];
  t.ok(used.length > 5);
  for (const id of used) t.ok(ids.has(id), id);
  for (const automation of blocks[1] as object[]) t.hasProps(automation, ['alias', 'triggers', 'actions']);
  t.end();
});
