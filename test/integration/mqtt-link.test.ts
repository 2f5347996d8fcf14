import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { silentLogger } from '../../src/common/log.js';
import { startEmbeddedBroker } from '../../src/mqtt/broker.js';
import { commandTable, type ServiceControl } from '../../src/mqtt/command-table.js';
import { createCommandRouter, type CommandRouter } from '../../src/mqtt/commands.js';
import { contract, isoTime, type EventPayload, type StatePayload } from '../../src/mqtt/contract.js';
import { createLink, type Link, type LinkOptions, type LinkStatus } from '../../src/mqtt/link.js';
import {
  freePort,
  startEmbedded,
  startMosquitto,
  type Mosquitto,
  type MosquittoOptions,
  type TestBroker,
} from '../support/broker.js';
import { eventWith } from '../support/events.js';
import { makeLink as makeTestLink, reached } from '../support/link.js';
import { createProbe, type Probe, type ProbeMessage } from '../support/mqtt-probe.js';
import { createRecordingControl, type RecordingControl } from '../support/recording-control.js';
import { createRecordingLog } from '../support/recording-log.js';
import { startProxy } from '../support/tcp-proxy.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

const B = 'soundpost/test';
/** Short delays, and refusals that are retried soon, so that repeats can be counted. */
const quick = { firstDelayMs: 20, maxDelayMs: 200, refusedDelayMs: 60, lastedMs: 60_000 };
const noMosquitto = skipWithout('mosquitto', 'mosquitto_passwd');

const makeLink = (t: Test, options: Parameters<typeof makeTestLink>[1]) =>
  makeTestLink(t, { timing: quick, ...options });

async function probe(t: Test, url: string, topics = [`${B}/#`], options = {}): Promise<Probe> {
  const made = await createProbe(url, topics, options);
  t.teardown(() => made.close());
  return made;
}

function eventOf(n: number): EventPayload {
  return eventWith({
    id: `event-${n}`,
    started_at: isoTime(1_700_000_000_000 + n),
    detected_at: isoTime(1_700_000_000_500 + n),
  });
}

function stateOf(rate: number): StatePayload {
  return {
    model: 'mn04_as',
    rate_hz: rate,
    effective_rate_hz: rate,
    paused: false,
    threshold: null,
    labels: [],
    source: 'file',
    audio_device: null,
    telemetry_interval_seconds: 30,
    throttle: { active: false, reason: null },
    swap: { state: 'idle', model: null, progress: null },
  };
}

/** A recording control whose `setModel` lasts until `finish()` is called. */
function fakeService(): RecordingControl & { finish: () => void } {
  const recording = createRecordingControl();
  const service = {
    ...recording,
    finish: (): void => undefined,
    async setModel(...given: Parameters<RecordingControl['setModel']>) {
      const finished = new Promise<void>((resolve) => (service.finish = resolve));
      const data = await recording.setModel(...given);
      await finished;
      return data;
    },
  };
  return service;
}

/** A link with a command router behind it. */
function makeCommanded(t: Test, url: string, service: ServiceControl): { link: Link; router: CommandRouter } {
  const link = makeLink(t, { url, onRequest: (message) => router.handle(message) });
  const router = createCommandRouter({
    commands: commandTable(service),
    topics: link.topics,
    reply: (reply) => link.reply(reply),
    foreignResponseTopics: true,
    log: silentLogger,
  });
  return { link, router };
}

interface Flavour {
  name: string;
  skip: string | false;
  version: 4 | 5;
  start(options?: { port?: number }): Promise<TestBroker>;
}

const flavours: Flavour[] = [
  { name: 'mosquitto', skip: noMosquitto, version: 5, start: (options) => startMosquitto(options) },
  { name: 'the embedded broker', skip: false, version: 4, start: (options) => startEmbedded(options) },
];

