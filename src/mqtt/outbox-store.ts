import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { isPassing, readPlain } from '../common/bounded-read.js';
import { crc32c } from '../common/crc32c.js';
import { codeOfErrno } from '../common/errno.js';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { EventPayload } from './contract.js';
import { readFormerOutbox, removeFormerFiles, type FormerOutbox } from './former-outbox.js';
import { asideOf, boundAsides } from './outbox-aside.js';
import { lockOutbox } from './outbox-lock.js';
import { createReplay, emptyState, type Damage, type OutboxState, type Segment } from './outbox-replay.js';
import { createSegments, MAX_SEGMENT_BYTES, type Segments } from './outbox-segments.js';
import { textAt } from './outbox-texts.js';
import { placeOf, SEGMENT_BYTES } from './segment-appender.js';

/*
 * The files of the outbox: `events-<place>.log`, lines that are only ever appended (`outbox-record.ts`), a new file
 * with every start and after `SEGMENT_BYTES` (`segment-appender.ts`). What waits is found through an index in memory,
 * for which all lines are read, and checked, once at the start (`outbox-replay.ts`).
 *
 * Why files of our own: a database in native code (LevelDB until version 0.1) that repairs damaged files ends the
 * process where an assertion of its own fails, at every start again, and drops what is damaged in its log in silence.
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
  /** Events that waited and were not in the broken files any more, as many as can be known. */
  readonly lost: number;
  /** All of it or nothing. With `sync` it resolves once the disk says that it is safe from a loss of power. */
  write(changes: readonly Change[], sync: boolean): Promise<void>;
  /** The events with a key above `after`, in order, at most `limit`. One that the disk has lost since has no text. */
  read(after: number, limit: number): Promise<StoredEvent[]>;
  /** Of what waits. */
  contents(): Contents;
  /**
   * Of an earlier life: sounds that had begun and surely not ended, and when that life was last at work (ms since the
   * epoch).
   */
  leftOver(): { started: EventPayload[]; aliveAt: number | null };
  /** Gives room that removed events take back to the disk, where single ones that wait hold it. */
  compact(): Promise<void>;
  close(): Promise<void>;
}

/** The events of a store, in sum. */
export interface Contents {
  readonly events: number;
  readonly bytes: number;
  /** The highest key that any event ever had, null where there was none. */
  readonly lastKey: number | null;
}

/** What an entry takes beside its text: its check, its number, its key, and a share of the commit. */
const ENTRY_OVERHEAD_BYTES = 32;
/** Small files of many short lives are put together. */
const MAX_SEGMENTS_AT_START = 8;
/** Events that are taken over together. */
const TAKEN_TOGETHER = 256;

/** The disk's part of an entry, in bytes. */
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

/** The innermost reason, for people. */
export function reasonOf(error: unknown): string {
  let innermost = error;
  while (innermost instanceof Error && innermost.cause instanceof Error) innermost = innermost.cause;
  return messageOf(innermost);
}

/** Whether there is room to open the store again and to write `bytes`; throws the disk's reason if not. */
export async function checkRoom(folder: string, bytes: number): Promise<void> {
  const path = join(folder, 'probe');
  try {
    const file = await open(path, 'w');
    try {
      await file.writeFile(Buffer.alloc(SEGMENT_BYTES + bytes, 1));
      await file.sync();
    } finally {
      await file.close();
    }
  } finally {
    await rm(path, { force: true });
  }
}

/**
 * Opens the store in `folder`, which is made where there is none. Files that are broken, or of an earlier version, are
 * taken over as far as they are whole; broken ones are set aside, with a warning that names them and what is lost.
 * Throws SoundpostError `outbox_locked` where another process has the folder, and whatever the disk says where it
 * cannot be used now.
 */
export async function openOutboxStore(folder: string, log: Logger): Promise<OutboxStore> {
  const unlock = await lockOutbox(`${folder}.lock`, folder);
  try {
    const opened = await openLocked(folder, log);
    const close = () => opened.close().finally(unlock);
    return { ...opened, close };
  } catch (error) {
    await unlock();
    throw error;
  }
}

async function openLocked(folder: string, log: Logger): Promise<OutboxStore> {
  const files = await readFolder(folder);
  const { segments, state, former, problem } = files;
  if (problem === null) {
    const store = await openSegments(folder, segments, state);
    if (former !== null) {
      await takeOver(files, folder, store);
      await removeFormerFiles(folder, files.names);
    } else if (segments.length > MAX_SEGMENTS_AT_START) await store.compact();
    return storeOf(store, { replaced: false, lost: 0 });
  }
  const aside = asideOf(folder);
  await rename(folder, aside);
  let store: Segments | null = null;
  try {
    store = await openSegments(folder, [], emptyState());
    await takeOver(files, aside, store);
  } catch (error) {
    await store?.close();
    await rm(folder, { recursive: true, force: true });
    await rename(aside, folder);
    throw error;
  }
  await boundAsides(folder);
  log.warn(
    { code: 'outbox_broken', lost: files.lost },
    `The outbox ${folder} is broken (${problem}): it was set aside as ${aside}. ${events(store.contents().events, 'No', 'waiting')} could be saved from it, ${events(files.lost, 'no', '')} known to be lost. A sound whose end may have been among them gets none`,
  );
  return storeOf(store, { replaced: true, lost: files.lost });
}

