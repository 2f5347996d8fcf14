import { open, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder } from '../common/atomic-file.js';
import { crc32c } from '../common/crc32c.js';
import { codeOfErrno } from '../common/errno.js';
import { encodeRecord, type OutboxRecord, type Tally } from './outbox-record.js';
import { apply, type Location, type OutboxState, type Segment } from './outbox-replay.js';
import { bytesOf, type Change, type Contents, type StoredEvent } from './outbox-store.js';

/** A file that has grown so large is followed by another. */
export const SEGMENT_BYTES = 1024 * 1024;
/** More than any file has: a write is a quarter of the room at most. */
export const MAX_SEGMENT_BYTES = 3_000_000_000;
/** A file of which more than this waits is left as it is. */
const WORTH_MOVING_BYTES = SEGMENT_BYTES / 2;
const MOVED_TOGETHER = 256;
/** Events that lie within so much of a file are read in one go. */
const READ_BYTES = 64 * 1024;

/** The number in the name of a file of the outbox, or null where it is another file. */
export function placeOf(name: string): number | null {
  const [, digits] = /^events-(\d{10})\.log$/.exec(name) ?? [];
  return digits === undefined ? null : Number(digits);
}

/** The files of the outbox at work: appends, finds, and gives back room. */
export interface Segments {
  /** As `OutboxStore`. After a write that failed all others fail: the file may end in half of it. */
  write(changes: readonly Change[], sync: boolean): Promise<void>;
  read(after: number, limit: number): Promise<StoredEvent[]>;
  contents(): Contents;
  begun(): { id: string; text: string }[];
  aliveMs(): number | null;
  compact(): Promise<void>;
  close(): Promise<void>;
}

/** What is written in one go. */
interface Lines {
  readonly buffer: Buffer;
  readonly records: { readonly number: number; readonly record: OutboxRecord; readonly offset: number }[];
}

