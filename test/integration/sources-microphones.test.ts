import t from 'tap';
import type { EventPayload, StatePayload, TagsPayload } from '../../src/mqtt/contract.js';
import { startMosquitto } from '../support/broker.js';
import { endlessWav, inRealTime, startLiveServer } from '../support/live-server.js';
import {
  joinMicrophones,
  PACED_TOOLS,
  skipWithoutMicrophone,
  startFileMicrophone,
  startPacedMicrophone,
} from '../support/microphone.js';
import { startRtspCamera } from '../support/rtsp-camera.js';
import { descendants } from '../support/service.js';
import { gaps, start, stopsCleanly } from '../support/service-rig.js';
import { installToneModel, tone, waveformTonesHz } from '../support/tone-models.js';

/*
 * Two microphones, a camera and a radio at once: one input of ALSA alone, read from a file, and others of sound servers
 * of their own, so that one of them can go away.
 */

const RATE = 48_000;
const CAMERA_RATE = 8_000;
/** Below what a camera can carry. */
const [deskHz, cameraHz, , roomHz, radioHz] = waveformTonesHz(6) as [number, number, number, number, number];
const hears = { desk: 'Tone 0', camera: 'Tone 1', room: 'Tone 3', radio: 'Tone 4' };
const names = ['desk', 'room', 'camera', 'radio'] as const;

const sounding = (hz: number) => ({
  samples: Int16Array.from(tone(hz, 2, RATE, 0.3), (sample) => Math.round(sample * 32_767)),
  sampleRate: RATE,
  channels: 1,
});

const labelOf = ({ tags }: TagsPayload) => (tags[0]!.score > 0.5 ? tags[0]!.label : null);

