import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { setPatience } from '../../src/common/patience.js';
import { silentLogger } from '../../src/common/log.js';
import type { Problem } from '../../src/common/logger.js';
import { createProblemFeed } from '../../src/common/problem-feed.js';
import type { WindowResult } from '../../src/inference/window-report.js';
import { loadConfig } from '../../src/config/load.js';
import { sourcesOf } from '../../src/config/sources.js';
import { readCatalogue } from '../../src/models/catalogue.js';
import { parseManifest } from '../../src/models/manifest.js';
import { createRegistry, type InstalledModel } from '../../src/models/registry.js';
import type { Link } from '../../src/mqtt/link.js';
import { createTopics } from '../../src/mqtt/topics.js';
import { createSourceLink } from '../../src/mqtt/source-link.js';
import { createAnnouncer } from '../../src/service/announcer.js';
import { createEventTeller } from '../../src/service/event-teller.js';
import type { ListeningTo } from '../../src/service/listening.js';
import { bounded, type CutList } from '../../src/service/bounded.js';
import { createClockWatch } from '../../src/service/clock-watch.js';
import { knownSummaries } from '../../src/service/info.js';
import { initialState, shownState } from '../../src/service/state.js';
import { openLabelMemory } from '../../src/service/label-memory.js';
import { sourceWishes, withUsableLabels } from '../../src/service/remembered.js';
import type { TaggingSettings } from '../../src/tagging/watch.js';
import { createLatencyRecorder } from '../../src/telemetry/latency.js';
import { createRecordingLog } from '../support/recording-log.js';
import { projectPath } from '../support/shared.js';
import { plainTagging } from '../support/tagging.js';
import { temporaryFolder } from '../support/temporary.js';
import { until } from '../support/waiting.js';

const manifestPath = projectPath('models', 'soundpost-home', 'model.json');
const manifest = parseManifest(readFileSync(manifestPath, 'utf8'), manifestPath);

function makeAnnouncer(
  folder: string,
  settings: Partial<TaggingSettings> = {},
  { kept = [], loaded = true }: { kept?: string[]; loaded?: boolean } = {},
) {
  const published: { topic: string; payload: unknown }[] = [];
  const retired: string[] = [];
  const topics = createTopics('soundpost', 'test');
  const takenAway: string[] = [];
  const link = {
    topics,
    publishElsewhere: (topic: string) => void takenAway.push(topic),
    publish: (key: 'label', payload: unknown, ...parameters: [{ slug: string }]) =>
      void published.push({ topic: topics.of(key, ...parameters), payload }),
    retire: (key: 'label', parameters: { slug: string }) => void retired.push(topics.of(key, parameters)),
  } as unknown as Link;
  const sourceLink = createSourceLink(link, null);
  const announcer = createAnnouncer({
    link: sourceLink,
    tell: createEventTeller({ link, sourceCount: 1, windowMs: 0, newId: randomUUID }).of(sourceLink),
    loud: null,
    where: '',
    settings: {
      labels: [],
      threshold: 0.5,
      ...plainTagging,
      ...settings,
    },
    keptLabels: kept,
    topK: 3,
    memory: openLabelMemory({ dataDir: folder, log: silentLogger }).of(null),
    latency: createLatencyRecorder(),
    log: silentLogger,
  });
  const modelOf = (names: readonly (readonly [string, string | null])[]): InstalledModel => {
    const labels = names.map(([name, mid], index) => ({
      index,
      name,
      mid,
      threshold: null,
      thresholdFrom: null,
    }));
    return { manifest, labels, folder: '', onnxPath: '', bundled: true };
  };
  const model = modelOf([
    ['Dog', null],
    ['Silence', '/m/028v0c'],
  ]);
  if (loaded) announcer.modelChanged(model);
  let seq = 0;
  const window = (...scores: number[]) => {
    seq += 1;
    const result: WindowResult = {
      source: 0,
      idle: false,
      computedAs: 'whole',
      seq,
      model,
      startMs: seq * 1000,
      endMs: (seq + 1) * 1000,
      scores: Float32Array.from(scores),
      heads: [],
      learnt: new Float32Array(0),
      embedding: null,
      pieces: 0,
      fresh: {
        startMs: seq * 1000,
        endMs: (seq + 1) * 1000,
        frameMs: 1000,
        count: 1,
        before: 0,
        values: Float32Array.from(scores),
        spreadMs: 0,
        role: 'scores',
      },
      arrivedAt: 0,
      answeredAt: 0,
      queueMs: 0,
      featuresMs: 0,
      inferenceMs: 0,
    };
    announcer.result(result, -60);
  };
  const labelsSaid = () =>
    published
      .filter(({ topic }) => topic.includes('/label/'))
      .map(({ topic, payload }) => [topic.split('/').pop(), payload]);
  return { announcer, model, window, published, takenAway, retired, labelsSaid, modelOf };
}

