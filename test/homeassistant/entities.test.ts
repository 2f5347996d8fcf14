import t from 'tap';
import { z } from 'zod';
import type { EventPayload } from '../../src/mqtt/contract.js';
import { slugOf } from '../../src/tagging/slug.js';
import { startMosquitto } from '../support/broker.js';
import { home } from '../support/home-assistant.js';
import type { EntityState } from '../support/home-assistant-client.js';
import { complaintsAbout, skipWithoutHome, startHome } from '../support/home-assistant-program.js';
import { createConsole, makeDataDir, startService } from '../support/service.js';
import { makeSysFolder } from '../support/sys-folders.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

/* One box with the bundled model and the demo recording, as the real Home Assistant has it. */

const skip = skipWithoutHome || skipWithout('mosquitto');

/** What would begin a template, or end a text in one. */
const ODD_NAME = `It's "odd" {{ 1 / 0 }} {% raw %} \\ {# #}`;
const LABELS = [
  'Bird',
  'Speech',
  { name: 'Baby', labels: ['Baby cry, infant cry', 'Crying, sobbing'] },
  { name: 'Smoke alarm', labels: ['Smoke detector, smoke alarm', 'Fire alarm'], device_class: 'smoke' },
  { name: ODD_NAME, labels: ['Music'], device_class: 'safety' },
];

/** With which the service ends to be started again. */
const RESTART_CODE = 1;

