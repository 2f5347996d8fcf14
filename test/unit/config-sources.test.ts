import fc from 'fast-check';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parse, stringify } from 'yaml';
import { SoundpostError } from '../../src/common/errors.js';
import { MAX_SOURCES } from '../../src/common/rules.js';
import { FormatError } from '../../src/config/format-of.js';
import { loadConfig, loadConfigAnyway, type ConfigSources } from '../../src/config/load.js';
import { maskConfig, maskEntries, secretsOf } from '../../src/config/mask.js';
import { entryKeys, keys } from '../../src/config/schema.js';
import { sourcesOf, type SourceConfig } from '../../src/config/sources.js';
import { projectPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporary.js';
import { refusalOf } from '../support/refusal.js';

const nowhere = '/nowhere';
const base: ConfigSources = { env: {}, flags: {}, root: nowhere, cwd: nowhere, hostname: 'box' };
const inEnvironment = (list: unknown, more: Record<string, string> = {}): ConfigSources => ({
  ...base,
  env: { ...more, SOUNDPOST_AUDIO_SOURCES: typeof list === 'string' ? list : JSON.stringify(list) },
});
const load = (sources: ConfigSources) => loadConfig({ ...base, ...sources });
const anyway = (sources: ConfigSources) => loadConfigAnyway({ ...base, ...sources });

/** The message with which this configuration is refused. */
const refusal = (sources: ConfigSources): string => refusalOf(() => load(sources));

/** All that is said and shown of a configuration, whether it is refused, accepted, or taken as far as it goes. */
function everythingSaid(sources: ConfigSources): string {
  const { config, entries, problems } = anyway(sources);
  const shown = JSON.stringify([maskConfig(config), maskEntries(entries), problems]);
  try {
    load(sources);
    return shown;
  } catch (error) {
    if (error instanceof SoundpostError && error.code === 'config') return shown + error.message;
    throw error;
  }
}

const namesOf = (sources: readonly Pick<SourceConfig, 'name'>[]) => sources.map(({ name }) => name);

t.test('without a list there is one source, as the single keys say', (t) => {
  const { config } = load({ flags: { 'audio.url': 'rtsp://camera/1', 'tagging.threshold': '0.3' } });
  const [source, ...others] = sourcesOf(config);
  const { sources, ...audio } = config.audio;
  t.same(sources, []);
  t.same(others, []);
  t.strictSame(source, { name: 'main', audio, tagging: config.tagging });
  t.equal(source.tagging.labels, config.tagging.labels, 'the very same list');
  t.equal(sourcesOf(load({}).config)[0].audio.source, 'auto', 'which may become the demo');
  t.end();
});

t.test('what an entry leaves out is as the single keys say, but for where its sound is', (t) => {
  const { config } = load(
    inEnvironment(
      [
        {
          name: 'nursery',
          device: 'USB',
          gain_db: '12',
          labels: ['Speech'],
          loud: { above_background_db: 20 },
        },
        { name: 'yard', url: 'rtsp://camera/yard', threshold: null, channel: 2, track: 3 },
        { name: 'street', file: 'street.wav', loop: true, thresholds: { 'Bee, wasp, etc.': 0.2 } },
        {
          name: 'door',
          source: 'stream',
          file: 'door.mp3',
          confirm: '2 / 3',
          loud: { min_duration_seconds: 1 },
        },
        { name: '0', source: 'demo', sample_rate: 16_000 },
        { name: 'attic', source: 'auto' },
      ],
      {
        SOUNDPOST_AUDIO_HIGHPASS_HZ: '80',
        SOUNDPOST_AUDIO_CHANNEL: '1',
        SOUNDPOST_AUDIO_SOURCE: 'auto',
        SOUNDPOST_TAGGING_THRESHOLD: '0.6',
        SOUNDPOST_TAGGING_THRESHOLDS: '{"Dog": 0.1}',
        SOUNDPOST_TAGGING_LOUD_ABOVE_BACKGROUND_DB: '30',
      },
    ),
  );
  const { sources, ...audio } = config.audio;
  const { tagging } = config;
  t.equal(sources.length, 6);
  t.strictSame(sourcesOf(config), [
    {
      name: 'nursery',
      audio: { ...audio, source: 'microphone', device: 'USB', gain_db: 12 },
      tagging: { ...tagging, labels: ['Speech'], loud: { ...tagging.loud, above_background_db: 20 } },
    },
    {
      name: 'yard',
      audio: { ...audio, source: 'stream', url: 'rtsp://camera/yard', channel: 2, track: 3 },
      tagging: { ...tagging, threshold: null },
    },
    {
      name: 'street',
      audio: { ...audio, source: 'file', file: '/nowhere/street.wav', loop: true },
      tagging: { ...tagging, thresholds: { 'Bee, wasp, etc.': 0.2 } },
    },
    {
      name: 'door',
      audio: { ...audio, source: 'stream', file: '/nowhere/door.mp3' },
      tagging: { ...tagging, confirm: '2/3', loud: { above_background_db: 30, min_duration_seconds: 1 } },
    },
    { name: '0', audio: { ...audio, source: 'demo', sample_rate: 16_000 }, tagging },
    { name: 'attic', audio: { ...audio, source: 'microphone' }, tagging },
  ]);
  t.end();
});

t.test('the sources are frozen', (t) => {
  const [first] = sourcesOf(load(inEnvironment([{ name: 'a', loud: {}, labels: ['Dog'] }])).config);
  for (const part of [first, first.audio, first.tagging, first.tagging.loud, first.tagging.labels]) {
    t.ok(Object.isFrozen(part));
  }
  t.end();
});

t.test('every key of a source but its name is a single key too, with one rule', (t) => {
  for (const [name, key] of Object.entries(entryKeys)) {
    const single = keys.get(`audio.${name}`) ?? keys.get(`tagging.${name}`);
    if ('reader' in key) t.equal(single, key, name);
    else for (const inner of Object.keys(key)) t.ok(keys.has(`tagging.${name}.${inner}`));
  }
  for (const key of keys.keys()) {
    if (!key.startsWith('audio.') || key === 'audio.sources') continue;
    t.ok(Object.hasOwn(entryKeys, key.slice('audio.'.length)), key);
  }
  t.end();
});

t.test('what is refused, and where', (t) => {
  const good = { name: 'good', url: 'rtsp://camera/1' };
  const refused: [entry: unknown, message: RegExp][] = [
    [
      { ...good, name: 'yard', threshold: 7 },
      /audio\.sources\[1\]\.threshold \(SOUNDPOST_AUDIO_SOURCES\): must be a number from 0 to 1/,
    ],
    [
      { name: 'yard', lables: [] },
      /audio\.sources\[1\]\.lables \(.*\): there is no such key; did you mean labels\?/,
    ],
    [{ name: 'yard', rtsp_url: 'x' }, /\[1\]\.rtsp_url .*did you mean url\?/],
    [{ name: 'yard', min_confidence: 1 }, /\[1\]\.min_confidence .*did you mean threshold\?/],
    [{ name: 'yard', gain: 1 }, /\[1\]\.gain .*did you mean gain_db\?/],
    [{ name: 'yard', colour: 'red' }, /\[1\]\.colour .*there is no such key; there are source, device/],
    [{ name: 'yard', tagging: { threshold: 0.4 } }, /\[1\]\.tagging .*\(threshold\) directly beside name/],
    [{ name: 'yard', top_k: 3 }, /\[1\]\.top_k .*no such key/],
    [{ name: 'yard', sources: [] }, /\[1\]\.sources .*no such key/],
    [{ name: 'yard', file_file: 'x' }, /\[1\]\.file_file .*no such key/],
    [JSON.parse('{"name": "yard", "__proto__": {"gain_db": 1}}'), /\[1\] .*has a key that there is not/],
    [{ device: 'USB' }, /audio\.sources\[1\]\.name .*is missing; must be 1 to 32/],
    [{ name: 'Kids room' }, /audio\.sources\[1\]\.name .*must be 1 to 32 lower-case letters/],
    [{ name: '-a' }, /\[1\]\.name/],
    [{ name: '' }, /\[1\]\.name/],
    [{ name: 'x'.repeat(33) }, /\[1\]\.name/],
    [{ name: 5 }, /\[1\]\.name/],
    [{ ...good }, /audio\.sources\[1\]\.name .*is that of audio\.sources\[0\] as well/],
    ['yard', /audio\.sources\[1\] .*must be a map with a "name"/],
    [null, /audio\.sources\[1\] .*must be a map/],
    [[], /audio\.sources\[1\] .*must be a map/],
    [{ name: 'yard', source: 'stream' }, /\[1\]\.source .*"stream" needs one of url .* and file/],
    [{ name: 'yard', source: 'file' }, /\[1\]\.source .*"file" needs file/],
    [{ name: 'yard', source: 'file', url: 'http://x' }, /"file" needs file/],
    [{ name: 'yard', url: 'http://x', file: 'x.wav' }, /\[1\]\.file .*url is given as well/],
    [{ name: 'yard', url: 'http://x', file: 'rtsp://a:hush@x' }, /\[1\]\.file .*url is given as well/],
    [
      { name: 'yard', source: 'microphone', url: 'http://x' },
      /\[1\]\.url .*does not go with the source "microphone"/,
    ],
    [{ name: 'yard', source: 'demo', file: 'x' }, /\[1\]\.file .*does not go with the source "demo"/],
    [{ name: 'yard', url: 'http://x', device: 'USB' }, /\[1\]\.device .*names a microphone/],
    [{ name: 'yard', source: 'mic' }, /\[1\]\.source .*must be one of auto, microphone/],
    [{ name: 'yard', url: 'ftp://a:hush@x' }, /\[1\]\.url .*must be an address/],
    [{ name: 'yard', file: 'ftp://a:hush@x' }, /\[1\]\.url .*must be an address/],
    [{ name: 'yard', url: 'http://x', url_file: 'y' }, /\[1\]\.url_file .*url is given as well/],
    [{ name: 'yard', url_file: 'none' }, /\[1\]\.url_file .*the file \/nowhere\/none does not exist/],
    [{ name: 'yard', url_file: 5 }, /\[1\]\.url_file .*must be the path of a file/],
    [{ name: 'yard', loud: 20 }, /\[1\]\.loud .*must be a map of above_background_db, min_duration_seconds/],
    [{ name: 'yard', loud: { above_background_db: 1 } }, /\[1\]\.loud\.above_background_db .*from 3 to 80/],
    [{ name: 'yard', loud: { above: 1 } }, /\[1\]\.loud\.above .*no such key/],
    [{ name: 'yard', labels: [1] }, /\[1\]\.labels .*entry 1 is neither a label nor a group/],
    [{ name: 'yard', confirm: '3/2' }, /\[1\]\.confirm .*k\/n/],
    [
      { name: 'yard', 'rest of a pass@host': null },
      /\[1\] .*has a key that there is not \(text with a comma/,
    ],
  ];
  for (const [entry, message] of refused) {
    const said = refusal(inEnvironment([good, entry]));
    t.match(said, message, JSON.stringify(entry));
    t.match(said, /^The configuration has a problem:\n.*$/, 'and nothing else');
    t.notMatch(said, /hush|pass@/);
    const { config, problems } = anyway(inEnvironment([good, entry]));
    t.same(namesOf(sourcesOf(config)), ['good'], 'the others go on');
    t.match(problems, [{ level: 'error', message: /the other sources go on without this one\)$/ }]);
  }
  t.end();
});

t.test('a list that is none', (t) => {
  for (const list of ['yard', '{}', '{"name":"yard"}', '5', 'null', '"x"', 'true']) {
    t.match(
      refusal(inEnvironment(list)),
      /audio\.sources \(SOUNDPOST_AUDIO_SOURCES\): must be a list of at most 16/,
    );
  }
  const spoilt = '[{"name":"yard","url":"rtsp://me:hush@x"]';
  t.match(refusal(inEnvironment(spoilt)), /is not valid JSON.*; must be a list/);
  t.notMatch(everythingSaid(inEnvironment(spoilt)), /hush/);
  const many = Array.from({ length: MAX_SOURCES + 3 }, (_, n) => ({ name: `n${n}`, source: 'demo' }));
  t.equal(sourcesOf(load(inEnvironment(many.slice(0, MAX_SOURCES))).config).length, MAX_SOURCES);
  t.match(refusal(inEnvironment(many)), /audio\.sources \(.*\): must have at most 16 sources/);
  const some = anyway(inEnvironment(many));
  t.equal(sourcesOf(some.config).length, MAX_SOURCES);
  t.match(some.problems, [{ level: 'error', message: /at most 16 sources.*the first ones go on\)$/ }]);
  t.same(load(inEnvironment([])).config, load({}).config, 'an empty list is none');
  const none = anyway(inEnvironment([{ name: 'A' }], { SOUNDPOST_AUDIO_DEVICE: 'USB' }));
  t.match(sourcesOf(none.config), [{ name: 'main', audio: { source: 'auto', device: 'USB' } }]);
  t.equal(none.problems.length, 1, 'as without the list');
  t.end();
});

