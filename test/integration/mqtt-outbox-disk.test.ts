import { execFileSync } from 'node:child_process';
import { cp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { openDiskOutbox, type DiskOutboxOptions } from '../../src/mqtt/disk-outbox.js';
import type { Outbox, OutboxEntry } from '../../src/mqtt/outbox.js';
import { endWith, eventWith } from '../support/events.js';
import { writeFormerOutbox } from '../support/former-outbox.js';
import { createRecordingLog } from '../support/recording-log.js';
import { cannotMount, mountSmallDisk } from '../support/small-disk.js';
import { temporaryFolder } from '../support/temporary.js';
import { until } from '../support/waiting.js';

/* The outbox on disks and files that fail. */

const event = (n: number) => eventWith({ id: `event-${String(n).padStart(5, '0')}` });

async function openHere(t: Test, folder: string, options: Partial<DiskOutboxOptions> = {}) {
  const log = createRecordingLog();
  const outbox = await openDiskOutbox({
    folder,
    maxBytes: 8_000_000,
    log,
    ...options,
    tuning: { firstRetryMs: 20, maxRetryMs: 50, ...options.tuning },
  });
  t.teardown(() => outbox.close());
  const codes = () => log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields.code);
  return { outbox, log, codes };
}

const all = (outbox: Outbox): Promise<readonly OutboxEntry[]> => outbox.read(-Infinity, 1_000_000);
const ids = (entries: readonly OutboxEntry[]): string[] => entries.map((entry) => entry.event.id);
const range = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, n) => event(from + n).id);

t.test('two processes cannot have one outbox', async (t) => {
  const folder = join(temporaryFolder(t), 'outbox');
  const { outbox } = await openHere(t, folder);
  await outbox.append(event(1));
  await t.rejects(openHere(t, folder), { code: 'outbox_locked', message: /another process.*data_dir/ });
  await outbox.append(event(2));
  t.strictSame(ids(await all(outbox)), range(1, 2));
});

/** What may happen to the files of an outbox. `least`: so many of its 3001 sounds are still there. */
interface Mishap {
  name: string;
  harm: (at: string) => Promise<unknown>;
  aside: boolean;
  least: number;
}

const filesOf = async (at: string, pattern: RegExp) =>
  (await readdir(at)).filter((name) => pattern.test(name)).map((name) => join(at, name));

/** Throws where there is no such file. */
async function each(at: string, pattern: RegExp, harm: (path: string) => Promise<unknown>): Promise<void> {
  const found = await filesOf(at, pattern);
  if (found.length === 0) throw new Error(`no file like ${pattern.source}`);
  for (const path of found) await harm(path);
}

async function garble(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes.fill(0x5a, Math.floor(bytes.length / 3), Math.floor(bytes.length / 2));
  await writeFile(path, bytes);
}

const half = async (path: string) => truncate(path, Math.floor((await readFile(path)).length / 2));

const anyOutbox: Mishap[] = [
  {
    name: 'a file in its place',
    harm: async (at) => {
      await rm(at, { recursive: true });
      await writeFile(at, 'not a folder');
    },
    aside: true,
    least: 0,
  },
  {
    name: 'no files at all',
    harm: async (at) => {
      for (const name of await readdir(at)) await rm(join(at, name));
    },
    aside: false,
    least: 0,
  },
];

