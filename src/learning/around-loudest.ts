import { toDbfs } from '../audio/level.js';

const PIECE_SECONDS = 0.05;
/** With less nobody knows what the room is like. */
const FEWEST_SECONDS = 5;
/** A sound that is interrupted for so long is two. */
const APART_SECONDS = 1;
/** So much louder than the room something has to be to belong to the sound. */
const OVER_ROOM_DB = 6;
/** What is so much quieter than the loudest moment is another sound. */
const RANGE_DB = 30;

/** The level of each piece of 50 ms, dBFS. */
function levelsOf(samples: Float32Array, sampleRate: number): number[] {
  const step = Math.max(1, Math.round(PIECE_SECONDS * sampleRate));
  const levels: number[] = [];
  for (let at = 0; at + step <= samples.length; at += step) {
    let squares = 0;
    for (let i = at; i < at + step; i += 1) squares += samples[i]! ** 2;
    levels.push(toDbfs(Math.sqrt(squares / step)));
  }
  return levels;
}

/** The level below which a tenth of the sound is: that of the room; null where there is too little sound to say. */
export function roomDbfs(samples: Float32Array, sampleRate: number): number | null {
  if (samples.length < FEWEST_SECONDS * sampleRate) return null;
  const levels = levelsOf(samples, sampleRate).sort((one, other) => one - other);
  return levels[Math.floor(levels.length / 10)] ?? null;
}

/** Whether anything between two samples is louder than the room by so much that it may be a sound. */
export function standsOut(
  samples: Float32Array,
  sampleRate: number,
  room: number,
  { from, to }: { from: number; to: number },
): boolean {
  return levelsOf(samples.subarray(from, to), sampleRate).some((level) => level >= room + OVER_ROOM_DB);
}

/**
 * Where the sound is in which the loudest moment lies: as far to both sides as nothing is quieter for a second than 6 dB
 * over the room. So what else was heard in the same seconds is not taken for a part of it.
 * @param room dBFS; null: not known, and then all of it may be the sound
 * @param within samples in which the loudest moment is looked for; the sound may reach beyond them
 * @returns samples from, to
 */
export function aroundLoudest(
  samples: Float32Array,
  sampleRate: number,
  room: number | null,
  within: { from: number; to: number } = { from: 0, to: samples.length },
): { from: number; to: number } {
  const levels = levelsOf(samples, sampleRate);
  const size = Math.max(1, Math.round(PIECE_SECONDS * sampleRate));
  const [first, end] = [Math.floor(within.from / size), Math.ceil(within.to / size)];
  const wished = levels.slice(first, end);
  if (room === null || wished.length === 0) return within;
  const loudest = first + wished.indexOf(Math.max(...wished));
  const wanted = Math.max(room + OVER_ROOM_DB, levels[loudest]! - RANGE_DB);
  const apart = Math.round(APART_SECONDS / PIECE_SECONDS);
  const reach = (step: 1 | -1): number => {
    let last = loudest;
    for (let at = loudest; at >= 0 && at < levels.length && Math.abs(at - last) <= apart; at += step) {
      if (levels[at]! >= wanted) last = at;
    }
    return last;
  };
  // A piece more at each end: sounds rise and die away.
  return {
    from: Math.max(0, (reach(-1) - 1) * size),
    to: Math.min(samples.length, (reach(1) + 2) * size),
  };
}
