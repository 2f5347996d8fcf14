import fc from 'fast-check';
import t from 'tap';
import { createOnTheirWay, type HandedOver } from '../../src/mqtt/on-their-way.js';
import { createSuspects, type Hold, type Suspects } from '../../src/mqtt/suspects.js';

const timing = { holdMs: 1000, maxHoldMs: 3000 };
const familyOf = (topic: string) => /^(B\/label)\//.exec(topic)?.[1] ?? null;

interface Message {
  topic: string;
  bytes: number;
  /** Acknowledged; else read without a word. */
  answered: boolean;
}

/**
 * One connection to a broker that ends it at the first message that it does not like. Sends as the sender does: what
 * is free first, several at a time, then what is suspected, one by one. Returns what the broker has taken.
 */
function session(
  suspects: Suspects,
  messages: readonly Message[],
  likes: (message: Message) => boolean,
): { taken: Message[]; ended: boolean; held: Hold | null; suspected: boolean } {
  const taken: Message[] = [];
  const end = () => ({ taken, ended: true, ...suspects.ended({ byBroker: true, told: false }) });
  const verdict = ({ topic, bytes }: Message) => suspects.verdict(topic, bytes);
  const free = messages.filter((message) => verdict(message) === 'free');
  const handed = free.map((message) => suspects.handedOver(message.topic, message.bytes, message.answered));
  for (const [index, message] of free.entries()) {
    if (!likes(message)) return end();
    taken.push(message);
    if (message.answered) suspects.answered(handed[index]!);
  }
  suspects.readUpTo(suspects.lastHanded);
  const alone = messages.filter((message) => !free.includes(message) && verdict(message) === 'alone');
  alone.sort((a, b) => suspects.strikes(b.topic) - suspects.strikes(a.topic) || a.bytes - b.bytes);
  for (const message of alone) {
    if (verdict(message) !== 'alone') continue;
    const number = suspects.handedOver(message.topic, message.bytes, message.answered);
    if (!likes(message)) return end();
    taken.push(message);
    if (message.answered) suspects.answered(number);
    else suspects.readUpTo(number);
  }
  return { taken, ended: false, held: null, suspected: false };
}

const topics = [
  'B/status',
  'B/state',
  'B/info',
  'B/tags',
  'B/level',
  'B/event',
  'x/device/config',
  'subscribe B/+/set',
];

t.test('whatever a broker ends connections for is found, and all else gets through', (t) => {
  const message = fc.record({
    bytes: fc.integer({ min: 10, max: 200_000 }),
    answered: fc.boolean(),
    bad: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.tuple(...topics.map(() => message)),
      fc.option(fc.integer({ min: 2048, max: 150_000 }), { nil: Infinity }),
      (drawn, limit) => {
        const suspects = createSuspects({ timing, familyOf, now: () => 0 });
        const messages = topics.map((topic, index) => ({ topic, ...drawn[index]! }));
        const likes = ({ topic, bytes }: Message) =>
          bytes <= limit && !messages.some((one) => one.topic === topic && one.bad);
        const culprits = messages.filter((one) => !likes(one)).length;
        for (let n = 0; ; n += 1) {
          const { taken, ended } = session(suspects, messages, likes);
          if (!ended) {
            const missing = messages.filter((one) => likes(one) && !taken.includes(one));
            return missing.length === 0;
          }
          if (n > 2 * culprits + 1) throw new Error(`${culprits} culprits, and still no peace`);
        }
      },
    ),
    { numRuns: 500 },
  );
  t.end();
});

t.test('a network that breaks at any moment leaves nothing held for good', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 30 }), (breaks) => {
      let at = 0;
      const suspects = createSuspects({ timing, familyOf, now: () => at });
      const messages = topics.map((topic) => ({ topic, bytes: 100, answered: true }));
      for (const [index, message] of breaks.entries()) {
        let left = message;
        session(suspects, messages, () => (left -= 1) > 0);
        at = index;
      }
      at += timing.maxHoldMs;
      const { taken, ended } = session(suspects, messages, () => true);
      return !ended && taken.length === topics.length && !suspects.any;
    }),
    { numRuns: 500 },
  );
  t.end();
});

t.test('one hold', (t) => {
  let at = 0;
  const suspects = createSuspects({ timing, familyOf, now: () => at });
  const bad = { topic: 'B/info', bytes: 9000, answered: true };
  const rest = ['B/status', 'B/state'].map((topic) => ({ topic, bytes: 300, answered: true }));
  const likes = ({ bytes }: Message) => bytes <= 8000;
  const run = () => session(suspects, [bad, ...rest], likes);
  t.match(run(), { ended: true, held: null, suspected: true });
  t.match(run(), { ended: true, held: null });
  t.match(run(), {
    ended: true,
    taken: rest,
    held: { topic: 'B/info', bytes: 9000, ends: 2, maybeSize: true, forMs: 1000 },
  });
  t.match(run(), { ended: false, taken: rest });
  t.equal(suspects.nextTrialMs(), 1000);
  t.equal(suspects.safeBytes, 2048, 'so much is taken everywhere');
  t.equal(suspects.verdict('B/info', 9000), 'held');
  t.equal(suspects.verdict('B/info', 2000), 'alone', 'a smaller one may be another matter');
  t.equal(suspects.verdict('B/other', 9500), 'alone', 'and one as large elsewhere may be the same');
  t.equal(suspects.verdict('B/other', 5000), 'free');

  at = 1000;
  t.equal(suspects.verdict('B/info', 9000), 'alone', 'after a while it is tried again');
  t.match(run(), { ended: true, held: { ends: 3, forMs: 2000 } }, 'once, and then held for longer');
  at = 3000;
  t.match(
    session(suspects, [bad], () => true),
    { ended: false, taken: [bad] },
  );
  t.equal(suspects.any, false, 'what the broker takes is held no more');
  t.equal(suspects.safeBytes, Infinity);
  t.end();
});

