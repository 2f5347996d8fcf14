import fc from 'fast-check';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { configCommand } from '../../src/cli/config.js';
import { nearest } from '../../src/common/nearest.js';
import { SoundpostError } from '../../src/common/errors.js';
import { documents } from '../../tools/docs/configuration.js';
import { confirmOf } from '../../src/config/formats.js';
import { flagNames } from '../../src/config/layers.js';
import { loadConfig, loadConfigAnyway, type ConfigSources, type Entry } from '../../src/config/load.js';
import { maskConfig, maskEntries, maskUrl, secretsOf } from '../../src/config/mask.js';
import { meantKeys } from '../../src/config/meant.js';
import { environmentName, keys } from '../../src/config/schema.js';
import { sourcesOf } from '../../src/config/sources.js';
import { taggingSettings } from '../../src/config/tagging-settings.js';
import { readCatalogue } from '../../src/models/catalogue.js';
import { readLabels, withoutThresholds } from '../../src/models/labels.js';
import { resolveWatched } from '../../src/tagging/watch.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';
import { yamlSigns } from '../support/yaml-signs.js';
import { refusalOf } from '../support/refusal.js';

// Made for this test, good for nothing else.
const certificate = `-----BEGIN CERTIFICATE-----
MIIBdjCCARugAwIBAgIUd/1SYUcYJ7JKwNDUXAzDQ3yNghIwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjIxOTA1NThaGA8yMTI2MTAyOTE5MDU1
OFowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABDQJ
KFCYxZSlgHqp+nvo/JnOvLOnwU7OthwKAxcwVef2Dfe8ApQOJBSY8yr00fsdM+N9
GrcFi0d52fgu7QYz6hOjUzBRMB0GA1UdDgQWBBTb0W/corMHxIeK8Bf5r5Ld6LXH
zzAfBgNVHSMEGDAWgBTb0W/corMHxIeK8Bf5r5Ld6LXHzzAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0kAMEYCIQC5BSY3uiATjwDznxEPP4DpzenG6c9I5oCT
Uf0Q8lLyQwIhAK0yBxeJrhG8dDp22/IrPAd9/pBDjMQnBz9SKWsbiyUU
-----END CERTIFICATE-----
`;
const privateKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgyGgPqf53Ecr57+gK
eDI6KUINa4zr4J4CMaKj30a5vPihRANCAAQ0CShQmMWUpYB6qfp76PyZzryzp8FO
zrYcCgMXMFXn9g33vAKUDiQUmPMq9NH7HTPjfRq3BYtHedn4Lu0GM+oT
-----END PRIVATE KEY-----
`;
const otherKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/9/KNoL1O/9qiX0r
Yzaz3BtOg4RtMyaGqPk+DzAy3c2hRANCAAQ9xVHlI0Arj+BaBINU666RPo/oAeqE
xd6rr4sfWZiD4GIydYcW+5os2HanB7CmvFIiG2R1zOPF7adpqxazsfoc
-----END PRIVATE KEY-----
`;

const nowhere = '/nowhere';

function load(sources: ConfigSources = {}): ReturnType<typeof loadConfig> {
  return loadConfig({ env: {}, flags: {}, root: nowhere, cwd: nowhere, hostname: 'box.lan', ...sources });
}

function entryOf(entries: readonly Entry[], key: string): Entry {
  const found = entries.find((entry) => entry.key === key);
  if (!found) throw new Error(`no entry ${key}`);
  return found;
}

/** The message with which this configuration is refused. */
const refusal = (sources: ConfigSources): string => refusalOf(() => load(sources));

/** Refused with code `config` or accepted; everything else is a fault. */
function outcome(sources: ConfigSources): string {
  try {
    const { config, entries } = load(sources);
    return JSON.stringify([maskConfig(config), maskEntries(entries)]);
  } catch (error) {
    if (error instanceof SoundpostError && error.code === 'config') return error.message;
    throw error;
  }
}

