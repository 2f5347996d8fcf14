import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { keys } from '../../src/config/schema.js';
import { freePort, startMosquitto } from '../support/broker.js';
import { createAuthority } from '../support/certificates.js';
import { cli, startCli } from '../support/cli.js';
import { createConsole } from '../support/service.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';
import { skipWithout } from '../support/tools.js';

/*
 * Every secret carries a mark of its own, in every way in which a secret can be given; then everything that the
 * program prints and publishes is searched for the marks.
 */

/** Marked text, with a character that has to be encoded in an address. */
const marked = (name: string) => `mark-${name}%&secret`;
const encoded = (name: string) => encodeURIComponent(marked(name));

/** What a mark looks like wherever it shows up, encoded or not, whole or in part. */
const anyMark = /mark-\w+/g;

/** The lines of a key that are the key itself. */
function linesOf(pem: string): string[] {
  return pem.split('\n').filter((line) => line !== '' && !line.startsWith('-----'));
}

function found(text: string, more: readonly string[] = []): string[] {
  return [...(text.match(anyMark) ?? []), ...more.filter((secret) => text.includes(secret))];
}

const noTools = skipWithout('mosquitto', 'mosquitto_passwd', 'openssl');

async function setUp(t: Test) {
  const folder = temporaryFolder(t);
  const authority = createAuthority(folder, 'ours');
  const mine = authority.issue('attic');
  const secretFile = join(folder, 'password');
  writeFileSync(secretFile, `${marked('file')}\n`);
  const base = {
    SOUNDPOST_DATA_DIR: join(folder, 'data'),
    SOUNDPOST_DEVICE_ID: 'attic',
    SOUNDPOST_LOG_LEVEL: 'debug',
    SOUNDPOST_LOG_FORMAT: 'json',
    SOUNDPOST_AUDIO_SOURCE: 'stream',
    // Nothing listens there: the address comes up in what is said about that.
    SOUNDPOST_AUDIO_URL: `http://user:${encoded('stream')}@127.0.0.1:${await freePort()}/x?token=${encoded('query')}`,
    SOUNDPOST_MODELS_ALLOWED_HOSTS: '["127.0.0.1"]',
    SOUNDPOST_MODELS_REMOTE_PULL: 'any',
    SOUNDPOST_MODELS_MIRROR: `http://user:${encoded('mirror')}@127.0.0.1:${await freePort()}/files`,
  };
  mkdirSync(base.SOUNDPOST_DATA_DIR);
  return { folder, authority, mine, secretFile, base };
}

