import { createServer } from 'node:http';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import { createFrontend } from '../../src/features/frontend.js';
import type { CommandData } from '../../src/mqtt/command-specs.js';
import type { EventPayload, StatePayload, TagsPayload } from '../../src/mqtt/contract.js';
import { startMosquitto, type Mosquitto } from '../support/broker.js';
import { makeDataDir, startService, writeWav, type Settings } from '../support/service.js';
import { beep, looped, pagePort, sound, start, stopsCleanly, withPage } from '../support/service-rig.js';
import { installToneModel, tone } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';
import { ask, readFeed, signIn, type FeedReader } from '../support/web.js';

/* The page of the running service: what it shows is what MQTT says, and what it asks is what MQTT is asked. */

const skip = skipWithout('mosquitto');
let broker: Mosquitto | undefined;
t.before(async () => {
  if (skip === false) broker = await startMosquitto({ config: ['set_tcp_nodelay true'] });
});
t.teardown(() => broker?.stop());

const hearing: Settings = {
  ...withPage,
  INFERENCE_RATE_HZ: '4',
  TAGGING_LABELS: '["Tone 0"]',
  TAGGING_MIN_GAP_SECONDS: '0',
  TELEMETRY_INTERVAL_SECONDS: '1',
};
const beeping: Settings = { ...looped, ...hearing };
const beeps = sound(beep(3, 0.3));

const shown = (feed: FeedReader, topic: string) =>
  feed.events.filter(({ data }) => data.topic === topic).map(({ data }) => data.payload);

t.test('the feed carries what MQTT says', { skip }, async (t) => {
  const started = await start(t, broker!.url, beeping, beeps);
  const { console, service } = started;
  const port = await pagePort(service);
  await console.on('tags');
  const feed = await readFeed(port);
  await feed.until(() => feed.events.some(({ name }) => name === 'ready'), 'the snapshot');
  const topics = new Set(feed.events.map(({ data }) => data.topic));
  for (const topic of ['status', 'audio/status', 'state', 'info', 'tags', 'label/tone_0']) {
    t.ok(topics.has(topic), `${topic} is known before anything changes`);
  }
  t.notOk(topics.has('event'), 'and nothing that is not retained');

  const since = console.messages.length;
  const from = feed.events.length;
  await until(() => console.all<EventPayload>('event').length >= 4, 'events', 60);
  await console.request('rate/set', { hz: 5 });
  const mark = await console.on<StatePayload>('state', ({ rate_hz: hz }) => hz === 5);
  await feed.until(
    () => shown(feed, 'state').length > 0 && isDeepStrictEqual(shown(feed, 'state').at(-1), mark),
    'the new rate',
  );
  const said = console.messages.slice(since).map(({ topic, text }) => {
    const name = topic.slice(console.base.length + 1);
    return {
      topic: name,
      payload: /^(label\/.*|(audio\/)?status)$/.test(name) ? text : (JSON.parse(text || 'null') as unknown),
    };
  });
  for (const topic of ['tags', 'event', 'label/tone_0', 'level', 'state']) {
    const told = said.filter((each) => each.topic === topic).map(({ payload }) => payload);
    const seen = feed.events.slice(from).flatMap(({ data }) => (data.topic === topic ? [data.payload] : []));
    // The ends of the two rows are a moment apart.
    const common = seen.filter((payload) => told.some((other) => isDeepStrictEqual(other, payload)));
    t.ok(told.length > 0, topic);
    t.ok(
      common.length >= told.length - 2 && common.length >= seen.length - 2,
      `${topic}: ${common.length} of ${told.length} and ${seen.length}`,
    );
  }
  const seqs = (shown(feed, 'tags') as TagsPayload[]).map(({ seq }) => seq);
  t.ok(
    seqs.every((seq, n) => n === 0 || seq === seqs[n - 1]! + 1),
    'every window',
  );
  t.notOk(
    feed.events.some(({ name }) => name === 'response'),
    'replies are for who has asked',
  );
  feed.close();
  await stopsCleanly(t, started);
});

