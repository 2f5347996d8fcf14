// The package's index would also load its WebAssembly build and a compressor.
import int32Histogram from 'hdr-histogram-js/dist/Int32Histogram.js';

/** What is known of many durations; milliseconds. */
export interface Distribution {
  count: number;
  mean: number;
  /** Of the sample (n − 1 in the denominator); 0 for a single one. */
  standard_deviation: number;
  min: number;
  p50: number;
  p95: number;
  p99: number;
  max: number;
}

/** How many durations fell between two bounds, for a picture. Bins are as wide in the logarithm. */
export interface Bin {
  from: number;
  to: number;
  count: number;
}

export interface DistributionRecorder {
  /** Durations below 0 count as 0, above an hour as an hour; what is no number is left out. */
  record(milliseconds: number): void;
  readonly count: number;
  /** Null where nothing was recorded. */
  summary(): Distribution | null;
  /** From the shortest to the longest, the empty ones between them included. */
  bins(): Bin[];
}

const HIGHEST_MICROSECONDS = 3600e6;
/** A bin is a sixth wider than the one before it. */
const BINS_PER_DECADE = 15;
const LEAST_MS = 1e-3;

/**
 * Percentiles come from an HDR histogram (1 µs, three significant digits); mean, deviation, least and greatest are
 * exact. The memory does not grow with what is recorded.
 */
export function createDistribution(): DistributionRecorder {
  const histogram = new int32Histogram.default(1, HIGHEST_MICROSECONDS, 3);
  histogram.autoResize = false;
  const counts = new Map<number, number>();
  let count = 0;
  let mean = 0;
  let squares = 0;
  let min = Infinity;
  let max = 0;
  const percentile = (percent: number) =>
    Math.min(max, Math.max(min, histogram.getValueAtPercentile(percent) / 1000));
  return {
    record(milliseconds) {
      if (Number.isNaN(milliseconds)) return;
      const value = Math.min(HIGHEST_MICROSECONDS / 1000, Math.max(0, milliseconds));
      histogram.recordValue(Math.round(value * 1000));
      // Welford's recurrence: no difference of two large sums.
      count += 1;
      const before = value - mean;
      mean += before / count;
      squares += before * (value - mean);
      min = Math.min(min, value);
      max = Math.max(max, value);
      const bin = Math.floor(Math.log10(Math.max(LEAST_MS, value)) * BINS_PER_DECADE);
      counts.set(bin, (counts.get(bin) ?? 0) + 1);
    },
    get count() {
      return count;
    },
    summary: () =>
      count === 0
        ? null
        : {
            count,
            mean,
            standard_deviation: count === 1 ? 0 : Math.sqrt(squares / (count - 1)),
            min,
            p50: percentile(50),
            p95: percentile(95),
            p99: percentile(99),
            max,
          },
    bins() {
      if (count === 0) return [];
      const [first, last] = [Math.min(...counts.keys()), Math.max(...counts.keys())];
      const bound = (bin: number) => 10 ** (bin / BINS_PER_DECADE);
      return Array.from({ length: last - first + 1 }, (_, index) => ({
        from: bound(first + index),
        to: bound(first + index + 1),
        count: counts.get(first + index) ?? 0,
      }));
    },
  };
}
