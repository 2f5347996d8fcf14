import t from 'tap';
import { freePort } from '../support/broker.js';
import { startFileServer } from '../support/file-server.js';
import { readFile } from 'node:fs/promises';
import { complaintsAbout, skipWithoutHome } from '../support/home-assistant-program.js';
import { createHomeRig } from '../support/home-assistant-rig.js';
import { createProbe } from '../support/mqtt-probe.js';
import { createConsole } from '../support/service.js';
import { sharedPath, skipWithoutShared } from '../support/shared.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

/* What comes, goes and changes its name, as the real Home Assistant shows it. */

const skip = skipWithoutHome || skipWithout('mosquitto');
const birdOf = (id: string) => `binary_sensor.soundpost_${id}_label_bird`;
const isSwitched = (now: { state: string } | undefined) => now?.state === 'on' || now?.state === 'off';

t.test('two boxes, each by itself', { skip, timeout: 900_000 }, async (t) => {
  const rig = await createHomeRig(t);
  const { home, broker } = rig;
  const { client } = home;
  const [attic, cellar] = [await rig.box('attic'), await rig.box('cellar')];
  for (const id of ['attic', 'cellar']) await client.until(birdOf(id), isSwitched);
  const devices = async () =>
    (await client.devices()).filter(({ manufacturer }) => manufacturer === 'Soundpost');

  await t.test('they are two devices, and what one is told the other does not do', async (t) => {
    t.same((await devices()).map(({ name }) => name).sort(), ['Attic', 'Cellar']);
    await client.call('switch.turn_on', 'switch.soundpost_attic_paused');
    await client.until('switch.soundpost_attic_paused', (now) => now?.state === 'on');
    await client.call('number.set_value', 'number.soundpost_cellar_threshold', { value: 0.6 });
    await client.until('number.soundpost_cellar_threshold', (now) => now?.state === '0.6');
    t.equal(client.state('switch.soundpost_cellar_paused')?.state, 'off');
    t.equal(client.state('number.soundpost_attic_threshold')?.state, 'unknown');
    await client.call('switch.turn_off', 'switch.soundpost_attic_paused');
  });

  await t.test('a label that goes disappears, and one that comes appears', async (t) => {
    const console = await createConsole(t, broker.url, 'attic');
    await console.request('labels/set', { labels: ['Speech', 'Bark'] });
    await client.until('binary_sensor.soundpost_attic_label_bark', isSwitched);
    await client.until<undefined>(birdOf('attic'), (now) => now === undefined);
    await until(
      async () => !(await rig.ours()).some(({ entity_id: id }) => id === birdOf('attic')),
      'no entry of it either',
      30,
      500,
    );
    t.ok(client.state(birdOf('cellar')), 'the other box keeps its own');
  });

  await t.test('a box that is renamed keeps its entities, and what they are called', async (t) => {
    const before = (await rig.ours()).map(({ entity_id: id }) => id).sort();
    await cellar.service.stop();
    await client.until(birdOf('cellar'), (now) => now?.state === 'unavailable');
    await rig.box('cellar', { DEVICE_NAME: 'Wine cellar' }, cellar.dataDir);
    await client.until(birdOf('cellar'), (now) => now?.attributes['friendly_name'] === 'Wine cellar Bird');
    t.same((await devices()).map(({ name }) => name).sort(), ['Attic', 'Wine cellar']);
    t.same((await rig.ours()).map(({ entity_id: id }) => id).sort(), before);
  });

  const clean = complaintsAbout(home.lines);
  t.same(clean, [], 'nothing of ours in its log');

  await t.test('what others leave at the topics of descriptions does no harm', async (t) => {
    const probe = await createProbe(broker.url, ['homeassistant/status']);
    t.teardown(() => probe.close());
    const retained = { retain: true };
    const device = 'homeassistant/device';
    const garbage = [
      'no JSON',
      '{}',
      '[]',
      'null',
      '{"device":{},"components":{}}',
      '\u0000',
      '{"components":[1]}',
    ];
    for (const [index, text] of garbage.entries()) {
      await probe.publish(`${device}/soundpost_ghost${index}/config`, text, retained);
      await probe.publish(`${device}/soundpost_attic/config`, text, retained);
      await probe.publish(`${device}/soundpost_attic/part_2/config`, text, retained);
    }
    const ids = (await rig.ours()).map(({ entity_id: id }) => id).sort();
    await client.call('switch.turn_on', 'switch.soundpost_attic_paused');
    await client.until('switch.soundpost_attic_paused', (now) => now?.state === 'on');
    // With its next life, or that of Home Assistant, the box says again what is right.
    await home.stop();
    await home.start();
    await home.client.until('switch.soundpost_attic_paused', (now) => now?.state === 'on', 120);
    t.same((await rig.ours()).map(({ entity_id: id }) => id).sort(), ids);
    await attic.service.stop();
    for (const text of garbage) await probe.publish(`${device}/soundpost_attic/config`, text, retained);
    await rig.box('attic', {}, attic.dataDir);
    await home.client.until('binary_sensor.soundpost_attic_label_bark', isSwitched);
  });
});

