import { join } from 'node:path';
import t from 'tap';
import { decodeChunks } from '../../src/audio/decode.js';
import { silentLogger as log } from '../../src/common/log.js';
import { createStartEngine } from '../../src/inference/start-engine.js';
import { createRegistry } from '../../src/models/registry.js';
import {
  epochMs,
  type InfoPayload,
  type TagsPayload,
  type TelemetryPayload,
} from '../../src/mqtt/contract.js';
import { startMosquitto, type Mosquitto } from '../support/broker.js';
import { start, stopsCleanly, type Started } from '../support/service-rig.js';
import { writeWav } from '../support/service.js';
import { projectPath } from '../support/shared.js';
import { installSyntheticModel } from '../support/synthetic-model.js';
import { tone } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';

/*
 * A network of the literature in the real service, as a stream and as a whole: what is published is what the network says
 * of each window alone.
 */

// A broker of its own: the sound is played so fast that events are over before anybody could listen to the embedded one.
const noMosquitto = skipWithout('mosquitto');
let broker: Mosquitto | undefined;
t.before(async () => {
  if (noMosquitto === false) broker = await startMosquitto({ config: ['set_tcp_nodelay true'] });
});
t.teardown(() => broker?.stop());

/** That of the network: a resampler would make the times of windows inexact. */
const RATE = 32_000;
const SECONDS = 24;
const WINDOW_SECONDS = 6;
/** Scores are rounded where they are published. */
const ROUNDED = 1e-4;

/** Tones that come and go in noise. */
function scene(): Float32Array {
  const samples = tone(3100, SECONDS, RATE, 0.01);
  let state = 3;
  for (let at = 0; at < samples.length; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    samples[at]! += 0.05 * (1 + Math.sin(at / 20_000)) * (state / 2 ** 31 - 1);
  }
  for (let second = 2; second + 2 < SECONDS; second += 5) {
    const part = tone(300 * second, 1.3, RATE, 0.3);
    for (const [at, value] of part.entries()) samples[second * RATE + at]! += value;
  }
  return samples;
}

interface Heard {
  readonly windows: readonly TagsPayload[];
  readonly telemetry: TelemetryPayload;
}

/** Plays the scene as fast as it goes, and waits for its last window. */
async function hear({ console }: Started): Promise<Heard> {
  const all = () => console.all<TagsPayload>('tags');
  await console.on<TelemetryPayload>('telemetry', (now) => now.windows.processed >= SECONDS, 240_000);
  await console.on<TagsPayload>('tags', (tags) => tags.seq >= SECONDS, 240_000).catch(() => undefined);
  const telemetry = console.all<TelemetryPayload>('telemetry').at(-1)!;
  return { windows: all(), telemetry };
}

t.test('Cnn6 as a stream says what it says of each window alone', { skip: noMosquitto }, async (t) => {
  const settings = {
    MODEL_ID: 'cnn6',
    AUDIO_SOURCE: 'file',
    AUDIO_FILE: 'sound.wav',
    AUDIO_SPEED: 'max',
    TELEMETRY_INTERVAL_SECONDS: '1',
    TAGGING_TOP_K: '20',
    TAGGING_LABELS: '["Sound 1","Sound 2"]',
  };
  const prepare = async (dataDir: string) => {
    await writeWav(join(dataDir, 'sound.wav'), scene(), RATE);
    await installSyntheticModel(dataDir, 'Cnn6', WINDOW_SECONDS);
  };
  const started = await start(t, broker!.url, settings, prepare);
  const { dataDir } = started;
  const streamed = await hear(started);
  t.match(streamed.telemetry.inference.stream, { grid_s: 0.16 });
  t.ok(streamed.telemetry.windows.streamed! >= 10, JSON.stringify(streamed.telemetry.windows));
  t.equal(streamed.telemetry.windows.dropped, 0);
  t.match(await started.console.on<InfoPayload>('info'), { config: { model: { streaming: 'auto' } } });
  await stopsCleanly(t, started);

  // Another device, of which nothing is retained.
  const again = await start(t, broker!.url, { ...settings, MODEL_STREAMING: 'off' }, prepare);
  const whole = await hear(again);
  t.equal(whole.telemetry.inference.stream, null);
  t.equal(whole.telemetry.windows.streamed, 0);
  await stopsCleanly(t, again);

  const model = await createRegistry({ bundledFolder: projectPath('models'), dataDir, log }).get('cnn6');
  const engine = await createStartEngine({ log })(model, { threads: 1 });
  t.teardown(() => engine.stop());
  const heard = await samplesOf(join(dataDir, 'sound.wav'));
  for (const { windows } of [streamed, whole]) {
    t.ok(windows.length >= SECONDS - 1, `${windows.length} windows`);
    t.ok(await agree(windows), 'each is that of the network alone');
  }

  /** Whether the tags are what the network says of the window that they name. */
  async function agree(windows: readonly TagsPayload[]): Promise<boolean> {
    const originMs = Math.min(...windows.map(({ window }) => epochMs(window.start)));
    let worst = 0;
    for (const { window, tags } of windows) {
      const [from, to] = [window.start, window.end].map((at) =>
        Math.round(((epochMs(at) - originMs) * RATE) / 1000),
      ) as [number, number];
      const samples = heard.slice(from, Math.min(to, heard.length));
      const { scores } = await engine.infer({ samples, reset: true, windowSamples: samples.length });
      for (const { label, score } of tags) {
        const { index } = model.labels.find(({ name }) => name === label)!;
        worst = Math.max(worst, Math.abs(scores[index]! - score));
      }
    }
    t.comment(`at most ${worst.toFixed(5)} off`);
    return worst <= ROUNDED;
  }
});

async function samplesOf(path: string): Promise<Float32Array> {
  const parts: Float32Array[] = [];
  for await (const { samples } of decodeChunks(path, {})) parts.push(samples.slice());
  return Float32Array.from(parts.flatMap((part) => [...part]));
}