t.test('a request of the page is answered as one over MQTT', { skip }, async (t) => {
  const started = await start(t, broker!.url, beeping, beeps);
  const { console, service } = started;
  const port = await pagePort(service);
  await until(() => console.all('event').length >= 4, 'events', 60);
  await console.request('pause');
  const requests: [command: string, request: object][] = [
    ['resume', {}],
    ['pause', {}],
    ['rate/set', { hz: 2 }],
    ['rate/set', { hz: 1000 }],
    ['threshold/set', { value: 0.4, label: 'Tone 0' }],
    ['labels/set', { labels: ['Tone 7'] }],
    ['model/list', {}],
    ['model/set', { id: 'nobody' }],
    ['audio/set', { device: 'USB' }],
    ['history', { limit: 2 }],
    ['history/scores', { label: 'Tone 0', since: '2026-05-01T22:00:00Z', until: '2026-05-02T22:00:00Z' }],
    ['event/judge', { id: 'nobody', right: true }],
    ['clip/list', {}],
    ['clip', { id: '0'.repeat(32) }],
    ['pause', { source: 'nobody' }],
    ['no/such', {}],
    ['info', { transaction: 'mine' }],
  ];
  for (const [command, request] of requests) {
    const body = JSON.stringify(request);
    const overHttp = (await ask(port, `/api/request/${command}`, { body })).json as {
      data: { load_ms?: number };
    };
    const overMqtt = await console.request(command, request);
    t.strictSame(overHttp, overMqtt, `${command} ${body}`);
  }
  const asked = await ask(port, '/api/request/rate/set', { body: '{"hz":3}' });
  t.equal(asked.status, 200);
  await console.on<StatePayload>('state', ({ rate_hz: hz }) => hz === 3);
  t.equal((await ask(port, '/api/request/rate/set', { body: 'no json' })).code, 'invalid_payload');
  t.match((await ask(port, '/api/openapi.json')).json, { openapi: /^3\.1/ });
  await stopsCleanly(t, started);
});

t.test('a clip is heard over HTTP, in parts too', { skip }, async (t) => {
  const settings = {
    ...beeping,
    CLIPS_ENABLED: 'true',
    CLIPS_SPEECH: 'keep',
    CLIPS_BEFORE_SECONDS: '0.2',
    CLIPS_AFTER_SECONDS: '0.2',
  };
  const started = await start(t, broker!.url, settings, beeps);
  const { console, service } = started;
  const port = await pagePort(service);
  type Found = CommandData<'clip'>;
  const { clip: id } = await console.on<EventPayload>('event', ({ clip }) => clip !== undefined);
  await until(async () => (await console.request('clip', { id })).status === 'ok', 'the clip', 30);
  const found = (await console.request('clip', { id })).data as unknown as Found;
  t.equal(found.url, `http://127.0.0.1:${port}/api/clips/${id}`);
  const file = readFileSync(found.path);
  const whole = await ask(port, `/api/clips/${id}`);
  t.match(whole.headers, {
    'content-type': 'audio/flac',
    'content-length': String(file.length),
    'accept-ranges': 'bytes',
    'content-disposition': `inline; filename="${id}.flac"`,
  });
  t.ok(whole.body.equals(file), 'all of it');
  const part = await ask(port, `/api/clips/${id}`, { headers: { Range: 'bytes=100-299' } });
  t.equal(part.status, 206);
  t.equal(part.headers['content-range'], `bytes 100-299/${file.length}`);
  t.ok(part.body.equals(file.subarray(100, 300)), 'a part');
  const last = await ask(port, `/api/clips/${id}`, { headers: { Range: `bytes=${file.length - 10}-` } });
  t.ok(last.body.equals(file.subarray(-10)), 'the end');
  t.equal((await ask(port, `/api/clips/${id}`, { headers: { Range: `bytes=${file.length}-` } })).status, 416);
  t.equal((await ask(port, `/api/clips/${'0'.repeat(32)}`)).status, 404);
  t.equal((await ask(port, '/api/clips/..%2f..%2fstate.json')).status, 404);
  await console.request('clip/delete', { id });
  t.equal((await ask(port, `/api/clips/${id}`)).status, 404);
  await stopsCleanly(t, started);
});

const LOGMEL_RATE = 32_000;
/** Twelve halves of a second, none like another, in whole columns and windows: a rising tone that swells. */
function rising(): Float32Array {
  return Float32Array.from({ length: 6 * LOGMEL_RATE }, (_, n) => {
    const seconds = n / LOGMEL_RATE;
    return 0.3 * (0.2 + seconds / 8) * Math.sin(2 * Math.PI * (200 + 400 * seconds) * seconds);
  });
}

interface Columns {
  start: string;
  column_ms: number;
  bands: number;
  columns: number;
  low: number;
  high: number;
  data: string;
}

