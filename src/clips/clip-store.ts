import { rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { createTurns } from '../common/turns.js';
import { epochMs } from '../mqtt/contract.js';
import type { Clip, ClipListRequest } from '../mqtt/clip-specs.js';
import { dayFolder, findClips, removeClipFiles, whenWritten } from './clip-files.js';

/**
 * The clips that are kept, bounded by what they take on the disk, by their number and by their age. What is asked of it
 * is answered from memory. Changes are made one after the other, so that a disk that hangs holds up one of them.
 */
export interface ClipStore {
  /** The folder of a clip that is to be written. */
  folderOf(clip: Pick<Clip, 'clip_started_at'>): string;
  /** Makes room for so many bytes: the oldest go. False where there is not so much room at all. */
  makeRoom(bytes: number): Promise<boolean>;
  /** A clip has been written. */
  add(clip: Clip): Promise<void>;
  get(id: string): Promise<{ clip: Clip; path: string } | null>;
  list(request: ClipListRequest): Promise<ClipPage>;
  /** Removes those that fit, and says how many. Throws SoundpostError `disk_write` where one cannot be removed. */
  remove(fits: (clip: Clip) => boolean): Promise<number>;
  /** Whether each clip that is older than `days` has gone; to be called now and then. */
  forgetOld(): Promise<void>;
  totals(): { clips: number; bytes: number };
}

export interface ClipPage {
  /** Newest first. */
  clips: Clip[];
  cursor: string | null;
  total: number;
  bytes: number;
}

/** What is known of each is held in memory, half a kB. */
export const MAX_CLIPS = 20_000;
const DAY_MS = 86_400_000;
/** Between two looks at the age of clips the wall clock has to go as the other one. */
const CLOCK_TOLERANCE_MS = 60_000;

/**
 * @param options.folder `<data_dir>/clips`; need not exist
 * @param options.days clips that are older go; not before the clock has gone steadily between two looks, since a clock
 *   that was set years ahead for a moment would take them all
 */
export function createClipStore(options: {
  folder: string;
  maxBytes: number;
  days: number;
  log: Logger;
  /** Wall clock, ms since the epoch. */
  now?: () => number;
  /** A clock that nobody sets, ms. */
  steadyNow?: () => number;
}): ClipStore {
  const { folder, maxBytes, days, log, now = Date.now, steadyNow = () => performance.now() } = options;
  /** Oldest first. */
  let clips: Clip[] = [];
  let bytes = 0;
  let lastLook: { wallMs: number; steadyMs: number } | null = null;
  /**
   * When clips were written that say that they are of the future, by their ids: a clock that was ahead must not keep them
   * for ever, nor have every new one make room for them.
   */
  let ahead = new Map<string, number>();
  const inTurn = createTurns();

  function put(clip: Clip): void {
    clips.splice(placeOf(clips, clip), 0, clip);
    bytes += clip.bytes;
  }

  /** Rejects at the first that cannot be removed; it and those behind it stay known. */
  async function removeAll(which: ReadonlySet<Clip>): Promise<void> {
    const gone = new Set<Clip>();
    try {
      for (const clip of which) {
        await removeClipFiles(dayFolder(folder, clip), clip.id);
        gone.add(clip);
        bytes -= clip.bytes;
      }
    } catch (error) {
      throw new SoundpostError('disk_write', `A clip cannot be deleted: ${messageOf(error)}`, {
        cause: error,
      });
    } finally {
      clips = clips.filter((clip) => !gone.has(clip));
      const emptied = new Set([...gone].map((clip) => dayFolder(folder, clip)));
      // One that still has something in it stays.
      for (const day of emptied) await rmdir(day).catch(() => undefined);
    }
  }

  const writtenMs = (clip: Clip): number => ahead.get(clip.id) ?? epochMs(clip.clip_ended_at);

  function byAge(): readonly Clip[] {
    return ahead.size === 0 ? clips : [...clips].sort((one, other) => writtenMs(one) - writtenMs(other));
  }

  async function lookAhead(nowMs: number): Promise<void> {
    const found = new Map<string, number>();
    for (const clip of clips) {
      if (epochMs(clip.clip_ended_at) <= nowMs + DAY_MS) continue;
      found.set(clip.id, ahead.get(clip.id) ?? (await whenWritten(dayFolder(folder, clip), clip.id, nowMs)));
    }
    ahead = found;
  }

  void inTurn(async () => {
    const found = await findClips(folder);
    for (const clip of found.clips) bytes += clip.bytes;
    clips = found.clips.sort(inOrder);
    if (found.broken > 0) {
      log.warn(
        { code: 'clips_broken' },
        `${found.broken} clips in ${folder} were damaged and have been removed`,
      );
    }
  });

  return {
    folderOf: (clip) => dayFolder(folder, clip),
    makeRoom: (wanted) =>
      inTurn(async () => {
        if (wanted > maxBytes) return false;
        const oldest = new Set<Clip>();
        let left = bytes;
        for (const clip of byAge()) {
          if (left + wanted <= maxBytes && clips.length - oldest.size < MAX_CLIPS) break;
          oldest.add(clip);
          left -= clip.bytes;
        }
        await removeAll(oldest);
        return true;
      }),
    add: (clip) => inTurn(() => put(clip)),
    get: (id) =>
      inTurn(() => {
        const clip = clips.find((each) => each.id === id);
        return clip === undefined ? null : { clip, path: join(dayFolder(folder, clip), `${id}.flac`) };
      }),
    list: (request) => inTurn(() => pageOf(clips, bytes, request)),
    remove: (fits) =>
      inTurn(async () => {
        const which = new Set(clips.filter(fits));
        await removeAll(which);
        return which.size;
      }),
    forgetOld: () =>
      inTurn(async () => {
        const look = { wallMs: now(), steadyMs: steadyNow() };
        const before = lastLook;
        lastLook = look;
        if (before === null) return;
        const set = look.wallMs - before.wallMs - (look.steadyMs - before.steadyMs);
        if (Math.abs(set) > CLOCK_TOLERANCE_MS) return;
        const limit = look.wallMs - days * DAY_MS;
        await lookAhead(look.wallMs);
        await removeAll(new Set(clips.filter((clip) => writtenMs(clip) < limit)));
      }),
    totals: () => ({ clips: clips.length, bytes }),
  };
}

function inOrder(one: Clip, other: Clip): number {
  return keyOf(one) < keyOf(other) ? -1 : 1;
}

/** ISO times of one form are in the order of their text. */
function keyOf({ clip_started_at: at, id }: Clip): string {
  return `${at}-${id}`;
}

/** Where a clip belongs among those that are in order. */
function placeOf(clips: readonly Clip[], clip: Clip): number {
  let low = 0;
  let high = clips.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (inOrder(clips[middle]!, clip) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function pageOf(clips: readonly Clip[], bytes: number, request: ClipListRequest): ClipPage {
  const { limit, source, cursor } = request;
  const sinceMs = request.since === undefined ? -Infinity : epochMs(request.since);
  const untilMs = request.until === undefined ? Infinity : epochMs(request.until);
  const label = request.label?.toLowerCase();
  const isLabel = (text: string | null) => text?.toLowerCase() === label;
  const fits = (clip: Clip) =>
    epochMs(clip.clip_ended_at) >= sinceMs &&
    epochMs(clip.clip_started_at) < untilMs &&
    (source === undefined || clip.source === source) &&
    (label === undefined || isLabel(clip.label) || isLabel(clip.group) || isLabel(clip.mid));
  const page: Clip[] = [];
  for (let at = (cursor === undefined ? clips.length : placeOfCursor(clips, cursor)) - 1; at >= 0; at -= 1) {
    const clip = clips[at]!;
    if (!fits(clip)) continue;
    // One more than wanted tells that there is a next page.
    if (page.length === limit)
      return { clips: page, cursor: cursorOf(page.at(-1)!), total: clips.length, bytes };
    page.push(clip);
  }
  return { clips: page, cursor: null, total: clips.length, bytes };
}

function cursorOf(clip: Clip): string {
  return `${epochMs(clip.clip_started_at)}-${clip.id}`;
}

/** How many clips come before the one of a cursor, which may have gone meanwhile. */
function placeOfCursor(clips: readonly Clip[], cursor: string): number {
  const [ms, id] = cursor.split('-') as [string, string];
  const at = new Date(Math.min(Number(ms), 8.64e15)).toISOString();
  return placeOf(clips, { ...clips[0]!, clip_started_at: at, id });
}
