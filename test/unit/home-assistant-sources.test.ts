import fc from 'fast-check';
import t, { type Test } from 'tap';
import { silentLogger } from '../../src/common/log.js';
import { SOURCE_NAME } from '../../src/common/rules.js';
import type { DiscoveryMemory } from '../../src/home-assistant/discovery-memory.js';
import { createHomeAssistant } from '../../src/home-assistant/home-assistant.js';
import {
  buildDiscovery,
  buildSourceDiscovery,
  discoveryTopic,
  sourceOfTopic,
  type BoxInput,
  type SourceInput,
  type WatchedLabel,
} from '../../src/home-assistant/payload.js';
import { retireHomeAssistant } from '../../src/home-assistant/retire.js';
import { historySpecs } from '../../src/mqtt/history-specs.js';
import { learnSpecs } from '../../src/mqtt/learn-specs.js';
import { createTopics } from '../../src/mqtt/topics.js';
import { uniqueSlugs } from '../../src/tagging/slug.js';
import { createDiscoveryBroker, type DiscoveryBroker } from '../support/discovery-broker.js';
import { readDescription } from '../support/home-assistant.js';
import { discover, discoveredAs, type HomeEntity } from '../support/home-assistant-schema.js';
import { render, stateOf } from '../support/home-assistant-state.js';
import { createQuickMemory } from '../support/quick-memory.js';
import { createRecordingLog } from '../support/recording-log.js';
import { workingState } from '../support/service-state.js';
import { until } from '../support/waiting.js';

/* Several sources: a device each, behind that of the box. */

const labels = (...names: string[]): WatchedLabel[] =>
  names.map((name) => ({ name, slug: name.toLowerCase(), known: true }));
const box = (changes: Partial<BoxInput> = {}): BoxInput => ({
  device: { id: 'nursery', name: 'Nursery' },
  version: '1.2.3',
  topics: createTopics('soundpost', 'nursery'),
  models: ['soundpost-home'],
  installs: [{ id: 'mn10_as', title: 'mn10_as', shown: true }],
  ...changes,
});
const source = (changes: Partial<SourceInput> = {}): SourceInput => ({
  name: 'front-yard',
  slug: 'front_yard',
  watched: labels('Bark'),
  calibrated: false,
  remembers: true,
  ...changes,
});
const TOPIC = discoveryTopic('homeassistant', 'nursery');
const topicOf = (name: string, part = 1) =>
  discoveryTopic('homeassistant', 'nursery', { source: name, part });

function entitiesOf(t: Test, payload: object): Map<string, HomeEntity> {
  const result = discover(JSON.stringify(payload));
  t.same(result.faults, []);
  return new Map((result.entities ?? []).map((entity) => [entity.id, entity]));
}

t.test('topics, and whose they are', (t) => {
  const device = 'homeassistant/device/soundpost_nursery';
  t.equal(topicOf('front-yard'), `${device}/source_front-yard/config`);
  t.equal(topicOf('yard', 3), `${device}/source_yard_P3/config`);
  t.equal(topicOf('yard_3'), `${device}/source_yard_3/config`);
  const whose = (topic: string) => sourceOfTopic('homeassistant', 'nursery', topic);
  t.equal(whose(topicOf('front-yard')), 'front-yard');
  t.equal(whose(topicOf('yard', 3)), 'yard');
  t.equal(whose(topicOf('yard_3')), 'yard_3');
  for (const other of [
    TOPIC,
    discoveryTopic('homeassistant', 'nursery', { part: 2 }),
    discoveryTopic('ha', 'nursery', { source: 'yard' }),
    discoveryTopic('homeassistant', 'attic', { source: 'yard' }),
    ...[
      'source_Yard',
      'source_',
      'source__P2',
      'source_yard_P',
      'source_yard_P1',
      'source_yard_P02',
      'yard',
    ].map((level) => `${device}/${level}/config`),
    `${device}_yard/config`,
    `${device}/source_yard/x/config`,
    `${device}/source_yard`,
  ]) {
    t.equal(whose(other), null, other);
  }
  t.end();
});