t.test('one microphone is opened once', (t) => {
  const twins: [first: object, second: object, message: RegExp][] = [
    [
      {},
      {},
      /audio\.sources\[1\] .*default microphone, as audio\.sources\[0\] does, and a microphone can be opened once/,
    ],
    [{ source: 'microphone' }, { source: 'auto', device: '' }, /default microphone/],
    [
      { device: 'USB' },
      { device: ' usb ' },
      /audio\.sources\[1\]\.device .*names the microphone of audio\.sources\[0\]/,
    ],
    [{ device: 2 }, { device: '2' }, /names the microphone of audio\.sources\[0\]/],
  ];
  for (const [first, second, message] of twins) {
    const list = [
      { name: 'a', ...first },
      { name: 'b', ...second },
      { name: 'c', source: 'demo' },
    ];
    t.match(refusal(inEnvironment(list)), message);
    t.same(namesOf(sourcesOf(anyway(inEnvironment(list)).config)), ['a', 'c'], 'the first one keeps it');
  }
  const apart = [
    { device: 'USB' },
    { device: 'HDMI' },
    {},
    ...Array.from({ length: 2 }, () => ({ source: 'demo' })),
    ...Array.from({ length: 2 }, () => ({ file: 'x.wav' })),
    ...Array.from({ length: 2 }, () => ({ url: 'http://x' })),
  ].map((entry, n) => ({ ...entry, name: `n${n}` }));
  t.equal(sourcesOf(load(inEnvironment(apart)).config).length, apart.length);
  t.end();
});

