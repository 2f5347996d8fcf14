/** How audio time (windows times hop) runs against the wall clock. */
export interface ClockFigures {
  /**
   * Slope of wall time over audio time, less one: positive where sound comes slower than it says, negative where it
   * comes faster. Null as long as the run is too short to tell it from the jitter of single windows.
   */
  ppm: number | null;
  /** Between the greatest and the least deviation of wall time from audio time at one rate, in ms. */
  spreadMs: number;
}

export interface ClockCheck {
  /** A window and the wall clock at its end. */
  window(seq: number, endMs: number): void;
  /**
   * The rate at which the service says it works, every now and then. The windows since the last time count where it
   * has stayed the same; where it has not, nobody knows which of them came at which rate.
   */
  rate(hz: number): void;
  /** The sound has been interrupted: windows before and after are no row. */
  restart(): void;
  figures(): ClockFigures;
}

/** A chunk of sound is stamped up to a few tens of ms late: over ten minutes that is below 100 ppm. */
const LEAST_SECONDS = 600;

/** Windows at one rate without an interruption. */
interface Stretch {
  origin: { seq: number; endMs: number } | null;
  count: number;
  meanAudio: number;
  meanOffset: number;
  least: number;
  greatest: number;
}

const emptyStretch = (): Stretch => ({
  origin: null,
  count: 0,
  meanAudio: 0,
  meanOffset: 0,
  least: 0,
  greatest: 0,
});

/**
 * A line through all windows (least squares), without keeping them. Each change of the rate begins a stretch with an
 * offset of its own; the slope is common to all of them.
 * @param options.rateHz the rate at which the service begins
 */
export function createClockCheck(options: { rateHz: number }): ClockCheck {
  let { rateHz } = options;
  let waiting: [seq: number, endMs: number][] = [];
  let stretch = emptyStretch();
  let squares = 0;
  let products = 0;
  let spreadMs = 0;
  /** Squares times hop. Of one stretch of T seconds it is T³/12, whatever the rate. */
  let weight = 0;

  function add(seq: number, endMs: number): void {
    stretch.origin ??= { seq, endMs };
    const audio = (seq - stretch.origin.seq) / rateHz;
    const offsetMs = endMs - stretch.origin.endMs - audio * 1000;
    stretch.least = Math.min(stretch.least, offsetMs);
    stretch.greatest = Math.max(stretch.greatest, offsetMs);
    spreadMs = Math.max(spreadMs, stretch.greatest - stretch.least);
    stretch.count += 1;
    const fromMean = audio - stretch.meanAudio;
    stretch.meanAudio += fromMean / stretch.count;
    stretch.meanOffset += (offsetMs - stretch.meanOffset) / stretch.count;
    const square = fromMean * (audio - stretch.meanAudio);
    squares += square;
    weight += square / rateHz;
    products += fromMean * (offsetMs - stretch.meanOffset);
  }

  function restart(): void {
    waiting = [];
    stretch = emptyStretch();
  }

  return {
    window(seq, endMs) {
      waiting.push([seq, endMs]);
    },
    rate(hz) {
      if (hz !== rateHz) {
        restart();
        rateHz = hz;
        return;
      }
      for (const window of waiting) add(...window);
      waiting = [];
    },
    restart,
    figures: () => ({
      // ms a second are thousandths.
      ppm: weight < LEAST_SECONDS ** 3 / 12 ? null : (products / squares) * 1000,
      spreadMs,
    }),
  };
}
