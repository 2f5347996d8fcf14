import t, { type Test } from 'tap';
import type { StatePayload, TagsPayload } from '../../src/mqtt/contract.js';
import { startMosquitto, type Mosquitto } from '../support/broker.js';
import { complaints, home, readDescription } from '../support/home-assistant.js';
import type { HomeEntity } from '../support/home-assistant-schema.js';
import { createProbe } from '../support/mqtt-probe.js';
import { createConsole, makeDataDir, startService, type Settings } from '../support/service.js';
import { beep, looped, sound } from '../support/service-rig.js';
import { installToneModel } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';

/* What Home Assistant keeps right over the lives of a service, of its neighbour and of the broker. */

const skip = skipWithout('mosquitto');

t.jobs = 2;

/** A folder with a model and a sound, and the way to start a service in it. */
async function makeDevice(t: Test, broker: Mosquitto, settings: Settings) {
  const dataDir = await makeDataDir(t);
  await installToneModel(dataDir, 'waveform');
  await sound(beep(3, 0.2))(dataDir);
  const live = (changes: Settings = {}) =>
    startService(t, {
      ...looped,
      DATA_DIR: dataDir,
      MODEL_ID: 'tone-waveform',
      MQTT_URL: broker.url,
      HOMEASSISTANT_ENABLED: 'true',
      ...settings,
      ...changes,
    });
  return { dataDir, live };
}

/** Everything in a description that has to be this device's own. */
function ownNames(entities: Map<string, HomeEntity>): string[] {
  return [...entities.values()].flatMap(({ config }) => {
    const availability = (config['availability'] ?? []) as { topic: string }[];
    const names = ['unique_id', 'default_entity_id', 'state_topic', 'command_topic'].map(
      (key) => config[key],
    );
    return [...names, ...availability.map(({ topic }) => topic)].filter((name) => typeof name === 'string');
  });
}

t.test('two devices: their entities, Home Assistant starts, the broker forgets', { skip }, async (t) => {
  const broker = await startMosquitto({ config: ['set_tcp_nodelay true'] });
  t.teardown(() => broker.stop());
  const ids = ['attic', 'cellar'];
  const homes = await Promise.all(ids.map((id) => home(t, broker.url, id)));
  const [attic, cellar] = await Promise.all(ids.map((id) => createConsole(t, broker.url, id)));
  for (const id of ids) {
    const settings = { DEVICE_ID: id, TAGGING_LABELS: '["Tone 0"]', TELEMETRY_INTERVAL_SECONDS: '1' };
    (await makeDevice(t, broker, settings)).live();
  }
  const before = await Promise.all(homes.map(({ described }) => described()));
  const [ours, theirs] = before.map(({ entities }) => new Set(ownNames(entities)));
  t.ok(ours!.size > 30);
  t.same(
    [...ours!].filter((name) => theirs!.has(name)),
    [],
    'neither touches what is the other one’s',
  );

  await cellar!.on('state', ({ model }: StatePayload) => model !== null);
  const seen = cellar!.texts('state').length;

  // What is sent to one is not done by the other; and Home Assistant asks both at once.
  await homes[0]!.probe.publish('homeassistant/status', 'online');
  t.match(await attic!.set('rate/set', '2'), { status: 'ok' });
  await attic!.on('state', ({ rate_hz }: StatePayload) => rate_hz === 2);
  t.same(cellar!.texts('response/rate/set'), []);
  const retained = [
    ...homes.map(({ topic }) => topic),
    ...ids.flatMap((id) =>
      ['status', 'audio/status', 'info', 'state', 'tags', 'telemetry', 'label/tone_0', 'install/mn10_as'].map(
        (topic) => `soundpost/${id}/${topic}`,
      ),
    ),
  ];
  await Promise.all([attic!, cellar!].map((console) => console.on('telemetry')));
  for (const [index, { described }] of homes.entries()) {
    t.equal((await described()).text, before[index]!.text, 'said again');
  }
  // And the states that it reads by that, though nothing has changed here.
  await cellar!.on('state', () => cellar!.texts('state').length > seen);

  await broker.crash();
  await broker.revive();
  const after = await createProbe(broker.url, ['soundpost/#', 'homeassistant/#']);
  t.teardown(() => after.close());
  const texts = await Promise.all(
    retained.map(async (topic) => (await after.next(topic, undefined, 60_000)).text),
  );
  t.same(
    texts.slice(0, 2),
    before.map(({ text }) => text),
  );
});