t.test('several sources are several devices', { skip, timeout: 600_000 }, async (t) => {
  const rig = await createHomeRig(t);
  const { client } = rig.home;
  const sources = [
    { name: 'nursery', source: 'demo', labels: ['Bird'] },
    { name: 'front-yard', source: 'demo', labels: ['Speech', 'Bird'], calibration_db: 110 },
    { name: 'camera', source: 'stream', url: `http://127.0.0.1:${await freePort()}/` },
  ];
  const { service, dataDir } = await rig.box('house', {
    AUDIO_SOURCES: JSON.stringify(sources),
    AUDIO_SOURCE: 'auto',
  });
  await client.until(birdOf('house_nursery'), isSwitched);
  await client.until(birdOf('house_front_yard'), isSwitched);
  await client.until(birdOf('house_camera'), (now) => now?.state === 'unavailable');
  await client.until('binary_sensor.soundpost_house_camera_microphone', (now) => now?.state === 'on');
  const devices = (await client.devices()).filter(({ manufacturer }) => manufacturer === 'Soundpost');
  const box = devices.find(({ via_device_id: via }) => via === null);
  t.equal(box?.name, 'House');
  t.same(
    devices
      .filter(({ via_device_id: via }) => via === box?.id)
      .map(({ name }) => name)
      .sort(),
    ['House Camera', 'House Front yard', 'House Nursery'],
  );
  await client.until('sensor.soundpost_house_front_yard_sound_pressure', (now) => Number(now?.state) > 0);
  await client.call('switch.turn_on', 'switch.soundpost_house_nursery_paused');
  await client.until('switch.soundpost_house_nursery_paused', (now) => now?.state === 'on');
  t.equal(client.state('switch.soundpost_house_front_yard_paused')?.state, 'off');
  t.equal(client.state('switch.soundpost_house_paused')?.state, 'off');
  await client.call('switch.turn_on', 'switch.soundpost_house_paused');
  await client.until('switch.soundpost_house_front_yard_paused', (now) => now?.state === 'on');

  // The threshold of a label at one source only.
  for (const source of ['nursery', 'front_yard']) {
    const entity = { entity_id: `number.soundpost_house_${source}_threshold_bird`, disabled_by: null };
    await client.ask('config/entity_registry/update', entity);
  }
  const ofNursery = 'number.soundpost_house_nursery_threshold_bird';
  await client.until(ofNursery, (now) => Number(now?.state) > 0, 120);
  await client.call('number.set_value', ofNursery, { value: 0.81 });
  await client.until(ofNursery, (now) => now?.state === '0.81');
  await client.until(
    'number.soundpost_house_front_yard_threshold_bird',
    (now) => Number(now?.state) > 0 && now?.state !== '0.81',
  );

  await service.stop();
  await rig.box(
    'house',
    { AUDIO_SOURCES: JSON.stringify(sources.slice(0, 2)), AUDIO_SOURCE: 'auto' },
    dataDir,
  );
  await client.until<undefined>(birdOf('house_camera'), (now) => now === undefined);
  await until(
    async () => !(await client.devices()).some(({ name }) => name === 'House Camera'),
    'the device of the source that is gone to go',
    90,
    500,
  );
  t.same(complaintsAbout(rig.home.lines), [], 'nothing of ours in its log');
});

t.test(
  'a model is installed by its update',
  { skip: skip || skipWithoutShared(), timeout: 600_000 },
  async (t) => {
    const rig = await createHomeRig(t);
    const { client } = rig.home;
    const mirror = await startFileServer(t);
    const file = 'mn04_as_mAP_432.pt';
    mirror.files.set(`/${file}`, await readFile(sharedPath('checkpoints', file)));
    mirror.mischief.set('*', { slowMs: 50 });
    await rig.box('attic', { MODELS_MIRROR: mirror.url, HOMEASSISTANT_MODELS: '["mn04_as"]' });
    const id = 'update.soundpost_attic_install_mn04_as';
    const { attributes } = await client.until(id, (now) => now?.state === 'on');
    t.match(attributes, {
      installed_version: 'not installed',
      latest_version: 'mn04_as_mAP_432',
      in_progress: false,
      release_summary: /mAP/,
      supported_features: 1 | 4,
    });
    await client.call('update.install', id);
    await client.until(id, (now) => now?.state === 'off', 180);
    const seen = client.changes.flatMap(({ entityId, now }) =>
      entityId === id && now !== null ? [now] : [],
    );
    const progress = seen
      .filter((now) => now.attributes['in_progress'] === true)
      .flatMap((now) =>
        typeof now.attributes['update_percentage'] === 'number' ? [now.attributes['update_percentage']] : [],
      );
    t.ok(progress.length > 2, `progress: ${progress.join(' ')}`);
    t.same(
      progress,
      [...progress].sort((a, b) => a - b),
      'only forward',
    );
    const select = 'select.soundpost_attic_model';
    await client.until(select, (now) => (now?.attributes['options'] as string[]).includes('mn04_as'));
    await client.call('select.select_option', select, { option: 'mn04_as' });
    await client.until(select, (now) => now?.state === 'mn04_as');
    t.same(complaintsAbout(rig.home.lines), [], 'nothing of ours in its log');
  },
);
