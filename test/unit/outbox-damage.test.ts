import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { isoTime, type EventPayload } from '../../src/mqtt/contract.js';
import { openDiskOutbox } from '../../src/mqtt/disk-outbox.js';
import { endWith, eventWith } from '../support/events.js';
import { writeFormerOutbox } from '../support/former-outbox.js';
import { createRecordingLog } from '../support/recording-log.js';

/* Files that change by themselves, as those on worn memory cards do. */

const RUNS = Number(process.env['SOUNDPOST_FUZZ_RUNS'] ?? 150);
/** One seed, so that a failure is the same for everybody, or as many as there are. */
const parameters = {
  numRuns: RUNS,
  ...(process.env['SOUNDPOST_FUZZ_RUNS'] === undefined ? { seed: 20_260_512 } : {}),
};
const STARTED_AT = 1_700_000_000_000;

type Step =
  | { do: 'begin' | 'end' | 'reopen' }
  /** The broker has the oldest, `count` of them. */
  | { do: 'deliver'; count: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('begin' as const, 'end' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('deliver' as const), count: fc.nat({ max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen' as const) }) },
);

/** Places are shares of the files of an outbox, put one behind the other. */
type Harm =
  | { do: 'flip'; at: number; bit: number }
  | { do: 'zero'; at: number; bytes: number }
  | { do: 'cut' | 'delete'; at: number };

const share = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const flip = fc.record({ do: fc.constant('flip' as const), at: share, bit: fc.nat({ max: 7 }) });
const harm: fc.Arbitrary<Harm> = fc.oneof(
  { weight: 6, arbitrary: flip },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('zero' as const),
      at: share,
      bytes: fc.constantFrom(1, 64, 512, 4096),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('cut' as const, 'delete' as const), at: share }) },
);

async function inflict(folder: string, harm: Harm): Promise<void> {
  const files: { path: string; bytes: Buffer }[] = [];
  for (const name of (await readdir(folder)).sort()) {
    files.push({ path: join(folder, name), bytes: await readFile(join(folder, name)) });
  }
  let at = Math.floor(harm.at * files.reduce((sum, { bytes }) => sum + bytes.length, 0));
  for (const { path, bytes } of files) {
    if (at >= bytes.length) {
      at -= bytes.length;
      continue;
    }
    if (harm.do === 'flip') bytes[at]! ^= 1 << harm.bit;
    else if (harm.do === 'zero') bytes.fill(0, at, Math.min(at + harm.bytes, bytes.length));
    if (harm.do === 'cut') await truncate(path, at);
    else if (harm.do === 'delete') await rm(path);
    else await writeFile(path, bytes);
    return;
  }
}

const nameOf = ({ id, event_type }: EventPayload): string => `${id} ${event_type}`;

/** What a life of the service did, and what it left. */
interface History {
  /** By name. */
  readonly appended: Map<string, EventPayload>;
  readonly waiting: string[];
}

async function live(folder: string, steps: readonly Step[]): Promise<History> {
  const appended = new Map<string, EventPayload>();
  const open: EventPayload[] = [];
  const start = () =>
    openDiskOutbox({ folder, maxBytes: 8_000_000, log: createRecordingLog(), now: () => STARTED_AT });
  let outbox = await start();
  const append = async (event: EventPayload) => {
    appended.set(nameOf(event), event);
    await outbox.append(event);
  };
  let ids = 0;
  for (const now of steps) {
    if (now.do === 'begin') {
      ids += 1;
      const event = eventWith({
        id: `event-${String(ids).padStart(4, '0')}`,
        started_at: isoTime(STARTED_AT + ids),
      });
      open.push(event);
      await append(event);
    } else if (now.do === 'end') {
      const event = open.shift();
      if (event !== undefined) await append(endWith(event, 1));
    } else if (now.do === 'deliver') {
      for (const { key } of await outbox.read(-Infinity, now.count)) await outbox.remove(key);
    } else {
      await outbox.close();
      outbox = await start();
      for (const { event } of await outbox.read(-Infinity, 10_000)) appended.set(nameOf(event), event);
      open.splice(0);
    }
  }
  // As a kill leaves it: what was acknowledged is written, what is on has not ended.
  const waiting = (await outbox.read(-Infinity, 10_000)).map(({ event }) => nameOf(event));
  await outbox.close();
  return { appended, waiting };
}

