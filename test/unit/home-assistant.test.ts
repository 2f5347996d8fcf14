import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { silentLogger, type Logger } from '../../src/common/log.js';
import { readCatalogue, type CatalogueEntry } from '../../src/models/catalogue.js';
import type { InstallPayload } from '../../src/mqtt/contract.js';
import type { Platform } from '../../src/home-assistant/entities.js';
import type { WatchedLabel } from '../../src/home-assistant/payload.js';
import type { Link } from '../../src/mqtt/link.js';
import { createTopics } from '../../src/mqtt/topics.js';
import {
  openDiscoveryMemory,
  type Components,
  type DiscoveryMemory,
} from '../../src/home-assistant/discovery-memory.js';
import { createHomeAssistant } from '../../src/home-assistant/home-assistant.js';
import { readDescription } from '../support/home-assistant.js';
import { createRecordingLog } from '../support/recording-log.js';
import { workingState } from '../support/service-state.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';
import { until } from '../support/waiting.js';

/* When the description goes out and what it takes away, with a broker that takes everything at once. */

const TOPIC = 'homeassistant/device/soundpost_attic/config';
let catalogue: readonly CatalogueEntry[] = [];
t.before(async () => {
  const { models } = await readCatalogue(projectPath('models'));
  // One for which nobody knows an address.
  catalogue = models.map((entry) => (entry.id === 'convnext_tiny_bl_ac' ? { ...entry, url: null } : entry));
});

const known = (...names: string[]): WatchedLabel[] =>
  names.map((name) => ({ name, slug: name.toLowerCase(), known: true }));

/** A memory whose writes end when the test says so. */
function slowMemory(first: Components) {
  const kept = new Map([[TOPIC, first]]);
  const writes: (() => void)[] = [];
  const memory: DiscoveryMemory = {
    topics: () => [...kept.keys()],
    components: (topic) => kept.get(topic) ?? {},
    set(topic, components) {
      const before = JSON.stringify(kept.get(topic));
      kept.set(topic, components ?? {});
      if (before === JSON.stringify(components)) return null;
      return new Promise<void>((resolve) => writes.push(resolve));
    },
    stop: () => Promise.resolve(),
  };
  return { memory, writes, kept };
}

function rig(changes: {
  memory: DiscoveryMemory;
  watched: () => readonly WatchedLabel[];
  keepsGone?: boolean;
  offer?: string[];
  log?: Logger;
  removalHoldMs?: number;
}) {
  const topics = createTopics('soundpost', 'attic');
  const descriptions: string[] = [];
  const installs: InstallPayload[] = [];
  const waiting = new Set<() => void>();
  let resend: () => void = () => undefined;
  const link = {
    topics,
    publish: (_: string, payload: InstallPayload) => void installs.push(payload),
    publishElsewhere(topic: string, text: string, { delivered }: { delivered?: () => void } = {}) {
      if (topic !== TOPIC) return;
      resend = () => {
        descriptions.push(text);
        delivered?.();
        for (const look of [...waiting]) look();
      };
      resend();
    },
    resendStates: () => resend(),
    onTextLimit: (callback: (bytes: number) => void) => callback(Infinity),
    forgetElsewhere: () => undefined,
  } as unknown as Link;
  const { offer = [], log = silentLogger, keepsGone = false, watched, ...rest } = changes;
  const homeAssistant = createHomeAssistant({
    prefix: 'homeassistant',
    device: { id: 'attic', name: 'Attic' },
    version: '1.2.3',
    link,
    offer,
    shownByDefault: [],
    catalogue,
    mirrored: false,
    digestRequired: true,
    keepsGone,
    log,
    random: () => 0,
    sources: [{ name: 'main', watched, calibrated: false, remembers: true }],
    ...rest,
  });
  const said = () => descriptions.map((text) => readDescription(text));
  const labels = () => [...(said().at(-1)?.entities.keys() ?? [])].filter((id) => id.startsWith('label_'));
  /** Resolves once so many descriptions were published. */
  const count = (wanted: number) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (descriptions.length < wanted) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      look();
    });
  return { homeAssistant, said, labels, installs, count };
}

const remembered: Record<string, Platform> = { label_dog: 'binary_sensor', label_bark: 'binary_sensor' };

t.test('nothing is described before a model is at work', (t) => {
  const { memory, kept } = slowMemory(remembered);
  let watched: WatchedLabel[] = [];
  const { homeAssistant, said, installs } = rig({ memory, watched: () => watched, offer: ['mn04_as'] });
  // A request for the info comes while the model is being loaded: no label is known yet.
  homeAssistant.installed(['soundpost-home']);
  homeAssistant.stateChanges(workingState({ model: null }));
  t.same([said(), installs], [[], []]);
  t.same(kept.get(TOPIC), remembered, 'and nothing is forgotten');
  watched = known('Dog', 'Bark');
  homeAssistant.stateChanges(workingState());
  homeAssistant.stop();
  t.equal(installs.length, 1);
  t.end();
});

