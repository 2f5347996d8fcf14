/** What is said of a number of latencies, in ms. Quantiles are exact to 0.25 %. */
export interface LatencyFigures {
  count: number;
  p50: number;
  p95: number;
  p99: number;
  max: number;
}

/** The latencies of one stretch of a run. */
export interface LatencySlice {
  /** Position in the sound, in s, of its first and its last window. */
  fromSeconds: number;
  toSeconds: number;
  model: string;
  figures: LatencyFigures;
}

/** All latencies of a run, by model, in a bounded amount of memory. */
export interface LatencyHistory {
  record(model: string, atSeconds: number, ms: number): void;
  models(): string[];
  /** Of the windows of one model in a part of the run (0 … 1 of all windows so far); null where there is none. */
  figures(model: string, from?: number, to?: number): LatencyFigures | null;
  slices(): LatencySlice[];
}

/** Counts by bucket; each bucket is half a percent wider than the one before. */
interface Counts {
  buckets: Map<number, number>;
  max: number;
}

interface Slice {
  windows: number;
  fromSeconds: number;
  toSeconds: number;
  models: Map<string, Counts>;
}

const GROWTH = Math.log(1.005);
const SHORTEST_MS = 1e-3;
const bucketOf = (ms: number) => Math.round(Math.log(Math.max(ms, SHORTEST_MS)) / GROWTH);
const msOf = (bucket: number) => Math.exp(bucket * GROWTH);

/**
 * Keeps a histogram for each stretch of the run. The stretches are equally long, counted in windows; when there
 * are `limit` of them two neighbours become one, so that a day needs no more memory than an hour.
 */
export function createLatencyHistory(options: { limit?: number } = {}): LatencyHistory {
  const { limit = 400 } = options;
  let slices: Slice[] = [];
  let windowsPerSlice = 1;

  function sliceFor(atSeconds: number): Slice {
    const last = slices.at(-1);
    if (last !== undefined && last.windows < windowsPerSlice) return last;
    if (slices.length >= limit) {
      slices = slices.flatMap((slice, index) => {
        const next = slices[index + 1];
        return index % 2 === 1 ? [] : [next === undefined ? slice : merged(slice, next)];
      });
      windowsPerSlice *= 2;
    }
    const slice: Slice = { windows: 0, fromSeconds: atSeconds, toSeconds: atSeconds, models: new Map() };
    slices.push(slice);
    return slice;
  }

  return {
    record(model, atSeconds, ms) {
      const slice = sliceFor(atSeconds);
      slice.windows += 1;
      slice.toSeconds = atSeconds;
      let counts = slice.models.get(model);
      if (counts === undefined) slice.models.set(model, (counts = { buckets: new Map(), max: 0 }));
      const bucket = bucketOf(ms);
      counts.buckets.set(bucket, (counts.buckets.get(bucket) ?? 0) + 1);
      counts.max = Math.max(counts.max, ms);
    },
    models: () => [...new Set(slices.flatMap(({ models }) => [...models.keys()]))],
    figures(model, from = 0, to = 1) {
      const total = slices.reduce((sum, { windows }) => sum + windows, 0);
      let before = 0;
      const inside: Counts[] = [];
      for (const { windows, models } of slices) {
        const middle = (before + windows / 2) / total;
        before += windows;
        const counts = models.get(model);
        if (counts !== undefined && middle >= from && middle < to) inside.push(counts);
      }
      return inside.length === 0 ? null : figuresOf(inside.reduce(sum));
    },
    slices: () =>
      slices.flatMap(({ fromSeconds, toSeconds, models }) =>
        [...models].map(([model, counts]) => ({
          fromSeconds,
          toSeconds,
          model,
          figures: figuresOf(counts),
        })),
      ),
  };
}

function sum(a: Counts, b: Counts): Counts {
  const buckets = new Map(a.buckets);
  for (const [bucket, count] of b.buckets) buckets.set(bucket, (buckets.get(bucket) ?? 0) + count);
  return { buckets, max: Math.max(a.max, b.max) };
}

function merged(a: Slice, b: Slice): Slice {
  const models = new Map(a.models);
  for (const [model, counts] of b.models) {
    const earlier = models.get(model);
    models.set(model, earlier === undefined ? counts : sum(earlier, counts));
  }
  return { windows: a.windows + b.windows, fromSeconds: a.fromSeconds, toSeconds: b.toSeconds, models };
}

function figuresOf({ buckets, max }: Counts): LatencyFigures {
  const sorted = [...buckets].sort(([a], [b]) => a - b);
  const count = sorted.reduce((total, [, n]) => total + n, 0);
  const quantile = (share: number): number => {
    // Nearest rank.
    let rank = Math.max(1, Math.ceil(share * count));
    for (const [bucket, n] of sorted) {
      rank -= n;
      if (rank <= 0) return Math.min(max, msOf(bucket));
    }
    return max;
  };
  return { count, p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99), max };
}
