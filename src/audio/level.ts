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

export interface LevelMeter {
  add(samples: Float32Array): void;
  /** The level of all that was added since the last call; null where that was nothing. */
  take(): Level | null;
}

/** Measures the level of mono samples. Samples that are not finite count as silence. */
export function createLevelMeter(): LevelMeter {
  let squares = 0;
  let peak = 0;
  let count = 0;
  return {
    add(samples) {
      for (let i = 0; i < samples.length; i += 1) {
        const magnitude = Math.abs(samples[i]!);
        if (!(magnitude < Infinity)) continue;
        squares += magnitude * magnitude;
        if (magnitude > peak) peak = magnitude;
      }
      count += samples.length;
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

function toDbfs(magnitude: number): number {
  return Math.max(LEVEL_FLOOR_DBFS, 20 * Math.log10(magnitude));
}
