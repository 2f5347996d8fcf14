import { join } from 'node:path';
import t from 'tap';
import type {
  EventPayload,
  InfoPayload,
  LevelPayload,
  StatePayload,
  TagsPayload,
  TelemetryPayload,
} from '../../src/mqtt/contract.js';
import { startMosquitto, type Mosquitto } from '../support/broker.js';
import { writeWav, type Settings } from '../support/service.js';
import { gaps, start, stopsCleanly } from '../support/service-rig.js';
import { installToneModel, tone, waveformTonesHz } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

const noMosquitto = skipWithout('mosquitto', 'mosquitto_passwd');
const RATE = 16_000;

t.jobs = 2;

let broker: Mosquitto | undefined;
t.before(async () => {
  if (noMosquitto === false) broker = await startMosquitto({ config: ['set_tcp_nodelay true'] });
});
t.teardown(() => broker?.stop());

/** Six seconds: a quiet tone that no model knows, and for a second and a half one that it does. */
function room(hz: number, from: number, amplitude = 0.3): Float32Array {
  const samples = tone(3100, 6, RATE, 0.01);
  samples.set(tone(hz, 1.5, RATE, amplitude), from * RATE);
  return samples;
}

const rooms = (sounds: Readonly<Record<string, Float32Array>>) => async (dataDir: string) => {
  for (const [name, samples] of Object.entries(sounds)) {
    await writeWav(join(dataDir, `${name}.wav`), samples, RATE);
  }
};

const recording = (name: string, more: object = {}) => ({
  name,
  source: 'file',
  file: `${name}.wav`,
  loop: true,
  ...more,
});

const listOf = (...sources: object[]): Settings => ({ AUDIO_SOURCES: JSON.stringify(sources) });
const quick: Settings = {
  INFERENCE_RATE_HZ: '4',
  TAGGING_MIN_GAP_SECONDS: '0.5',
  TELEMETRY_INTERVAL_SECONDS: '1',
};