// Labels are written after a test has ended, too.
const scratch = temporaryFolder(t);

t.test('silence is nothing that is on', (t) => {
  const folder = mkdtempSync(join(scratch, 'announcer-'));
  const { announcer, window, labelsSaid } = makeAnnouncer(folder);
  window(0, 0.9);
  t.same(labelsSaid(), [['silence', 'ON']]);
  t.equal(announcer.isOn(), false);
  window(0.9, 0);
  t.equal(announcer.isOn(), true);
  t.end();
});

t.test('without sound nothing is on, whatever the network makes of zeros', (t) => {
  const folder = mkdtempSync(join(scratch, 'announcer-'));
  const { announcer, window, published, labelsSaid } = makeAnnouncer(folder);
  window(0.9, 0);
  announcer.setAudible(false);
  window(0, 0.9);
  t.same(labelsSaid(), [
    ['dog', 'ON'],
    ['dog', 'OFF'],
  ]);
  t.equal(published.filter(({ topic }) => topic.endsWith('/tags')).length, 2, 'tags go on');
  announcer.setAudible(true);
  window(0, 0.9);
  t.same(labelsSaid().at(-1), ['silence', 'ON']);
  t.equal(announcer.nameOf('dOG'), 'Dog');
  t.equal(announcer.nameOf('cat'), null);
  t.end();
});

t.test('what the settings name is named whatever the model knows', (t) => {
  const folder = temporaryFolder(t);
  const settings = {
    labels: ['dog', '/m/039jq', { name: 'Pets', labels: ['Cat'], device_class: 'safety' as const }],
  };
  const { announcer, modelOf } = makeAnnouncer(folder, settings, { kept: ['Dog', 'Bark'] });
  t.same(announcer.watched(), [{ name: 'Dog', slug: 'dog', group: false }]);
  const label = { deviceClass: null, threshold: 'label' };
  const dog = { name: 'Dog', slug: 'dog', known: true, ...label };
  const pets = { name: 'Pets', slug: 'pets', deviceClass: 'safety', threshold: 'group' };
  const bark = { name: 'Bark', slug: 'bark', known: false, deviceClass: null, threshold: null };
  const glass = { name: 'Glass', slug: 'glass', ...label };
  const mid = { name: '/m/039jq', slug: 'm_039jq', known: false, ...label };
  t.same(announcer.named(), [dog, mid, { ...pets, known: false }, bark], 'what is not in effect comes last');
  announcer.modelChanged(
    modelOf([
      ['Glass', '/m/039jq'],
      ['Cat', null],
    ]),
  );
  t.same(announcer.named(), [
    { ...dog, known: false },
    { ...glass, known: true },
    { ...pets, known: true },
    bark,
  ]);
  announcer.modelChanged(modelOf([['Dog', null]]));
  t.same(
    announcer.named(),
    [dog, { ...glass, known: false }, { ...pets, known: false }, bark],
    'a MID that another model knows is the same label still',
  );
  announcer.update({
    labels: ['Dog'],
    threshold: null,
    ...plainTagging,
  });
  t.same(announcer.named(), [dog], 'chosen labels are all that there are');
  t.end();
});

