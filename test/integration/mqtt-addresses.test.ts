import t, { type Test } from 'tap';
import { checkOwnBroker } from '../../src/cli/doctor-broker.js';
import { loadConfig } from '../../src/config/load.js';
import type { InfoPayload } from '../../src/mqtt/contract.js';
import { createLink, type LinkOptions } from '../../src/mqtt/link.js';
import { freePort, startMosquitto, type MosquittoOptions } from '../support/broker.js';
import { createAuthority } from '../support/certificates.js';
import { firsts, lastingBroker, nameOf, startConsumer } from '../support/consumer.js';
import { createDevice } from '../support/event-device.js';
import { makeLink, reached } from '../support/link.js';
import { createProbe } from '../support/mqtt-probe.js';
import { createRecordingLog, type LogLine } from '../support/recording-log.js';
import { beep, looped, sound, start } from '../support/service-rig.js';
import { startProxy } from '../support/tcp-proxy.js';
import { temporaryFolder } from '../support/temporary.js';
import { skipWithout } from '../support/tools.js';

/* A device that knows more than one address: what it does when the one it is connected to goes away. */

const skip = skipWithout('mosquitto', 'mosquitto_passwd');
/** A refusal that is felt would take longer than any test. */
const quick = { firstDelayMs: 20, maxDelayMs: 200, refusedDelayMs: 600_000, lastedMs: 60_000 };

async function mosquitto(t: Test, options: MosquittoOptions = {}) {
  const broker = await startMosquitto(options);
  t.teardown(() => broker.stop());
  return broker;
}

async function probe(t: Test, url: string, topics: string[]) {
  const made = await createProbe(url, topics);
  t.teardown(() => made.close());
  return made;
}

/** A link with these addresses, and what it logs. Resolves when it is connected. */
async function connected(t: Test, options: Partial<LinkOptions> & Pick<LinkOptions, 'url'>) {
  const log = createRecordingLog();
  const link = makeLink(t, { deviceId: 'attic', log, timing: quick, ...options });
  const there = reached(link, 'connected');
  await link.start();
  await there;
  return { link, lines: log.lines };
}

const said = (lines: readonly LogLine[]) => lines.map(({ message }) => message);
const nowhere = async () => `mqtt://127.0.0.1:${await freePort()}`;

t.test('events go to the next address when a broker is killed, and none is lost', { skip }, async (t) => {
  const brokers = [await lastingBroker(t), await lastingBroker(t)] as const;
  const consumers = [
    await startConsumer(t, brokers[0].url, 'soundpost/attic'),
    await startConsumer(t, brokers[1].url, 'soundpost/attic'),
  ] as const;
  const device = createDevice(t, brokers.map(({ url }) => url).join(','), 'attic');
  const { promised } = device;
  device.start();

  // Every time to the other one, and back.
  for (let round = 0; round < 4; round += 1) {
    const [here, other] = [round % 2, (round + 1) % 2] as [0 | 1, 0 | 1];
    await consumers[here].until(() => consumers[here].states.get('status') === 'online', 'online');
    const before = consumers[here].events.length;
    await consumers[here].until(() => consumers[here].events.length >= before + 50, 'events flow');
    consumers[here].states.clear();
    await brokers[here].crash();
    const had = consumers[other].events.length;
    await consumers[other].until(() => consumers[other].events.length >= had + 50, 'events at the other one');
    await brokers[here].revive();
    await consumers[here].connected();
  }
  device.quiet();
  const all = () => firsts([...consumers[0].events, ...consumers[1].events]);
  const isThere = () => {
    const arrived = all();
    const begun = [...arrived.values()].filter(({ event_type }) => event_type === 'started');
    return (
      promised.every((event) => arrived.has(nameOf(event))) &&
      begun.every(({ id }) => arrived.has(`${id} ended`))
    );
  };
  await Promise.race(
    consumers.map((consumer) => consumer.until(isThere, 'every promised event, at one of them')),
  );
  t.ok(promised.length > 400, `${promised.length} events`);
  t.ok(
    [...all().values()].some(({ late }) => late),
    'what waited in between says so',
  );

  await consumers[0].until(() => consumers[0].states.get('status') === 'online', 'online at the first one');
  await device.kill();
  await consumers[0].until(() => consumers[0].states.get('status') === 'offline', 'the will');
});

t.test(
  'the will of a broker that was lost is published there, and the next one says online',
  { skip },
  async (t) => {
    const [first, second] = [await mosquitto(t), await mosquitto(t)];
    const network = await startProxy(first.port);
    t.teardown(() => network.stop());
    const at = [
      await probe(t, first.url, ['soundpost/attic/status']),
      await probe(t, second.url, ['soundpost/attic/status']),
    ] as const;
    const { link } = await connected(t, { url: [`mqtt://127.0.0.1:${network.port}`, second.url] });
    await at[0].next('soundpost/attic/status', ({ text }) => text === 'online');
    network.cut();
    await at[0].next('soundpost/attic/status', ({ text }) => text === 'offline');
    await at[1].next('soundpost/attic/status', ({ text }) => text === 'online');
    await link.stop();
    await at[1].next('soundpost/attic/status', ({ text }) => text === 'offline');
  },
);

