import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { connect as tcpConnect, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import t, { type Test } from 'tap';
import { WebSocketServer, createWebSocketStream } from 'ws';
import { checkOwnBroker } from '../../src/cli/doctor-broker.js';
import { loadConfig } from '../../src/config/load.js';
import { parseAccess } from '../../src/mqtt/connection.js';
import type { LinkOptions, LinkStatus } from '../../src/mqtt/link.js';
import { startMosquitto } from '../support/broker.js';
import { createAuthority } from '../support/certificates.js';
import { eventWith } from '../support/events.js';
import { makeLink as makeTestLink, reached } from '../support/link.js';
import { createProbe } from '../support/mqtt-probe.js';
import { createRecordingLog } from '../support/recording-log.js';
import { scriptedBroker } from '../support/scripted-broker.js';
import { temporaryFolder } from '../support/temporary.js';
import { skipWithout } from '../support/tools.js';

const B = 'soundpost/test';
const quick = { firstDelayMs: 10, maxDelayMs: 50, refusedDelayMs: 40, lastedMs: 60_000 };
const noMosquitto = skipWithout('mosquitto', 'mosquitto_passwd');

const makeLink = (t: Test, options: Parameters<typeof makeTestLink>[1]) =>
  makeTestLink(t, { timing: quick, ...options });

function doctor(t: Test, flags: Record<string, string>) {
  const folder = temporaryFolder(t);
  const { config } = loadConfig({
    env: {},
    flags: { 'device.id': 'test', ...flags },
    root: folder,
    cwd: folder,
  });
  return checkOwnBroker(config, 5000);
}

t.test('a broker that does not take our will as it is', { skip: noMosquitto }, async (t) => {
  const kinds = [
    { setting: 'retain_available false', code: 'retain_not_supported', words: /keeps no retained messages/ },
    { setting: 'max_qos 0', code: 'qos_not_supported', words: /takes QoS 0 only/ },
  ];
  for (const { setting, code, words } of kinds) {
    for (const protocolVersion of [5, 4] as const) {
      await t.test(`${setting}, MQTT ${protocolVersion}`, async (t) => {
        const broker = await startMosquitto({ config: [setting] });
        t.teardown(() => broker.stop());
        const log = createRecordingLog();
        const watcher = await createProbe(broker.url, [`${B}/#`], { protocolVersion: 5 });
        t.teardown(() => watcher.close());
        const link = makeLink(t, { url: broker.url, protocolVersion, log });
        await link.start();
        await watcher.next(`${B}/status`, ({ text }) => text === 'online');
        link.publish('event', eventWith({ id: '1' }));
        link.publish('label', 'ON', { slug: 'dog' });
        await watcher.next(`${B}/event`);
        await watcher.next(`${B}/label/dog`);
        const told = log.lines.filter(({ fields }) => fields.code === code);
        t.equal(told.length, 1, 'once');
        t.match(told[0]?.message, words);

        const found = await doctor(t, {
          'mqtt.url': broker.url,
          'mqtt.protocol_version': String(protocolVersion),
        });
        t.match(found, { verdict: 'warn', detail: words }, 'the doctor says the same');
        t.equal(link.connected, true, 'and the service keeps its connection');
        await link.stop();
        t.same(link.counters(), { queued: 0, dropped: 0 });
        const last = watcher.messages.filter(({ topic }) => topic === `${B}/status`).at(-1);
        t.equal(last?.text, 'offline');
      });
    }
  }

  await t.test('a broker that is only starting gets the whole will', async (t) => {
    let starting = true;
    let closed = 0;
    const broker = await scriptedBroker(t, {
      connect() {
        // Ready just when a smaller will comes.
        starting &&= (closed += 1) < 3;
        return starting ? null : {};
      },
    });
    const link = makeLink(t, { url: broker.url });
    await link.start();
    await reached(link, 'connected');
    t.match(broker.connects.at(-1)?.will, { qos: 1, retain: true });
  });

  await t.test('a broker that may have retained messages again gets a retained will again', async (t) => {
    let retains = false;
    const broker = await scriptedBroker(t, {
      connect: ({ will }) => ({
        reasonCode: will?.retain === true && !retains ? 154 : 0,
        properties: { retainAvailable: retains },
      }),
    });
    const link = makeLink(t, { url: broker.url });
    await link.start();
    await reached(link, 'connected');
    t.match(
      broker.connects.map(({ will }) => will?.retain),
      [true, false],
    );
    await broker.until(() => broker.taken.length > 0, 'a message');
    t.equal(broker.taken[0]?.retain, false);
    retains = true;
    for (let n = 0; n < 2; n += 1) {
      const before = broker.connects.length;
      broker.disconnect();
      await broker.until(
        () => broker.connects.length > before && broker.taken.length > 0,
        'a new connection',
      );
      await reached(link, 'connected');
    }
    t.equal(broker.connects.at(-1)?.will?.retain, true);
  });
});

t.test('the doctor and a service at work', { skip: noMosquitto }, async (t) => {
  const broker = await startMosquitto({
    passwords: { owl: 'hoot', admin: 'admin' },
    acl: ['user owl', `topic readwrite ${B}/#`, 'user admin', 'topic readwrite #'],
  });
  t.teardown(() => broker.stop());
  const watcher = await createProbe(broker.url, [`${B}/status`], { username: 'admin', password: 'admin' });
  t.teardown(() => watcher.close());
  const link = makeLink(t, { url: broker.url, username: 'owl', password: 'hoot' });
  await link.start();
  await watcher.next(`${B}/status`, ({ text }) => text === 'online');
  const statuses: string[] = [];
  link.onStatus(({ state }) => statuses.push(state));
  const flags = { 'mqtt.url': broker.url, 'mqtt.username': 'owl', 'mqtt.password': 'hoot' };
  t.match(await doctor(t, flags), { verdict: 'ok', detail: /lets us in \(MQTT 5/ });
  t.same(statuses, ['connected'], 'it is not thrown out');
  t.same(
    watcher.messages.map(({ text }) => text),
    ['online'],
    'and nothing is said in its name',
  );
  const wrong = await doctor(t, { ...flags, 'mqtt.password': 'wrong' });
  t.match(wrong, { verdict: 'fail', detail: /mqtt\.password/ });
  t.match(await doctor(t, { 'mqtt.url': 'mqtt://127.0.0.1:9' }), {
    verdict: 'fail',
    detail: /is the broker running/,
  });

  const scripted = await scriptedBroker(t, { subscribe: () => false });
  const found = await doctor(t, { 'mqtt.url': scripted.url });
  t.match(found, { verdict: 'warn', detail: /ends the connection when .*request\/#.* are subscribed to/i });
  t.match(
    scripted.connects.map(({ will }) => will?.topic),
    [`${B}/status`, undefined],
  );
  t.match(scripted.connects[0]?.clientId, 'soundpost_test_doctor');
  t.match(await doctor(t, { 'mqtt.url': (await scriptedBroker(t, { connect: () => null })).url }), {
    verdict: 'fail',
    detail: /closed the connection without an answer/,
  });
});

t.test('keep-alive', async (t) => {
  const orders = await scriptedBroker(t, { connect: () => ({ properties: { serverKeepAlive: 1 } }) });
  const log = createRecordingLog();
  const link = makeLink(t, { url: orders.url, log });
  await link.start();
  await reached(link, 'connected');
  t.ok(log.lines.some(({ message }) => /orders a keep-alive of 1 s/.test(message)));
  t.match(await doctor(t, { 'mqtt.url': orders.url }), {
    verdict: 'ok',
    detail: /orders a keep-alive of 1 s/,
  });

  const refuses = await scriptedBroker(t, {
    connect: ({ keepalive }) => ({ returnCode: keepalive! > 10 ? 2 : 0 }),
  });
  const late = makeLink(t, { url: refuses.url, protocolVersion: 4 });
  await late.start();
  t.match(await reached(late, 'refused'), {
    code: 'client_id_refused',
    reason: /client id soundpost_test.*or a keep-alive of 30 s.*mqtt\.keepalive_seconds/,
  });
  const short = makeLink(t, { url: refuses.url, protocolVersion: 4, keepaliveSeconds: 10 });
  await short.start();
  await reached(short, 'connected');

  const silence = await scriptedBroker(t, {});
  const quiet = makeLink(t, { url: silence.url });
  await quiet.start();
  await reached(quiet, 'connected');
  silence.disconnect(141);
  t.match(await reached(quiet, 'offline'), { code: 'keepalive_timeout', reason: /mqtt\.keepalive_seconds/ });
});

t.test('a take-over is named where the broker names it', async (t) => {
  const broker = await scriptedBroker(t, {});
  const link = makeLink(t, { url: broker.url });
  await link.start();
  await reached(link, 'connected');
  broker.disconnect(0x8e);
  t.match(await reached(link, 'refused'), { code: 'session_taken_over', reason: /device\.id/ });

  const silent = makeLink(t, { url: broker.url, protocolVersion: 4 });
  await silent.start();
  const statuses: LinkStatus[] = [];
  silent.onStatus((status) => {
    statuses.push(status);
    if (status.state === 'connected') setImmediate(() => broker.disconnect());
  });
  const { code, reason } = await reached(silent, 'refused');
  t.equal(code, 'closed_again');
  t.match(reason, /does not say why: its log should/);
  t.notMatch(JSON.stringify(statuses), /device\.id/);
});

t.test('the query of a WebSocket address goes out as it is written', async (t) => {
  const asked: string[] = [];
  const inner = await scriptedBroker(t, {});
  const web = new WebSocketServer({ noServer: true, handleProtocols: () => 'mqtt' });
  const http = createHttpServer();
  http.on('upgrade', (request, socket, head) => {
    asked.push(request.url ?? '');
    if (!/^\/mqtt\?.*token=abc/.test(request.url ?? '')) {
      socket.end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n');
      return;
    }
    web.handleUpgrade(request, socket, head, (client) => {
      const stream = createWebSocketStream(client);
      const tcp = tcpConnect(inner.port, '127.0.0.1');
      stream.on('error', () => tcp.destroy());
      tcp.on('error', () => stream.destroy());
      stream.pipe(tcp).pipe(stream);
    });
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  t.teardown(() => {
    for (const client of web.clients) client.terminate();
    http.close();
  });
  const at = `ws://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const query = '?X-Amz-Signature=%2Fab%3D&clientId=other&token=abc';
  const log = createRecordingLog();
  const link = makeLink(t, { url: `${at}/mqtt${query}`, log });
  await link.start();
  await reached(link, 'connected');
  t.same(asked, [`/mqtt${query}`]);
  t.equal(inner.connects[0]?.clientId, 'soundpost_test', 'a client id in it is for the server only');
  t.notMatch(JSON.stringify(log.lines), /token|abc|Signature/, 'and it stands in no log');
  t.match(await doctor(t, { 'mqtt.url': `${at}/mqtt?token=abc` }), { verdict: 'ok' });

  const wrong = makeLink(t, { url: `${at}/mqtt?token=wrong` });
  await wrong.start();
  t.match(await reached(wrong, 'refused'), {
    code: 'not_authorized',
    reason: /HTTP status 401.*query, of mqtt\.url/,
  });
});

t.test('TLS', { skip: skipWithout('openssl') }, async (t) => {
  const folder = temporaryFolder(t);
  const root = createAuthority(folder, 'root');
  const names = ['DNS:localhost', 'IP:127.0.0.1'];
  const leaf = root.issue('localhost', { names });

  await t.test('ALPN', async (t) => {
    const wants = { cert: leaf.cert, key: leaf.key, ALPNProtocols: ['x-amzn-mqtt-ca'] };
    const broker = await scriptedBroker(t, {}, createTlsServer(wants), 'secureConnection');
    const url = `mqtts://localhost:${broker.port}`;
    const right = makeLink(t, { url, ca: root.cert, alpn: 'x-amzn-mqtt-ca' });
    await right.start();
    await reached(right, 'connected');
    t.match(await doctor(t, { 'mqtt.url': url, 'mqtt.ca': root.cert, 'mqtt.alpn': 'x-amzn-mqtt-ca' }), {
      verdict: 'ok',
    });
    const wrong = makeLink(t, { url, ca: root.cert, alpn: 'mqtt' });
    await wrong.start();
    t.match(await reached(wrong, 'refused'), { code: 'certificate', reason: /mqtt\.alpn/ });

    const aws = 'a1b2-ats.iot.eu-central-1.amazonaws.com';
    const asksFor = (options: Partial<LinkOptions> & { url: string }) =>
      parseAccess(options).options.ALPNProtocols;
    const { cert, key } = leaf;
    t.same(asksFor({ url: `mqtts://${aws}:443`, cert, key }), ['x-amzn-mqtt-ca'], 'AWS IoT needs no setting');
    t.same(asksFor({ url: `mqtts://${aws}:443` }), ['mqtt']);
    t.same(asksFor({ url: `mqtts://${aws}:443`, alpn: 'own' }), ['own']);
    t.equal(asksFor({ url: `mqtts://${aws}:8883`, cert, key }), undefined);
    t.equal(asksFor({ url: 'mqtts://broker.example:443', cert, key }), undefined);
    t.throws(
      () => parseAccess({ url: 'mqtt://x', alpn: 'mqtt' }),
      /mqtt\.alpn needs an encrypted connection/,
    );
  });

  await t.test('what is wrong with a chain is said', async (t) => {
    const middle = root.issueAuthority('middle');
    const below = middle.issue('localhost', { names });
    const bare = root.issue('127.0.0.1');
    const renewed = createAuthority(temporaryFolder(t), 'root');
    const stranger = createAuthority(folder, 'stranger');
    const at = async (t: Test, cert: string, key: string) => {
      const server = createTlsServer({ cert, key });
      return `mqtts://127.0.0.1:${(await scriptedBroker(t, {}, server, 'secureConnection')).port}`;
    };
    const full = `${below.cert}\n${middle.cert}`;
    const cases: [what: string, url: string, ca: string | undefined, reason: RegExp | null][] = [
      ['all of it', await at(t, full, below.key), root.cert, null],
      [
        'leaf only, both in mqtt.ca',
        await at(t, below.cert, below.key),
        `${root.cert}\n${middle.cert}`,
        null,
      ],
      [
        'the intermediate in mqtt.ca',
        await at(t, below.cert, below.key),
        middle.cert,
        /mqtt\.ca holds an intermediate \("CN=middle authority"\): add the root to it, the certificate of "CN=root authority"/,
      ],
      [
        'the intermediate in mqtt.ca, and sent',
        await at(t, full, below.key),
        middle.cert,
        /mqtt\.ca holds an intermediate.*add the root to it/,
      ],
      [
        'an intermediate that is not sent',
        await at(t, below.cert, below.key),
        root.cert,
        /signed by "CN=middle authority", which is not in mqtt\.ca.*the broker does not send its intermediate certificate: add that to mqtt\.ca or to the broker's certfile/,
      ],
      [
        'a certificate that names no host',
        await at(t, bare.cert, bare.key),
        root.cert,
        /names no host at all \(it has no subjectAltName\): make it anew/,
      ],
      [
        'another authority',
        await at(t, `${leaf.cert}\n${root.cert}`, leaf.key),
        stranger.cert,
        /signed by "CN=root authority": set mqtt\.ca to the certificate of that authority/,
      ],
      [
        'an authority that was made anew',
        await at(t, leaf.cert, leaf.key),
        renewed.cert,
        /another certificate with the name "CN=root authority"/,
      ],
      [
        'no mqtt.ca',
        await at(t, full, below.key),
        undefined,
        /set mqtt\.ca to the one that signed it \("CN=root authority"\)/,
      ],
    ];
    for (const [what, url, ca, reason] of cases) {
      const link = makeLink(t, { url, ...(ca !== undefined && { ca }) });
      await link.start();
      if (reason === null) await reached(link, 'connected');
      else t.match(await reached(link, 'refused'), { code: 'certificate', reason }, what);
      await link.stop();
      const file = join(folder, 'ca.pem');
      writeFileSync(file, ca ?? '');
      const found = await doctor(t, { 'mqtt.url': url, ...(ca !== undefined && { 'mqtt.ca': file }) });
      t.match(
        found,
        reason === null ? { verdict: 'ok' } : { verdict: 'fail', detail: reason },
        `doctor: ${what}`,
      );
    }
  });
});