t.test('all that is wrong is told at once, and only what cannot go on is left out', (t) => {
  const list = [
    { name: 'a', threshold: 7, gain_db: 99 },
    { name: 'a' },
    { name: 'a', device: 'USB' },
    { name: 'b', device: 'USB' },
    { name: 'c' },
  ];
  const said = refusal(inEnvironment(list));
  for (const place of ['[0].threshold', '[0].gain_db', '[2].name', '[4] ']) {
    t.ok(said.includes(`audio.sources${place}`), place);
  }
  t.match(said, /has 4 problems/);
  const { config } = anyway(inEnvironment(list));
  t.match(sourcesOf(config), [
    { name: 'a', audio: { device: '' } },
    { name: 'b', audio: { device: 'USB' } },
  ]);
  t.end();
});

t.test('single keys that say where the sound is do not go with a list', (t) => {
  const list = [{ name: 'yard', url: 'rtsp://camera/1' }];
  const singles: [key: string, value: string][] = [
    ['SOUNDPOST_AUDIO_SOURCE', 'microphone'],
    ['SOUNDPOST_AUDIO_DEVICE', 'USB'],
    ['SOUNDPOST_AUDIO_FILE', 'x.wav'],
    ['SOUNDPOST_AUDIO_URL', 'rtsp://a:hush@camera/2'],
  ];
  for (const [name, value] of singles) {
    const sources = inEnvironment(list, { [name]: value });
    const said = refusal(sources);
    const key = name.replace('SOUNDPOST_AUDIO_', 'audio.').toLowerCase();
    t.ok(
      said.includes(`${key} (${name}): is for a single source, and audio.sources (SOUNDPOST_AUDIO_SOURCES)`),
      said,
    );
    t.match(said, /has a problem:\n[^\n]*$/, 'once');
    t.notMatch(said, /hush/);
    t.same(namesOf(sourcesOf(anyway(sources).config)), ['yard'], 'the list goes on');
  }
  const sources = inEnvironment(list, Object.fromEntries(singles));
  t.match(refusal(sources), /has 4 problems/);
  t.strictSame(anyway(sources).config, load(inEnvironment(list)).config);
  t.end();
});