t.test('it is described once what is described is on the disk', async (t) => {
  const { memory, writes } = slowMemory({});
  let watched = known('Dog');
  const { homeAssistant, said, labels, count } = rig({ memory, watched: () => watched });
  homeAssistant.stateChanges(workingState());
  homeAssistant.installed(['soundpost-home']);
  t.same(said(), []);
  watched = known('Dog', 'Bark');
  homeAssistant.stateChanges(workingState());
  t.equal(writes.length, 2);
  writes[0]!();
  await Promise.resolve();
  t.same(said(), [], 'a description that is not the newest any more is left out');
  writes[1]!();
  await count(1);
  t.same(labels(), ['label_dog', 'label_bark']);
  homeAssistant.installed(['soundpost-home', 'mn04_as']);
  t.equal(said().length, 2, 'at once where no component has come or gone: before the states');
  homeAssistant.stop();
});

t.test('removals stay at the broker for a while', async (t) => {
  const folder = temporaryFolder(t);
  const memory = openDiscoveryMemory({ dataDir: folder, log: silentLogger });
  await memory.set(TOPIC, remembered);
  const { homeAssistant, said, count } = rig({ memory, watched: () => known('Dog'), removalHoldMs: 30 });
  homeAssistant.stateChanges(workingState());
  homeAssistant.installed(['soundpost-home']);
  await count(1);
  t.same(said()[0]?.removed, ['label_bark']);
  t.hasProp(memory.components(TOPIC), 'label_bark', 'and are remembered as long');
  await count(2);
  homeAssistant.stop();
  t.same(said()[1]?.removed, []);
  t.notOk('label_bark' in memory.components(TOPIC));
  t.ok('label_dog' in memory.components(TOPIC));
});

t.test('Home Assistant that has just started is told of them as well', async (t) => {
  const folder = temporaryFolder(t);
  const memory = openDiscoveryMemory({ dataDir: folder, log: silentLogger });
  await memory.set(TOPIC, remembered);
  const { homeAssistant, said, count } = rig({ memory, watched: () => known('Dog') });
  homeAssistant.stateChanges(workingState());
  homeAssistant.installed(['soundpost-home']);
  await count(1);
  homeAssistant.birth('online');
  await count(2);
  homeAssistant.stop();
  t.same(
    said().map(({ removed }) => removed),
    [['label_bark'], ['label_bark']],
  );
});

t.test('settings that are not all in effect take nothing away', async (t) => {
  const folder = temporaryFolder(t);
  const memory = openDiscoveryMemory({ dataDir: folder, log: silentLogger });
  await memory.set(TOPIC, remembered);
  const watched: WatchedLabel[] = [{ name: 'Dog', slug: 'dog', known: false }];
  const { homeAssistant, said, labels, count } = rig({ memory, watched: () => watched, keepsGone: true });
  homeAssistant.stateChanges(workingState());
  homeAssistant.installed(['soundpost-home']);
  await count(1);
  homeAssistant.stop();
  t.same(said()[0]?.removed, []);
  t.same(labels(), ['label_dog']);
  t.hasProps(memory.components(TOPIC), ['label_dog', 'label_bark'], 'the next start can');
});

t.test('an installation is shown as long as it lasts', (t) => {
  const { memory } = slowMemory({});
  const log = createRecordingLog();
  const offer = ['mn04_as', 'convnext_tiny_bl_ac'];
  const { homeAssistant, installs } = rig({ memory, watched: () => [], offer, log });
  t.match(log.lines, [
    { level: 'warn', fields: { code: 'no_address' }, message: /convnext_tiny_bl_ac.*models.mirror/ },
  ]);
  const swap = (state: string) => workingState({ swap: { state, model: 'mn04_as', progress: 0.5 } });
  const last = () => [installs.at(-1)?.in_progress, installs.at(-1)?.installed_version === 'not installed'];
  homeAssistant.stateChanges(workingState());
  homeAssistant.installed(['soundpost-home']);
  t.same(last(), [false, true]);
  homeAssistant.stateChanges(swap('downloading'));
  t.same(last(), [true, true]);
  homeAssistant.stateChanges(workingState());
  t.same(last(), [false, true], 'it has failed, and nobody could list the models');
  homeAssistant.stateChanges(swap('verifying'));
  homeAssistant.installed(['soundpost-home', 'mn04_as']);
  t.same(last(), [false, false], 'it is here, though not yet over');
  const sofar = installs.length;
  homeAssistant.stateChanges(workingState());
  t.equal(installs.length, sofar);
  homeAssistant.stop();
  t.end();
});

