/** Says when a window is due. Counted in samples of the capture stream, so it knows no clock. */
export interface Scheduler {
  /**
   * The capture positions (samples since `begin`) at which windows end that became due by `position`,
   * oldest first. Positions are rounded to samples; the hop itself is not, so the rate does not drift.
   * @param place where a window that is due by the rate may end: there, or somewhat before. It leaves the rate as it is.
   */
  due(position: number, place?: (end: number) => number): number[];
  /** The inference rate in Hz, counted from the last window; what would have been due by `position` is due at once. */
  setRate(rateHz: number, position: number): void;
  /** Goes on after a pause at `position` without making up for what was not due meanwhile. */
  resume(position: number): void;
}

/**
 * A window every 1/rate seconds. The first is due as soon as it is worth something: after one hop, but not
 * before `minSeconds` (what the network accepts) and not after `windowSeconds` (a full window), so that a slow
 * rate does not keep people waiting for the first answer.
 */
export function createScheduler(options: {
  sampleRate: number;
  rateHz: number;
  minSeconds: number;
  windowSeconds: number;
}): Scheduler {
  const { sampleRate } = options;
  let { rateHz } = options;
  // Windows end at anchor + n hops; the product is taken anew each time, so no rounding accumulates.
  let anchor = 0;
  let hops = 0;
  let first = true;

  const hopSamples = () => sampleRate / rateHz;
  const firstSamples = () =>
    sampleRate * Math.max(options.minSeconds, Math.min(1 / rateHz, options.windowSeconds));
  const next = () => (first ? anchor + firstSamples() : anchor + (hops + 1) * hopSamples());

  return {
    due(position, place = (end) => end) {
      const ends: number[] = [];
      for (let end = next(); Math.round(place(end)) <= position; end = next()) {
        ends.push(Math.round(place(end)));
        if (first) {
          first = false;
          anchor = end;
          hops = 0;
        } else {
          hops += 1;
        }
      }
      return ends;
    },
    setRate(hz, position) {
      if (!first) anchor += hops * hopSamples();
      hops = 0;
      rateHz = hz;
      // One window at the most is owed, however long the old hop had been running.
      if (first && position >= firstSamples()) {
        first = false;
        anchor = position - hopSamples();
      }
      if (!first) anchor = Math.max(anchor, position - hopSamples());
    },
    resume(position) {
      first &&= position < firstSamples();
      anchor = first ? 0 : position;
      hops = 0;
    },
  };
}
