import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { z } from 'zod';
import { commandSpecs } from '../../src/mqtt/command-specs.js';
import { takesSource, type CommandSpec } from '../../src/mqtt/command.js';
import {
  contract,
  epochMs,
  isoTime,
  type OutKey,
  type TopicKey,
  type TopicSpec,
} from '../../src/mqtt/contract.js';
import { createFrameGuard } from '../../src/mqtt/frame-guard.js';
import { createTopics, outKeys } from '../../src/mqtt/topics.js';
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

t.test('with one source, nothing is different from when there was but one', (t) => {
  const one = createTopics('soundpost', 'kitchen', { sources: [] });
  t.same(one.subscriptions, topics.subscriptions);
  for (const path of ['source/yard/paused/set', 'source/set', 'source/yard/label/set']) {
    t.equal(one.commandOf(`${one.base}/${path}`), null, path);
  }
  // What a device with one source always says; a new field may come with several, and is optional before.
  for (const [key, { template }] of Object.entries(frozenTopics)) {
    t.equal(template.includes('<source>'), key.startsWith('source/'), key);
  }
  const optional: [key: TopicKey, paths: string[]][] = [
    ['event', ['source', 'sources']],
    ['tags', ['idle']],
    ['level', ['dba_fs', 'leq_60s', 'background_dbfs', 'spl_dba']],
    ['telemetry', ['windows.idle', 'audio.clipped', 'sources']],
    ['state', ['sources']],
    ['info', ['thresholds.source']],
    ['event', ['clip']],
  ];
  for (const [key, paths] of optional) {
    const { fields, required } = frozenTopics[key]!;
    for (const path of paths) {
      t.ok(path in fields || path.replace('.', '[].') in fields, `${key}: ${path}`);
      t.notOk(required.includes(path), `${key}: ${path} may be missing`);
    }
  }
  const taking = ['paused/set', 'pause', 'resume', 'threshold/set', 'labels/set', 'audio/set'];
  // These ask about a source, and change nothing at it.
  const asking = [
    'history',
    'history/scores',
    'event/judge',
    'clip/list',
    'thresholds/suggest',
    'thresholds/apply',
    'learn/example',
  ];
  for (const [name, spec] of Object.entries(commandSpecs) as [string, CommandSpec][]) {
    t.equal(takesSource(spec), [...taking, ...asking].includes(name), name);
    if (!taking.includes(name)) continue;
    t.notOk(frozenCommands[name]!.request.required.includes('source'), name);
    t.notOk(frozenCommands[name]!.reply.required.includes('source'), name);
    t.ok('source' in frozenCommands[name]!.reply.fields, name);
  }
  t.end();
});

t.test('a topic of a source is like the one that it stands for', (t) => {
  const { delivery, expirySeconds, ...event } = contract['source/event'];
  t.same([delivery, expirySeconds], ['transient', 60], 'live only');
  t.match(contract.event, { ...event, template: 'event', description: String });
  for (const key of ['tags', 'label', 'level', 'audio/status', 'set'] as const) {
    const own: TopicSpec = contract[`source/${key}`];
    const { template, description, ...plain }: TopicSpec = contract[key];
    t.same({ ...own, template, description }, { ...plain, template, description }, key);
    t.equal(own.template, `source/<source>/${template}`);
  }
  t.end();
});