function events(count: number, none: string, kind: string): string {
  return [count === 0 ? none : String(count), kind, count === 1 || count === 0 ? 'event' : 'events']
    .filter((word) => word !== '')
    .join(' ');
}

async function openSegments(folder: string, segments: Segment[], state: OutboxState): Promise<Segments> {
  await mkdir(folder, { recursive: true });
  return createSegments({ folder, segments, state });
}

function storeOf(store: Segments, { replaced, lost }: { replaced: boolean; lost: number }): OutboxStore {
  return {
    found: store.contents(),
    replaced,
    lost,
    write: (changes, sync) => store.write(changes, sync),
    read: (after, limit) => store.read(after, limit),
    contents: () => store.contents(),
    leftOver: () => ({
      started: store
        .begun()
        .sort(({ id: one }, { id: other }) => (one < other ? -1 : 1))
        .map(({ text }) => parseEvent(text))
        .filter((event) => event !== null),
      aliveAt: store.aliveMs(),
    }),
    compact: () => store.compact(),
    close: () => store.close(),
  };
}

interface FolderFiles {
  readonly names: string[];
  readonly segments: Segment[];
  readonly state: OutboxState;
  /** What version 0.1 has left. */
  readonly former: FormerOutbox | null;
  /** Why the files are not what was written, for people. */
  readonly problem: string | null;
  readonly lost: number;
}

/** Reads all files and checks every line of them. */
async function readFolder(folder: string): Promise<FolderFiles> {
  const names = await readdir(folder).catch((error: unknown) => {
    const code = codeOfErrno(error);
    if (code === 'ENOENT') return [];
    if (code === 'ENOTDIR') return null;
    throw error;
  });
  if (names === null) {
    return {
      names: [],
      segments: [],
      state: emptyState(),
      former: null,
      problem: 'it is not a folder',
      lost: 0,
    };
  }
  await rm(join(folder, 'probe'), { force: true });
  const replay = createReplay();
  const segments: Segment[] = [];
  const problems: string[] = [];
  for (const name of names.filter((name) => placeOf(name) !== null).sort()) {
    const read = await readPlain(join(folder, name), MAX_SEGMENT_BYTES);
    if ('error' in read && isPassing(read.error)) throw read.error;
    if ('bytes' in read) {
      const { length } = read.bytes;
      const segment = {
        name,
        place: placeOf(name) ?? 0,
        bytes: length,
        keys: new Set<number>(),
        begun: new Set<string>(),
      };
      segments.push(segment);
      replay.read(segment, read.bytes);
    } else {
      problems.push(`${name} ${read.problem}`);
      replay.unreadable();
    }
  }
  const { state, damage } = replay.end();
  if (damage !== null) problems.push(sentenceOf(damage));
  const former = await readFormerOutbox(folder, names);
  if (former?.problem != null) problems.push(former.problem);
  const lost = (damage?.lostEvents ?? 0) + (former?.lost ?? 0);
  return {
    names,
    segments,
    state,
    former,
    problem: problems.length === 0 ? null : problems.join('; '),
    lost,
  };
}

function sentenceOf({ lines }: Damage): string {
  return lines === 1 ? 'a line is damaged or missing' : `${lines} lines are damaged or missing`;
}

/** Writes what is whole in `files`, which lie in `from`, into `to`; what is there already (the same files) stays. */
async function takeOver(files: FolderFiles, from: string, to: Segments): Promise<void> {
  const { former, state } = files;
  const own = [...state.events.keys()].sort((one, other) => one - other);
  const isNew = to.contents().events === 0;
  const all = former?.events ?? [];
  const earlier = all.filter(({ key, text }) => state.events.get(key)?.check !== crc32c(Buffer.from(text)));
  // An attempt that was cut short has taken some already. Where none of them is there, somebody went back to version
  // 0.1 for a while: its events come first.
  const isFresh = own.length > 0 && earlier.length === all.length && earlier.length > 0;
  const shift = isFresh ? Math.min(0, own[0]! - 1 - earlier.at(-1)!.key) : 0;
  for (let n = 0; n < earlier.length; n += TAKEN_TOGETHER) {
    const together = earlier.slice(n, n + TAKEN_TOGETHER);
    await to.write(
      together.map(({ key, text }) => ({ put: { key: key + shift, text } })),
      false,
    );
  }
  for (let n = 0; isNew && n < own.length; n += TAKEN_TOGETHER) {
    const together: Change[] = [];
    for (const key of own.slice(n, n + TAKEN_TOGETHER)) {
      const location = state.events.get(key);
      const text = location === undefined ? '' : await textAt(join(from, location.segment.name), location);
      if (text !== '') together.push({ put: { key, text } });
    }
    await to.write(together, false);
  }
  const begun = isNew ? [...state.begun].map(([id, { text }]) => ({ begin: id, text })) : [];
  const alive = Math.max(state.aliveMs ?? 0, former?.aliveMs ?? 0);
  await to.write([...(former?.begun ?? []), ...begun, ...(alive > 0 ? [{ alive }] : [])], true);
}
