import { EventEmitter } from 'node:events';
import fc from 'fast-check';
import type { MqttClient } from 'mqtt';
import t from 'tap';
import { silentLogger } from '../../src/common/log.js';
import { createDelivery, type Fate } from '../../src/mqtt/delivery.js';
import { createEventCourse } from '../../src/mqtt/event-course.js';
import { createMemoryOutbox } from '../../src/mqtt/outbox.js';
import { packetBytes, type Outgoing } from '../../src/mqtt/outgoing.js';
import { createReplyQueue } from '../../src/mqtt/reply-queue.js';
import { createAsyncRounds, createRounds } from '../../src/mqtt/rounds.js';
import { createSender } from '../../src/mqtt/sender.js';
import { createStateQueue } from '../../src/mqtt/state-queue.js';
import { createSuspects } from '../../src/mqtt/suspects.js';

/* The parts of the sender, each for itself. */

function message(topic: string, text = '', more: Partial<Outgoing> = {}): Outgoing {
  return { topic, text, qos: 1, retain: true, expiresAt: Infinity, isJson: false, ...more };
}

t.test('the newest message of every state is in line until the broker has it', (t) => {
  const step = fc.record({
    do: fc.constantFrom('keep', 'lead', 'once', 'retire', 'forget', 'send', 'restart', 'queueAll'),
    topic: fc.constantFrom('a', 'b', 'c', 'd'),
    taken: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const queue = createStateQueue();
      const newest = new Map<string, Outgoing>();
      let line: string[] = [];
      const delivered: string[] = [];
      const put = (topic: string) => (line = [...line.filter((other) => other !== topic), topic]);
      const putAll = () => {
        const ordered = [...newest.values()].sort(
          (a, b) => Number(b.leads ?? false) - Number(a.leads ?? false),
        );
        for (const { topic } of ordered) if (!line.includes(topic)) put(topic);
      };
      steps.forEach(({ do: what, topic, taken }, number) => {
        const text = String(number);
        if (what === 'keep' || what === 'once' || what === 'lead' || what === 'restart') {
          const made = message(topic, text, {
            ...(what === 'once' && { once: true }),
            ...(what === 'lead' && { leads: true }),
            delivered: () => delivered.push(text),
          });
          newest.set(topic, made);
          if (what === 'restart') {
            queue.restart(made);
            line = [topic];
            putAll();
          } else {
            queue.keep(made);
            if (what === 'lead') line = [topic, ...line.filter((other) => other !== topic)];
            else if (!line.includes(topic)) put(topic);
          }
        } else if (what === 'retire') {
          const last = newest.get(topic);
          const retires = last !== undefined && last.once !== true;
          t.equal(queue.retire(topic), retires);
          if (!retires) return;
          newest.set(topic, { ...last, once: true });
          if (last.leads === true) line = [topic, ...line.filter((other) => other !== topic)];
          else if (!line.includes(topic)) put(topic);
        } else if (what === 'forget') {
          queue.forget(topic);
          newest.delete(topic);
          line = line.filter((other) => other !== topic);
        } else if (what === 'queueAll') {
          queue.queueAll();
          putAll();
        } else {
          const [first] = queue.waiting();
          t.equal(first?.topic, line[0]);
          if (first === undefined) return;
          queue.begin(first);
          line.shift();
          if (!taken) return;
          const before = delivered.length;
          queue.taken(first);
          t.equal(delivered.length, before + 1);
          if (first.once === true) newest.delete(first.topic);
          // A message that a newer one has replaced is nobody's business any more.
          queue.taken({ ...first });
          t.equal(delivered.length, before + 1);
        }
        t.same(
          [...queue.waiting()].map(({ topic, text, once }) => [topic, text, once]),
          line.map((each) => [each, newest.get(each)?.text, newest.get(each)?.once]),
        );
      });
    }),
  );
  t.end();
});

t.test('a line of states may grow while it is gone through', (t) => {
  const queue = createStateQueue();
  queue.keep(message('a'));
  queue.keep(message('b'));
  const seen: string[] = [];
  for (const each of queue.waiting()) {
    seen.push(each.topic);
    queue.begin(each);
    if (each.topic === 'a') queue.keep(message('c', '', { leads: true }));
  }
  t.same(seen, ['a', 'c', 'b']);
  t.end();
});