/** `state` is what the files in `segments` add up to; both are taken over. Begins a new file, which shows that it can. */
export async function createSegments(options: {
  folder: string;
  segments: Segment[];
  state: OutboxState;
}): Promise<Segments> {
  const { folder, segments, state } = options;
  /** In order; some of them may have gone. */
  let keys = [...state.events.keys()].sort((one, other) => one - other);
  /** Events that wait, in bytes. */
  let waitingBytes = 0;
  let file: FileHandle | null = null;
  let current: Segment;
  let broken: Error | null = null;
  let last: Promise<unknown> = Promise.resolve();

  /** One thing after the other is done to the files. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = last.then(work);
    last = mine.catch(() => undefined);
    return mine;
  }

  function encode(records: readonly OutboxRecord[], at: number): Lines {
    const lines: Buffer[] = [];
    const encoded: { number: number; record: OutboxRecord; offset: number }[] = [];
    let { number } = state;
    let offset = at;
    for (const record of [...records, { kind: 'commit' as const, ...tallyAfter(records) }]) {
      number += 1;
      const { line, textOffset } = encodeRecord(number, record);
      lines.push(line);
      encoded.push({ number, record, offset: offset + textOffset });
      offset += line.length;
    }
    // The empty line behind the commit: one damaged newline does not make it look cut short.
    return { buffer: Buffer.concat([...lines, Buffer.from('\n')]), records: encoded };
  }

  async function begin(): Promise<void> {
    await file?.close();
    file = null;
    const place = (segments.at(-1)?.place ?? 0) + 1;
    const name = `events-${String(place).padStart(10, '0')}.log`;
    const path = join(folder, name);
    file = await open(path, 'wx');
    current = { name, place, bytes: 0, keys: new Set(), begun: new Set() };
    segments.push(current);
    const alive: OutboxRecord[] = state.aliveMs === null ? [] : [{ kind: 'alive', atMs: state.aliveMs }];
    try {
      await append(alive, true);
    } catch (error) {
      // On a full disk every attempt would leave an empty file.
      await file.close();
      file = null;
      await rm(path, { force: true });
      throw error;
    }
    await syncFolder(folder);
  }

  async function append(records: readonly OutboxRecord[], sync: boolean): Promise<void> {
    if (broken !== null) throw broken;
    if (file === null) throw new Error('it is closed');
    const lines = encode(records, current.bytes);
    try {
      for (let done = 0; done < lines.buffer.length;) {
        done += (await file.write(lines.buffer, done, lines.buffer.length - done, current.bytes + done))
          .bytesWritten;
      }
      if (sync) await file.datasync();
    } catch (error) {
      broken = error as Error;
      throw error;
    }
    current.bytes += lines.buffer.length;
    for (const line of lines.records) take(line);
  }

  function tallyAfter(records: readonly OutboxRecord[]): Tally {
    const here = new Map<number, boolean>();
    let { written, lastKey } = state;
    for (const record of records) {
      if (record.kind === 'event') {
        written += 1;
        lastKey = Math.max(record.key, lastKey ?? -Infinity);
      }
      if (record.kind === 'event' || record.kind === 'removed') here.set(record.key, record.kind === 'event');
    }
    let waiting = state.events.size;
    for (const [key, is] of here) waiting += Number(is) - Number(state.events.has(key));
    return { waiting, written, lastKey };
  }

  function take(line: Lines['records'][number]): void {
    const { record } = line;
    if ('key' in record) waitingBytes -= sizeOf(record.key);
    const isNew = record.kind === 'event' && !state.events.has(record.key);
    apply(state, current, line);
    if (!('key' in record) || !('text' in record)) return;
    waitingBytes += sizeOf(record.key);
    if (!isNew) return;
    if (record.key < (keys.at(-1) ?? -Infinity))
      keys = [...state.events.keys()].sort((one, other) => one - other);
    else keys.push(record.key);
  }

  function sizeOf(key: number): number {
    const location = state.events.get(key);
    return location === undefined ? 0 : location.bytes + bytesOf('');
  }

  /** Deletes the oldest files of which nothing waits any more. */
  async function dropEmpty(): Promise<void> {
    while (segments[0] !== current && segments[0]!.keys.size === 0 && segments[0]!.begun.size === 0) {
      await rm(join(folder, segments[0]!.name), { force: true });
      segments.shift();
    }
    if (keys.length > 64 && keys.length > 2 * state.events.size)
      keys = keys.filter((key) => state.events.has(key));
  }

  /** The position of the first key above `after`. */
  function above(after: number): number {
    let [low, high] = [0, keys.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (keys[middle]! > after) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The texts of events, in this order. Those that lie beside each other are read together. */
  async function textsOf(wanted: readonly number[]): Promise<StoredEvent[]> {
    const found: StoredEvent[] = [];
    let run: { key: number; location: Location }[] = [];
    const readRun = async () => {
      const first = run[0]?.location;
      if (first === undefined) return;
      found.push(...(await textsBetween(join(folder, first.segment.name), first.offset, run)));
      run = [];
    };
    for (const key of wanted) {
      const location = state.events.get(key);
      if (location === undefined) continue;
      const [first, before] = [run[0]?.location, run.at(-1)?.location];
      const isBeside =
        first === undefined ||
        before === undefined ||
        (location.segment === before.segment &&
          location.offset > before.offset &&
          location.offset + location.bytes - first.offset <= READ_BYTES);
      if (!isBeside) await readRun();
      run.push({ key, location });
    }
    await readRun();
    return found;
  }

  async function moveOldest(): Promise<void> {
    const [oldest] = segments;
    if (oldest === undefined) return;
    const moving = [...oldest.keys].sort((one, other) => one - other);
    for (let n = 0; n < moving.length; n += MOVED_TOGETHER) {
      const texts = await textsOf(moving.slice(n, n + MOVED_TOGETHER));
      await append(
        texts.map(({ key, text }) => ({ kind: 'moved', key, text })),
        false,
      );
    }
    const begun: OutboxRecord[] = [...oldest.begun].flatMap((id) => {
      const text = state.begun.get(id)?.text;
      return text === undefined ? [] : [{ kind: 'begun', id, text }];
    });
    await append(begun, true);
    await dropEmpty();
  }

  for (const key of keys) waitingBytes += sizeOf(key);
  await begin();
  await dropEmpty();

  return {
    write: (changes, sync) =>
      inTurn(async () => {
        if (current.bytes >= SEGMENT_BYTES) await begin();
        await append(
          changes.map(recordOf).filter((record) => record.kind !== 'removed' || state.events.has(record.key)),
          sync,
        );
        await dropEmpty();
      }),
    // Not in turn: a write that hangs holds up no reading.
    async read(after, limit) {
      const wanted: number[] = [];
      for (let n = above(after); n < keys.length && wanted.length < limit; n += 1) {
        if (state.events.has(keys[n]!)) wanted.push(keys[n]!);
      }
      return textsOf(wanted).catch((error: unknown) => {
        // Moved to another file in between, or really gone.
        if (codeOfErrno(error) === 'ENOENT') return textsOf(wanted);
        throw error;
      });
    },
    contents: () => ({ events: state.events.size, bytes: waitingBytes, lastKey: state.lastKey }),
    begun: () => [...state.begun].map(([id, { text }]) => ({ id, text })),
    aliveMs: () => state.aliveMs,
    compact: () =>
      inTurn(async () => {
        const until = current;
        while (segments[0] !== undefined && segments[0] !== until) {
          const [oldest] = segments;
          const waits = [...oldest.keys].reduce((sum, key) => sum + sizeOf(key), 0);
          if (waits > WORTH_MOVING_BYTES) break;
          if (current.bytes >= SEGMENT_BYTES) await begin();
          await moveOldest();
        }
      }),
    async close() {
      await last;
      await file?.close();
      file = null;
    },
  };
}

function recordOf(change: Change): OutboxRecord {
  if ('put' in change) return { kind: 'event', ...change.put };
  if ('remove' in change) return { kind: 'removed', key: change.remove };
  if ('begin' in change) return { kind: 'begun', id: change.begin, text: change.text };
  if ('end' in change) return { kind: 'over', id: change.end };
  return { kind: 'alive', atMs: change.alive };
}

/** The texts in one piece of a file; one that the disk has made something else of is empty. */
async function textsBetween(
  path: string,
  from: number,
  places: readonly { key: number; location: Location }[],
): Promise<StoredEvent[]> {
  const last = places.at(-1)!.location;
  const buffer = Buffer.alloc(last.offset + last.bytes - from);
  const file = await open(path, 'r');
  try {
    await file.read(buffer, 0, buffer.length, from);
  } finally {
    await file.close();
  }
  return places.map(({ key, location: { offset, bytes, check } }) => {
    const text = buffer.subarray(offset - from, offset - from + bytes);
    return { key, text: crc32c(text) === check ? text.toString('utf8') : '' };
  });
}

/** The text at a place of a file; empty where the disk has made something else of it. */
export async function textAt(path: string, location: Location): Promise<string> {
  const [found] = await textsBetween(path, location.offset, [{ key: 0, location }]);
  return found?.text ?? '';
}
