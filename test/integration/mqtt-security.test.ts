import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { loadConfig } from '../../src/config/load.js';
import type { Link, LinkOptions, LinkStatus } from '../../src/mqtt/link.js';
import { brokerAccess } from '../../src/service/broker-access.js';
import { freePort, startMosquitto } from '../support/broker.js';
import { createAuthority } from '../support/certificates.js';
import { isOutcome, makeLink as makeTestLink } from '../support/link.js';
import { createRecordingLog } from '../support/recording-log.js';
import { temporaryFolder } from '../support/temporary.js';
import { skipWithout } from '../support/tools.js';

const quick = { firstDelayMs: 20, maxDelayMs: 100, refusedDelayMs: 40, lastedMs: 60_000 };

/** One broker with a door for each kind of trouble. */
async function setUp(t: Test) {
  const folder = temporaryFolder(t);
  const authority = createAuthority(folder, 'ours');
  const stranger = createAuthority(folder, 'theirs');
  const names = ['DNS:localhost', 'IP:127.0.0.1'];
  const good = authority.issue('localhost', { names });
  const ports = { good: 0, strict: 0, expired: 0, elsewhere: 0, web: 0, webSecure: 0 };
  for (const name of Object.keys(ports) as (keyof typeof ports)[]) ports[name] = await freePort();
  const door = (port: number, { certFile, keyFile }: { certFile: string; keyFile: string }) => [
    `listener ${port} 127.0.0.1`,
    `cafile ${authority.certFile}`,
    `certfile ${certFile}`,
    `keyfile ${keyFile}`,
  ];
  const broker = await startMosquitto({
    passwords: { attic: 'p4ss-attic' },
    config: [
      ...door(ports.good, good),
      ...door(ports.strict, good),
      'require_certificate true',
      ...door(ports.expired, authority.issue('localhost', { names, days: -1 })),
      ...door(ports.elsewhere, authority.issue('elsewhere.example', { names: ['DNS:elsewhere.example'] })),
      `listener ${ports.web} 127.0.0.1`,
      'protocol websockets',
      ...door(ports.webSecure, good),
      'protocol websockets',
    ],
  });
  t.teardown(() => broker.stop());
  return { folder, authority, stranger, ports, broker };
}

const makeLink = (t: Test, options: Parameters<typeof makeTestLink>[1]) =>
  makeTestLink(t, {
    deviceId: 'attic',
    username: 'attic',
    password: 'p4ss-attic',
    timing: quick,
    ...options,
  });

/** The first `count` statuses that are an end of the waiting. */
function outcomes(link: Link, count = 1): Promise<LinkStatus[]> {
  return new Promise((resolve) => {
    const seen: LinkStatus[] = [];
    link.onStatus((status) => {
      if (['connected', 'offline', 'refused'].includes(status.state) && isOutcome(status)) {
        seen.push(status);
      }
      if (seen.length === count) resolve(seen);
    });
  });
}

const noTools = skipWithout('mosquitto', 'mosquitto_passwd', 'openssl');

