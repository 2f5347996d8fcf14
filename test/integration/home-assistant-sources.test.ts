import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { StatePayload } from '../../src/mqtt/contract.js';
import { freePort, startMosquitto } from '../support/broker.js';
import { complaints, home, isAvailable, states } from '../support/home-assistant.js';
import { discoveredAs, type HomeEntity } from '../support/home-assistant-schema.js';
import { createProbe } from '../support/mqtt-probe.js';
import { writeWav } from '../support/service.js';
import { beep, start, stopsCleanly } from '../support/service-rig.js';
import { tone, WAVEFORM_RATE, waveformTonesHz } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';

/* The devices of a real service with several sources, as Home Assistant has them by its own rules. */

const skip = skipWithout('mosquitto', 'mosquitto_passwd', 'ffmpeg');

/** How long what goes stays at the broker as going is 45 s. */
const GONE_WITHIN_MS = 120_000;

/** Two recordings and a camera that is not there; the name of the second ends like a further part would by a number. */
const names = ['yard', 'front-room_2', 'camera'] as const;
type Name = (typeof names)[number];

async function recordings(dataDir: string): Promise<void> {
  const second = tone(3100, 5, WAVEFORM_RATE, 0.01);
  second.set(tone(waveformTonesHz(3)[1]!, 1.5, WAVEFORM_RATE, 0.2), 2 * WAVEFORM_RATE);
  await writeWav(join(dataDir, 'yard.wav'), beep(5, 0.2), WAVEFORM_RATE);
  await writeWav(join(dataDir, 'front.wav'), second, WAVEFORM_RATE);
}

/** @param deadPort where nobody listens */
const listOf = (deadPort: number) =>
  JSON.stringify([
    { name: 'yard', source: 'file', file: 'yard.wav', loop: true, labels: ['Tone 0'] },
    { name: 'front-room_2', source: 'file', file: 'front.wav', loop: true, calibration_db: 120 },
    { name: 'camera', source: 'stream', url: `http://127.0.0.1:${deadPort}/sound` },
  ]);

