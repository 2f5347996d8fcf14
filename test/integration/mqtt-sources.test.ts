/** A device with several sources, from one life to the next, against real brokers. */
import t, { type Test } from 'tap';
import { silentLogger } from '../../src/common/log.js';
import { commandTable } from '../../src/mqtt/command-table.js';
import { createCommandRouter } from '../../src/mqtt/commands.js';
import type { EventPayload, LevelPayload, TagsPayload } from '../../src/mqtt/contract.js';
import { createSourceLink } from '../../src/mqtt/source-link.js';
import { clearFormerSources } from '../../src/service/former-sources.js';
import { openLabelMemory } from '../../src/service/label-memory.js';
import { createLabelTopics } from '../../src/service/label-topics.js';
import { startEmbedded, startMosquitto } from '../support/broker.js';
import { eventWith } from '../support/events.js';
import { makeLink, reached } from '../support/link.js';
import { createProbe } from '../support/mqtt-probe.js';
import { createRecordingControl } from '../support/recording-control.js';
import { temporaryFolder } from '../support/temporary.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

const B = 'soundpost/test';
const level: LevelPayload = { ts: '2026-01-01T00:00:00.000Z', dbfs: -30, peak_dbfs: -10 };
const tags: TagsPayload = {
  ts: '2026-01-01T00:00:00.000Z',
  seq: 1,
  model: 'mn04_as',
  window: { start: '2026-01-01T00:00:00.000Z', end: '2026-01-01T00:00:10.000Z' },
  tags: [],
  now: [],
  level_dbfs: -30,
  latency_ms: 1,
};

async function probeOf(t: Test, url: string, topics: string[]) {
  const probe = await createProbe(url, topics);
  t.teardown(() => probe.close());
  return probe;
}

/** What the broker keeps below `B`, by topic. */
async function kept(t: Test, url: string): Promise<Record<string, string>> {
  const probe = await probeOf(t, url, [`${B}/#`]);
  // What is kept comes before what is published after the subscription.
  await probe.publish(`${B}/fence`, 'x');
  await probe.next(`${B}/fence`);
  const retained = probe.messages.filter(({ retain }) => retain);
  return Object.fromEntries(retained.map(({ topic, text }) => [topic.slice(B.length + 1), text]));
}

/** The life of a device with these sources: says something of each, hears the dog at the first, and stops. */
async function live(
  t: Test,
  options: { url: string; dataDir: string; sources: readonly string[] },
): Promise<void> {
  const { url, dataDir, sources } = options;
  const link = makeLink(t, { url, sources });
  const memory = openLabelMemory({ dataDir, log: silentLogger });
  const former = clearFormerSources({
    dataDir,
    sources,
    link,
    labels: memory,
    installed: [],
    log: silentLogger,
  });
  const names = sources.length === 0 ? [null] : sources;
  for (const name of names) {
    const own = createSourceLink(link, name);
    const labels = createLabelTopics({
      link: own,
      memory: memory.of(name),
      installed: [],
      on: () => new Set(),
    });
    own.publish('tags', tags);
    own.publish('level', level);
    own.publish('audio/status', 'online');
    if (name === names[0]) labels.show('dog', 'ON');
  }
  link.publish('audio/status', 'online');
  await link.start();
  await reached(link, 'connected');
  // Waits until the broker has everything.
  await link.stop();
  await former.stop();
  await memory.stop();
}

const brokers = [
  ['the embedded broker', startEmbedded, false],
  ['mosquitto', startMosquitto, skipWithout('mosquitto')],
] as const;

