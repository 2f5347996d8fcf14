import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Aedes } from 'aedes';
import { generate, parser, type Packet } from 'mqtt-packet';
import t, { type Test } from 'tap';
import { silentLogger, type Logger } from '../../src/common/log.js';
import { isoTime, type EventPayload, type TelemetryPayload } from '../../src/mqtt/contract.js';
import type { IncomingMessage } from '../../src/mqtt/link.js';
import { describeRefusal, refusedTopics } from '../../src/mqtt/refused.js';
import { startMosquitto, type Mosquitto, type MosquittoOptions } from '../support/broker.js';
import { eventWith } from '../support/events.js';
import { makeLink } from '../support/link.js';
import { createProbe, type Probe } from '../support/mqtt-probe.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

const B = 'soundpost/test';

async function mosquitto(t: Test, options: MosquittoOptions = {}): Promise<Mosquitto> {
  const broker = await startMosquitto(options);
  t.teardown(() => broker.stop());
  return broker;
}

async function probe(t: Test, url: string, options = {}): Promise<Probe> {
  const made = await createProbe(url, ['#'], { protocolVersion: 5, ...options });
  t.teardown(() => made.close());
  return made;
}

/** A logger, and the first of its warnings with this code. */
function awaitWarning(code: string): { log: Logger; warned: Promise<string> } {
  let heard: (message: string) => void = () => undefined;
  const warned = new Promise<string>((resolve) => (heard = resolve));
  const warn: Logger['warn'] = (fields, message) => {
    if ('code' in fields && fields.code === code) heard(message);
  };
  return { log: { ...silentLogger, warn }, warned };
}

const level = { ts: isoTime(0), dbfs: -30, peak_dbfs: -20 };
/** Only what a link looks at. */
const telemetry = (interval_seconds: number) => ({ interval_seconds }) as TelemetryPayload;

t.test('with mosquitto', { skip: skipWithout('mosquitto', 'mosquitto_passwd') }, (t) => {
  t.test('what goes stale expires, and only that', async (t) => {
    const broker = await mosquitto(t);
    const watcher = await probe(t, broker.url);
    const link = makeLink(t, { url: broker.url });
    await link.start();
    await watcher.next(`${B}/status`);
    link.publish('level', level);
    link.publish('telemetry', telemetry(3600));
    link.publish('label', 'OFF', { slug: 'dog' });
    link.publish('log', { ts: isoTime(0), level: 'warn', message: 'm', code: null });
    link.reply({
      command: 'info',
      payload: { status: 'ok', data: {} },
      responseTopic: 'answers/1',
      correlationData: Buffer.from([0, 255]),
    });
    /** Seconds that are left, as the broker hands them on; a second may have passed meanwhile. */
    const expiryOf = async (topic: string) => (await watcher.next(topic)).properties.messageExpiryInterval;
    const near = (left: number | undefined, seconds: number) =>
      left !== undefined && left <= seconds && left > seconds - 10;
    t.ok(near(await expiryOf(`${B}/level`), 60));
    t.ok(near(await expiryOf(`${B}/telemetry`), 3 * 3600), 'three of its own intervals');
    t.ok(near(await expiryOf(`${B}/log`), 3600));
    const [status] = watcher.messages.filter(({ topic }) => topic === `${B}/status`);
    t.same(status?.properties, { payloadFormatIndicator: true });
    t.same((await watcher.next(`${B}/label/dog`)).properties, { payloadFormatIndicator: true });
    for (const topic of [`${B}/response/info`, 'answers/1']) {
      const { properties } = await watcher.next(topic);
      t.ok(near(properties.messageExpiryInterval, 600));
      t.match(properties, { contentType: 'application/json', payloadFormatIndicator: true });
      t.same(properties.correlationData, Buffer.from([0, 255]));
    }
  });

  t.test('what has expired while there was no broker is not sent', async (t) => {
    const broker = await mosquitto(t);
    const watcher = await probe(t, broker.url);
    const link = makeLink(t, { url: broker.url });
    link.publish('telemetry', telemetry(1 / 3));
    link.publish('level', level);
    // Messages expire after whole seconds: the time itself is what is waited for.
    await delay(1100);
    await link.start();
    await watcher.next(`${B}/level`);
    t.notOk(watcher.messages.some(({ topic }) => topic === `${B}/telemetry`));
  });

  t.test('MQTT 3.1.1 has none of it, and is no worse off', async (t) => {
    const broker = await mosquitto(t);
    const watcher = await probe(t, broker.url);
    const link = makeLink(t, { url: broker.url, protocolVersion: 4 });
    await link.start();
    await watcher.next(`${B}/status`);
    link.publish('level', level);
    t.same((await watcher.next(`${B}/level`)).properties, {});
    link.reply({
      command: 'info',
      payload: { status: 'ok', data: {} },
      correlationData: Buffer.from('x'),
      responseTopic: 'answers/1',
    });
    t.same((await watcher.next('answers/1')).properties, {});
  });

  t.test('a refused topic is named, with the rule that is missing', async (t) => {
    const broker = await mosquitto(t, {
      passwords: { owl: 'hoot' },
      acl: ['user owl', `topic readwrite ${B}/#`, `topic deny ${B}/info`],
    });
    const { log, warned } = awaitWarning('publish_refused');
    const link = makeLink(t, { url: broker.url, username: 'owl', password: 'hoot', log });
    await link.start();
    link.publish('info', {
      schema_version: 1,
      version: '0',
      device: { id: 'test', name: 'Test' },
      models: { installed: [], known: [] },
      config: {},
    });
    t.equal(
      await warned,
      `The broker does not take ${B}/info: not authorized (reason code 135): let this device write ${B}/info in the broker's access rules`,
    );
  });

  t.test('a refused event waits until it is allowed', async (t) => {
    const rules = ['user owl', `topic readwrite ${B}/#`];
    const broker = await mosquitto(t, {
      passwords: { owl: 'hoot' },
      acl: [...rules, `topic deny ${B}/event`],
    });
    const owl = { username: 'owl', password: 'hoot' };
    const watcher = await createProbe(broker.url, [`${B}/#`], { protocolVersion: 5, ...owl });
    t.teardown(() => watcher.close());
    const { log, warned } = awaitWarning('publish_refused');
    const link = makeLink(t, { url: broker.url, ...owl, log, timing: { refusedEventMs: 100 } });
    await link.start();
    link.publish('event', eventWith({ id: '1' }));
    t.match(await warned, /let this device write soundpost\/test\/event/);
    for (const id of ['2', '3']) link.publish('event', eventWith({ id }));
    t.same(link.counters(), { queued: 3, dropped: 0 });

    await broker.changeAcl(rules);
    await watcher.next(`${B}/event`, ({ text }) => text.includes('"id":"3"'));
    const ids = watcher.messages
      .filter(({ topic }) => topic === `${B}/event`)
      .map(({ text }) => (JSON.parse(text) as EventPayload).id);
    t.same([...new Set(ids)], ['1', '2', '3'], 'all of them, in order');
    await link.stop();
    t.same(link.counters(), { queued: 0, dropped: 0 });
  });

  t.end();
});