t.test('encrypted connections', { skip: noTools }, async (t) => {
  const { folder, authority, stranger, ports } = await setUp(t);
  const ca = authority.cert;
  const mine = authority.issue('attic');
  const at = (port: number, scheme = 'mqtts') => `${scheme}://localhost:${port}`;

  await t.test('a private authority, with and without a certificate of our own', async (t) => {
    for (const options of [
      { url: at(ports.good), ca },
      { url: `mqtts://127.0.0.1:${ports.good}`, ca, protocolVersion: 4 as const },
      { url: at(ports.strict), ca, cert: mine.cert, key: mine.key },
      { url: at(ports.web, 'ws') },
      { url: at(ports.webSecure, 'wss'), ca },
    ]) {
      const link = makeLink(t, options);
      await link.start();
      t.match(await outcomes(link), [{ state: 'connected' }], options.url);
      await link.stop();
    }
  });

  await t.test('from the configuration: as a path, as text, as base64, from files', async (t) => {
    const secret = join(folder, 'password');
    writeFileSync(secret, 'p4ss-attic\n');
    const base64 = (text: string) => Buffer.from(text).toString('base64');
    const ways: Record<string, string>[] = [
      { MQTT_CA: authority.certFile, MQTT_CERT: mine.certFile, MQTT_KEY: mine.keyFile },
      { MQTT_CA: ca, MQTT_CERT: mine.cert.replaceAll('\n', '\\n'), MQTT_KEY: mine.key },
      { MQTT_CA: base64(ca), MQTT_CERT: base64(mine.cert), MQTT_KEY: base64(mine.key) },
      { MQTT_CA_FILE: authority.certFile, MQTT_CERT_FILE: mine.certFile, MQTT_KEY_FILE: mine.keyFile },
    ];
    for (const way of ways) {
      const settings = {
        MQTT_URL: at(ports.strict),
        MQTT_USERNAME: 'attic',
        MQTT_PASSWORD_FILE: secret,
        ...way,
      };
      const env = Object.fromEntries(
        Object.entries(settings).map(([name, value]) => [`SOUNDPOST_${name}`, value]),
      );
      const { config } = loadConfig({ env, flags: {}, root: folder, cwd: folder });
      const link = makeLink(t, { url: config.mqtt.url, ...brokerAccess(config) });
      await link.start();
      t.match(await outcomes(link), [{ state: 'connected' }], Object.keys(way).join(' '));
      await link.stop();
    }
  });

  const troubles: [string, Partial<LinkOptions> & { url: string }, code: string, reason: RegExp][] = [
    ['an authority that nobody named', { url: at(ports.good) }, 'certificate', /not trusted.*mqtt\.ca/],
    [
      'the wrong authority',
      { url: at(ports.good), ca: stranger.cert },
      'certificate',
      /not trusted.*mqtt\.ca/,
    ],
    ['an expired certificate', { url: at(ports.expired), ca }, 'certificate', /expired/],
    [
      'a certificate for another name',
      { url: at(ports.elsewhere), ca },
      'certificate',
      /another name.*localhost/,
    ],
    ['no certificate of our own', { url: at(ports.strict), ca }, 'certificate', /mqtt\.cert.*mqtt\.key/],
    [
      'a certificate of our own from somebody else',
      { url: at(ports.strict), ca, ...pick(stranger.issue('attic')) },
      'certificate',
      /mqtt\.cert.*mqtt\.key/,
    ],
    ['a wrong password', { url: at(ports.good), ca, password: 'wr0ng' }, 'not_authorized', /mqtt\.password/],
    ['a door without encryption', { url: at(ports.web), ca }, 'certificate', /encrypted port/],
    [
      'a wrong password over websockets',
      { url: at(ports.webSecure, 'wss'), ca, password: 'x' },
      'not_authorized',
      /./,
    ],
    ['the wrong authority over websockets', { url: at(ports.webSecure, 'wss') }, 'certificate', /mqtt\.ca/],
  ];
  for (const [what, options, code, reason] of troubles) {
    await t.test(`${what} is said in words, once`, async (t) => {
      const log = createRecordingLog();
      const link = makeLink(t, { ...options, log });
      await link.start();
      const seen = await outcomes(link, 3);
      t.match(
        seen,
        [1, 2, 3].map(() => ({ state: 'refused', code, reason })),
      );
      const told = log.lines.filter(({ level }) => level !== 'debug');
      t.equal(told.length, 1, 'repeats are not');
      t.match(told[0]?.message, reason);
      await link.stop();
    });
  }

  await t.test('an absent network is none of these', async (t) => {
    const link = makeLink(t, { url: at(await freePort()), ca });
    await link.start();
    t.match(await outcomes(link), [{ state: 'offline', code: 'connection_refused' }]);
  });
});

function pick({ cert, key }: { cert: string; key: string }) {
  return { cert, key };
}
