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

/** Reads the level over a period of its own. */
export interface LevelReader {
  /** The level of all that was added since the last call; null where that was nothing. */
  take(): Level | null;
}

export interface LevelMeter extends LevelReader {
  add(samples: Float32Array): void;
  /** A further reader with a period of its own; each sample is still looked at once. */
  reader(): LevelReader;
}

interface Sum {
  squares: number;
  peak: number;
  count: number;
}

/** Measures the level of mono samples. Samples that are not finite count as silence. */
export function createLevelMeter(): LevelMeter {
  const sums: Sum[] = [];
  const reader = (): LevelReader => {
    const sum: Sum = { squares: 0, peak: 0, count: 0 };
    sums.push(sum);
    return {
      take() {
        const { squares, peak, count } = sum;
        if (count === 0) return null;
        sum.squares = 0;
        sum.peak = 0;
        sum.count = 0;
        return { dbfs: toDbfs(Math.sqrt(squares / count)), peakDbfs: toDbfs(peak) };
      },
    };
  };
  return {
    ...reader(),
    reader,
    add(samples) {
      let squares = 0;
      let peak = 0;
      for (let i = 0; i < samples.length; i += 1) {
        const magnitude = Math.abs(samples[i]!);
        if (!(magnitude < Infinity)) continue;
        squares += magnitude * magnitude;
        if (magnitude > peak) peak = magnitude;
      }
      for (const sum of sums) {
        sum.squares += squares;
        sum.peak = Math.max(sum.peak, peak);
        sum.count += samples.length;
      }
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
