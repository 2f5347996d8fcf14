import { cp, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { z } from 'zod';
import { messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { EventPayload } from './contract.js';

/*
 * The files of the outbox: a LevelDB database, ordered by key. A batch is written whole or not at all, also when
 * the process or the power dies in the middle of it.
 *
 *   e<key>   an event that the broker has not acknowledged, as JSON
 *   u<id>    a `started` event whose `ended` has not been written yet
 *   alive    milliseconds since the epoch: the service was at work then
 */

/** An event as it lies in the store. */
export interface StoredEvent {
  readonly key: number;
  readonly text: string;
}

export type Change =
  | { put: StoredEvent }
  | { remove: number }
  | { begin: string; text: string }
  | { end: string }
  | { alive: number };

export interface OutboxStore {
  /** What was in it when it was opened. */
  readonly found: Contents;
  /** Its files take the place of broken ones. */
  readonly replaced: boolean;
  /** All of it or nothing. With `sync` it resolves once the disk says that it is safe from a loss of power. */
  write(changes: readonly Change[], sync: boolean): Promise<void>;
  /** The events with a key above `after`, in order, at most `limit`. */
  read(after: number, limit: number): Promise<StoredEvent[]>;
  /** Reads every event. */
  contents(): Promise<Contents>;
  /** Of an earlier life: sounds that had begun and not ended, and when that life was last at work. */
  leftOver(): Promise<{ started: EventPayload[]; aliveAt: number | null }>;
  /** Gives the room of removed events with keys up to `key` back to the disk. */
  compact(key: number): Promise<void>;
  close(): Promise<void>;
}

/** The events of a store, in sum. */
export interface Contents {
  readonly events: number;
  readonly bytes: number;
  /** The highest key, null where there is no event. */
  readonly lastKey: number | null;
}

/** Why the store does not work. */
type StoreFault =
  /** Another process has it. */
  | 'locked'
  /** The disk is full, read-only, failing: the same files may work later. */
  | 'disk'
  /** The files are not what this program wrote. */
  | 'broken';

/** What an entry takes beside its text: its key, and LevelDB's own bytes. */
const ENTRY_OVERHEAD_BYTES = 32;
/** LevelDB keeps up to twice this in memory, and reads this much when it opens after a crash. */
const WRITE_BUFFER_BYTES = 1024 * 1024;
const SCAN_CHUNK = 1000;
/** Shifts keys, which may be negative, to where their decimal digits sort as they do. */
const KEY_OFFSET = Number.MAX_SAFE_INTEGER;

/** The disk's part of an entry, in bytes, before compression. */
export function bytesOf(text: string): number {
  return Buffer.byteLength(text) + ENTRY_OVERHEAD_BYTES;
}

/** Events may have been written by an older or a newer program; what makes them deliverable is checked. */
const storedSchema = z.looseObject({
  id: z.string().min(1),
  event_type: z.enum(['started', 'ended']),
  label: z.string().min(1),
  started_at: z.iso.datetime(),
  ended_at: z.iso.datetime().nullish(),
  detected_at: z.iso.datetime().optional(),
  late: z.boolean(),
});

/** The event of a stored text, or null where it is none. */
export function parseEvent(text: string): EventPayload | null {
  try {
    const stored = storedSchema.parse(JSON.parse(text));
    // Version 0.1 did not tell when it had decided.
    const detected_at = stored.detected_at ?? stored.ended_at ?? stored.started_at;
    return { ...(stored as unknown as EventPayload), detected_at };
  } catch {
    return null;
  }
}

function faultOf(error: unknown): StoreFault {
  let told = '';
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    told += ` ${'code' in cause ? String(cause.code) : ''} ${cause.message}`;
  }
  if (told.includes('LEVEL_LOCKED')) return 'locked';
  // LevelDB passes on the words of strerror(3); Node the names of the error numbers.
  return /No space left|Read-only file system|Permission denied|Operation not permitted|Too many open files|quota exceeded|Input\/output error|Cannot allocate|Stale file|\b(ENOSPC|EROFS|EACCES|EPERM|EMFILE|ENFILE|EDQUOT|EIO|ENOMEM|ESTALE|EBUSY)\b/i.test(
    told,
  )
    ? 'disk'
    : 'broken';
}

/** The innermost reason, for people. */
export function reasonOf(error: unknown): string {
  let innermost = error;
  while (innermost instanceof Error && innermost.cause instanceof Error) innermost = innermost.cause;
  return messageOf(innermost);
}

/**
 * Opens the store in `folder`, which is made where there is none. Files that are broken are set aside, with a
 * warning that names them, and what can be read of them is taken over. Throws SoundpostError `outbox_locked` where
 * another process has the folder, and whatever the disk says where it cannot be used now.
 */
export async function openOutboxStore(folder: string, log: Logger): Promise<OutboxStore> {
  try {
    return await openChecked(folder);
  } catch (error) {
    const fault = faultOf(error);
    if (fault === 'locked') {
      throw new SoundpostError(
        'outbox_locked',
        `${folder} is in use by another process: two services must not share a data_dir. Stop the other one, or give this one its own data_dir.`,
        { cause: error },
      );
    }
    if (fault === 'disk') throw error;
    return await replaceBroken(folder, reasonOf(error), log);
  }
}

/** Whether there is room to open the store again and to write `bytes`; throws the disk's reason if not. */
export async function checkRoom(folder: string, bytes: number): Promise<void> {
  const path = join(folder, 'probe');
  try {
    const file = await open(path, 'w');
    try {
      await file.writeFile(Buffer.alloc(WRITE_BUFFER_BYTES + bytes, 1));
      await file.sync();
    } finally {
      await file.close();
    }
  } finally {
    await rm(path, { force: true });
  }
}

/** Sets the broken files aside, and takes over from a copy of them what LevelDB can still read. */
async function replaceBroken(folder: string, reason: string, log: Logger): Promise<OutboxStore> {
  const aside = `${folder}.broken-${new Date().toISOString().replace(/[:.]/g, '-')}`;
  // A disk that breaks files again and again must not fill up with them: only the latest are kept.
  for (const name of await readdir(dirname(folder))) {
    if (name.startsWith(`${basename(folder)}.broken-`)) {
      await rm(join(dirname(folder), name), { recursive: true, force: true });
    }
  }
  await rename(folder, aside);
  let store: OutboxStore;
  try {
    await cp(aside, folder, { recursive: true });
    await rm(join(folder, 'LOCK'), { force: true });
    await ClassicLevel.repair(folder);
    store = await openChecked(folder);
  } catch (error) {
    if (faultOf(error) === 'disk') {
      await rm(folder, { recursive: true, force: true });
      await rename(aside, folder);
      throw error;
    }
    await rm(folder, { recursive: true, force: true });
    store = await openChecked(folder);
  }
  const { events } = store.found;
  const saved = events === 0 ? 'No waiting event' : `${events} waiting event${events === 1 ? '' : 's'}`;
  log.warn(
    { code: 'outbox_broken' },
    `The outbox ${folder} is broken (${reason}): it was set aside as ${aside}. ${saved} could be saved from it`,
  );
  return { ...store, replaced: true };
}

/** Opens, and reads everything once, so that files that cannot be read are found now. */
async function openChecked(folder: string): Promise<OutboxStore> {
  await mkdir(folder, { recursive: true });
  const db = new ClassicLevel(folder, {
    writeBufferSize: WRITE_BUFFER_BYTES,
    maxFileSize: WRITE_BUFFER_BYTES,
    cacheSize: WRITE_BUFFER_BYTES,
    maxOpenFiles: 100,
  });
  await db.open();
  const store = storeOf(db);
  try {
    await store.leftOver();
    return { ...store, found: await store.contents(), replaced: false };
  } catch (error) {
    await db.close();
    throw error;
  }
}

const eventKey = (key: number): string => `e${String(BigInt(key) + BigInt(KEY_OFFSET)).padStart(17, '0')}`;
const keyOf = (name: string): number => Number(BigInt(name.slice(1)) - BigInt(KEY_OFFSET));
const isEventKey = (name: string): boolean => /^e\d{17}$/.test(name);

function storeOf(db: ClassicLevel): Omit<OutboxStore, 'found' | 'replaced'> {
  return {
    async write(changes, sync) {
      await db.batch(changes.map(operation), { sync });
    },
    async read(after, limit) {
      // The lower bound lets LevelDB jump over what has been removed before it.
      const found = await db
        .iterator({ gt: Number.isFinite(after) ? eventKey(after) : 'e', lt: 'f', limit })
        .all();
      return found.filter(([name]) => isEventKey(name)).map(([name, text]) => ({ key: keyOf(name), text }));
    },
    async contents() {
      let [events, bytes]: [number, number] = [0, 0];
      let last: string | null = null;
      const iterator = db.iterator({ gt: 'e', lt: 'f' });
      try {
        for (;;) {
          const found = await iterator.nextv(SCAN_CHUNK);
          if (found.length === 0) return { events, bytes, lastKey: last === null ? null : keyOf(last) };
          for (const [name, text] of found) {
            if (!isEventKey(name)) continue;
            events += 1;
            bytes += bytesOf(text);
            last = name;
          }
        }
      } finally {
        await iterator.close();
      }
    },
    async leftOver() {
      const texts = await db.values({ gt: 'u', lt: 'v' }).all();
      const aliveAt = Number(await db.get('alive'));
      return {
        started: texts.map(parseEvent).filter((event) => event !== null),
        aliveAt: Number.isFinite(aliveAt) && aliveAt > 0 ? aliveAt : null,
      };
    },
    compact: (key) => db.compactRange('e', eventKey(key)),
    close: () => db.close(),
  };
}

function operation(
  change: Change,
): { type: 'put'; key: string; value: string } | { type: 'del'; key: string } {
  if ('put' in change) return { type: 'put', key: eventKey(change.put.key), value: change.put.text };
  if ('remove' in change) return { type: 'del', key: eventKey(change.remove) };
  if ('begin' in change) return { type: 'put', key: `u${change.begin}`, value: change.text };
  if ('end' in change) return { type: 'del', key: `u${change.end}` };
  return { type: 'put', key: 'alive', value: String(change.alive) };
}
