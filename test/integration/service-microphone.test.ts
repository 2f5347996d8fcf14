import t from 'tap';
import {
  epochMs,
  type StatePayload,
  type TagsPayload,
  type TelemetryPayload,
} from '../../src/mqtt/contract.js';
import { startMosquitto } from '../support/broker.js';
import { PACED_TOOLS, skipWithoutMicrophone, startPacedMicrophone } from '../support/microphone.js';
import type { Console } from '../support/service.js';
import { gaps, start, stopsCleanly, windowMs } from '../support/service-rig.js';
import { installToneModel, tone } from '../support/tone-models.js';

const RATE = 48_000;
const pcm = (samples: Float32Array) => Int16Array.from(samples, (sample) => Math.round(sample * 32_767));
/** Telemetry from now on: what came before waits in the console as well. */
const nextTelemetry = (console: Console) => {
  const since = Date.now();
  return console.on<TelemetryPayload>('telemetry', ({ ts }) => epochMs(ts) > since);
};
const labelOf = ({ tags }: TagsPayload) => (tags[0]!.score > 0.5 ? tags[0]!.label : null);

t.test(
  'a microphone, from the sound to the broker',
  { skip: skipWithoutMicrophone('mosquitto', ...PACED_TOOLS) },
  async (t) => {
    const broker = await startMosquitto();
    t.teardown(() => broker.stop());
    const microphone = await startPacedMicrophone({
      samples: pcm(tone(500, 2, RATE, 0.2)),
      sampleRate: RATE,
      channels: 1,
    });
    t.teardown(() => microphone.stop());
    const started = await start(
      t,
      broker.url,
      {
        AUDIO_SOURCE: 'microphone',
        INFERENCE_RATE_HZ: '4',
        TELEMETRY_INTERVAL_SECONDS: '1',
        TAGGING_MIN_GAP_SECONDS: '0.5',
      },
      undefined,
      microphone.env,
    );
    const { console } = started;
    await console.on<StatePayload>('state', ({ source }) => source === 'microphone');
    await console.word('audio/status', (text) => text === 'online');
    await console.on<TagsPayload>('tags', (now) => labelOf(now) === 'Tone 0');
    await console.word('label/tone_0', (text) => text === 'ON');

    // Another sound.
    await microphone.play(pcm(tone(500 + 7000 / 3, 3, RATE, 0.2)));
    await console.on<TagsPayload>('tags', (now) => labelOf(now) === 'Tone 1');
    await console.word('label/tone_1', (text) => text === 'ON');
    await console.word('label/tone_0', (text) => text === 'OFF');

    // Another model while it goes on.
    await installToneModel(started.dataDir, 'log_mel');
    await console.on<TagsPayload>('tags', (now) => windowMs(now) === 1000);
    t.match(await console.set('model/set', 'tone-logmel'), { status: 'ok' });
    const fresh = await console.on<TagsPayload>('tags', ({ model }) => model === 'tone-logmel');
    t.ok(Math.abs(windowMs(fresh) - 1000) <= 20, 'a full window at once');
    t.match(await console.set('model/set', 'tone-waveform'), { status: 'ok' });
    await console.on<TagsPayload>(
      'tags',
      (now) => labelOf(now) === 'Tone 1' && now.model === 'tone-waveform',
    );
    const found = gaps(console).length;
    const { windows } = await nextTelemetry(console);
    t.ok(found <= windows.dropped, `${found} gaps in the row, ${windows.dropped} counted drops`);
    await console.word('label/tone_1', (text) => text === 'ON');

    // The device is lost.
    await microphone.killSource();
    await console.word('audio/status', (text) => text === 'offline');
    await console.word('label/tone_1', (text) => text === 'OFF');
    // A window that was on its way may still be answered.
    await nextTelemetry(console);
    const answered = console.all('tags').length;
    await nextTelemetry(console);
    await nextTelemetry(console);
    t.equal(console.all('tags').length, answered, 'nothing is told of what is not heard');
    t.equal(console.texts('label/tone_1').at(-1), 'OFF');

    // And comes back.
    await microphone.startSource();
    await console.word('audio/status', (text) => text === 'online', 60_000);
    await console.on<TagsPayload>('tags', (now) => labelOf(now) === 'Tone 1');
    await stopsCleanly(t, started);
  },
);