for (const flavour of flavours) {
  t.test(`with ${flavour.name}`, { skip: flavour.skip }, async (t) => {
    const broker = await flavour.start();
    t.teardown(() => broker.stop());

    t.test('the broker says offline when the process is killed', async (t) => {
      const watcher = await probe(t, broker.url, ['soundpost/doomed/status']);
      const script = join(import.meta.dirname, '../support/link-process.js');
      const child = spawn(process.execPath, [script, broker.url, 'doomed'], { stdio: 'inherit' });
      const gone = once(child, 'exit');
      await watcher.next('soundpost/doomed/status', ({ text }) => text === 'online');
      child.kill('SIGKILL');
      await gone;
      await watcher.next('soundpost/doomed/status', ({ text }) => text === 'offline');
      const later = await probe(t, broker.url, ['soundpost/doomed/status']);
      const kept = await later.next('soundpost/doomed/status');
      t.match(kept, { text: 'offline', retain: true });
    });

    t.test('states are retained, events are not, and stopping says offline', async (t) => {
      const link = makeLink(t, { url: broker.url });
      const watcher = await probe(t, broker.url);
      await link.start();
      const { protocolVersion } = await reached(link, 'connected');
      t.equal(protocolVersion, flavour.version, 'the newest version that both speak');
      link.publish('audio/status', 'online');
      link.publish('label', 'ON', { slug: 'dog' });
      link.publish('state', stateOf(1));
      link.publish('log', { ts: isoTime(0), level: 'warn', message: 'careful', code: null });
      link.publish('event', eventOf(1));
      t.match(await watcher.nextJson(`${B}/event`), { id: 'event-1', late: false });
      await watcher.next(`${B}/log`);

      const newcomer = await probe(t, broker.url);
      t.match(await newcomer.next(`${B}/status`), { text: 'online', retain: true });
      t.match(await newcomer.next(`${B}/audio/status`), { text: 'online', retain: true });
      t.match(await newcomer.next(`${B}/label/dog`), { text: 'ON', retain: true });
      t.same(await newcomer.nextJson(`${B}/state`), stateOf(1));
      t.notOk(newcomer.messages.some(({ topic }) => topic.endsWith('/event') || topic.endsWith('/log')));

      await link.stop();
      await watcher.next(`${B}/audio/status`, ({ text }) => text === 'offline');
      await watcher.next(`${B}/status`, ({ text }) => text === 'offline');
      t.notOk(link.connected);
      link.publish('state', stateOf(2));
    });

    t.test('what happened without a network arrives in order, and says that it is late', async (t) => {
      const proxy = await startProxy(broker.port);
      t.teardown(() => proxy.stop());
      const watcher = await probe(t, broker.url);
      const link = makeLink(t, { url: `mqtt://127.0.0.1:${proxy.port}` });
      await link.start();
      await reached(link, 'connected');
      proxy.cut();
      await reached(link, 'offline');
      for (let n = 1; n <= 100; n += 1) {
        link.publish('event', eventOf(n));
        link.publish('state', stateOf(n));
        link.publish('level', { ts: isoTime(n), dbfs: -n, peak_dbfs: null });
      }
      const queued = () => link.counters().queued;
      await until(
        () => queued() === 100,
        () => `100 events that wait; there are ${queued()}`,
        30,
        1,
      );
      proxy.mend();
      await watcher.nextJson(`${B}/event`, ({ id }) => id === 'event-100');
      const events = watcher.messages
        .filter(({ topic }) => topic === `${B}/event`)
        .map(({ text }) => JSON.parse(text) as EventPayload);
      t.same(
        events.map(({ id }) => id),
        Array.from({ length: 100 }, (_, n) => `event-${n + 1}`),
      );
      t.ok(events.every(({ late }) => late));
      t.ok(events.every(({ started_at }, n) => started_at === eventOf(n + 1).started_at));
      await watcher.nextJson<StatePayload>(`${B}/state`, ({ rate_hz }) => rate_hz === 100);
      // The broker still had a state of an earlier test.
      const live = watcher.messages.filter(({ topic, retain }) => topic === `${B}/state` && !retain);
      t.equal(live.length, 1, 'only the newest state');
      link.publish('event', eventOf(101));
      t.match(await watcher.nextJson(`${B}/event`), { id: 'event-101', late: false });
    });

    t.test('a broker that comes later is found, one that crashes is found again', async (t) => {
      const port = await freePort();
      const log = createRecordingLog();
      const link = makeLink(t, { url: `mqtt://127.0.0.1:${port}`, log });
      link.publish('state', stateOf(3));
      await link.start();
      const { code } = await reached(link, 'offline');
      t.equal(code, 'connection_refused');
      const late = await flavour.start({ port });
      t.teardown(() => late.stop());
      await reached(link, 'connected');

      await late.crash();
      await reached(link, 'offline');
      link.publish('state', stateOf(4));
      const before = log.lines.length;
      // The second one that fails for the same reason.
      const another = () => log.lines.slice(before).some(({ level }) => level === 'debug');
      await until(another, 'another attempt', 30, 10);
      await late.revive();
      await reached(link, 'connected');
      const watcher = await probe(t, late.url);
      t.match(await watcher.next(`${B}/status`), { text: 'online' });
      await watcher.nextJson<StatePayload>(`${B}/state`, ({ rate_hz }) => rate_hz === 4);

      const told = log.lines.filter(({ level }) => level !== 'debug').map(({ message }) => message);
      t.ok(
        told.every((message, index) => message !== told[index - 1]),
        'no line is repeated',
      );
      t.equal(told.filter((message) => message.startsWith('Connected')).length, 2);
    });

    t.test('commands are answered', async (t) => {
      const service = fakeService();
      const { link, router } = makeCommanded(t, broker.url, service);
      const console = await probe(t, broker.url);
      await console.publish(`${B}/rate/set`, '20', { retain: true });
      await link.start();
      await reached(link, 'connected');
      const stale = await console.nextJson(`${B}/response/rate/set`);
      t.match(stale, { status: 'error', error: { code: 'retained' }, data: {} });
      t.same(service.calls, [], 'a stale command is not carried out');

      await console.publish(`${B}/rate/set`, ' 0.5\n');
      t.match(await console.nextJson(`${B}/response/rate/set`), {
        status: 'ok',
        data: { rate_hz: 0.5, effective_rate_hz: 0.5 },
      });
      await console.publish(`${B}/paused/set`, 'on');
      t.match(await console.nextJson(`${B}/response/paused/set`), { status: 'ok' });
      await console.publish(`${B}/request/pause`, '{"seconds":5,"transaction":"a-1"}');
      t.match(await console.nextJson(`${B}/response/pause`), { status: 'ok', transaction: 'a-1' });
      await console.publish(`${B}/request/health`, '');
      t.same(await console.nextJson(`${B}/response/health`), {
        status: 'ok',
        data: { healthy: true, checks: [] },
      });
      await console.publish(`${B}/request/rate/set`, '{"hz":1000}');
      t.match(await console.nextJson(`${B}/response/rate/set`), {
        status: 'error',
        error: { code: 'invalid_request', message: /at most 20 Hz/ },
      });
      await console.publish(`${B}/request/make/coffee`, '');
      t.match(await console.nextJson(`${B}/response/make/coffee`), {
        error: { code: 'unknown_command', message: /model\/set/ },
      });

      await console.publish(`${B}/model/set`, 'mn10_as');
      await console.publish(`${B}/model/set`, 'mn20_as');
      t.match(await console.nextJson(`${B}/response/model/set`), {
        status: 'error',
        error: { code: 'busy' },
      });
      await console.publish(`${B}/request/resume`, '');
      t.match(
        await console.nextJson(`${B}/response/resume`),
        { status: 'ok' },
        'a swap holds up nothing else',
      );
      service.finish();
      t.match(await console.nextJson(`${B}/response/model/set`), {
        status: 'ok',
        data: { model: 'mn10_as' },
      });

      t.same(service.calls, [
        ['setRate', 0.5],
        ['setPaused', true],
        ['setPaused', true, 5],
        ['health'],
        ['setModel', 'mn10_as'],
        ['setPaused', false],
      ]);
      for (const { text } of console.messages.filter(({ topic }) => topic.includes('/response/'))) {
        contract.response.schema.parse(JSON.parse(text));
      }
      // Each of the ten requests has exactly one reply.
      t.equal(console.messages.filter(({ topic }) => topic.includes('/response/')).length, 10);
      await router.stop();
    });
  });
}

