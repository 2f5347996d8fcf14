import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { z } from 'zod';
import { contract, epochMs, isoTime, type EventPayload, type TopicKey } from '../../src/mqtt/contract.js';
import { createFrameGuard } from '../../src/mqtt/frame-guard.js';
import { createMemoryOutbox } from '../../src/mqtt/outbox.js';
import { createTopics } from '../../src/mqtt/topics.js';

const topics = createTopics('soundpost', 'kitchen');

/** Everything about a topic that a reader may rely on; `fields` maps each path to its JSON types. */
interface Frozen {
  template: string;
  direction: string;
  format: string;
  qos: number;
  retain: boolean;
  fields: Record<string, string[]>;
}

interface JsonSchema {
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  properties?: Record<string, JsonSchema>;
  items?: JsonSchema;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
}

function collect(schema: JsonSchema, path: string, fields: Map<string, Set<string>>): void {
  const types = fields.get(path) ?? new Set();
  fields.set(path, types);
  for (const type of [schema.type ?? []].flat()) types.add(type);
  for (const value of schema.enum ?? (schema.const === undefined ? [] : [schema.const])) {
    types.add(JSON.stringify(value));
  }
  for (const choice of [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]) collect(choice, path, fields);
  for (const [name, child] of Object.entries(schema.properties ?? {})) {
    collect(child, path === '' ? name : `${path}.${name}`, fields);
  }
  if (schema.items !== undefined) collect(schema.items, `${path}[]`, fields);
}

function freeze(key: TopicKey): Frozen {
  const { template, direction, format, qos, retain, schema } = contract[key];
  const fields = new Map<string, Set<string>>();
  collect(z.toJSONSchema(schema) as JsonSchema, '', fields);
  return {
    template,
    direction,
    format,
    qos,
    retain,
    fields: Object.fromEntries([...fields].map(([path, types]) => [path, [...types].sort()])),
  };
}

function projectRoot(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}

t.test('the contract only grows', (t) => {
  const file = join(projectRoot(), 'test/golden/contract.json');
  const present = Object.fromEntries((Object.keys(contract) as TopicKey[]).map((key) => [key, freeze(key)]));
  const frozen = (existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}) as Record<string, Frozen>;
  for (const [key, { fields, ...rest }] of Object.entries(frozen)) {
    const now = present[key];
    t.match(now, rest, `${key} keeps its topic, direction, format, QoS and retain flag`);
    for (const [path, types] of Object.entries(fields)) {
      const where = path === '' ? key : `${key}: ${path}`;
      t.same(
        types.filter((type) => now?.fields[path]?.includes(type) !== true),
        [],
        `${where} keeps what it may be`,
      );
    }
  }
  // Additions are welcome, and are frozen as well by running this test with UPDATE_CONTRACT=1. What is frozen never
  // thaws that way: where something of it is gone, the file stays as it is.
  if (process.env.UPDATE_CONTRACT === '1' && t.passing()) {
    writeFileSync(file, `${JSON.stringify(present, null, 2)}\n`);
  } else {
    t.same(present, frozen, 'additions have to be frozen: run this test once with UPDATE_CONTRACT=1');
  }
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

t.test('the outbox gives back what it was given, in order, as long as there is room', async (t) => {
  const event = (n: number): EventPayload => ({
    id: String(n),
    event_type: 'started',
    label: 'Dog',
    mid: null,
    group: null,
    score: 1,
    peak: 1,
    started_at: isoTime(n),
    ended_at: null,
    duration_s: null,
    model: 'm',
    late: false,
  });
  type Step = 'append' | 'remove' | 'markLate';
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 8 }),
      fc.array(fc.constantFrom<Step>('append', 'append', 'remove', 'markLate'), { maxLength: 60 }),
      async (limit, steps) => {
        const outbox = createMemoryOutbox({ limit });
        let model: { id: string; late: boolean }[] = [];
        let appended = 0;
        let dropped = 0;
        for (const step of steps) {
          if (step === 'append') {
            appended += 1;
            await outbox.append(event(appended));
            model.push({ id: String(appended), late: false });
            if (model.length > limit) {
              model.shift();
              dropped += 1;
            }
          } else if (step === 'remove') {
            const [oldest] = await outbox.read(0, 1);
            if (oldest !== undefined) await outbox.remove(oldest.key);
            model.shift();
          } else {
            outbox.markLate();
            model = model.map(({ id }) => ({ id, late: true }));
          }
          const held = await outbox.read(0, 100);
          t.same(
            held.map(({ event: { id, late } }) => ({ id, late })),
            model,
          );
          t.same(outbox.counters(), { queued: model.length, dropped });
          const [first] = held;
          if (first !== undefined) t.same(await outbox.read(first.key, 100), held.slice(1));
        }
      },
    ),
    { numRuns: 30 },
  );
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
