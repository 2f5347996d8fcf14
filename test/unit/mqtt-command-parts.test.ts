import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import { z } from 'zod';
import { SoundpostError, codeOf } from '../../src/common/errors.js';
import { createExclusiveLane, createOrdinaryLane, MAX_WAITING } from '../../src/mqtt/command-lanes.js';
import { checkRequest, MAX_REQUEST_BYTES } from '../../src/mqtt/command-request.js';
import { execute, type Job, type Outcome } from '../../src/mqtt/command-run.js';
import { defineCommand, type CommandContext } from '../../src/mqtt/command.js';
import { createTopics } from '../../src/mqtt/topics.js';

/* The parts of the door for commands, each for itself. */

const spec = { description: 'A test.', schema: z.object({}), result: z.object({}) };

/** A job and what became of it. */
function jobOf(run: (context: CommandContext) => object | Promise<object>, more: Partial<Job['work']> = {}) {
  const outcomes: Outcome[] = [];
  const job: Job = {
    command: { name: 'test', timeoutMs: 10_000 },
    work: { run, ...more },
    answer: (outcome) => outcomes.push(outcome),
  };
  const code = () => {
    const [outcome] = outcomes;
    if (outcome === undefined) return null;
    return 'error' in outcome ? codeOf(outcome.error) : 'ok';
  };
  return { job, outcomes, code };
}

const never = () => new Promise<object>(() => undefined);

t.test('a reply knows what was read of a request before its fault', (t) => {
  const topics = createTopics('soundpost', 'test');
  const known = defineCommand('known', spec, () => ({}));
  const rules = { commands: new Map([['known', known]]), topics, foreignResponseTopics: false };
  const request = fc.record({
    name: fc.constantFrom('known', 'unknown'),
    size: fc.constantFrom(0, MAX_REQUEST_BYTES),
    retain: fc.boolean(),
    transaction: fc.constantFrom(undefined, 7, 'seven', true),
    responseTopic: fc.constantFrom(
      undefined,
      'soundpost/test/response/me',
      'elsewhere/me',
      'soundpost/test/request/known',
    ),
  });
  fc.assert(
    fc.property(request, ({ name, size, retain, transaction, responseTopic }) => {
      const payload = Buffer.from(JSON.stringify({ transaction, pad: 'x'.repeat(size) }));
      const message = { topic: '', payload, retain, responseTopic };
      const { found, ...checked } = checkRequest(message, { name, form: 'request' }, rules);
      // In the order in which they are looked at.
      const faults = [
        [responseTopic === 'soundpost/test/request/known', 'invalid_response_topic'],
        [size > 0, 'too_large'],
        [transaction === true, 'invalid_request'],
        [retain, 'retained'],
        [name === 'unknown', 'unknown_command'],
      ] as const;
      const [fault] = faults.filter(([is]) => is);
      t.equal('error' in found ? codeOf(found.error) : undefined, fault?.[1]);
      const isReplyTopic = responseTopic === 'soundpost/test/response/me';
      t.equal(checked.respondTo, isReplyTopic ? responseTopic : undefined);
      const wasRead = fault === undefined || fault[1] === 'retained' || fault[1] === 'unknown_command';
      t.equal(checked.transaction, wasRead ? transaction : undefined);
      if ('input' in found) t.same([found.command, found.input], [known, { pad: '' }]);
    }),
  );
  t.end();
});

t.test(
  'a job that listens to no signal is answered when its time is over, and settled when it comes back',
  async (t) => {
    const stopping = new AbortController();
    let finish: (data: object) => void = () => undefined;
    let signal: AbortSignal | undefined;
    const { job, code, outcomes } = jobOf((context) => {
      ({ signal } = context);
      return new Promise<object>((resolve) => (finish = resolve));
    });
    const running = execute(
      { ...job, command: { name: 'test', timeoutMs: 10 } },
      stopping.signal,
      () => undefined,
    );
    await running.answered;
    t.equal(code(), 'timeout');
    t.ok(signal?.aborted);
    let settled = false;
    void running.settled.then(() => (settled = true));
    await turn();
    t.notOk(settled);
    finish({});
    await running.settled;
    t.equal(outcomes.length, 1);
  },
);