t.test('the layers', (t) => {
  t.test('defaults', (t) => {
    const { config, entries } = load();
    t.equal(config.device.id, 'box');
    t.equal(config.device.name, 'box');
    t.equal(config.data_dir, '/nowhere/data');
    t.equal(config.mqtt.url, '');
    t.equal(config.mqtt.protocol_version, 5);
    t.equal(config.inference.rate_hz, 1);
    t.equal(config.inference.window_seconds, null);
    t.equal(config.tagging.threshold, null);
    t.same(config.tagging.labels, []);
    t.same(config.tagging.thresholds, {});
    t.same(
      entries.map((entry) => entry.key),
      [...keys.keys()],
    );
    t.same(new Set(entries.map((entry) => entry.origin)), new Set(['default', 'host name', 'device.id']));
    t.throws(() => Object.assign(config.tagging, { top_k: 1 }), TypeError, 'it is frozen');
    t.end();
  });

  t.test('later layers win, and each value knows where it comes from', (t) => {
    const folder = temporaryFolder(t);
    mkdirSync(join(folder, 'config'));
    const shipped = join(folder, 'config', 'default.yaml');
    const own = join(folder, 'own.yaml');
    writeFileSync(shipped, 'mqtt:\n  base_topic: a\n  username: a\nlog: {level: warn, format: json}\n');
    writeFileSync(own, 'mqtt:\n  base_topic: b\n  username: b\nlog:\n  level: error\n');
    const { config, entries } = load({
      root: folder,
      cwd: folder,
      env: { SOUNDPOST_CONFIG: 'own.yaml', SOUNDPOST_MQTT_BASE_TOPIC: 'c', SOUNDPOST_MQTT_USERNAME: 'c' },
      flags: { 'mqtt.base_topic': 'd' },
    });
    t.equal(config.mqtt.base_topic, 'd');
    t.equal(config.mqtt.username, 'c');
    t.equal(config.log.level, 'error');
    t.equal(config.log.format, 'json');
    t.equal(entryOf(entries, 'mqtt.base_topic').origin, '--mqtt.base_topic');
    t.equal(entryOf(entries, 'mqtt.username').origin, 'SOUNDPOST_MQTT_USERNAME');
    t.equal(entryOf(entries, 'log.level').origin, `${own}:5:3`);
    t.equal(entryOf(entries, 'log.format').origin, `${shipped}:4:20`);
    t.equal(
      load({ cwd: folder, env: { SOUNDPOST_CONFIG: 'none' }, configPath: 'own.yaml' }).config.log.level,
      'error',
      '--config wins over SOUNDPOST_CONFIG',
    );
    t.end();
  });

  t.test('text of every kind of key, from the environment and from flags', (t) => {
    const wanted = {
      'audio.device': ['2', 2],
      'audio.channel': ['2', 2],
      'audio.speed': ['max', 'max'],
      'audio.loop': ['ON', true],
      'thermal.enabled': ['0', false],
      'audio.sources': ['[{"name": "yard", "gain_db": "3"}]', [{ name: 'yard', gain_db: 3 }]],
      'mqtt.protocol_version': ['4', 4],
      'inference.rate_hz': ['5e-1', 0.5],
      'tagging.threshold': ['.4', 0.4],
      'tagging.confirm': ['2 / 3', '2/3'],
      'tagging.thresholds': ['{"Bee, wasp, etc.": 0.2}', { 'Bee, wasp, etc.': 0.2 }],
      'tagging.labels': [
        '["Dog", {"name": "Alarm", "labels": ["Siren"], "threshold": 0.3}]',
        ['Dog', { name: 'Alarm', labels: ['Siren'], threshold: 0.3 }],
      ],
      'log.level': ['DEBUG', 'debug'],
      'device.id': ['0123', '0123'],
    } as const;
    for (const [key, [text, value]] of Object.entries(wanted)) {
      t.same(entryOf(load({ env: { [environmentName(key)]: text } }).entries, key).value, value, key);
      for (const flag of [key, key.replace(/[._]/g, '-')]) {
        t.same(entryOf(load({ flags: { [flag]: text } }).entries, key).value, value, flag);
      }
    }
    t.same(confirmOf('2/3'), { k: 2, n: 3 });
    t.equal(load({ flags: { 'tagging.threshold': '' } }).config.tagging.threshold, null);
    t.end();
  });

  t.test('empty variables are as good as none', (t) => {
    const env = Object.fromEntries([...keys.keys()].map((key) => [environmentName(key), '']));
    t.same(load({ env: { ...env, SOUNDPOST_CONFIG: '', SOUNDPOST_NONE: '' } }), load());
    t.end();
  });

  t.test('a model that is no longer part of the program', (t) => {
    const folder = temporaryFolder(t);
    const configPath = join(folder, 'mine.yaml');
    writeFileSync(configPath, 'model: {id: soundpost-mini}\n');
    const ways: [ConfigSources, RegExp][] = [
      [{ configPath }, /mine\.yaml:1:/],
      [{ env: { SOUNDPOST_MODEL_ID: 'soundpost-mini' } }, /SOUNDPOST_MODEL_ID/],
      [{ flags: { 'model.id': 'soundpost-mini' } }, /--model\.id/],
    ];
    for (const [sources, origin] of ways) {
      const { config, entries, notes } = load(sources);
      t.equal(config.model.id, 'soundpost-home');
      t.match(entryOf(entries, 'model.id').origin, origin);
      t.match(entryOf(entries, 'model.id').origin, /in place of soundpost-mini$/);
      t.equal(notes.length, 1);
      t.match(notes[0], origin);
      t.match(notes[0], /soundpost-mini is no longer part.*soundpost-home has taken its place/);
    }
    t.same(load({ env: { SOUNDPOST_MODEL_ID: 'mn04_as' } }).notes, []);
    t.same(load({}).notes, []);
    t.end();
  });

  t.test('variables that are no keys', (t) => {
    t.same(load({ env: { SOUNDPOST_TEST_STRICT: '1', PATH: '/bin', SOUNDPOSTER: 'x' } }), load());
    t.end();
  });

  t.test('the device on balena', (t) => {
    const env = { BALENA_DEVICE_UUID: '0123456789abcdef', BALENA_DEVICE_NAME_AT_INIT: 'misty-dew' };
    const { config, entries } = load({ env });
    t.equal(config.device.id, '0123456');
    t.equal(config.device.name, 'misty-dew');
    t.equal(entryOf(entries, 'device.id').origin, 'BALENA_DEVICE_UUID');
    t.equal(entryOf(entries, 'device.name').origin, 'BALENA_DEVICE_NAME_AT_INIT');
    t.equal(load({ env: { ...env, SOUNDPOST_DEVICE_ID: 'own' } }).config.device.id, 'own');
    t.end();
  });

  t.test('every host name gives an id that is allowed', (t) => {
    t.equal(load({ hostname: 'Café Nord.local' }).config.device.id, 'Caf-Nord');
    t.equal(load({ hostname: '…' }).config.device.id, 'soundpost');
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 100 }), fc.string(), (hostname, uuid) => {
        const { id } = load({ hostname, env: { BALENA_DEVICE_UUID: uuid, BALENA_DEVICE_NAME_AT_INIT: uuid } })
          .config.device;
        return /^[a-zA-Z0-9_-]{1,64}$/.test(id);
      }),
    );
    t.end();
  });
  t.end();
});

