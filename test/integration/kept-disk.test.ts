import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { FiringHour } from '../../src/history/firing-hour.js';
import { openHistory } from '../../src/history/history.js';
import { openBackground } from '../../src/learning/background.js';
import { quantise } from '../../src/learning/quantised.js';
import { applyChanges, changesWith } from '../support/byte-changes.js';
import {
  hourOf,
  KEPT_BEGIN_MS,
  KEPT_MODEL,
  momentOf,
  numberOfHour,
  numberOfMoment,
} from '../support/kept.js';
import { seededRandom } from '../support/random.js';
import { createRecordingLog } from '../support/recording-log.js';
import { projectPath } from '../support/shared.js';
import { cannotMount, mountSmallDisk } from '../support/small-disk.js';
import { temporaryFolder } from '../support/temporary.js';
import { until } from '../support/waiting.js';

/*
 * The counts of thresholds and the background on disks that are full, in a process that is killed, and with damage
 * anywhere: what was said to be written is there, and nothing is there that was not written.
 */

/** What the two have in common. */
interface Kept {
  add(n: number): void;
  settled(): Promise<void>;
  /** The numbers of what is there, in their order; throws where something is not as it was kept. */
  numbers(): Promise<number[]>;
  close(): Promise<void>;
  readonly codes: () => (string | undefined)[];
  /** Whether it was said that the disk works again. */
  readonly isWell: () => boolean;
}

const QUICK = { firstRetryMs: 10, maxRetryMs: 20 };
const plain = (hour: FiringHour): string =>
  JSON.stringify({
    ...hour,
    items: hour.items.map((item) => ({ ...item, onsets: [...Array.from(item.onsets)] })),
  });

function openFirings(t: Test, dataDir: string): Kept {
  const log = createRecordingLog();
  const now = () => KEPT_BEGIN_MS;
  const history = openHistory({ dataDir, days: 3650, maxMb: 64, log, now, tuning: QUICK });
  t.teardown(() => history.close());
  return {
    add: (n) => history.firings(hourOf(n)),
    settled: () => history.settled(),
    async numbers() {
      const found = new Set<number>();
      await history.firingHours({ sinceMs: 0, untilMs: Infinity }, (hour) => {
        const n = numberOfHour(hour);
        if (plain(hour) !== plain(hourOf(n))) throw new Error(`not what was kept: ${plain(hour)}`);
        found.add(n);
      });
      return [...found].sort((one, other) => one - other);
    },
    close: () => history.close(),
    codes: () => log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields.code),
    isWell: () => log.lines.some(({ level }) => level === 'info'),
  };
}

function openMoments(t: Test, dataDir: string): Kept {
  const log = createRecordingLog();
  const background = openBackground({ dataDir, maxMb: 64, log, tuning: QUICK });
  t.teardown(() => background.close());
  return {
    add: (n) => background.add(KEPT_MODEL, momentOf(n)),
    settled: () => background.settled(),
    async numbers() {
      const { moments, rows } = await background.read(KEPT_MODEL);
      return moments.map((moment) => {
        const n = numberOfMoment(moment);
        const expected = quantise(momentOf(n).embeddings);
        const from = moment.first * rows.dim;
        const codes = rows.codes.subarray(from, from + moment.count * rows.dim);
        if (Buffer.compare(Buffer.from(codes), Buffer.from(expected.codes)) !== 0)
          throw new Error(`moment ${n} is not what was kept`);
        return n;
      });
    },
    close: () => background.close(),
    codes: () => log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields.code),
    isWell: () => log.lines.some(({ level }) => level === 'info'),
  };
}

const kinds = [
  {
    what: 'firings',
    folder: 'history',
    open: openFirings,
    damaged: 'history_damaged',
    full: 'history_not_written',
  },
  {
    what: 'background',
    folder: 'background',
    open: openMoments,
    damaged: 'background_damaged',
    full: 'background_not_written',
  },
] as const;