t.test('labels that were ever told are switched off by the next life', async (t) => {
  const folder = mkdtempSync(join(scratch, 'announcer-'));
  const path = join(folder, 'labels.json');
  makeAnnouncer(folder).window(0.9, 0);
  const content = () => (existsSync(path) ? readFileSync(path, 'utf8').trim() : '');
  await until(
    () => content() === '["dog"]',
    () => `a dog in labels.json; it holds ${content()}`,
    30,
    5,
  );
  t.same(makeAnnouncer(folder).labelsSaid(), [['dog', 'OFF']]);
  writeFileSync(path, '["../../x", 7');
  t.same(makeAnnouncer(folder).labelsSaid(), [], 'a broken file is an empty one');
});

t.test('labels that are no longer watched are let go of', (t) => {
  const { announcer, window, retired, labelsSaid } = makeAnnouncer(temporaryFolder(t));
  const settings = {
    threshold: 0.5,
    ...plainTagging,
  };
  const group = (name: string) => ({ ...settings, labels: [{ name, labels: ['Dog'] }] });
  announcer.update(group('One'));
  window(0.9, 0);
  retired.length = 0;
  announcer.update(group('Two'));
  t.same(labelsSaid().slice(-2), [
    ['one', 'OFF'],
    ['two', 'OFF'],
  ]);
  t.same(retired, ['soundpost/test/label/one', 'soundpost/test/last/one']);
  t.end();
});

const TWINS = [
  { name: 'A', labels: ['Dog'] },
  { name: 'a', labels: ['Cat'] },
];

t.test('labels that contradict themselves are refused before there is a model, too', (t) => {
  const { announcer, model } = makeAnnouncer(temporaryFolder(t), {}, { loaded: false });
  const settings = {
    labels: TWINS,
    threshold: null,
    ...plainTagging,
  };
  t.throws(() => announcer.preview(settings), { code: 'invalid_tagging' });
  t.throws(() => announcer.update(settings), { code: 'invalid_tagging' });
  t.equal(announcer.preview({ ...settings, labels: ['Dog'] }), null);
  announcer.modelChanged(model);
  t.same(announcer.watched(), [], 'nothing has changed');
  t.end();
});

t.test('remembered labels that contradict themselves do not keep the service from starting', (t) => {
  const { config } = loadConfig({ env: { SOUNDPOST_TAGGING_LABELS: '["Dog"]' }, flags: {} });
  const [source] = sourcesOf(config);
  const log = createRecordingLog();
  const remembering = (labels: TaggingSettings['labels']) =>
    sourceWishes(source, {
      get: (key, configured) => (key === 'labels' ? labels : configured),
    });
  const good = remembering(['Cat']);
  t.equal(withUsableLabels(good, { tagging: source.tagging }, log), good);
  t.same(log.lines, []);
  const { tagging, ...others } = withUsableLabels(remembering(TWINS), { tagging: source.tagging }, log);
  t.same(tagging, { ...good.tagging, labels: ['Dog'] });
  t.match({ ...good }, others);
  t.match(log.lines, [
    { level: 'warn', fields: { code: 'invalid_tagging' }, message: /Two groups.*configuration/ },
  ]);
  t.end();
});

t.test('of endless labels those used last are remembered', async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'soundpost-labels-'));
  t.teardown(() => rmSync(dataDir, { recursive: true, force: true }));
  const memory = openLabelMemory({ dataDir, log: silentLogger }).of(null);
  for (let n = 0; n < 12_000; n += 1) {
    memory.add(`label_${n}`);
    // One that comes on again and again.
    memory.add('label_0');
  }
  const known = memory.slugs();
  t.ok(known.length >= 1000 && known.length <= 10_000, `${known.length}`);
  t.ok(known.includes('label_0') && known.includes('label_11999'));
  const read = () => new Set(openLabelMemory({ dataDir, log: silentLogger }).of(null).slugs());
  await until(() => read().has('label_11999'), 'the newest label on the disk', 30, 5);
  t.same(read(), new Set(known), 'the next life knows them all');
});

t.test('how many labels the models of the catalogue have is known for every label set', async (t) => {
  const bundledFolder = projectPath('models');
  const registry = createRegistry({ bundledFolder, dataDir: temporaryFolder(t), log: silentLogger });
  const { models } = await readCatalogue(bundledFolder);
  const known = new Map((await knownSummaries(models, registry)).map((entry) => [entry.id, entry.labels]));
  t.equal(known.size, models.length);
  t.equal(known.get('mn10_as'), 527);
  t.equal(known.get('fmn10_strong'), 447);
  t.equal(known.get('fmn10_weak'), 527);
  const lost = { ...models[0]!, labels: 'no-such-set' };
  t.match(await knownSummaries([lost], registry), [{ id: lost.id, labels: null }]);
});