t.test('a topic that is refused at any size is held at any size', (t) => {
  const suspects = createSuspects({ timing, familyOf, now: () => 0 });
  const big = { topic: 'x/device/config', bytes: 30_000, answered: true };
  const likes = ({ topic }: Message) => topic !== big.topic;
  for (let n = 0; n < 2; n += 1) session(suspects, [big], likes);
  t.equal(suspects.safeBytes, 2048);
  const small = { ...big, bytes: 1900 };
  t.match(session(suspects, [small], likes), { ended: true, held: null });
  t.equal(suspects.safeBytes, 2048, 'one end is no proof');
  t.match(session(suspects, [small], likes), { held: { maybeSize: false } });
  t.equal(suspects.verdict(big.topic, 100), 'held');
  t.equal(suspects.safeBytes, Infinity, 'the size was not the reason');
  t.end();
});

t.test('topics that are alike are held together, unless one of them is taken', (t) => {
  for (const someTaken of [false, true]) {
    let at = 0;
    const suspects = createSuspects({ timing, familyOf, now: () => at });
    const labels = Array.from({ length: 50 }, (_, n) => ({
      topic: `B/label/l${n}`,
      bytes: 40,
      answered: true,
    }));
    const likes = ({ topic }: Message) => someTaken && topic !== 'B/label/l7';
    let connections = 0;
    let last: Hold | null = null;
    for (let ended = true; ended && connections < 200; connections += 1) {
      const result = session(suspects, labels, likes);
      ended = result.ended;
      last = result.held ?? last;
    }
    t.equal(last?.topic, someTaken ? 'B/label/l7' : 'B/label/#');
    t.ok(connections < 10, `${connections} connections`);
    t.equal(suspects.verdict('B/label/l49', 40), someTaken ? 'free' : 'held');
    at = 1000;
    t.equal(suspects.verdict('B/label/l7', 40), 'alone');
    t.match(
      session(suspects, labels, likes),
      { ended: true, held: { topic: last?.topic } },
      'tried once more',
    );
    t.equal(suspects.verdict('B/label/l7', 40), 'held');
    at = 4000;
    session(suspects, labels, () => true);
    t.equal(suspects.any, false);
  }
  t.end();
});

t.test('ends that the broker did not bring about say nothing, a reason that it gives says more', (t) => {
  const suspects = createSuspects({ timing, familyOf, now: () => 0 });
  const end = (byBroker: boolean, told: boolean) => {
    suspects.handedOver('B/info', 100, true);
    return suspects.ended({ byBroker, told });
  };
  t.same(end(false, false), { suspected: false, held: null });
  t.equal(suspects.any, false);
  t.match(end(true, true), { held: { topic: 'B/info', ends: 1 } });
  t.same(
    suspects.ended({ byBroker: true, told: false }),
    { suspected: false, held: null },
    'nothing on its way',
  );
  t.end();
});

t.test('an answer speaks for all that went before it and is not answered itself', (t) => {
  const messages = fc.array(
    fc.record({ topic: fc.constantFrom('a', 'b', 'c'), bytes: fc.nat(9), answered: fc.boolean() }),
    { minLength: 1, maxLength: 12 },
  );
  fc.assert(
    fc.property(messages, fc.nat(11), fc.boolean(), (all, place, byAnswer) => {
      const taken: HandedOver[] = [];
      const line = createOnTheirWay((message) => taken.push(message));
      const numbers = all.map((message) => line.add(message));
      t.equal(line.last, all.length);
      const at = place % all.length;
      if (byAnswer && all[at]!.answered) line.answered(numbers[at]!);
      else line.readUpTo(numbers[at]!);
      const isLastOfTopic = (index: number) =>
        !all.some((other, n) => n > index && !other.answered && other.topic === all[index]!.topic);
      const kept = all.filter((message, index) => message.answered || isLastOfTopic(index));
      const read = all.filter(
        (message, index) =>
          (index <= at && !message.answered && isLastOfTopic(index)) ||
          (index === at && message.answered && byAnswer),
      );
      t.same(new Set(taken), new Set(read));
      t.equal(line.size, kept.length - read.length);
      t.equal(
        line.unansweredOnly,
        line.size > 0 && kept.every((each) => read.includes(each) || !each.answered),
      );
      t.equal(line.takeAll().length, kept.length - read.length);
      t.equal(line.size, 0);
    }),
  );
  t.end();
});
