import t from 'tap';
import type { InstallPayload, StatePayload } from '../../src/mqtt/contract.js';
import { startMosquitto, type Mosquitto } from '../support/broker.js';
import type { HomeEntity } from '../support/home-assistant-schema.js';
import { complaints, home, states } from '../support/home-assistant.js';
import { updateAvailable } from '../support/home-assistant-state.js';
import { createProbe } from '../support/mqtt-probe.js';
import { beep, looped, sound, start, stopsCleanly } from '../support/service-rig.js';
import { sharedPath, skipWithoutShared } from '../support/shared.js';
import { makeSysFolder } from '../support/sys-folders.js';
import { skipWithout } from '../support/tools.js';

/* The real service and a real broker; Home Assistant's part is played by its own rules. */

const skip = skipWithout('mosquitto', 'mosquitto_passwd');
const noShared = skipWithoutShared();

t.jobs = 2;

let broker: Mosquitto | undefined;
t.before(async () => {
  if (skip === false) broker = await startMosquitto({ config: ['set_tcp_nodelay true'] });
});
t.teardown(() => broker?.stop());

const on = { HOMEASSISTANT_ENABLED: 'true' };

t.test('a device with all that belongs to it, both ways', { skip }, async (t) => {
  const sys = makeSysFolder('pi4');
  t.teardown(() => sys.remove());
  const { url } = broker!;
  const started = await start(
    t,
    url,
    {
      ...looped,
      ...on,
      DEVICE_NAME: 'Küche "Nord"',
      HOMEASSISTANT_PREFIX: 'site/ha',
      INFERENCE_RATE_HZ: '4',
      TELEMETRY_INTERVAL_SECONDS: '1',
      TELEMETRY_SYS_ROOT: sys.sysRoot,
      TAGGING_LABELS: '["Tone 0", {"name": "Any tone", "labels": ["Tone 1", "Tone 2"]}]',
      TAGGING_MIN_GAP_SECONDS: '0.5',
    },
    sound(beep(5, 0.2)),
  );
  const { console, id } = started;
  const { probe, described, topic } = await home(t, url, id, 'site/ha');
  const { entities, text } = await described();
  t.match(JSON.parse(text), {
    device: { identifiers: [`soundpost_${id}`], name: 'Küche "Nord"' },
    availability: [{ topic: `soundpost/${id}/status` }],
  });
  const late = await createProbe(url, [topic]);
  t.ok((await late.next(topic)).retain, 'it lies at the broker');
  await late.close();
  t.same(
    [...entities.keys()].filter((key) => key.startsWith('label_')),
    ['label_tone_0', 'label_any_tone'],
  );
  t.same(entities.get('model')?.config['options'], ['soundpost-home', 'tone-waveform']);

  // What is heard, and what the machine says.
  await console.word('label/tone_0', (word) => word === 'ON');
  await console.word('label/tone_0', (word) => word === 'OFF');
  await console.on('level');
  await console.on('telemetry', (now: { latency_ms: { count: number } }) => now.latency_ms.count > 0);
  const last = (key: string) => states(entities.get(key), console.messages).at(-1);
  t.equal(last('soc_temperature'), 61.2);
  t.equal(last('under_voltage'), false);
  t.type(last('latency_p95'), 'number');
  t.type(last('level'), 'number');
  t.match(last('top_tag'), /^Tone \d$/);
  t.equal(last('label_tone_0'), false);
  t.ok(states(entities.get('label_tone_0'), console.messages).includes(true));
  t.same(
    states(entities.get('event'), console.messages)
      .slice(0, 2)
      .map((event) => (event as { event_type: string }).event_type),
    ['started', 'ended'],
  );
  t.equal(last('microphone'), false);
  t.equal(last('throttling'), false);
  t.equal(last('threshold'), null, 'each label has the threshold of its model');
  t.equal(updateAvailable(last('install_mn10_as') as Record<string, unknown>), true);

  // Everything that Home Assistant can send is taken, and shows in the state.
  const send = async (key: string, payload: string) => {
    const command = String(entities.get(key)?.config['command_topic']);
    await probe.publish(command, payload);
    const name = command.slice(console.base.length + 1).replace(/^request\//, '');
    return console.on(`response/${name}`);
  };
  t.match(await send('rate', '2.5'), { status: 'ok' });
  t.match(await send('threshold', '0.4'), { status: 'ok' });
  t.match(await send('paused', 'ON'), { status: 'ok' });
  await console.on('state', ({ paused }: StatePayload) => paused);
  t.same(['rate', 'threshold', 'paused'].map(last), [2.5, 0.4, true]);
  t.match(await send('paused', 'OFF'), { status: 'ok' });
  t.match(await send('model', 'soundpost-home'), { status: 'ok' });
  await console.on('state', ({ model, paused }: StatePayload) => model === 'soundpost-home' && !paused);
  t.equal(last('paused'), false);
  // A model that does not know the labels: they stay, unavailable, until one does.
  const needed = (now: Map<string, HomeEntity>, key: string) =>
    (now.get(key)?.config['availability'] as object[] | undefined)?.length;
  const labels = ['label_tone_0', 'label_any_tone'];
  const changed = await described((now) => labels.every((key) => needed(now, key) === 3));
  t.same(changed.removed, []);
  t.equal(last('model'), 'soundpost-home', 'an option all the time');
  t.match(await send('model', 'tone-waveform'), { status: 'ok' });
  const back = await described((now) => labels.every((key) => needed(now, key) === 2));
  t.same(back.removed, []);

  // Home Assistant has started: its topic does not follow the prefix.
  await probe.publish('homeassistant/status', 'online');
  t.equal((await described()).text, back.text);

  // Labels that are chosen remotely come and go.
  t.match(await console.request('labels/set', { labels: ['Tone 1'] }), { status: 'ok' });
  const stubs = await described((now) => now.has('label_tone_1'));
  t.same(stubs.removed.sort(), ['label_any_tone', 'label_tone_0', 'threshold_any_tone', 'threshold_tone_0']);
  t.same(
    [...stubs.entities.keys()].filter((key) => key.startsWith('label_')),
    ['label_tone_1'],
  );

  t.same(complaints(entities, console.messages), []);
  t.match(await send('restart', String(entities.get('restart')?.config['payload_press'])), { status: 'ok' });
  await started.service.exited;
});

t.test('a model is installed from Home Assistant', { skip: skip || noShared }, async (t) => {
  const settings = {
    ...looped,
    ...on,
    MODELS_MIRROR: sharedPath('checkpoints'),
    HOMEASSISTANT_MODELS: '["mn04_as"]',
  };
  const started = await start(t, broker!.url, settings, sound(beep(5, 0.2)));
  const { console, id } = started;
  const { probe, described } = await home(t, broker!.url, id);
  const { entities } = await described();
  const update = entities.get('install_mn04_as');
  t.same(
    [...entities.keys()].filter((key) => key.startsWith('install_')),
    ['install_mn04_as'],
  );
  await console.on('install/mn04_as', ({ in_progress }: InstallPayload) => !in_progress);
  await probe.publish(String(update?.config['command_topic']), String(update?.config['payload_install']));
  await described((now) => (now.get('model')?.config['options'] as string[]).includes('mn04_as'));
  await console.on('install/mn04_as', (now: InstallPayload) => now.installed_version === now.latest_version);
  const seen = states(update, console.messages) as Record<string, unknown>[];
  t.same(
    seen.map(updateAvailable),
    seen.map((_, index) => index < seen.length - 1),
    'offered until it is there',
  );
  const progress = seen
    .filter((now) => now['in_progress'] === true)
    .map((now) => Number(now['update_percentage']));
  t.ok(progress.length > 0);
  t.same(
    progress,
    [...progress].sort((a, b) => a - b),
    'and on the way it only goes forward',
  );
  t.equal(seen.at(-1)?.['in_progress'], false);

  t.match(await console.request('model/remove', { id: 'mn04_as' }), { status: 'ok' });
  await console.on('install/mn04_as', (now: InstallPayload) => now.installed_version === 'not installed');
  await described((now) => !(now.get('model')?.config['options'] as string[]).includes('mn04_as'));
  t.same(
    complaints(
      entities,
      console.messages.filter(({ topic }) => !topic.endsWith('/state')),
    ),
    [],
  );
  await stopsCleanly(t, started);
});
