import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import { z } from 'zod';
import { SoundpostError } from '../../src/common/errors.js';
import { silentLogger } from '../../src/common/log.js';
import { MAX_WAITING } from '../../src/mqtt/command-lanes.js';
import { MAX_REQUEST_BYTES } from '../../src/mqtt/command-request.js';
import { commandSpecs } from '../../src/mqtt/command-specs.js';
import { commandTable } from '../../src/mqtt/command-table.js';
import { defineCommand, type Command } from '../../src/mqtt/command.js';
import { createCommandRouter, type CommandRouter } from '../../src/mqtt/commands.js';
import { contract, type ResponsePayload } from '../../src/mqtt/contract.js';
import type { IncomingMessage, Reply } from '../../src/mqtt/link.js';
import { createTopics } from '../../src/mqtt/topics.js';
import { knock } from '../support/command-fuzz.js';
import { createRecordingControl } from '../support/recording-control.js';

const topics = createTopics('soundpost', 'test', { sources: ['yard', 'nursery'] });

interface Door {
  router: CommandRouter;
  replies: Reply[];
  /** Hands in a request on `B/<path>`. */
  send(path: string, payload?: string | Buffer, extra?: Partial<IncomingMessage>): void;
  /** Resolves once there are so many replies; gives the payload of the last one. */
  answered(count: number): Promise<ResponsePayload>;
}

function openDoor(commands: Command[]): Door {
  const replies: Reply[] = [];
  const wakers = new Set<() => void>();
  const router = createCommandRouter({
    commands,
    topics,
    log: silentLogger,
    reply: (reply) => {
      JSON.stringify(reply.payload);
      replies.push(reply);
      for (const wake of wakers) wake();
    },
  });
  return {
    router,
    replies,
    send: (path, payload = '', extra = {}) =>
      router.handle({
        topic: `${topics.base}/${path}`,
        payload: Buffer.from(payload as string),
        retain: false,
        ...extra,
      }),
    answered: (count) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (replies.length < count) return;
          wakers.delete(look);
          resolve(replies[count - 1]!.payload);
        };
        wakers.add(look);
        look();
      }),
  };
}

const plain = { description: 'For this test.', schema: z.object({}), result: z.object({}) };

/** A command that lasts until it is told to end. */
function slow(name: string, extra: { exclusive?: boolean; timeoutMs?: number } = {}) {
  const started: AbortSignal[] = [];
  const ends: (() => void)[] = [];
  const command = defineCommand(name, { ...plain, ...extra }, (_, { signal }) => {
    started.push(signal);
    return new Promise<object>((resolve) => ends.push(() => resolve({})));
  });
  return { command, started, ends };
}

const CLIP = '5f2b0c9e8d7a46138bfe21c04d9a7763';

const warnings: Error[] = [];
process.on('warning', (warning) => warnings.push(warning));