/** A broker for one client that answers QoS 1 as told; no real one changes its mind at will. `null`: no answer. */
async function moodyBroker(t: Test, takes: (topic: string, text: string) => boolean | null) {
  const taken: { topic: string; text: string }[] = [];
  const answer = (socket: Socket, packet: Packet) => {
    const say = (reply: Packet) => socket.write(generate(reply, { protocolVersion: 5 }));
    if (packet.cmd === 'connect') say({ cmd: 'connack', reasonCode: 0, sessionPresent: false });
    if (packet.cmd === 'subscribe')
      say({ cmd: 'suback', messageId: packet.messageId!, granted: packet.subscriptions.map(() => 1) });
    if (packet.cmd !== 'publish') return;
    const message = { topic: packet.topic, text: packet.payload.toString() };
    const fine = packet.qos === 0 || takes(message.topic, message.text);
    if (fine !== false) taken.push(message);
    if (packet.qos === 0 || fine === null) return;
    say({ cmd: 'puback', messageId: packet.messageId!, reasonCode: fine ? 0 : 135 });
  };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const incoming = parser({ protocolVersion: 5 });
    incoming.on('packet', (packet: Packet) => answer(socket, packet));
    socket.on('data', (bytes) => incoming.parse(bytes)).on('error', () => undefined);
    t.teardown(() => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return {
    url: `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`,
    taken,
    /** Whether it leaves unread what comes. */
    deaf(deaf: boolean) {
      for (const socket of sockets) socket[deaf ? 'pause' : 'resume']();
    },
  };
}

t.test('events stay in order where the broker changes its mind between two of them', async (t) => {
  let round = 0;
  const broker = await moodyBroker(t, (topic, text) => {
    if (topic !== `${B}/event`) return true;
    const first = (JSON.parse(text) as EventPayload).id === '1';
    if (first) round += 1;
    // Of the first round nothing is taken; of the second all but the first event.
    return round > 2 || (round === 2 && !first);
  });
  const link = makeLink(t, { url: broker.url, timing: { refusedEventMs: 20 } });
  for (const id of ['1', '2', '3']) link.publish('event', eventWith({ id }));
  await link.start();
  const events = () => broker.taken.filter(({ topic }) => topic === `${B}/event`);
  await until(
    () => events().length >= 3,
    () => `three events; there were ${events().length}`,
    30,
  );
  t.same(
    events().map(({ text }) => (JSON.parse(text) as EventPayload).id),
    ['1', '2', '3'],
  );
  await link.stop();
  t.same(link.counters(), { queued: 0, dropped: 0 });
});

t.test('what needs no acknowledgement does not wait for one', async (t) => {
  const broker = await moodyBroker(t, (topic) => (topic.includes('/label/') ? null : true));
  const link = makeLink(t, { url: broker.url });
  await link.start();
  for (let n = 0; n < 20; n += 1) link.publish('label', 'ON', { slug: `sound_${n}` });
  link.publish('level', level);
  await until(() => broker.taken.some(({ topic }) => topic === `${B}/level`), 'the level', 30);
  const labels = () => broker.taken.filter(({ topic }) => topic.includes('/label/')).length;
  // The place of the first message may have become free only after the level went out.
  await until(
    () => labels() >= 16,
    () => `16 labels; there were ${labels()}`,
    30,
  );
  await link.stop();
  t.equal(labels(), 16, 'as many as may wait');
});

t.test('a broker that reads nothing more is not written to without end', async (t) => {
  const broker = await moodyBroker(t, () => true);
  const link = makeLink(t, { url: broker.url });
  await link.start();
  await until(() => broker.taken.length > 0, 'a first message', 30);
  broker.deaf(true);
  const label = 'x'.repeat(1000);
  const last = 3000;
  for (let seq = 1; seq <= last; seq += 1) {
    const tags = Array.from({ length: 20 }, () => ({ label, mid: null, score: 0 }));
    const window = { start: isoTime(0), end: isoTime(0) };
    const answer = {
      ts: isoTime(0),
      seq,
      model: 'm',
      window,
      tags,
      now: [],
      level_dbfs: null,
      latency_ms: 0,
    };
    link.publish('tags', answer);
    link.publish('log', { ts: isoTime(0), level: 'warn', message: label, code: null });
    link.reply({ command: 'info', payload: { status: 'ok', data: { label } } });
    // The socket is given every chance to take more.
    if (seq % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  broker.deaf(false);
  const seqOf = ({ topic, text }: { topic: string; text: string }) =>
    topic === `${B}/tags` ? (JSON.parse(text) as { seq: number }).seq : 0;
  await until(() => broker.taken.some((message) => seqOf(message) === last), 'the newest tags', 60);
  const bytes = broker.taken.reduce((sum, { text }) => sum + text.length, 0);
  // The system's own buffers take some megabytes; published were more than 60.
  t.ok(bytes < 20e6, `${(bytes / 1e6).toFixed(1)} MB came`);
});

t.test('a refused subscription is named, and asked for again until it is granted', async (t) => {
  let refusals = 0;
  const aedes = await Aedes.createBroker({
    authorizeSubscribe(_, subscription, done) {
      const refuse = subscription.topic.endsWith('/set') && refusals < 3;
      if (refuse) refusals += 1;
      done(null, refuse ? null : subscription);
    },
  });
  aedes.on('subscribe', (granted) => {
    if (!granted.some(({ topic, qos }) => topic.endsWith('/set') && qos < 128)) return;
    const packet = {
      cmd: 'publish',
      topic: `${B}/rate/set`,
      payload: '2',
      qos: 0,
      retain: false,
      dup: false,
    } as const;
    aedes.publish(packet, () => undefined);
  });
  const server = createServer((socket) => void aedes.handle(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    await new Promise<void>((resolve) => aedes.close(resolve));
    server.close();
  });
  const { log, warned } = awaitWarning('subscribe_refused');
  const { port } = server.address() as AddressInfo;
  let received: (message: IncomingMessage) => void = () => undefined;
  const requested = new Promise<IncomingMessage>((resolve) => (received = resolve));
  const link = makeLink(t, {
    url: `mqtt://127.0.0.1:${port}`,
    protocolVersion: 4,
    log,
    onRequest: received,
    timing: { resubscribeMs: 10, maxResubscribeMs: 50 },
  });
  await link.start();
  t.equal(
    await warned,
    `The broker does not let us read ${B}/+/set: unspecified error (reason code 128): the broker's access rules may not allow ${B}/+/set, or its log says more. What is sent there does not arrive; it is asked for again now and then`,
  );
  const request = await requested;
  t.equal(request.topic, `${B}/rate/set`);
  t.equal(refusals, 3);
});

t.test('what the broker adds is passed on, on one line', (t) => {
  const packet = { granted: [1, 0xa2, 0x10], properties: { reasonString: 'no\nwildcards' } };
  const [refused, ...others] = refusedTopics(['a', '+/b', 'c'], packet);
  t.same(others, []);
  t.match(refused, { topic: '+/b', code: 0xa2 });
  t.equal(
    describeRefusal(refused!, 'read', '+/b'),
    'wildcard subscriptions not supported (reason code 162, and the broker says: no wildcards): allow wildcards in subscriptions on the broker',
  );
  t.match(describeRefusal({ code: 0xff }, 'read', 'a'), /^refused \(reason code 255\)/);
  for (const nothing of [null, undefined, {}, { granted: 'x' }]) t.same(refusedTopics(['a'], nothing), []);
  t.end();
});
