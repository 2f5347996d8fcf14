import { existsSync, mkdirSync, readdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { createClipStore, type ClipStore } from '../../src/clips/clip-store.js';
import { silentLogger } from '../../src/common/log.js';
import { clipId } from '../../src/common/rules.js';
import { clipListRequest, clipSpecs, type Clip } from '../../src/mqtt/clip-specs.js';
import { filesBelow, warningsOf } from '../support/clips.js';
import { temporaryFolder } from '../support/temporary.js';

/* Which clips are kept, and how they are found again. */

const DAY_MS = 86_400_000;
const NOON = Date.parse('2026-05-10T12:00:00.000Z');
const idOf = (number: number) => number.toString(16).padStart(32, '0');
const request = (more: object = {}) => clipListRequest.parse(more);

function clipOf(number: number, startMs: number, more: Partial<Clip> = {}): Clip {
  const iso = (ms: number) => new Date(ms).toISOString();
  return {
    id: idOf(number),
    event: `event ${number}`,
    label: 'Dog',
    mid: '/m/0bt9lr',
    group: null,
    source: 'main',
    peak: 0.7,
    started_at: iso(startMs + 2000),
    ended_at: iso(startMs + 3000),
    clip_started_at: iso(startMs),
    clip_ended_at: iso(startMs + 5000),
    seconds: 5,
    sample_rate_hz: 16_000,
    samples: 80_000,
    bytes: 1000,
    ...more,
  };
}

/** Puts the files of a clip where they belong. */
function write(store: Pick<ClipStore, 'folderOf'>, clip: Clip): void {
  const { bytes, ...note } = clip;
  const text = JSON.stringify(note);
  mkdirSync(store.folderOf(clip), { recursive: true });
  writeFileSync(join(store.folderOf(clip), `${clip.id}.json`), text);
  writeFileSync(join(store.folderOf(clip), `${clip.id}.flac`), Buffer.alloc(bytes - text.length));
}

function rig(t: { teardown(handler: () => void): void }, more: { maxBytes?: number; folder?: string } = {}) {
  const clock = { wallMs: NOON, steadyMs: 0 };
  const folder = more.folder ?? join(temporaryFolder(t), 'clips');
  const warnings: { code: string | undefined; message: string }[] = [];
  const store = createClipStore({
    folder,
    maxBytes: more.maxBytes ?? 1_000_000,
    days: 14,
    log: warningsOf(warnings),
    now: () => clock.wallMs,
    steadyNow: () => clock.steadyMs,
  });
  return {
    store,
    folder,
    clock,
    warnings,
    put: async (clip: Clip) => {
      // The look at what is there comes first.
      await store.list(request());
      write(store, clip);
      await store.add(clip);
    },
    /** Time passes. */
    pass: (ms: number) => {
      clock.wallMs += ms;
      clock.steadyMs += ms;
    },
  };
}

t.test('the bounds of size hold before each clip, and the oldest go first', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ bytes: fc.integer({ min: 500, max: 3000 }), day: fc.nat(9) }), { maxLength: 15 }),
      async (clips) => {
        const { store, folder, put } = rig(t, { maxBytes: 6000 });
        const kept: Clip[] = [];
        for (const [number, { bytes, day }] of clips.entries()) {
          const clip = clipOf(number, NOON + day * DAY_MS + number, { bytes });
          t.ok(await store.makeRoom(bytes));
          await put(clip);
          t.ok(store.totals().bytes <= 6000);
          kept.push(clip);
        }
        const { clips: listed } = await store.list(request({ limit: 200 }));
        const newest = kept.sort((a, b) => (a.clip_started_at < b.clip_started_at ? 1 : -1));
        // Whatever has gone made room for one that came after it; what is listed is on the disk, and nothing else.
        t.ok(listed.every((clip) => newest.includes(clip)));
        const files = filesBelowIfThere(folder);
        t.equal(files.size, 2 * listed.length);
        const bytes = [...files.values()].reduce((sum, { length }) => sum + length, 0);
        t.equal(bytes, store.totals().bytes);
      },
    ),
    { numRuns: 25 },
  );
  const { store, put } = rig(t, { maxBytes: 2500 });
  for (const number of [1, 2]) await put(clipOf(number, NOON + number));
  t.notOk(await store.makeRoom(2501), 'more than there is');
  t.equal(store.totals().clips, 2, 'nothing went for it');
  t.ok(await store.makeRoom(1000));
  t.match(await store.list(request()), { clips: [{ id: idOf(2) }], total: 1, bytes: 1000, cursor: null });
});

