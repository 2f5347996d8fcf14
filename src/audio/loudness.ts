import { createAWeighting, type AWeighting } from './a-weighting.js';
import { createBackground } from './background.js';
import { sumSound, toDbfs, type Level, type SoundSum } from './level.js';

/** Loudness over a period, and what it is to be compared with. */
export interface Loudness extends Level {
  /** The same as `dbfs` of the A-weighted sound; a sine of 1 kHz at full scale is -3.01. */
  dbaFs: number;
  /** The A-weighted equivalent level of the last 60 s of sound; null before there is 1 s. */
  leq60sDbfs: number | null;
  /** Which level (not weighted, in blocks of 50 ms) a tenth of the last 10 min of sound stays below; null before 10 s. */
  backgroundDbfs: number | null;
}

/** A full block of sound. One object for all blocks: it is valid during the call. */
export interface LoudnessBlock {
  /** The end of the block, in samples since the sound began. */
  readonly endSample: number;
  /** Not weighted. */
  readonly dbfs: number;
  /** With this block in it; null before there are 10 s of sound. */
  readonly backgroundDbfs: number | null;
}

/** Reads the loudness over a period of its own. */
export interface LoudnessReader {
  /** The loudness of all that was added since the last call; null where that was nothing. */
  take(): Loudness | null;
}

export interface LoudnessMeter {
  /**
   * Sound of this rate follows, which does not join what came before: filters and the unfinished block begin anew. The
   * 60 s and the background go on with the sound that there is, and so do the periods of the readers.
   */
  begin(sampleRateHz: number): void;
  /** Mono samples; those that are not finite count as silence. Allocates nothing. */
  add(samples: Float32Array): void;
  /** A further reader with a period of its own; each sample is still looked at once. */
  reader(): LoudnessReader;
  /** Forgets the 60 s and the background: what follows was heard by another microphone, or is louder by another gain. */
  forget(): void;
}

const BLOCK_SECONDS = 0.05;
const BLOCKS_PER_SECOND = 20;
const LEQ_BLOCKS = 60 * BLOCKS_PER_SECOND;
const FEWEST_LEQ_BLOCKS = BLOCKS_PER_SECOND;
const BACKGROUND = { capacity: 600 * BLOCKS_PER_SECOND, fewest: 10 * BLOCKS_PER_SECOND, share: 0.1 };

/** Sums over the samples of a period or a block. */
interface Sum extends SoundSum {
  weightedSquares: number;
}

const emptySum = (): Sum => ({ squares: 0, weightedSquares: 0, peak: 0, count: 0 });

function clear(sum: Sum): void {
  sum.squares = 0;
  sum.weightedSquares = 0;
  sum.peak = 0;
  sum.count = 0;
}

function addTo(sum: Sum, part: Sum): void {
  sum.squares += part.squares;
  sum.weightedSquares += part.weightedSquares;
  sum.peak = Math.max(sum.peak, part.peak);
  sum.count += part.count;
}

/** Looks at the samples from `from` up to, not including, `to`; the sum is written over. */
function measure(sum: Sum, weighting: AWeighting, samples: Float32Array, from: number, to: number): void {
  sumSound(sum, samples, from, to);
  sum.weightedSquares = weighting.sumOfSquares(samples, from, to);
}

interface LastMean {
  add(value: number): void;
  /** Null where there are fewer values than `fewest`. */
  mean(fewest: number): number | null;
  forget(): void;
}

/** The mean of the last values. Summed anew each time: a running sum of loud and quiet would keep what it rounded. */
function createLastMean(capacity: number): LastMean {
  const ring = new Float64Array(capacity);
  let kept = 0;
  let next = 0;
  return {
    add(value) {
      ring[next] = value;
      next = (next + 1) % capacity;
      kept = Math.min(capacity, kept + 1);
    },
    mean(fewest) {
      if (kept < fewest) return null;
      let sum = 0;
      for (let i = 1; i <= kept; i += 1) sum += ring[(next - i + capacity) % capacity]!;
      return sum / kept;
    },
    forget() {
      kept = 0;
    },
  };
}

/**
 * Measures how loud mono samples are: level, A-weighted level, equivalent level and background, in blocks of 50 ms. It
 * holds about 40 kB. `add` throws a RangeError before the first `begin`.
 * @param options.onBlock called for each full block, during `add`; always with the same object
 */
export function createLoudnessMeter(
  options: { onBlock?: (block: LoudnessBlock) => void } = {},
): LoudnessMeter {
  const { onBlock } = options;
  const background = createBackground(BACKGROUND);
  const lastMinute = createLastMean(LEQ_BLOCKS);
  const periods: Sum[] = [];
  const part = emptySum();
  const block = emptySum();
  const report = { endSample: 0, dbfs: 0, backgroundDbfs: null as number | null };
  let weighting: AWeighting | null = null;
  let blockSamples = 0;
  let position = 0;

  function endBlock(): void {
    const dbfs = toDbfs(Math.sqrt(block.squares / block.count));
    background.add(dbfs);
    lastMinute.add(block.weightedSquares / block.count);
    clear(block);
    if (onBlock === undefined) return;
    report.endSample = position;
    report.dbfs = dbfs;
    report.backgroundDbfs = background.dbfs;
    onBlock(report);
  }

  return {
    begin(sampleRateHz) {
      weighting = createAWeighting(sampleRateHz);
      blockSamples = Math.max(1, Math.round(BLOCK_SECONDS * sampleRateHz));
      clear(block);
      position = 0;
    },
    add(samples) {
      if (weighting === null) throw new RangeError('sound that has not begun has no rate');
      let from = 0;
      while (from < samples.length) {
        const to = Math.min(samples.length, from + blockSamples - block.count);
        measure(part, weighting, samples, from, to);
        for (const period of periods) addTo(period, part);
        addTo(block, part);
        position += part.count;
        if (block.count === blockSamples) endBlock();
        from = to;
      }
    },
    reader() {
      const period = emptySum();
      periods.push(period);
      return {
        take() {
          const { squares, weightedSquares, peak, count } = period;
          if (count === 0) return null;
          clear(period);
          const leq = lastMinute.mean(FEWEST_LEQ_BLOCKS);
          return {
            dbfs: toDbfs(Math.sqrt(squares / count)),
            peakDbfs: toDbfs(peak),
            dbaFs: toDbfs(Math.sqrt(weightedSquares / count)),
            leq60sDbfs: leq === null ? null : toDbfs(Math.sqrt(leq)),
            backgroundDbfs: background.dbfs,
          };
        },
      };
    },
    forget() {
      background.forget();
      lastMinute.forget();
    },
  };
}