t.test('YAML', (t) => {
  const yaml = (t: Parameters<typeof temporaryFolder>[0], source: string | Buffer): ConfigSources => {
    const configPath = join(temporaryFolder(t), 'x.yaml');
    writeFileSync(configPath, source);
    return { configPath };
  };

  t.test('text keys take plain words as they are written', (t) => {
    const { config } = load(
      yaml(t, 'device: {id: 0123456}\nmqtt: {username: 1e3, password: true, url: null}'),
    );
    t.equal(config.device.id, '0123456');
    t.equal(config.mqtt.username, '1e3');
    t.equal(config.mqtt.password, 'true');
    t.equal(config.mqtt.url, '');
    t.end();
  });

  t.test('an empty file, empty sections, anchors', (t) => {
    t.same(load(yaml(t, '# nothing\n')).config, load().config);
    t.same(load(yaml(t, 'mqtt:\ntagging:\n  labels:\n')).config, load().config);
    const { config } = load(yaml(t, 'inference: {rate_hz: &r 0.5}\nthermal: {min_rate_hz: *r}'));
    t.equal(config.thermal.min_rate_hz, 0.5);
    t.end();
  });

  const refused: [string, string | Buffer, RegExp][] = [
    [
      'an unknown key',
      'mqtt:\n  base_topik: x',
      /mqtt\.base_topik \(.*x\.yaml:2:3\): there is no such key; did you mean mqtt\.base_topic\?/,
    ],
    ['an unknown section', 'mqt:\n  url: x', /mqt \(.*:1:1\): there is no such key/],
    ['a key out of its section', 'rate_hz: 2', /rate_hz .*did you mean inference\.rate_hz\?/],
    ['a key with a dot', 'mqtt.url: mqtt://x', /mqtt\.url .*has no "\."; write "mqtt: { url: … }"/],
    ['a section that is text', 'mqtt: x', /mqtt \(.*\): is a section; its keys stand below it.*mqtt\.url/],
    ['a list', '- a', /a configuration is a map of sections/],
    [
      'a wrong value',
      'inference: {rate_hz: fast}',
      /inference\.rate_hz = "fast" \(.*:1:13\): must be a number from 0\.01 to 20 \(Hz\)/,
    ],
    ['not a number', 'inference: {rate_hz: .nan}', /must be a number/],
    ['infinite', 'inference: {rate_hz: .inf}', /must be a number/],
    ['a key twice', 'mqtt:\n  base_topic: a\n  base_topic: b', /:3:3: this key stands here a second time/],
    ['a tab', 'mqtt:\n\tbase_topic: a', /tab/],
    ['two documents', 'log: {}\n---\nlog: {}', /second document/],
    [
      'an alias without an anchor',
      'mqtt:\n  password: *hush',
      /mqtt\.password \(.*:2:3\): is an alias \(\*\) of nothing/,
    ],
    ['a tag', 'mqtt:\n  username: !x y', /tags \(!\) are not known/],
    [
      'a list that contains itself',
      'tagging: {labels: &l [*l]}',
      /tagging\.labels .*neither a label nor a group/,
    ],
    ['a section that contains itself', 'mqtt: &m\n  outbox: *m', /mqtt\.outbox .*contains itself/],
    [
      'a bomb',
      `mqtt: {base_topic: &a [x,x,x,x,x,x,x,x,x,x], username: &b [${'*a,'.repeat(50)}], password: &c [${'*b,'.repeat(50)}]}`,
      /mqtt\.password .*(multiply too much|must be)/,
    ],
    ['too much', `#${'x'.repeat(300_000)}`, /larger than 256 KiB/],
    ['no UTF-8', Buffer.from([0x6c, 0x6f, 0x67, 0x3a, 0xff]), /not text in UTF-8/],
    ['deep nesting', '['.repeat(20_000), /not valid YAML|not YAML/],
  ];
  for (const [name, source, message] of refused) {
    t.test(name, (t) => {
      t.match(refusal(yaml(t, source)), message);
      t.end();
    });
  }

  t.test('a file that is not there, and a folder', (t) => {
    t.match(
      refusal({ configPath: '/none.yaml' }),
      /--config \/none\.yaml: the file \/none\.yaml does not exist/,
    );
    t.match(
      refusal({ env: { SOUNDPOST_CONFIG: '/tmp' } }),
      /SOUNDPOST_CONFIG=\/tmp: the file \/tmp is a folder/,
    );
    t.end();
  });

  t.test('whatever stands in a file, it is accepted or refused in words', (t) => {
    const configPath = join(temporaryFolder(t), 'x.yaml');
    const names = [...keys.keys()].flatMap((key) => key.split('.'));
    const token = fc.oneof(
      fc.constantFrom(...names),
      fc.constantFrom(...yamlSigns),
      fc.string({ maxLength: 8 }),
    );
    fc.assert(
      fc.property(fc.array(token, { maxLength: 40 }), (tokens) => {
        writeFileSync(configPath, tokens.join(''));
        outcome({ configPath });
      }),
      { numRuns: 200 },
    );
    fc.assert(
      fc.property(fc.object({ key: fc.constantFrom(...names), maxDepth: 3 }), (object) => {
        writeFileSync(configPath, JSON.stringify(object));
        outcome({ configPath });
      }),
      { numRuns: 200 },
    );
    t.end();
  });
  t.end();
});