t.test('in a file', (t) => {
  const folder = temporaryFolder(t);
  const configPath = join(folder, 'x.yaml');
  const yaml = (source: string): ConfigSources => {
    writeFileSync(configPath, source);
    return { configPath, cwd: folder };
  };

  t.test('text is taken as it is written, like that of single keys', (t) => {
    const { config, entries } = load(
      yaml(`audio:
  sources:
    - name: 007
      device: 2
      confirm: 1/2
      gain_db: 6
      threshold:
      min_gap_seconds:
    - &camera {name: 1e3, url: 'rtsp://camera/1', loud: {above_background_db: 20}}
tagging: {threshold: 0.3, min_gap_seconds: 7}
`),
    );
    t.match(sourcesOf(config), [
      {
        name: '007',
        audio: { source: 'microphone', device: 2, gain_db: 6 },
        tagging: { confirm: '1/2', threshold: null, min_gap_seconds: 7 },
      },
      {
        name: '1e3',
        audio: { source: 'stream' },
        tagging: { threshold: 0.3, loud: { above_background_db: 20 } },
      },
    ]);
    t.equal(entries.find(({ key }) => key === 'audio.sources')?.origin, `${configPath}:2:3`);
    t.end();
  });

  t.test('what is wrong is told with the place of its entry', (t) => {
    const source =
      'audio:\n  sources:\n    - name: a\n      gain_db: x\n    -\n      name: b\n      colour: red\n    - 5\n';
    const said = refusal(yaml(source));
    t.ok(said.includes(`audio.sources[0].gain_db (${configPath}:3:7): must be a number`), said);
    t.ok(said.includes(`audio.sources[1].colour (${configPath}:6:7): there is no such key`), said);
    t.ok(said.includes(`audio.sources[2] (${configPath}:8:7): must be a map`), said);
    t.match(
      refusal(yaml('audio: {sources: {yard: {url: http://x}}}')),
      /audio\.sources \(.*:1:9\): must be a list/,
    );
    t.match(refusal(yaml('audio: {sources: [*x]}')), /alias/);
    t.match(refusal(yaml('audio: {sources: [{name: a, device: *x}]}')), /alias/);
    t.match(refusal(yaml('audio: {sources: [{[a]: b}]}')), /must be plain text/);
    const torn = refusal(yaml('audio: {sources: [{name: a, url: rtsp://me:hu,Zqx7@camera/1}]}'));
    t.match(torn, /text with a comma in it must stand in quotes/);
    t.notMatch(torn, /Zqx7/);
    t.end();
  });

  t.test('as JSON text, and in a file of its own', (t) => {
    const list = [{ name: 'yard', url: 'rtsp://me:hush@camera/1' }];
    writeFileSync(join(folder, 'sources'), `${JSON.stringify(list)}\n`);
    writeFileSync(join(folder, 'address'), 'rtsp://me:hush@camera/1\n');
    const ways: ConfigSources[] = [
      yaml(stringify({ audio: { sources: JSON.stringify(list) } })),
      { flags: { 'audio.sources': JSON.stringify(list) } },
      { cwd: folder, env: { SOUNDPOST_AUDIO_SOURCES_FILE: 'sources' } },
      { ...inEnvironment([{ name: 'yard', url_file: 'address' }]), cwd: folder },
      inEnvironment([{ name: 'yard', file: 'rtsp://me:hush@camera/1' }]),
    ];
    for (const way of ways) {
      const { config, entries } = load(way);
      t.strictSame(config.audio.sources, list);
      t.match(maskConfig(config), { audio: { sources: [{ name: 'yard', url: 'rtsp://***:***@camera/1' }] } });
      t.notMatch(JSON.stringify(maskEntries(entries)), /hush/);
      t.same(secretsOf(config).sort(), ['hush', 'me']);
    }
    t.end();
  });

  t.test('a later list takes the place of an earlier one', (t) => {
    const file = yaml('audio: {sources: [{name: a}, {name: b, source: demo}]}');
    const { env } = inEnvironment([{ name: 'c' }]);
    t.same(namesOf(load({ ...file, env: env! }).config.audio.sources), ['c']);
    t.same(namesOf(anyway({ ...file, env: { SOUNDPOST_AUDIO_SOURCES: '[' } }).config.audio.sources), [
      'a',
      'b',
    ]);
    t.end();
  });
  t.end();
});

