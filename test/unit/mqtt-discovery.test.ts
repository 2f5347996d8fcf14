import fc from 'fast-check';
import t, { type Test } from 'tap';
import { z } from 'zod';
import { readCatalogue } from '../../src/models/catalogue.js';
import { contract, isoTime, type EventPayload } from '../../src/mqtt/contract.js';
import {
  entities,
  LATE_EVENT_LIMIT_S,
  pausedTemplate,
  type Platform,
} from '../../src/home-assistant/entities.js';
import { installing, installPayload, offeredModels, releasePage } from '../../src/home-assistant/installs.js';
import {
  buildDiscovery,
  discoveryTopic,
  platformsOf,
  removals,
  type BoxInput,
  type HearingInput,
} from '../../src/home-assistant/payload.js';
import { splitDiscovery, USUAL_LIMIT_BYTES } from '../../src/home-assistant/parts.js';
import { ownKeys } from '../../src/home-assistant/source-topics.js';
import { createTopics } from '../../src/mqtt/topics.js';
import { slugOf, uniqueSlugs } from '../../src/tagging/slug.js';
import { discover, type HomeEntity } from '../support/home-assistant-schema.js';
import { render, stateOf, updateAvailable } from '../support/home-assistant-state.js';
import { projectPath } from '../support/shared.js';

type Input = BoxInput & HearingInput;
const input = (changes: Partial<Input> = {}): Input => ({
  device: { id: 'nursery', name: 'Nursery' },
  version: '1.2.3',
  topics: createTopics('soundpost', 'nursery'),
  models: ['soundpost-home', 'mn10_as'],
  installs: [{ id: 'mn10_as', title: 'EfficientAT mn10_as', shown: true }],
  watched: [{ name: 'Baby cry, infant cry', slug: 'baby_cry_infant_cry', known: true }],
  calibrated: false,
  remembers: true,
  ...changes,
});
const one = (both: Input) => buildDiscovery(both, both);
const built = (changes?: Partial<Input>) => one(input(changes));
/** What is published where `known` was announced before. */
const after = (known: Record<string, Platform>, changes: Partial<Input>) =>
  splitDiscovery(built(changes), [known], { limitBytes: USUAL_LIMIT_BYTES, keepsGone: false }).parts[0]!;

/** The entities Home Assistant has after this payload, by the id of their component. */
function accepted(t: Test, payload: object): Map<string, HomeEntity> {
  const result = discover(JSON.stringify(payload));
  t.same(result.faults, []);
  return new Map((result.entities ?? []).map((entity) => [entity.id, entity]));
}

t.test('topics', (t) => {
  t.equal(discoveryTopic('homeassistant', 'nursery'), 'homeassistant/device/soundpost_nursery/config');
  t.equal(discoveryTopic('ha/test', 'a-B_1'), 'ha/test/device/soundpost_a-B_1/config');
  t.end();
});