t.test('problems from before anybody listened are heard', (t) => {
  const feed = createProblemFeed();
  const problem = (n: number): Problem => ({ ts: '', level: 'warn', message: String(n), code: 'x' });
  for (let n = 0; n < 30; n += 1) feed.emit(problem(n));
  const heard: string[] = [];
  const unsubscribe = feed.subscribe(({ message }) => heard.push(message));
  t.same([heard.length, heard[0], heard.at(-1)], [20, '10', '29'], 'the latest twenty');
  feed.emit(problem(30));
  unsubscribe();
  feed.emit(problem(31));
  t.equal(heard.at(-1), '30');
  t.end();
});

t.test('groups with ever new names do not fill the broker', (t) => {
  const folder = temporaryFolder(t);
  const { announcer, published, takenAway } = makeAnnouncer(folder, { labels: ['Dog'] });
  const settings = {
    threshold: 0.5,
    ...plainTagging,
  };
  for (let n = 0; n < 25; n += 1) {
    const labels = Array.from({ length: 100 }, (_, m) => ({ name: `g ${n * 100 + m}`, labels: ['Dog'] }));
    announcer.update({ ...settings, labels });
  }
  const topics = new Set(published.map(({ topic }) => topic));
  t.equal(topics.size, 2501);
  const labelsGone = takenAway.filter((topic) => topic.includes('/label/'));
  t.equal(topics.size - labelsGone.length, 2000);
  t.equal(takenAway.length, 2 * labelsGone.length, 'and each with what it was last heard as');
  t.equal(takenAway[0], 'soundpost/test/label/dog', 'the oldest goes first');
  t.end();
});

t.test('documents are cut until a broker takes them, and say what was left out', (t) => {
  interface Two {
    a: readonly unknown[];
    b: readonly unknown[];
  }
  const lists: CutList<Two>[] = [
    { name: 'a', read: ({ a }) => a, write: (document, a) => ({ ...document, a }) },
    { name: 'b', read: ({ b }) => b, write: (document, b) => ({ ...document, b }) },
  ];
  const all = { a: Array.from({ length: 1000 }, (_, n) => `text ${n}`), b: [1, 2, 3] };
  t.same(bounded(all, lists, 1e6), { document: all, omitted: {} });
  const { document, omitted } = bounded(all, lists, 1000);
  t.ok(JSON.stringify(document).length <= 1000);
  t.equal(document.a.length + omitted['a']!, 1000);
  t.same(document.b, [1, 2, 3], 'the short list is left alone');
  t.same(bounded(all, lists, 1).document, { a: [], b: [] }, 'and there is an end');
  t.end();
});

t.test('the published state has so many labels at most', (t) => {
  const labels = Array.from({ length: 10_000 }, (_, n) => `Label ${n}`);
  const wishes = { paused: false, tagging: { labels, threshold: null }, audioDevice: '' };
  const of = (name: string) =>
    ({ config: { name }, audio: { kind: 'demo' }, wishes }) as unknown as ListeningTo;
  const pace = { rateHz: 1, telemetryIntervalSeconds: 30 };
  const shown = shownState(initialState(pace, [of('main')]));
  t.equal(shown.sources, undefined, 'there is only one');
  const several = shownState(initialState(pace, ['a', 'b', 'c'].map(of)));
  t.ok(JSON.stringify(several).length < 100_000);
  t.same(
    several.sources?.map((source) => [source.name, source.labels.length + source.labels_omitted!]),
    ['a', 'b', 'c'].map((name) => [name, 10_000]),
  );
  t.equal(shown.labels.length + shown.labels_omitted!, 10_000);
  t.ok(JSON.stringify(shown).length < 100_000);
  t.end();
});

