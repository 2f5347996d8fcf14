import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { z } from 'zod';
import { asyncApi } from '../../tools/docs/mqtt/asyncapi.js';
import { mosquittoAcl } from '../../tools/docs/mqtt/acl.js';
import { discoveryTopic } from '../../src/home-assistant/payload.js';
import type { StatePayload } from '../../src/mqtt/contract.js';
import { freePort, startMosquitto } from '../support/broker.js';
import { createAuthority } from '../support/certificates.js';
import { createProbe, type Probe } from '../support/mqtt-probe.js';
import { createConsole, makeDataDir, startService, said } from '../support/service.js';
import { beep, looped, sound } from '../support/service-rig.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';
import { installToneModel } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';

const password = (user: string) => `p4ss-${user}`;
const users = ['attic', 'cellar', 'operator', 'homeassistant', 'dashboard'];

/** The broker of config/examples, with its files in a folder of the test. */
async function exampleBroker(t: Test) {
  const folder = temporaryFolder(t);
  const authority = createAuthority(folder, 'ours');
  const { certFile, keyFile } = authority.issue('localhost', { names: ['DNS:localhost'] });
  const port = await freePort();
  const acl = join(folder, 'soundpost.acl');
  writeFileSync(acl, mosquittoAcl(), { mode: 0o600 });
  const example = readFileSync(projectPath('config', 'examples', 'mosquitto.conf'), 'utf8');
  const own: Record<string, string> = {
    'listener 8883': `listener ${port}`,
    '/etc/mosquitto/certs/ca.pem': authority.certFile,
    '/etc/mosquitto/certs/broker.pem': certFile,
    '/etc/mosquitto/certs/broker.key': keyFile,
    '/etc/mosquitto/soundpost.acl': acl,
    '/var/lib/mosquitto/': `${folder}/`,
  };
  const config = Object.entries(own).reduce((text, [theirs, ours]) => {
    t.ok(text.includes(theirs), theirs);
    return text.replaceAll(theirs, ours);
  }, example);
  const broker = await startMosquitto({
    passwords: Object.fromEntries(users.map((user) => [user, password(user)])),
    // What the rig says about passwords and strangers stands for the same lines of the example.
    config: config.split('\n').filter((line) => !/^(password_file|allow_anonymous)/.test(line)),
  });
  t.teardown(() => broker.stop());
  const url = `mqtts://localhost:${port}`;
  const as = async (user: string, topics: string[]): Promise<Probe> => {
    const made = await createProbe(url, topics, {
      username: user,
      password: password(user),
      ca: authority.cert,
      protocolVersion: 5,
    });
    t.teardown(() => made.close());
    return made;
  };
  return { url, ca: authority.certFile, as, authority };
}

/** Whether a broker takes a message; MQTT 5 says so. */
async function mayWrite(probe: Probe, topic: string): Promise<boolean> {
  return probe.publish(topic, 'x').then(
    () => true,
    () => false,
  );
}

const noTools = skipWithout('mosquitto', 'mosquitto_passwd', 'openssl');