t.test('Home Assistant takes the device, with everything that it is to show', (t) => {
  const found = accepted(t, built());
  const platforms = (platform: Platform) =>
    [...found.values()].filter((entity) => entity.platform === platform).map(({ id }) => id);
  t.same(platforms('select'), ['model']);
  t.same(platforms('number'), ['rate', 'threshold']);
  t.same(platforms('switch'), ['paused']);
  t.same(platforms('button'), ['model_thresholds', 'restart', 'last_right', 'last_wrong', 'learn_example']);
  t.same(platforms('event'), ['event']);
  t.same(platforms('update'), ['install_mn10_as']);
  t.same(platforms('binary_sensor'), [
    'microphone',
    'throttling',
    'under_voltage',
    'label_baby_cry_infant_cry',
  ]);
  for (const id of ['top_tag', 'top_score', 'level', 'latency_p95', 'soc_temperature', 'effective_rate']) {
    t.equal(found.get(id)?.platform, 'sensor', id);
  }
  t.match(found.get('model')?.config, {
    unique_id: 'soundpost_nursery_model',
    default_entity_id: 'select.soundpost_nursery_model',
    options: ['soundpost-home', 'mn10_as'],
    command_topic: 'soundpost/nursery/model/set',
    availability: [{ topic: 'soundpost/nursery/status' }],
    availability_mode: 'all',
  });
  t.match(found.get('top_tag')?.config, {
    availability: [
      { topic: 'soundpost/nursery/status' },
      { topic: 'soundpost/nursery/audio/status' },
      { topic: 'soundpost/nursery/state', value_template: /paused/ },
    ],
    expire_after: 300,
  });
  const unpaused = found.get('top_tag')?.config['availability'] as { value_template?: string }[];
  const template = String(unpaused[2]?.value_template);
  t.same(
    [true, false].map((paused) => render(template, JSON.stringify({ paused }))),
    ['offline', 'online'],
    'what is heard now is nothing while paused',
  );
  t.match(found.get('label_baby_cry_infant_cry')?.config, {
    name: 'Baby cry, infant cry',
    device_class: 'sound',
    default_entity_id: 'binary_sensor.soundpost_nursery_label_baby_cry_infant_cry',
    state_topic: 'soundpost/nursery/label/baby_cry_infant_cry',
    availability: [{ topic: 'soundpost/nursery/status' }, { topic: 'soundpost/nursery/audio/status' }],
    availability_mode: 'all',
  });
  t.match(found.get('install_mn10_as')?.config, {
    name: 'EfficientAT mn10_as',
    state_topic: 'soundpost/nursery/install/mn10_as',
    payload_install: '{"id":"mn10_as"}',
  });
  t.equal(found.get('level')?.config['device_class'], undefined, 'dBFS is no sound pressure');
  t.equal(contract.event.retain, false, 'Home Assistant passes over retained events');
  t.end();
});

t.test('whatever the device, its labels and its models are called', (t) => {
  const id = fc.stringMatching(/^[a-zA-Z0-9_-]{1,30}$/).filter((text) => /[a-zA-Z0-9]/.test(text));
  const modelId = fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,20}$/);
  const base = fc.constantFrom('soundpost', 'site/a', 'a b');
  fc.assert(
    fc.property(
      base,
      id,
      fc.string({ minLength: 1 }),
      fc.uniqueArray(fc.string({ minLength: 1, unit: 'binary' }), { maxLength: 5 }),
      fc.uniqueArray(modelId, { maxLength: 5, selector: (text) => slugOf(text) }),
      (baseTopic, deviceId, name, names, models) => {
        const slugs = uniqueSlugs(names);
        const payload = one(
          input({
            device: { id: deviceId, name },
            topics: createTopics(baseTopic, deviceId),
            models,
            installs: models.map((model) => ({ id: model, title: model, shown: false })),
            watched: names.map((label, index) => ({
              name: label,
              slug: slugs[index]!,
              known: index % 2 === 0,
            })),
          }),
        );
        const { faults } = discover(JSON.stringify(payload));
        if (faults.length > 0) throw new Error(faults.join('\n'));
      },
    ),
  );
  t.end();
});

t.test('what is gone is taken away, whatever it was', (t) => {
  const known = platformsOf(built());
  const payload = after(known, { watched: [], installs: [] });
  t.same(removals(payload), ['label_baby_cry_infant_cry', 'install_mn10_as']);
  t.same(payload.components['label_baby_cry_infant_cry'], { platform: 'binary_sensor' });
  t.same(
    Object.keys(payload.components).slice(0, 2),
    removals(payload),
    'before the others: Home Assistant drops the rest of a message at the first component that it is busy with',
  );
  const result = discover(JSON.stringify(payload));
  t.match(result, { faults: [], removed: removals(payload) });
  t.same(removals(after(known, {})), [], 'and what is there stays');
  t.same(removals(built()), []);
  t.end();
});