t.test('no two descriptions have one topic, and Home Assistant takes none for another', (t) => {
  // Names that are made of each other and of what stands between them.
  const mixed = (words: readonly string[], allowed: RegExp) =>
    fc
      .array(fc.constantFrom(...words), { minLength: 1, maxLength: 5 })
      .map((parts) => parts.join(''))
      .filter((text) => allowed.test(text));
  const id = fc.oneof(
    fc.stringMatching(/^[a-zA-Z0-9_-]{1,64}$/),
    mixed(['a', '_', 'yard', 'source_', 'part_', 'P2', '2'], /^[a-zA-Z0-9_-]{1,64}$/),
  );
  const name = fc.oneof(
    fc.stringMatching(SOURCE_NAME),
    mixed(['a', 'yard', '_', '-', 'p', 'part_', 'source_', 'p2', '2', '3'], SOURCE_NAME),
  );
  const part = fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 1000 }));
  const described = fc.record({ id, source: fc.option(name), part });
  const prefix = fc.constantFrom('homeassistant', 'site/ha');
  fc.assert(
    fc.property(prefix, described, described, fc.boolean(), (prefix, one, other, isSameBox) => {
      const two = isSameBox ? { ...other, id: one.id } : other;
      const topics = [one, two].map((each) => discoveryTopic(prefix, each.id, each));
      const known = topics.map((topic) => discoveredAs(prefix, topic));
      if (known.includes(null)) throw new Error('one that Home Assistant does not read');
      const isSame = one.id === two.id && one.source === two.source && one.part === two.part;
      if ((topics[0] === topics[1]) !== isSame) throw new Error(`one topic: ${topics[0]}`);
      if ((known[0] === known[1]) !== isSame) throw new Error(`one device: ${known[0]}`);
      for (const [index, each] of [one, two].entries()) {
        const found = sourceOfTopic(prefix, one.id, topics[index]!);
        if (found !== (each.id === one.id ? each.source : null))
          throw new Error(`whose is ${topics[index]}?`);
      }
    }),
    { numRuns: 2000 },
  );
  // And the other way: a topic that is taken for one of a source is one.
  const level = mixed(['source_', 'yard', '_', 'P', '2', '0', '_P2', '-', 'A', '/', 'part_2'], /^/);
  fc.assert(
    fc.property(level, (text) => {
      const topic = `homeassistant/device/soundpost_nursery/source_${text}/config`;
      const source = sourceOfTopic('homeassistant', 'nursery', topic);
      if (source === null) return;
      const part = Number(/_P(\d+)\/config$/.exec(topic)?.[1] ?? 1);
      if (!SOURCE_NAME.test(source) || topicOf(source, part) !== topic)
        throw new Error(`${topic}: ${source}`);
    }),
    { numRuns: 2000 },
  );
  t.end();
});

t.test('the box keeps what there is once', (t) => {
  const found = entitiesOf(t, buildDiscovery(box(), null));
  t.same(
    [...found.keys()],
    [
      ...['model', 'rate', 'threshold', 'model_thresholds', 'paused', 'restart', 'event', 'throttling'],
      ...['under_voltage', 'effective_rate', 'latency_p95', 'soc_temperature', 'cpu', 'memory', 'disk_free'],
      ...['dropped_windows', 'install_mn10_as'],
    ],
  );
  const one = buildDiscovery(box(), { watched: [], calibrated: false, remembers: true }).components;
  for (const [id, { platform, config }] of found) {
    t.match({ ...config, platform }, one[id], `${id} is what it is with one source`);
  }
  t.end();
});

