import t from 'tap';
import { skipWithoutHome, complaintsAbout } from '../support/home-assistant-program.js';
import { createHomeRig } from '../support/home-assistant-rig.js';
import type { ServiceProcess } from '../support/service.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

/* Home Assistant, the broker and the service, ended and started again in every order. The broker forgets everything. */

const skip = skipWithoutHome || skipWithout('mosquitto');

type Part = 'home' | 'broker' | 'service';
const ORDERS: readonly (readonly Part[])[] = [
  ['home'],
  ['broker'],
  ['service'],
  ['home', 'broker', 'service'],
  ['home', 'service', 'broker'],
  ['broker', 'home', 'service'],
  ['broker', 'service', 'home'],
  ['service', 'home', 'broker'],
  ['service', 'broker', 'home'],
];

/** “That was it” is available while a sound is being taught only. */
const WAITING = 1;

t.test('all is there again', { skip, timeout: 1_500_000 }, async (t) => {
  const rig = await createHomeRig(t);
  const { home, broker } = rig;
  const { service: first, dataDir } = await rig.box('attic');
  let service: ServiceProcess = first;
  const bird = 'binary_sensor.soundpost_attic_label_bird';
  await home.client.until(bird, (now) => now?.state === 'on' || now?.state === 'off');
  await home.client.until('select.soundpost_attic_model', (now) => now?.state === 'soundpost-home');
  const ids = () => rig.ours().then((entries) => entries.map(({ entity_id: id }) => id).sort());
  const all = await ids();
  await until(
    async () => (await rig.available()).length >= all.length - (await hidden()) - WAITING,
    'all of them',
    60,
    500,
  );
  const there = await rig.available();

  // What its owner made of them.
  await home.client.ask('config/entity_registry/update', { entity_id: bird, name: 'A bird!' });
  const renamed = 'sensor.loudness_of_the_attic';
  await home.client.ask('config/entity_registry/update', {
    entity_id: 'sensor.soundpost_attic_level',
    new_entity_id: renamed,
  });
  await home.client.call('number.set_value', 'number.soundpost_attic_threshold', { value: 0.35 });
  await home.client.until('number.soundpost_attic_threshold', (now) => now?.state === '0.35');
  const expected = there.map((id) => (id === 'sensor.soundpost_attic_level' ? renamed : id)).sort();

  const stop: Record<Part, () => Promise<unknown>> = {
    home: () => home.stop(),
    broker: () => broker.crash(),
    service: () => service.stop(),
  };
  const start: Record<Part, () => Promise<unknown>> = {
    home: () => home.start(),
    broker: () => broker.revive(),
    service: async () => ({ service } = await rig.box('attic', {}, dataDir)),
  };

  for (const order of ORDERS) {
    await t.test(order.join(', '), async (t) => {
      for (const part of order) await stop[part]();
      for (const part of order) await start[part]();
      await until(
        async () => {
          const now = await rig.available();
          return expected.every((id) => now.includes(id));
        },
        () => `all but ${expected.filter((id) => home.client.state(id)?.state === 'unavailable').join(', ')}`,
        120,
        500,
      );
      const { client } = home;
      t.equal(
        (await client.until(bird, (now) => now?.state !== 'unknown')).attributes['friendly_name'],
        'Attic A bird!',
      );
      await client.until('number.soundpost_attic_threshold', (now) => now?.state === '0.35');
      await client.until('select.soundpost_attic_model', (now) => now?.state === 'soundpost-home');
      await client.until(renamed, (now) => !Number.isNaN(Number(now?.state)));
      t.same((await rig.ours()).length, all.length, 'none twice and none more');
      // It still does what it is told.
      await client.call('switch.turn_on', 'switch.soundpost_attic_paused');
      await client.until('switch.soundpost_attic_paused', (now) => now?.state === 'on');
      await client.call('switch.turn_off', 'switch.soundpost_attic_paused');
      await client.until('switch.soundpost_attic_paused', (now) => now?.state === 'off');
    });
  }
  // It says of the broker that it has gone, and cannot greet it when it goes again at once.
  const ofTheBroker = /\bMQTT server\b|Error talking to MQTT: The client is not currently connected/;
  t.same(
    complaintsAbout(home.lines).filter((line) => !ofTheBroker.test(line)),
    [],
    'nothing of ours in its log',
  );

  async function hidden() {
    return (await rig.ours()).filter(({ disabled_by: by }) => by !== null).length;
  }
});
