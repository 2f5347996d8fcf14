import t from 'tap';
import { z } from 'zod';
import { complaintsAbout, skipWithoutHome } from '../support/home-assistant-program.js';
import { createHomeRig } from '../support/home-assistant-rig.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

/* The blueprints, filled in as somebody would, in the real Home Assistant with a box that hears the demo recording. */

const skip = skipWithoutHome || skipWithout('mosquitto');

const AUTOMATIONS = `
- id: started
  alias: Started
  use_blueprint:
    path: soundpost/sound_starts.yaml
    input:
      sound_event: event.soundpost_attic_event
      sounds: [Bird]
- id: ended
  alias: Ended
  use_blueprint:
    path: soundpost/sound_starts.yaml
    input:
      sound_event: event.soundpost_attic_event
      moment: ended
      page: http://192.168.1.20:8099
- id: nothing
  alias: Nothing
  use_blueprint:
    path: soundpost/sound_starts.yaml
    input:
      sound_event: event.soundpost_attic_event
      sounds: [Chainsaw]
      actions:
        - action: persistent_notification.create
          data: { message: no such sound }
- id: alarm
  alias: Alarm
  use_blueprint:
    path: soundpost/smoke_alarm.yaml
    input:
      alarms: [binary_sensor.soundpost_attic_label_smoke_alarm]
      again: { milliseconds: 300 }
      ended:
        - action: persistent_notification.create
          data: { message: 'It is over: {{ alarm }}' }
- id: baby
  alias: Baby
  use_blueprint:
    path: soundpost/baby_cries.yaml
    input:
      baby: binary_sensor.soundpost_attic_label_baby
      quiet: { seconds: 1 }
      ended:
        - action: persistent_notification.create
          data: { message: The baby is quiet. }
`;

const notifications = z.array(z.object({ title: z.string().nullable(), message: z.string() }));

t.test('the blueprints', { skip, timeout: 900_000 }, async (t) => {
  const rig = await createHomeRig(t, { automations: AUTOMATIONS, blueprints: true });
  const { client } = rig.home;
  for (const id of ['started', 'ended', 'nothing', 'alarm', 'baby']) {
    await client.until(`automation.${id}`, (now) => now?.state === 'on');
  }
  const said = async () =>
    notifications.parse(await client.ask('persistent_notification/get')).map(({ message }) => message);
  const untilSaid = async (text: RegExp) => {
    let all: string[] = [];
    await until(
      async () => (all = await said()).some((message) => text.test(message)),
      () => `${String(text)} among:\n${all.join('\n')}`,
      120,
      200,
    );
    return all;
  };
  await rig.box('attic', {
    CLIPS_ENABLED: 'true',
    CLIPS_SPEECH: 'keep',
    // The birds of the demo recording stand in for what nobody wants to record.
    TAGGING_LABELS: JSON.stringify([
      'Bird',
      { name: 'Smoke alarm', labels: ['Bird'], device_class: 'smoke' },
      { name: 'Baby', labels: ['Bird'] },
    ]),
  });

  await t.test('a sound is told of by its name when it starts', async () => {
    await untilSaid(/^Bird$/);
  });
  await t.test('and with its length and its recording when it has ended', async () => {
    await untilSaid(
      /^Bird \(\d+\.\d s\): \[recording\]\(http:\/\/192\.168\.1\.20:8099\/api\/clips\/[\w-]+\)$/,
    );
  });
  await t.test('an alarm is told of again while it goes on, and its end once', async (t) => {
    await untilSaid(/^It is over: Attic Smoke alarm$/);
    const alarms = (await said()).filter((text) => text === 'Attic Smoke alarm: a smoke alarm is heard.');
    t.ok(alarms.length > 1, `${alarms.length} times`);
  });
  await t.test('the baby is told of, and that it is quiet again', async () => {
    await untilSaid(/^The baby cries\.$/);
    await untilSaid(/^The baby is quiet\.$/);
  });
  t.notOk((await said()).includes('no such sound'), 'a sound that was not asked for is not told of');
  const automations = rig.home.lines.filter(
    ({ level, logger }) =>
      ['WARNING', 'ERROR'].includes(level) && /automation|blueprint|template/.test(logger),
  );
  t.same(automations, []);
  t.same(complaintsAbout(rig.home.lines), []);
});