t.test('with mosquitto only', { skip: noMosquitto }, (t) => {
  async function mosquitto(t: Test, options: MosquittoOptions = {}): Promise<Mosquitto> {
    const broker = await startMosquitto(options);
    t.teardown(() => broker.stop());
    return broker;
  }

  for (const protocolVersion of [4, 5] as const) {
    t.test(`a wrong password is said once, and tried again (MQTT ${protocolVersion})`, async (t) => {
      const broker = await mosquitto(t, { passwords: { owl: 'right' } });
      const log = createRecordingLog();
      const url = `mqtt://owl:wr%6Fng@127.0.0.1:${broker.port}`;
      const link = makeLink(t, { url, log, protocolVersion });
      const refusals = new Promise<LinkStatus[]>((resolve) => {
        const seen: LinkStatus[] = [];
        link.onStatus((status) => {
          if (status.state === 'refused') seen.push(status);
          if (seen.length === 3) resolve(seen);
        });
      });
      await link.start();
      t.match(await refusals, [
        { code: 'not_authorized' },
        { code: 'not_authorized' },
        { code: 'not_authorized' },
      ]);
      const warnings = log.lines.filter(({ level }) => level === 'warn');
      t.equal(warnings.length, 1);
      t.match(warnings[0]?.message, /mqtt\.username, mqtt\.password/);
      t.notMatch(JSON.stringify(log.lines), /wrong|wr%6Fng/, 'no secret in the log');
      const right = makeLink(t, {
        url: broker.url,
        username: 'owl',
        password: 'right',
        protocolVersion,
        deviceId: 'other',
      });
      await right.start();
      t.match(await reached(right, 'connected'), { protocolVersion });
    });
  }

  t.test('MQTT 5 requesters get their reply where they want it', async (t) => {
    const broker = await mosquitto(t);
    const { link } = makeCommanded(t, broker.url, fakeService());
    await link.start();
    await reached(link, 'connected');
    const asker = await probe(t, broker.url, ['answers/#', `${B}/response/#`], { protocolVersion: 5 });
    const ask = (responseTopic: string, retain = false): Promise<void> =>
      asker.publish(`${B}/request/info`, '{"transaction":7}', {
        retain,
        properties: { responseTopic, correlationData: Buffer.from([0, 255, 7]) },
      });
    const isCorrelated = ({ properties }: ProbeMessage): boolean =>
      properties.correlationData?.equals(Buffer.from([0, 255, 7])) === true;

    await ask('answers/here');
    const answer = await asker.next('answers/here', isCorrelated);
    t.match(JSON.parse(answer.text), { status: 'ok', data: { version: '0.0.0' }, transaction: 7 });
    await asker.next(`${B}/response/info`, isCorrelated);

    await ask(`${B}/rate/set`);
    const refused = await asker.next(`${B}/response/info`);
    t.match(JSON.parse(refused.text), { error: { code: 'invalid_response_topic' } });

    await ask('answers/live', true);
    t.match(JSON.parse((await asker.next('answers/live')).text), { error: { code: 'retained' } });
    t.equal(asker.messages.filter(({ topic }) => topic === 'answers/live').length, 1);
  });

  t.test('a broker that takes few messages at a time gets few, and all of them', async (t) => {
    const broker = await mosquitto(t, { config: ['max_inflight_messages 2'] });
    const proxy = await startProxy(broker.port);
    t.teardown(() => proxy.stop());
    const watcher = await probe(t, broker.url);
    const link = makeLink(t, { url: `mqtt://127.0.0.1:${proxy.port}` });
    await link.start();
    await watcher.next(`${B}/status`, ({ text }) => text === 'online');
    // Frozen, it acknowledges nothing: what is on the wire then is all that may be on its way at once.
    broker.freeze();
    for (let n = 1; n <= 300; n += 1) link.publish('event', eventOf(n));
    const onTheWay = () => proxy.sent().toString('latin1').split('event-').length - 1;
    await until(() => onTheWay() > 0, 'an event on its way', 30, 10);
    // One too many would follow at once.
    await delay(100);
    t.ok(onTheWay() <= 2, `${onTheWay()} on their way`);
    broker.thaw();
    await watcher.nextJson(`${B}/event`, ({ id }) => id === 'event-300');
    const events = watcher.messages.filter(({ topic }) => topic === `${B}/event`);
    t.equal(events.length, 300);
    t.equal(link.counters().dropped, 0);
  });

  t.test('a reply that was on its way when the connection broke is sent again', async (t) => {
    const broker = await mosquitto(t);
    const proxy = await startProxy(broker.port);
    t.teardown(() => proxy.stop());
    const watcher = await probe(t, broker.url);
    const link = makeLink(t, { url: `mqtt://127.0.0.1:${proxy.port}` });
    await link.start();
    await watcher.next(`${B}/status`, ({ text }) => text === 'online');
    proxy.pause();
    for (const transaction of ['first', 'second']) {
      link.reply({ command: 'resume', payload: { status: 'ok', data: {}, transaction } });
    }
    proxy.cut();
    await reached(link, 'offline');
    link.reply({ command: 'resume', payload: { status: 'ok', data: {}, transaction: 'third' } });
    proxy.mend();
    for (const transaction of ['first', 'second', 'third']) {
      t.match(await watcher.nextJson(`${B}/response/resume`), { transaction });
    }
  });

  t.test('what was on its way to a broker that has gone silent is sent again', async (t) => {
    const broker = await mosquitto(t);
    const proxy = await startProxy(broker.port);
    t.teardown(() => proxy.stop());
    const watcher = await probe(t, broker.url, [`${B}/#`, 'elsewhere/#']);
    await watcher.publish('elsewhere/gone', 'old', { retain: true });
    const log = createRecordingLog();
    const url = `mqtt://127.0.0.1:${proxy.port}`;
    const link = makeLink(t, { url, log, keepaliveSeconds: 1, timing: quick });
    await link.start();
    await watcher.next(`${B}/status`, ({ text }) => text === 'online');
    proxy.halfOpen();
    link.reply({ command: 'resume', payload: { status: 'ok', data: {}, transaction: 'kept' } });
    link.publishElsewhere('elsewhere/gone', '');
    link.publish('label', 'ON', { slug: 'dog' });
    link.publish('event', eventOf(1));
    t.match(await reached(link, 'offline'), { code: 'silent' });
    proxy.mend();
    t.match(await watcher.nextJson(`${B}/response/resume`), { transaction: 'kept' });
    await watcher.next('elsewhere/gone', ({ text }) => text === '');
    await watcher.next(`${B}/label/dog`, ({ text }) => text === 'ON');
    t.match(await watcher.nextJson(`${B}/event`), { id: 'event-1', late: true });
    t.notMatch(
      log.lines.map(({ fields }) => fields.code),
      ['publish_refused'],
      'nobody has refused anything',
    );
  });

  t.test('a broker that accepts connections and never answers is waited for', async (t) => {
    const broker = await mosquitto(t);
    const proxy = await startProxy(broker.port);
    t.teardown(() => proxy.stop());
    proxy.halfOpen();
    const url = `mqtt://127.0.0.1:${proxy.port}`;
    const link = makeLink(t, { url, timing: { ...quick, connectTimeoutMs: 100 } });
    link.publish('event', eventOf(1));
    await link.start();
    t.match(await reached(link, 'offline'), { code: 'no_answer' });
    const watcher = await probe(t, broker.url);
    proxy.mend();
    t.match(await watcher.nextJson(`${B}/event`), { id: 'event-1' });
  });

  t.test('stopping with thousands of unsent states and a silent broker is quiet', async (t) => {
    const broker = await mosquitto(t);
    const log = createRecordingLog();
    const link = makeLink(t, { url: broker.url, log, timing: { ...quick, flushMs: 50 } });
    await link.start();
    await reached(link, 'connected');
    broker.freeze();
    for (let n = 1; n <= 5000; n += 1) link.publish('label', 'ON', { slug: `label_${n}` });
    await link.stop();
    t.strictSame(
      log.lines.filter(({ level }) => level === 'warn'),
      [],
    );
  });

  t.test('a removal that the broker gets while states are sent anew harms nothing', async (t) => {
    const broker = await mosquitto(t);
    const watcher = await probe(t, broker.url, [`${B}/#`, 'elsewhere/#']);
    const link = makeLink(t, { url: broker.url });
    await link.start();
    await watcher.next(`${B}/status`, ({ text }) => text === 'online');
    broker.freeze();
    link.publishElsewhere('elsewhere/gone', '');
    // All places are taken.
    for (let n = 1; n <= 15; n += 1) link.publish('label', 'OFF', { slug: `label_${n}` });
    link.resendStates();
    link.publish('label', 'ON', { slug: 'label_15' });
    broker.thaw();
    await watcher.next(`${B}/label/label_15`, ({ text }) => text === 'ON');
    t.equal(watcher.messages.filter(({ topic }) => topic === 'elsewhere/gone').length, 1);
  });

  t.test('a removal that was refused is tried again', async (t) => {
    const rules = ['user admin', 'topic readwrite #', 'user owl', `topic readwrite ${B}/#`];
    const broker = await mosquitto(t, { passwords: { owl: 'right', admin: 'admin' }, acl: rules });
    const as = { username: 'admin', password: 'admin' };
    const watcher = await probe(t, broker.url, [`${B}/#`, 'elsewhere/#'], as);
    const log = createRecordingLog();
    const link = makeLink(t, { url: broker.url, username: 'owl', password: 'right', log });
    link.publishElsewhere('elsewhere/gone', '');
    await link.start();
    const isRefusal = ({ fields }: (typeof log.lines)[number]) => fields.code === 'publish_refused';
    await until(() => log.lines.some(isRefusal), 'a refusal', 30, 10);
    await broker.changeAcl([...rules, 'topic readwrite elsewhere/#']);
    const arrived = () => watcher.messages.some(({ topic }) => topic === 'elsewhere/gone');
    await until(
      () => {
        if (!arrived()) link.resendStates();
        return arrived();
      },
      'the removal at the broker',
      30,
      20,
    );
    t.pass('the broker has it');
  });

  t.test('what is said at the connect is not lost behind the states', async (t) => {
    const broker = await mosquitto(t);
    const watcher = await probe(t, broker.url);
    const link = makeLink(t, { url: broker.url });
    for (let n = 1; n <= 40; n += 1) link.publish('label', 'OFF', { slug: `label_${n}` });
    link.onStatus(({ state }) => {
      if (state !== 'connected') return;
      link.publish('log', { ts: isoTime(0), level: 'warn', message: 'of before', code: null });
    });
    await link.start();
    t.match(await watcher.nextJson(`${B}/log`), { message: 'of before' });
  });

  t.test('a state that is retired stays at the broker and is sent no more', async (t) => {
    const broker = await mosquitto(t);
    const watcher = await probe(t, broker.url);
    const link = makeLink(t, { url: broker.url });
    await link.start();
    link.publish('label', 'OFF', { slug: 'old' });
    link.retire('label', { slug: 'old' });
    link.retire('label', { slug: 'never_published' });
    link.publish('label', 'OFF', { slug: 'new' });
    link.publish('event', eventOf(1));
    await watcher.next(`${B}/event`);
    // Acknowledgements come in order.
    await until(() => link.counters().queued === 0, 'an acknowledgement of the event', 30, 5);
    const before = watcher.messages.length;
    link.resendStates();
    link.publish('log', { ts: isoTime(0), level: 'warn', message: 'after', code: null });
    await watcher.next(`${B}/log`);
    const later = watcher.messages.slice(before).map(({ topic }) => topic);
    t.notOk(later.some((topic) => topic.endsWith('/old')));
    const newcomer = await probe(t, broker.url);
    t.match(await newcomer.next(`${B}/label/old`), { text: 'OFF', retain: true });
    t.notOk(newcomer.messages.some(({ topic }) => topic.endsWith('/never_published')));
  });

  t.test('what states are read by is sent before them, also where they wait already', async (t) => {
    const broker = await mosquitto(t);
    const proxy = await startProxy(broker.port);
    t.teardown(() => proxy.stop());
    const watcher = await probe(t, broker.url, [`${B}/#`, 'elsewhere/#']);
    const link = makeLink(t, { url: `mqtt://127.0.0.1:${proxy.port}` });
    await link.start();
    await watcher.next(`${B}/status`, ({ text }) => text === 'online');
    proxy.pause();
    // More than may be on their way at once.
    for (let n = 1; n <= 20; n += 1) link.publish('label', 'OFF', { slug: `label_${n}` });
    link.publish('state', stateOf(1));
    link.publishElsewhere('elsewhere/description', '{}', { leads: true });
    link.publish('state', stateOf(2));
    proxy.mend();
    await watcher.nextJson<StatePayload>(`${B}/state`, ({ rate_hz }) => rate_hz === 2);
    const order = watcher.messages.map(({ topic }) => topic);
    t.ok(order.includes('elsewhere/description'));
    t.ok(order.indexOf('elsewhere/description') < order.indexOf(`${B}/state`));
  });

  t.test('a broker that reads nothing costs states, not events', async (t) => {
    const broker = await mosquitto(t, { config: ['max_queued_messages 0'] });
    const watcher = await probe(t, broker.url);
    const link = makeLink(t, { url: broker.url });
    await link.start();
    await reached(link, 'connected');
    broker.freeze();
    for (let n = 1; n <= 200; n += 1) link.publish('event', eventOf(n));
    for (let n = 1; n <= 20_000; n += 1) link.publish('state', stateOf(n));
    const queued = () => link.counters().queued;
    await until(
      () => queued() >= 184,
      () => `events in the outbox, not in the MQTT library; ${queued()} are`,
      30,
      10,
    );
    broker.thaw();
    await watcher.nextJson<StatePayload>(`${B}/state`, ({ rate_hz }) => rate_hz === 20_000);
    await watcher.nextJson(`${B}/event`, ({ id }) => id === 'event-200');
    t.ok(watcher.messages.filter(({ topic }) => topic === `${B}/state`).length < 20);
    t.equal(watcher.messages.filter(({ topic }) => topic === `${B}/event`).length, 200);
  });

  t.test(
    'two devices with one id: what this mosquitto does not say is not said, but hinted at',
    async (t) => {
      const broker = await mosquitto(t);
      const log = createRecordingLog();
      const one = makeLink(t, { url: broker.url, log });
      const two = makeLink(t, { url: broker.url });
      await one.start();
      await reached(one, 'connected');
      await two.start();
      const either = await Promise.race([reached(one, 'refused'), reached(two, 'refused')]);
      t.match(either, { code: 'closed_again', reason: /another client with our id/ });
    },
  );

  t.test('access rules that forbid commands are reported, and cost nothing else', async (t) => {
    const broker = await mosquitto(t, {
      passwords: { owl: 'right', admin: 'admin' },
      acl: ['user owl', `topic write ${B}/status`, 'user admin', 'topic readwrite #'],
    });
    const log = createRecordingLog();
    const link = makeLink(t, { url: broker.url, username: 'owl', password: 'right', log });
    const watcher = await probe(t, broker.url, [`${B}/#`], { username: 'admin', password: 'admin' });
    await link.start();
    await watcher.next(`${B}/status`, ({ text }) => text === 'online');
    link.publish('state', stateOf(1));
    link.publish('event', eventOf(1));
    link.publish('event', eventOf(2));
    await link.stop();
    t.same(link.counters(), { queued: 2, dropped: 0 }, 'rules can be mended: the events wait');
    const warned = log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields.topic);
    t.same(new Set(warned), new Set([`${B}/state`, `${B}/event`, `${B}/audio/status`]));
    t.equal(warned.length, 3, 'each once');
  });

  t.test('a broker that has gone silent is noticed', async (t) => {
    const broker = await mosquitto(t);
    const link = makeLink(t, { url: broker.url, keepaliveSeconds: 1, timing: quick });
    await link.start();
    await reached(link, 'connected');
    broker.freeze();
    t.match(await reached(link, 'offline'), { code: 'silent' });
    broker.thaw();
    await reached(link, 'connected');
  });

  t.test('stopping does not wait for a silent broker, and the will speaks for us', async (t) => {
    const broker = await mosquitto(t);
    const watcher = await probe(t, broker.url, [`${B}/status`]);
    const link = makeLink(t, { url: broker.url, timing: { ...quick, flushMs: 50 } });
    await link.start();
    await watcher.next(`${B}/status`, ({ text }) => text === 'online');
    broker.freeze();
    await link.stop();
    broker.thaw();
    await watcher.next(`${B}/status`, ({ text }) => text === 'offline');
  });
  t.end();
});