t.test('every command in every form', async (t) => {
  const cases: [path: string, payload: string, call: unknown[]][] = [
    ['model/set', 'mn10_as', ['setModel', 'mn10_as']],
    ['model/set', ' {"id":"mn10_as"} ', ['setModel', 'mn10_as']],
    ['request/model/set', '{"id":"mn10_as"}', ['setModel', 'mn10_as']],
    ['rate/set', '0.5\n', ['setRate', 0.5]],
    ['rate/set', '{"hz":2}', ['setRate', 2]],
    ['request/rate/set', '{"hz":2}', ['setRate', 2]],
    ['request/model/pull', '{"id":"mn10_as"}', ['pullModel', { id: 'mn10_as' }]],
    [
      'request/model/pull',
      `{"url":"https://a.example/m.onnx","sha256":"${'A'.repeat(64)}","manifest":{"id":"m"}}`,
      ['pullModel', { url: 'https://a.example/m.onnx', sha256: 'a'.repeat(64), manifest: { id: 'm' } }],
    ],
    ['request/model/remove', '{"id":"mn10_as"}', ['removeModel', 'mn10_as']],
    ['threshold/set', '.4', ['setThreshold', 0.4]],
    ['threshold/set', 'Model', ['setThreshold', null]],
    ['threshold/set', '{"value":null,"label":"Dog"}', ['setThreshold', null, 'Dog']],
    ['threshold/set', '{"value":0.4,"label":"Dog"}', ['setThreshold', 0.4, 'Dog']],
    ['paused/set', 'ON', ['setPaused', true]],
    ['paused/set', ' off', ['setPaused', false]],
    ['paused/set', 'True', ['setPaused', true]],
    ['paused/set', '{"paused":false}', ['setPaused', false]],
    ['request/pause', '', ['setPaused', true]],
    ['request/pause', '{"seconds":10}', ['setPaused', true, 10]],
    ['request/resume', ' ', ['setPaused', false]],
    ['telemetry/set', '60', ['setTelemetryInterval', 60]],
    ['audio/set', ' USB Audio ', ['setInput', 'USB Audio']],
    ['audio/set', '{"device":null}', ['setInput', null]],
    ['request/audio/set', '{"device":2}', ['setInput', 2]],
    ['request/audio/list', '', ['inputs']],
    ['labels/set', '{"labels":[" Dog "]}', ['setLabels', ['Dog']]],
    [
      'request/labels/set',
      '{"labels":[{"name":"A","labels":["B"],"threshold":0}]}',
      ['setLabels', [{ name: 'A', labels: ['B'], threshold: 0 }]],
    ],
    ['request/restart', '', ['restart']],
    ['request/history', '{"limit":3}', ['history', { limit: 3 }]],
    ['request/history/scores', '{"label":"Dog"}', ['history/scores', { label: 'Dog' }]],
    ['request/history/delete', '{"all":true}', ['history/delete', { all: true }]],
    ['request/event/judge', '{"id":"a","right":true}', ['event/judge', { id: 'a', right: true }]],
    ['request/thresholds/suggest', '{"label":"Dog"}', ['thresholds/suggest', { label: 'Dog' }]],
    ['request/thresholds/apply', '{"per_day":2}', ['thresholds/apply', { per_day: 2 }]],
    ['request/learn/begin', '{"name":" Bell "}', ['learn/begin', { name: 'Bell' }]],
    [
      'request/learn/example',
      '{"name":"Bell","seconds_ago":5}',
      ['learn/example', { name: 'Bell', seconds_ago: 5 }],
    ],
    ['request/learn/finish', '{"name":"Bell"}', ['learn/finish', { name: 'Bell' }]],
    ['request/learn/list', '', ['learn/list', {}]],
    ['request/learn/remove', '{"name":"bell"}', ['learn/remove', { name: 'bell' }]],
    ['request/clip', `{"id":"${CLIP}"}`, ['clip', { id: CLIP }]],
    ['request/clip/list', '', ['clip/list', { limit: 50 }]],
    ['request/clip/delete', `{"id":"${CLIP}"}`, ['clip/delete', { id: CLIP }]],
    ['source/yard/paused/set', 'ON', ['setPaused', true, undefined, 'yard']],
    ['source/yard/paused/set', '{"paused":false,"source":"yard"}', ['setPaused', false, undefined, 'yard']],
    ['paused/set', '{"paused":false,"source":"yard"}', ['setPaused', false, undefined, 'yard']],
    ['request/pause', '{"seconds":5,"source":"nursery"}', ['setPaused', true, 5, 'nursery']],
    ['request/resume', '{"source":"nursery"}', ['setPaused', false, undefined, 'nursery']],
    ['source/yard/threshold/set', 'model', ['setThreshold', null, undefined, 'yard']],
    ['source/yard/threshold/set', '{"value":0.4,"label":"Dog"}', ['setThreshold', 0.4, 'Dog', 'yard']],
    ['source/yard/labels/set', '{"labels":["Dog"]}', ['setLabels', ['Dog'], 'yard']],
    ['source/yard/audio/set', 'USB Audio', ['setInput', 'USB Audio', 'yard']],
    ['request/audio/set', '{"device":2,"source":"yard"}', ['setInput', 2, 'yard']],
    // Whether there is such a source, the service knows.
    ['source/attic/paused/set', 'ON', ['setPaused', true, undefined, 'attic']],
  ];
  for (const [path, payload, call] of cases) {
    const service = createRecordingControl();
    const door = openDoor(commandTable(service));
    door.send(path, payload);
    t.match(await door.answered(1), { status: 'ok' }, `${path} ${payload}`);
    t.same(service.calls, [call]);
    t.equal(door.replies[0]?.command, path.replace(/^request\/|^source\/\w+\//, ''));
    const named = /attic|nursery|yard/.exec(path + payload)?.[0];
    const { data } = door.replies[0]!.payload;
    // The replies of these have another `source`.
    if (!['request/audio/list', 'request/clip'].includes(path))
      t.equal(data['source'], named, 'the reply names the source');
  }
});

t.test('what is wrong is said, and nothing happens', async (t) => {
  const cases: [path: string, payload: string | Buffer, code: string, message: RegExp][] = [
    ['model/set', '', 'invalid_request', /^id: /],
    ['model/set', '../etc', 'invalid_request', /letters, digits/],
    ['rate/set', 'fast', 'invalid_request', /^hz: has to be a number\.$/],
    ['rate/set', 'Infinity', 'invalid_request', /number/],
    ['rate/set', '0', 'invalid_request', /at least 0\.01/],
    ['paused/set', 'maybe', 'invalid_request', /ON or OFF/],
    ['threshold/set', '{"value":2,"label":""}', 'invalid_request', /^value: .*\. label: .*\.$/],
    ['request/pause', '{"second":1}', 'invalid_request', /second/],
    ['request/pause', '[]', 'invalid_payload', /JSON object/],
    ['request/pause', 'null', 'invalid_payload', /JSON object/],
    ['request/pause', '{', 'invalid_payload', /not JSON/],
    ['request/pause', Buffer.from([0xff]), 'invalid_payload', /UTF-8/],
    ['request/pause', '{"transaction":{}}', 'invalid_request', /^transaction/],
    ['request/pause', Buffer.alloc(MAX_REQUEST_BYTES + 1, 0x20), 'too_large', /65537 bytes/],
    [
      'request/constructor',
      '',
      'unknown_command',
      /Known are: audio\/list, audio\/set, clip, clip\/delete, .*health/,
    ],
    ['pause/set', 'ON', 'unknown_command', /pause\/set/],
    ['labels/set', 'Dog', 'invalid_payload', /JSON object only, such as \{"labels"/],
    ['audio/set', '', 'invalid_request', /^device: has to be a name/],
    ['telemetry/set', '0', 'invalid_request', /at least 1 s/],
    ['request/labels/set', '{"labels":["a\\u0000"]}', 'invalid_request', /one line|name of a label/],
    ['model/set', '{"__proto__":{"id":"x"}}', 'invalid_request', /id/],
    ['source/yard/rate/set', '2', 'invalid_request', /whole device.*publish on rate\/set/],
    ['source/yard/model/set', '{"id":"x","source":"yard"}', 'invalid_request', /whole device/],
    ['request/rate/set', '{"hz":2,"source":"yard"}', 'invalid_request', /source/],
    ['source/yard/volume/set', '2', 'unknown_command', /volume\/set/],
    ['source/yard/pause/set', 'ON', 'unknown_command', /pause\/set/],
    ['source/yard/paused/set', '{"paused":true,"source":"attic"}', 'invalid_request', /one of yard/],
    ['source/yard/paused/set', '{"paused":true,"source":null}', 'invalid_request', /another source/],
    ['source/Yard/paused/set', 'ON', 'invalid_request', /^source: has to be 1 to 32 lower-case letters/],
    ['source/yard/labels/set', 'Dog', 'invalid_payload', /JSON object only/],
    ['request/pause', '{"source":""}', 'invalid_request', /^source: /],
  ];
  for (const [path, payload, code, message] of cases) {
    const service = createRecordingControl();
    const door = openDoor(commandTable(service));
    door.send(path, payload);
    t.match(await door.answered(1), { status: 'error', error: { code, message }, data: {} }, path);
    t.same(service.calls, []);
  }
  const door = openDoor(commandTable(createRecordingControl()));
  door.send('request/pause', '{"transaction":"t"}', { retain: true });
  t.match(await door.answered(1), { error: { code: 'retained' }, transaction: 't' });
  door.send('request/info', '', { responseTopic: 'a/#' });
  t.match(await door.answered(2), { error: { code: 'invalid_response_topic' } });
  t.equal(door.replies[1]?.responseTopic, undefined);
});

t.test('a response topic elsewhere is left alone, and the request answered', async (t) => {
  for (const [responseTopic, used] of [
    ['answers/1', false],
    ['soundpost/other/response/x', false],
    [`${topics.base}/response/me`, true],
  ] as const) {
    const door = openDoor(commandTable(createRecordingControl()));
    door.send('request/pause', '', { responseTopic, correlationData: Buffer.from('1') });
    t.match(await door.answered(1), { status: 'ok' });
    t.equal(door.replies[0]?.responseTopic, used ? responseTopic : undefined, responseTopic);
    t.same(door.replies[0]?.correlationData, Buffer.from('1'));
  }
});

t.test('whatever arrives, nothing breaks, and a well-formed request has exactly one reply', async (t) => {
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(knock, { minLength: 1, maxLength: 12 }), async (knocks) => {
      const service = createRecordingControl();
      const door = openDoor(commandTable(service));
      for (const { path, payload, ...extra } of knocks) {
        const calls = service.calls.length;
        const replies = door.replies.length;
        door.send(path, payload, extra);
        if (topics.commandOf(`${topics.base}/${path}`) === null) {
          if (service.calls.length !== calls || door.replies.length !== replies) return false;
          continue;
        }
        const reply = contract.response.schema.parse(await door.answered(replies + 1));
        const { command, correlationData, responseTopic } = door.replies[replies]!;
        if (correlationData !== extra.correlationData) return false;
        if (responseTopic !== undefined && responseTopic !== extra.responseTopic) return false;
        seen.add(reply.status === 'ok' ? `ok ${command}` : reply.error.code);
        if (reply.status === 'error' && service.calls.length !== calls) return false;
        if (reply.status === 'ok' && service.calls.length !== calls + 1) return false;
        if (reply.status === 'ok' && extra.retain) return false;
      }
      const replies = door.replies.length;
      await door.router.stop();
      return door.replies.length === replies;
    }),
    { numRuns: 500 },
  );
  const codes = [
    'invalid_payload',
    'invalid_request',
    'invalid_response_topic',
    'retained',
    'unknown_command',
  ];
  const oks = Object.keys(commandSpecs).map((name) => `ok ${name}`);
  t.same(
    [...codes, ...oks].filter((outcome) => !seen.has(outcome)),
    [],
    'every command was carried out at times, and every refusal met',
  );
});

t.test('a crowd of requests: each has its own reply, and only its own', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(knock, { minLength: 20, maxLength: 60 }),
      fc.nat(60),
      async (knocks, stopAt) => {
        const service = createRecordingControl();
        const door = openDoor(commandTable(service));
        let stopped: Promise<void> | undefined;
        knocks.forEach(({ path, payload, ...extra }, index) => {
          if (index === stopAt) stopped = door.router.stop();
          door.send(path, payload, { ...extra, correlationData: Buffer.from(String(index)) });
        });
        await (stopped ?? turn());
        const wellFormed = knocks.flatMap(({ path }, index) =>
          topics.commandOf(`${topics.base}/${path}`) === null ? [] : [String(index)],
        );
        await door.answered(wellFormed.length);
        await door.router.stop();
        const answered = door.replies.map(({ correlationData }) => correlationData!.toString());
        const carriedOut = door.replies.filter(({ payload }) => payload.status === 'ok').length;
        return (
          answered.length === wellFormed.length &&
          new Set(answered).size === answered.length &&
          wellFormed.every((index) => answered.includes(index)) &&
          carriedOut === service.calls.length
        );
      },
    ),
    { numRuns: 100 },
  );
});