t.test('what is refused, and how', (t) => {
  const refused: [Record<string, string>, RegExp][] = [
    [{ 'device.id': 'a b' }, /device\.id = "a b" \(SOUNDPOST_DEVICE_ID\): must be letters, digits/],
    [{ 'mqtt.base_topic': 'a/#' }, /mqtt\.base_topic = "a\/#" .*without "\+" and "#"/],
    [{ 'mqtt.base_topic': '/a' }, /no "\/" at either end/],
    [{ 'mqtt.base_topic': 'a/' }, /no "\/" at either end/],
    [{ 'mqtt.base_topic': 'a\0' }, /mqtt\.base_topic/],
    [{ 'mqtt.base_topic': 'a//b' }, /mqtt\.base_topic/],
    [
      { 'mqtt.url': 'mqtt://host', 'mqtt.ca': certificate },
      /mqtt\.ca \(SOUNDPOST_MQTT_CA\): needs an mqtts:\/\/ or wss:\/\/ address/,
    ],
    [
      { 'mqtt.url': 'localhost:1883' },
      /mqtt\.url \(SOUNDPOST_MQTT_URL\): must be an address that begins with mqtt:\/\//,
    ],
    [{ 'mqtt.url': 'http://x' }, /must be an address/],
    [{ 'mqtt.url': 'mqtt://' }, /names a host/],
    [{ 'mqtt.url': 'mqtt://x:99999' }, /must be an address/],
    [{ 'mqtt.url': 'mqtt://a,b' }, /no "," in its host: in a list every address has a scheme/],
    [{ 'mqtt.url': 'mqtt://a,mqtt://b:99999' }, /: address 2 of the list must be an address that begins/],
    [{ 'mqtt.url': 'mqtt://a, mqtt://a' }, /address 2 of the list stands there twice/],
    [{ 'mqtt.url': 'mqtt://a, mqtt://u:1#@b' }, /address 2 of the list must have every "@"/],
    [{ 'mqtt.url': '[]' }, /or a list of up to 32/],
    [{ 'mqtt.url': '["mqtt://a", 1]' }, /address 2 of the list must be an address/],
    [{ 'mqtt.url': '["mqtt://a", ""]' }, /address 2 of the list must be an address/],
    [{ 'mqtt.url': '["mqtt://a"' }, /or a list of up to 32/],
    [
      { 'mqtt.url': 'mqtt://a, ws://b', 'mqtt.ca': certificate },
      /mqtt\.ca .*needs an mqtts:\/\/ or wss:\/\/ address/,
    ],
    [{ 'mqtt.url': 'mqtt://a:%zz@x' }, /percent-encoded/],
    [{ 'mqtt.url': 'mqtt://a:1/2@x' }, /percent-encoded/],
    [{ 'mqtt.url': 'mqtt://broker/?clientId=x' }, /must have no "\?": only ws.*device\.id/],
    [{ 'mqtt.url': 'wss://broker/mqtt#x' }, /must have no "#"/],
    [
      { 'mqtt.url': 'mqtt://host', 'mqtt.alpn': 'mqtt' },
      /mqtt\.alpn \(SOUNDPOST_MQTT_ALPN\): needs an mqtts:\/\/ or wss:\/\/ address/,
    ],
    [{ 'mqtt.alpn': 'a b' }, /mqtt\.alpn = "a b" .*the name of one protocol/],
    [{ 'mqtt.keepalive_seconds': '1' }, /a whole number from 5 to 1200 \(seconds\)/],
    [{ 'mqtt.protocol_version': '3' }, /must be 5 \(MQTT 5\) or 4/],
    [{ 'mqtt.ca': 'LS0tLS1CRUdJTi' }, /mqtt\.ca \(SOUNDPOST_MQTT_CA\): must be one or more certificates/],
    [{ 'mqtt.ca': '/none.pem' }, /mqtt\.ca .*taken for a path, it does not exist/],
    [{ 'mqtt.key': certificate }, /mqtt\.key .*must be a private key/],
    [{ 'mqtt.key': privateKey }, /mqtt\.key .*needs mqtt\.cert beside it/],
    [{ 'mqtt.cert': certificate }, /mqtt\.cert .*needs mqtt\.key beside it/],
    [{ 'mqtt.cert': certificate, 'mqtt.key': otherKey }, /mqtt\.key .*is not the key of mqtt\.cert/],
    [{ 'broker.port': '65536' }, /a whole number from 0 to 65535/],
    [{ 'broker.port': '1.5' }, /a whole number/],
    [{ 'broker.port': '1883x' }, /a whole number/],
    [{ 'broker.host': 'a b' }, /a host name or an IP address/],
    [{ 'audio.source': 'mic' }, /audio\.source = "mic" .*one of auto, microphone, file, stream, demo/],
    [{ 'audio.source': 'file' }, /"file" needs audio\.file/],
    [{ 'audio.source': 'stream' }, /"stream" needs one of audio\.url/],
    [{ 'audio.source': 'stream', 'audio.url': 'http://x', 'audio.file': 'x' }, /needs one of/],
    [{ 'audio.url': 'file:///etc/passwd' }, /must be an address/],
    [{ 'audio.channel': '0' }, /"mix" or the number of a channel/],
    [{ 'audio.loop': 'perhaps' }, /audio\.loop = "perhaps" .*true or false/],
    [{ 'audio.speed': '2' }, /1 \(real time\) or "max"/],
    [{ 'model.id': '../x' }, /the id of a model/],
    [{ 'inference.rate_hz': 'abc' }, /must be a number from 0\.01 to 20/],
    [{ 'inference.rate_hz': '0' }, /must be a number from 0\.01 to 20/],
    [{ 'inference.rate_hz': '20.01' }, /must be a number from 0\.01 to 20/],
    [{ 'inference.rate_hz': ' ' }, /must be a number/],
    [{ 'inference.rate_hz': '0x10' }, /must be a number/],
    [{ 'tagging.threshold': '1.1' }, /from 0 to 1/],
    [{ 'tagging.thresholds': '[1]' }, /a map of labels to numbers/],
    [{ 'tagging.thresholds': '{"Dog": 2}' }, /that of "Dog" must be a number from 0 to 1/],
    [{ 'tagging.thresholds': '{' }, /JSON/],
    [{ 'tagging.labels': 'Speech' }, /a list of labels.*JSON/],
    [{ 'tagging.labels': '[1]' }, /entry 1 is neither a label nor a group/],
    [{ 'tagging.labels': '[{"name": "x"}]' }, /entry 1\) without "labels"/],
    [{ 'tagging.labels': '[{"name": "x", "labels": []}]' }, /without "labels"/],
    [{ 'tagging.labels': '[{"labels": ["a"]}]' }, /"name" of the group in entry 1 must be text/],
    [{ 'tagging.labels': '[{"name": "x", "labels": ["a"], "treshold": 1}]' }, /unknown key "treshold"/],
    [{ 'tagging.labels': '[{"name": "x", "labels": ["a"], "threshold": 7}]' }, /"threshold" in entry 1/],
    [
      { 'tagging.labels': '[{"name":"x","labels":["a"]},{"name":"X","labels":["b"]}]' },
      /two groups with the name/,
    ],
    [{ 'tagging.confirm': '3/2' }, /k\/n, two whole numbers with 1 ≤ k ≤ n ≤ 100/],
    [{ 'tagging.confirm': '0/2' }, /k\/n/],
    [{ 'tagging.confirm': '1/101' }, /k\/n/],
    [
      { 'thermal.soft_limit_c': '82' },
      /thermal\.soft_limit_c \(SOUNDPOST_THERMAL_SOFT_LIMIT_C\): 82 must be below thermal\.hard_limit_c, which is 82 \(default\)/,
    ],
    [{ 'log.level': 'loud' }, /one of debug, info, warn, error/],
  ];
  for (const [values, message] of refused) {
    const env = Object.fromEntries(
      Object.entries(values).map(([key, value]) => [environmentName(key), value]),
    );
    t.match(refusal({ env }), message);
  }
  t.match(
    refusal({ flags: { 'mqtt.ur': 'x' } }),
    /flag --mqtt\.ur: there is no such key; did you mean mqtt\.url\?/,
  );
  t.match(
    refusal({ env: { SOUNDPOST_AUDIO_FILE: 'mqtt://host' } }),
    /audio\.url \(SOUNDPOST_AUDIO_FILE\): must be an address that begins with rtsp/,
  );
  t.match(refusal({ flags: { 'mqtt.url': '', 'mqtt-url': '' } }), /--mqtt-url: is given twice/);
  t.match(
    refusal({ env: { SOUNDPOST_MQTT_PASSWROD: 'x' } }),
    /variable SOUNDPOST_MQTT_PASSWROD: belongs to no key; did you mean SOUNDPOST_MQTT_PASSWORD\?/,
  );
  t.match(refusal({ env: { SOUNDPOST_LOG_LEVEL_FILE: 'x' } }), /SOUNDPOST_LOG_LEVEL_FILE: belongs to no key/);
  const all = refusal({ env: { SOUNDPOST_LOG_LEVEL: 'x', SOUNDPOST_X: 'x' }, flags: { 'audio.speed': '9' } });
  t.match(all, /has 3 problems:\n {2}- .*\n {2}- .*\n {2}- /, 'all at once');
  t.end();
});