t.test('a label that the model does not know stays, and is never available', (t) => {
  const watched = (known: boolean) => [{ name: 'Glass', slug: 'glass', known }];
  const known = platformsOf(built({ watched: watched(true) }));
  const payload = after(known, { watched: watched(false) });
  t.same(removals(payload), []);
  const glass = accepted(t, payload).get('label_glass');
  const { availability, ...unavailable } = glass!.config;
  const entries = availability as { topic: string; value_template?: string }[];
  t.equal(
    new Set(entries.map(({ topic }) => topic)).size,
    entries.length,
    'Home Assistant keeps one of each topic',
  );
  t.equal(glass!.config['availability_mode'], 'all');
  const templates = entries.flatMap(({ value_template }) => value_template ?? []);
  t.same(
    templates.map((template) => render(template, JSON.stringify({ model: 'mn04_as', paused: false }))),
    ['offline'],
  );
  const before = accepted(t, built({ watched: watched(true) })).get('label_glass')!.config;
  t.match(before, unavailable, 'and is the same otherwise');
  t.equal((before['availability'] as object[]).length, 2);
  t.end();
});

t.test('the same input gives the same text', (t) => {
  t.equal(JSON.stringify(built()), JSON.stringify(built()));
  t.end();
});

t.test('a device with many labels and every model of the catalogue fits into a message', async (t) => {
  const { models } = await readCatalogue(projectPath('models'));
  const watched = Array.from({ length: 250 }, (_, index) => ({
    name: `Label ${index}`,
    slug: `l_${index}`,
    known: false,
  }));
  const installs = models.map(({ id, title }) => ({ id, title, shown: false }));
  const text = JSON.stringify(built({ watched, installs }));
  accepted(t, JSON.parse(text) as object);
  t.ok(text.length < 256 * 1024, `${text.length} bytes`);
});

t.test('the transcribed rules refuse what Home Assistant refuses', (t) => {
  type Loose = Record<string, unknown>;
  const spoil = (change: (payload: Loose, components: Record<string, Loose>) => void) => {
    const payload = structuredClone(built()) as unknown as Loose;
    change(payload, payload['components'] as Record<string, Loose>);
    return discover(JSON.stringify(payload)).faults;
  };
  const cases: [string, RegExp, (payload: Loose, components: Record<string, Loose>) => void][] = [
    ['a topic base in the root', /"~"/, (p) => (p['~'] = 'soundpost/nursery')],
    ['another key in the root', /"unique_id"/, (p) => (p['unique_id'] = 'x')],
    ['no device', /^device/, (p) => delete p['device']],
    ['no origin', /^origin/, (p) => delete p['origin']],
    ['an origin without a name', /origin.name/, (p) => (p['origin'] = {})],
    ['a device that nothing identifies', /identifying/, (p) => (p['device'] = { name: 'x' })],
    ['a component without a platform', /model.platform/, (_, c) => delete c['model']!['platform']],
    ['an unknown platform', /not known/, (_, c) => (c['model']!['platform'] = 'selekt')],
    ['an entity without a unique id', /unique_id/, (_, c) => delete c['level']!['unique_id']],
    ['a unique id twice', /comes twice/, (_, c) => (c['level']!['unique_id'] = c['model']!['unique_id'])],
    ['a key of another platform', /"options"/, (_, c) => (c['paused']!['options'] = [])],
    ['a sensor without a topic', /state_topic/, (_, c) => delete c['level']!['state_topic']],
    ['a select without options', /options/, (_, c) => delete c['model']!['options']],
    ['a select without a command', /command_topic/, (_, c) => delete c['model']!['command_topic']],
    ['an event without types', /event_types/, (_, c) => delete c['event']!['event_types']],
    [
      'decibels below full scale as a sound pressure',
      /does not fit/,
      (_, c) => (c['level']!['device_class'] = 'sound_pressure'),
    ],
    [
      'seconds as a temperature',
      /does not fit/,
      (_, c) => (c['soc_temperature']!['unit_of_measurement'] = 's'),
    ],
    [
      'a temperature that sums up',
      /does not fit/,
      (_, c) => (c['soc_temperature']!['state_class'] = 'total'),
    ],
    ['a sensor among the settings', /entity category/, (_, c) => (c['level']!['entity_category'] = 'config')],
    [
      'a binary sensor among the settings',
      /entity category/,
      (_, c) => (c['microphone']!['entity_category'] = 'config'),
    ],
    ['a category that there is not', /entity_category/, (_, c) => (c['rate']!['entity_category'] = 'system')],
    ['a step that is too fine', /step/, (_, c) => (c['rate']!['step'] = 0.0001)],
    ['a range without room', /'max'/, (_, c) => (c['rate']!['max'] = 0.01)],
    [
      'a device class of another platform',
      /device_class/,
      (_, c) => (c['restart']!['device_class'] = 'sound'),
    ],
    ['a command to a wildcard', /command_topic/, (_, c) => (c['rate']!['command_topic'] = 'a/#')],
    ['a template that does not parse', /value_template/, (_, c) => (c['rate']!['value_template'] = '{{ x')],
    ['availability twice', /exclude/, (p) => (p['availability_topic'] = 'a')],
    ['an availability mode that there is not', /availability_mode/, (p) => (p['availability_mode'] = 'most')],
    ['an icon without a set', /icon/, (_, c) => (c['model']!['icon'] = 'brain')],
    [
      'an entity id of another platform',
      /not of the platform/,
      (_, c) => (c['model']!['default_entity_id'] = 'sensor.x'),
    ],
  ];
  for (const [what, fault, change] of cases) t.match(spoil(change).join('\n'), fault, what);
  t.same(discover('{').faults, ['no JSON']);
  t.end();
});