t.test('three sources, one of them offline: their devices, both ways', { skip }, async (t) => {
  const broker = await startMosquitto({ config: ['set_tcp_nodelay true'] });
  t.teardown(() => broker.stop());
  const started = await start(
    t,
    broker.url,
    {
      HOMEASSISTANT_ENABLED: 'true',
      DEVICE_NAME: 'House',
      AUDIO_SOURCES: listOf(await freePort()),
      TAGGING_LABELS: '["Tone 0", "Tone 1"]',
      TAGGING_MIN_GAP_SECONDS: '0.5',
      INFERENCE_RATE_HZ: '4',
      TELEMETRY_INTERVAL_SECONDS: '1',
    },
    recordings,
  );
  const { console, id } = started;
  const ofBox = await home(t, broker.url, id);
  const { probe } = ofBox;
  const box = await ofBox.described();
  const described = await Promise.all(names.map((name) => ofBox.source(name).described()));
  const sources = Object.fromEntries(names.map((name, index) => [name, described[index]!])) as Record<
    Name,
    (typeof described)[number]
  >;
  const devices = [box, ...described];
  const topics = [ofBox.topic, ...names.map((name) => ofBox.source(name).topic)];
  const lastOf = (entities: Map<string, HomeEntity>, key: string) =>
    states(entities.get(key), console.messages).at(-1);

  await t.test('every device is one that Home Assistant takes', async (t) => {
    const announced = probe.messages.filter(({ text }) => text !== '').map(({ topic }) => topic);
    t.same([...new Set(announced)].sort(), [...topics].sort(), 'and no others are there');
    const known = topics.map((topic) => discoveredAs('homeassistant', topic));
    t.notOk(known.includes(null), 'at topics that it reads');
    t.equal(new Set(known).size, topics.length, 'each as another one');
    t.match(
      devices.map(({ text }) => (JSON.parse(text) as { device: object }).device),
      [
        { identifiers: [`soundpost_${id}`], name: 'House', via_device: undefined },
        { identifiers: [`soundpost_${id}:yard`], name: 'House Yard', via_device: `soundpost_${id}` },
        { identifiers: [`soundpost_${id}:front-room_2`], name: 'House Front room 2' },
        { identifiers: [`soundpost_${id}:camera`], name: 'House Camera' },
      ],
    );
    const all = devices.flatMap(({ entities }) => [...entities.values()]);
    for (const key of ['unique_id', 'default_entity_id']) {
      t.equal(new Set(all.map(({ config }) => config[key])).size, all.length, `every ${key} comes once`);
    }
    t.same(
      devices.map(({ removed }) => removed),
      devices.map(() => []),
    );
    const labels = devices.map(({ entities }) => [...entities.keys()].filter((key) => /^label_/.test(key)));
    const both = ['label_tone_0', 'label_tone_1'];
    t.same(labels, [[], ['label_tone_0'], both, both]);
    t.same(
      devices.map(({ entities }) => entities.has('sound_pressure')),
      [false, false, true, false],
      'only where it is known how loud full scale is',
    );
    const late = await createProbe(broker.url, ['homeassistant/#']);
    t.teardown(() => late.close());
    for (const [index, topic] of topics.entries()) {
      const { retain, text } = await late.next(topic);
      t.strictSame([retain, text], [true, devices[index]!.text], 'it lies at the broker');
    }
  });

  await t.test('each shows what is heard there', async (t) => {
    await console.word('source/yard/label/tone_0', (word) => word === 'ON');
    await console.word('source/front-room_2/label/tone_1', (word) => word === 'ON');
    await console.word('source/front-room_2/label/tone_1', (word) => word === 'OFF');
    await console.on('source/front-room_2/level');
    for (const [index, name] of names.entries()) {
      const expected = index < 2 ? 'online' : 'offline';
      await console.word(`source/${name}/audio/status`, (word) => word === expected);
    }
    await console.on<StatePayload>('state', ({ sources }) =>
      sources!.every(({ audio }, index) => audio === (index < 2 ? 'online' : 'offline')),
    );
    const seen = names.map((name) => {
      const { entities } = sources[name];
      return [
        lastOf(entities, 'microphone'),
        isAvailable(entities.get('top_tag')!, console.messages),
        isAvailable(entities.get('label_tone_0')!, console.messages),
        isAvailable(entities.get('paused')!, console.messages),
      ];
    });
    const there = [false, true, true, true];
    t.same(seen, [there, there, [true, false, false, true]]);
    const { entities: front } = sources['front-room_2'];
    t.same([...new Set(states(front.get('label_tone_1'), console.messages))].sort(), [false, true]);
    t.type(lastOf(front, 'sound_pressure'), 'number');
    t.match(lastOf(front, 'event'), { label: 'Tone 1', source: 'front-room_2' });
    const heard = states(sources.yard.entities.get('event'), console.messages);
    t.same([...new Set(heard.map((event) => (event as { label: string }).label))], ['Tone 0']);
    t.same([lastOf(box.entities, 'paused'), lastOf(box.entities, 'threshold')], [false, null]);
  });

  /** What the switch and the number of each source show. */
  const shown = () =>
    names.map((name) => ['paused', 'threshold'].map((key) => lastOf(sources[name].entities, key)));
  /** Sends what the entity would, awaits the reply and the state that follows from it. */
  const send = async (t: Test, of: Name | null, key: string, expected: unknown[][], payload?: string) => {
    const { config } = (of === null ? box : sources[of]).entities.get(key)!;
    const topic = String(config['command_topic']);
    await probe.publish(topic, payload ?? String(config['payload_press']));
    const command = topic.split('/').slice(-2).join('/');
    const { status, data } = await console.on<{ status: string; data: { source?: string } }>(
      `response/${command}`,
    );
    t.strictSame([status, data.source], ['ok', of ?? undefined], `${of ?? 'all'}: ${key}`);
    const fits = ({ sources: now }: StatePayload) =>
      now!.every(
        ({ paused, threshold }, index) => paused === expected[index]![0] && threshold === expected[index]![1],
      );
    await console.on<StatePayload>('state', fits);
    t.same(shown(), expected, 'and it shows that');
  };

  await t.test('what is set there acts on that source only, and comes back', async (t) => {
    await send(
      t,
      'yard',
      'paused',
      [
        [true, null],
        [false, null],
        [false, null],
      ],
      'ON',
    );
    t.equal(lastOf(box.entities, 'paused'), false, 'not all of them are');
    const available = (name: Name) => isAvailable(sources[name].entities.get('top_tag')!, console.messages);
    t.same([available('yard'), available('front-room_2')], [false, true]);
    await send(
      t,
      'front-room_2',
      'threshold',
      [
        [true, null],
        [false, 0.6],
        [false, null],
      ],
      '0.6',
    );
    // What does not arrive now can be set all the same.
    await send(
      t,
      'camera',
      'threshold',
      [
        [true, null],
        [false, 0.6],
        [false, 0.3],
      ],
      '0.3',
    );
    await send(
      t,
      'camera',
      'paused',
      [
        [true, null],
        [false, 0.6],
        [true, 0.3],
      ],
      'ON',
    );
    await send(
      t,
      'yard',
      'paused',
      [
        [false, null],
        [false, 0.6],
        [true, 0.3],
      ],
      'OFF',
    );
    t.ok(available('yard'));
    await send(t, 'front-room_2', 'model_thresholds', [
      [false, null],
      [false, null],
      [true, 0.3],
    ]);
  });

  await t.test('the box sets it for all of them', async (t) => {
    await send(
      t,
      null,
      'paused',
      [
        [true, null],
        [true, null],
        [true, 0.3],
      ],
      'ON',
    );
    t.equal(lastOf(box.entities, 'paused'), true);
    await send(
      t,
      null,
      'paused',
      [
        [false, null],
        [false, null],
        [false, 0.3],
      ],
      'OFF',
    );
    await send(
      t,
      null,
      'threshold',
      [
        [false, 0.45],
        [false, 0.45],
        [false, 0.45],
      ],
      '0.45',
    );
    t.equal(lastOf(box.entities, 'threshold'), 0.45);
    await send(t, null, 'model_thresholds', [
      [false, null],
      [false, null],
      [false, null],
    ]);
  });

  await t.test('Home Assistant that has just started is told of all of them again', async (t) => {
    await probe.publish('homeassistant/status', 'online');
    const again = await Promise.all([ofBox, ...names.map(ofBox.source)].map((device) => device.described()));
    t.same(
      again.map(({ text }) => text),
      devices.map(({ text }) => text),
    );
    for (const { entities } of devices) t.same(complaints(entities, console.messages), []);
  });

  await t.test('with one source the devices of the others go, and it comes back to the box', async (t) => {
    await stopsCleanly(t, started);
    const one = await started.again({
      AUDIO_SOURCES: '',
      AUDIO_SOURCE: 'file',
      AUDIO_FILE: 'yard.wav',
      AUDIO_LOOP: 'true',
    });
    const { entities, removed } = await ofBox.described((now) => now.has('label_tone_0'));
    t.same(removed, []);
    for (const key of ['top_tag', 'level', 'microphone', 'label_tone_1']) t.ok(entities.has(key), key);
    t.equal(entities.get('label_tone_0')!.config['state_topic'], `soundpost/${id}/label/tone_0`);
    for (const name of names) {
      const going = await ofBox.source(name).described((_, gone) => gone.length > 0);
      t.equal(going.entities.size, 0, `nothing of ${name} stays`);
      t.same(going.removed.sort(), [...sources[name].entities.keys()].sort());
    }
    await one.console.word('label/tone_0', (word) => word === 'ON');
    await Promise.all(
      names.map((name) => probe.next(ofBox.source(name).topic, ({ text }) => text === '', GONE_WITHIN_MS)),
    );
    const late = await createProbe(broker.url, ['homeassistant/#', `soundpost/${id}/source/#`]);
    t.teardown(() => late.close());
    // What is kept comes before what is published after the subscription.
    await late.publish('homeassistant/fence', 'x');
    await late.next('homeassistant/fence');
    t.same(
      late.messages.filter(({ retain }) => retain).map(({ topic }) => topic),
      [ofBox.topic],
      'nothing is left of them at the broker',
    );
    t.same(complaints(entities, one.console.messages), []);
    await stopsCleanly(t, one);
  });
});