t.test('the example broker: everybody can do their part, and nothing else', { skip: noTools }, async (t) => {
  const { url, ca, as, authority } = await exampleBroker(t);
  const dataDir = await makeDataDir(t);
  await installToneModel(dataDir, 'waveform');
  await sound(beep(4, 0.5))(dataDir);
  const access = { username: 'operator', password: password('operator'), ca: authority.cert };
  const console = await createConsole(t, url, 'attic', access);
  const everything = await as('homeassistant', ['soundpost/#', 'homeassistant/#']);
  const service = startService(t, {
    ...looped,
    DATA_DIR: dataDir,
    DEVICE_ID: 'attic',
    MODEL_ID: 'tone-waveform',
    MQTT_URL: url,
    MQTT_CA: ca,
    MQTT_USERNAME: 'attic',
    MQTT_PASSWORD: password('attic'),
    TELEMETRY_INTERVAL_SECONDS: '1',
    HOMEASSISTANT_ENABLED: 'true',
    LOG_LEVEL: 'debug',
  });

  await t.test('a device does all that it has to', async (t) => {
    await console.word('status', (text) => text === 'online');
    await console.on('state', ({ model }: StatePayload) => model === 'tone-waveform');
    for (const topic of ['info', 'tags', 'event', 'level', 'telemetry']) {
      await console.on(topic, () => true, 60_000);
    }
    t.match(await console.set('rate/set', '2'), { status: 'ok', data: { rate_hz: 2 } });
    t.match(await console.request('threshold/set', { value: 0.4 }), { status: 'ok' });
    t.match(await console.request('model/set', { id: 'nothing' }), { error: { code: 'model_unknown' } });
    t.match(await console.request('health'), { data: { healthy: true } });
    // It announces itself, installs included, and hears that Home Assistant has started.
    const announced = 'homeassistant/device/soundpost_attic/config';
    await everything.next(announced);
    await everything.next('soundpost/attic/install/mn10_as');
    await everything.publish('homeassistant/status', 'online');
    await everything.next(announced, undefined, 30_000);
    t.same(
      service.lines.filter(({ code }) => ['publish_refused', 'subscribe_refused'].includes(code ?? '')),
      [],
      'nothing was refused',
    );
  });

  await t.test('what it publishes is as the AsyncAPI document says', (t) => {
    interface Document {
      channels: Record<string, { address: string; messages: Record<string, unknown> }>;
      components: { messages: Record<string, { payload: object; contentType: string }> };
    }
    const document = asyncApi() as unknown as Document;
    const schemas = Object.values(document.channels).map(({ address, messages }) => {
      const pattern = address
        .replace('{base_topic}/{device_id}', 'soundpost/attic')
        .replace(/\{\w+\}/g, '[^/]+');
      const { payload, contentType } = document.components.messages[Object.keys(messages)[0]!]!;
      const schema = z.fromJSONSchema(payload as Parameters<typeof z.fromJSONSchema>[0]);
      return { topic: new RegExp(`^${pattern}$`), schema, isJson: contentType === 'application/json' };
    });
    const seen = new Set<string>();
    for (const { topic, text } of console.messages) {
      const found = schemas.find((one) => one.topic.test(topic));
      if (found === undefined || (text === '' && /\/request\//.test(topic))) {
        t.match(topic, /\/request\//, `${topic} is described`);
        continue;
      }
      const result = found.schema.safeParse(found.isJson ? JSON.parse(text) : text);
      if (!result.success) t.fail(`${topic}: ${result.error.message} in ${text}`);
      seen.add(topic.replace(/label\/.*/, 'label'));
    }
    t.ok(seen.size >= 12, `${seen.size} kinds of messages were looked at`);
    t.end();
  });

  await t.test('a device has its own branch only', async (t) => {
    const device = await as('cellar', ['soundpost/attic/#', 'soundpost/+/status', 'homeassistant/#']);
    for (const topic of ['status', 'response/health', 'label/dog', 'event']) {
      t.ok(await mayWrite(device, `soundpost/cellar/${topic}`), `its own ${topic}`);
      t.notOk(await mayWrite(device, `soundpost/attic/${topic}`), `${topic} of another one`);
    }
    for (const topic of ['request/restart', 'rate/set']) {
      t.notOk(await mayWrite(device, `soundpost/attic/${topic}`), `commands another one: ${topic}`);
      t.notOk(await mayWrite(device, `soundpost/cellar/${topic}`), `commands itself: ${topic}`);
    }
    t.ok(await mayWrite(device, 'homeassistant/device/soundpost_cellar/config'));
    t.ok(await mayWrite(device, 'homeassistant/device/soundpost_cellar/part_2/config'));
    t.notOk(await mayWrite(device, 'homeassistant/device/soundpost_attic/config'));
    t.notOk(await mayWrite(device, 'homeassistant/device/soundpost_attic/part_2/config'));
    for (const part of [1, 2]) {
      const ofYard = (id: string) => discoveryTopic('homeassistant', id, { source: 'yard', part });
      t.ok(await mayWrite(device, ofYard('cellar')), 'any of its sources');
      t.notOk(await mayWrite(device, ofYard('attic')));
      t.notOk(await mayWrite(device, ofYard('cellar_2')), 'nor one that is called nearly like it');
    }
    t.notOk(await mayWrite(device, 'homeassistant/status'));
    const commands = await as('cellar', ['soundpost/cellar/+/set', 'soundpost/cellar/request/#']);
    await everything.publish('soundpost/attic/rate/set', '1');
    await everything.publish('soundpost/cellar/rate/set', '1');
    await commands.next('soundpost/cellar/rate/set');
    t.same(
      device.messages
        .filter(({ topic }) => !topic.startsWith('homeassistant/status'))
        .map(({ topic }) => topic),
      [],
      'it hears nothing of the others',
    );
  });

  await t.test('the reply comes to a response topic below that of the device', async (t) => {
    const asker = await as('operator', ['soundpost/attic/response/me', 'answers/me']);
    const ask = (responseTopic: string) =>
      asker.publish('soundpost/attic/request/info', '', { properties: { responseTopic } });
    // As in the guide; another one needs rules for both sides.
    await ask('answers/me');
    await ask('soundpost/attic/response/me');
    const { text } = await asker.next('soundpost/attic/response/me');
    t.match(JSON.parse(text), { status: 'ok' });
    t.same(
      asker.messages.filter(({ topic }) => topic === 'answers/me'),
      [],
    );
    for (const guide of ['docs/mqtt.md', 'docs/fleet.md']) {
      const topics = [...readFileSync(projectPath(guide), 'utf8').matchAll(/mosquitto_rr .* -e "?([^" ]+)/g)];
      t.ok(topics.length > 0, guide);
      for (const [, topic] of topics) t.match(topic, /^(soundpost\/attic|\$device)\/response\/\w+$/, guide);
    }
  });

  await t.test('Home Assistant may take a description away, and no one else that of others', async (t) => {
    const topic = 'homeassistant/device/soundpost_gone/config';
    for (const user of ['operator', 'dashboard', 'attic']) {
      t.notOk(await mayWrite(await as(user, ['x']), topic), user);
    }
    t.ok(await mayWrite(everything, 'homeassistant/device/soundpost_gone/part_2/config'));
    t.notOk(await mayWrite(everything, 'homeassistant/device/a/b/c/config'));
    const cellar = await as('cellar', ['x']);
    const described = 'homeassistant/device/soundpost_cellar/config';
    await cellar.publish(described, '{}', { retain: true });
    await everything.next(described);
    await everything.publish(described, '', { retain: true });
    const late = await as('homeassistant', ['homeassistant/device/#']);
    await late.next('homeassistant/device/soundpost_attic/config');
    t.notOk(late.messages.some((message) => message.topic === described));
  });

  await t.test('who reads only cannot command; who has no name cannot come in', async (t) => {
    const reader = await as('dashboard', ['soundpost/#']);
    await reader.next('soundpost/attic/status');
    for (const topic of [
      'soundpost/attic/request/pause',
      'soundpost/attic/paused/set',
      'soundpost/attic/state',
    ]) {
      t.notOk(await mayWrite(reader, topic), topic);
    }
    const operator = await as('operator', ['soundpost/+/status']);
    t.ok(await mayWrite(operator, 'soundpost/attic/request/health'));
    t.notOk(await mayWrite(operator, 'soundpost/attic/status'), 'an operator is no device');
    const trust = { ca: authority.cert };
    await t.rejects(createProbe(url, ['x'], trust), 'anonymous');
    await t.rejects(createProbe(url, ['x'], { ...trust, username: 'attic', password: 'wrong' }));
    t.notOk(
      console.all<StatePayload>('state').some(({ paused }) => paused),
      'nobody has paused it',
    );
  });

  t.equal(await service.stop(), 0, said(service.lines.slice(-3)));
});