t.test('the examples of docs/configuration.md', (t) => {
  const text = readFileSync(projectPath('docs', 'configuration.md'), 'utf8');
  const section = /^## Several sources\n([^]*?)^## /m.exec(text)![1]!;
  const folder = temporaryFolder(t);
  const [, inYaml] = /```yaml\n([^]*?)```/.exec(section)!;
  const [, asVariable] = /SOUNDPOST_AUDIO_SOURCES='(.*)'/.exec(section)!;
  writeFileSync(join(folder, 'address'), 'rtsp://192.168.1.21/stream2');
  const configPath = join(folder, 'x.yaml');
  writeFileSync(configPath, inYaml!.replace('/run/secrets/street', 'address'));
  const { config } = load({ configPath, cwd: folder });
  t.same(namesOf(sourcesOf(config)), ['nursery', 'yard', 'street']);
  const written = (parse(inYaml!) as { audio: { sources: unknown[] } }).audio.sources.slice(0, 2);
  t.same(load(inEnvironment(asVariable!)).config.audio.sources, written);
  t.end();
});

/** Lists that are right, by construction. */
function rightLists(): fc.Arbitrary<Record<string, unknown>[]> {
  const part = fc.record(
    {
      gain_db: fc.double({ min: -60, max: 60, noNaN: true }),
      highpass_hz: fc.integer({ min: 0, max: 2000 }).map(String),
      calibration_db: fc.option(fc.integer({ min: 0, max: 200 })),
      channel: fc.constantFrom('mix', 1, '2'),
      track: fc.integer({ min: 1, max: 64 }),
      sample_rate: fc.constantFrom(null, '', 16_000),
      loop: fc.constantFrom(true, 'no'),
      speed: fc.constantFrom(1, 'max'),
      labels: fc.constantFrom([], ['Dog', { name: 'Alarm', labels: ['Siren'], threshold: '0.5' }]),
      threshold: fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
      thresholds: fc.dictionary(
        fc.string({ minLength: 1, maxLength: 8 }).filter((text) => text.trim() !== ''),
        fc.constantFrom(0, '0.5', 1),
      ),
      off_fraction: fc.double({ min: 0, max: 1, noNaN: true }),
      confirm: fc.constantFrom('2/3', '1 / 1'),
      min_duration_seconds: fc.integer({ min: 0, max: 3600 }),
      min_gap_seconds: fc.constant(null),
      loud: fc.record(
        {
          above_background_db: fc.option(fc.integer({ min: 3, max: 80 })),
          min_duration_seconds: fc.constant('1'),
        },
        { requiredKeys: [] },
      ),
    },
    { requiredKeys: [] },
  );
  const where = fc.constantFrom<(n: number) => object>(
    (n) => ({ device: `mic ${n}` }),
    (n) => ({ source: 'Microphone', device: n }),
    (n) => ({ url: `rtsp://me:p%20${n}@camera/${n}` }),
    () => ({ file: 'rtsp://camera' }),
    () => ({ file: 'x.wav', url: '' }),
    () => ({ source: 'stream', file: './x.mp3' }),
    () => ({ source: 'demo', url: null }),
  );
  return fc
    .array(fc.tuple(part, where), { maxLength: MAX_SOURCES })
    .map((list) => list.map(([rest, whereOf], n) => ({ ...rest, name: `n-${n}`, ...whereOf(n) })));
}