t.test('the table', (t) => {
  const keys = entities.map(({ key }) => key);
  t.same(keys, [...new Set(keys)], 'every key once');
  for (const key of keys) t.match(key, /^[a-z0-9_]+$/);
  t.end();
});

t.test('readings that are not there are unknown', (t) => {
  const found = accepted(t, built());
  const state = (id: string, payload: object) => stateOf(found.get(id)!, JSON.stringify(payload));
  t.equal(state('soc_temperature', { soc: { temperature_c: null } }), null);
  t.equal(state('soc_temperature', { soc: { temperature_c: 61.245 } }), 61.2);
  t.equal(state('under_voltage', { soc: { under_voltage: null } }), null);
  t.equal(state('under_voltage', { soc: { under_voltage: true } }), true);
  t.equal(state('under_voltage', { soc: { under_voltage: false } }), false);
  t.equal(state('level', { dbfs: null }), null);
  t.equal(state('level', { dbfs: -120 }), -120);
  t.equal(state('latency_p95', { latency_ms: { p95: null } }), null);
  t.equal(state('top_tag', { now: [] }), null);
  t.equal(state('top_score', { now: [] }), null);
  t.equal(state('top_score', { now: [{ label: 'Dog', score: 0.8765 }] }), 88);
  t.equal(state('threshold', { threshold: null }), null, 'the thresholds of the model are no one number');
  t.equal(state('threshold', { threshold: 0 }), 0);
  t.equal(state('model', { model: null }), null);
  t.equal(state('model', { model: 'mn10_as' }), 'mn10_as');
  t.match(
    ['memory', 'disk_free'].map((id) => found.get(id)?.config['unit_of_measurement']),
    ['MiB', 'MiB'],
    'a megabyte of the readings has 1024 × 1024 bytes',
  );
  t.throws(() => state('model', { model: 'mn99' }), /no valid option/);
  t.throws(() => state('rate', { rate_hz: 21 }), /not from/);
  t.end();
});