/** Opens twice; checks what must hold whatever is damaged; returns what is there, and what was told. */
async function reopen(folder: string, { appended, waiting }: History, harms: readonly { do: string }[]) {
  const log = createRecordingLog();
  const outbox = await openDiskOutbox({ folder, maxBytes: 8_000_000, log, now: () => STARTED_AT });
  const held = (await outbox.read(-Infinity, 10_000)).map(({ event }) => event);
  const { dropped, queued } = outbox.counters();
  await outbox.close();
  assert.equal(queued, held.length);
  const names = held.map(nameOf);
  assert.equal(new Set(names).size, names.length, 'none twice');
  const ends = new Set<string>();
  // A file that ends early or is gone is what a loss of power leaves, too: an end that was in it is not known any more.
  const mayEndEarly = harms.some((harm) => harm.do === 'cut' || harm.do === 'delete');
  let wrongEnds = 0;
  for (const event of held) {
    const written = appended.get(nameOf(event));
    if (mayEndEarly && event.event_type === 'ended' && written?.ended_at !== event.ended_at) {
      if (written !== undefined) wrongEnds += 1;
      assert.ok(appended.has(`${event.id} started`), 'of a sound that there was');
      ends.add(event.id);
      continue;
    }
    if (written !== undefined) {
      assert.deepEqual(
        { ...event, late: false, detected_at: written.detected_at },
        { ...written, late: false },
      );
      continue;
    }
    // An end that was made up: of a sound that had begun and not ended.
    ends.add(event.id);
    assert.equal(event.event_type, 'ended');
    assert.ok(appended.has(`${event.id} started`), 'of a sound that there was');
  }
  const lost = waiting.filter((name) => !names.includes(name));
  const told = log.lines.some(({ fields }) => fields.code === 'outbox_broken');
  if (told) assert.equal(wrongEnds, 0, 'no end is made up where it is known that something is missing');
  const later = createRecordingLog();
  const again = await openDiskOutbox({ folder, maxBytes: 8_000_000, log: later, now: () => STARTED_AT });
  const kept = (await again.read(-Infinity, 10_000)).map(({ event }) => nameOf(event));
  await again.close();
  assert.deepEqual(
    kept.filter((name) => names.includes(name)),
    names,
    'all of it is still there at the next start',
  );
  assert.ok(!later.lines.some(({ fields }) => fields.code === 'outbox_broken'), 'told once');
  return { ends, lost, told, dropped };
}

t.test('one damaged bit loses one event at most, which is told and counted', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'soundpost-damage-'));
  t.teardown(() => rm(root, { recursive: true, force: true }));
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 40 }), flip, async (steps, harm) => {
      runs += 1;
      const folder = join(root, String(runs), 'outbox');
      const history = await live(folder, steps);
      await inflict(folder, harm);
      const { lost, told, dropped } = await reopen(folder, history, [harm]);
      assert.ok(lost.length <= 1, `${lost.length} lost`);
      assert.equal(told && dropped >= lost.length, lost.length > 0 || told, 'told');
      assert.equal(dropped, lost.length, 'counted');
      await rm(join(root, String(runs)), { recursive: true });
    }),
    parameters,
  );
});

t.test('whatever happens to the files, no event is wrong and what is lost is told', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'soundpost-damage-'));
  t.teardown(() => rm(root, { recursive: true, force: true }));
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 3, maxLength: 40 }),
      fc.array(harm, { minLength: 1, maxLength: 12 }),
      async (steps, harms) => {
        runs += 1;
        const folder = join(root, String(runs), 'outbox');
        const history = await live(folder, steps);
        for (const harm of harms) await inflict(folder, harm);
        const { lost, told } = await reopen(folder, history, harms);
        // A file that ends early or is gone is what a loss of power leaves, too.
        const isPlain = harms.every((harm) => harm.do === 'flip' || harm.do === 'zero');
        if (isPlain && lost.length > 0) assert.ok(told, `${lost.length} lost`);
        await rm(join(root, String(runs)), { recursive: true });
      },
    ),
    parameters,
  );
});

t.test('the same for an outbox of version 0.1', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'soundpost-damage-'));
  t.teardown(() => rm(root, { recursive: true, force: true }));
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.nat({ max: 40 })), {
        minLength: 1,
        maxLength: 4,
      }),
      fc.nat({ max: 3 }),
      fc.array(harm, { maxLength: 4 }),
      async (lives, stillOn, harms) => {
        runs += 1;
        const folder = join(root, String(runs), 'outbox');
        const appended = new Map<string, EventPayload>();
        const order: string[] = [];
        const gone = new Set<number>();
        const steps = lives.map(([sounds, removals], life) => {
          const append = Array.from({ length: sounds }, (_, n) => {
            const event = eventWith({
              id: `event-${life}-${n}`,
              started_at: isoTime(STARTED_AT + order.length + n),
            });
            return life === lives.length - 1 && n < stillOn ? [event] : [event, endWith(event, 1)];
          }).flat();
          for (const event of append) {
            appended.set(nameOf(event), event);
            order.push(nameOf(event));
          }
          const remove: number[] = [];
          for (let n = 0; n < removals && gone.size < order.length; n += 1) {
            gone.add(gone.size + 1);
            remove.push(gone.size);
          }
          return { append, remove };
        });
        await writeFormerOutbox(folder, steps);
        for (const harm of harms) await inflict(folder, harm);
        const waiting = order.slice(gone.size);
        const { lost, told, ends } = await reopen(folder, { appended, waiting }, harms);
        const isPlain = harms.every((harm) => harm.do === 'flip');
        if (isPlain && lost.length > 0) assert.ok(told, `${lost.length} lost`);
        if (harms.length === 0) {
          assert.deepEqual(lost, []);
          assert.equal(ends.size, order.filter((name) => name.endsWith('started')).length * 2 - order.length);
        } else if (told || isPlain) {
          for (const id of ends) assert.ok(!appended.has(`${id} ended`), 'no end is made up');
        }
        await rm(join(root, String(runs)), { recursive: true });
      },
    ),
    parameters,
  );
});
