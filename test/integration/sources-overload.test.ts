import t from 'tap';
import type { TagsPayload, TelemetryPayload } from '../../src/mqtt/contract.js';
import { installBadModel } from '../support/bad-models.js';
import { startMosquitto } from '../support/broker.js';
import { endlessWav, inRealTime, startLiveServer } from '../support/live-server.js';
import { start, stopsCleanly } from '../support/service-rig.js';
import { tone } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';

/*
 * Five live sources at a rate that no machine keeps up with, because the model is slow: who is heard must not depend on
 * when in a hop the windows of a source come due.
 */

const RATE = 16_000;
const RATE_HZ = 10;
const names = ['a', 'b', 'c', 'd', 'e'] as const;
/** So many windows are answered of each before it is judged. */
const TURNS = 20;

type Counts = NonNullable<TelemetryPayload['sources']>;

t.test('what cannot be kept up with is shared', { skip: skipWithout('mosquitto', 'ffmpeg') }, async (t) => {
  const broker = await startMosquitto();
  t.teardown(() => broker.stop());
  const sound = inRealTime(endlessWav(tone(500, 2, RATE, 0.2), RATE));
  const server = await startLiveServer(t, { live: sound });
  const started = await start(
    t,
    broker.url,
    {
      AUDIO_SOURCES: JSON.stringify(names.map((name) => ({ name, url: server.url('live') }))),
      MODEL_ID: 'bad-slow',
      INFERENCE_RATE_HZ: String(RATE_HZ),
      TELEMETRY_INTERVAL_SECONDS: '1',
    },
    // A tenth of a second and more: ten windows a second in all at the most, of fifty that are due.
    (dataDir) => installBadModel(dataDir, 'slow', { slowTrips: 100_000 }),
  );
  const { console } = started;
  await Promise.all(
    names.map((name) => console.on<TagsPayload>(`source/${name}/tags`, ({ model }) => model === 'bad-slow')),
  );
  // From here on all of them have sound.
  const countersIn = (telemetry: TelemetryPayload) => telemetry.sources!;
  const latest = () => countersIn(console.all<TelemetryPayload>('telemetry').at(-1)!);
  await console.on<TelemetryPayload>('telemetry', ({ sources }) =>
    names.every((name) => sources![name]!.processed > 0),
  );
  const before = latest();
  const since = (counts: Counts, key: 'processed' | 'dropped') =>
    names.map((name) => counts[name]![key] - before[name]![key]);
  const last = await console.on<TelemetryPayload>(
    'telemetry',
    (telemetry) => Math.min(...since(countersIn(telemetry), 'processed')) >= TURNS,
    200_000,
  );
  const after = countersIn(last);
  const spread = (values: readonly number[]) => Math.max(...values) - Math.min(...values);
  const processed = since(after, 'processed');
  const dropped = since(after, 'dropped');
  t.comment(`answered ${processed.join(', ')}; dropped ${dropped.join(', ')}`);
  t.ok(spread(processed) <= 2, 'each has its turn');
  t.ok(Math.min(...dropped) > TURNS, 'more than half is dropped');
  // What a stream of the network brings in one second and not in another.
  t.ok(spread(dropped) <= RATE_HZ / 2, 'and of each as much');

  const sum = (key: 'processed' | 'dropped') => names.reduce((total, name) => total + after[name]![key], 0);
  t.match(last.windows, { processed: sum('processed'), dropped: sum('dropped') });
  const seqs = console.all<TagsPayload>('source/a/tags').map(({ seq }) => seq);
  t.ok(seqs.at(-1)! - seqs.length > TURNS, 'the gaps in seq show it');
  t.match((await console.request('health')).data, {
    healthy: true,
    sources: names.map((name) => ({ name, ok: true })),
  });
  await stopsCleanly(t, started);
});
