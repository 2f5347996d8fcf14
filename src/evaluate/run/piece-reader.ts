import type { DecodedChunk } from '../../audio/decode.js';

/** Hands out the sound of a recording piece by piece, in order, and reads it once. */
export interface PieceReader {
  /** How much has been read (s). */
  readonly seconds: number;
  /** Whether there is sound at or behind `from` (s), reading up to there. */
  reaches(from: number): Promise<boolean>;
  /**
   * The sound of a part, silence behind it where it is shorter than `least` seconds. Parts are asked for in order, and
   * each is read to its end before the next one.
   * @param to null for all that is left
   */
  take(from: number, to: number | null, least: number): AsyncGenerator<DecodedChunk, string[], void>;
  /** Reads what is left, so that all of it has been looked at. Returns what is odd about the file. */
  finish(): Promise<string[]>;
}

/** @param chunks from the beginning of the recording */
export function createPieceReader(chunks: AsyncGenerator<DecodedChunk, string[], void>): PieceReader {
  let rate = 0;
  /** What is left of the last chunk, and where it begins (samples). */
  let rest = new Float32Array(0);
  let position = 0;
  let warnings: string[] | null = null;

  /** Whether something is left, reading the next chunk where it takes that. */
  async function hasMore(): Promise<boolean> {
    while (rest.length === 0 && warnings === null) {
      const next = await chunks.next();
      if (next.done === true) warnings = next.value;
      else {
        rate = next.value.sampleRate;
        rest = next.value.samples as Float32Array<ArrayBuffer>;
      }
    }
    return rest.length > 0;
  }

  /** At most so many samples of what is left. */
  function next(most: number): Float32Array {
    const part = rest.subarray(0, most);
    rest = rest.subarray(part.length);
    position += part.length;
    return part;
  }

  /** The sample of a time; the rate is known once something has been read. */
  const at = (seconds: number) => Math.round(seconds * rate);

  async function skipTo(from: number): Promise<boolean> {
    while (await hasMore()) {
      const missing = at(from) - position;
      if (missing <= 0) return true;
      next(missing);
    }
    return false;
  }

  return {
    get seconds() {
      return rate === 0 ? 0 : position / rate;
    },
    reaches: skipTo,
    async *take(from, to, least) {
      let taken = 0;
      if (await skipTo(from)) {
        const end = to === null ? Infinity : at(to);
        while (position < end && (await hasMore())) {
          const start = position;
          const samples = next(end - position);
          taken += samples.length;
          yield { sampleRate: rate, samples, position: start };
        }
      }
      // A millionth of a sample is the rounding of the product.
      const missing = Math.ceil(least * rate - 1e-6) - taken;
      if (taken > 0 && missing > 0) {
        yield { sampleRate: rate, samples: new Float32Array(missing), position };
      }
      return [];
    },
    async finish() {
      while (await hasMore()) next(Infinity);
      return warnings ?? [];
    },
  };
}
