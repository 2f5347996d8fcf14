import { dayOf, roomOf, type DayFile } from './day-file.js';

/*
 * Which files go. Pure. Files are given in the order of their places, which is that in which they were begun.
 */

/** The files that are older than `days` days on the day `today` (days since the epoch). */
export function expired(files: readonly DayFile[], today: number, days: number): DayFile[] {
  const gone: DayFile[] = [];
  // A file from the future was begun under a wrong clock: it is as old as the next one whose day can be true.
  let after = today;
  for (const file of [...files].reverse()) {
    if (file.day <= today + 1) after = file.day;
    if (after < today - days) gone.push(file);
  }
  return gone;
}

/**
 * The oldest files, so many that with `bytes` more all of them take at most `maxBytes`; those for which `isKept` holds
 * are passed over.
 */
export function crowdedOut(
  files: readonly DayFile[],
  room: { bytes: number; maxBytes: number },
  isKept: (file: DayFile) => boolean,
): DayFile[] {
  let over = files.reduce((sum, file) => sum + roomOf(file), 0) + room.bytes - room.maxBytes;
  const gone: DayFile[] = [];
  for (const file of files) {
    if (over <= 0) break;
    if (isKept(file)) continue;
    gone.push(file);
    over -= roomOf(file);
  }
  return gone;
}

/** A clock that has gone evenly for so long is believed. */
const STEADY_MS = 3_600_000;
/** It jumps where it moves against the monotonic clock by more than this. */
const JUMP_MS = 60_000;
/** Where the files of the last days say that it is that time, it is believed at once. */
const NEAR_DAYS = 7;

/**
 * Whether the wall clock may decide that something is old. Many small computers have no clock that goes on while they
 * are off: one that is years ahead for a moment must not cost everything.
 */
export interface ClockTrust {
  /** @param days those of the files, in days since the epoch */
  trusts(days: Iterable<number>): boolean;
}

/** @param options.monotonicMs never jumps; `performance.now` */
export function createClockTrust(options: { nowMs: () => number; monotonicMs: () => number }): ClockTrust {
  const { nowMs, monotonicMs } = options;
  let offsetMs = nowMs() - monotonicMs();
  let steadySinceMs = monotonicMs();
  let jumped = false;

  return {
    trusts(days) {
      const now = nowMs();
      const monotonic = monotonicMs();
      if (Math.abs(now - monotonic - offsetMs) > JUMP_MS) {
        jumped = true;
        steadySinceMs = monotonic;
      }
      offsetMs = now - monotonic;
      if (monotonic - steadySinceMs >= STEADY_MS) return true;
      if (jumped) return false;
      const today = dayOf(now);
      for (const day of days) if (day < today && day >= today - NEAR_DAYS) return true;
      return false;
    },
  };
}