t.test('each source is a device of its own', (t) => {
  const payload = buildSourceDiscovery(box(), source());
  const { device } = payload;
  t.strictSame(device, {
    identifiers: ['soundpost_nursery:front-yard'],
    name: 'Nursery Front yard',
    manufacturer: 'Soundpost',
    model: 'Sound tagger',
    sw_version: '1.2.3',
    via_device: 'soundpost_nursery',
  });
  const found = entitiesOf(t, payload);
  t.same(
    [...found.keys()],
    [
      ...['threshold', 'model_thresholds', 'paused', 'top_tag', 'top_score', 'level', 'event'],
      ...['last_right', 'last_wrong', 'learn_example', 'microphone', 'label_bark'],
    ],
  );
  const base = 'soundpost/nursery/source/front-yard';
  const topics = (id: string) => {
    const { state_topic: state, command_topic: command } = found.get(id)!.config;
    return { state, command };
  };
  t.match(topics('threshold'), { state: 'soundpost/nursery/state', command: `${base}/threshold/set` });
  t.match(topics('paused'), { state: 'soundpost/nursery/state', command: `${base}/paused/set` });
  t.match(topics('model_thresholds'), { command: `${base}/threshold/set` });
  t.match(topics('top_tag'), { state: `${base}/tags` });
  t.match(topics('top_score'), { state: `${base}/tags` });
  t.match(topics('level'), { state: `${base}/level` });
  t.match(topics('event'), { state: `${base}/event` });
  t.match(topics('last_right'), { command: 'soundpost/nursery/request/event/judge' });
  t.match(found.get('last_wrong')?.config, {
    command_topic: 'soundpost/nursery/request/event/judge',
    payload_press: '{"id":"last","right":false,"source":"front-yard"}',
  });
  t.match(topics('microphone'), { state: `${base}/audio/status` });
  t.match(topics('label_bark'), { state: `${base}/label/bark` });
  t.match(found.get('label_bark')?.config, {
    unique_id: 'soundpost_nursery:front-yard:label_bark',
    default_entity_id: 'binary_sensor.soundpost_nursery_front_yard_label_bark',
    availability: [{ topic: 'soundpost/nursery/status' }, { topic: `${base}/audio/status` }],
    availability_mode: 'all',
  });
  t.same(found.get('microphone')?.config['availability'], [{ topic: 'soundpost/nursery/status' }]);
  t.equal(
    buildSourceDiscovery(box(), source({ name: 'a__b-' })).device.name,
    'Nursery A b',
    'as people write it',
  );
  t.end();
});

t.test('what Home Assistant is told of each of several sources, by its rules', (t) => {
  const name = fc.stringMatching(SOURCE_NAME);
  const heard = fc.record({
    names: fc.uniqueArray(fc.string({ minLength: 1, unit: 'binary' }), { maxLength: 4 }),
    calibrated: fc.boolean(),
    remembers: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.constantFrom('soundpost', 'site/a', 'a b'),
      fc.stringMatching(/^[a-zA-Z0-9_-]{1,30}$/),
      fc.uniqueArray(fc.tuple(name, heard), { selector: ([text]) => text, minLength: 2, maxLength: 5 }),
      (base, id, sources) => {
        const ours = box({ device: { id, name: id }, topics: createTopics(base, id) });
        const slugs = uniqueSlugs(sources.map(([text]) => text));
        const payloads = [
          buildDiscovery(ours, null),
          ...sources.map(([name, { names, calibrated, remembers }], index) => {
            const labelSlugs = uniqueSlugs(names);
            const watched = names.map((label, n) => ({
              name: label,
              slug: labelSlugs[n]!,
              known: n % 2 === 0,
            }));
            return buildSourceDiscovery(ours, { name, slug: slugs[index]!, watched, calibrated, remembers });
          }),
        ];
        for (const payload of payloads) {
          const { faults } = discover(JSON.stringify(payload));
          if (faults.length > 0) throw new Error(faults.join('\n'));
        }
        const [boxPayload, ...others] = payloads;
        const identifiers = payloads.flatMap(({ device }) => device.identifiers);
        const isBehind = others.every(
          ({ device }) => device.via_device === boxPayload!.device.identifiers[0],
        );
        if (!isBehind || new Set(identifiers).size !== payloads.length) throw new Error('wrong devices');
        const ids = payloads.flatMap(({ components }) =>
          Object.values(components).map(({ unique_id }) => unique_id),
        );
        if (new Set(ids).size !== ids.length) throw new Error('a unique id comes twice');
      },
    ),
    { numRuns: 50 },
  );
  t.end();
});