t.test('a handler may fail in any way', async (t) => {
  const failing = (run: () => object | Promise<object>): Command => defineCommand('fail', plain, run);
  const ways: [run: () => object | Promise<object>, error: object][] = [
    [
      () => Promise.reject(new SoundpostError('model_unknown', 'Nope.')),
      { code: 'model_unknown', message: 'Nope.' },
    ],
    [
      () => {
        throw new TypeError('at once');
      },
      { code: 'internal', message: 'at once' },
    ],
    [() => ({ big: 1n }), { code: 'internal' }],
  ];
  for (const [run, error] of ways) {
    const door = openDoor([failing(run)]);
    door.send('request/fail', '{"transaction":3}');
    t.match(await door.answered(1), { status: 'error', error, data: {}, transaction: 3 });
    t.equal(door.replies.length, 1);
  }
});

t.test('ordinary commands run one after the other, and only so many wait', async (t) => {
  const { command, started, ends } = slow('work');
  const door = openDoor([command]);
  for (let n = 0; n < MAX_WAITING + 3; n += 1) door.send('request/work', `{"transaction":${n}}`);
  t.equal(started.length, 1);
  t.same(
    door.replies.map(({ payload }) => payload),
    [MAX_WAITING + 1, MAX_WAITING + 2].map((transaction) => ({
      status: 'error',
      error: { code: 'busy', message: `${MAX_WAITING} commands are waiting already. Try again in a moment.` },
      data: {},
      transaction,
    })),
  );
  for (let n = 0; n <= MAX_WAITING; n += 1) {
    ends[n]?.();
    t.match(await door.answered(3 + n), { status: 'ok', transaction: n });
    await turn();
    t.equal(started.length, Math.min(n + 2, MAX_WAITING + 1));
  }
});

