import { connect as connectTcp } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import mqtt from 'mqtt';
import type { EventPayload } from '../../../src/mqtt/contract.js';
import { lastingBroker } from '../../../test/support/consumer.js';
import { makeDataDir, residentMb, startService, writeWav } from '../../../test/support/service.js';
import { scriptedBroker, type ScriptedBroker } from '../../../test/support/scripted-broker.js';
import { startProxy, type TcpProxy } from '../../../test/support/tcp-proxy.js';
import { installToneModel } from '../../../test/support/tone-models.js';
import { allArrives, holdPairs, unpaired } from '../ending.js';
import type { Inject } from '../inject.js';
import { beeps, heardBy, hears, RATE, startBroker, startRig, type Rig } from '../rig.js';
import type { Owner } from '../scope.js';
import type { Verdict } from '../verdict.js';
import { secondsUntil } from '../../../test/support/waiting.js';

/* The broker and the network in between. */

/** The service behind a bad network; the watcher has a good one. */
async function behindProxy(owner: Owner, settings = {}): Promise<{ rig: Rig; proxy: TcpProxy }> {
  const broker = await lastingBroker(owner);
  const proxy = await startProxy(broker.port);
  owner.teardown(() => proxy.stop());
  const rig = await startRig(owner, {
    url: `mqtt://127.0.0.1:${proxy.port}`,
    watchUrl: broker.url,
    settings: { MQTT_KEEPALIVE_SECONDS: '5', ...settings },
  });
  return { rig, proxy };
}

const eventsOf = (broker: ScriptedBroker, base: string): EventPayload[] =>
  broker.taken
    .filter(({ topic }) => topic === `${base}/event`)
    .map(({ text }) => JSON.parse(text) as EventPayload);

/** A broker of MQTT 3.1.1 that ends the connection for what it does not like; no watcher can be at it. */
async function atScripted(
  owner: Owner,
  verdict: Verdict,
  limit: number,
  refuses: (topic: string, payload: Buffer) => boolean,
  settings: Record<string, string>,
): Promise<ScriptedBroker> {
  const broker = await scriptedBroker(owner, {
    connect: ({ protocolVersion }) => (protocolVersion === 5 ? { returnCode: 1, reasonCode: 132 } : {}),
    publish: (topic, payload) => !refuses(topic, payload),
  });
  const dataDir = await makeDataDir(owner);
  await installToneModel(dataDir, 'waveform');
  await writeWav(`${dataDir}/sound.wav`, beeps(), RATE);
  await writeWav(`${dataDir}/quiet.wav`, beeps(4, 0), RATE);
  const id = `scripted${broker.port}`;
  const launch = (recording: string) =>
    startService(owner, {
      DATA_DIR: dataDir,
      DEVICE_ID: id,
      MODEL_ID: 'tone-waveform',
      AUDIO_SOURCE: 'file',
      AUDIO_FILE: recording,
      AUDIO_LOOP: 'true',
      INFERENCE_RATE_HZ: '4',
      TAGGING_MIN_GAP_SECONDS: '0',
      THERMAL_ENABLED: 'false',
      MQTT_URL: broker.url,
      MQTT_PROTOCOL_VERSION: '4',
      ...settings,
    });
  const service = launch('sound.wav');
  const events = () => eventsOf(broker, `soundpost/${id}`);
  verdict.within(await secondsUntil(() => events().length >= 4, limit), limit, 'events flow after');
  verdict.note(`${broker.connects.length} connections, ${events().length} events`);
  verdict.hold((await service.stop()) === 0, 'ends as it should');
  // What could not be said before the stop waits for the next start.
  const before = broker.connects.length;
  const again = launch('quiet.wav');
  await secondsUntil(() => broker.connects.length > before, 40);
  await secondsUntil(() => unpaired(events()).length === 0, 60);
  holdPairs(events(), verdict);
  verdict.hold((await again.stop()) === 0, 'ends as it should the second time');
  return broker;
}

