import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { removeTemporaries, syncFolder } from '../common/atomic-file.js';
import { codeOfErrno } from '../common/errno.js';
import { appendLines } from './append.js';
import {
  dayFile,
  dayFileOf,
  dayOf,
  roomOf,
  union,
  type DayFile,
  type Stream,
  type TimeRange,
} from './day-file.js';
import { crowdedOut, expired, type ClockTrust } from './retention.js';

/** A file that has grown so large is followed by another, in bytes; smaller where there is little room for all. */
const MAX_FILE_BYTES = 2 * 1024 * 1024;
/** The two files that are written into stay, so they must be small beside the room for all. */
const FILES_IN_ROOM = 16;
/** A file is synced with a write where it has not been for so long; the system writes the rest in half a minute. */
const SYNC_MS = 60_000;

/** The files of the history on the disk. Nothing may be called while something else is being done, but `files`. */
export interface DayFiles {
  /** Oldest first. */
  readonly files: readonly DayFile[];
  /** What they take on the disk. */
  readonly bytes: number;
  /** Looks at the folder; what cannot be used now is looked at again with the next call after `distrust`. */
  load(): Promise<void>;
  /** Something went wrong, or the folder has been changed: it is looked at again before the next write. */
  distrust(): void;
  /** Appends lines whose times are in `range`, all of them or a part; rejects with what the disk says. */
  append(stream: Stream, lines: readonly Buffer[], range: TimeRange): Promise<void>;
  /** Removes what is too old, and what there is no room for beside `bytes` more. */
  tidy(bytes?: number): Promise<void>;
  /** Removes one file. */
  remove(file: DayFile): Promise<void>;
  /** Of what has been written the disk keeps all, also in a loss of power. */
  sync(): Promise<void>;
}

/**
 * @param options.maxBytes of all files
 * @param options.days a file goes when its day is longer ago
 */
export function createDayFiles(options: {
  folder: string;
  maxBytes: number;
  days: number;
  trust: ClockTrust;
  nowMs: () => number;
  monotonicMs: () => number;
}): DayFiles {
  const { folder, maxBytes, days, trust, nowMs, monotonicMs } = options;
  const fileBytes = Math.min(MAX_FILE_BYTES, Math.floor(maxBytes / FILES_IN_ROOM));
  let files: DayFile[] = [];
  let isLoaded = false;
  let lastPlace = 0;
  /** The file that a stream is written into, and when it was synced last; null where it has to be looked for. */
  const current = new Map<Stream, { file: DayFile; isMended: boolean; syncedMs: number }>();

  async function load(): Promise<void> {
    if (isLoaded) return;
    await mkdir(dirname(folder), { recursive: true });
    // What is heard in a home is nobody else's business.
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await removeTemporaries(folder);
    const known = new Map(files.map((file) => [file.name, file]));
    const found: DayFile[] = [];
    for (const name of await readdir(folder)) {
      const file = known.get(name) ?? dayFileOf(name);
      if (file === null) continue;
      lastPlace = Math.max(lastPlace, file.place);
      const stat = await lstat(join(folder, name)).catch(ifGone);
      if (stat?.isFile() !== true) continue;
      // What is known of it may not be all of it.
      if (file.bytes !== stat.size) file.isKnown = false;
      file.bytes = stat.size;
      found.push(file);
    }
    files = found.sort((one, other) => one.place - other.place);
    current.clear();
    isLoaded = true;
  }

  /** Where the next lines of a stream go to. */
  function target(stream: Stream, bytes: number): { file: DayFile; isMended: boolean; syncedMs: number } {
    const today = dayOf(nowMs());
    const used =
      current.get(stream) ??
      files
        .filter((file) => file.stream === stream)
        .map((file) => ({ file, isMended: false, syncedMs: -Infinity }))
        .at(-1);
    // A clock that was set back over midnight begins no file for that.
    const fits = (file: DayFile): boolean =>
      (file.day === today || file.day === today + 1) && file.bytes + bytes <= fileBytes;
    if (used !== undefined && fits(used.file)) return used;
    lastPlace += 1;
    const file = dayFile(stream, lastPlace, today);
    file.isKnown = true;
    return { file, isMended: true, syncedMs: -Infinity };
  }

  async function remove(file: DayFile): Promise<void> {
    await rm(join(folder, file.name), { force: true });
    files = files.filter((other) => other !== file);
    for (const [stream, used] of current) if (used.file === file) current.delete(stream);
  }

  async function tidy(bytes = 0): Promise<void> {
    const believed = trust.trusts(files.map(({ day }) => day));
    if (believed) for (const file of expired(files, dayOf(nowMs()), days)) await remove(file);
    const newest = new Set([...current.values()].map(({ file }) => file));
    for (const file of crowdedOut(files, { bytes, maxBytes }, (each) => newest.has(each))) await remove(file);
  }

  return {
    get files() {
      return files;
    },
    get bytes() {
      return files.reduce((sum, file) => sum + roomOf(file), 0);
    },
    load,
    distrust() {
      isLoaded = false;
    },
    async append(stream, lines, range) {
      const length = lines.reduce((sum, line) => sum + line.length, 0);
      const used = target(stream, length);
      const { file } = used;
      const isNew = !files.includes(file);
      if (!isNew) current.set(stream, used);
      // Before it is written: a full disk may have room then.
      await tidy(roomOf({ bytes: length }));
      const now = monotonicMs();
      const sync = now - used.syncedMs >= SYNC_MS;
      const path = join(folder, file.name);
      // Before the write, which may arrive in part.
      file.written = union(file.written, range);
      const size = await appendLines(path, lines, { mend: !used.isMended, sync });
      if (isNew) files = [...files, file];
      file.bytes = size;
      current.set(stream, { file, isMended: true, syncedMs: sync ? now : used.syncedMs });
      if (isNew && sync) await syncFolder(folder);
    },
    tidy,
    remove,
    async sync() {
      for (const { file } of current.values())
        await appendLines(join(folder, file.name), [], { mend: false, sync: true });
    },
  };
}

function ifGone(error: unknown): null {
  if (codeOfErrno(error) === 'ENOENT') return null;
  throw error;
}
