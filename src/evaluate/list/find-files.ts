import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { openAudioFile } from '../../audio/decode.js';
import { codeOfErrno } from '../../common/errno.js';
import { didYouMean } from '../../common/nearest.js';

/** Endings under which a recording is looked for where the list has none, in this order. */
const ENDINGS = ['.wav', '.flac', '.ogg', '.opus', '.mp3', '.m4a', '.webm', '.mp4'];
/** Names that come near are looked for as often as this; in a large folder it takes its time. */
const MOST_SUGGESTIONS = 5;
const MOST_NAMES = 5000;

/** A recording that is there, or why not. */
export type Found = { path: string } | { problem: string };

/** Finds the files that a list names. */
export interface FileFinder {
  /** Relative to the folder, with its ending or without. */
  find(name: string): Promise<Found>;
  /** A segment of AudioSet: by its id alone, or with its times, as the usual programs that fetch them call it. */
  findSegment(id: string, from: number, to: number): Promise<Found>;
}

/** @param folder that relative names are relative to */
export function createFileFinder(folder: string): FileFinder {
  /** The names in a folder, or why it cannot be read. */
  const listings = new Map<string, Promise<ReadonlySet<string> | string>>();
  let suggested = 0;

  const listing = (path: string) => {
    const known = listings.get(path);
    if (known !== undefined) return known;
    const made = readdir(path).then(
      (names) => new Set(names),
      (error: unknown) => `the folder ${path} cannot be read (${codeOfErrno(error)})`,
    );
    listings.set(path, made);
    return made;
  };

  async function findOne(names: readonly string[], called: string): Promise<Found> {
    for (const name of names) {
      const path = resolve(folder, name);
      const there = await listing(dirname(path));
      if (typeof there === 'string') return { problem: there };
      const full = [path, ...ENDINGS.map((ending) => path + ending)].find((each) =>
        there.has(basename(each)),
      );
      if (full !== undefined) return await checked(full, called);
    }
    const first = resolve(folder, names[0] ?? called);
    const there = await listing(dirname(first));
    let meant = '';
    if (typeof there !== 'string' && there.size <= MOST_NAMES && suggested < MOST_SUGGESTIONS) {
      suggested += 1;
      meant = didYouMean(basename(first), there);
    }
    return { problem: `there is no file ${called} in ${dirname(first)}.${meant}` };
  }

  return {
    find: (name) => findOne([name], name),
    findSegment(id, from, to) {
      const ids = [id, `Y${id}`];
      const timesOf = (each: number) => [each.toFixed(3), String(each), String(Math.round(each * 1000))];
      const withTimes = ids.flatMap((each) =>
        timesOf(from).flatMap((begin, form) => [
          `${each}_${begin}_${timesOf(to)[form]!}`,
          `${each}_${begin}`,
        ]),
      );
      return findOne([...ids, ...withTimes], id);
    },
  };
}

/** What can be told of a file without reading it. */
async function checked(path: string, called: string): Promise<Found> {
  try {
    const about = await stat(path);
    if (about.isDirectory()) return { problem: `${called} is a folder` };
    if (!about.isFile()) return { problem: `${called} is no plain file` };
    return about.size === 0 ? { problem: `${called} is empty (0 bytes)` } : { path };
  } catch (error) {
    return { problem: `${called} cannot be read (${codeOfErrno(error)})` };
  }
}

/**
 * How long a recording is, where its file says so; null where only reading all of it tells. Throws as `openAudioFile`.
 */
export async function announcedSeconds(path: string): Promise<number | null> {
  // What needs ffmpeg would have to be decoded, which the evaluation does anyway.
  if (!/\.wav$/i.test(path)) return null;
  const file = await openAudioFile(path);
  await file.close();
  return file.durationSeconds;
}