/** As bad a client as can be, on the loopback address only. */
async function flood(
  port: number,
  base: string,
  seconds: number,
): Promise<{ connections: number; messages: number }> {
  const end = performance.now() + seconds * 1000;
  let connections = 0;
  let messages = 0;
  const sockets = Array.from({ length: 200 }, () => {
    const socket = connectTcp(port, '127.0.0.1', () => (connections += 1));
    return socket.on('error', () => undefined);
  });
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 50 });
  client.on('error', () => undefined);
  const large = Buffer.alloc(200_000, 'x');
  while (performance.now() < end) {
    for (let n = 0; n < 20; n += 1) {
      messages += 1;
      client.publish(`${base}/x/${messages}`, large, { retain: true }, () => undefined);
    }
    await delay(20);
  }
  for (const socket of sockets) socket.destroy();
  await client.endAsync(true);
  return { connections, messages };
}

export const mqttFaults = {
  'broker-killed': async (owner, verdict, limit) => {
    const broker = await lastingBroker(owner);
    const rig = await startRig(owner, { url: broker.url });
    await hears(rig.service, 1);
    for (let round = 0; round < 2; round += 1) {
      await broker.crash();
      await hears(rig.service, 2);
      await broker.revive();
      verdict.within(await rig.watcher.nextTags(1, 'tags', limit).catch(() => null), limit, 'tags after');
    }
    await allArrives(rig, verdict, limit);
  },
  'broker-frozen': async (owner, verdict, limit) => {
    const broker = await lastingBroker(owner);
    const rig = await startRig(owner, { url: broker.url, settings: { MQTT_KEEPALIVE_SECONDS: '5' } });
    await hears(rig.service, 1);
    const before = heardBy(rig.service);
    broker.freeze();
    await delay(20_000);
    verdict.note(`${heardBy(rig.service) - before} sounds heard meanwhile`);
    verdict.hold(heardBy(rig.service) - before >= 2, 'it listens meanwhile');
    broker.thaw();
    await allArrives(rig, verdict, limit);
  },
  'connection-cut': async (owner, verdict, limit) => {
    const { rig, proxy } = await behindProxy(owner);
    for (let round = 0; round < 6; round += 1) {
      const cut = proxy.resetAfter(37 + 211 * round);
      const happened = await Promise.race([cut.then(() => true), delay(20_000, false)]);
      verdict.hold(happened, 'the connection was cut');
      await secondsUntil(() => proxy.connections() > round + 1, limit);
    }
    verdict.note(`${proxy.connections()} connections`);
    await allArrives(rig, verdict, limit);
  },
  'half-open': async (owner, verdict, limit) => {
    const { rig, proxy } = await behindProxy(owner);
    await hears(rig.service, 1);
    proxy.halfOpen();
    await hears(rig.service, 3);
    proxy.mend();
    await allArrives(rig, verdict, limit);
  },
  'slow-reader': async (owner, verdict, limit) => {
    const { rig, proxy } = await behindProxy(owner, { INFERENCE_RATE_HZ: '10' });
    const before = residentMb(rig.service.pid);
    proxy.slice(16);
    await delay(3000);
    proxy.pause();
    await delay(4000);
    proxy.mend();
    proxy.slice(16);
    await hears(rig.service, 3);
    const growth = residentMb(rig.service.pid) - before;
    proxy.mend();
    verdict.note(`memory grew by ${growth.toFixed(0)} MB`);
    verdict.hold(growth < 40, 'memory grows by less than 40 MB');
    await allArrives(rig, verdict, limit);
  },
  'topic-refused': async (owner, verdict, limit) => {
    await atScripted(
      owner,
      verdict,
      limit,
      (topic) => topic.startsWith('homeassistant/') || topic.endsWith('/level'),
      {},
    );
  },
  'packet-limit': async (owner, verdict, limit) => {
    const labels = Array.from(
      { length: 250 },
      (_, index) => `A sound with quite a long name that somebody thought of, number ${index}`,
    );
    const broker = await atScripted(
      owner,
      verdict,
      limit,
      (_, payload) => payload.length > 131_072,
      // A label that the model has, so that there are events.
      { TAGGING_LABELS: JSON.stringify([...labels, 'Tone 0']) },
    );
    const largest = Math.max(...broker.taken.map(({ text }) => Buffer.byteLength(text)));
    verdict.note(`largest message taken ${(largest / 1000).toFixed(0)} kB`);
  },
  'large-request': async (owner, verdict) => {
    const broker = await startBroker(owner);
    const rig = await startRig(owner, { url: broker.url });
    const before = residentMb(rig.service.pid);
    rig.watcher.tags.reset();
    for (let n = 0; n < 3; n += 1) await rig.watcher.send('model/set', 'x'.repeat(20_000_000));
    verdict.hold((await rig.watcher.request('health')).status === 'ok', 'commands are answered');
    await rig.watcher.nextTags(8, 'tags', 20);
    const gap = rig.watcher.tags.longestGapMs;
    const growth = () => residentMb(rig.service.pid) - before;
    verdict.note(`longest gap of tags ${(gap / 1000).toFixed(1)} s`);
    verdict.hold(gap < 3000, 'no gap of 3 s');
    verdict.within(await secondsUntil(() => growth() < 60, 60), 60, 'memory back after');
    verdict.hold((await rig.service.stop()) === 0, 'ends as it should');
  },
  'request-burst': async (owner, verdict, limit) => {
    const broker = await startBroker(owner, { config: ['max_queued_messages 0', 'max_inflight_messages 0'] });
    const rig = await startRig(owner, { url: broker.url });
    rig.watcher.tags.reset();
    const requests = await Promise.all(
      Array.from({ length: 4000 }, (_, n) =>
        rig.watcher.send(n % 2 === 0 ? 'info' : 'rate/set', n % 2 === 0 ? '' : { hz: 4 }),
      ),
    );
    const answered = () => requests.filter((request) => rig.watcher.replies.has(request)).length;
    const seconds = await secondsUntil(() => answered() === requests.length, limit);
    const twice = requests.filter((request) => (rig.watcher.replies.get(request)?.length ?? 0) > 1).length;
    const busy = requests.filter((request) => {
      const reply = rig.watcher.replies.get(request)?.[0];
      return reply?.status === 'error' && reply.error.code === 'busy';
    }).length;
    verdict.note(
      `${answered()} replies to ${requests.length} requests, ${busy} of them busy, ${twice} doubled`,
    );
    verdict.within(seconds, limit, 'one reply to each after');
    verdict.hold(twice === 0, 'no second reply');
    await rig.watcher.nextTags(4, 'tags', 20);
    const gap = rig.watcher.tags.longestGapMs;
    verdict.note(`longest gap of tags ${(gap / 1000).toFixed(1)} s`);
    verdict.hold(gap < 3000, 'no gap of 3 s');
    verdict.hold((await rig.service.stop()) === 0, 'ends as it should');
  },
  'embedded-flood': async (owner, verdict, limit) => {
    const rig = await startRig(owner, { url: null });
    const before = residentMb(rig.service.pid);
    const { connections, messages } = await flood(Number(new URL(rig.url).port), rig.base, 5);
    const growth = residentMb(rig.service.pid) - before;
    verdict.note(
      `${connections} connections, ${messages} messages of 200 kB; memory grew by ${growth.toFixed(0)} MB`,
    );
    verdict.hold(growth < 150, 'memory grows by less than 150 MB');
    verdict.within(await rig.watcher.nextTags(4, 'tags', limit).catch(() => null), limit, 'tags after');
    verdict.hold((await rig.service.stop()) === 0, 'ends as it should');
  },
} satisfies Record<string, Inject>;
