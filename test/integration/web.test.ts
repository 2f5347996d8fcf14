/** The page's server as its page uses it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { commandSpecs, type CommandName } from '../../src/mqtt/command-specs.js';
import { contract } from '../../src/mqtt/contract.js';
import type { SpectrogramColumns, SpectrogramTap } from '../../src/web/spectrogram.js';
import { topicExamples } from '../../tools/docs/mqtt/examples.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';
import { until } from '../support/waiting.js';
import { ask, pageFolder, rawConnection, readFeed, startWeb } from '../support/web.js';

t.test('the files of the page', async (t) => {
  const folder = pageFolder(t);
  const { port } = await startWeb(t, { pageFolder: folder });
  const index = await ask(port, '/');
  t.match(index.headers, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-cache' });
  t.equal(index.body.toString(), readFileSync(join(folder, 'index.html'), 'utf8'));
  t.equal((await ask(port, '/index.html?x=1')).status, 200);
  const hashed = await ask(port, '/assets/index-a1B2c3D4.js');
  t.match(hashed.headers, {
    'content-type': 'text/javascript; charset=utf-8',
    'cache-control': 'public, max-age=31536000, immutable',
  });
  const zipped = await ask(port, '/', { headers: { 'accept-encoding': 'br, gzip;q=0.5' } });
  t.match(zipped.headers, { 'content-encoding': 'gzip', vary: 'Accept-Encoding' });
  t.same(gunzipSync(zipped.body), index.body);
  t.not(zipped.headers.etag, index.headers.etag);
  const unzipped = await ask(port, '/', { headers: { 'accept-encoding': 'gzip;q=0, identity' } });
  t.equal(unzipped.headers['content-encoding'], undefined);
  const again = await ask(port, '/', { headers: { 'if-none-match': `"other", W/${index.headers.etag}` } });
  t.same([again.status, again.body.length], [304, 0]);
  const head = await ask(port, '/', { method: 'HEAD' });
  t.same([head.status, head.headers['content-length'], head.body.length], [200, '2000', 0]);
  const posted = await ask(port, '/', { body: '{}' });
  t.same([posted.status, posted.headers.allow], [405, 'GET, HEAD']);
  writeFileSync(join(folder, 'index.html'), 'changed');
  t.same((await ask(port, '/')).body, index.body, 'the page that was there at the start');
});

t.test('without a page only the API answers', async (t) => {
  const { port } = await startWeb(t, { pageFolder: null });
  t.equal((await ask(port, '/')).status, 404);
  t.equal((await ask(port, '/api/session')).status, 200);
  t.equal((await ask(port, '/api/openapi.json')).status, 404);
  t.equal((await ask(port, '/api/clips/x')).status, 404);
  t.equal((await ask(port, '/api/spectrogram')).status, 404);
});

t.test('the description of the API', async (t) => {
  const file = projectPath('config/openapi.json');
  const { port } = await startWeb(t, { openApiFile: file });
  t.same((await ask(port, '/api/openapi.json')).json, JSON.parse(readFileSync(file, 'utf8')));
});

t.test('every command is answered as over MQTT', async (t) => {
  const { port, control } = await startWeb(t);
  for (const name of Object.keys(commandSpecs) as CommandName[]) {
    const { example = {}, result } = commandSpecs[name] as (typeof commandSpecs)['pause'];
    const body = JSON.stringify({ ...example, transaction: 7 });
    const { status, json } = await ask(port, `/api/request/${name}`, { body });
    const reply = contract.response.schema.parse(json);
    t.same([status, reply.status, reply.transaction], [200, 'ok', 7], name);
    t.ok(result.safeParse(reply.data).success, name);
  }
  t.ok(control.calls.length >= Object.keys(commandSpecs).length);
  const called = control.calls.length;
  for (const [command, body, status, code] of [
    ['no/such', '{}', 404, 'unknown_command'],
    ['pause/', '{}', 404, 'unknown_command'],
    ['set', '{}', 404, 'unknown_command'],
    ['pause', '[]', 400, 'invalid_payload'],
    ['pause', '{', 400, 'invalid_payload'],
    ['pause', Buffer.from([0xff]), 400, 'invalid_payload'],
    ['pause', '{"seconds":-1}', 400, 'invalid_request'],
    ['pause', '{"transaction":[]}', 400, 'invalid_request'],
  ] as const) {
    const answer = await ask(port, `/api/request/${command}`, { body });
    t.same([answer.status, answer.code], [status, code], `${command} ${body.toString()}`);
    t.ok(contract.response.schema.safeParse(answer.json).success);
  }
  t.equal(control.calls.length, called, 'none of them was carried out');
  t.equal((await ask(port, '/api/request/resume', { method: 'POST' })).status, 200, 'an empty body');
});

t.test('a fault of the program is told as one, and the next request is answered', async (t) => {
  const { port, log } = await startWeb(t, { execute: () => Promise.reject(new Error('out of order')) });
  const answer = await ask(port, '/api/request/pause', { body: '{}' });
  t.same([answer.status, answer.code], [500, 'internal']);
  t.ok(log.lines.some(({ level, fields }) => level === 'error' && fields.code === 'web_failed'));
  t.equal((await ask(port, '/')).status, 200);
});

t.test('the feed: what is kept, then what is new', async (t) => {
  const { port, web } = await startWeb(t);
  web.publish('status', 'online');
  web.publish('state', topicExamples.state!);
  web.publish('event', topicExamples.event!);
  web.publish('label', 'ON', { slug: 'dog' });
  web.publish('label', 'ON', { slug: 'siren' });
  web.publish('label', 'OFF', { slug: 'dog' });
  web.retire('label', { slug: 'siren' });
  web.publish('response', { status: 'ok', data: {} }, { command: 'pause' });
  const feed = await readFeed(port);
  t.match(feed.headers, { 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' });
  t.match(feed.headers['cache-control'], /no-store/);
  await feed.until(() => feed.events.length >= 4, 'the snapshot');
  web.publish('event', topicExamples.event!);
  web.publish('tags', topicExamples.tags!);
  web.publish('response', { status: 'ok', data: {} }, { command: 'pause' });
  web.publish('label', 'ON', { slug: 'dog' });
  await feed.until(() => feed.events.length >= 7, 'what is new');
  t.same(
    feed.events.map(({ name, data }) => [name, data.topic, data.payload]),
    [
      ['status', 'status', 'online'],
      ['state', 'state', topicExamples.state],
      ['label', 'label/dog', 'OFF'],
      ['ready', undefined, undefined],
      ['event', 'event', topicExamples.event],
      ['tags', 'tags', topicExamples.tags],
      ['label', 'label/dog', 'ON'],
    ],
  );
  t.equal(web.counters().viewers, 1);
  feed.close();
  await until(() => web.counters().viewers === 0, 'the viewer has gone', 20);
});

t.test('what has expired is told to nobody who comes later', async (t) => {
  let nowMs = 0;
  const { port, web } = await startWeb(t, { now: () => nowMs });
  web.publish('telemetry', { ...topicExamples.telemetry!, interval_seconds: 5 });
  web.publish('level', topicExamples.level!);
  nowMs += 16_000;
  const feed = await readFeed(port);
  await feed.until(() => feed.events.some(({ name }) => name === 'ready'), 'the snapshot');
  t.same(
    feed.events.map(({ name }) => name),
    ['level', 'ready'],
  );
  feed.close();
});

/** A payload that counts how often it is written as text. */
function counting<T extends object>(payload: T): { payload: T; written: () => number } {
  let written = 0;
  const toJSON = (): T => {
    written += 1;
    return payload;
  };
  return {
    payload: Object.defineProperty({ ...payload }, 'toJSON', { value: toJSON }),
    written: () => written,
  };
}