t.test('a box', { skip, timeout: 900_000 }, async (t) => {
  const broker = await startMosquitto({ config: ['set_tcp_nodelay true'] });
  t.teardown(() => broker.stop());
  const sys = makeSysFolder('pi4');
  t.teardown(() => sys.remove());
  const dataDir = await makeDataDir(t);
  const console = await createConsole(t, broker.url, 'attic');
  const program = await startHome(t, { brokerPort: broker.port });
  t.comment(`Home Assistant ${program.version}`);
  const described = await home(t, broker.url, 'attic');
  const service = startService(t, {
    DATA_DIR: dataDir,
    DEVICE_ID: 'attic',
    DEVICE_NAME: 'Attic',
    MQTT_URL: broker.url,
    HOMEASSISTANT_ENABLED: 'true',
    AUDIO_SOURCE: 'demo',
    AUDIO_CALIBRATION_DB: '110',
    TAGGING_LABELS: JSON.stringify(LABELS),
    TELEMETRY_INTERVAL_SECONDS: '1',
    TELEMETRY_SYS_ROOT: sys.sysRoot,
    HOMEASSISTANT_MODELS: '["mn10_as", "mn20_as"]',
  });
  const { entities } = await described.described();
  const { client } = program;
  const idOf = (key: string) => String(entities.get(key)!.config['default_entity_id']);

  await t.test('every entity is there, as it was meant', async (t) => {
    await client.until(idOf('model'), (now) => now?.state === 'soundpost-home');
    await until(async () => (await ours()).length >= entities.size, 'all entities', 60, 500);
    const entries = new Map((await ours()).map((entry) => [entry.unique_id, entry]));
    t.equal(entries.size, entities.size, 'and none besides');
    for (const { id, config } of entities.values()) {
      const entry = entries.get(String(config['unique_id']));
      t.match(
        entry,
        {
          entity_id: config['default_entity_id'],
          original_name: config['name'],
          entity_category: config['entity_category'] ?? null,
          disabled_by: config['enabled_by_default'] === false ? 'integration' : null,
        },
        id,
      );
    }
    const [device, ...others] = (await client.devices()).filter(
      ({ manufacturer }) => manufacturer === 'Soundpost',
    );
    t.same(others, []);
    t.match(device, { name: 'Attic', model: 'Sound tagger', identifiers: [['mqtt', 'soundpost_attic']] });
  });

  await t.test('those that are hidden can be enabled', async () => {
    for (const { disabled_by, entity_id } of await ours()) {
      if (disabled_by === null) continue;
      await client.ask('config/entity_registry/update', { entity_id, disabled_by: null });
    }
    // Home Assistant waits for 30 s until it loads the integration again.
    for (const { config } of entities.values()) {
      await client.until(String(config['default_entity_id']), (now) => now !== undefined, 120);
    }
  });

  await t.test('each has its class, unit and name, and a state', async (t) => {
    await console.on('telemetry', (now: { latency_ms: { count: number } }) => now.latency_ms.count > 0);
    for (const { id, platform, config } of entities.values()) {
      const known = (now: { state: string } | undefined) =>
        now !== undefined &&
        // Available while a sound is being taught only.
        (now.state === 'unavailable') === (id === 'learn_example') &&
        (mayBeUnknown(id, platform) || now.state !== 'unknown');
      const { attributes } = await client.until(idOf(id), known);
      t.match(
        attributes,
        {
          friendly_name: `Attic ${String(config['name'])}`,
          device_class: config['device_class'],
          unit_of_measurement: config['unit_of_measurement'],
          state_class: config['state_class'],
          icon: config['icon'],
          options: config['options'],
          min: config['min'],
          max: config['max'],
          step: config['step'],
          event_types: config['event_types'],
        },
        id,
      );
    }
  });

  await t.test('what people read of the classes is in their language', async (t) => {
    const { resources } = z.object({ resources: z.record(z.string(), z.string()) }).parse(
      await client.ask('frontend/get_translations', {
        language: 'de',
        category: 'entity_component',
        integration: ['binary_sensor'],
      }),
    );
    for (const { config } of entities.values()) {
      if (config['platform'] !== 'binary_sensor') continue;
      const words = `component.binary_sensor.entity_component.${String(config['device_class'])}.state.on`;
      t.ok(resources[words], `${words}: ${resources[words] ?? 'missing'}`);
    }
  });

  await t.test('its services act, and what they did comes back as state', async (t) => {
    await client.call('number.set_value', idOf('rate'), { value: 2 });
    await client.until(idOf('rate'), (now) => now?.state === '2.0' || now?.state === '2');
    await client.call('number.set_value', idOf('threshold'), { value: 0.4 });
    await client.until(idOf('threshold'), (now) => now?.state === '0.4');
    await client.call('button.press', idOf('model_thresholds'));
    await client.until(idOf('threshold'), (now) => now?.state === 'unknown');
    await client.call('switch.turn_on', idOf('paused'));
    await client.until(idOf('paused'), (now) => now?.state === 'on');
    await client.until(idOf('top_tag'), (now) => now?.state === 'unavailable');
    await client.call('switch.turn_off', idOf('paused'));
    await client.until(idOf('paused'), (now) => now?.state === 'off');
    await client.until(idOf('top_tag'), (now) => now?.state !== 'unavailable');
    await client.call('select.select_option', idOf('model'), { option: 'soundpost-home' });
    t.match(await console.on('response/model/set'), { status: 'ok' });
  });

  await t.test('each event fires once, and its label is on meanwhile', async (t) => {
    const heard = () => console.all<EventPayload>('event');
    await until(() => heard().filter(({ event_type: type }) => type === 'ended').length > 2, 'sounds', 120);
    await until(() => fired().length >= heard().length, 'as many as were sent', 30);
    t.same(
      fired(),
      heard().map(({ id, event_type: type, label }) => ({ id, type, label })),
    );
    const slug = slugOf(heard()[0]!.group ?? heard()[0]!.label);
    const seen = client.changes.filter(({ entityId }) => entityId === idOf(`label_${slug}`));
    for (const state of ['on', 'off']) {
      t.ok(
        seen.some(({ now }) => now?.state === state),
        `${slug} was ${state}`,
      );
    }
    // What it was heard as, and when, is in its attributes.
    const { id, label, peak, started_at, ended_at, duration_s } = heard().findLast(
      ({ event_type: type, group, label: name }) => type === 'ended' && slugOf(group ?? name) === slug,
    )!;
    const isSame = (now: EntityState | undefined) => now?.attributes['id'] === id;
    const { attributes } = await client.until(idOf(`label_${slug}`), isSame);
    t.match(attributes, { label, peak, started_at, ended_at, duration_s, device_class: 'sound' });
    t.type(attributes['score'], 'number');
  });

  await t.test('each label and group has a threshold of its own', async (t) => {
    const single = await client.until(idOf('threshold_bird'), (now) => Number(now?.state) > 0);
    t.equal(
      client.state(idOf('threshold_smoke_alarm'))?.state,
      'unknown',
      'each of its labels has another one',
    );
    for (const key of ['threshold_bird', 'threshold_smoke_alarm', `threshold_${slugOf(ODD_NAME)}`]) {
      await client.call('number.set_value', idOf(key), { value: 0.77 });
      await client.until(idOf(key), (now) => now?.state === '0.77');
    }
    t.not(single.state, '0.77');
    t.equal(client.state(idOf('threshold_speech'))?.attributes['max'], 1);
    t.not(client.state(idOf('threshold_speech'))?.state, '0.77', 'the others keep theirs');
  });

  await t.test('its button starts it anew', async (t) => {
    await client.call('button.press', idOf('restart'));
    t.equal(await service.exited, RESTART_CODE);
  });

  t.same(complaintsAbout(program.lines), [], 'nothing of ours in its log');

  async function ours() {
    return (await client.entries()).filter(({ platform }) => platform === 'mqtt');
  }

  /** What the entity for events has fired, as its attributes say. */
  function fired(): { id: unknown; type: unknown; label: unknown }[] {
    // Its state is when it fired. The same one again has been restored, as after the integration was loaded anew.
    const seen = new Map<string, { id: unknown; type: unknown; label: unknown }>();
    for (const { entityId, now } of client.changes) {
      if (entityId !== idOf('event') || now === null || /^un(known|available)$/.test(now.state)) continue;
      const { id, event_type: type, label } = now.attributes;
      seen.set(`${now.state} ${String(id)} ${String(type)}`, { id, type, label });
    }
    return [...seen.values()];
  }

  /** What has no state until something happens. */
  function mayBeUnknown(id: string, platform: string): boolean {
    return (
      platform === 'button' ||
      platform === 'event' ||
      id.startsWith('threshold') ||
      id === 'top_tag' ||
      id === 'top_score'
    );
  }
});