t.test('a calibrated source has its sound pressure, the only one too', (t) => {
  const added = ['sound_pressure', 'background', 'leq'];
  const of = (components: object) => added.filter((id) => id in components);
  t.same(of(buildSourceDiscovery(box(), source()).components), []);
  t.same(of(buildDiscovery(box(), { watched: [], calibrated: false, remembers: true }).components), []);
  t.same(of(buildDiscovery(box(), null).components), []);
  t.same(of(buildDiscovery(box(), { watched: [], calibrated: true, remembers: true }).components), added);
  const found = entitiesOf(t, buildSourceDiscovery(box(), source({ calibrated: true, remembers: true })));
  t.match(found.get('sound_pressure')?.config, {
    device_class: 'sound_pressure',
    unit_of_measurement: 'dBA',
    state_topic: 'soundpost/nursery/source/front-yard/level',
  });
  t.equal(found.get('sound_pressure')?.config['enabled_by_default'], undefined);
  const level = { dbfs: -40, peak_dbfs: -30, spl_dba: 54.26, background_dbfs: null };
  const state = (id: string) => stateOf(found.get(id)!, JSON.stringify(level));
  t.equal(state('sound_pressure'), 54.3);
  t.equal(state('background'), null);
  t.equal(state('leq'), null, 'not said at all');
  for (const id of ['background', 'leq']) t.equal(found.get(id)?.config['enabled_by_default'], false);
  t.end();
});

t.test('that was it: a button that is available while a sound is being taught', (t) => {
  const { schema } = learnSpecs['learn/example'];
  for (const [payload, pressed] of [
    [buildDiscovery(box(), { watched: [], calibrated: false, remembers: false }), {}],
    [buildSourceDiscovery(box(), source({ remembers: false })), { source: 'front-yard' }],
  ] as const) {
    const { config } = entitiesOf(t, payload).get('learn_example')!;
    t.equal(config['command_topic'], 'soundpost/nursery/request/learn/example');
    t.strictSame(schema.parse(JSON.parse(String(config['payload_press']))), pressed);
    const [online, taught] = config['availability'] as { topic: string; value_template: string }[];
    t.equal(online!.topic, 'soundpost/nursery/status');
    t.equal(taught!.topic, 'soundpost/nursery/state');
    const said = (state: object) => render(taught!.value_template, JSON.stringify(state));
    t.equal(said({ learning: ['Our doorbell'] }), 'online');
    t.equal(said({ learning: [] }), 'offline');
    t.equal(said({}), 'offline', 'a service that does not say');
  }
  t.notOk('learn_example' in buildDiscovery(box(), null).components, 'with several sources it is theirs');
  t.end();
});

t.test('the last event can be called right or wrong where events are remembered', (t) => {
  const buttons = ['last_right', 'last_wrong'];
  const of = (components: object) => buttons.filter((id) => id in components);
  t.same(of(buildDiscovery(box(), { watched: [], calibrated: false, remembers: false }).components), []);
  t.same(of(buildSourceDiscovery(box(), source({ remembers: false })).components), []);
  t.same(of(buildDiscovery(box(), null).components), [], 'with several sources it is theirs');
  const found = entitiesOf(t, buildDiscovery(box(), { watched: [], calibrated: false, remembers: true }));
  for (const [id, right] of [
    ['last_right', true],
    ['last_wrong', false],
  ] as const) {
    const { config } = found.get(id)!;
    t.equal(config['command_topic'], 'soundpost/nursery/request/event/judge');
    const { schema } = historySpecs['event/judge'];
    t.strictSame(schema.parse(JSON.parse(String(config['payload_press']))), { id: 'last', right });
  }
  t.end();
});

t.test('a source finds itself in the state of the box', (t) => {
  const found = entitiesOf(t, buildSourceDiscovery(box(), source()));
  const { availability } = found.get('top_tag')!.config;
  const paused = (availability as { topic: string; value_template?: string }[])[2]!;
  t.equal(paused.topic, 'soundpost/nursery/state');
  const seen = (sources: object[] | undefined) => {
    const text = JSON.stringify({ paused: false, threshold: 0.9, ...(sources && { sources }) });
    return [
      stateOf(found.get('paused')!, text),
      stateOf(found.get('threshold')!, text),
      render(paused.value_template!, text),
    ];
  };
  const yard = { name: 'yard', paused: false, threshold: 0.1 };
  const front = { name: 'front-yard', paused: true, threshold: 0.4 };
  t.same(seen([yard, front]), [true, 0.4, 'offline']);
  t.same(seen([front, yard]), [true, 0.4, 'offline']);
  t.same(seen([{ ...front, paused: false, threshold: null }]), [false, null, 'online']);
  t.same(seen([yard]), [null, null, 'online'], 'retained by a service with other sources');
  t.same(seen([]), [null, null, 'online']);
  t.same(seen(undefined), [null, null, 'online'], 'or with one');
  const attributes = (info: object): unknown =>
    JSON.parse(
      render(String(found.get('threshold')!.config['json_attributes_template']), JSON.stringify(info)),
    );
  const of = (name?: string) => ({
    label: 'Bark',
    threshold: 0.3,
    ...(name !== undefined && { source: name }),
  });
  t.strictSame(attributes({ thresholds: [of('yard'), of('front-yard'), of()] }), {
    thresholds: [of('front-yard')],
  });
  t.strictSame(attributes({}), { thresholds: [] });
  t.end();
});