t.test('the spectrogram is the log-mel that the network sees', { skip }, async (t) => {
  const settings = { ...beeping, MODEL_ID: 'tone-logmel', INFERENCE_RATE_HZ: '2' };
  const whole = rising();
  const started = await start(t, broker!.url, settings, async (dataDir) => {
    await installToneModel(dataDir, 'log_mel');
    await writeWav(join(dataDir, 'sound.wav'), whole, LOGMEL_RATE);
  });
  const { manifest } = await installToneModel(started.dataDir, 'log_mel');
  const port = await pagePort(started.service);
  const feed = await readFeed(port, '/api/spectrogram');
  await feed.until(() => feed.events.filter(({ name }) => name === 'columns').length >= 6, 'columns');
  feed.close();

  if (manifest.input.kind !== 'log_mel') throw new Error('not a log-mel');
  const frontend = await createFrontend(manifest.input.frontend, LOGMEL_RATE);
  const heard = Float32Array.from(whole, (value) => Math.fround(Math.round(value * 32_767) / 32_768));
  const at = (from: number) =>
    Float32Array.from({ length: LOGMEL_RATE }, (_, n) => heard[(from + n) % heard.length]!);
  /** What the network sees of the second that ends at each half of a second. */
  const windows = Array.from({ length: 12 }, (_, half) => {
    const samples = at(((half - 1) * LOGMEL_RATE) / 2 + (half === 0 ? heard.length : 0));
    const frames = frontend.frames(samples.length);
    const out = new Float32Array(frames * frontend.mels);
    frontend.compute(samples, out, 'NCTF');
    return out;
  });
  const rows = feed.events
    .filter(({ name }) => name === 'columns')
    .map(({ data }) => data as unknown as Columns);
  let previous: number | null = null;
  for (const { bands, columns, column_ms: ms, low, high, data, start: at } of rows.slice(1)) {
    t.strictSame([bands, columns, ms], [64, 50, 10], 'what is new with a window, of half a second');
    const bytes = Buffer.from(data, 'base64');
    const errors = windows.map((window) => {
      const newest = window.subarray(window.length - columns * bands);
      return Math.max(
        ...Array.from(newest, (value, n) => Math.abs(low + (bytes[n]! * (high - low)) / 255 - value)),
      );
    });
    const best = errors.indexOf(Math.min(...errors));
    // A byte a value: half a step off at most.
    t.ok(errors[best]! <= (high - low) / 255 / 2 + 1e-3, `${at}: off by ${errors[best]!.toFixed(4)} dB`);
    t.ok(
      errors.every((error, n) => n === best || error > 3),
      'and no other window',
    );
    if (previous !== null) t.equal(best, (previous + 1) % 12, 'one follows the other');
    previous = best;
  }
  t.equal((await ask(port, '/api/spectrogram?source=nobody')).status, 404);
  await stopsCleanly(t, started);
});

t.test('on another address it asks for the password, and without one does not open', { skip }, async (t) => {
  const open = { ...beeping, WEB_HOST: '0.0.0.0' };
  const started = await start(t, broker!.url, { ...open, WEB_PASSWORD: 'open sesame' }, beeps);
  const { service, console } = started;
  const port = await pagePort(service);
  t.equal((await ask(port, '/api/feed')).status, 401);
  t.equal((await ask(port, '/api/request/info', { body: '{}' })).status, 401);
  t.equal((await ask(port, '/api/clips/x')).status, 401);
  t.equal((await ask(port, '/api/login', { body: '{"password":"wrong"}' })).status, 401);
  const Cookie = await signIn(port, 'open sesame');
  t.equal((await ask(port, '/api/request/info', { body: '{}', headers: { Cookie } })).status, 200);
  t.equal(
    (await ask(port, '/api/request/info', { body: '{}', headers: { Cookie, Origin: 'http://evil.example' } }))
      .status,
    403,
  );
  t.equal(
    (await ask(port, '/api/request/info', { body: '{}', headers: { Cookie, Host: `evil.example:${port}` } }))
      .status,
    421,
  );
  const told = console.messages.filter(({ text }) => text.includes('sesame'));
  t.strictSame(told, [], 'and the password is told to nobody');
  t.notOk(service.lines.some(({ message }) => message.includes('sesame')));
  await stopsCleanly(t, started);

  const refused = await startRefused(t, open);
  t.equal(refused.code, 2);
  t.match(refused.said, /web\.host.*0\.0\.0\.0.*web\.password/);
});