async function checkMishaps(t: Test, intact: string, mishaps: readonly Mishap[]): Promise<void> {
  for (const { name, harm, aside, least } of mishaps) {
    await t.test(name, async (t) => {
      const at = join(temporaryFolder(t), 'outbox');
      await cp(intact, at, { recursive: true });
      await harm(at);
      const { outbox, log, codes } = await openHere(t, at);
      t.strictSame(codes(), aside ? ['outbox_broken'] : []);
      const asides = (await readdir(join(at, '..'))).filter((file) => file.startsWith('outbox.broken-'));
      t.equal(asides.length, aside ? 1 : 0);
      if (aside) t.match(log.lines[0]?.message, asides[0]);
      const saved = ids(await all(outbox));
      const known = new Set([...range(1, 3000), event(9999).id]);
      t.ok(new Set(saved.filter((id) => known.has(id))).size >= least, `${saved.length} saved`);
      t.equal(outbox.counters().queued, saved.length);
      await outbox.append(event(5000));
      t.equal(ids(await all(outbox)).at(-1), event(5000).id, 'and it goes on');
      await outbox.close();
      const { outbox: next, codes: later } = await openHere(t, at);
      t.strictSame(later(), [], 'nothing is wrong with it any more');
      await next.close();
    });
  }
}

t.test('broken files are set aside, and what can be read is saved', async (t) => {
  /** An outbox of a service that was killed, with 3000 sounds. */
  const folder = join(temporaryFolder(t), 'outbox');
  const { outbox } = await openHere(t, folder);
  for (let n = 1; n <= 3000; n += 1000) {
    await Promise.all(Array.from({ length: 1000 }, (_, k) => outbox.append(event(n + k))));
  }
  await outbox.close();
  const { outbox: again } = await openHere(t, folder);
  t.strictSame(ids((await all(again)).slice(0, 3000)), range(1, 3000));
  await again.append(event(9999));
  const intact = `${folder}-intact`;
  await cp(folder, intact, { recursive: true });
  await again.close();
  const newest = async (at: string) => (await filesOf(at, /log$/)).sort().at(-1)!;
  await checkMishaps(t, intact, [
    { name: 'garbled', harm: (at) => each(at, /log$/, garble), aside: true, least: 1500 },
    { name: 'all of it cut in half', harm: (at) => each(at, /log$/, half), aside: true, least: 1000 },
    // That is what a loss of power leaves: nothing of it was promised.
    {
      name: 'an end that was never written',
      harm: async (at) => truncate(await newest(at), (await readFile(await newest(at))).length - 10),
      aside: false,
      least: 3000,
    },
    {
      name: 'one of the files gone',
      harm: async (at) => rm((await filesOf(at, /log$/)).sort()[0]!),
      aside: true,
      least: 1,
    },
    {
      name: 'a pipe in the place of one of the files',
      harm: async (at) => {
        const [first] = (await filesOf(at, /log$/)).sort();
        await rm(first!);
        execFileSync('mkfifo', [first!]);
      },
      aside: true,
      least: 1,
    },
    ...anyOutbox,
  ]);
});

t.test('an outbox of version 0.1 is taken over, whole or broken', async (t) => {
  const intact = join(temporaryFolder(t), 'outbox');
  const sounds = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, n) => event(from + n));
  await writeFormerOutbox(intact, [
    { append: sounds(1, 1500), remove: [] },
    { append: sounds(1501, 3000), remove: [] },
    { append: [event(9999)], remove: [] },
  ]);
  await t.test('whole', async (t) => {
    const at = join(temporaryFolder(t), 'outbox');
    await cp(intact, at, { recursive: true });
    const { outbox, codes } = await openHere(t, at);
    const held = await all(outbox);
    t.strictSame(ids(held.slice(0, 3001)), [...range(1, 3000), event(9999).id]);
    t.equal(held.filter((entry) => entry.event.event_type === 'ended').length, 3001, 'what was on is ended');
    t.ok(held.every((entry) => entry.event.late));
    t.strictSame(codes(), []);
    t.strictSame(await filesOf(at, /ldb|MANIFEST|CURRENT|LOCK/), [], 'its files have gone');
  });
  await checkMishaps(t, intact, [
    { name: 'CURRENT empty', harm: (at) => writeFile(join(at, 'CURRENT'), ''), aside: true, least: 3001 },
    {
      name: 'no manifest',
      harm: (at) => each(at, /^MANIFEST/, (path) => rm(path)),
      aside: true,
      least: 3001,
    },
    { name: 'garbled manifest', harm: (at) => each(at, /^MANIFEST/, garble), aside: true, least: 3001 },
    { name: 'no tables', harm: (at) => each(at, /ldb$/, (path) => rm(path)), aside: true, least: 1 },
    { name: 'half tables', harm: (at) => each(at, /ldb$/, half), aside: true, least: 1 },
    { name: 'garbled tables', harm: (at) => each(at, /ldb$/, garble), aside: true, least: 1000 },
    { name: 'half a log', harm: (at) => each(at, /log$/, half), aside: true, least: 3000 },
    ...anyOutbox,
  ]);
});