t.test('there is one exclusive command until it has really ended', async (t) => {
  const swap = slow('swap', { exclusive: true, timeoutMs: 20 });
  const quick = defineCommand('quick', plain, () => ({}));
  const door = openDoor([swap.command, quick]);
  door.send('request/swap', '{"transaction":1}');
  door.send('request/swap', '{"transaction":2}');
  t.match(await door.answered(1), { error: { code: 'busy' }, transaction: 2 });
  door.send('request/quick');
  t.match(await door.answered(2), { status: 'ok' });
  t.match(await door.answered(3), { error: { code: 'timeout' }, transaction: 1 });
  t.ok(swap.started[0]?.aborted, 'it was told to stop');
  door.send('request/swap');
  t.match(await door.answered(4), { error: { code: 'busy' } }, 'it has not stopped yet');
  swap.ends[0]?.();
  await turn();
  door.send('request/swap', '{"transaction":5}');
  t.equal(swap.started.length, 2);
  swap.ends[1]?.();
  t.match(await door.answered(5), { status: 'ok', transaction: 5 });
  t.equal(door.replies.length, 5);
});

t.test('an exclusive request that cannot be carried out takes no lane', async (t) => {
  const pull = slow('pull', { exclusive: true });
  const swap = slow('swap', { exclusive: true });
  const looks: { resolve: () => void; reject: (error: Error) => void }[] = [];
  const looked = defineCommand(
    'pull',
    { ...plain, exclusive: true },
    (_, context) => pull.command.prepare({}).run(context),
    () => new Promise<void>((resolve, reject) => looks.push({ resolve, reject })),
  );
  const door = openDoor([looked, swap.command]);
  door.send('request/pull', '{"transaction":1}');
  door.send('request/swap', '{"transaction":2}');
  t.equal(swap.started.length, 1, 'while the pull is looked at, the lane is free');
  looks[0]!.reject(new SoundpostError('model_unknown', 'there is no such model'));
  t.match(await door.answered(1), { error: { code: 'model_unknown' }, transaction: 1 });
  door.send('request/pull', '{"transaction":3}');
  t.match(await door.answered(2), { error: { code: 'busy' }, transaction: 3 });
  swap.ends[0]?.();
  await door.answered(3);
  await turn();
  for (const transaction of [4, 5]) door.send('request/pull', JSON.stringify({ transaction }));
  for (const look of looks.slice(1)) look.resolve();
  t.match(await door.answered(4), { error: { code: 'busy' }, transaction: 5 }, 'the first one came first');
  t.equal(pull.started.length, 1);
  pull.ends[0]?.();
  t.match(await door.answered(5), { status: 'ok', transaction: 4 });
  await turn();
  for (let n = 0; n < MAX_WAITING + 3; n += 1) door.send('request/pull');
  t.match(await door.answered(8), { error: { code: 'busy' } }, 'so many are looked at, and no more');
  const stopped = door.router.stop();
  t.match(await door.answered(8 + MAX_WAITING), { error: { code: 'shutting_down' } });
  await stopped;
  t.equal(door.replies.length, 8 + MAX_WAITING);
});

