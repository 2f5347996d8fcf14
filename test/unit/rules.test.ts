import t from 'tap';
import { parseStreamAddress, STREAM_SCHEMES } from '../../src/audio/address.js';
import { deviceId, numberOfText, topic } from '../../src/common/rules.js';
import { keys } from '../../src/config/schema.js';
import { commandSpecs, type CommandName } from '../../src/mqtt/command-specs.js';
import { createTopics } from '../../src/mqtt/topics.js';
import { labelName } from '../../src/models/labels.js';
import { parseConfirm } from '../../src/tagging/confirm.js';
import { confirmText } from '../../src/tagging/rules.js';
import { resolveWatched, type TaggingSettings } from '../../src/tagging/watch.js';
import { allWatched } from '../support/tagging.js';

const isTaken = (name: CommandName, request: object) => commandSpecs[name].schema.safeParse(request).success;

t.test('a base topic and a device id are judged alike wherever they come from', (t) => {
  const bases: [string, boolean][] = [
    ['soundpost', true],
    ['home/soundpost', true],
    ['a$b/c', true],
    ['x'.repeat(200), true],
    ['', false],
    ['/a', false],
    ['a/', false],
    ['a//b', false],
    ['$a', false],
    ['a+', false],
    ['#', false],
    // What only the configuration refused.
    ['a\nb', false],
    ['a\u007f', false],
    ['x'.repeat(201), false],
  ];
  for (const [base, good] of bases) {
    t.equal(topic.safeParse(base).success, good, JSON.stringify(base));
    const build = () => createTopics(base, 'x');
    if (good) build();
    else t.throws(build, { code: 'invalid_topic' }, JSON.stringify(base));
  }
  for (const [id, good] of [
    ['a_b-C9', true],
    ['x'.repeat(64), true],
    ['', false],
    ['a b', false],
    ['a\n', false],
    ['x'.repeat(65), false],
  ] as const) {
    t.equal(deviceId.safeParse(id).success, good, JSON.stringify(id));
    if (!good) t.throws(() => createTopics('a', id), { code: 'invalid_topic' }, JSON.stringify(id));
  }
  t.end();
});

t.test('names of labels are one line of text, in files of models and in commands', (t) => {
  for (const name of ['\u0085', 'a\u0001b', 'x'.repeat(201), ' ', '']) {
    t.notOk(labelName.safeParse(name).success, JSON.stringify(name));
    t.notOk(isTaken('labels/set', { labels: [name] }));
    t.notOk(isTaken('labels/set', { labels: [{ name, labels: ['a'] }] }));
    t.notOk(isTaken('threshold/set', { value: 0.5, label: name }), 'a threshold for no label');
  }
  t.equal(labelName.parse(' Dog '), 'Dog');
  t.end();
});

t.test('an audio input is named in one line of text', (t) => {
  for (const device of ['a\u0001b', '\u0085', ' ', '', 'x'.repeat(201), -1, 0.5, true]) {
    t.notOk(isTaken('audio/set', { device }), JSON.stringify(device));
  }
  for (const device of ['USB', 0, 3, null]) t.ok(isTaken('audio/set', { device }), JSON.stringify(device));
  t.end();
});

t.test('settings of groups are held to the same rules once more where they are used', (t) => {
  const resolve = (changed: Partial<TaggingSettings>) => () =>
    resolveWatched([], { ...allWatched, ...changed });
  const group = { name: 'A', labels: ['a'] };
  for (const wrong of [
    { minGapSeconds: 3600.5 },
    { minDurationSeconds: 1e6 },
    { confirm: { k: 1, n: 101 } },
    { labels: [{ ...group, min_gap_seconds: 3601 }] },
    { labels: [group, { ...group, name: ' a ' }] },
  ]) {
    t.throws(resolve(wrong), { code: 'invalid_tagging' }, JSON.stringify(wrong));
  }
  t.doesNotThrow(resolve({ minGapSeconds: 3600, confirm: { k: 1, n: 100 } }));
  t.equal(confirmText.parse(' 2 / 3'), '2/3');
  t.equal(parseConfirm('1/101'), null);
  t.end();
});

t.test('numbers in plain text', (t) => {
  for (const [text, number] of [
    ['1', 1],
    [' 0.5 ', 0.5],
    ['.5', 0.5],
    ['5.', 5],
    ['-1e-3', -0.001],
  ] as const) {
    t.equal(numberOfText(text), number, text);
  }
  for (const other of ['', ' ', '0x10', '1,5', 'NaN', '1 2', '1e9999', null, true, 7, [1]]) {
    t.equal(numberOfText(other), other, JSON.stringify(other));
  }
  t.end();
});

t.test('the address of a stream: what the source can open may be configured', (t) => {
  const { reader } = keys.get('audio.url')!;
  const good = STREAM_SCHEMES.map((scheme) => `${scheme}://192.168.1.20:8000/x`);
  // A stream that is sent to this machine: named as ffmpeg has it, only the source took it.
  for (const address of [...good, 'udp://@:5004', 'rtp://@:5004']) {
    t.equal(reader.read(address), address);
    t.equal(parseStreamAddress(address).url, address);
  }
  for (const address of ['concat://a', 'udp://', 'ftp://a/b', 'rtsp://bad host/']) {
    t.throws(() => reader.read(address), { message: /an address that begins with/ }, address);
    t.throws(() => parseStreamAddress(address), { code: 'bad_address' }, address);
  }
  t.end();
});