interface Place {
  name: string;
  labels: string[];
  calibrated: boolean;
  remembers: boolean;
}
const place = (name: string, ...names: string[]): Place => ({
  name,
  labels: names,
  calibrated: false,
  remembers: true,
});

/** A life of the service with these sources, before it says anything. */
function make(
  broker: DiscoveryBroker,
  memory: DiscoveryMemory,
  places: readonly Place[],
  changes: Partial<Parameters<typeof createHomeAssistant>[0]> = {},
) {
  return createHomeAssistant({
    prefix: 'homeassistant',
    device: { id: 'nursery', name: 'Nursery' },
    version: '1.2.3',
    link: broker.link,
    memory,
    offer: [],
    shownByDefault: [],
    catalogue: [],
    mirrored: false,
    digestRequired: true,
    sources: places.map(({ name, labels: names, calibrated, remembers }) => ({
      name,
      calibrated,
      remembers,
      watched: () => labels(...names),
    })),
    keepsGone: false,
    log: silentLogger,
    random: () => 0,
    removalHoldMs: 0,
    ...changes,
  });
}

function live(...options: Parameters<typeof make>) {
  const homeAssistant = make(...options);
  homeAssistant.installed(['soundpost-home']);
  homeAssistant.stateChanges(workingState());
  return homeAssistant;
}

const saysThatSomethingGoes = (text: string) => text !== '' && readDescription(text).removed.length > 0;
/** Once no removal is held any more. */
const settled = (broker: DiscoveryBroker) =>
  until(() => ![...broker.retained.values()].some(saysThatSomethingGoes), 'no removal left', 30, 1);
/** What the broker holds after a life that has no other before it. */
function fresh(places: readonly Place[]): Record<string, string> {
  const broker = createDiscoveryBroker('nursery');
  live(broker, createQuickMemory(), places).stop();
  return Object.fromEntries(broker.retained);
}

/** Home Assistant's entities: by topics and ids of components their unique ids. Throws where it would complain. */
function createHome() {
  const known = new Map<string, Map<string, string>>();
  let read = 0;
  const take = (topic: string, text: string) => {
    if (text === '') {
      known.delete(topic);
      return;
    }
    const { entities, removed } = readDescription(text);
    const components = known.get(topic) ?? new Map<string, string>();
    known.set(topic, components);
    for (const id of removed) components.delete(id);
    for (const [id, { config }] of entities) {
      const uniqueId = String(config['unique_id']);
      const before = components.get(id);
      if (before !== undefined && before !== uniqueId) throw new Error(`${id} changes its unique id`);
      components.delete(id);
      if (all().includes(uniqueId)) throw new Error(`${uniqueId} is there already`);
      components.set(id, uniqueId);
    }
  };
  const all = () => [...known.values()].flatMap((components) => [...components.values()]).sort();
  return {
    all,
    readOn({ taken }: DiscoveryBroker) {
      for (; read < taken.length; read += 1) take(taken[read]!.topic, taken[read]!.text);
    },
  };
}

const yard = place('yard', 'Bark', 'Siren');
const hall = place('hall', 'Bark', 'Bell');

t.test('the box comes before what refers to it', (t) => {
  const broker = createDiscoveryBroker('nursery');
  broker.connect(false);
  const homeAssistant = live(broker, createQuickMemory(), [yard, hall]);
  const inOrder = [TOPIC, topicOf('yard'), topicOf('hall')];
  const topics = () => broker.taken.splice(0).map(({ topic }) => topic);
  t.same(broker.said(), [TOPIC], 'and they wait until the broker has it');
  broker.connect(true);
  t.same(topics(), inOrder);
  broker.link.resendStates();
  t.same(topics(), inOrder, 'and each time that all is said again');
  homeAssistant.stop();
  t.end();
});