t.test('the clock watch sees each jump once, and no drift', (t) => {
  const step = fc.record({
    passedMs: fc.integer({ min: 1, max: 10_000 }),
    /** What a time server may do to the pace of a clock. */
    ppm: fc.integer({ min: -500, max: 500 }),
    jumpMs: fc.oneof(
      { weight: 3, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: -1e9, max: 1e9 }).filter((ms) => Math.abs(ms) > 1_010) },
    ),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
      const watch = createClockWatch();
      let wall = 1.8e12;
      let steady = 0;
      if (watch.look(wall, steady) !== 0) throw new Error('the first look has nothing to compare with');
      for (const { passedMs, ppm, jumpMs } of steps) {
        steady += passedMs;
        wall += passedMs * (1 + ppm / 1e6) + jumpMs;
        const seen = watch.look(wall, steady);
        if (jumpMs === 0 ? seen !== 0 : Math.abs(seen - jumpMs) > 6)
          throw new Error(`${seen}, not ${jumpMs}`);
      }
    }),
  );
  t.end();
});

t.test('patience counts only what this process has seen pass', async (t) => {
  let over = false;
  const done = new Promise<void>((resolve) =>
    setPatience(100, () => {
      over = true;
      resolve();
    }),
  );
  setPatience(10, () => t.fail('it was called off'))();
  // The process stands still for longer than all of it, as one that was stopped does.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
  await new Promise((resolve) => setTimeout(resolve, 0));
  t.notOk(over, 'what came meanwhile can be read first');
  await done;
  t.ok(over);
});

t.test('what was taught is watched, told of, and taken away like a label of the model', (t) => {
  const folder = mkdtempSync(join(scratch, 'announcer-'));
  const { announcer, window, published, labelsSaid, modelOf } = makeAnnouncer(folder, { labels: ['Dog'] });
  window(0.1, 0.1);
  const bell = [{ name: 'Our bell', threshold: 0.7 }];
  t.equal(announcer.learntChanged(bell), true);
  t.equal(announcer.learntChanged([...bell]), false, 'nothing is other than it was');
  t.same(announcer.watched(), [
    { name: 'Dog', slug: 'dog', group: false },
    { name: 'Our bell', slug: 'our_bell', group: false },
  ]);
  t.match(announcer.thresholds(), [{}, { label: 'Our bell', threshold: 0.7, from: 'learnt' }]);
  t.equal(announcer.nameOf('our BELL'), 'Our bell');
  window(0.1, 0.1, 0.6);
  t.equal(announcer.isOn(), false, 'not at the threshold of all');
  window(0.1, 0.1, 0.8);
  t.same(labelsSaid().slice(-1), [['our_bell', 'ON']]);
  const tags = published.findLast(({ topic }) => topic.endsWith('/tags'))!;
  t.match(tags.payload, { now: [{ label: 'Our bell', mid: null, score: 0.8 }, {}, {}] });
  t.same(
    announcer.watchedScores().map(({ name }) => name),
    ['Dog', 'Our bell'],
  );

  announcer.modelChanged(modelOf([['Cat', null]]));
  t.same(labelsSaid().slice(-1), [['our_bell', 'OFF']], 'another model does not know it');
  t.notOk(announcer.watched().some(({ name }) => name === 'Our bell'));
  announcer.modelChanged(modelOf([['Dog', null]]), bell);
  window(0.1, 0.9);
  t.same(labelsSaid().slice(-1), [['our_bell', 'ON']]);
  announcer.learntChanged([]);
  t.same(labelsSaid().slice(-2), [
    ['our_bell', 'OFF'],
    ['dog', 'OFF'],
  ]);
  t.end();
});

t.test('where every label is watched, what was taught is named', (t) => {
  const folder = mkdtempSync(join(scratch, 'announcer-'));
  const { announcer } = makeAnnouncer(folder);
  t.same(announcer.named(), []);
  announcer.learntChanged([{ name: 'Our bell', threshold: 0.7 }]);
  t.equal(announcer.namesLabels(), false);
  t.same(announcer.watched(), [{ name: 'Our bell', slug: 'our_bell', group: false }]);
  t.match(announcer.named(), [{ name: 'Our bell', slug: 'our_bell', known: true }]);
  t.end();
});
