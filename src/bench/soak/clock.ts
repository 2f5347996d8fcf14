/** How audio time (windows times hop) runs against the wall clock. */
export interface ClockFigures {
  /**
   * Slope of wall time over audio time, less one: positive where sound comes slower than it says. Null as long as
   * the run is too short to tell it from the jitter of single windows.
   */
  ppm: number | null;
  /** Between the greatest and the least deviation of wall time from audio time, in ms. */
  spreadMs: number;
}

export interface ClockCheck {
  /** A window and the wall clock at its end. */
  window(seq: number, endMs: number): void;
  /** The hop is another one from here on: what was measured so far says nothing about what follows. */
  restart(): void;
  figures(): ClockFigures;
}

/** A chunk of sound is stamped up to a few tens of ms late: over ten minutes that is below 100 ppm. */
const LEAST_SECONDS = 600;

/** A line through all windows (least squares), without keeping them. */
export function createClockCheck(options: { hopSeconds: number }): ClockCheck {
  const { hopSeconds } = options;
  let origin: { seq: number; endMs: number } | null = null;
  let count = 0;
  let meanAudio = 0;
  let meanOffset = 0;
  let squares = 0;
  let products = 0;
  let audioSeconds = 0;
  let [least, greatest] = [0, 0];
  return {
    window(seq, endMs) {
      origin ??= { seq, endMs };
      audioSeconds = (seq - origin.seq) * hopSeconds;
      const offsetMs = endMs - origin.endMs - audioSeconds * 1000;
      least = Math.min(least, offsetMs);
      greatest = Math.max(greatest, offsetMs);
      count += 1;
      const fromMean = audioSeconds - meanAudio;
      meanAudio += fromMean / count;
      meanOffset += (offsetMs - meanOffset) / count;
      squares += fromMean * (audioSeconds - meanAudio);
      products += fromMean * (offsetMs - meanOffset);
    },
    restart() {
      origin = null;
      [count, meanAudio, meanOffset, squares, products, audioSeconds, least, greatest] = [
        0, 0, 0, 0, 0, 0, 0, 0,
      ];
    },
    figures: () => ({
      // ms a second are thousandths.
      ppm: audioSeconds < LEAST_SECONDS || squares === 0 ? null : Math.abs(products / squares) * 1000,
      spreadMs: greatest - least,
    }),
  };
}
