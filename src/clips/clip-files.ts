import { readdir, rm, rmdir, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { readPlain } from '../common/bounded-read.js';
import { clipId } from '../common/rules.js';
import { clipSchema, type Clip } from '../mqtt/clip-specs.js';

/*
 * How clips lie on the disk: `<folder>/<day>/<id>.flac` with `<id>.json` beside it. Both are there, or it is no clip.
 */

/** What stands in the JSON: it is written before the size of the FLAC file is known. */
export type ClipNote = Omit<Clip, 'bytes'>;
const noteSchema = clipSchema.omit({ bytes: true });
const NOTE_BYTES = 16_384;

const DAY = /^\d{4}-\d{2}-\d{2}$/;
/** Of a file that was being written: see `writeFileAtomic`. */
const TEMPORARY = /^\.[0-9a-f]{32}\.(flac|json)\..*\.tmp$/;

/** The folder of the day (UTC) on which a clip begins. */
export function dayFolder(folder: string, { clip_started_at: at }: Pick<Clip, 'clip_started_at'>): string {
  return join(folder, at.slice(0, 10));
}

/** Removes all that there may be of a clip. Rejects with the error of the file system. */
export async function removeClipFiles(day: string, id: string): Promise<void> {
  // The sound first: a note that is left tells nobody's words.
  for (const ending of ['flac', 'json']) await rm(join(day, `${id}.${ending}`), { force: true });
}

/** Removes what a writer that was killed has left of a clip. Never rejects. */
export async function removeClipRemains(day: string, id: string): Promise<void> {
  for (const name of await readdir(day).catch(() => [])) {
    if (TEMPORARY.test(name) && name.startsWith(`.${id}.`)) await removed(join(day, name));
  }
  await removeClipFiles(day, id).catch(() => undefined);
  await rmdir(day).catch(() => undefined);
}

/**
 * When a clip was written, in ms since the epoch, where what it says itself cannot be true: by the time of its file, which
 * is set to `nowMs` where that cannot be true either. So it grows old from now on, also over a restart. Never rejects.
 */
export async function whenWritten(day: string, id: string, nowMs: number): Promise<number> {
  const path = join(day, `${id}.flac`);
  try {
    const { mtimeMs } = await stat(path);
    if (mtimeMs <= nowMs) return mtimeMs;
    await utimes(path, nowMs / 1000, nowMs / 1000);
  } catch {
    // The next look may do better.
  }
  return nowMs;
}

/** What is found at the start. */
export interface Found {
  clips: Clip[];
  /** How many had to be removed because what was to be read was not there any more. */
  broken: number;
}

/**
 * Looks through the folder, which need not exist, and clears away what is no whole clip. Files and folders that are
 * none of ours are left alone. Never rejects.
 */
export async function findClips(folder: string): Promise<Found> {
  const found: Found = { clips: [], broken: 0 };
  const days = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const day of days)
    if (day.isDirectory() && DAY.test(day.name)) await lookInto(join(folder, day.name), found);
  return found;
}

async function lookInto(day: string, found: Found): Promise<void> {
  const names = new Set(await readdir(day).catch((): string[] => []));
  for (const name of names) {
    // Nobody writes before the look is over.
    if (TEMPORARY.test(name)) await removed(join(day, name));
  }
  const ids = new Set([...names].map((name) => /^(.*)\.(flac|json)$/.exec(name)?.[1] ?? ''));
  for (const id of ids) {
    if (!clipId.safeParse(id).success) continue;
    if (names.has(`${id}.flac`) && names.has(`${id}.json`)) await take(day, id, found);
    else await removeClipRemains(day, id);
  }
  if (names.size === 0) await rmdir(day).catch(() => undefined);
}

async function take(day: string, id: string, found: Found): Promise<void> {
  const sound = await stat(join(day, `${id}.flac`)).catch(() => null);
  const read = await readPlain(join(day, `${id}.json`), NOTE_BYTES);
  // A disk that cannot be read now may be read by the next start.
  if (sound === null || !('bytes' in read)) return;
  const note = noteIn(read.bytes);
  if (note?.id === id && sound.isFile() && sound.size > 0) {
    found.clips.push({ ...note, bytes: sound.size + read.bytes.length });
    return;
  }
  found.broken += 1;
  await removeClipRemains(day, id);
}

function noteIn(bytes: Buffer): ClipNote | null {
  try {
    return noteSchema.parse(JSON.parse(bytes.toString()));
  } catch (error) {
    if (error instanceof z.ZodError || error instanceof SyntaxError) return null;
    throw error;
  }
}

async function removed(path: string): Promise<void> {
  await rm(path, { force: true }).catch(() => undefined);
}
