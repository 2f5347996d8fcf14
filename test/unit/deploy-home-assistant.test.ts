import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { t } from 'tap';
import { parse, type CollectionTag, type ScalarTag } from 'yaml';
import { loadConfig } from '../../src/config/load.js';
import { ADDRESSES, type AppRun } from '../support/app-run.js';
import { PACED_TOOLS, skipWithoutMicrophone } from '../support/microphone.js';
import { projectPath } from '../support/shared.js';
import {
  appConfig,
  appRepository,
  appTranslations,
  isAppConfig,
  optionFaults,
  profileNames,
  RIGHTS,
  type Form,
} from '../support/supervisor-rules.js';
import { temporaryFolder } from '../support/temporary.js';
import { skipWithout } from '../support/tools.js';

/* The app for Home Assistant, by the rules of its Supervisor, and started with what the Supervisor gives it. */

const app = (...parts: string[]) => projectPath('deploy', 'home-assistant', 'soundpost', ...parts);
const read = (...parts: string[]) => readFileSync(projectPath(...parts), 'utf8');
const readApp = (...parts: string[]) => readFileSync(app(...parts), 'utf8');
const config = appConfig.parse(parse(readApp('config.yaml')));

interface Broker {
  host: string;
  port: number;
  ssl?: boolean;
  username?: string;
  password?: string;
}
const { settingsOf } = (await import(pathToFileURL(app('settings.js')).href)) as {
  settingsOf: (options: Record<string, unknown>, broker: Broker) => Record<string, string>;
};
const { brokerOf } = (await import(pathToFileURL(app('supervisor.js')).href)) as {
  brokerOf: (
    url: string,
    token: string,
    tell: (message: string) => void,
    againMs?: number,
  ) => Promise<Broker>;
};
const broker: Broker = { host: 'core-mosquitto', port: 1883, ssl: false, username: 'addons', password: 'p' };

t.test('the Supervisor takes the repository, and finds one app in it', (t) => {
  appRepository.parse(parse(read('repository.yaml')));
  const files = execFileSync('git', ['ls-files'], { cwd: projectPath(), encoding: 'utf8' }).split('\n');
  t.same(files.filter(isAppConfig), ['deploy/home-assistant/soundpost/config.yaml']);
  const beside = readdirSync(app());
  for (const name of ['Dockerfile', 'DOCS.md', 'README.md', 'CHANGELOG.md', 'apparmor.txt', 'translations']) {
    t.ok(beside.includes(name), name);
  }
  t.end();
});

t.test('the app has the microphone, the broker and the page, and no right besides', (t) => {
  t.match(config, {
    arch: ['aarch64', 'amd64'],
    audio: true,
    services: ['mqtt:need'],
    ingress: true,
    ingress_port: 8099,
    init: false,
  });
  const text = parse(readApp('config.yaml')) as object;
  for (const right of RIGHTS) t.notOk(right in text, right);
  t.notOk('ports' in text, 'no port is open outside');
  t.end();
});