t.test('with several sources, each has its topics', (t) => {
  const several = createTopics('soundpost', 'kitchen', { birthTopic: 'ha/status', sources: ['yard', 'set'] });
  t.same(several.sources, ['yard', 'set']);
  t.same(several.subscriptions, [
    'soundpost/kitchen/+/set',
    'soundpost/kitchen/request/#',
    'soundpost/kitchen/source/+/+/set',
    'ha/status',
  ]);
  t.equal(
    several.of('source/label', { source: 'yard', slug: 'dog' }),
    'soundpost/kitchen/source/yard/label/dog',
  );
  const of = (path: string): unknown => several.commandOf(`soundpost/kitchen/${path}`);
  t.same(of('source/yard/paused/set'), { name: 'paused/set', form: 'set', source: 'yard' });
  t.same(of('source/set/audio/set'), { name: 'audio/set', form: 'set', source: 'set' });
  t.same(
    of('source/attic/paused/set'),
    { name: 'paused/set', form: 'set', source: 'attic' },
    'to be refused',
  );
  t.same(of('paused/set'), { name: 'paused/set', form: 'set' });
  for (const path of [
    'source/set',
    'source/yard/set',
    'source/yard/label/set',
    'source/yard/paused/get',
    'source/yard/a/b/set',
    'source//paused/set',
    'sources/yard/paused/set',
  ]) {
    t.equal(of(path), null, path);
  }
  for (const source of ['', 'Yard', 'a/b', '+', 'ü', 'x'.repeat(33), '-a', 'a\n']) {
    t.throws(() => createTopics('a', 'x', { sources: [source] }), { code: 'invalid_topic' }, source);
  }
  for (const path of ['source/yard/tags', 'source/yard/label/dog', 'source/yard/paused/set']) {
    t.notOk(several.mayRespondTo(`soundpost/kitchen/${path}`), path);
  }
  t.notOk(several.mayRespondTo('soundpost/hall/source/yard/paused/set'), 'a command for somebody else');
  t.end();
});

const sourceNames = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,31}$/);
/** Words that are levels of topics are likelier to be mistaken for them. */
const level = (others: fc.Arbitrary<string>) =>
  fc.oneof(
    others,
    fc.constantFrom('set', 'label', 'source', 'request', 'response', 'audio', 'status', 'tags', 'paused'),
  );
const several = fc
  .uniqueArray(level(sourceNames), { minLength: 2, maxLength: 4 })
  .map((sources) => createTopics('soundpost', 'kitchen', { sources }));
/** Whether a subscription lets a topic come in. */
function fits(filter: string, topic: string): boolean {
  const levels = topic.split('/');
  const wanted = filter.split('/');
  const open = wanted.at(-1) === '#';
  if (open ? levels.length < wanted.length - 1 : levels.length !== wanted.length) return false;
  return wanted.every((word, index) => word === '#' || word === '+' || word === levels[index]);
}

t.test('nothing that the service says is taken for a command', (t) => {
  fc.assert(
    fc.property(
      several,
      fc.constantFrom(...outKeys),
      fc.nat(),
      level(fc.stringMatching(/^[a-z0-9_]{1,20}$/)),
      (made, key, pick, word) => {
        const command = Object.keys(commandSpecs)[pick % Object.keys(commandSpecs).length]!;
        const source = made.sources[pick % made.sources.length]!;
        const parameters = { source, slug: word, id: word, command };
        const topic = (made.of as (key: OutKey, given: typeof parameters) => string)(key, parameters);
        return made.commandOf(topic) === null && (key === 'response' || !made.mayRespondTo(topic));
      },
    ),
    { numRuns: 2000 },
  );
  t.end();
});

t.test('every plain topic of a command is heard and read as it', (t) => {
  const setters = Object.keys(commandSpecs).filter((name) => name.endsWith('/set'));
  fc.assert(
    fc.property(several, fc.constantFrom(...setters), fc.nat(), (made, name, pick) => {
      const source = made.sources[pick % made.sources.length]!;
      const thing = name.slice(0, -'/set'.length);
      const own = made.of('source/set', { source, name: thing });
      const plain = made.of('set', { name: thing });
      t.same(made.commandOf(own), { name, form: 'set', source });
      t.same(made.commandOf(plain), { name, form: 'set' });
      for (const topic of [own, plain]) {
        t.equal(made.subscriptions.filter((filter) => fits(filter, topic)).length, 1, 'it comes once');
        t.notOk(made.mayRespondTo(topic));
      }
    }),
  );
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
