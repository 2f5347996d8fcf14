import fc from 'fast-check';
import t from 'tap';
import { silentLogger } from '../../src/common/log.js';
import type { EventPayload } from '../../src/mqtt/contract.js';
import { createEventKeys } from '../../src/mqtt/event-keys.js';
import { createGroupWriter } from '../../src/common/group-writer.js';
import { createLateness } from '../../src/mqtt/lateness.js';
import { writeBatch } from '../../src/mqtt/outbox-batch.js';
import { createLedger } from '../../src/mqtt/outbox-ledger.js';
import { bytesOf, type Change, type OutboxStore } from '../../src/mqtt/outbox-store.js';
import { createStoreKeeper } from '../../src/mqtt/store-keeper.js';
import { createUnended } from '../../src/mqtt/unended.js';
import { createWaitingEvents } from '../../src/mqtt/waiting-events.js';
import { eventWith } from '../support/events.js';

/* The parts of the outbox on a disk, each for itself. */

/** A store without a disk. `broken`: it writes nothing. */
function createFakeStore() {
  const events = new Map<number, string>();
  const fake = {
    events,
    broken: false,
    closed: 0,
    get bytes() {
      return [...events.values()].reduce((sum, text) => sum + bytesOf(text), 0);
    },
    write(changes: readonly Change[]): Promise<void> {
      if (fake.broken) return Promise.reject(new Error('no room'));
      for (const change of changes) {
        if ('put' in change) events.set(change.put.key, change.put.text);
        if ('remove' in change) events.delete(change.remove);
      }
      return Promise.resolve();
    },
    read: (after: number, limit: number) =>
      Promise.resolve(
        [...events]
          .filter(([key]) => key > after)
          .slice(0, limit)
          .map(([key, text]) => ({ key, text })),
      ),
    close() {
      fake.closed += 1;
      return Promise.resolve();
    },
  };
  return fake;
}

const asStore = (fake: ReturnType<typeof createFakeStore>) => fake as unknown as OutboxStore;