t.test('nothing is said, and nothing taken away, before a model is at work', (t) => {
  const broker = createDiscoveryBroker('nursery');
  const memory = createQuickMemory();
  live(broker, memory, [yard, hall]).stop();
  broker.taken.splice(0);
  const homeAssistant = make(broker, memory, [yard, place('loft')]);
  homeAssistant.installed(['soundpost-home']);
  homeAssistant.stateChanges(workingState({ model: null }));
  broker.limit(6000);
  t.same(broker.taken, []);
  homeAssistant.stateChanges(workingState());
  homeAssistant.stop();
  t.same(
    broker.taken.splice(0).map(({ topic }) => topic),
    [TOPIC, topicOf('yard'), topicOf('loft'), topicOf('hall')],
  );
  broker.limit(5900);
  t.same(broker.taken, [], 'nor after the end');
  t.end();
});

t.test('a source that goes takes its device along, and nothing else changes', async (t) => {
  const broker = createDiscoveryBroker('nursery');
  const memory = createQuickMemory();
  const home = createHome();
  live(broker, memory, [yard, hall, place('loft', 'Cat')]).stop();
  home.readOn(broker);
  const before = new Map(broker.retained);
  const count = broker.taken.length;
  // One is renamed and one is gone.
  const homeAssistant = live(broker, memory, [yard, place('corridor', 'Bark', 'Bell')], {
    removalHoldMs: 40,
  });
  const stubs = new Map(broker.retained);
  for (const topic of [TOPIC, topicOf('yard')]) t.equal(stubs.get(topic), before.get(topic), topic);
  for (const name of ['hall', 'loft']) {
    const was = readDescription(before.get(topicOf(name))!);
    const held = readDescription(stubs.get(topicOf(name))!);
    t.same(held.removed, [...was.entities.keys()]);
    t.equal(held.entities.size, 0, 'all of it goes');
  }
  t.ok(memory.topics().includes(topicOf('hall')), 'and is remembered as long');
  await until(() => !broker.retained.has(topicOf('loft')), 'nothing left', 30, 5);
  await until(() => !broker.retained.has(topicOf('hall')), 'nothing left', 30, 5);
  homeAssistant.stop();
  t.same(memory.topics().sort(), [TOPIC, topicOf('corridor'), topicOf('yard')].sort());
  t.same(
    broker.taken
      .slice(count)
      .filter(({ topic, text }) => before.get(topic) !== text)
      .map(({ topic, text }) => [topic, text === '']),
    [
      [topicOf('corridor'), false],
      [topicOf('hall'), false],
      [topicOf('loft'), false],
      [topicOf('hall'), true],
      [topicOf('loft'), true],
    ],
  );
  home.readOn(broker);
});

t.test('Home Assistant that has just started hears of a source that has gone', async (t) => {
  const broker = createDiscoveryBroker('nursery');
  const memory = createQuickMemory();
  live(broker, memory, [yard, hall]).stop();
  const homeAssistant = live(broker, memory, [place('main', 'Bark')], { removalHoldMs: 60_000 });
  const count = broker.taken.length;
  homeAssistant.birth('online');
  await until(() => broker.taken.length >= count + 3, 'said again', 30, 5);
  homeAssistant.stop();
  t.same(
    broker.taken
      .slice(count)
      .filter(({ text }) => saysThatSomethingGoes(text))
      .map(({ topic }) => topic),
    [topicOf('yard'), topicOf('hall')],
  );
});

t.test('settings that are not all in effect take no source away', (t) => {
  const broker = createDiscoveryBroker('nursery');
  const memory = createQuickMemory();
  live(broker, memory, [yard, hall]).stop();
  const before = broker.retained.get(topicOf('yard'));
  const count = broker.taken.length;
  live(broker, memory, [place('main', 'Bark')], { keepsGone: true }).stop();
  t.same(
    broker.taken.slice(count).map(({ topic }) => topic),
    [TOPIC],
  );
  t.equal(broker.retained.get(topicOf('yard')), before);
  t.ok(memory.topics().includes(topicOf('yard')), 'the next start can');
  t.end();
});