function filesBelowIfThere(folder: string): Map<string, Buffer> {
  return existsSync(folder) ? filesBelow(folder) : new Map<string, Buffer>();
}

t.test('what is too old goes, and not by a clock that was set', async (t) => {
  const { store, folder, clock, put, pass } = rig(t);
  await put(clipOf(1, NOON - 14 * DAY_MS - 10_000));
  await put(clipOf(2, NOON - 13 * DAY_MS));
  const left = async () => (await store.list(request())).clips.map(({ id }) => Number.parseInt(id, 16));
  await store.forgetOld();
  t.same(await left(), [2, 1], 'the first look only takes the time');
  clock.wallMs += 400 * DAY_MS;
  await store.forgetOld();
  t.same(await left(), [2, 1], 'the clock was set ahead');
  clock.wallMs -= 400 * DAY_MS;
  await store.forgetOld();
  t.same(await left(), [2, 1], 'and back');
  pass(600_000);
  await store.forgetOld();
  t.same(await left(), [2]);
  t.same(readdirSync(folder), ['2026-04-27'], 'its day went with it');
  pass(2 * DAY_MS);
  await store.forgetOld();
  t.same(await left(), []);
});

t.test('what a clock that was ahead has left grows old as well', async (t) => {
  const first = rig(t);
  const later = clipOf(1, NOON + 3650 * DAY_MS);
  await first.put(later);
  await first.put(clipOf(2, NOON));
  // Its file is of the same wrong time.
  const sound = join(first.store.folderOf(later), `${later.id}.flac`);
  utimesSync(sound, NOON / 1000 + 3650 * 86_400, NOON / 1000 + 3650 * 86_400);
  const look = async ({ store, pass }: typeof first, days: number) => {
    await store.forgetOld();
    pass(days * DAY_MS);
    await store.forgetOld();
  };
  await look(first, 0);
  t.equal(first.store.totals().clips, 2, 'it is of today');

  // A start that comes later knows since when it is there.
  const second = rig(t, { folder: first.folder, maxBytes: 2000 });
  second.pass(10 * DAY_MS);
  await look(second, 0);
  await second.put(clipOf(3, NOON + 10 * DAY_MS));
  await second.store.makeRoom(1000);
  const ids = (await second.store.list(request())).clips.map(({ id }) => id);
  t.same(ids, [idOf(3)], 'what is new does not make room for it');
  const third = rig(t);
  await third.put(later);
  await look(third, 0);
  await look(third, 13);
  t.equal(third.store.totals().clips, 1);
  await look(third, 2);
  t.equal(third.store.totals().clips, 0, 'after its days it goes');
});

t.test('the next start finds whole clips, and clears away what is none', async (t) => {
  const folder = join(temporaryFolder(t), 'clips');
  const first = rig(t, { folder });
  for (const number of [1, 2, 3, 4, 5]) write(first.store, clipOf(number, NOON + number * 1000));
  const day = join(folder, '2026-05-10');
  const files = {
    [`${idOf(2)}.json`]: '{"id":',
    [`${idOf(3)}.json`]: JSON.stringify({ ...clipOf(9, NOON), bytes: undefined }),
    [`${idOf(6)}.flac`]: 'sound without a note',
    [`${idOf(7)}.json`]: '{}',
    [`.${idOf(8)}.flac.1.00000000.tmp`]: 'half of a sound',
    'mine.flac': 'of somebody else',
    'notes.txt': 'of somebody else',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(day, name), text);
  mkdirSync(join(folder, 'other'));
  writeFileSync(join(folder, 'other', `${idOf(1)}.flac`), '');
  symlinkSync('/etc', join(folder, '2026-05-11'));
  const { store, warnings } = rig(t, { folder });
  const { clips, bytes } = await store.list(request());
  t.same(
    clips.map(({ id }) => id),
    [5, 4, 1].map(idOf),
  );
  t.equal(bytes, 3000);
  t.match(warnings, [{ code: 'clips_broken', message: /^2 clips/ }]);
  t.same(
    readdirSync(day).sort(),
    [...[1, 4, 5].flatMap((id) => [`${idOf(id)}.flac`, `${idOf(id)}.json`]), 'mine.flac', 'notes.txt'].sort(),
  );
  t.ok(existsSync(join(folder, 'other', `${idOf(1)}.flac`)));
  t.match(await store.get(idOf(4)), { path: join(day, `${idOf(4)}.flac`), clip: clipOf(4, NOON + 4000) });
  t.equal(await store.get(idOf(2)), null);
});

