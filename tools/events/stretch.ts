import type { Random } from '../../test/support/random.js';

/** Where a sound really is, is looked at in such steps. */
const BLOCK_SECONDS = 0.02;
/** A block that is by more than this below the loudest one is a pause. */
const PAUSE_DB = 30;
/** A stretch may have pauses as long as these, as every bark and every word has them. */
const LONGEST_PAUSE_SECONDS = 0.6;

/** A part of a recording, in samples; `to` is not included. */
export interface Stretch {
  from: number;
  to: number;
}

/**
 * A stretch of a length in which the sound really is: it begins and ends with sound and has no long pause. Of those
 * that there are, one by chance.
 * @returns null where the recording has none.
 */
export function chooseStretch(
  samples: Float32Array,
  sampleRate: number,
  seconds: number,
  random: Random,
): Stretch | null {
  const block = Math.round(BLOCK_SECONDS * sampleRate);
  const active = activeBlocks(samples, block);
  const blocks = Math.round(seconds / BLOCK_SECONDS);
  const longestPause = LONGEST_PAUSE_SECONDS / BLOCK_SECONDS;
  const starts: number[] = [];
  for (let start = 0; start + blocks <= active.length; start += 1) {
    if (active[start] !== true || active[start + blocks - 1] !== true) continue;
    let pause = 0;
    let longest = 0;
    for (let at = start; at < start + blocks; at += 1) {
      pause = active[at] === true ? 0 : pause + 1;
      longest = Math.max(longest, pause);
    }
    if (longest <= longestPause) starts.push(start);
  }
  const start = starts[Math.floor(random() * starts.length)];
  return start === undefined ? null : { from: start * block, to: (start + blocks) * block };
}

function activeBlocks(samples: Float32Array, block: number): boolean[] {
  const power: number[] = [];
  for (let from = 0; from + block <= samples.length; from += block) {
    let sum = 0;
    for (let i = from; i < from + block; i += 1) sum += samples[i]! ** 2;
    power.push(sum);
  }
  const least = Math.max(...power, Number.MIN_VALUE) * 10 ** (-PAUSE_DB / 10);
  return power.map((value) => value >= least);
}