t.test(
  'the log names the address that is connected, and says what is wrong at each once',
  { skip },
  async (t) => {
    const broker = await mosquitto(t, { passwords: { owl: 'hoot' } });
    const strict = await mosquitto(t, { passwords: { somebody: 'else' } });
    const host = `127.0.0.1:${broker.port}`;
    const dead = await nowhere();
    const { lines, link } = await connected(t, {
      url: [dead, strict.url, `mqtt://owl:hoot@${host}`],
      username: 'nobody',
      password: 'n0',
    });
    const [one, two, three] = said(lines);
    t.match(one, `No connection to ${dead}: `);
    t.match(one, `Next comes mqtt://127.0.0.1:${strict.port}`);
    t.match(
      two,
      /mqtt\.username, mqtt\.password.*Next comes/,
      'a refusal does not keep us from the next one',
    );
    t.match(three, `Connected to mqtt://${host}, address 3 of 3 (MQTT 5)`);
    t.notMatch(JSON.stringify(lines), /hoot|owl/);
    t.equal(lines.filter(({ level }) => level === 'warn').length, 2);
    t.equal(link.connected, true);
  },
);

t.test('encrypted and plain addresses stand side by side', { skip }, async (t) => {
  const authority = createAuthority(temporaryFolder(t), 'ours');
  const { certFile, keyFile } = authority.issue('localhost', { names: ['IP:127.0.0.1'] });
  const ports = [await freePort(), await freePort(), await freePort()] as const;
  await mosquitto(t, {
    port: ports[0],
    config: [
      `listener ${ports[1]} 127.0.0.1`,
      `certfile ${certFile}`,
      `keyfile ${keyFile}`,
      `listener ${ports[2]} 127.0.0.1`,
      'protocol websockets',
    ],
  });
  const doors = [
    `mqtt://127.0.0.1:${ports[0]}`,
    `mqtts://127.0.0.1:${ports[1]}`,
    `ws://127.0.0.1:${ports[2]}/mqtt`,
  ];
  for (const door of doors) {
    const other = `${door.startsWith('mqtts') ? 'ws' : 'mqtts'}://127.0.0.1:${await freePort()}`;
    const { lines } = await connected(t, {
      url: [other, door],
      ca: authority.cert,
      deviceId: `d${door.length}`,
    });
    t.match(said(lines).at(-1), /Connected to .*address 2 of 2/, door);
  }
  t.throws(
    () =>
      createLink({
        url: ['mqtt://a', 'ws://b'],
        ca: authority.cert,
        baseTopic: 'soundpost',
        deviceId: 'attic',
        log: createRecordingLog(),
        onRequest: () => undefined,
      }),
    { code: 'invalid_broker_tls' },
  );
});

t.test('the doctor tries each of them', { skip }, async (t) => {
  const broker = await mosquitto(t);
  const open = await mosquitto(t, { passwords: { owl: 'hoot' } });
  const folder = temporaryFolder(t);
  const doctor = (...urls: string[]) =>
    checkOwnBroker(
      loadConfig({ env: {}, flags: { 'mqtt.url': urls.join(',') }, root: folder, cwd: folder }).config,
      5000,
    );
  const both = [broker.url, `mqtt://owl:hoot@127.0.0.1:${open.port}`] as const;
  const well = await doctor(...both);
  t.equal(well.verdict, 'ok', well.detail);
  for (const { url } of [broker, open]) t.match(well.detail, `${url} lets us in`);
  const dead = await nowhere();
  const half = await doctor(dead, ...both);
  t.equal(half.verdict, 'warn', half.detail);
  t.match(half.detail, `${dead}: `);
  t.match(half.detail, `${broker.url} lets us in`);
  t.match(await doctor(dead, await nowhere()), { verdict: 'fail' });
  t.notMatch(JSON.stringify([well, half]), /hoot/);
});

t.test('the service takes a list, and shows it without secrets', { skip }, async (t) => {
  const broker = await mosquitto(t, { passwords: { owl: 'geheim', admin: 'admin' } });
  const dead = `mqtt://elsewhere:streng@127.0.0.1:${await freePort()}`;
  const host = `127.0.0.1:${broker.port}`;
  const { console, service } = await start(
    t,
    `mqtt://admin:admin@${host}`,
    { ...looped, MQTT_URL: `${dead}, mqtt://owl:geheim@${host}` },
    sound(beep(4, 0.3)),
  );
  const info = JSON.parse(await console.word('info', (text) => text !== '')) as InfoPayload;
  t.match(info.config, {
    mqtt: { url: [/^mqtt:\/\/\*\*\*:\*\*\*@127/, /^mqtt:\/\/\*\*\*:\*\*\*@127/], username: '', password: '' },
  });
  await service.line(({ message }) => message.startsWith(`Connected to mqtt://${host}, address 2 of 2`));
  t.notMatch(JSON.stringify([console.messages, service.lines]), /geheim|streng/);
});