t.test('nothing is written as text while nobody looks on, and once for all who do', async (t) => {
  const { port, web } = await startWeb(t);
  const state = counting(topicExamples.state!);
  const event = counting(topicExamples.event!);
  for (let turn = 0; turn < 10; turn += 1) {
    web.publish('state', state.payload);
    web.publish('event', event.payload);
  }
  t.same([state.written(), event.written()], [0, 0]);
  const feeds = await Promise.all(Array.from({ length: 5 }, () => readFeed(port)));
  await Promise.all(feeds.map((feed) => feed.until(() => feed.events.length === 2, 'the snapshot')));
  t.equal(state.written(), 1, 'the snapshot of all five');
  web.publish('event', event.payload);
  await Promise.all(feeds.map((feed) => feed.until(() => feed.events.length === 3, 'the event')));
  t.equal(event.written(), 1);
  for (const feed of feeds) feed.close();
  await until(() => web.counters().viewers === 0, 'all have gone', 20);
  web.publish('event', event.payload);
  t.equal(event.written(), 1);
});

t.test('a document that cannot be written is left out', async (t) => {
  const { port, web, log } = await startWeb(t);
  const toJSON = (): never => {
    throw new Error('no');
  };
  const bad = { ...topicExamples.state!, toJSON };
  web.publish('state', bad);
  web.publish('status', 'online');
  const feed = await readFeed(port);
  await feed.until(() => feed.events.length === 2, 'the others');
  t.ok(log.lines.some(({ fields }) => fields.code === 'web_failed'));
  feed.close();
});