/** A start that the configuration does not let through. */
async function startRefused(
  t: Parameters<typeof start>[0],
  settings: Settings,
): Promise<{ code: number | null; said: string }> {
  const service = startService(t, { DATA_DIR: await makeDataDir(t), BROKER_PORT: '0', ...settings });
  const code = await service.exited;
  return { code, said: service.lines.map(({ message }) => message).join('\n') };
}

t.test('where its port is taken, everything else goes on', { skip }, async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  t.teardown(() => other.close());
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  const started = await start(t, broker!.url, { ...beeping, WEB_PORT: String(port) }, beeps);
  const { console, service } = started;
  await console.on<EventPayload>('event', ({ event_type: type }) => type === 'ended');
  const warnings = service.lines.filter(({ message }) =>
    message.startsWith('The page of this device is not there'),
  );
  t.equal(warnings.length, 1);
  t.match(warnings[0], { level: 'warn', code: 'port_in_use', message: new RegExp(`web\\.port|${port}`) });
  t.match(await console.request('health'), { status: 'ok', data: { healthy: true } });
  await stopsCleanly(t, started);
});

t.test('several sources, each for itself', { skip }, async (t) => {
  const list = [
    { name: 'yard', source: 'file', file: 'sound.wav', loop: true },
    { name: 'street', source: 'file', file: 'quiet.wav', loop: true },
  ];
  const started = await start(
    t,
    broker!.url,
    {
      ...hearing,
      MODEL_ID: 'tone-logmel',
      AUDIO_SOURCES: JSON.stringify(list),
      CLIPS_ENABLED: 'true',
      CLIPS_SPEECH: 'keep',
      CLIPS_AFTER_SECONDS: '0.2',
    },
    async (dataDir) => {
      const model = await installToneModel(dataDir, 'log_mel');
      const loud = tone(60, 3, LOGMEL_RATE, 0.001);
      loud.set(tone(model.tonesHz[0]!, 1.2, LOGMEL_RATE, 0.4), LOGMEL_RATE);
      await writeWav(join(dataDir, 'sound.wav'), loud, LOGMEL_RATE);
      await writeWav(join(dataDir, 'quiet.wav'), tone(60, 3, LOGMEL_RATE, 0.001), LOGMEL_RATE);
    },
  );
  const { console, service } = started;
  const port = await pagePort(service);
  const yard = await readFeed(port, '/api/spectrogram?source=yard');
  const street = await readFeed(port, '/api/spectrogram?source=street');
  const feed = await readFeed(port);
  t.equal((await ask(port, '/api/spectrogram')).status, 404, 'there is none that is called main');
  const columnsOf = (reader: FeedReader) => reader.events.filter(({ name }) => name === 'columns');
  const event = await console.on<EventPayload>('event', ({ clip }) => clip !== undefined);
  t.equal(event.source, 'yard');
  await yard.until(() => columnsOf(yard).length >= 12, 'columns of the yard');
  await street.until(() => columnsOf(street).length >= 12, 'columns of the street');
  t.ok(columnsOf(yard).every(({ data }) => data['source'] === 'yard'));
  t.ok(columnsOf(street).every(({ data }) => data['source'] === 'street'));
  const highest = (reader: FeedReader) =>
    Math.max(...columnsOf(reader).map(({ data }) => Number(data['high'])));
  t.ok(highest(yard) > highest(street) + 20, 'each sees its own sound');
  t.ok(feed.events.some(({ data }) => data.topic === 'source/street/tags' && data['source'] === 'street'));
  for (const reader of [yard, street, feed]) reader.close();

  const of = async (source: string) =>
    (await console.request('history', { source })).data as unknown as CommandData<'history'>;
  const heard = await of('yard');
  t.ok(heard.events.some(({ id }) => id === event.id));
  t.ok(heard.events.every(({ source }) => source === 'yard'));
  t.strictSame((await of('street')).events, []);
  await until(
    async () => (await console.request('clip', { id: event.clip })).status === 'ok',
    'the clip',
    30,
  );
  t.match((await console.request('clip/list', { source: 'yard' })).data, { clips: [{ source: 'yard' }] });
  t.match((await console.request('clip/list', { source: 'street' })).data, { total: Number, clips: [] });
  await stopsCleanly(t, started);
});