t.test('the memory', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'homeassistant.json');
  const open = () => openDiscoveryMemory({ dataDir: folder, log: silentLogger });
  const first = open();
  t.same(first.topics(), []);
  const writing = first.set('a', { model: 'select' });
  t.equal(first.set('a', { model: 'select' }), writing, 'the same again waits for the same write');
  await writing;
  t.equal(first.set('a', { model: 'select' }), null, 'and is on the disk then');
  t.same(JSON.parse(readFileSync(path, 'utf8')), { a: { model: 'select' } });
  t.same(open().components('a'), { model: 'select' });

  // A newer version knows more platforms; a disk may know less.
  const odd = { a: { model: 'select', text: 'text', n: 7, label_dog: 'binary_sensor' }, b: null, '': {} };
  writeFileSync(path, JSON.stringify(odd));
  t.same(open().components('a'), { model: 'select', label_dog: 'binary_sensor' });
  t.same(open().topics(), ['a', 'b']);
  for (const text of ['', '[', '7', '["a"]']) {
    writeFileSync(path, text);
    t.same(open().components('a'), {}, text);
  }

  const log = createRecordingLog();
  const nowhere = openDiscoveryMemory({ dataDir: join(path, 'x'), log });
  await nowhere.set('a', {});
  t.match(
    log.lines,
    [{ fields: { code: 'discovery_not_written' } }],
    'what cannot be written holds nothing up',
  );
});

t.test('a description that is too large for the broker goes out in parts', async (t) => {
  const { memory } = slowMemory({});
  const quickMemory: DiscoveryMemory = {
    ...memory,
    set: (topic, components) => {
      void memory.set(topic, components);
      return null;
    },
  };
  let tellLimit: (bytes: number) => void = () => undefined;
  /** What a broker holds that takes no text above the limit; what it does not take is never delivered. */
  const atBroker = new Map<string, string>();
  let limit = Infinity;
  const link = {
    topics: createTopics('soundpost', 'attic'),
    publish: () => undefined,
    publishElsewhere(topic: string, text: string, { delivered }: { delivered?: () => void } = {}) {
      if (Buffer.byteLength(text) > limit) return;
      atBroker.set(topic, text);
      delivered?.();
    },
    forgetElsewhere: () => undefined,
    onTextLimit(callback: (bytes: number) => void) {
      tellLimit = callback;
      callback(Infinity);
    },
    resendStates: () => undefined,
  } as unknown as Link;
  const names = Array.from({ length: 40 }, (_, n) => `Label ${n}`);
  const watched = names.map((name) => ({ name, slug: name.toLowerCase().replace(' ', '_'), known: true }));
  const make = () =>
    createHomeAssistant({
      prefix: 'homeassistant',
      device: { id: 'attic', name: 'Attic' },
      version: '1.2.3',
      link,
      memory: quickMemory,
      offer: [],
      shownByDefault: [],
      catalogue,
      mirrored: false,
      digestRequired: true,
      sources: [{ name: 'main', watched: () => watched, calibrated: false, remembers: true }],
      keepsGone: false,
      log: silentLogger,
      removalHoldMs: 20,
    });
  const entities = () => {
    const found = [...atBroker.values()].filter((text) => text !== '').map((text) => readDescription(text));
    return found.flatMap(({ entities }) => [...entities.keys()]);
  };
  const complete = (all: string[]) =>
    watched.every(({ slug }) => all.filter((id) => id === `label_${slug}`).length === 1);
  const inTheEnd = async () => {
    await until(() => complete(entities()), 'every label once', 30, 10);
    t.ok([...atBroker.values()].every((text) => Buffer.byteLength(text) <= limit));
  };

  // The limit is only found out by trying.
  limit = 4000;
  const first = make();
  first.installed(['soundpost-mini']);
  first.stateChanges(workingState());
  t.equal(atBroker.size, 0, 'not taken');
  tellLimit(4000);
  t.ok(complete(entities()), 'and at once in parts that are');
  t.ok(atBroker.size > 3);
  t.match([...atBroker.keys()].slice(0, 2), [TOPIC, TOPIC.replace('/config', '/part_2/config')]);
  await inTheEnd();
  first.stop();

  // A later life, in front of a broker that takes less.
  limit = 2500;
  const second = make();
  tellLimit(2500);
  second.installed(['soundpost-mini']);
  second.stateChanges(workingState());
  await inTheEnd();
  second.stop();
});