t.test('what is written elsewhere is what "npm run docs" would write', (t) => {
  const script = 'deploy/home-assistant/write-copies.js';
  const check = (root: string) =>
    spawnSync(process.execPath, [join(root, script), '--check'], { encoding: 'utf8' });
  t.match(check(projectPath()), { status: 0, stderr: '' });

  const other = temporaryFolder(t);
  for (const name of [
    'package.json',
    'repository.yaml',
    'deploy/copies.js',
    'deploy/home-assistant',
    'docs/home-assistant.md',
  ]) {
    cpSync(projectPath(name), join(other, name), { recursive: true });
  }
  mkdirSync(join(other, 'models/soundpost-home'), { recursive: true });
  writeFileSync(join(other, 'models/soundpost-home/labels.json'), '[{"name":"Zip"},{"name":"Bark, loud"}]');
  writeFileSync(
    join(other, 'package.json'),
    read('package.json')
      .replace(/"version": "[^"]+"/, '"version": "9.8.7"')
      .replace(/github\.com\/[^/]+\//, 'github.com/Somebody/'),
  );
  t.equal(check(other).status, 1);
  execFileSync(process.execPath, [join(other, script)]);
  t.equal(check(other).status, 0);
  const written = (path: string) => readFileSync(join(other, path), 'utf8');
  t.match(parse(written('deploy/home-assistant/soundpost/config.yaml')), {
    version: '9.8.7',
    url: 'https://github.com/Somebody/soundpost',
    schema: { labels: ['list(Bark, loud|Zip)'] },
  });
  t.match(written('deploy/home-assistant/soundpost/Dockerfile'), /=ghcr\.io\/somebody\/soundpost:9\.8\.7$/m);
  t.match(parse(written('repository.yaml')), { maintainer: 'Somebody' });
  t.end();
});

/** Every field filled in. */
const everything = {
  more_labels: ['Chainsaw'],
  gain_db: 6,
  cameras: [{ name: 'yard', url: 'rtsp://user:word@192.168.1.20:554/stream2' }],
  threshold: 0.4,
  rate_hz: 2,
  model: 'mn10_as',
  clips: true,
  log_level: 'debug',
};

t.test('the form', (t) => {
  t.same(optionFaults(config.schema, config.options), [], 'what it begins with can be saved as it is');
  const faults: [object, RegExp][] = [
    [{ labels: ['Barking'] }, /labels\[0\]/],
    [{ device_id: 'my home' }, /device_id/],
    [{ cameras: [{ name: 'Yard', url: 'rtsp://camera/' }] }, /cameras\[0\]\.name/],
    [{ cameras: [{ name: 'yard', url: 'camera' }] }, /cameras\[0\]\.url/],
    [{ cameras: [{ name: 'yard' }] }, /cameras\[0\]\.url: missing/],
    [{ threshold: 1.5 }, /threshold/],
    [{ rate_hz: 0 }, /rate_hz/],
    [{ groups: [{ name: 'Fire', labels: ['Fire'], device_class: 'fire' }] }, /device_class/],
    [{ microphone: 'yes' }, /microphone/],
    [{ nonsense: 1 }, /nonsense: not in the form/],
  ];
  for (const [change, expected] of faults) {
    t.match(optionFaults(config.schema, { ...config.options, ...change }).join('\n'), expected);
  }
  t.same(optionFaults(config.schema, { ...config.options, ...everything }), []);
  t.end();
});

for (const language of readdirSync(app('translations'))) {
  t.test(`translations/${language} has a word for every field, and for no other`, (t) => {
    const { configuration } = appTranslations.parse(parse(readApp('translations', language)));
    const names = (form: Form): unknown => {
      if (typeof form === 'string') return true;
      if (Array.isArray(form)) return names(form[0]!);
      return Object.fromEntries(Object.entries(form).map(([name, part]) => [name, names(part)]));
    };
    interface Words {
      [field: string]: { fields?: Words | undefined };
    }
    const translated = (words: Words): unknown =>
      Object.fromEntries(
        Object.entries(words).map(([name, { fields }]) => [name, fields === undefined || translated(fields)]),
      );
    t.same(translated(configuration as Words), names(config.schema));
    t.end();
  });
}

t.test('the pictures have the sizes that the Supervisor asks for', (t) => {
  const size = (name: string) => {
    const bytes = readFileSync(app(name));
    t.equal(bytes.subarray(1, 4).toString('latin1'), 'PNG', name);
    return [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
  };
  t.same(size('icon.png'), [128, 128]);
  t.same(size('logo.png'), [250, 100]);
  t.end();
});

t.test('the profile of AppArmor', { skip: skipWithout('apparmor_parser') }, (t) => {
  t.same(profileNames(readApp('apparmor.txt')), [config.slug]);
  const { status, stderr } = spawnSync('apparmor_parser', ['-Q', '-K', '--warn=all', app('apparmor.txt')], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` },
  });
  t.equal(status, 0, stderr);
  t.end();
});

t.test('what the form says becomes settings that the program takes', (t) => {
  const root = projectPath('.');
  const loaded = (options: object) =>
    loadConfig({ env: { ...settingsOf({ ...config.options, ...options }, broker) }, root }).config;
  t.match(loaded({}), {
    device: { id: 'home', name: 'Soundpost' },
    mqtt: { url: 'mqtt://core-mosquitto:1883', username: 'addons', password: 'p' },
    audio: { source: 'microphone', device: 'default', sources: [] },
    web: { enabled: true, host: '0.0.0.0', port: 8099, ingress: true, password: '' },
    inference: { rate_hz: 1 },
    clips: { enabled: false },
    tagging: { threshold: null },
  });
  const groups = config.options['groups'] as object[];
  const watched = (options: object) => loaded(options).tagging.labels;
  t.same(watched({}), ['Bark', 'Doorbell', ...groups]);
  t.same(watched({ groups: [], more_labels: ['Chainsaw'] }), ['Bark', 'Doorbell', 'Chainsaw']);
  t.match(loaded(everything), {
    tagging: { threshold: 0.4 },
    inference: { rate_hz: 2 },
    model: { id: 'mn10_as' },
    clips: { enabled: true },
    log: { level: 'debug' },
    audio: {
      sources: [
        { name: 'microphone', source: 'microphone', device: 'default', gain_db: 6 },
        { name: 'yard', source: 'stream', url: everything.cameras[0]!.url },
      ],
    },
  });
  t.match(loaded({ ...everything, microphone: false, gain_db: undefined }).audio, {
    source: 'stream',
    url: everything.cameras[0]!.url,
    sources: [],
  });
  t.end();
});

t.test('an empty field says nothing', (t) => {
  const settings = settingsOf({ name: '', labels: [], groups: [], microphone: false, cameras: [] }, broker);
  t.same(
    Object.keys(settings).filter((name) => /DEVICE|TAGGING|AUDIO|MODEL_ID|RATE/.test(name)),
    [],
    'so a file of the operator counts',
  );
  t.equal(
    settingsOf({}, { host: 'fd00::2', port: 8883, ssl: true })['SOUNDPOST_MQTT_URL'],
    'mqtts://[fd00::2]:8883',
  );
  t.end();
});

t.test('without a broker it says so once, and waits for one', async (t) => {
  const answers: [number, object | string][] = [
    [400, { result: 'error', message: 'Service not enabled' }],
    [400, { result: 'error', message: 'Service not enabled' }],
    [502, 'no JSON'],
    [403, {}],
    [200, { result: 'ok', data: broker }],
  ];
  const server = createServer((_, outgoing) => {
    const [status, body] = answers.shift()!;
    outgoing.writeHead(status).end(typeof body === 'string' ? body : JSON.stringify(body));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const told: string[] = [];
  t.match(await brokerOf(url, 'token', (message) => told.push(message), 1), broker);
  t.equal(told.length, 2, told.join('\n'));
  t.match(told[0], /Mosquitto broker/);
  t.match(told[1], /does not let this app/);
  // Gone, and back.
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
  const waiting = brokerOf(url, 'token', (message) => told.push(message), 1);
  const port = Number(new URL(url).port);
  while (told.length < 3) await new Promise((resolve) => setImmediate(resolve));
  t.match(told[2], /does not answer \(ECONNREFUSED\)/);
  answers.push([200, { result: 'ok', data: broker }]);
  server.listen(port, '127.0.0.1');
  t.match(await waiting, broker);
  server.closeAllConnections();
  server.close();
});

t.test('options that cannot be read end it with a word', (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'options.json'), '{');
  const { status, stderr } = spawnSync(process.execPath, [app('run.js')], {
    encoding: 'utf8',
    env: { SOUNDPOST_DATA_DIR: folder },
  });
  t.equal(status, 1);
  t.match(stderr, /options\.json cannot be read/);
  t.end();
});

t.test('what the program is started with', async (t) => {
  const root = temporaryFolder(t);
  cpSync(app(), join(root, 'home-assistant'), { recursive: true });
  mkdirSync(join(root, 'dist/src'), { recursive: true });
  writeFileSync(join(root, 'package.json'), '{"type":"module"}');
  writeFileSync(
    join(root, 'dist/src/main.js'),
    'console.log(JSON.stringify({ words: process.argv.slice(1), env: process.env }));',
  );
  writeFileSync(join(root, 'options.json'), JSON.stringify(config.options));
  const server = createServer((_, outgoing) => outgoing.end(JSON.stringify({ data: broker })));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const start = async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [join(root, 'home-assistant/run.js')], {
      env: {
        SOUNDPOST_DATA_DIR: root,
        SOUNDPOST_APP_CONFIG: root,
        SOUNDPOST_CONFIG: 'of the image',
        SUPERVISOR_API: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
        SUPERVISOR_TOKEN: 'secret',
        HASSIO_TOKEN: 'secret',
      },
    });
    return JSON.parse(stdout) as { words: string[]; env: Record<string, string> };
  };
  const { words, env } = await start();
  t.same(words.slice(1), ['run', '--keep-going']);
  t.notOk(Object.values(env).includes('secret'), 'the key to the Supervisor is not for the program');
  t.match(env, { SOUNDPOST_CONFIG: 'of the image', SOUNDPOST_MQTT_PASSWORD: broker.password });
  writeFileSync(join(root, 'soundpost.yaml'), '');
  t.match((await start()).env, { SOUNDPOST_CONFIG: join(root, 'soundpost.yaml') });

  const dockerfile = readApp('Dockerfile');
  const [, copied = '', place = ''] = /^COPY (.+) (\S+)$/m.exec(dockerfile) ?? [];
  t.same(
    copied.split(' ').sort(),
    readdirSync(app()).filter((name) => name.endsWith('.js')),
  );
  t.match(dockerfile, `CMD ["node", "${place}run.js"]`, 'the image starts the same');
  t.match(
    read('deploy/balena/Dockerfile'),
    /^WORKDIR \/app$[^]*COPY --from=program \/app\/dist\/src dist\/src$/m,
  );
  t.equal(place, '/app/home-assistant/', 'the program is beside it');
});

/** A network of its own, or why there can be none. */
function skipWithoutNetwork(): string | false {
  const missing = skipWithout('unshare', 'ip');
  if (missing !== false) return missing;
  const { status } = spawnSync('unshare', ['--map-root-user', '--net', 'true']);
  if (status === 0) return false;
  if (process.env['SOUNDPOST_TEST_STRICT'] === '1') throw new Error('unshare cannot make a network');
  return 'unshare cannot make a network';
}

const skip =
  skipWithoutMicrophone(...PACED_TOOLS) ||
  skipWithout('mosquitto', 'mosquitto_passwd') ||
  skipWithoutNetwork();
t.test('as the Supervisor starts it', { skip, timeout: 240_000 }, async (t) => {
  const inNetwork = `ip link set lo up
    for address in ${Object.values(ADDRESSES).join(' ')}; do ip address add "$address/23" dev lo; done
    exec "$@"`;
  const program = [process.execPath, projectPath('dist/test/support/app-run.js')];
  const { stdout } = await promisify(execFile)(
    'unshare',
    ['--map-root-user', '--net', 'sh', '-c', inNetwork, 'sh', ...program, JSON.stringify(config.options)],
    { timeout: 220_000, maxBuffer: 1 << 24 },
  );
  const found = JSON.parse(stdout.trim().split('\n').at(-1)!) as AppRun;
  t.same(
    found.asked,
    [{ path: '/services/mqtt', authorization: 'Bearer a token of the Supervisor' }],
    'the broker is asked for once, and its login is taken',
  );
  t.match(found.info.device, { id: 'home', name: 'Soundpost' });
  t.equal(found.audio, 'online', 'the default input of PulseAudio is heard');
  for (const id of ['label_bark', 'label_doorbell', 'label_smoke_alarm', 'label_baby']) {
    t.ok(found.components.includes(id), id);
  }
  t.match(found.page, { status: 200, type: /^text\/html/, text: /<!doctype html>/i });
  t.match(JSON.parse(found.session), { status: 'ok', data: { password_required: false } });
  t.not(found.stranger, '200', 'who does not come through Home Assistant is not let in');
  t.equal(found.health, 0, 'the health check of the image finds it well');
  t.same(found.exit, { code: 0, signal: null }, found.said);
});

const blueprints = 'deploy/home-assistant/blueprints/automation/soundpost';
for (const name of readdirSync(projectPath(blueprints))) {
  t.test(`the blueprint ${name}`, (t) => {
    const used = new Set<string>();
    const input: ScalarTag = {
      tag: '!input',
      resolve: (value) => {
        used.add(value);
        return value;
      },
    };
    const text = read(blueprints, name);
    const { blueprint } = parse(text, {
      customTags: (tags: (ScalarTag | CollectionTag)[]) => [...tags, input],
    } as object) as {
      blueprint: {
        domain: string;
        source_url: string;
        input: Record<string, { name: string; default?: unknown }>;
      };
    };
    t.equal(blueprint.domain, 'automation');
    t.ok(blueprint.source_url.endsWith(`/blob/main/${blueprints}/${name}`), 'it can be imported again');
    t.same(
      [...used].sort(),
      Object.keys(blueprint.input).sort(),
      'every input is used, and there is no other',
    );
    t.ok(
      read('docs/home-assistant.md').includes(`${dirname(`${blueprints}/x`)}/${name}`),
      'the guide names it',
    );
    t.end();
  });
}