t.test('a sign in a password that ends the address before its time', (t) => {
  const sentence = /must have every "@", "\/", "\?" and "#" of its user name, password.*percent-encoded/;
  for (const scheme of ['mqtt', 'mqtts', 'ws', 'wss']) {
    for (const secret of [
      '1234#geheim',
      'to#geheim',
      '1/geheim',
      '1234?geheim',
      'a?b@geheim',
      '12#34#geheim',
    ]) {
      const url = `${scheme}://soundpost:${secret}@127.0.0.1:1883`;
      const said = refusal({ env: { SOUNDPOST_MQTT_URL: url } });
      t.match(said, sentence, url);
      t.match(said, /mqtt\.password/, 'and the easy way');
      t.notMatch(said, /geheim|1234/, 'without the password');
    }
  }
  for (const url of [
    'rtsp://admin:1234#geheim@camera/1',
    'http://u:1?geheim@x/',
    'https://u:1\\\\geheim@x/',
  ]) {
    const said = refusal({ env: { SOUNDPOST_AUDIO_URL: url } });
    t.match(said, sentence, url);
    t.notMatch(said, /geheim|1234|mqtt\.password/);
  }
  t.match(refusal({ env: { SOUNDPOST_MODELS_MIRROR: 'https://u:1#geheim@x/' } }), sentence);
  for (const url of [
    'wss://host/mqtt?token=a%40b',
    'mqtt://me:a%23b%3Fc%2Fd@host',
    'mqtt://[::1]:1883/',
    'ws://h/a?b=/c?d',
  ]) {
    t.doesNotThrow(() => load({ env: { SOUNDPOST_MQTT_URL: url } }), url);
  }
  t.end();
});

t.test('names that other programs use, and names without section or unit', (t) => {
  const meant: [name: string, keys: string][] = [
    ['mqtt.host', 'mqtt.url'],
    ['mqtt.server', 'mqtt.url'],
    ['mqtt.port', 'mqtt.url'],
    ['mqtt.user', 'mqtt.username'],
    ['mqtt.pass', 'mqtt.password'],
    ['mqtt.client_id', 'device.id'],
    ['mqtt.topic', 'mqtt.base_topic'],
    ['mqtt.topic_prefix', 'mqtt.base_topic'],
    ['mqtt.keepalive', 'mqtt.keepalive_seconds'],
    ['mqtt.tls_ca_certs', 'mqtt.ca'],
    ['broker.url', 'mqtt.url'],
    ['homeassistant.discovery_prefix', 'homeassistant.prefix'],
    ['home_assistant.enabled', 'homeassistant.enabled'],
    ['logging.level', 'log.level'],
    ['model.name', 'model.id'],
    ['inference.rate', 'inference.rate_hz'],
    ['inference.rate-hz', 'inference.rate_hz'],
    ['detection.min_confidence', 'tagging.threshold'],
    ['tagging.min-gap-seconds', 'tagging.min_gap_seconds'],
    ['tagging.min_gap', 'tagging.min_gap_seconds'],
    ['min_gap_seconds', 'tagging.min_gap_seconds'],
    ['min-gap-seconds', 'tagging.min_gap_seconds'],
    ['mingapseconds', 'tagging.min_gap_seconds'],
    ['telemetry.interval', 'telemetry.interval_seconds'],
    ['audio.rtsp_url', 'audio.url'],
    ['cameras', 'audio.sources'],
    ['inputs', 'audio.sources'],
    ['audio.streams', 'audio.sources'],
    ['CAMERAS', 'audio.sources'],
    ['gain', 'audio.gain_db'],
    ['audio.gain', 'audio.gain_db'],
    ['microphone.volume', 'audio.gain_db'],
    ['audio.highpass', 'audio.highpass_hz'],
    ['highpass', 'audio.highpass_hz'],
    ['calibration', 'audio.calibration_db'],
    ['audio.calibration', 'audio.calibration_db'],
    ['audio.min_volume', 'inference.idle_below_dbfs'],
    ['mqtt.urll', 'mqtt.url'],
    ['thresold', 'tagging.threshold'],
  ];
  for (const [name, key] of meant) t.equal(meantKeys(name)[0], key, name);
  t.same(meantKeys('qwertyuiop'), []);
  for (const key of keys.keys()) t.same(meantKeys(key), [key], 'a key is itself');
  const configPath = join(temporaryFolder(t), 'x.yaml');
  writeFileSync(configPath, 'mqtt:\n  host: x\n  user: y\ntagging:\n  min-gap-seconds: 3\nserver: z\n');
  const said = refusal({ configPath });
  for (const hint of [
    /mqtt\.host .*did you mean mqtt\.url\?/,
    /mqtt\.user .*did you mean mqtt\.username\?/,
    /tagging\.min-gap-seconds .*did you mean tagging\.min_gap_seconds\?/,
    /server .*did you mean mqtt\.url\?/,
  ]) {
    t.match(said, hint);
  }
  const env = { SOUNDPOST_MQTT_HOST: 'x', SOUNDPOST_MQTT_USER: 'x', SOUNDPOST_MIN_GAP_SECONDS: '3' };
  const variables = refusal({ env });
  t.match(variables, /SOUNDPOST_MQTT_HOST.*did you mean SOUNDPOST_MQTT_URL\?/);
  t.match(variables, /SOUNDPOST_MQTT_USER:.*did you mean SOUNDPOST_MQTT_USERNAME\?/);
  t.match(variables, /SOUNDPOST_MIN_GAP_SECONDS.*did you mean SOUNDPOST_TAGGING_MIN_GAP_SECONDS\?/);
  t.end();
});