t.test('what goes while the service is off is taken away, and nothing else', { skip }, async (t) => {
  const broker = await startMosquitto({ config: ['set_tcp_nodelay true'] });
  t.teardown(() => broker.stop());
  const { live } = await makeDevice(t, broker, {
    DEVICE_ID: 'attic',
    INFERENCE_RATE_HZ: '4',
    TAGGING_THRESHOLD: '1',
    TAGGING_THRESHOLDS: '{"Tone 0": 1}',
  });
  const { described, topic, probe } = await home(t, broker.url, 'attic');
  const console = await createConsole(t, broker.url, 'attic');
  const heard = () =>
    console.on('tags', ({ tags }: TagsPayload) => tags[0]?.label === 'Tone 0' && tags[0].score > 0.9);

  // Two labels. The thresholds of the configuration let nothing through; the way back to the model's does.
  let service = live({ TAGGING_LABELS: '["Tone 0", "Tone 1"]' });
  const { entities } = await described((now) => now.has('label_tone_1'));
  const button = entities.get('model_thresholds')?.config;
  await heard();
  await probe.publish(String(button?.['command_topic']), String(button?.['payload_press']));
  t.match(await console.on('response/threshold/set'), { status: 'ok', data: { threshold: null } });
  await console.on('state', ({ threshold }: StatePayload) => threshold === null);
  await heard();
  t.notOk(console.texts('label/tone_0').includes('ON'), 'the label keeps its own');
  t.match(await console.request('threshold/set', { value: null, label: 'tone 0' }), {
    status: 'ok',
    data: { threshold: null, label: 'Tone 0' },
  });
  await console.word('label/tone_0', (text) => text === 'ON');
  t.match(await console.request('threshold/set', { value: null, label: 'Tone 99' }), {
    error: { code: 'label_unknown' },
  });
  t.equal(await service.stop(), 0);

  // One of them has left the configuration. A command that comes before the model is loaded changes nothing.
  const descriptions = () => probe.messages.filter((message) => message.topic === topic);
  const sofar = descriptions().length;
  service = live({ TAGGING_LABELS: '["Tone 0"]' });
  for (const word of ['offline', 'online']) await console.word('status', (text) => text === word);
  t.match(await console.request('info'), { status: 'ok' });
  const stub = await described();
  t.same(stub.removed, ['label_tone_1', 'threshold_tone_1']);
  t.same(
    (JSON.parse(stub.text) as { components: Record<string, object> }).components['label_tone_1'],
    { platform: 'binary_sensor' },
    'nothing but its platform',
  );
  t.ok(stub.entities.has('label_tone_0'));
  await console.on('state', ({ model, threshold }: StatePayload) => model !== null && threshold === null);
  await console.word('label/tone_0', (text) => text === 'ON');
  t.equal(await service.stop(), 0);
  t.same(
    descriptions()
      .slice(sofar)
      .map(({ text }) => readDescription(text).removed),
    [['label_tone_1', 'threshold_tone_1']],
    'and nothing else',
  );
  t.same(complaints(stub.entities, console.messages), []);

  // Another id, another base and another prefix: it is another device at another place.
  const moved = await home(t, broker.url, 'loft', 'ha');
  service = live({
    DEVICE_ID: 'loft',
    MQTT_BASE_TOPIC: 'site',
    HOMEASSISTANT_PREFIX: 'ha',
    TAGGING_LABELS: '["Tone 0"]',
  });
  await probe.next(topic, ({ text }) => text === '');
  const there = await moved.described();
  t.same(
    ownNames(there.entities).filter((name) => !/^site\/loft\/|soundpost_loft_/.test(name)),
    [],
  );
  t.same(there.removed, [], 'a new place has nothing to take away');
  t.equal(await service.stop(), 0);

  // Home Assistant is switched off.
  const known = moved.probe.messages.length;
  service = live({
    DEVICE_ID: 'loft',
    MQTT_BASE_TOPIC: 'site',
    HOMEASSISTANT_PREFIX: 'ha',
    HOMEASSISTANT_ENABLED: 'false',
    TAGGING_LABELS: '["Tone 0"]',
  });
  await moved.probe.next(moved.topic, ({ text }) => text === '');
  const loft = await createProbe(broker.url, ['site/loft/#', 'ha/#', 'homeassistant/#']);
  t.teardown(() => loft.close());
  await loft.next('site/loft/tags', ({ retain }) => !retain, 30_000);
  t.equal(await service.stop(), 0);
  t.same(
    moved.probe.messages.slice(known).map((message) => [message.topic, message.text]),
    [[moved.topic, '']],
  );
  t.same(
    loft.messages.filter((message) => !message.topic.startsWith('site/loft/')),
    [],
    'nothing is left at the broker',
  );
  t.notOk(
    loft.messages.some((message) => message.topic.startsWith('site/loft/install/')),
    'nor what could be installed',
  );
});
