import { constants } from 'node:fs';
import { mkdir, open, readdir, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { removeTemporaries, writeFileAtomic } from '../common/atomic-file.js';
import { readPlain } from '../common/bounded-read.js';
import { codeOfErrno } from '../common/errno.js';
import { decodeMoments, encodeMoment, endOfWhole, type Moment } from './background-record.js';
import type { Draw } from './draw.js';

/*
 * The files of the background: `<model>-<day>.emb`, one for each day (UTC) and each model, named by the first digits of
 * the digest of its network: embeddings of one network say nothing to another.
 */

const DAY_MS = 86_400_000;
/** 9999-12-31: what an ISO date says in four digits of a year. */
const LAST_DAY = 2_932_896;
const MODEL_DIGITS = 16;
/** More days than this are not kept apart: a season is enough. */
const MOST_DAYS = 60;
/** A pipe in the place of a file must not hold up anybody. */
const OPEN_FLAGS =
  constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NONBLOCK | constants.O_NOCTTY;
/** What is heard in a home is nobody else's business. */
const MODE = 0o600;

interface DayFile {
  readonly name: string;
  readonly model: string;
  readonly day: string;
  bytes: number;
}

/** The files on the disk, within their bounds. One call at a time. */
export interface BackgroundFiles {
  /** Appends moments that were heard through this model, and makes room where there is too much. */
  append(modelSha256: string, moments: readonly Moment[]): Promise<void>;
  /** All moments of a model, day by day, and how many damaged stretches lie between them. */
  read(
    modelSha256: string,
    take: (moment: Moment) => void,
    signal?: AbortSignal,
  ): Promise<{ damaged: number }>;
  /** What all files take, in bytes, as far as is known. */
  bytes(): Promise<number>;
  /** Removes all of them. */
  clear(): Promise<void>;
}

export function createBackgroundFiles(options: {
  folder: string;
  maxBytes: number;
  draw: Draw;
}): BackgroundFiles {
  const { folder, maxBytes, draw } = options;
  let known: Map<string, DayFile> | null = null;
  /** Files that are known to end with a whole record. */
  const whole = new Set<string>();

  async function load(): Promise<Map<string, DayFile>> {
    if (known !== null) return known;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await removeTemporaries(folder);
    const files = new Map<string, DayFile>();
    for (const name of await readdir(folder)) {
      const file = fileOf(name);
      if (file === null) continue;
      const found = await stat(join(folder, name)).catch(() => null);
      if (found?.isFile() === true) files.set(name, { ...file, bytes: found.size });
    }
    known = files;
    return files;
  }

  const total = (files: ReadonlyMap<string, DayFile>): number =>
    [...files.values()].reduce((sum, { bytes }) => sum + bytes, 0);

  async function remove(files: Map<string, DayFile>, { name }: DayFile): Promise<void> {
    await rm(join(folder, name), { force: true });
    files.delete(name);
  }

  /** Every second moment of the file goes, by chance: what is left stands for the whole day. */
  async function thin(files: Map<string, DayFile>, file: DayFile): Promise<void> {
    const read = await readPlain(join(folder, file.name), 2 * maxBytes + file.bytes);
    const records = 'bytes' in read ? decodeMoments(read.bytes).records : [];
    const kept = records.filter(() => draw() < 0.5).map(({ bytes }) => bytes);
    if (kept.length === 0 || kept.length === records.length) return remove(files, file);
    const content = Buffer.concat(kept);
    await writeFileAtomic(join(folder, file.name), content, { mode: MODE, durable: false });
    file.bytes = content.length;
  }

  /** What belongs to other models goes first, then the fullest day is thinned: days are kept evenly. */
  async function makeRoom(files: Map<string, DayFile>, model: string): Promise<void> {
    const byDay = () => [...files.values()].sort((one, other) => (one.day < other.day ? -1 : 1));
    const own = byDay().filter((file) => file.model === model);
    for (const file of own.slice(0, Math.max(0, own.length - MOST_DAYS))) await remove(files, file);
    while (total(files) > maxBytes) {
      const all = byDay();
      const stranger = all.find((file) => file.model !== model);
      if (stranger !== undefined) {
        await remove(files, stranger);
        continue;
      }
      const fullest = all.reduce((most, file) => (file.bytes > most.bytes ? file : most), all[0]!);
      await thin(files, fullest);
    }
  }

  /** Takes off half a record that a kill or a full disk has left: what is appended behind it would be one hole more. */
  async function makeWhole({ name }: DayFile): Promise<void> {
    if (whole.has(name)) return;
    const path = join(folder, name);
    const read = await readPlain(path, 2 * maxBytes);
    if ('bytes' in read) {
      const end = endOfWhole(read.bytes);
      if (end < read.bytes.length) await truncate(path, end);
    }
    whole.add(name);
  }

  async function appendTo(file: DayFile, records: readonly Buffer[]): Promise<void> {
    await makeWhole(file);
    const handle = await open(join(folder, file.name), OPEN_FLAGS, MODE);
    try {
      if (!(await handle.stat()).isFile()) throw new Error(`${file.name} is not a plain file`);
      await handle.appendFile(Buffer.concat(records));
      file.bytes = (await handle.stat()).size;
    } finally {
      await handle.close();
    }
  }

  return {
    async append(modelSha256, moments) {
      const model = modelSha256.slice(0, MODEL_DIGITS);
      try {
        const files = await load();
        const days = new Map<string, Buffer[]>();
        for (const moment of moments) {
          const name = `${model}-${dayOf(moment.atMs)}.emb`;
          days.set(name, [...(days.get(name) ?? []), encodeMoment(moment)]);
        }
        for (const [name, records] of days) {
          const file = files.get(name) ?? { ...fileOf(name)!, bytes: 0 };
          files.set(name, file);
          await appendTo(file, records);
        }
        await makeRoom(files, model);
      } catch (error) {
        // What the disk has taken of it is not known: it is looked at again.
        known = null;
        whole.clear();
        throw error;
      }
    },
    async read(modelSha256, take, signal) {
      const model = modelSha256.slice(0, MODEL_DIGITS);
      let damaged = 0;
      for (const file of (await load()).values()) {
        signal?.throwIfAborted();
        if (file.model !== model) continue;
        const read = await readPlain(join(folder, file.name), 2 * maxBytes + file.bytes);
        if ('problem' in read) {
          if (codeOfErrno(read.error) !== 'ENOENT') damaged += 1;
          continue;
        }
        const found = decodeMoments(read.bytes);
        damaged += found.damaged;
        for (const { moment } of found.records) take(moment);
      }
      return { damaged };
    },
    bytes: async () => total(await load()),
    async clear() {
      const files = await load();
      for (const file of [...files.values()]) await remove(files, file);
    },
  };
}

/** The day of a moment as a date; a clock that is out of its senses counts as the nearest day that there is. */
function dayOf(ms: number): string {
  const day = Math.min(LAST_DAY, Math.max(0, Math.floor(ms / DAY_MS)));
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}

function fileOf(name: string): Omit<DayFile, 'bytes'> | null {
  const [, model, day] = /^([0-9a-f]{16})-(\d{4}-\d{2}-\d{2})\.emb$/.exec(name) ?? [];
  return model === undefined || day === undefined ? null : { name, model, day };
}