for (const [name, startBroker, skip] of brokers) {
  t.test(name, { skip }, async (t) => {
    const broker = await startBroker();
    t.teardown(() => broker.stop());
    const { url } = broker;

    t.test('what is left of one source, and of sources that are gone, goes from the broker', async (t) => {
      const dataDir = temporaryFolder(t);
      const both = { tags: JSON.stringify(tags), level: JSON.stringify(level) };
      const status = { 'audio/status': 'offline', status: 'offline' };
      const of = (source: string, more: Record<string, string> = {}) =>
        Object.fromEntries(
          Object.entries({ ...both, 'audio/status': 'offline', ...more }).map(([path, text]) => [
            `source/${source}/${path}`,
            text,
          ]),
        );

      await live(t, { url, dataDir, sources: [] });
      t.same(await kept(t, url), { ...both, ...status, 'label/dog': 'ON' }, 'one source: the plain topics');

      await live(t, { url, dataDir, sources: ['yard', 'hall'] });
      t.same(
        await kept(t, url),
        { ...of('yard', { 'label/dog': 'ON' }), ...of('hall'), ...status },
        'several: each has its own, and the plain ones are gone; offline at the stop',
      );

      await live(t, { url, dataDir, sources: ['hall', 'attic'] });
      t.same(await kept(t, url), { ...of('hall', { 'label/dog': 'ON' }), ...of('attic'), ...status });

      await live(t, { url, dataDir, sources: ['attic', 'hall'] });
      t.match(
        await kept(t, url),
        { 'source/attic/label/dog': 'ON', 'source/hall/label/dog': 'OFF' },
        'what a source that is still there has left on is off',
      );

      await live(t, { url, dataDir, sources: [] });
      t.same(await kept(t, url), { ...both, ...status, 'label/dog': 'ON' }, 'and back');
    });

    t.test('events of a source come in their order, however many, and only live', async (t) => {
      const watcher = await probeOf(t, url, [`${B}/source/+/event`]);
      const link = makeLink(t, { url, sources: ['yard', 'hall'] });
      const yard = createSourceLink(link, 'yard');
      const event = (n: number) => eventWith({ id: `e-${n}`, source: 'yard' });
      yard.event(event(-1));
      await link.start();
      await reached(link, 'connected');
      for (let n = 0; n < 100; n += 1) yard.event(event(n));
      createSourceLink(link, 'hall').event(event(100));
      await watcher.nextJson<EventPayload>(`${B}/source/hall/event`, ({ id }) => id === 'e-100');
      t.same(
        watcher.messages.map(({ text }) => (JSON.parse(text) as EventPayload).id),
        Array.from({ length: 101 }, (_, n) => `e-${n}`),
        'none from before the connection',
      );
      t.ok(watcher.messages.every(({ retain }) => !retain));
      await link.stop();
    });

    t.test('a source is told what to do on its own topics', async (t) => {
      const service = createRecordingControl();
      const link = makeLink(t, {
        url,
        sources: ['yard', 'hall'],
        onRequest: (message) => router.handle(message),
      });
      const router = createCommandRouter({
        commands: commandTable(service),
        topics: link.topics,
        reply: (reply) => link.reply(reply),
        log: silentLogger,
      });
      await link.start();
      await reached(link, 'connected');
      const asker = await probeOf(t, url, [`${B}/response/#`]);
      await asker.publish(`${B}/source/yard/paused/set`, 'ON');
      t.match(await asker.nextJson(`${B}/response/paused/set`), {
        status: 'ok',
        data: { paused: true, source: 'yard' },
      });
      await asker.publish(`${B}/source/hall/labels/set`, '{"labels":["Dog"],"transaction":7}');
      t.match(await asker.nextJson(`${B}/response/labels/set`), { data: { source: 'hall' }, transaction: 7 });
      await asker.publish(`${B}/source/hall/rate/set`, '2');
      t.match(await asker.nextJson(`${B}/response/rate/set`), { error: { code: 'invalid_request' } });
      t.same(service.calls, [
        ['setPaused', true, undefined, 'yard'],
        ['setLabels', ['Dog'], 'hall'],
      ]);
      // Its own topic comes back to it, and is no command.
      createSourceLink(link, 'yard').publish('label', 'ON', { slug: 'set' });
      await asker.publish(`${B}/request/resume`, '{"source":"yard"}');
      t.match(await asker.nextJson(`${B}/response/resume`), { data: { paused: false, source: 'yard' } });
      await until(() => service.calls.length === 3, 'the third call', 30);
      t.equal(asker.messages.length, 4, 'no reply but those');
      await router.stop();
      await link.stop();
    });
    t.end();
  });
}