t.test('lists are newest first, of what is asked for, page by page', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.nat(500), { maxLength: 40 }),
      fc.integer({ min: 1, max: 9 }),
      async (times, limit) => {
        const { store } = rig(t);
        for (const time of times) await store.add(clipOf(time, NOON + time * 1000));
        const seen: Clip[] = [];
        let cursor: string | null = null;
        do {
          const page = await store.list(request({ limit, ...(cursor === null ? {} : { cursor }) }));
          t.ok(page.clips.length <= limit);
          seen.push(...page.clips);
          ({ cursor } = page);
        } while (cursor !== null);
        t.same(
          seen.map(({ id }) => Number.parseInt(id, 16)),
          times.sort((a, b) => b - a),
        );
      },
    ),
    { numRuns: 50 },
  );
  const { store } = rig(t);
  await store.add(clipOf(1, NOON));
  await store.add(clipOf(2, NOON + 10_000, { source: 'yard', label: 'Cat', mid: null }));
  await store.add(clipOf(3, NOON + 20_000, { label: 'Bark', group: 'Animals' }));
  const ids = async (more: object) =>
    (await store.list(request(more))).clips.map(({ id }) => Number.parseInt(id, 16));
  t.same(await ids({ source: 'yard' }), [2]);
  t.same(await ids({ label: 'animals' }), [3]);
  t.same(await ids({ label: '/m/0bt9lr' }), [3, 1]);
  t.same(await ids({ since: '2026-05-10T14:00:06+02:00' }), [3, 2]);
  t.same(await ids({ until: '2026-05-10T12:00:10Z' }), [1]);
});

t.test('a clip that cannot be deleted stays known', async (t) => {
  const { store, put, folder } = rig(t);
  await put(clipOf(1, NOON));
  // What stands in its place cannot be removed as a file is.
  const stubborn = clipOf(2, NOON + 1000);
  mkdirSync(join(store.folderOf(stubborn), `${stubborn.id}.flac`), { recursive: true });
  await store.add(stubborn);
  await t.rejects(
    store.remove(() => true),
    { code: 'disk_write' },
  );
  t.match(await store.list(request()), { clips: [{ id: idOf(2) }], total: 1, bytes: 1000 });
  t.same(readdirSync(folder), ['2026-05-10']);
});

t.test('an id is 32 hexadecimal digits, and nothing else gets to the disk', (t) => {
  t.ok(clipId.safeParse(idOf(7)).success);
  const hostile = fc.oneof(
    fc.string(),
    fc.constantFrom(
      '..',
      '../../etc/passwd',
      '%2e%2e',
      `${idOf(1)}\n`,
      `${idOf(1)}/`,
      `A${idOf(1).slice(1)}`,
      7,
      null,
    ),
  );
  fc.assert(
    fc.property(hostile, (id) => {
      if (typeof id === 'string' && /^[0-9a-f]{32}$/.test(id) && !id.includes('\n')) return;
      t.notOk(clipSpecs.clip.schema.safeParse({ id }).success, String(id));
      t.notOk(clipSpecs['clip/delete'].schema.safeParse({ id }).success);
    }),
  );
  const { schema } = clipSpecs['clip/delete'];
  const before = '2026-05-01T00:00:00+02:00';
  for (const input of [{ all: true }, { before }, { id: idOf(1) }]) t.ok(schema.safeParse(input).success);
  for (const input of [
    {},
    { all: false },
    { before: 'yesterday' },
    { before: 1777593600000 },
    { all: true, id: idOf(1) },
    { all: true, before },
    { id: idOf(1), before },
  ])
    t.notOk(schema.safeParse(input).success);
  for (const { schema: request, example } of Object.values(clipSpecs))
    t.ok(request.safeParse(example).success);
  t.end();
});

t.test('a folder that is not there is not made', async (t) => {
  const folder = join(temporaryFolder(t), 'clips');
  const store = createClipStore({ folder, maxBytes: 1, days: 1, log: silentLogger });
  t.same(await store.list(request()), { clips: [], cursor: null, total: 0, bytes: 0 });
  t.notOk(existsSync(folder));
});