t.test('at a stop, what is done within the grace is told as it is, and the rest called off', async (t) => {
  const stopping = new AbortController();
  const quick = jobOf(async ({ signal }) => {
    while (!signal.aborted) await turn();
    return { done: true };
  });
  const slow = jobOf(never);
  const throwing = jobOf(async ({ signal }) => {
    while (!signal.aborted) await turn();
    throw new Error('aborted');
  });
  const all = [quick, slow, throwing].map(
    ({ job }) => execute(job, stopping.signal, () => undefined).answered,
  );
  stopping.abort();
  await Promise.all(all);
  t.same([quick.code(), slow.code(), throwing.code()], ['ok', 'shutting_down', 'shutting_down']);
  const late = jobOf(() => {
    t.fail('it runs after the stop');
    return {};
  });
  await execute(late.job, stopping.signal, () => undefined).settled;
  t.equal(late.code(), 'shutting_down');
});

t.test('what follows a reply is done after it, and after an ok only', async (t) => {
  const log: string[] = [];
  const run =
    (fails: boolean) =>
    ({ afterReply }: CommandContext) => {
      afterReply(() => log.push('after'));
      afterReply(() => {
        throw new Error('mine');
      });
      if (fails) throw new SoundpostError('busy', 'No.');
      return {};
    };
  for (const fails of [false, true]) {
    const { job } = jobOf(run(fails));
    const told = { ...job, answer: () => log.push('reply') };
    await execute(told, new AbortController().signal, (name) => log.push(`${name} failed`)).settled;
  }
  t.same(log, ['reply', 'after', 'test failed', 'reply']);
});

t.test('the exclusive lane lets nobody in before the last one has really ended', async (t) => {
  const tracked = new Set<Promise<void>>();
  const stopping = new AbortController();
  const ends: (() => void)[] = [];
  const lane = createExclusiveLane({
    // Answered at once, as after a time limit, and settled later.
    execute: ({ answer }) => {
      answer({ data: {} });
      return { answered: Promise.resolve(), settled: new Promise<void>((resolve) => ends.push(resolve)) };
    },
    stopping: stopping.signal,
    track: (work) => tracked.add(work),
  });
  const refusing = jobOf(never, { admit: () => Promise.reject(new SoundpostError('disk_full', 'No room.')) });
  lane.take(refusing.job);
  const [first, second, third] = [
    jobOf(never),
    jobOf(never, { admit: () => Promise.resolve() }),
    jobOf(never),
  ];
  lane.take(first.job);
  await turn();
  lane.take(second.job);
  await turn();
  t.same([refusing.code(), first.code(), second.code()], ['disk_full', 'ok', 'busy']);
  ends[0]!();
  await turn();
  lane.take(third.job);
  t.equal(third.code(), 'ok');
  ends[1]!();
  await turn();
  const hanging = jobOf(never, { admit: () => new Promise(() => undefined) });
  lane.take(hanging.job);
  stopping.abort();
  await turn();
  t.equal(hanging.code(), 'shutting_down', 'a look that hangs does not hold up the stop');
});

t.test('the ordinary lane keeps the order, and refuses what is too much', async (t) => {
  const begun: number[] = [];
  const lane = createOrdinaryLane({
    execute: (job) => execute(job, new AbortController().signal, () => undefined),
    stopping: new AbortController().signal,
    track: () => undefined,
  });
  const jobs = Array.from({ length: MAX_WAITING + 3 }, (_, n) =>
    jobOf(async () => {
      begun.push(n);
      await delay(1);
      return {};
    }),
  );
  for (const { job } of jobs) lane.take(job);
  // The first one runs; so many wait behind it.
  t.same(
    jobs.slice(-2).map(({ code }) => code()),
    ['busy', 'busy'],
  );
  while (jobs.some(({ code }) => code() === null)) await delay(1);
  t.same(
    begun,
    jobs.slice(0, -2).map((_, n) => n),
  );
});