t.test('two recordings in one list', { skip: noMosquitto }, async (t) => {
  const started = await start(
    t,
    broker!.url,
    {
      ...quick,
      ...listOf(recording('yard', { labels: ['Tone 0'], threshold: 0.4 }), recording('kitchen')),
      TAGGING_LABELS: '["Tone 0","Tone 1"]',
    },
    rooms({ yard: room(500, 1), kitchen: room(waveformTonesHz(3)[1]!, 3) }),
  );
  const { console, dataDir } = started;
  await installToneModel(dataDir, 'log_mel');

  await t.test('each is told of by itself, and all events in one place', async (t) => {
    const state = await console.on<StatePayload>(
      'state',
      ({ model, sources }) => model !== null && sources!.every(({ audio }) => audio === 'online'),
    );
    t.match(state.sources, [
      { name: 'yard', source: 'file', paused: false, threshold: 0.4, labels: ['Tone 0'] },
      { name: 'kitchen', source: 'file', paused: false, threshold: null, labels: ['Tone 0', 'Tone 1'] },
    ]);
    const [yard, kitchen] = await Promise.all([
      console.on<EventPayload>(
        'event',
        ({ source, event_type }) => source === 'yard' && event_type === 'started',
      ),
      console.on<EventPayload>(
        'event',
        ({ source, event_type }) => source === 'kitchen' && event_type === 'started',
      ),
    ]);
    t.match([yard, kitchen], [{ label: 'Tone 0' }, { label: 'Tone 1' }]);
    t.equal(yard.sources, undefined, 'nothing is put together unless it is asked for');
    t.same(await console.on<EventPayload>('source/yard/event', ({ id }) => id === yard.id), yard);
    await console.word('source/yard/label/tone_0', (text) => text === 'ON');
    await console.word('source/yard/label/tone_0', (text) => text === 'OFF');
    await console.word('source/kitchen/label/tone_1', (text) => text === 'ON');
    t.equal(await console.word('source/yard/audio/status', (text) => text === 'online'), 'online');
    t.equal(await console.word('audio/status', (text) => text === 'online'), 'online');
    const level = await console.on<LevelPayload>('source/kitchen/level');
    t.equal(typeof level.dba_fs, 'number');
    t.same(
      ['tags', 'level', 'label/tone_0'].flatMap((topic) => console.texts(topic)).filter(Boolean),
      [],
      'not the plain topics',
    );
    const { thresholds } = await console.on<InfoPayload>('info');
    t.match(thresholds, [
      { label: 'Tone 0', source: 'yard', threshold: 0.4 },
      { label: 'Tone 0', source: 'kitchen' },
      { label: 'Tone 1', source: 'kitchen' },
    ]);
    const telemetry = await console.on<TelemetryPayload>(
      'telemetry',
      ({ windows }) => windows.processed > 20,
    );
    const { yard: first, kitchen: second } = telemetry.sources!;
    t.equal(first!.processed + second!.processed, telemetry.windows.processed);
    t.ok(Math.abs(first!.processed - second!.processed) <= 4);
  });

  await t.test('a swap loses no window of any', async (t) => {
    t.match(await console.set('model/set', 'tone-logmel'), { status: 'ok' });
    for (const source of ['yard', 'kitchen']) {
      await console.on<TagsPayload>(`source/${source}/tags`, ({ model }) => model === 'tone-logmel');
      t.same(gaps(console, source), [], source);
    }
    t.match(await console.set('model/set', 'tone-waveform'), { status: 'ok' });
  });

  await t.test('commands are for one or for all', async (t) => {
    const latest = () => console.all<StatePayload>('state').at(-1)!;
    const ofSources = async (key: 'paused' | 'threshold', ...values: unknown[]) => {
      const fits = ({ sources }: StatePayload) =>
        sources!.every((source, index) => source[key] === values[index]);
      if (!fits(latest())) await console.on<StatePayload>('state', fits);
    };
    t.match(await console.request('pause', { source: 'yard' }), {
      status: 'ok',
      data: { paused: true, source: 'yard' },
    });
    await ofSources('paused', true, false);
    t.match(latest(), { paused: false }, 'not all are');
    const heard = console.texts('source/yard/tags').length;
    await console.on<TagsPayload>('source/kitchen/tags');
    await console.on<TagsPayload>('source/kitchen/tags');
    t.equal(console.texts('source/yard/tags').length, heard, 'no window of the one that is paused');

    await console.publish(`${console.base}/source/kitchen/paused/set`, 'ON');
    await ofSources('paused', true, true);
    t.match(latest(), { paused: true });
    t.match(await console.request('resume'), { status: 'ok', data: { paused: false } });
    await ofSources('paused', false, false);

    t.match(await console.request('pause', { source: 'yard' }), { status: 'ok' });
    t.match(await console.request('pause', { seconds: 0.5 }), { data: { paused: true, seconds: 0.5 } });
    await ofSources('paused', true, true);
    await ofSources('paused', true, false);
    t.match(await console.request('resume'), { status: 'ok' });
    await ofSources('paused', false, false);

    t.match(await console.request('threshold/set', { value: 0.6, source: 'kitchen' }), { status: 'ok' });
    await ofSources('threshold', 0.4, 0.6);
    t.match(await console.set('threshold/set', '0.5'), { status: 'ok' });
    await ofSources('threshold', 0.5, 0.5);
    t.match(await console.request('labels/set', { labels: ['Tone 2'], source: 'kitchen' }), {
      status: 'ok',
      data: { labels: [{ name: 'Tone 2' }], source: 'kitchen' },
    });

    const before = latest();
    for (const [command, request, code] of [
      ['pause', { source: 'yrad' }, 'source_unknown'],
      ['threshold/set', { value: 0.1, label: 'Nothing', source: 'yard' }, 'label_unknown'],
      ['labels/set', { labels: ['Nothing'] }, 'label_unknown'],
      ['audio/set', { device: null }, 'not_a_microphone'],
      ['audio/set', { device: null, source: 'yard' }, 'not_a_microphone'],
      ['rate/set', { hz: 1, source: 'yard' }, 'invalid_request'],
    ] as const) {
      t.match(await console.request(command, request), { status: 'error', error: { code } }, command);
    }
    t.match(await console.request('pause', { source: 'yrad' }), { error: { message: /yard.*kitchen/ } });
    t.match(await console.request('audio/set', { device: null }), {
      error: { message: /None of the sources/ },
    });
    t.match(await console.request('audio/set', { device: null, source: 'yard' }), {
      error: { message: /sound of yard comes from a file.*audio\.sources/ },
    });
    t.same(latest().sources, before.sources, 'nothing was changed');
    const health = await console.request('health');
    t.match(health.data, {
      healthy: true,
      sources: [
        { name: 'yard', ok: true },
        { name: 'kitchen', ok: true },
      ],
    });
  });

  await t.test('what was set of each survives a restart', async (t) => {
    t.match(await console.request('pause', { source: 'yard' }), { status: 'ok' });
    await stopsCleanly(t, started);
    const again = await started.again();
    const state = await again.console.on<StatePayload>('state', ({ model }) => model !== null);
    t.match(state.sources, [
      { name: 'yard', paused: true, threshold: 0.5, labels: ['Tone 0'] },
      { name: 'kitchen', paused: false, threshold: 0.5, labels: ['Tone 2'] },
    ]);
    await stopsCleanly(t, again);
  });

  await t.test('with one source again nothing of them is left at the broker', async (t) => {
    const one = await started.again({
      AUDIO_SOURCES: '',
      AUDIO_SOURCE: 'file',
      AUDIO_FILE: 'yard.wav',
      AUDIO_LOOP: 'true',
    });
    await one.console.word('label/tone_0', (text) => text === 'ON');
    await one.console.on<TagsPayload>('tags');
    const retained = new Map<string, string>();
    for (const { topic, text } of one.console.messages) retained.set(topic, text);
    const left = [...retained].filter(([topic, text]) => topic.includes('/source/') && text !== '');
    t.same(
      left.map(([topic]) => topic.slice(one.console.base.length)),
      [],
    );
    await stopsCleanly(t, one);
  });
});