t.test('a list that is accepted is the same when it is read once more, as JSON and as YAML', (t) => {
  const configPath = join(temporaryFolder(t), 'x.yaml');
  fc.assert(
    fc.property(rightLists(), (list) => {
      const { config } = load(inEnvironment(list));
      const { sources } = config.audio;
      t.strictSame(load(inEnvironment(sources)).config, config);
      t.strictSame(keys.get('audio.sources')!.reader.read(sources), sources);
      writeFileSync(configPath, stringify({ audio: { sources: list } }));
      t.strictSame(load({ configPath }).config.audio.sources, sources);
      t.equal(sourcesOf(config).length, Math.max(1, list.length));
      for (const { audio } of sourcesOf(config)) if (list.length > 0) t.not(audio.source, 'auto');
    }),
    { numRuns: 60 },
  );
  t.end();
});

/** Lists of which much is nearly right, with this text in the place of some values. */
function wrongLists(text: string): fc.Arbitrary<unknown> {
  const name = fc.oneof(
    fc.constantFrom(...Object.keys(entryKeys), 'name', 'url_file', 'lables', '__proto__'),
    fc.string(),
  );
  const value = fc.oneof(
    fc.constantFrom(
      'a',
      'USB',
      1,
      null,
      '',
      'demo',
      'stream',
      'file',
      text,
      `rtsp://me:${text}@host/1`,
      [text],
      { [text]: text },
    ),
    fc.anything({ maxDepth: 2 }),
  );
  const entry = fc.oneof(
    { weight: 5, arbitrary: fc.dictionary(name, value, { maxKeys: 6 }) },
    fc.anything({ maxDepth: 1 }),
  );
  return fc.oneof({ weight: 5, arbitrary: fc.array(entry, { maxLength: 20 }) }, fc.anything());
}

