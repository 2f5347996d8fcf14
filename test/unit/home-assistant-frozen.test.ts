import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { silentLogger } from '../../src/common/log.js';
import { openDiscoveryMemory } from '../../src/home-assistant/discovery-memory.js';
import { createHomeAssistant } from '../../src/home-assistant/home-assistant.js';
import type { WatchedLabel } from '../../src/home-assistant/payload.js';
import { readCatalogue } from '../../src/models/catalogue.js';
import { createDiscoveryBroker } from '../support/discovery-broker.js';
import { workingState } from '../support/service-state.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';
import { until } from '../support/waiting.js';

/*
 * What a box with one source tells Home Assistant, byte by byte: entities that people have put into automations must
 * not change by themselves. A change on purpose is frozen by running this test with UPDATE_DISCOVERY=1.
 */

const label = (name: string, known = true): WatchedLabel => ({ name, slug: name.toLowerCase(), known });

t.test('one source is described as ever', async (t) => {
  const { models } = await readCatalogue(projectPath('models'));
  const catalogue = ['mn04_as', 'mn10_as', 'mn40_as'].map((id) => ({
    ...models.find((entry) => entry.id === id)!,
    title: `Model ${id}`,
  }));
  const memory = openDiscoveryMemory({ dataDir: temporaryFolder(t), log: silentLogger });
  const broker = createDiscoveryBroker('Attic-1');
  const smoke: WatchedLabel = { ...label('Smoke'), deviceClass: 'smoke', threshold: 'group' };
  const dog: WatchedLabel = { ...label('Dog'), threshold: 'label' };
  let watched = [dog, label('Cat'), label('Glass', false), smoke];
  const homeAssistant = createHomeAssistant({
    prefix: 'ha/test',
    device: { id: 'Attic-1', name: 'Attic "1"' },
    version: '1.2.3',
    link: broker.link,
    memory,
    offer: 'all',
    shownByDefault: ['mn10_as'],
    catalogue,
    mirrored: false,
    digestRequired: true,
    sources: [{ name: 'main', watched: () => watched, calibrated: false, remembers: true }],
    keepsGone: false,
    log: silentLogger,
    random: () => 0,
    removalHoldMs: 20,
  });
  const texts = (count: number) =>
    until(
      () => broker.taken.length === count,
      () => `${count} messages, not ${broker.taken.length}`,
      30,
      5,
    );
  homeAssistant.installed(['soundpost-home', 'mn04_as']);
  homeAssistant.stateChanges(workingState({ model: 'soundpost-home' }));
  await texts(1);
  // A label goes, one comes, and one is known now; then the removal is left out.
  watched = [dog, label('Glass'), label('Bell'), smoke];
  homeAssistant.stateChanges(workingState({ model: 'soundpost-home' }));
  await texts(3);
  // In parts.
  broker.limit(4000);
  await until(() => broker.retained.size > 2, 'parts', 30, 5);
  const settled = () => [...broker.retained.values()].every((text) => !/:\{"platform":"\w+"\}/.test(text));
  await until(settled, 'no removal left', 30, 5);
  homeAssistant.stop();
  await memory.stop();

  const seen = { messages: broker.taken.slice(0, 3), parts: Object.fromEntries(broker.retained) };
  const file = projectPath('test', 'golden', 'discovery.json');
  if (process.env['UPDATE_DISCOVERY'] === '1') writeFileSync(file, `${JSON.stringify(seen, null, 2)}\n`);
  const frozen = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as object) : {};
  t.strictSame(seen, frozen);
});