t.test('what cannot work is refused at once', (t) => {
  const make = (options: Partial<LinkOptions>) => () =>
    createLink({
      url: 'mqtt://127.0.0.1',
      baseTopic: 'soundpost',
      deviceId: 'test',
      log: silentLogger,
      onRequest: () => undefined,
      ...options,
    });
  t.throws(make({ url: 'broker' }), { code: 'invalid_broker_url' });
  t.throws(make({ url: 'http://broker' }), { code: 'invalid_broker_url' });
  t.throws(make({ ca: 'PEM' }), { code: 'invalid_broker_tls' });
  t.throws(make({ url: 'mqtts://broker', cert: 'PEM' }), { code: 'invalid_broker_tls' });
  t.throws(make({ deviceId: 'a/b' }), { code: 'invalid_topic' });
  t.throws(make({ baseTopic: '#' }), { code: 'invalid_topic' });
  t.end();
});

t.test('a web server that is no broker is told apart', async (t) => {
  const server = createServer((_, response) => response.writeHead(404).end()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const link = makeLink(t, { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/mqtt` });
  await link.start();
  t.match(await reached(link, 'offline'), { code: 'no_websocket', reason: /404.*mqtt\.url/ });
});

t.test('stopping a link that never connected is quick and leaves nothing', async (t) => {
  const link = makeLink(t, { url: `mqtt://127.0.0.1:${await freePort()}` });
  await link.start();
  await reached(link, 'offline');
  await link.stop();
  await link.stop();
  await reached(link, 'stopped').catch(() => undefined);
  const never = makeLink(t, { url: 'mqtt://127.0.0.1:1' });
  await never.stop();
});

t.test('the embedded broker', async (t) => {
  const broker = await startEmbeddedBroker({ host: '127.0.0.1', port: 0, log: silentLogger });
  t.teardown(() => broker.stop());

  t.test('says what to do where its port is taken', async (t) => {
    const again = startEmbeddedBroker({ host: '127.0.0.1', port: broker.port, log: silentLogger });
    await t.rejects(again, { code: 'port_in_use', message: /mqtt\.url=mqtt:\/\/127\.0\.0\.1.*broker\.port/ });
  });

  t.test('counts its clients and keeps no sessions', async (t) => {
    const url = broker.url;
    const lasting = await createProbe(url, ['x'], { clean: false, clientId: 'lasting' });
    t.equal(broker.clients(), 1);
    await lasting.close();
    const other = await probe(t, url, ['y']);
    await other.publish('x', 'meanwhile');
    const back = await probe(t, url, ['z'], { clean: false, clientId: 'lasting' });
    await other.publish('z', 'after');
    await back.next('z');
    t.equal(back.messages.length, 1);
  });

  t.test('cuts off a client that sends too much', async (t) => {
    const big = await createProbe(broker.url, ['big']);
    const sending = big.publish('big', Buffer.alloc(2 * 1024 * 1024)).catch(() => undefined);
    await big.closed;
    await big.close();
    void sending;
    const small = await probe(t, broker.url, ['small']);
    await small.publish('small', Buffer.alloc(200 * 1024));
    await small.next('small');
  });

  t.test('does not open to others without a password', async (t) => {
    const options = { host: '0.0.0.0', port: 0, log: silentLogger };
    await t.rejects(startEmbeddedBroker(options), {
      code: 'broker_unprotected',
      message: /broker\.password/,
    });
    const open = await startEmbeddedBroker({ ...options, username: 'attic', password: 'right' });
    t.teardown(() => open.stop());
    t.match(open.url, /^mqtt:\/\/127\.0\.0\.1:/);
    for (const account of [
      {},
      { username: 'attic', password: 'wrong' },
      { username: 'x', password: 'right' },
    ]) {
      await t.rejects(createProbe(open.url, ['x'], account), { code: 4 });
    }
    const in_ = await probe(t, open.url, ['x'], { username: 'attic', password: 'right' });
    await in_.publish('x', 'yes');
    await in_.next('x');
  });
});