t.test('200 look on, and no more', async (t) => {
  const { port, web } = await startWeb(t);
  web.publish('status', 'online');
  const feeds = await Promise.all(Array.from({ length: 200 }, () => readFeed(port)));
  t.ok(feeds.every(({ status }) => status === 200));
  const refused = await ask(port, '/api/feed');
  t.same([refused.status, refused.code], [503, 'too_many_viewers']);
  t.equal((await ask(port, '/api/request/pause', { body: '{}' })).status, 200, 'commands are carried out');
  for (let turn = 0; turn < 10; turn += 1) web.publish('tags', { ...topicExamples.tags!, seq: turn });
  await Promise.all(
    feeds.map((feed) =>
      feed.until(() => feed.events.at(-1)?.name === 'tags' && feed.events.length === 12, 'all tags'),
    ),
  );
  feeds[0]!.close();
  await until(() => web.counters().viewers === 199, 'one has gone', 20);
  const next = await readFeed(port);
  t.equal(next.status, 200, 'its place is free');
  for (const feed of [...feeds, next]) feed.close();
});

/** Opens a feed, and never reads what comes. */
async function neverRead(port: number): Promise<{ closed: Promise<void> }> {
  const { socket, closed } = await rawConnection(port);
  socket.pause();
  socket.write(`GET /api/feed HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  return { closed };
}

t.test('a viewer that never reads is dropped, and the others do not notice', async (t) => {
  const { port, web } = await startWeb(t);
  const reader = await readFeed(port);
  await neverRead(port);
  await until(() => web.counters().viewers === 2, 'both look on', 20);
  const pad = 'x'.repeat(100_000);
  let sent = 0;
  // The kernel takes some megabytes before anything waits here.
  await until(
    () => {
      for (let turn = 0; turn < 5; turn += 1, sent += 1) {
        web.publish('log', { ts: '2026-01-01T00:00:00.000Z', level: 'warn', message: pad, code: null });
      }
      return web.counters().dropped === 1;
    },
    () => `dropped after ${sent} documents`,
    60,
    10,
  );
  t.equal(web.counters().viewers, 1);
  await reader.until(() => reader.events.length === sent + 1, 'all of it');
  reader.close();
});

t.test(
  'a viewer that has taken nothing for a while is dropped, and one that reads hears that we are here',
  async (t) => {
    const { port, web } = await startWeb(t, { limits: { keepAliveMs: 100, viewerBytes: 1e9 } });
    await neverRead(port);
    await until(() => web.counters().viewers === 1, 'it looks on', 20);
    for (let turn = 0; turn < 100; turn += 1) {
      web.publish('log', {
        ts: '2026-01-01T00:00:00.000Z',
        level: 'warn',
        message: 'x'.repeat(200_000),
        code: null,
      });
    }
    await until(() => web.counters().dropped === 1, 'it is dropped', 60);
    const reader = await readFeed(port);
    await reader.until(() => reader.comments > 2, 'comments');
    t.same(web.counters(), { viewers: 1, dropped: 1 });
    reader.close();
  },
);

/** Sources whose columns are handed over by hand. */
function createTap(...names: string[]) {
  const watching = new Map<string, (columns: SpectrogramColumns) => void>();
  const calls: string[] = [];
  const tap: SpectrogramTap = {
    watch(source, onColumns) {
      if (!names.includes(source)) return null;
      calls.push(`watch ${source}`);
      watching.set(source, onColumns);
      return () => {
        calls.push(`stop ${source}`);
        watching.delete(source);
      };
    },
  };
  return { tap, watching, calls };
}

t.test('the spectrogram is computed for those who look on', async (t) => {
  const { tap, watching, calls } = createTap('main', 'yard');
  const { port, web } = await startWeb(t, { spectrogram: tap });
  t.equal((await ask(port, '/api/spectrogram?source=cellar')).status, 404);
  t.same(calls, []);
  const first = await readFeed(port, '/api/spectrogram');
  const second = await readFeed(port, '/api/spectrogram?source=main');
  const other = await readFeed(port, '/api/spectrogram?source=yard');
  await Promise.all([first, second, other].map((one) => one.until(() => one.events.length === 1, 'ready')));
  t.same(calls, ['watch main', 'watch yard'], 'once each');
  const values = Float32Array.from([-4, -2, 0, 2, 4, 6, -Infinity, NaN]);
  watching.get('main')!({ startMs: Date.UTC(2026, 0, 2), columnMs: 10, bands: 4, values });
  await Promise.all([first, second].map((one) => one.until(() => one.events.length === 2, 'columns')));
  const { name, data } = second.events[1]!;
  t.equal(name, 'columns');
  const { data: text, ...rest } = data as { data: string };
  t.match(rest, {
    source: 'main',
    start: '2026-01-02T00:00:00.000Z',
    column_ms: 10,
    bands: 4,
    columns: 2,
    high: 6,
  });
  t.same(Buffer.from(text, 'base64').length, 8);
  t.equal(other.events.length, 1, 'to each its own source');
  first.close();
  other.close();
  await until(() => calls.includes('stop yard'), 'the yard is not computed any more', 20);
  t.notOk(calls.includes('stop main'), 'somebody looks on');
  second.close();
  await until(() => calls.includes('stop main'), 'nothing is computed', 20);
  t.equal(web.counters().viewers, 0);
  const again = await readFeed(port, '/api/spectrogram');
  t.same(calls.at(-1), 'watch main');
  again.close();
});

t.test('a spectrogram for which there is no place is not computed', async (t) => {
  const { tap, calls } = createTap('main');
  const { port } = await startWeb(t, { spectrogram: tap, limits: { viewers: 0 } });
  t.equal((await ask(port, '/api/spectrogram')).code, 'too_many_viewers');
  t.same(calls, ['watch main', 'stop main']);
});

t.test('clips, whole and in parts', async (t) => {
  const sound = Buffer.from(Array.from({ length: 1000 }, (_, index) => index % 251));
  const { port } = await startWeb(t, {
    findClip: (id) =>
      Promise.resolve(
        id !== 'one'
          ? null
          : {
              contentType: 'audio/flac',
              fileName: 'one.flac',
              bytes: sound.length,
              read: (start, end) => Readable.from([sound.subarray(start, end + 1)]),
            },
      ),
  });
  const whole = await ask(port, '/api/clips/one');
  t.same([whole.status, whole.body], [200, sound]);
  t.match(whole.headers, {
    'content-type': 'audio/flac',
    'accept-ranges': 'bytes',
    'cache-control': 'no-store',
  });
  const part = await ask(port, '/api/clips/one', { headers: { range: 'bytes=10-19' } });
  t.same(
    [part.status, part.headers['content-range'], part.body],
    [206, 'bytes 10-19/1000', sound.subarray(10, 20)],
  );
  const beyond = await ask(port, '/api/clips/one', { headers: { range: 'bytes=1000-' } });
  t.same([beyond.status, beyond.headers['content-range']], [416, 'bytes */1000']);
  const head = await ask(port, '/api/clips/one', { method: 'HEAD' });
  t.same([head.status, head.headers['content-length'], head.body.length], [200, '1000', 0]);
  t.equal((await ask(port, '/api/clips/two')).status, 404);
});

t.test('a clip whose file breaks off ends the reply', async (t) => {
  const { port } = await startWeb(t, {
    findClip: () =>
      Promise.resolve({
        contentType: 'audio/flac',
        fileName: 'x.flac',
        bytes: 1000,
        read: () =>
          new Readable({
            read() {
              this.push(Buffer.alloc(10));
              this.destroy(new Error('EIO'));
            },
          }),
      }),
  });
  await t.rejects(ask(port, '/api/clips/one'));
  t.equal((await ask(port, '/')).status, 200);
});

t.test('the stop ends everything that goes on', async (t) => {
  const { tap, calls } = createTap('main');
  let answer: (() => void) | undefined;
  const { port, web } = await startWeb(t, {
    spectrogram: tap,
    execute: () => new Promise((resolve) => (answer = () => resolve({ status: 'ok', data: {} }))),
  });
  const feed = await readFeed(port);
  const pictures = await readFeed(port, '/api/spectrogram');
  const waiting = ask(port, '/api/request/restart', { body: '{}' });
  const silent = await rawConnection(port);
  await until(() => web.counters().viewers === 2 && answer !== undefined, 'all have come', 20);
  const stopped = web.stop();
  t.equal(web.stop(), stopped);
  answer!();
  t.equal((await waiting).status, 200, 'a reply that is under way is given');
  await Promise.all([stopped, feed.ended, pictures.ended, silent.closed]);
  t.ok(calls.includes('stop main'));
  await t.rejects(ask(port, '/'), { code: 'ECONNREFUSED' });
});

t.test('a page that is too large is refused, as is a folder that is not there', async (t) => {
  await t.rejects(startWeb(t, { pageFolder: join(temporaryFolder(t), 'none') }), { code: 'web_failed' });
});