t.test('another id takes all of the devices away, and so does switching it off', (t) => {
  const broker = createDiscoveryBroker('nursery');
  const memory = createQuickMemory();
  live(broker, memory, [yard, hall]).stop();
  live(broker, memory, [yard, hall], { device: { id: 'loft', name: 'Loft' } }).stop();
  const topics = [null, 'yard', 'hall'].map((name) =>
    discoveryTopic('homeassistant', 'loft', { source: name }),
  );
  t.same([...broker.retained.keys()], topics);
  t.same(memory.topics(), topics);
  retireHomeAssistant(broker.link, memory);
  t.equal(broker.retained.size, 0);
  t.same(memory.topics(), []);
  t.end();
});

t.test('a source with too many labels says which it is', (t) => {
  const log = createRecordingLog();
  const many = place('yard', ...Array.from({ length: 251 }, (_, n) => `L${n}`));
  live(createDiscoveryBroker('nursery'), createQuickMemory(), [many, hall], { log }).stop();
  t.match(log.lines, [{ fields: { code: 'too_many_labels' }, message: /^251 labels are watched at yard;/ }]);
  t.end();
});

t.test('each device goes out in parts where the broker takes small messages only', async (t) => {
  const broker = createDiscoveryBroker('nursery');
  const memory = createQuickMemory();
  const many = place('yard', ...Array.from({ length: 30 }, (_, n) => `L${n}`));
  const wanted = fresh([many, hall]);
  const idsOf = (texts: Iterable<string>) =>
    [...texts]
      .flatMap((text) =>
        [...readDescription(text).entities.values()].map(({ config }) => config['unique_id']),
      )
      .sort();
  const homeAssistant = live(broker, memory, [many, hall]);
  broker.limit(2500);
  await until(() => [...broker.retained.values()].every((text) => text.length <= 2500), 'small ones', 30, 1);
  await settled(broker);
  t.same(idsOf(broker.retained.values()), idsOf(Object.values(wanted)));
  t.ok(broker.retained.has(topicOf('yard', 3)));
  homeAssistant.stop();
  const after = live(broker, memory, [place('main', 'Bark')]);
  await settled(broker);
  await until(
    () => broker.retained.size === 5,
    () => `only the box, not ${[...broker.retained.keys()].join()}`,
    30,
    1,
  );
  after.stop();
});

t.test('one, several and one again: the broker holds what a fresh start would publish', async () => {
  const names = ['yard', 'hall', 'front-yard', 'front_yard', 'label', 'label_bark', 'part_2', 'a', 'a_b'];
  const label = fc.constantFrom('Bark', 'Bell', 'Cat', 'Level', 'Part_2', 'Label_bark');
  const randomPlace = fc.record({
    name: fc.constantFrom(...names),
    labels: fc.uniqueArray(label, { maxLength: 4 }),
    calibrated: fc.boolean(),
    remembers: fc.boolean(),
  });
  const places = fc.uniqueArray(randomPlace, { selector: ({ name }) => name, minLength: 1, maxLength: 4 });
  /** A life that ends while its removals are held leaves them to the next. */
  const step = fc.record({ places, waits: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 5 }), randomPlace, async (steps, last) => {
      const broker = createDiscoveryBroker('nursery');
      const memory = createQuickMemory();
      const home = createHome();
      for (const { places, waits } of [...steps, { places: [last], waits: true }]) {
        const homeAssistant = live(broker, memory, places);
        const wanted = fresh(places);
        if (waits) {
          const same = () =>
            JSON.stringify(sorted(broker.retained)) === JSON.stringify(sorted(Object.entries(wanted)));
          await until(
            same,
            () => `what a fresh start publishes, not ${[...broker.retained.keys()].join()}`,
            10,
            1,
          );
          home.readOn(broker);
          const ids = Object.values(wanted).flatMap((text) =>
            [...readDescription(text).entities.values()].map(({ config }) => String(config['unique_id'])),
          );
          if (home.all().join() !== ids.sort().join()) throw new Error('Home Assistant has other entities');
          if ([...memory.topics()].sort().join() !== Object.keys(wanted).sort().join()) {
            throw new Error(`remembered: ${memory.topics().join()}`);
          }
        }
        homeAssistant.stop();
      }
    }),
    { numRuns: 40 },
  );
});

function sorted(entries: Iterable<[string, string]>): [string, string][] {
  return [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
}