t.test(
  'microphones and streams at once',
  { skip: skipWithoutMicrophone('mosquitto', ...PACED_TOOLS) },
  async (t) => {
    const broker = await startMosquitto();
    t.teardown(() => broker.stop());
    const desk = await startFileMicrophone(sounding(deskHz));
    t.teardown(() => desk.stop());
    const [room, hall] = await Promise.all([
      startPacedMicrophone(sounding(roomHz)),
      startPacedMicrophone(sounding(roomHz)),
    ]);
    t.teardown(() => Promise.all([room.stop(), hall.stop()]));
    const inputs = await joinMicrophones({ desk, room, hall });
    t.teardown(() => inputs.stop());
    const camera = await startRtspCamera('a:b', { sound: tone(cameraHz, 2, CAMERA_RATE, 0.3) });
    t.teardown(() => camera.close());
    const radio = await startLiveServer(t, {
      radio: inRealTime(endlessWav(tone(radioHz, 2, RATE, 0.3), RATE)),
    });
    const started = await start(
      t,
      broker.url,
      {
        AUDIO_SOURCES: JSON.stringify([
          { name: 'desk', device: 'desk' },
          { name: 'room', device: 'room' },
          { name: 'camera', url: `rtsp://a:b@127.0.0.1:${camera.port}/s` },
          { name: 'radio', url: radio.url('radio') },
        ]),
        INFERENCE_RATE_HZ: '2',
        TAGGING_LABELS: JSON.stringify(Object.values(hears)),
        TAGGING_MIN_GAP_SECONDS: '0.5',
        TELEMETRY_INTERVAL_SECONDS: '1',
      },
      (dataDir) => installToneModel(dataDir, 'waveform', { labels: 6 }),
      inputs.env,
    );
    const { console } = started;
    const state = () => console.all<StatePayload>('state').at(-1)!;
    const told = (source: string) => console.texts(`source/${source}/tags`).length;
    /** So many further windows of each. */
    const goOn = (sources: readonly string[], count = 3) =>
      Promise.all(
        sources.map(async (source) => {
          for (let i = 0; i < count; i += 1) await console.on<TagsPayload>(`source/${source}/tags`);
        }),
      );

    await t.test('each is told of by itself', async (t) => {
      await Promise.all(
        names.map(async (name) => {
          await console.word(`source/${name}/audio/status`, (text) => text === 'online');
          await console.on<TagsPayload>(`source/${name}/tags`, (tags) => labelOf(tags) === hears[name]);
          const event = await console.on<EventPayload>('event', ({ source }) => source === name);
          t.match(event, { event_type: 'started', label: hears[name] });
        }),
      );
      await console.word('audio/status', (text) => text === 'online');
      t.match(state().sources, [
        { name: 'desk', source: 'microphone', audio_device: 'desk', audio: 'online' },
        { name: 'room', source: 'microphone', audio_device: 'room', audio: 'online' },
        { name: 'camera', source: 'stream', audio_device: null, audio: 'online' },
        { name: 'radio', source: 'stream', audio_device: null, audio: 'online' },
      ]);
    });

    await t.test('the inputs, and who listens to them', async (t) => {
      const { status, data } = await console.request('audio/list');
      t.equal(status, 'ok');
      const devices = data['devices'] as { name: string; in_use: boolean; used_by: string[] }[];
      t.same(Object.fromEntries(devices.map(({ name, in_use, used_by }) => [name, [in_use, used_by]])), {
        desk: [true, ['desk']],
        room: [true, ['room']],
        hall: [false, []],
        default: [false, []],
      });
    });

    await t.test('a microphone is changed where it is clear which', async (t) => {
      const before = state().sources;
      for (const [request, code] of [
        [{ device: 'hall' }, 'source_required'],
        [{ device: 'hall', source: 'radio' }, 'not_a_microphone'],
        [{ device: 'hall', source: 'rooom' }, 'source_unknown'],
        [{ device: 'cellar', source: 'room' }, 'device_not_found'],
        [{ device: 'desk', source: 'room' }, 'device_in_use'],
      ] as const) {
        t.match(await console.request('audio/set', request), { status: 'error', error: { code } }, code);
      }
      t.same(state().sources, before, 'nothing was changed');

      // Neither is one free that a source has lost for a moment.
      const capture = (await descendants(started.service.pid)).find(({ command }) =>
        /capture.process.*"device":"room"/.test(command),
      );
      process.kill(capture!.pid, 'SIGKILL');
      await console.word('source/room/audio/status', (text) => text === 'offline');
      t.match(await console.request('audio/set', { device: 'room', source: 'desk' }), {
        error: { code: 'device_in_use', message: /room/ },
      });
      await console.word('source/room/audio/status', (text) => text === 'online');

      t.match(await console.request('audio/set', { device: 'hall', source: 'room' }), {
        status: 'ok',
        data: { device: 'hall', name: 'hall', source: 'room' },
      });
      await console.on<StatePayload>(
        'state',
        ({ sources }) => sources![1]!.audio_device === 'hall' && sources![1]!.audio === 'online',
      );
      t.equal(state().sources![0]!.audio_device, 'desk');
      await goOn(names);
      t.match(await console.request('audio/set', { device: 'room', source: 'room' }), { status: 'ok' });
      await goOn(names);
    });

    await t.test('one that goes away and comes back harms no other', async (t) => {
      await console.word('source/room/label/tone_3', (text) => text === 'ON');
      const others = names.filter((name) => name !== 'room');
      const events = console.all('event').length;
      // What is read from a file comes all at once at first, and loses windows of its own.
      const missing = others.map((name) => gaps(console, name).length);
      await room.killSource();
      await console.word('source/room/audio/status', (text) => text === 'offline');
      await console.word('audio/status', (text) => text === 'offline');
      await console.word('source/room/label/tone_3', (text) => text === 'OFF');
      await goOn(others);
      const heard = told('room');
      await goOn(others);
      t.equal(told('room'), heard, 'nothing is told of what is not heard');
      const health = await console.request('health');
      t.match(health.data, {
        healthy: true,
        sources: [
          { name: 'desk', ok: true },
          { name: 'room', ok: false },
          { name: 'camera', ok: true },
          { name: 'radio', ok: true },
        ],
      });
      t.ok(
        started.service.lines.some(
          ({ level, message }) =>
            level === 'warn' && message.startsWith('room: No sound from the microphone'),
        ),
        'the log says which',
      );
      await room.startSource();
      await console.word('source/room/audio/status', (text) => text === 'online', 60_000);
      await console.on<TagsPayload>('source/room/tags', (tags) => labelOf(tags) === hears.room);
      await console.word('audio/status', (text) => text === 'online');
      t.same(
        others.map((name) => gaps(console, name).length),
        missing,
        'the others lost no window',
      );
      const { sources } = state();
      t.same(
        sources!.map(({ audio }) => audio),
        ['online', 'online', 'online', 'online'],
      );
      const since = console.all<EventPayload>('event').slice(events);
      t.same(
        since.filter(({ source }) => source !== 'room'),
        [],
        'and their sounds went on',
      );
    });
    await stopsCleanly(t, started);
  },
);
