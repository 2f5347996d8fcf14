import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { z } from 'zod';
import { commandSpecs } from '../../src/mqtt/command-specs.js';
import type { CommandSpec } from '../../src/mqtt/command.js';
import { contract, epochMs, isoTime, type TopicSpec } from '../../src/mqtt/contract.js';
import { createFrameGuard } from '../../src/mqtt/frame-guard.js';
import { createTopics } from '../../src/mqtt/topics.js';
import {
  commandBreaks,
  freezeCommand,
  freezeTopic,
  topicBreaks,
  type FrozenCommand,
  type FrozenTopic,
} from '../support/frozen-contract.js';
import { projectPath } from '../support/shared.js';

const topics = createTopics('soundpost', 'kitchen');

/**
 * Additions are welcome, and are frozen as well by running this test with UPDATE_CONTRACT=1. What is frozen never
 * thaws that way: where something of it is gone, the file stays as it is.
 */
function staysFrozen<F>(
  t: Test,
  name: string,
  present: Record<string, F>,
  breaks: (was: F, now: F | undefined) => string[],
): void {
  const file = projectPath('test', 'golden', name);
  const frozen = (existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}) as Record<string, F>;
  for (const [key, was] of Object.entries(frozen)) t.same(breaks(was, present[key]), [], key);
  if (process.env.UPDATE_CONTRACT === '1' && t.passing()) {
    writeFileSync(file, `${JSON.stringify(present, null, 2)}\n`);
  } else {
    t.same(present, frozen, 'additions have to be frozen: run this test once with UPDATE_CONTRACT=1');
  }
}

const frozenTopics = mapValues<TopicSpec, FrozenTopic>(contract, freezeTopic);
const frozenCommands = mapValues<CommandSpec, FrozenCommand>(commandSpecs, freezeCommand);

function mapValues<T, R>(map: Readonly<Record<string, T>>, change: (value: T) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, change(value)]));
}

t.test('the contract only grows', (t) => {
  staysFrozen(t, 'contract.json', frozenTopics, topicBreaks);
  staysFrozen(t, 'commands.json', frozenCommands, commandBreaks);
  t.end();
});

t.test('a change that is no addition is noticed', (t) => {
  const event = frozenTopics['event']!;
  const state = contract.event.schema;
  const topic = (changes: Partial<TopicSpec>) =>
    topicBreaks(event, freezeTopic({ ...contract.event, ...changes }));
  t.same(topic({}), []);
  t.same(topic({ schema: state.extend({ loudness: z.number().optional() }) }), [], 'a new field');
  t.same(topic({ schema: state.extend({ loudness: z.number() }) }), [], 'that is always there');
  t.same(topic({ schema: state.extend({ group: z.string() }) }), ['group is never null any more']);
  t.same(topic({ schema: state.omit({ peak: true }) }), ['peak is gone', 'peak may be missing']);
  t.same(topic({ schema: state.extend({ peak: z.number().optional() }) }), ['peak may be missing']);
  t.same(topic({ schema: state.extend({ duration_s: z.string().nullable() }) }), [
    'duration_s is never number any more',
  ]);
  t.match(topic({ schema: state.extend({ event_type: z.enum(['started', 'stopped']) }) }), [/"ended"/]);
  t.same(topic({ template: 'events' }), ['template was event and is events']);
  t.same(topic({ qos: 0 }), ['qos was 1 and is 0']);
  t.same(topic({ retain: true }), ['retain was false and is true']);
  t.same(topicBreaks(event, undefined), ['it is gone']);

  const spec: CommandSpec = commandSpecs['threshold/set'];
  const schema = commandSpecs['threshold/set'].schema;
  const result = commandSpecs['threshold/set'].result;
  const command = (changes: Partial<CommandSpec>) =>
    commandBreaks(freezeCommand(spec), freezeCommand({ ...spec, ...changes }));
  t.same(command({}), []);
  t.same(command({ schema: schema.extend({ note: z.string().optional() }) }), [], 'an optional field');
  t.same(command({ result: result.extend({ note: z.string() }) }), [], 'more in the reply');
  t.same(command({ schema: schema.extend({ note: z.string() }) }), ['request: note has to be there']);
  t.same(command({ schema: schema.extend({ label: z.string() }) }), ['request: label has to be there']);
  t.same(command({ schema: schema.omit({ label: true }) }), ['request: label is gone']);
  t.same(command({ schema: schema.extend({ value: z.string() }) }), [
    'request: value is never null any more',
    'request: value is never number any more',
  ]);
  t.same(command({ result: result.omit({ threshold: true }) }), [
    'reply: threshold is gone',
    'reply: threshold may be missing',
  ]);
  const { parseSet, ...withoutSet } = spec;
  t.ok(parseSet);
  t.same(commandBreaks(freezeCommand(spec), freezeCommand(withoutSet)), ['its topic for plain text is gone']);
  t.same(commandBreaks(freezeCommand(spec), undefined), ['it is gone']);
  t.end();
});

