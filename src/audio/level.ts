/** Loudness over a period. */
export interface Level {
  /**
   * 20·log10 of the root mean square; a square wave at full scale is 0, a sine at full scale -3.01. Never below
   * `LEVEL_FLOOR_DBFS`.
   */
  dbfs: number;
  /** 20·log10 of the largest magnitude. */
  peakDbfs: number;
}

/**
 * What digital silence is given as. Its true level is minus infinity, which JSON cannot say; -120 dBFS is below
 * the noise of any converter, and unlike 0 or null it sorts and averages as what it is: very quiet.
 */
export const LEVEL_FLOOR_DBFS = -120;

/** The level of a period that ends with each look at it. */
export interface LevelMeter {
  add(samples: Float32Array): void;
  /** The level of all that was added since the last call; null where that was nothing. */
  take(): Level | null;
}

/** What a level is made of. */
export interface SoundSum {
  squares: number;
  peak: number;
  count: number;
}

/** Sums up the samples from `from` up to, not including, `to`; `sum` is written over. Those that are not finite count as silence. */
export function sumSound(sum: SoundSum, samples: Float32Array, from: number, to: number): void {
  let squares = 0;
  let peak = 0;
  for (let i = from; i < to; i += 1) {
    const magnitude = Math.abs(samples[i]!);
    if (!(magnitude < Infinity)) continue;
    squares += magnitude * magnitude;
    if (magnitude > peak) peak = magnitude;
  }
  sum.squares = squares;
  sum.peak = peak;
  sum.count = to - from;
}

/** Measures the level of mono samples. Samples that are not finite count as silence. */
export function createLevelMeter(): LevelMeter {
  const part: SoundSum = { squares: 0, peak: 0, count: 0 };
  let squares = 0;
  let peak = 0;
  let count = 0;
  return {
    add(samples) {
      sumSound(part, samples, 0, samples.length);
      squares += part.squares;
      peak = Math.max(peak, part.peak);
      count += part.count;
    },
    take() {
      if (count === 0) return null;
      const level = { dbfs: toDbfs(Math.sqrt(squares / count)), peakDbfs: toDbfs(peak) };
      squares = 0;
      peak = 0;
      count = 0;
      return level;
    },
  };
}

/** The level of one piece. */
export function levelOf(samples: Float32Array): Level {
  const meter = createLevelMeter();
  meter.add(samples);
  return meter.take() ?? { dbfs: LEVEL_FLOOR_DBFS, peakDbfs: LEVEL_FLOOR_DBFS };
}

/** A root mean square or a magnitude as a level, not below `LEVEL_FLOOR_DBFS`. */
export function toDbfs(magnitude: number): number {
  return Math.max(LEVEL_FLOOR_DBFS, 20 * Math.log10(magnitude));
}