const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

for (const { what, folder, open, damaged, full } of kinds) {
  t.test(`${what}: what is written survives kills, and none costs what was there before`, async (t) => {
    const dataDir = temporaryFolder(t);
    const random = seededRandom(t);
    const LIVES = 10;
    let written = 0;
    for (let life = 0; life < LIVES; life += 1) {
      const child = spawn(
        process.execPath,
        [projectPath('dist/test/support/kept-process.js'), what, dataDir, String(written)],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      t.teardown(() => child.kill('SIGKILL'));
      const exited = once(child, 'exit');
      let left = 1 + Math.floor(random() * 12);
      for await (const line of createInterface({ input: child.stdout })) {
        written = Number(line) + 1;
        left -= 1;
        // Into the next write, and not only between two of them.
        if (left === 0) setTimeout(() => child.kill('SIGKILL'), random() * 3);
      }
      await exited;
    }
    const kept = open(t, dataDir);
    const numbers = await kept.numbers();
    t.same(numbers.slice(0, written), upTo(written), `all of ${written}`);
    t.ok(numbers.length <= written + 8, 'and at most what the last life had in hand');
    t.ok(kept.codes().every((code) => code === damaged));
    // Half a record at the end goes with the next write; nothing is left of the damage after it.
    kept.add(numbers.length);
    await kept.settled();
    await kept.close();
    const again = open(t, dataDir);
    t.same(await again.numbers(), upTo(numbers.length + 1));
    t.same(again.codes(), [], 'no hole is left');
  });

  t.test(`${what}: damage anywhere costs what it hit, and invents nothing`, async (t) => {
    const good = temporaryFolder(t);
    const first = open(t, good);
    const COUNT = 12;
    for (const n of upTo(COUNT)) first.add(n);
    await first.settled();
    await first.close();
    const names = readdirSync(join(good, folder));
    t.ok(names.length > 0);
    const files = names.map((name) => readFileSync(join(good, folder, name)));
    await fc.assert(
      fc.asyncProperty(fc.nat(names.length - 1), changesWith(files), async (which, changes) => {
        const dataDir = temporaryFolder(t);
        const before = open(t, dataDir);
        before.add(0);
        await before.settled();
        await before.close();
        names.forEach((name, n) => {
          const bytes = n === which ? applyChanges(files[n]!, changes) : files[n]!;
          writeFileSync(join(dataDir, folder, name), bytes);
        });
        const kept = open(t, dataDir);
        const found = await kept.numbers();
        if (found.some((n) => !upTo(COUNT).includes(n))) throw new Error(`never kept: ${found.join()}`);
        kept.add(COUNT);
        await kept.settled();
        await kept.close();
        const again = await open(t, dataDir).numbers();
        const expected = [...new Set([...found, COUNT])].join();
        if (again.join() !== expected) throw new Error(`${again.join()} in place of ${expected}`);
      }),
      { numRuns: 60 },
    );
  });

  t.test(
    `${what}: on a full disk it waits, and is written once there is room`,
    { skip: cannotMount() },
    async (t) => {
      const disk = mountSmallDisk(t, '1m');
      const kept = open(t, disk.folder);
      for (const n of upTo(20)) kept.add(n);
      await kept.settled();
      disk.fill();
      for (let n = 20; n < 60; n += 1) {
        kept.add(n);
        // In several writes, the first of which takes what is left of a block and is cut there.
        await kept.settled();
      }
      t.same(kept.codes(), [full], 'told once');
      t.same(await kept.numbers(), upTo(60), 'all of it can be asked for');
      disk.free();
      await until(() => kept.isWell(), 'written again', 30);
      await kept.settled();
      await kept.close();
      const next = open(t, disk.folder);
      t.same(await next.numbers(), upTo(60));
      t.same(next.codes(), [], 'and no half record is left');
    },
  );
}