t.test('an ordinary command that takes too long does not hold up the next one', async (t) => {
  const { command, started, ends } = slow('stuck', { timeoutMs: 20 });
  const door = openDoor([command, defineCommand('next', plain, () => ({}))]);
  door.send('request/stuck');
  door.send('request/next');
  t.match(await door.answered(1), { error: { code: 'timeout', message: /stuck .*0\.02 s/ } });
  t.match(await door.answered(2), { status: 'ok' });
  t.ok(started[0]?.aborted);
  ends[0]?.();
  await turn();
  t.equal(door.replies.length, 2, 'what comes too late is no second reply');
});

t.test('at shutdown everybody gets a reply', async (t) => {
  const work = slow('work');
  const swap = slow('swap', { exclusive: true });
  const door = openDoor([work.command, swap.command]);
  for (const name of ['work', 'work', 'swap']) door.send(`request/${name}`);
  const stopped = door.router.stop();
  await door.answered(3);
  t.ok(
    door.replies.every(({ payload }) => payload.status === 'error' && payload.error.code === 'shutting_down'),
  );
  t.ok(work.started[0]?.aborted);
  t.ok(swap.started[0]?.aborted);
  t.equal(work.started.length, 1, 'what waited is not begun');
  swap.ends[0]?.();
  await stopped;
  door.send('request/work');
  t.match(await door.answered(4), { error: { code: 'shutting_down' } });
});

t.test('nothing of all this is a leak to Node', (t) => {
  t.same(warnings, []);
  t.end();
});
