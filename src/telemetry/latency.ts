// The package's index would also load its WebAssembly build and a compressor: 16 MB resident instead of 0.7 MB.
import int32Histogram from 'hdr-histogram-js/dist/Int32Histogram.js';

/** Where the time between the arrival of a window's last sample and the hand-over of its result went, in ms. */
export interface LatencySample {
  total: number;
  queue: number;
  features: number;
  inference: number;
  publish: number;
}

/** `latency_ms` of `B/telemetry`. Everything but the count is null where nothing was measured. */
export interface LatencySummary {
  count: number;
  mean: number | null;
  p50: number | null;
  p95: number | null;
  p99: number | null;
  max: number | null;
  features_p50: number | null;
  inference_p50: number | null;
  queue_p50: number | null;
  publish_p50: number | null;
}

export interface LatencyRecorder {
  /** Negative times count as 0 and times over ten minutes as ten minutes; a part that is not a number is left out. */
  record(sample: LatencySample): void;
  /** The summary of what was recorded since the last call. */
  snapshotAndReset(): LatencySummary;
}

const highestMicroseconds = 600e6;

/**
 * HDR histograms of the total latency and of its parts: 1 µs resolution, values exact to 0.1 % (three
 * significant digits), up to ten minutes. Five histograms of 87 KB each, allocated once.
 */
export function createLatencyRecorder(): LatencyRecorder {
  const total = createHistogram();
  const parts = {
    features: createHistogram(),
    inference: createHistogram(),
    queue: createHistogram(),
    publish: createHistogram(),
  };
  return {
    record(sample) {
      total.record(sample.total);
      parts.features.record(sample.features);
      parts.inference.record(sample.inference);
      parts.queue.record(sample.queue);
      parts.publish.record(sample.publish);
    },
    snapshotAndReset() {
      const summary: LatencySummary = {
        count: total.count(),
        mean: total.mean(),
        p50: total.percentile(50),
        p95: total.percentile(95),
        p99: total.percentile(99),
        max: total.percentile(100),
        features_p50: parts.features.percentile(50),
        inference_p50: parts.inference.percentile(50),
        queue_p50: parts.queue.percentile(50),
        publish_p50: parts.publish.percentile(50),
      };
      for (const histogram of [total, ...Object.values(parts)]) histogram.reset();
      return summary;
    },
  };
}

/** Milliseconds in, milliseconds with three decimals out, null where nothing was recorded. */
function createHistogram() {
  const histogram = new int32Histogram.default(1, highestMicroseconds, 3);
  histogram.autoResize = false;
  // The histogram's own mean and maximum are those of its buckets; these are the measured ones.
  let sum = 0;
  let max = 0;
  return {
    record(milliseconds: number): void {
      if (Number.isNaN(milliseconds)) return;
      const microseconds = Math.round(Math.min(highestMicroseconds, Math.max(0, milliseconds * 1000)));
      histogram.recordValue(microseconds);
      sum += microseconds;
      max = Math.max(max, microseconds);
    },
    count: () => histogram.totalCount,
    mean: () => (histogram.totalCount === 0 ? null : Math.round(sum / histogram.totalCount) / 1000),
    percentile: (percent: number) =>
      histogram.totalCount === 0 ? null : Math.min(max, histogram.getValueAtPercentile(percent)) / 1000,
    reset(): void {
      histogram.reset();
      sum = 0;
      max = 0;
    },
  };
}
