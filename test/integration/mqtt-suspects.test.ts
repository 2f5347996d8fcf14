import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { Aedes } from 'aedes';
import t, { type Test } from 'tap';
import type { Link } from '../../src/mqtt/link.js';
import { startMosquitto } from '../support/broker.js';
import { eventWith } from '../support/events.js';
import { makeLink as makeTestLink } from '../support/link.js';
import { createProbe } from '../support/mqtt-probe.js';
import { createRecordingLog } from '../support/recording-log.js';
import { scriptedBroker } from '../support/scripted-broker.js';
import { skipWithout } from '../support/tools.js';
import { until, type What } from '../support/waiting.js';

/* Brokers that answer what they do not want by ending the connection, as MQTT 3.1.1 tells them to. */

const B = 'soundpost/test';
const quick = { firstDelayMs: 10, maxDelayMs: 50, refusedDelayMs: 5000, lastedMs: 60_000, holdMs: 120_000 };

const makeLink = (t: Test, options: Parameters<typeof makeTestLink>[1]) =>
  makeTestLink(t, { timing: quick, ...options });

/** For brokers that tell nobody. */
const eventually = (what: What, fits: () => boolean) => until(fits, what, 30, 10);

/** All that a service says at its beginning, with a large description and a large info. */
function sayAll(link: Link): void {
  link.publishElsewhere('homeassistant/device/soundpost_test/config', 'd'.repeat(9000), { leads: true });
  link.publishElsewhere(`${B}/info`, 'i'.repeat(7000));
  link.publish('audio/status', 'online');
  link.publish('level', { ts: '2026-01-01T00:00:00.000Z', dbfs: -30, peak_dbfs: -20 });
  for (const slug of ['dog', 'cat', 'siren', 'speech', 'music']) link.publish('label', 'OFF', { slug });
  for (const id of ['1', '2', '3']) link.publish('event', eventWith({ id }));
}

const small = [
  `${B}/status`,
  `${B}/audio/status`,
  `${B}/level`,
  ...['dog', 'cat', 'siren', 'speech', 'music'].map((slug) => `${B}/label/${slug}`),
  `${B}/event`,
];
const large = ['homeassistant/device/soundpost_test/config', `${B}/info`];

/** Aedes that lets through what `allows`, and ends the connection of whoever sends anything else. */
async function aedes(t: Test, allows: (topic: string, bytes: number) => boolean) {
  const broker = await Aedes.createBroker();
  const state = { allows, taken: new Set<string>(), refused: [] as string[], connections: 0 };
  broker.authorizePublish = (_, { topic, payload }, done) => {
    const fine = state.allows(topic, payload.length);
    if (!fine) state.refused.push(topic);
    else state.taken.add(topic);
    done(fine ? null : new Error('not allowed'));
  };
  broker.on('client', () => (state.connections += 1));
  const server = createServer((socket) => broker.handle(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    await new Promise<void>((resolve) => broker.close(() => resolve()));
    server.close();
  });
  return { url: `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`, state };
}