t.test('the threshold shows which are in force, and why', (t) => {
  const { config } = accepted(t, built()).get('threshold')!;
  t.equal(config['json_attributes_topic'], 'soundpost/nursery/info');
  const attributes = (info: object): unknown =>
    JSON.parse(render(String(config['json_attributes_template']), JSON.stringify(info)));
  const thresholds = [
    { label: 'Dog', group: null, threshold: 0.43, from: 'label_set' },
    { label: 'It\'s "<loud>" & {{ odd }}', group: 'Alarm', threshold: 0.3, from: 'group' },
  ];
  t.strictSame(attributes({ thresholds }), { thresholds });
  t.strictSame(attributes({ thresholds: [] }), { thresholds: [] });
  t.strictSame(attributes({ version: '0.1.0' }), { thresholds: [] }, 'retained by an older version');
  t.end();
});

t.test('an event that comes too late fires nothing', (t) => {
  const event = accepted(t, built()).get('event')!;
  const started = Date.UTC(2025, 10, 1, 12);
  const sound = (changes: Partial<EventPayload>): EventPayload => ({
    id: '1',
    event_type: 'started',
    label: 'Dog',
    mid: null,
    group: null,
    score: 0.9,
    peak: 0.9,
    started_at: isoTime(started),
    ended_at: null,
    duration_s: null,
    detected_at: isoTime(started + 500),
    model: 'mn10_as',
    late: false,
    ...changes,
  });
  const after = (seconds: number, changes: Partial<EventPayload>) =>
    stateOf(event, JSON.stringify(sound(changes)), { now: () => new Date(started + seconds * 1000) });
  t.match(after(0, {}), { event_type: 'started', label: 'Dog', id: '1' });
  t.match(after(10_000, {}), { label: 'Dog' }, 'a clock that is wrong does not matter to news');
  t.match(after(LATE_EVENT_LIMIT_S - 1, { late: true }), { label: 'Dog' }, 'a short outage loses no alarm');
  t.equal(after(LATE_EVENT_LIMIT_S + 1, { late: true }), undefined);
  const ended: Partial<EventPayload> = {
    event_type: 'ended',
    ended_at: isoTime(started + 600_000),
    duration_s: 600,
    late: true,
  };
  t.match(after(610, ended), { event_type: 'ended' }, 'the end counts by its own time');
  t.equal(after(600 + LATE_EVENT_LIMIT_S + 1, ended), undefined);
  t.equal(stateOf(event, JSON.stringify(sound({})), { retained: true }), undefined);
  t.end();
});

t.test('installs', async (t) => {
  const { models } = await readCatalogue(projectPath('models'));
  t.same(offeredModels(['mn10_as', 'mn99'], models, false).unknown, ['mn99']);
  t.same(
    offeredModels(['mn10_as', 'mn99'], models, false).offered.map(({ id }) => id),
    ['mn10_as'],
  );
  t.equal(offeredModels('all', models, true).offered.length, models.length);
  const { offered } = offeredModels([], models, false);
  t.same(offered, []);

  // Without an address there is nothing to install, but for a mirror.
  const some = models.map((entry, index) => (index < 2 ? { ...entry, url: null } : entry));
  const homeless = some.filter(({ url }) => url === null).map(({ id }) => id);
  t.same(
    offeredModels('all', some, false)
      .offered.filter(({ url }) => url === null)
      .map(({ id }) => id),
    [],
  );
  t.match(offeredModels(homeless, some, false), { offered: [], unknown: [], unreachable: homeless });
  t.match(offeredModels(homeless, some, true), {
    offered: homeless.map((id) => ({ id })),
    unreachable: [],
  });
  for (const entry of models) {
    const says = (digestRequired: boolean) =>
      /no SHA-256 known/.test(
        installPayload(entry, { installed: false, progress: null }, digestRequired).release_summary,
      );
    t.equal(says(true), entry.sha256 === null, `${entry.id} says what its install needs`);
    t.notOk(says(false));
  }

  const entity: HomeEntity = { id: 'install_x', platform: 'update', config: {} };
  for (const entry of models) {
    const seen = [
      { installed: false, progress: null },
      { installed: false, progress: { percentage: null } },
      { installed: false, progress: { percentage: 40 } },
      { installed: true, progress: null },
    ].map((now) => {
      const payload = installPayload(entry, now, true);
      contract.install.schema.parse(payload);
      const state = stateOf(entity, JSON.stringify(payload)) as Record<string, unknown>;
      return [updateAvailable(state), state['in_progress'], state['update_percentage']];
    });
    t.same(
      seen,
      [
        [true, false, null],
        [true, true, null],
        [true, true, 40],
        [false, false, null],
      ],
      entry.id,
    );
  }
  const pages = new Set(models.map(({ url }) => releasePage(url)));
  t.ok(pages.has('https://github.com/fschmid56/EfficientAT/releases/tag/v0.0.1'));
  t.ok(pages.has('https://zenodo.org/record/3987831'));
  t.same(
    models.filter(({ url }) => url !== null && releasePage(url) === null).map(({ id }) => id),
    [],
    'every checkpoint with an address has a page',
  );
  t.equal(releasePage(null), null);
  t.equal(releasePage('https://example.org/x.pt'), null);

  const swap = (state: string, progress: number | null) => installing({ state, model: 'mn10_as', progress });
  t.same(swap('downloading', null), { id: 'mn10_as', percentage: null });
  t.same(swap('downloading', 0.5), { id: 'mn10_as', percentage: 40 });
  t.same(swap('converting', 1), { id: 'mn10_as', percentage: 95 });
  t.same(swap('verifying', null), { id: 'mn10_as', percentage: 95 });
  t.equal(swap('loading', 0.5), null, 'a change of the model is no installation');
  t.equal(swap('idle', null), null);
});