t.test('secrets', (t) => {
  t.test('from files', (t) => {
    const folder = temporaryFolder(t);
    writeFileSync(join(folder, 'password'), ' hush hush \n');
    writeFileSync(join(folder, 'empty'), '\n');
    writeFileSync(join(folder, 'own.yaml'), 'mqtt:\n  password_file: password\n');
    const cwd = folder;
    const { config, entries } = load({ cwd, env: { SOUNDPOST_MQTT_PASSWORD_FILE: 'password' } });
    t.equal(config.mqtt.password, ' hush hush ', 'without the line end, and nothing else');
    t.equal(
      entryOf(entries, 'mqtt.password').origin,
      `SOUNDPOST_MQTT_PASSWORD_FILE, file ${folder}/password`,
    );
    t.equal(load({ cwd, configPath: 'own.yaml' }).config.mqtt.password, ' hush hush ');
    t.equal(load({ cwd, flags: { 'mqtt.password-file': 'password' } }).config.mqtt.password, ' hush hush ');
    t.equal(
      load({ cwd, configPath: 'own.yaml', env: { SOUNDPOST_MQTT_PASSWORD: 'late' } }).config.mqtt.password,
      'late',
      'a later layer wins',
    );
    t.match(
      refusal({ cwd, env: { SOUNDPOST_MQTT_PASSWORD_FILE: 'password', SOUNDPOST_MQTT_PASSWORD: 'x' } }),
      /mqtt\.password: is given twice, by SOUNDPOST_MQTT_PASSWORD_FILE and by SOUNDPOST_MQTT_PASSWORD/,
    );
    t.match(
      refusal({ cwd, env: { SOUNDPOST_MQTT_PASSWORD_FILE: 'none' } }),
      /the file .*none does not exist/,
    );
    t.match(refusal({ cwd, env: { SOUNDPOST_MQTT_PASSWORD_FILE: 'empty' } }), /the file .*empty is empty/);
    t.match(
      refusal({ cwd, env: { SOUNDPOST_MQTT_PASSWORD_FILE: '/dev/zero' } }),
      /is a device, not a plain file/,
    );
    for (const name of flagNames()) t.match(name, /^[a-z_.]+$/);
    t.ok(flagNames().includes('mqtt.password_file'));
    t.end();
  });

  t.test('certificates and keys as text, on one line, as base64, as a path, from a file', (t) => {
    const folder = temporaryFolder(t);
    writeFileSync(join(folder, 'key.pem'), privateKey);
    const ways = [
      { SOUNDPOST_MQTT_KEY: privateKey },
      { SOUNDPOST_MQTT_KEY: privateKey.replaceAll('\n', '\\n') },
      { SOUNDPOST_MQTT_KEY: privateKey.replaceAll('\n', '\\r\\n') },
      { SOUNDPOST_MQTT_KEY: privateKey.replaceAll('\n', ' ') },
      { SOUNDPOST_MQTT_KEY: privateKey.replaceAll('\n', '') },
      { SOUNDPOST_MQTT_KEY: `"${privateKey.trim().replaceAll('\n', ' ')}"` },
      { SOUNDPOST_MQTT_KEY: Buffer.from(privateKey).toString('base64') },
      { SOUNDPOST_MQTT_KEY: 'key.pem' },
      { SOUNDPOST_MQTT_KEY_FILE: join(folder, 'key.pem') },
    ];
    for (const way of ways) {
      const { config } = load({ cwd: folder, env: { SOUNDPOST_MQTT_CERT: certificate, ...way } });
      t.equal(config.mqtt.key, privateKey);
    }
    const chain = `${certificate}${certificate}`;
    for (const lines of ['\n', ' ', '\\n']) {
      const { config } = load({
        env: { SOUNDPOST_MQTT_URL: 'mqtts://host', SOUNDPOST_MQTT_CA: chain.replaceAll('\n', lines) },
      });
      t.equal(config.mqtt.ca, chain, 'more than one certificate');
    }
    t.end();
  });

  t.test('in the address of the broker', (t) => {
    const { config, entries } = load({ env: { SOUNDPOST_MQTT_URL: 'mqtt://me:p%40ss@host:1884' } });
    t.equal(config.mqtt.url, 'mqtt://host:1884');
    t.equal(config.mqtt.username, 'me');
    t.equal(config.mqtt.password, 'p@ss');
    t.equal(entryOf(entries, 'mqtt.password').origin, 'mqtt.url, SOUNDPOST_MQTT_URL');
    const env = { SOUNDPOST_MQTT_URL: 'mqtt://me@host', SOUNDPOST_MQTT_PASSWORD: 'own' };
    t.equal(load({ env }).config.mqtt.password, 'own', 'the user here, the password there');
    t.match(refusal({ env: { ...env, SOUNDPOST_MQTT_USERNAME: 'x' } }), /mqtt\.username: is given twice/);
    t.end();
  });

  t.test('an address or a recording is what is listened to, without audio.source', (t) => {
    const sourceOf = (flags: Record<string, string>) => {
      const { config, entries } = load({ flags });
      return [config.audio.source, entries.find(({ key }) => key === 'audio.source')?.origin];
    };
    t.same(sourceOf({ 'audio.url': 'rtsp://camera/1' }), ['stream', 'audio.url, --audio.url']);
    t.same(sourceOf({ 'audio.file': 'rtsp://camera/1' }), ['stream', 'audio.url, --audio.file']);
    t.same(sourceOf({ 'audio.file': 'x.wav' }), ['file', 'audio.file, --audio.file']);
    t.equal(sourceOf({ 'audio.url': 'http://x', 'audio.source': 'auto' })[0], 'stream');
    t.equal(sourceOf({ 'audio.url': 'http://x', 'audio.source': 'microphone' })[0], 'microphone', 'as said');
    t.equal(sourceOf({})[0], 'auto');
    const both = { 'audio.url': 'http://x', 'audio.file': 'x.wav' };
    t.match(
      refusal({ flags: both }),
      /audio\.file \(--audio\.file\): audio\.url \(--audio\.url\) is given as well/,
    );
    t.end();
  });

  t.test('in a list of addresses', (t) => {
    const folder = temporaryFolder(t);
    const list = ['mqtts://me:hush@one:8883', 'ws://other:hu%20sh@two/mqtt?token=a,b', 'mqtt://three'];
    writeFileSync(join(folder, 'own.yaml'), `mqtt:\n  url: ${JSON.stringify(list)}\n`);
    writeFileSync(
      join(folder, 'block.yaml'),
      `mqtt:\n  url:\n${list.map((one) => `    - ${one}\n`).join('')}`,
    );
    writeFileSync(join(folder, 'urls'), `${list.join('\n')}\n`);
    const ways: Parameters<typeof load>[0][] = [
      { cwd: folder, configPath: 'own.yaml' },
      { cwd: folder, configPath: 'block.yaml' },
      { env: { SOUNDPOST_MQTT_URL: JSON.stringify(list) } },
      { env: { SOUNDPOST_MQTT_URL: list.join(',') } },
      { env: { SOUNDPOST_MQTT_URL: list.join(' , ') } },
      { flags: { 'mqtt.url': list.join(', ') } },
      { cwd: folder, env: { SOUNDPOST_MQTT_URL_FILE: 'urls' } },
    ];
    for (const way of ways) {
      const { config, entries } = load(way);
      t.same(config.mqtt.url, list);
      const shown = ['mqtts://***:***@one:8883', 'ws://***:***@two/mqtt?token=***', 'mqtt://three'];
      t.match(maskConfig(config), { mqtt: { url: shown, username: '', password: '' } });
      t.same(entryOf(maskEntries(entries), 'mqtt.url').value, shown);
      t.same(secretsOf(config).sort(), ['a,b', 'hu sh', 'hu%20sh', 'hush', 'me', 'other'].sort());
    }
    const one = load({ env: { SOUNDPOST_MQTT_URL: '["mqtt://me:hush@one"]' } }).config.mqtt;
    t.match(
      one,
      { url: 'mqtt://one', username: 'me', password: 'hush' },
      'one is one, however it is written',
    );
    const comma = 'mqtt://me:a%2Cb,c@one';
    t.match(load({ env: { SOUNDPOST_MQTT_URL: comma } }).config.mqtt, {
      url: 'mqtt://one',
      password: 'a,b,c',
    });
    t.end();
  });

  t.test('an address in audio.file is hidden like one in audio.url', (t) => {
    const env = { SOUNDPOST_AUDIO_SOURCE: 'stream', SOUNDPOST_AUDIO_FILE: 'rtsp://me:geheim@camera/1' };
    const { config, entries } = load({ env });
    t.equal(config.audio.url, 'rtsp://me:geheim@camera/1');
    t.equal(config.audio.file, '');
    t.notMatch(JSON.stringify([maskConfig(config), maskEntries(entries)]), /geheim/);
    t.ok(secretsOf(config).includes('geheim'));
    t.end();
  });

  t.test('masked', (t) => {
    t.equal(maskUrl('rtsp://a:b@c/d'), 'rtsp://***:***@c/d');
    t.equal(maskUrl('rtsp://a:b@c@d/e'), 'rtsp://***:***@d/e');
    t.equal(maskUrl('http://c/d?token=x&y'), 'http://c/d?token=***&***');
    t.equal(maskUrl('mqtt://host:1883'), 'mqtt://host:1883');
    t.equal(maskUrl('rtmp://h/live/SECRETKEY'), 'rtmp://h/live/***');
    t.equal(maskUrl('rtmp://u:p@h/live/SECRETKEY?x=1#part'), 'rtmp://***:***@h/live/***?x=***');
    const { config } = load({
      env: {
        SOUNDPOST_MQTT_URL: 'mqtts://u:hush@x',
        SOUNDPOST_AUDIO_URL: 'rtsp://v:hu%20sh@y/?k=key1',
        SOUNDPOST_MQTT_CERT: certificate,
        SOUNDPOST_MQTT_KEY: privateKey,
      },
    });
    t.match(maskConfig(config), {
      mqtt: { url: 'mqtts://x', username: 'u', password: '***', key: '***', cert: '***', ca: '' },
      audio: { url: 'rtsp://***:***@y/?k=***' },
      tagging: { thresholds: {} },
    });
    t.same(secretsOf(config).sort(), ['hush', privateKey, 'hu%20sh', 'hu sh', 'key1', 'v'].sort());
    t.end();
  });

  t.test('never stand in a message or in what is shown', (t) => {
    const configPath = join(temporaryFolder(t), 'x.yaml');
    // Begins like no word of a message; goes on with everything that means something to YAML and to URLs.
    const tail = fc.string({
      unit: fc.constantFrom(...Array.from('abc019:/@?&#%*!{}[]|>\'" \\,-')),
      maxLength: 12,
    });
    const secret = fc
      .tuple(fc.constantFrom('', '*', '!', '&', '@', '%', '"', '{'), tail)
      .map(([sign, rest]) => `${sign}Zqx7${rest}`);
    const spoilt = fc.constantFrom({}, { SOUNDPOST_LOG_LEVEL: 'x' }, { SOUNDPOST_MQTT_URL: 'x' });
    fc.assert(
      fc.property(secret, spoilt, (text, env) => {
        const outcomes = [
          outcome({ env: { ...env, SOUNDPOST_MQTT_PASSWORD: text } }),
          outcome({ env: { ...env, SOUNDPOST_MQTT_KEY: text } }),
          outcome({ env: { ...env, SOUNDPOST_MQTT_PASSWROD: text } }),
          outcome({ env: { ...env, SOUNDPOST_MQTT_URL: `mqtt://me:${text}@host` } }),
          outcome({ env: { ...env, SOUNDPOST_AUDIO_URL: `rtsp://me:${text}@host/` } }),
          outcome({ env: { ...env, SOUNDPOST_AUDIO_URL: `rtsp://host/?key=${encodeURIComponent(text)}` } }),
          outcome({ env, flags: { 'mqtt.password': text } }),
          ...[`mqtt:\n  password: ${text}\n`, `mqtt:\n  key: ${text}\n`, `mqtt: x${text}\n`].map((source) => {
            writeFileSync(configPath, source);
            return outcome({ env, configPath });
          }),
        ];
        for (const shown of outcomes) if (shown.includes('Zqx7')) throw new Error(shown);
      }),
      { numRuns: 200 },
    );
    t.end();
  });
  t.end();
});