t.test('reading is loose', (t) => {
  t.same(contract.level.schema.parse({ ts: isoTime(0), dbfs: -30, peak_dbfs: null, phon: 40 }), {
    ts: '1970-01-01T00:00:00.000Z',
    dbfs: -30,
    peak_dbfs: null,
  });
  t.notOk(contract.level.schema.safeParse({ ts: 'yesterday', dbfs: -30, peak_dbfs: null }).success);
  t.end();
});

t.test('times go there and back', (t) => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 4e12 }), (ms) => epochMs(isoTime(ms)) === ms));
  t.equal(isoTime(1_700_000_000_123), '2023-11-14T22:13:20.123Z');
  t.end();
});

t.test('topics', (t) => {
  t.equal(topics.of('status'), 'soundpost/kitchen/status');
  t.equal(topics.of('label', { slug: 'baby_cry' }), 'soundpost/kitchen/label/baby_cry');
  t.equal(topics.of('response', { command: 'model/set' }), 'soundpost/kitchen/response/model/set');
  t.same(topics.subscriptions, ['soundpost/kitchen/+/set', 'soundpost/kitchen/request/#']);
  t.equal(createTopics('site/a', 'x').base, 'site/a/x');
  for (const base of ['', '/a', 'a/', 'a//b', 'a+', '#', '$SYS', 'a\0b']) {
    t.throws(() => createTopics(base, 'x'), { code: 'invalid_topic' }, JSON.stringify(base));
  }
  for (const id of ['', 'a b', 'a/b', 'ü']) {
    t.throws(() => createTopics('a', id), { code: 'invalid_topic' }, JSON.stringify(id));
  }
  t.end();
});

t.test('which topics are commands', (t) => {
  const of = (path: string): unknown => topics.commandOf(`soundpost/kitchen/${path}`);
  t.same(of('model/set'), { name: 'model/set', form: 'set' });
  t.same(of('telemetry/set'), { name: 'telemetry/set', form: 'set' });
  t.same(of('request/model/set'), { name: 'model/set', form: 'request' });
  t.same(of('request/pause'), { name: 'pause', form: 'request' });
  for (const path of [
    'request/set',
    'response/set',
    'label/set',
    'request/',
    'request',
    'set',
    'a/b/set',
    'model/get',
    'request/a b',
    'request//a',
    `request/${'a'.repeat(65)}`,
  ]) {
    t.equal(of(path), null, path);
  }
  t.equal(topics.commandOf('soundpost/hall/request/pause'), null, 'of another device');
  t.equal(topics.commandOf('soundpost/kitchenette/model/set'), null);
  t.end();
});

t.test('where replies may go', (t) => {
  for (const topic of ['answers/1', 'soundpost/kitchen/response/x', 'a'])
    t.ok(topics.mayRespondTo(topic), topic);
  for (const topic of [
    '',
    'a/+',
    '#',
    'a\0',
    '$SYS/x',
    'soundpost/kitchen/status',
    'soundpost/kitchen/request/pause',
    'soundpost/hall/request/restart',
    'soundpost/hall/paused/set',
    'a'.repeat(2000),
  ]) {
    t.notOk(topics.mayRespondTo(topic), JSON.stringify(topic.slice(0, 40)));
  }
  t.end();
});

t.test('the frame guard sees lengths, however the stream is cut', (t) => {
  const packet = (length: number): Buffer => {
    const header = [0x30];
    let rest = length;
    do {
      header.push((rest % 128) + (rest >= 128 ? 128 : 0));
      rest = Math.floor(rest / 128);
    } while (rest > 0);
    return Buffer.concat([Buffer.from(header), Buffer.alloc(length, 0xff)]);
  };
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 10 }),
      fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 10 }),
      (lengths, cuts) => {
        const stream = Buffer.concat(lengths.map(packet));
        const guard = createFrameGuard(300);
        let acceptable = true;
        for (let at = 0, turn = 0; at < stream.length; turn += 1) {
          const end = at + cuts[turn % cuts.length]!;
          acceptable = guard(stream.subarray(at, end));
          at = end;
        }
        return acceptable === lengths.every((length) => length <= 300);
      },
    ),
  );
  t.notOk(createFrameGuard(1e9)(Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff])), 'a length of five bytes');
  t.end();
});