t.test('replies keep their order and their bounds over connections that break', (t) => {
  const step = fc.record({
    do: fc.constantFrom('add', 'add', 'begin', 'settle', 'drop', 'restart'),
    size: fc.integer({ min: 0, max: 300 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const [maxReplies, maxBytes] = [5, 1000];
      const queue = createReplyQueue({ log: silentLogger, maxReplies, maxBytes });
      let waiting: Outgoing[] = [];
      let gone: Outgoing[] = [];
      let lost = 0;
      for (const { do: what, size } of steps) {
        if (what === 'add') {
          const reply = message('r', 'x'.repeat(size));
          const bytes = waiting.reduce((sum, each) => sum + packetBytes(each), 0);
          const fits = waiting.length < maxReplies && bytes < maxBytes;
          t.equal(queue.add(reply), fits);
          if (fits) waiting.push(reply);
          else lost += 1;
        } else if (what === 'restart') {
          queue.restart();
          waiting = [...gone, ...waiting];
          gone = [];
        } else if (what === 'settle') {
          const settled = gone.shift();
          if (settled !== undefined) queue.settled(settled);
        } else {
          const first = waiting.shift();
          if (first === undefined) continue;
          if (what === 'drop') queue.drop(first);
          else {
            queue.begin(first);
            gone.push(first);
          }
        }
        t.ok([...queue.waiting()].every((each, index) => each === waiting[index]));
        t.same(
          [[...queue.waiting()].length, queue.onTheirWay, queue.lost],
          [waiting.length, gone.length, lost],
        );
      }
    }),
  );
  t.end();
});

/** More than the rounds need, on a busy machine as well. */
async function someTurns(): Promise<void> {
  for (let n = 0; n < 20; n += 1) await new Promise(setImmediate);
}

t.test('work that is asked for while it is done is done once more after it', async (t) => {
  const log: string[] = [];
  let asks = 2;
  const rounds = createRounds(() => {
    log.push('begin');
    for (; asks > 0; asks -= 1) t.equal(rounds(), false);
    log.push('end');
  });
  t.equal(rounds(), true);
  t.same(log, ['begin', 'end', 'begin', 'end']);

  let running = 0;
  let done = 0;
  const failures: unknown[] = [];
  const slow = createAsyncRounds(
    async () => {
      running += 1;
      t.equal(running, 1);
      await new Promise(setImmediate);
      running -= 1;
      done += 1;
      if (done === 2) throw new Error('the disk');
    },
    (error) => failures.push(error),
  );
  for (let n = 0; n < 5; n += 1) slow();
  await someTurns();
  t.same([done, failures.length], [2, 1]);
  slow();
  await someTurns();
  t.same([done, failures.length], [3, 1], 'a failure does not end it for ever');
});

t.test('no event is passed over, and after a refusal none overtakes another', (t) => {
  const fates = fc.array(fc.constantFrom<Fate>('taken', 'refused', 'unfit'), { maxLength: 60 });
  fc.assert(
    fc.property(fates, fc.integer({ min: 1, max: 5 }), (answers, places) => {
      const course = createEventCourse();
      let outbox = [1, 2, 3, 4, 5, 6, 7, 8];
      let refusedLast = false;
      for (let rounds = 0; outbox.length > 0; rounds += 1) {
        if (rounds >= 200) throw new Error('an event never gets its turn');
        const sent = [];
        while (sent.length < places && course.goesOn) {
          const key = outbox.find((each) => each > course.last);
          if (key === undefined) break;
          sent.push(course.handedOver(key));
        }
        t.equal(sent[0]?.key, outbox[0], 'the oldest that waits goes next');
        if (refusedLast) t.equal(sent.length, 1, 'one by one');
        for (const handed of sent) {
          const fate = answers.shift() ?? 'taken';
          course.answered(handed, fate);
          if (fate === 'refused') refusedLast = true;
          else {
            if (handed.alone) refusedLast = false;
            outbox = outbox.filter((key) => key !== handed.key);
          }
        }
        t.equal(course.onTheirWay, 0);
        course.resume();
      }
    }),
  );
  t.end();
});

type Answer = (error?: Error | null, packet?: object) => void;

function createRig(limits: { receiveMaximum?: number; maximumPacketBytes?: number } = {}) {
  const published: { topic: string; answer: Answer }[] = [];
  const log: string[] = [];
  const client = {
    stream: { writableLength: 0 },
    options: { protocolVersion: 5 as const },
    publish: (topic: string, _text: string, _options: object, answer: Answer) => {
      published.push({ topic, answer });
    },
  };
  const suspects = createSuspects({ timing: { holdMs: 1, maxHoldMs: 1 }, familyOf: () => null });
  const delivery = createDelivery({
    client: client as unknown as Parameters<typeof createDelivery>[0]['client'],
    limits: {
      receiveMaximum: Infinity,
      maximumPacketBytes: Infinity,
      maximumQos: 1,
      retainAvailable: true,
      keepaliveSeconds: null,
      ...limits,
    },
    suspects,
    complain: (topic, code) => log.push(`${topic} ${code}`),
    answered: () => log.push('answered'),
    pump: () => log.push('pump'),
  });
  return { client, published, log, suspects, delivery };
}

t.test('a delivery counts what the broker has not answered, and says what became of it', (t) => {
  const { client, published, log, suspects, delivery } = createRig({ receiveMaximum: 2 });
  const settled = (fate: Fate) => log.push(fate);
  delivery.send(message('a'), settled);
  t.notOk(delivery.congested);
  delivery.send(message('b'), settled);
  t.same([delivery.congested, delivery.freePlaces, delivery.places], [true, 0, 2]);
  delivery.send(message('zero', '', { qos: 0 }), settled);
  t.equal(delivery.freePlaces, 0, 'QoS 0 takes no place');
  const [first, second] = published;
  first!.answer(null);
  t.same(log.splice(0), ['answered', 'taken', 'pump']);
  second!.answer(Object.assign(new Error(), { code: 0x87 }));
  t.same(log.splice(0), ['b publish_refused', 'answered', 'refused', 'pump']);
  t.ok(delivery.idle);
  t.equal(suspects.onTheirWay, 1, 'of what is not answered nobody knows whether it has been read');
  client.stream.writableLength = 1024 * 1024;
  t.ok(delivery.clogged && delivery.congested);
  t.end();
});

t.test('what is out of date or too large is not handed over', (t) => {
  const { published, log, delivery } = createRig({ maximumPacketBytes: 100 });
  const settled = (fate: Fate) => log.push(fate);
  const old = message('old', '', { expiresAt: performance.now() - 1 });
  const large = message('large', 'x'.repeat(100));
  for (const each of [old, large]) {
    t.notOk(delivery.goesOut(each));
    delivery.send(each, settled);
  }
  t.same(log, ['taken', 'large too_large', 'unfit']);
  t.same(published, []);
  t.ok(delivery.idle);
  t.end();
});

t.test('a connection that is gone, or breaks, settles nothing', (t) => {
  const { published, log, delivery } = createRig();
  const settled = (fate: Fate) => log.push(fate);
  delivery.send(message('a'), settled);
  delivery.send(message('b'), settled);
  published[0]!.answer(new Error('Connection closed'));
  delivery.end();
  published[1]!.answer(null);
  t.same(log, []);
  t.end();
});

t.test('what is live has QoS 1 only as far as the broker grants it, and keeps its order', (t) => {
  const published: { topic: string; text: string; qos: number; answer: () => void }[] = [];
  const client = Object.assign(new EventEmitter(), {
    connected: true,
    options: { protocolVersion: 5 },
    stream: Object.assign(new EventEmitter(), { writableLength: 0 }),
    publish: (topic: string, text: string, { qos }: { qos: number }, answer: Answer) =>
      void published.push({ topic, text, qos, answer: () => answer(null) }),
  });
  const sender = createSender({
    outbox: createMemoryOutbox({ limit: 1 }),
    eventTopic: 'event',
    refusedEventMs: 1,
    suspects: createSuspects({ timing: { holdMs: 1, maxHoldMs: 1 }, familyOf: () => null }),
    log: silentLogger,
  });
  const live = (text: string, qos: 0 | 1) => sender.transient(message('live', text, { qos, retain: false }));
  live('too early', 1);
  const limits = {
    receiveMaximum: 2,
    maximumPacketBytes: Infinity,
    maximumQos: 1 as const,
    retainAvailable: true,
    keepaliveSeconds: null,
  };
  sender.begin(client as unknown as MqttClient, limits, message('status', 'online'));
  for (const text of ['a', 'b', 'c', 'd']) live(text, 1);
  live('at once', 0);
  t.same(
    published.map(({ text }) => text),
    ['online', 'a', 'at once'],
  );
  for (let at = 0; at < published.length; at += 1) {
    const onTheirWay = published.slice(at).filter(({ qos }) => qos === 1);
    t.ok(onTheirWay.length <= 2, `${onTheirWay.length} on their way`);
    published[at]!.answer();
  }
  t.same(
    published.flatMap(({ topic, qos, text }) => (topic === 'live' && qos === 1 ? text : [])),
    ['a', 'b', 'c', 'd'],
  );
  sender.end();
  live('too late', 1);
  sender.begin(client as unknown as MqttClient, limits, message('status', 'online'));
  t.notOk(published.some(({ text }) => text.startsWith('too')));
  t.end();
});