t.test('a sound that two sources hear is one event', { skip: noMosquitto }, async (t) => {
  const started = await start(
    t,
    broker!.url,
    {
      ...quick,
      ...listOf(recording('near'), recording('far', { gain_db: -12 })),
      TAGGING_LABELS: '["Tone 0"]',
      TAGGING_THRESHOLD: '0.1',
      FUSION_WINDOW_SECONDS: '2',
      CLIPS_ENABLED: 'true',
      CLIPS_SPEECH: 'keep',
      CLIPS_BEFORE_SECONDS: '0.5',
      CLIPS_AFTER_SECONDS: '0.5',
    },
    rooms({ near: room(500, 1), far: room(500, 1) }),
  );
  const { console } = started;
  const event = await console.on<EventPayload>('event', ({ event_type }) => event_type === 'ended');
  t.match(event, { label: 'Tone 0', source: 'near', sources: [{ name: 'near' }, { name: 'far' }] });
  const [near, far] = event.sources!;
  t.ok(near!.level_dbfs! > far!.level_dbfs! + 6, `${near!.level_dbfs} and ${far!.level_dbfs} dBFS`);
  const own = await console.on<EventPayload>('source/far/event', ({ event_type }) => event_type === 'ended');
  t.not(own.id, event.id, 'each source tells of it by itself as well');
  const clip = async (id: string | undefined) => console.request('clip', { id });
  t.not(own.clip, event.clip, 'with a clip of its own');
  await until(async () => (await clip(own.clip)).status === 'ok', 'the clip of the far one', 30);
  await until(async () => (await clip(event.clip)).status === 'ok', 'the clip of both', 30);
  t.match(await clip(own.clip), { data: { source: 'far', event: own.id } });
  t.match(await clip(event.clip), { data: { source: 'near' } }, 'it is that of the loudest');
  const remembered = (await console.request('history', {})).data as unknown as { events: EventPayload[] };
  const kept = remembered.events.find(({ id }) => id === event.id);
  t.match(kept, { event_type: 'ended', source: 'near', clip: event.clip }, 'the history names it');
  await stopsCleanly(t, started);
  const started_ = console.all<EventPayload>('event').filter(({ event_type }) => event_type === 'started');
  const alone = console
    .all<EventPayload>('source/near/event')
    .filter(({ event_type }) => event_type === 'started');
  t.equal(started_.length, alone.length, 'one for each sound');
});

t.test(
  'loudness: what is loud without any network, and what is silent for free',
  { skip: noMosquitto },
  async (t) => {
    // 20 s of a quiet room, so that there is a background, then a bang.
    const quiet = tone(440, 24, RATE, 0.0005);
    quiet.set(tone(440, 1, RATE, 0.5), 20 * RATE);
    const started = await start(
      t,
      broker!.url,
      {
        ...quick,
        AUDIO_SOURCE: 'file',
        AUDIO_FILE: 'quiet.wav',
        AUDIO_LOOP: 'true',
        AUDIO_CALIBRATION_DB: '120',
        TAGGING_LABELS: '["Tone 0"]',
        TAGGING_LOUD_ABOVE_BACKGROUND_DB: '20',
        INFERENCE_IDLE_BELOW_DBFS: '-50',
      },
      rooms({ quiet }),
    );
    const { console } = started;
    t.match(await console.on<TagsPayload>('tags', ({ idle }) => idle === true), { tags: [], now: [] });
    const level = await console.on<LevelPayload>('level');
    t.ok(Math.abs(level.spl_dba! - level.dba_fs! - 120) < 0.11, `${level.spl_dba} dB(A)`);
    const begun = await console.on<EventPayload>('event', ({ label }) => label === 'Loud noise');
    t.match(begun, { event_type: 'started', model: 'level', mid: null, group: null });
    await console.word('label/loud_noise', (text) => text === 'ON');
    const ended = await console.on<EventPayload>(
      'event',
      ({ event_type, label }) => label === 'Loud noise' && event_type === 'ended',
    );
    t.ok(Math.abs(ended.duration_s! - 1) < 0.2, `${ended.duration_s} s`);
    const { windows } = await console.on<TelemetryPayload>(
      'telemetry',
      ({ windows: { idle } }) => (idle ?? 0) > 40,
    );
    t.ok(windows.idle! < windows.processed, 'the bang was looked at');
    await stopsCleanly(t, started);
  },
);