t.test('no secret is printed or published', { skip: noTools }, async (t) => {
  const { folder, authority, mine, secretFile, base } = await setUp(t);
  const keyLines = linesOf(mine.key);
  t.equal(
    found(`${encoded('a')} ${marked('b')} ${keyLines[0]!}`, keyLines).length,
    3,
    'the search finds what it is for',
  );
  const broker = await startMosquitto({ passwords: { attic: marked('file'), watcher: 'watch' } });
  t.teardown(() => broker.stop());
  const closed = await freePort();

  await t.test('by the service at work, nor where everything around it fails', async (t) => {
    const url = broker.url.replace('//', `//attic:${encoded('file')}@`);
    const console = await createConsole(t, broker.url, 'attic', { username: 'watcher', password: 'watch' });
    const page = {
      SOUNDPOST_WEB_ENABLED: 'true',
      SOUNDPOST_WEB_PORT: '0',
      SOUNDPOST_WEB_PASSWORD: marked('page'),
    };
    const running = startCli(['run'], { env: { ...base, ...page, SOUNDPOST_MQTT_URL: url }, cwd: folder });
    t.teardown(() => running.child.kill('SIGKILL'));
    await console.word('status', (text) => text === 'online');
    const info = await console.on<{ config: object }>('info', () => true, 60_000);
    t.match(info.config, {
      mqtt: { password: '***', username: /./ },
      audio: { url: /\*\*\*/ },
      web: { password: '***' },
    });
    // The stream cannot be reached, and no model can be downloaded.
    await console.on('log', () => true, 60_000);
    t.match(await console.request('model/pull', { id: 'mn10_as' }), { error: { code: 'offline' } });
    const bundled = readFileSync(projectPath('models', 'soundpost-home', 'model.json'), 'utf8');
    const { onnx_sha256: sha256, ...manifest } = JSON.parse(bundled) as Record<string, unknown>;
    const pulls = [
      [`https://me:${encoded('command')}@elsewhere.example`, 'host_not_allowed'],
      [`http://me:${encoded('command')}@127.0.0.1:${closed}`, 'offline'],
    ] as const;
    for (const [origin, code] of pulls) {
      const url = `${origin}/x?token=${encoded('command')}`;
      const request = { url, sha256, manifest: { ...manifest, id: 'x', labels: undefined }, labels: ['a'] };
      t.match(await console.request('model/pull', request), { error: { code } });
    }
    await console.request('info');
    await console.request('health');
    await console.request('model/list');
    running.child.kill('SIGTERM');
    const { stdout, stderr } = await running.ended;
    t.match(stderr, /"level":"debug"/, 'the log has everything');
    t.same(found(stdout + stderr), [], 'the log');
    const published = console.messages.filter(({ topic }) => !topic.includes('/request/'));
    t.ok(published.length > 10);
    t.same(
      published.flatMap(({ topic, text }) => found(text).map((mark) => `${topic}: ${mark}`)),
      [],
      'what it published',
    );
  });

  const tls = {
    SOUNDPOST_MQTT_CA: authority.certFile,
    SOUNDPOST_MQTT_CERT: mine.cert,
    SOUNDPOST_MQTT_KEY: mine.key,
  };
  const spoilt = mine.key.replace(keyLines[1]!, 'mark-spoilt');
  const ways: [string, Record<string, string>][] = [
    [
      'a wrong password',
      {
        SOUNDPOST_MQTT_URL: broker.url,
        SOUNDPOST_MQTT_USERNAME: 'attic',
        SOUNDPOST_MQTT_PASSWORD: marked('wrong'),
      },
    ],
    [
      'a wrong password in the address',
      { SOUNDPOST_MQTT_URL: broker.url.replace('//', `//attic:${encoded('url')}@`) },
    ],
    [
      'an unreachable host',
      { ...tls, SOUNDPOST_MQTT_URL: `mqtts://127.0.0.1:${closed}`, SOUNDPOST_MQTT_PASSWORD_FILE: secretFile },
    ],
    [
      'a broker without encryption',
      { ...tls, SOUNDPOST_MQTT_URL: `mqtts://127.0.0.1:${broker.port}?x=${encoded('query')}` },
    ],
    ['a spoilt key', { ...tls, SOUNDPOST_MQTT_URL: 'mqtts://a.example', SOUNDPOST_MQTT_KEY: spoilt }],
    [
      'a spoilt key in base64',
      {
        ...tls,
        SOUNDPOST_MQTT_URL: 'mqtts://a.example',
        SOUNDPOST_MQTT_KEY: Buffer.from(spoilt).toString('base64'),
      },
    ],
    [
      'a key in the place of the certificate',
      { ...tls, SOUNDPOST_MQTT_URL: 'mqtts://a.example', SOUNDPOST_MQTT_CERT: mine.key },
    ],
    ['an address that is none', { SOUNDPOST_MQTT_URL: `mqtt:/attic:${marked('typo')}@broker` }],
    [
      'an address with a slash in its password',
      { SOUNDPOST_MQTT_URL: `mqtt://attic:a/${marked('typo')}@broker` },
    ],
    [
      'two passwords',
      { SOUNDPOST_MQTT_URL: `mqtt://a:${encoded('url')}@b`, SOUNDPOST_MQTT_PASSWORD: marked('two') },
    ],
    [
      'a broker of its own',
      {
        SOUNDPOST_BROKER_HOST: '0.0.0.0',
        SOUNDPOST_BROKER_PORT: '0',
        SOUNDPOST_BROKER_PASSWORD: marked('door'),
      },
    ],
    [
      'a page of its own',
      {
        SOUNDPOST_WEB_HOST: '0.0.0.0',
        SOUNDPOST_WEB_PASSWORD: marked('page'),
        SOUNDPOST_BROKER_PORT: '0',
      },
    ],
    [
      'a stream that is none',
      { SOUNDPOST_AUDIO_URL: `htp://user:${encoded('stream')}@x`, SOUNDPOST_BROKER_PORT: '0' },
    ],
    [
      'a mirror that is none',
      { SOUNDPOST_MODELS_MIRROR: `ftp://user:${encoded('mirror')}@x`, SOUNDPOST_BROKER_PORT: '0' },
    ],
  ];
  await t.test('by the commands', async (t) => {
    for (const [what, settings] of ways) {
      // What is refused is refused by all of them alike.
      const isRefused = !/^(a wrong|an unreachable|a broker|a page)/.test(what);
      const commands = isRefused ? [['config']] : [['config', '--json'], ['doctor']];
      if (what === 'a wrong password') commands.push(['config'], ['models', 'pull', 'mn10_as'], ['health']);
      const env = { ...base, ...settings };
      const results = await Promise.all(commands.map((args) => cli(args, { env, cwd: folder })));
      for (const [index, { code, stdout, stderr }] of results.entries()) {
        const name = `${what}: ${commands[index]!.join(' ')}`;
        if (isRefused) t.equal(code, 2, `${name} is refused`);
        t.ok((stdout + stderr).length > 20, `${name} says something`);
        t.same(found(stdout + stderr, keyLines), [], name);
      }
    }
  });

  await t.test('every secret key was among them', (t) => {
    const given = ways.flatMap(([, settings]) => Object.keys(settings)).join(' ');
    for (const [key, spec] of keys) {
      if (spec.secret === true) t.match(given, `SOUNDPOST_${key.replaceAll('.', '_').toUpperCase()}`, key);
    }
    t.end();
  });
});