const cases: [what: string, allows: (topic: string, bytes: number) => boolean, held: string[]][] = [
  [
    'one topic',
    (topic) => !topic.startsWith('homeassistant/'),
    ['homeassistant/device/soundpost_test/config'],
  ],
  ['a size', (_, bytes) => bytes <= 6000, large],
  ['what is sent without an acknowledgement', (topic) => topic !== `${B}/level`, [`${B}/level`]],
  ['events', (topic) => topic !== `${B}/event`, [`${B}/event`]],
  ['all labels', (topic) => !topic.startsWith(`${B}/label/`), [`${B}/label/#`]],
];
for (const [what, allows, held] of cases) {
  t.test(`a broker that ends the connection over ${what}`, async (t) => {
    const { url, state } = await aedes(t, allows);
    const log = createRecordingLog();
    const link = makeLink(t, { url, log });
    sayAll(link);
    await link.start();
    const isHeld = (topic: string) =>
      held.some((one) => topic === one || topic.startsWith(one.replace(/#$/, '')));
    const wanted = [...small, ...large].filter((topic) => !isHeld(topic));
    const told = () =>
      log.lines.flatMap(({ fields: { code, topic } }) => (code === 'topic_held' ? [topic as string] : []));
    const quiet = () =>
      wanted.every((topic) => state.taken.has(topic)) && held.every((one) => told().includes(one));
    await eventually(() => `peace; taken: ${[...state.taken].join(', ')}; held: ${told().join(', ')}`, quiet);
    t.ok(state.connections <= 10, `${state.connections} connections`);
    const message = log.lines.find(({ fields }) => fields.code === 'topic_held')?.message ?? '';
    t.match(
      message,
      /ended the connection 2 times in a row just when .* was written to: that is left out for 2 min/,
    );
    t.notOk(
      log.lines.some(({ message }) => /device\.id/.test(message)),
      'the id is not to blame',
    );

    // From now on it is calm: new events arrive, nothing more is tried, and what is held stays where it is.
    const refused = state.refused.length;
    await eventually('a connection', () => link.connected);
    state.taken.clear();
    link.publish('event', eventWith({ id: '4' }));
    link.publish('label', 'ON', { slug: 'dog' });
    link.publish('audio/status', 'offline');
    await link.stop();
    t.ok(state.taken.has(`${B}/audio/status`));
    t.equal(state.taken.has(`${B}/label/dog`), !isHeld(`${B}/label/dog`));
    t.equal(state.taken.has(`${B}/event`), !isHeld(`${B}/event`));
    t.equal(state.refused.length, refused);
    t.equal(link.counters().queued, isHeld(`${B}/event`) ? 4 : 0, 'events are not lost');
  });
}

t.test('a hold is lifted once the broker takes it', async (t) => {
  const { url, state } = await aedes(t, (topic) => topic !== `${B}/event`);
  const log = createRecordingLog();
  const link = makeLink(t, { url, log, timing: { ...quick, holdMs: 300 } });
  sayAll(link);
  await link.start();
  const found = () => log.lines.some(({ fields }) => fields.code === 'topic_held');
  await eventually('a hold', found);
  state.allows = () => true;
  await eventually('the events to go', () => link.counters().queued === 0);
  t.ok(state.taken.has(`${B}/event`));
});

t.test('mosquitto with a small limit and MQTT 3.1.1', { skip: skipWithout('mosquitto') }, async (t) => {
  const broker = await startMosquitto({ config: ['max_packet_size 2048'] });
  t.teardown(() => broker.stop());
  const log = createRecordingLog();
  const watcher = await createProbe(broker.url, ['#'], {});
  t.teardown(() => watcher.close());
  const link = makeLink(t, { url: broker.url, protocolVersion: 4, log });
  sayAll(link);
  const limits: number[] = [];
  link.onTextLimit((bytes) => limits.push(bytes));
  await link.start();
  for (const topic of small) await watcher.next(topic);
  const told = () =>
    log.lines.filter(({ fields }) => fields.code === 'topic_held').map(({ fields }) => fields.topic);
  await eventually('two holds', () => told().length >= 2);
  t.same(told().sort(), [...large].sort());
  t.match(
    log.lines.find(({ fields }) => fields.code === 'topic_held')?.message,
    /so large a message \(\d+ bytes/,
  );
  await watcher.next(`${B}/status`, ({ text }) => text === 'online');
  t.same(limits, [Infinity, 2048 - 64 - 256], 'who can say it in less is told so');
  // A shorter one on the same topic goes through.
  link.publishElsewhere(`${B}/info`, 'short');
  await watcher.next(`${B}/info`, ({ text }) => text === 'short');
});

t.test('with MQTT 5 the limit is known from the start', { skip: skipWithout('mosquitto') }, async (t) => {
  const broker = await startMosquitto({ config: ['max_packet_size 2048'] });
  t.teardown(() => broker.stop());
  const log = createRecordingLog();
  const link = makeLink(t, { url: broker.url, log });
  const limits: number[] = [];
  link.onTextLimit((bytes) => {
    limits.push(bytes);
    if (bytes < Infinity) link.publishElsewhere('homeassistant/device/soundpost_test/config', 'in less');
  });
  const watcher = await createProbe(broker.url, ['homeassistant/#'], {});
  t.teardown(() => watcher.close());
  sayAll(link);
  await link.start();
  await watcher.next('homeassistant/device/soundpost_test/config', ({ text }) => text === 'in less');
  t.same(limits, [Infinity, 2048 - 64 - 256]);
  const warned = log.lines.filter(({ level }) => level === 'warn');
  t.same(
    warned.map(({ fields }) => fields.topic),
    [`${B}/info`],
    'what cannot be said in less is named',
  );
});

t.test('a broker that ends the connection over a subscription', async (t) => {
  const log = createRecordingLog();
  const broker = await scriptedBroker(t, { subscribe: (filter) => filter !== 'homeassistant/status' });
  const link = makeLink(t, {
    url: broker.url,
    protocolVersion: 4,
    log,
    birthTopic: 'homeassistant/status',
  });
  sayAll(link);
  await link.start();
  const held = () => log.lines.find(({ fields }) => fields.code === 'topic_held');
  await broker.until(
    () => held() !== undefined && small.every((one) => broker.taken.some(({ topic }) => topic === one)),
    'a hold',
  );
  t.match(
    held()?.message,
    /just when homeassistant\/status was subscribed to.*not to let this device read homeassistant\/status/,
  );
  t.ok(broker.subscribed.includes(`${B}/request/#`) && broker.subscribed.includes(`${B}/+/set`));
  await eventually('a connection', () => link.connected);
  t.ok(broker.connects.length <= 6, `${broker.connects.length} connections`);
});

t.test('a DISCONNECT with a reason is proof enough', async (t) => {
  const log = createRecordingLog();
  const broker = await scriptedBroker(t, { publish: (topic) => (topic === `${B}/info` ? 0x95 : true) });
  const link = makeLink(t, { url: broker.url, log });
  sayAll(link);
  await link.start();
  await broker.until(
    () => log.lines.some(({ fields }) => fields.code === 'topic_held' && fields.topic === `${B}/info`),
    'a hold',
  );
  t.ok(broker.connects.length <= 3, `${broker.connects.length} connections`);
  t.ok(log.lines.some(({ message }) => /packet too large \(reason code 149\)/.test(message)));
});