t.test('writes keep to the room, and the books say what is on the disk', async (t) => {
  const step = fc.record({
    do: fc.constantFrom('put', 'put', 'put', 'write', 'write', 'fail', 'remove'),
    size: fc.integer({ min: 0, max: 400 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const store = createFakeStore();
      const [waiting, ledger, unended] = [createWaitingEvents(), createLedger(), createUnended()];
      const maxBytes = 6000;
      let [key, thrownOut, acknowledged] = [0, 0, 0];
      for (const { do: what, size } of steps) {
        if (what === 'put') {
          key += 1;
          waiting.put(key, eventWith({ id: String(key), label: 'x'.repeat(size) }), () => undefined);
        } else if (what === 'remove') {
          const first = [...store.events].find(([each]) => !ledger.isAcknowledged(each));
          if (first === undefined) continue;
          ledger.acknowledged([first[0], bytesOf(first[1])]);
          acknowledged += 1;
        } else {
          store.broken = what === 'fail';
          const before = [ledger.queued, ledger.bytes, ledger.owed, waiting.size];
          const sources = { waiting, ledger, unended, maxBytes, now: () => 0 };
          const onThrownOut = () => (thrownOut += 1);
          const written = writeBatch(asStore(store), { ...sources, onThrownOut });
          if (what === 'fail') {
            await t.rejects(written);
            t.same([ledger.queued, ledger.bytes, ledger.owed, waiting.size], before);
            continue;
          }
          await written;
          t.equal(ledger.owed, 0);
          t.equal(store.events.size, ledger.queued);
          t.equal(store.bytes, ledger.bytes);
          t.ok(store.bytes <= maxBytes);
          t.ok([...store.events.keys()].every((each) => each > ledger.floor && each <= ledger.lastKey));
        }
        t.equal(ledger.queued + waiting.size + acknowledged + thrownOut, key, 'each event is in one place');
      }
    }),
    { numRuns: 60 },
  );
});

t.test('an event that is acknowledged while it is thrown out is no loss', async (t) => {
  const store = createFakeStore();
  const [waiting, ledger, unended] = [createWaitingEvents(), createLedger(), createUnended()];
  const thrownOut: [number, boolean][] = [];
  const sources = {
    waiting,
    ledger,
    unended,
    maxBytes: 800,
    now: () => 0,
    onThrownOut: (key: number, delivered: boolean) => thrownOut.push([key, delivered]),
  };
  for (const key of [1, 2]) {
    waiting.put(key, eventWith({ id: String(key) }), () => undefined);
    await writeBatch(asStore(store), sources);
  }
  waiting.put(3, eventWith({ id: '3', label: 'x'.repeat(400) }), () => undefined);
  const slow = {
    ...store,
    write(changes: readonly Change[]) {
      ledger.acknowledged([1, bytesOf(store.events.get(1)!)]);
      return store.write(changes);
    },
  };
  await writeBatch(asStore(slow), sources);
  t.same(thrownOut, [
    [1, true],
    [2, false],
  ]);
  t.same([ledger.queued, ledger.owed], [1, 0]);
});

t.test(
  'writes follow each other, together where they come together, and a slow one is told of',
  async (t) => {
    let owed = 0;
    let running = 0;
    const writes: number[] = [];
    const failures: string[] = [];
    let delayMs = 0;
    const writer = createGroupWriter({
      next: () =>
        owed === 0
          ? null
          : async () => {
              const mine = owed;
              owed = 0;
              running += 1;
              t.equal(running, 1);
              await new Promise((resolve) => setTimeout(resolve, delayMs));
              running -= 1;
              writes.push(mine);
              if (mine === 3) throw new Error('no room');
            },
      patienceMs: 50,
      fail: (error) => failures.push((error as Error).message),
    });
    for (let n = 0; n < 5; n += 1) {
      owed += 1;
      void writer.write();
    }
    await new Promise(setImmediate);
    owed += 1;
    await writer.write();
    t.same(writes, [5, 1]);
    owed = 3;
    await writer.write();
    t.same(failures, ['no room']);
    delayMs = 120;
    owed = 1;
    await writer.write();
    t.same(failures, ['no room', 'it takes longer than 0.05 s']);
    t.same(writes, [5, 1, 3, 1], 'the slow one is waited for all the same');
    await writer.idle();
    t.equal(running, 0);
  },
);

t.test(
  'what an earlier life has left comes first, and keys that were read before still find their events',
  (t) => {
    const [waiting, unended] = [createWaitingEvents(), createUnended()];
    const made: EventPayload[] = [];
    const keys = createEventKeys({
      waiting,
      unended,
      lateness: createLateness(),
      onMadeEnd: (event) => made.push(event),
    });
    keys.append(eventWith({ id: 'new' }), () => undefined);
    const provisional = keys.last;
    keys.markLate();
    const started = [eventWith({ id: 'old' })];
    keys.continueFrom(
      {
        found: { events: 3, bytes: 900, lastKey: 7 },
        leftOver: () => ({ started, aliveAt: Date.parse(started[0]!.started_at) + 1000 }),
      },
      Date.parse('2024-01-01T00:00:00Z'),
    );
    const [end, own] = waiting.after(-Infinity, 10);
    t.strictSame(
      made.map(({ id, event_type: type }) => [id, type]),
      [['old', 'ended']],
      'who keeps events hears of it',
    );
    t.match(end, [8, { event: { id: 'old', event_type: 'ended', duration_s: 1, late: true } }]);
    t.match(own, [9, { event: { id: 'new', event_type: 'started', late: true } }]);
    t.ok(provisional < 0);
    t.equal(keys.presentOf(provisional), 9);
    t.equal(keys.presentOf(8), 8);
    t.ok(keys.entryOf(7, started[0]!).event.late, 'what lay on the disk has waited');
    t.end();
  },
);

t.test('a store that fails is opened again, later and later, until it takes what waits', async (t) => {
  const stores: ReturnType<typeof createFakeStore>[] = [];
  const log: string[] = [];
  let [broken, opens] = [false, 0];
  const keeper = createStoreKeeper({
    folder: 'f',
    timing: { firstRetryMs: 5, maxRetryMs: 10 },
    log: silentLogger,
    care: {
      open() {
        opens += 1;
        if (broken && opens === 2) return Promise.reject(new Error('EIO'));
        stores.push(createFakeStore());
        return Promise.resolve(asStore(stores.at(-1)!));
      },
      prepare: () => Promise.resolve(),
      adopt: () => (opens === 3 ? Promise.reject(new Error('EIO')) : Promise.resolve()),
      catchUp() {
        // The fourth opens, and takes no write.
        if (opens === 4) keeper.fail(new Error('ENOSPC'));
        return Promise.resolve();
      },
      onFail: () => log.push('fail'),
      onBack: () => log.push('back'),
    },
  });
  await keeper.start();
  t.ok(keeper.healthy);
  broken = true;
  keeper.fail(new Error('EIO'));
  keeper.fail(new Error('EIO'));
  t.notOk(keeper.healthy);
  t.same(log, ['fail'], 'it is told once');
  while (!log.includes('back')) await new Promise((resolve) => setTimeout(resolve, 5));
  t.same([opens, log], [5, ['fail', 'back']]);
  t.ok(keeper.healthy);
  t.same(
    stores.map(({ closed }) => closed),
    [1, 1, 1, 0],
    'every store but the last is closed once',
  );
  keeper.fail(new Error('EIO'));
  keeper.stop();
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(opens, 5, 'no attempt after the stop');
  await keeper.finish({ memory: () => true, anything: () => false });
  t.equal(opens, 6, 'but the last one');
  t.equal(stores.at(-1)!.closed, 1);
});
