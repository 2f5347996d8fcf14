/** At which rate the service worked, by its telemetry. */
export interface RateFigures {
  /** The part of the time in which it worked below the rate that was asked for, 0 … 1. */
  loweredShare: number;
  leastHz: number;
  meanHz: number;
}

/** How long which rate was in force. */
export interface RateWatch {
  /** What the telemetry says at `wallSeconds`; it stands for the time since the one before. */
  telemetry(rate: { requested: number; effective: number }, wallSeconds: number): void;
  /** Null as long as nothing was said. */
  figures(): RateFigures | null;
}

export function createRateWatch(): RateWatch {
  let lastSeconds = 0;
  let seconds = 0;
  let loweredSeconds = 0;
  let hertzSeconds = 0;
  let leastHz = Infinity;
  return {
    telemetry({ requested, effective }, wallSeconds) {
      const since = Math.max(0, wallSeconds - lastSeconds);
      lastSeconds = wallSeconds;
      seconds += since;
      hertzSeconds += since * effective;
      if (effective < requested) loweredSeconds += since;
      if (since > 0) leastHz = Math.min(leastHz, effective);
    },
    figures: () =>
      seconds === 0
        ? null
        : { loweredShare: loweredSeconds / seconds, leastHz, meanHz: hertzSeconds / seconds },
  };
}