t.test('whatever stands in a list, it is accepted or refused in words', (t) => {
  const { reader } = keys.get('audio.sources')!;
  fc.assert(
    fc.property(wrongLists('x'), (list) => {
      try {
        const read = reader.read(list);
        t.strictSame(reader.read(read), read);
      } catch (error) {
        if (!(error instanceof FormatError) || error.message === '') throw error;
      }
    }),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.json(),
        wrongLists('x').map((list) => JSON.stringify(list) as string | undefined),
      ),
      (text) => {
        everythingSaid(inEnvironment(text ?? 'x'));
      },
    ),
    { numRuns: 200 },
  );
  t.end();
});

t.test('no secret of a list stands in a message or in what is shown', (t) => {
  const configPath = join(temporaryFolder(t), 'x.yaml');
  const tail = fc.string({
    unit: fc.constantFrom(...Array.from('abc019:/@?&#%*!{}[]|>\'" \\,-')),
    maxLength: 12,
  });
  const sign = fc.constantFrom('', '*', '!', '&', '@', '%', '"', '{', ',');
  const secret = fc.tuple(sign, tail).map(([first, rest]) => `${first}Zqx7${rest}`);
  fc.assert(
    fc.property(
      secret,
      fc.constantFrom({}, { colour: 1 }, { name: 'B' }, { threshold: 9 }),
      (text, spoilt) => {
        const address = `rtsp://me:${text}@host/`;
        const query = `rtsp://host/?key=${encodeURIComponent(text)}`;
        const lists = [
          'url',
          'file',
          'name',
          'device',
          'labels',
          'source',
          'confirm',
          'speed',
          'url_file',
        ].map((key) => {
          // A name, a device and the path of a file are shown.
          const value =
            key === 'url_file'
              ? [text]
              : key === 'device'
                ? { [text]: text }
                : key === 'file'
                  ? query
                  : address;
          return [
            { name: 'a', source: 'demo' },
            { name: 'b', [key]: value, ...spoilt },
          ];
        });
        const sources: ConfigSources[] = [
          ...lists.map((list) => inEnvironment(list)),
          inEnvironment([{ name: 'a', url: query }]),
          inEnvironment(`[{"name":"a","url":"${address}"}]`),
          inEnvironment([{ name: 'a', url: address }], { SOUNDPOST_AUDIO_DEVICE: 'USB' }),
        ];
        // In YAML a " #" ends the text, and what stands behind the first "@" is then the name of a host.
        const inYaml = `rtsp://me:${text.replace(/^@/, '')}@host/`;
        const written = [
          `audio:\n  sources:\n    - name: a\n      url: ${inYaml}\n`,
          `audio: {sources: [{name: a, url: ${inYaml}}]}`,
          `audio: {sources: [{url: ${inYaml}, name: a}, {name: a}]}`,
        ];
        const said = [
          ...sources.map(everythingSaid),
          ...written.map((source) => {
            writeFileSync(configPath, source);
            return everythingSaid({ configPath });
          }),
        ];
        for (const shown of said) if (shown.includes('Zqx7')) throw new Error(shown);
      },
    ),
    { numRuns: 150 },
  );
  t.end();
});
