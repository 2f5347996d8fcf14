import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { silentLogger } from '../../src/common/log.js';
import { isoTime, type EventPayload } from '../../src/mqtt/contract.js';
import { openDiskOutbox } from '../../src/mqtt/disk-outbox.js';
import { createLateness } from '../../src/mqtt/lateness.js';
import { createMemoryOutbox, type Outbox, type OutboxEntry } from '../../src/mqtt/outbox.js';
import { bytesOf } from '../../src/mqtt/outbox-store.js';
import { createUnended } from '../../src/mqtt/unended.js';
import { endWith, eventWith } from '../support/events.js';

/* The outbox against a list: whatever is done to it, it holds what the list holds, in the same order. */

/** In the future, so that a sound that is ended by the next life has lasted 0 s, whatever the clock says. */
const STARTED_AT = Date.parse('2100-01-01T00:00:00.000Z');

type Step =
  | { do: 'append'; events: number; ended: boolean }
  | { do: 'remove'; which: number }
  | { do: 'markLate' | 'reopen' | 'crash' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      events: fc.integer({ min: 1, max: 4 }),
      ended: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('remove' as const), which: fc.nat({ max: 3 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('markLate', 'reopen', 'crash') }) },
);

interface Held {
  place: number;
  event: EventPayload;
  bytes: number;
}

/** What an outbox ought to hold. */
function createModel(maxBytes: number) {
  let held: Held[] = [];
  /** Removed, but only in memory yet. */
  let limbo: Held[] = [];
  let places = 0;
  let dropped = 0;
  const open = new Map<string, EventPayload>();
  const model = {
    open,
    get events() {
      return held.map(({ event }) => event);
    },
    get dropped() {
      return dropped;
    },
    append(event: EventPayload) {
      if (event.event_type === 'started') open.set(event.id, event);
      else open.delete(event.id);
      places += 1;
      held.push({ place: places, event, bytes: bytesOf(JSON.stringify(event)) });
      limbo = [];
      while (held.reduce((sum, { bytes }) => sum + bytes, 0) > maxBytes) {
        held.shift();
        dropped += 1;
      }
    },
    /** The n-th of them, where there is one. */
    remove(n: number) {
      limbo.push(...held.splice(n, 1));
    },
    markLate() {
      held = held.map((item) => ({ ...item, event: { ...item.event, late: true } }));
    },
    nextLife(crashed: boolean) {
      if (crashed) held = [...held, ...limbo].sort((a, b) => a.place - b.place);
      limbo = [];
      dropped = 0;
      model.markLate();
      for (const started of [...open.values()].sort((a, b) => (a.id < b.id ? -1 : 1))) {
        model.append({ ...endWith(started, 0), late: true });
      }
    },
  };
  return model;
}

async function everything(outbox: Outbox): Promise<readonly OutboxEntry[]> {
  return outbox.read(-Infinity, 10_000);
}

t.test('the outbox on the disk holds what a list would hold', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'soundpost-outbox-'));
  t.teardown(() => rm(root, { recursive: true, force: true }));
  let folders = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 900, max: 6000 }),
      fc.array(step, { maxLength: 40 }),
      async (maxBytes, steps) => {
        folders += 1;
        let folder = join(root, String(folders));
        const start = () =>
          openDiskOutbox({
            folder,
            maxBytes,
            log: silentLogger,
            tuning: { removeAfterMs: 60_000 },
            now: () => 1_700_000_000_500,
          });
        let outbox = await start();
        let ids = 0;
        const model = createModel(maxBytes);
        for (const now of steps) {
          if (now.do === 'append') {
            const made: EventPayload[] = [];
            for (let n = 0; n < now.events; n += 1) {
              const [open] = [...model.open.values()];
              ids += 1;
              const started_at = isoTime(STARTED_AT + ids);
              const event =
                now.ended && open !== undefined
                  ? endWith(open, 0)
                  : eventWith({ id: `event-${String(ids).padStart(4, '0')}`, started_at });
              made.push(event);
              model.append(event);
            }
            await Promise.all(made.map((event) => outbox.append(event)));
          } else if (now.do === 'remove') {
            const entry = (await outbox.read(-Infinity, 4))[now.which];
            model.remove(now.which);
            if (entry !== undefined) {
              await outbox.remove(entry.key);
              await outbox.remove(entry.key);
            }
          } else if (now.do === 'markLate') {
            outbox.markLate();
            model.markLate();
          } else {
            const crashed = now.do === 'crash';
            const next = join(root, `${folders}-${Math.random()}`);
            // What is in the files now is what a killed process leaves.
            if (crashed) await cp(folder, next, { recursive: true });
            await outbox.close();
            if (crashed) {
              await rm(folder, { recursive: true });
              folder = next;
            }
            outbox = await start();
            model.nextLife(crashed);
          }
          const held = await everything(outbox);
          t.strictSame(
            held.map(({ event }) => event),
            model.events,
          );
          t.strictSame(outbox.counters(), { queued: model.events.length, dropped: model.dropped });
          const middle = held[Math.floor(held.length / 2)];
          if (middle !== undefined) {
            const rest = held.filter(({ key }) => key > middle.key);
            t.strictSame(await outbox.read(middle.key, 2), rest.slice(0, 2));
          }
        }
        await outbox.close();
      },
    ),
    { numRuns: 60 },
  );
});