t.test('the schema', (t) => {
  t.test('every default is allowed, and reading a value again changes nothing', (t) => {
    for (const [key, { reader, default: value }] of keys) t.same(reader.read(value), value, key);
    const any = fc.oneof(fc.anything(), fc.json(), fc.double().map(String), fc.integer().map(String));
    fc.assert(
      fc.property(fc.constantFrom(...keys.keys()), any, (key, value) => {
        const { reader } = keys.get(key)!;
        let read: unknown;
        try {
          read = reader.read(value);
        } catch (error) {
          return error instanceof Error && error.message !== '';
        }
        t.same(reader.read(read), read);
        return true;
      }),
      { numRuns: 1000 },
    );
    t.end();
  });

  t.test('whatever stands in the environment, it is accepted or refused in words', (t) => {
    const name = fc.oneof(
      fc.constantFrom(...keys.keys()).map(environmentName),
      fc.constantFrom(...keys.keys()).map((key) => `${environmentName(key)}_FILE`),
      fc.string().map((text) => `SOUNDPOST_${text}`),
    );
    const value = fc.oneof(fc.string(), fc.json(), fc.double().map(String));
    fc.assert(
      fc.property(fc.dictionary(name, value, { maxKeys: 5 }), (env) => void outcome({ env })),
      { numRuns: 200 },
    );
    t.end();
  });

  t.test('no two keys have one variable or one flag', (t) => {
    const names = flagNames().map(environmentName);
    t.equal(new Set(names).size, names.length);
    for (const [key, { doc }] of keys) t.match(doc, /^[A-Z`].*[.`]$/, `${key} has a sentence`);
    t.end();
  });

  t.test('the reference and the shipped sample are current ("npm run docs" writes them)', (t) => {
    for (const [path, content] of Object.entries(documents())) {
      t.equal(readFileSync(projectPath(path), 'utf8'), content, path);
    }
    t.end();
  });

  t.test('the shipped sample holds every default', (t) => {
    const configPath = join(temporaryFolder(t), 'x.yaml');
    const sample = readFileSync(projectPath('config', 'default.yaml'), 'utf8');
    writeFileSync(configPath, sample.slice(sample.indexOf('\n\n')).replace(/^#/gm, ''));
    const { config, entries } = load({ configPath });
    t.same(config, load().config);
    for (const [key, spec] of keys) {
      if (spec.default === null || key.startsWith('device.')) continue;
      t.match(entryOf(entries, key).origin, configPath, key);
    }
    t.end();
  });

  t.test('the examples are allowed, and their models know their labels', async (t) => {
    const { models } = await readCatalogue(projectPath('models'));
    const labelsOf = async (id: string) => {
      const set = models.find((entry) => entry.id === id)?.labels;
      const path = set === undefined ? [id, 'labels.json'] : ['labels', `${set}.json`];
      return withoutThresholds(await readLabels(projectPath('models', ...path)));
    };
    const folder = temporaryFolder(t);
    writeFileSync(join(folder, 'secret'), 'hush\n');
    writeFileSync(join(folder, 'ca.pem'), certificate);
    const examples = readdirSync(projectPath('config', 'examples')).filter((name) => name.endsWith('.yaml'));
    t.ok(examples.length >= 3);
    for (const path of [...examples.map((name) => join('examples', name)), 'balena.yaml']) {
      const configPath = join(folder, 'x.yaml');
      const source = readFileSync(projectPath('config', path), 'utf8');
      writeFileSync(
        configPath,
        source.replace('/etc/soundpost/mqtt-password', 'secret').replace('/etc/soundpost/ca.pem', 'ca.pem'),
      );
      const { config } = load({ configPath, cwd: folder });
      const known = await labelsOf(config.model.id);
      for (const source of sourcesOf(config)) {
        t.same(resolveWatched(known, taggingSettings(source)).unknown, [], `${path}: ${source.name}`);
      }
    }
  });

  t.test('the nearest word', (t) => {
    t.equal(nearest('base_topik', ['base_topic', 'url']), 'base_topic');
    t.equal(nearest('URL', ['base_topic', 'url']), 'url');
    t.equal(nearest('something', ['base_topic', 'url']), undefined);
    t.end();
  });
  t.end();
});

t.test('soundpost config', async (t) => {
  const env = { SOUNDPOST_MQTT_PASSWORD: 'hush', SOUNDPOST_TAGGING_LABELS: '["Dog"]' };
  const run = async (json: boolean): Promise<string> => {
    let output = '';
    const stdout = { write: (text: string) => (output += text) };
    const code = await configCommand({
      env,
      flags: {},
      json,
      stdout,
      root: nowhere,
      cwd: nowhere,
      hostname: 'x',
    });
    t.equal(code, 0);
    t.notMatch(output, 'hush');
    return output;
  };
  const table = await run(false);
  t.match(table, /^KEY +VALUE +FROM\n/);
  t.match(table, /\nmqtt\.password +\*\*\* +SOUNDPOST_MQTT_PASSWORD\n/);
  t.match(table, /\ntagging\.labels +\["Dog"\] +SOUNDPOST_TAGGING_LABELS\n/);
  t.match(JSON.parse(await run(true)), {
    config: { mqtt: { password: '***' }, tagging: { labels: ['Dog'] } },
    entries: [{ key: 'device.id', value: 'x', origin: 'host name', secret: false }],
  });
  await t.rejects(
    configCommand({ env: { SOUNDPOST_X: 'x' }, flags: {}, json: false, stdout: process.stdout }),
    { code: 'config' },
  );
});

t.test('the embedded broker does not open to the network without a password', (t) => {
  const env = { SOUNDPOST_BROKER_HOST: '0.0.0.0' };
  t.throws(() => loadConfig({ env }), { code: 'config', message: /broker\.host.*broker\.password/ });
  const anyway = loadConfigAnyway({ env });
  t.equal(anyway.config.broker.host, '127.0.0.1', 'a device that nobody sits at stays on its own');
  t.match(anyway.problems, [{ level: 'error', message: /broker\.password/ }]);
  t.equal(anyway.unusable, null);
  t.equal(loadConfig({ env: { ...env, SOUNDPOST_BROKER_PASSWORD: 'x' } }).config.broker.host, '0.0.0.0');
  t.equal(loadConfig({ env: { ...env, SOUNDPOST_MQTT_URL: 'mqtt://b' } }).config.broker.host, '0.0.0.0');
  for (const host of ['127.0.0.1', 'localhost', '::1']) loadConfig({ env: { SOUNDPOST_BROKER_HOST: host } });
  t.throws(() => loadConfig({ env: { SOUNDPOST_BROKER_HOST: '127.example.org' } }), { code: 'config' });
  t.end();
});
