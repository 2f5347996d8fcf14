import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { doors, type Door, type DoorName } from './doors.js';

/** One input must be done with after this long; most take less than a millisecond. */
const SLOW_MS = 5_000;

/** The first one is the warm-up that memory is compared with. */
const PARTS = 4;

export interface DoorResult {
  door: DoorName;
  inputs: number;
  seconds: number;
  /** The longest time that one input took, in ms. */
  slowestMs: number;
  /** How much more memory is in use than after the first quarter, in MB; null without `--expose-gc`. */
  growthMb: number | null;
  /** What was found, with the smallest input that shows it; null: nothing. */
  failure: string | null;
}

/** Memory in use, garbage collected, in MB; null where that cannot be asked for. */
async function usedMb(): Promise<number | null> {
  if (global.gc === undefined) return null;
  global.gc();
  // What lies outside of the heap is let go of some turns later.
  await delay(100);
  global.gc();
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 1e6;
}

/**
 * Puts `runs` inputs through a door; the same ones for the same seed. `beat` is called before each input, for
 * whoever watches that none hangs.
 */
export async function runDoor(
  name: DoorName,
  options: { runs: number; seed: number; beat?: () => void },
): Promise<DoorResult> {
  const folder = mkdtempSync(join(tmpdir(), 'soundpost-fuzz-'));
  const begun = performance.now();
  let inputs = 0;
  let slowestMs = 0;
  let early: number | null = null;
  try {
    const door: Door = await doors[name](folder);
    const around = async (enter: () => Promise<void>) => {
      options.beat?.();
      const from = performance.now();
      await enter();
      const took = performance.now() - from;
      slowestMs = Math.max(slowestMs, took);
      inputs += 1;
      if (took > SLOW_MS) throw new Error(`it took ${Math.round(took)} ms`);
    };
    let failure: string | null = null;
    // In parts: fast-check itself keeps something of what it made until it is done.
    for (let part = 0; part < PARTS && failure === null; part += 1) {
      const numRuns = Math.ceil(options.runs / PARTS);
      failure = await door.check(around, { numRuns, seed: options.seed + part });
      if (part === 0) early = await usedMb();
    }
    const late = await usedMb();
    return {
      door: name,
      inputs,
      seconds: (performance.now() - begun) / 1000,
      slowestMs,
      growthMb: early === null || late === null ? null : late - early,
      failure,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