t.test('of many broken outboxes the newest are kept', async (t) => {
  const folder = join(temporaryFolder(t), 'outbox');
  for (let n = 1; n <= 5; n += 1) {
    const { outbox } = await openHere(t, folder);
    await outbox.append(event(n));
    await outbox.close();
    await each(folder, /log$/, garble);
  }
  const asides = (await readdir(join(folder, '..'))).filter((file) => file.startsWith('outbox.broken-'));
  t.equal(asides.length, 3);
});

t.test('an entry that makes no sense is given up, not the rest', async (t) => {
  const folder = join(temporaryFolder(t), 'outbox');
  const { outbox } = await openHere(t, folder);
  await outbox.append(event(1));
  await outbox.append({ ...event(2), id: '' });
  await outbox.append(event(3));
  t.strictSame(ids(await all(outbox)), [event(1).id, event(3).id]);
  t.strictSame(outbox.counters(), { queued: 2, dropped: 1 });
});

t.test('disks that fail', { skip: cannotMount() }, (t) => {
  t.test('a disk that gets full, and has room again', async (t) => {
    const disk = mountSmallDisk(t, '6m');
    const folder = join(disk.folder, 'outbox');
    const { outbox, codes, log } = await openHere(t, folder);
    for (let n = 1; n <= 100; n += 1) await outbox.append(event(n));
    disk.fill();
    for (let n = 101; n <= 300; n += 1) await outbox.append(event(n));
    t.strictSame(codes(), ['outbox_disk'], 'said once');
    t.strictSame(ids(await all(outbox)), range(1, 300), 'those on the disk, then those in memory');
    t.strictSame(outbox.counters(), { queued: 300, dropped: 0 });
    // The broker takes some from the disk and some from memory.
    const taken = [...(await outbox.read(-Infinity, 50)), ...(await all(outbox)).slice(100, 150)];
    for (const { key } of taken) await outbox.remove(key);
    t.equal(outbox.counters().queued, 200);

    disk.free();
    await until(
      () => log.lines.some(({ message }) => message.includes('works again')),
      'a disk that works again',
      30,
    );
    for (let n = 301; n <= 310; n += 1) await outbox.append(event(n));
    t.strictSame(ids(await all(outbox)), [...range(51, 100), ...range(151, 310)]);
    t.strictSame(outbox.counters(), { queued: 210, dropped: 0 });
    await outbox.close();
    const { outbox: next } = await openHere(t, folder);
    const kept = (await all(next)).filter((entry) => entry.event.event_type === 'started');
    t.strictSame(ids(kept), [...range(51, 100), ...range(151, 310)]);
    t.ok(kept.every((entry) => entry.event.late));
  });

  t.test('sounds that begin or end while the disk is full end once', async (t) => {
    const disk = mountSmallDisk(t, '6m');
    const folder = join(disk.folder, 'outbox');
    const { outbox, log, codes } = await openHere(t, folder, { tuning: { maxMemoryBytes: 10_000 } });
    const begins = async (n: number) => outbox.append(event(n));
    const ends = async (n: number) => outbox.append(endWith(event(n), 1));
    const names: string[] = [];
    /** The broker takes all that there is, the newest first where `backwards`. */
    const deliver = async (backwards = false) => {
      const entries = await all(outbox);
      names.push(...entries.map((entry) => `${entry.event.id} ${entry.event.event_type}`));
      for (const { key } of backwards ? [...entries].reverse() : entries) await outbox.remove(key);
    };
    for (const n of [1, 2, 3, 4]) await begins(n);
    await deliver();
    disk.fill();
    // There is room left in the last block.
    for (let n = 100; codes().length === 0; n += 1) {
      await begins(n);
      await ends(n);
    }
    await deliver();
    // Acknowledged from memory: one that has begun before, one that begins and ends, one that goes on.
    await ends(1);
    for (const n of [5, 6]) await begins(n);
    await ends(5);
    await deliver();
    for (const n of [7, 8]) await begins(n);
    await ends(7);
    await deliver(true);
    // Given up, for there is no room in memory either.
    await ends(2);
    for (let n = 1000; n < 1100; n += 1) {
      await begins(n);
      await ends(n);
    }
    t.ok(outbox.counters().dropped > 100);
    disk.free();
    await until(
      () => log.lines.some(({ message }) => message.includes('works again')),
      'a disk that works again',
      30,
    );
    await ends(3);
    await deliver();
    t.equal(outbox.counters().queued, 0);
    await outbox.close();
    const { outbox: next } = await openHere(t, folder);
    t.strictSame(
      (await all(next)).map((entry) => `${entry.event.id} ${entry.event.event_type}`),
      [4, 6, 8].map((n) => `${event(n).id} ended`),
      'the next life ends what was on, and nothing else',
    );
    t.equal(new Set(names).size, names.length);
  });

  t.test('a disk that is full at the start', async (t) => {
    const disk = mountSmallDisk(t, '6m');
    const folder = join(disk.folder, 'outbox');
    const { outbox: before } = await openHere(t, folder);
    for (let n = 1; n <= 10; n += 1) await before.append(event(n));
    await before.close();

    disk.fill();
    const { outbox, codes, log } = await openHere(t, folder);
    t.strictSame(codes(), ['outbox_disk']);
    let rewound = 0;
    outbox.onRewind(() => (rewound += 1));
    for (let n = 11; n <= 20; n += 1) await outbox.append(event(n));
    const first = await all(outbox);
    t.strictSame(ids(first), range(11, 20), 'what cannot be read does not hold up the rest');
    for (const { key } of first.slice(0, 5)) await outbox.remove(key);

    disk.free();
    await until(
      () => log.lines.some(({ message }) => message.includes('works again')),
      'a disk that works again',
      30,
    );
    t.equal(rewound, 1);
    const begun = (await all(outbox)).filter((entry) => entry.event.event_type === 'started');
    t.strictSame(ids(begun), [...range(1, 10), ...range(16, 20)]);
    for (const { key } of first.slice(5)) await outbox.remove(key);
    const rest = (await all(outbox)).filter((entry) => entry.event.event_type === 'started');
    t.strictSame(ids(rest), range(1, 10), 'acknowledged under the key of then');
    t.ok(rest.every((entry) => entry.event.late));
    t.equal(outbox.counters().queued, (await all(outbox)).length);
  });

  t.test('a disk that is read-only', async (t) => {
    const disk = mountSmallDisk(t, '6m');
    disk.setReadOnly(true);
    const { outbox, codes, log } = await openHere(t, join(disk.folder, 'outbox'), {
      tuning: { maxMemoryBytes: 10_000 },
    });
    for (let n = 1; n <= 1000; n += 1) await outbox.append(event(n));
    const held = ids(await all(outbox));
    t.ok(held.length > 10 && held.length < 50, `${held.length} in memory`);
    t.equal(held.at(-1), event(1000).id, 'the newest are kept');
    t.strictSame(outbox.counters(), { queued: held.length, dropped: 1000 - held.length });
    const tries = () => log.lines.filter(({ message }) => message.includes('still cannot be used')).length;
    await until(
      () => tries() >= 3,
      () => `three more tries; there were ${tries()}`,
      30,
    );
    t.strictSame(codes(), ['outbox_disk'], 'tried again, but not said again');
    await outbox.close();
  });
  t.end();
});