interface Shape {
  properties?: Record<string, Shape>;
  items?: Shape;
}

/** Whether a message of this kind may have the field; `path` is like `now[0].label`. */
function hasField(schema: z.ZodType, path: string): boolean {
  let at: Shape | undefined = z.toJSONSchema(schema) as Shape;
  for (const name of path.split('.')) {
    const [field, index] = name.split('[');
    at = at?.properties?.[field!];
    if (index !== undefined) at = at?.items;
  }
  return at !== undefined;
}

/** The fields of `variable` that a template reads. */
const fieldsOf = (template: string, variable: string) =>
  [...template.matchAll(new RegExp(`\\b${variable}\\.([a-z0-9_.[\\]]+)`, 'g'))].map(([, path]) => path!);

t.test('templates read fields that the contract has', (t) => {
  for (const { key, state, options } of entities) {
    const template = options['value_template'];
    if (state === undefined || typeof template !== 'string') continue;
    const read = fieldsOf(template, 'value_json');
    t.ok(read.length > 0, `${key} reads something`);
    for (const path of read) t.ok(hasField(contract[state].schema, path), `${state}: ${path}`);
  }
  t.end();
});

t.test('so do those of one of several sources', (t) => {
  const ofState = entities.flatMap(({ state, ofSource }) => {
    const template = ofSource?.('yard')['value_template'];
    return typeof template === 'string' ? [{ state, template }] : [];
  });
  t.same(
    ofState.map(({ state }) => state),
    ['state', 'state'],
  );
  for (const template of [...ofState.map((one) => one.template), pausedTemplate('yard')]) {
    t.same(fieldsOf(template, 'value_json'), ['sources']);
    t.match(template, /'name', 'eq', 'yard'/);
    for (const field of ['name', ...fieldsOf(template, 'source')]) {
      t.ok(hasField(contract.state.schema, `sources[0].${field}`), field);
    }
  }
  t.ok(hasField(contract.info.schema, 'thresholds[0].source'));
  // What a source says by itself is what the box says otherwise.
  for (const [key, own] of Object.entries(ownKeys)) {
    t.equal(contract[own].schema, contract[key as keyof typeof ownKeys].schema, own);
    t.equal(contract[own].retain, contract[key as keyof typeof ownKeys].retain, own);
  }
  t.end();
});