t.test('the outbox in memory gives back what it was given, as long as there is room', async (t) => {
  const outbox = createMemoryOutbox({ limit: 3 });
  for (let n = 1; n <= 4; n += 1) await outbox.append(eventWith({ id: String(n) }));
  outbox.markLate();
  await outbox.append(eventWith({ id: '5' }));
  const held = await everything(outbox);
  t.match(
    held.map(({ event }) => event),
    [
      { id: '3', late: true },
      { id: '4', late: true },
      { id: '5', late: false },
    ],
  );
  await outbox.remove(held[1]!.key);
  t.match(await outbox.read(held[0]!.key, 9), [{ event: { id: '5' } }]);
  t.strictSame(outbox.counters(), { queued: 2, dropped: 2 });
});

t.test('an event that a connected broker leaves lying becomes late', (t) => {
  let now = 0;
  const lateness = createLateness(() => now);
  lateness.appended(1);
  now = 900;
  lateness.appended(2);
  now = 5000;
  lateness.appended(3);
  now = 9999;
  t.notOk(lateness.has(1));
  now = 11_000;
  t.ok(lateness.has(1));
  t.ok(lateness.has(2));
  t.notOk(lateness.has(3));
  lateness.upTo(3);
  t.ok(lateness.has(3));
  t.notOk(lateness.has(4));
  t.end();
});

t.test('the store learns of every sound that has begun and not ended, whatever fails', (t) => {
  type Outcome = 'done' | 'failed' | 'failed but arrived';
  type Move =
    | { do: 'begin' | 'end' | 'leave'; which: number }
    /** `leaving`: these leave memory while the write is on its way. */
    | { do: 'write'; events: number; leaving: number[]; how: Outcome };
  const which = fc.nat({ max: 5 });
  const move: fc.Arbitrary<Move> = fc.oneof(
    fc.record({ do: fc.constantFrom<'begin' | 'end' | 'leave'>('begin', 'end', 'leave'), which }),
    fc.record({
      do: fc.constant('write' as const),
      events: fc.nat({ max: 3 }),
      leaving: fc.array(which, { maxLength: 2 }),
      how: fc.constantFrom<Outcome>('done', 'failed', 'failed but arrived'),
    }),
  );
  fc.assert(
    fc.property(fc.array(move, { maxLength: 40 }), (moves) => {
      const unended = createUnended();
      const store = new Set<string>(['earlier']);
      unended.found('earlier');
      let waiting: EventPayload[] = [endWith(eventWith({ id: 'earlier' }), 0)];
      const on: EventPayload[] = [];
      let ids = 0;
      /** Written already by a write that failed, and to be written again. */
      const repeated = new Set<string>();
      const leave = (n: number) => {
        for (const event of waiting.splice(n, 1)) unended.left(event, '');
      };
      const write = (events: number, leaving: readonly number[], how: Outcome) => {
        const batch = waiting.slice(0, events);
        const owed = unended.owed();
        const changes = [...owed, ...batch.flatMap((event) => unended.changesOf(event, ''))];
        for (const n of leaving) leave(n);
        if (how !== 'failed') {
          for (const change of changes) {
            if ('begin' in change) store.add(change.begin);
            else if ('end' in change) store.delete(change.end);
          }
        }
        if (how === 'failed but arrived') for (const { id } of batch) repeated.add(id);
        if (how !== 'done') return;
        unended.paid(owed);
        for (const event of batch) unended.wrote(event);
        waiting = waiting.filter((event) => !batch.includes(event));
      };
      for (const now of moves) {
        if (now.do === 'write') write(now.events, now.leaving, now.how);
        else if (now.do === 'begin') {
          ids += 1;
          const event = eventWith({ id: String(ids) });
          on.push(event);
          waiting.push(event);
          unended.came(event);
        } else if (now.do === 'end') {
          for (const event of on.splice(now.which, 1)) {
            waiting.push(endWith(event, 1));
            unended.came(endWith(event, 1));
          }
        } else leave(now.which);
      }
      for (let left = waiting.length; left > 0; left -= 1) {
        write(1, [], 'done');
        // A crash now: what has begun for the store or for the broker is ended, and nothing else.
        const halves = (type: string) =>
          waiting.filter((event) => event.event_type === type).map(({ id }) => id);
        const begun = new Set([...on.map(({ id }) => id), ...halves('ended')]);
        t.strictSame(
          [...store].filter((id) => !begun.has(id)),
          [],
        );
        for (const id of halves('started')) begun.delete(id);
        t.strictSame(
          [...begun].filter((id) => !store.has(id) && !repeated.has(id)),
          [],
        );
      }
      write(0, [], 'done');
      t.strictSame([...store].sort(), on.map(({ id }) => id).sort());
      t.notOk(unended.owes);
      t.equal(unended.any, on.length > 0);
    }),
    { numRuns: 500 },
  );
  t.end();
});
