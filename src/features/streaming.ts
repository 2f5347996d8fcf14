import { SoundpostError } from '../common/errors.js';
import type { Frontend } from './frontend.js';
import type { Layout } from './spec.js';

/** A log-mel spectrogram. It belongs to the stream that gave it and is valid until that stream's next `logMel`. */
export interface LogMel {
  /** Float32Array, [frames × mels] for NCTF, [mels × frames] for NCFT. Not to be written. */
  readonly data: Float32Array;
  readonly frames: number;
}

/**
 * The log-mel of a window that moves along a stream of samples. Frames are kept from hop to hop, so a window costs
 * what is new in it; the result has the bits of `Frontend.compute` of the window's samples.
 */
export interface StreamingLogMel {
  /** Forgets all samples: what follows does not join what came before. */
  reset(): void;
  /** Takes the next samples of the stream (copied), mono float32. */
  push(samples: Float32Array): void;
  /**
   * The log-mel of the last `windowSamples` samples. For the longest window `data` is one and the same array
   * every time, so that a tensor can be made over it once; for a shorter one it has that window's length.
   *
   * Throws SoundpostError `bad_window` for a window that is too short for the front end, longer than the stream
   * keeps, or longer than what was pushed since the last reset.
   */
  logMel(windowSamples: number): LogMel;
}

/**
 * Frames can only be kept where the window moves by a multiple of `frontend.hopLength` and keeps its length;
 * otherwise the whole window is computed.
 */
export function createStreamingLogMel(
  frontend: Frontend,
  { maxWindowSamples, layout }: { maxWindowSamples: number; layout: Layout },
): StreamingLogMel {
  if (!Number.isInteger(maxWindowSamples) || maxWindowSamples < frontend.minSamples) {
    throw new SoundpostError(
      'bad_window',
      `a window of ${maxWindowSamples} samples is too short for this front end: it takes ${frontend.minSamples}`,
    );
  }
  const recent = createRecentSamples(maxWindowSamples);
  const makeTensor = (windowSamples: number): Tensor => {
    const frames = frontend.frames(windowSamples);
    return {
      windowSamples,
      frames,
      interior: frontend.interiorFrames(windowSamples),
      data: new Float32Array(frames * frontend.mels),
    };
  };
  const full = makeTensor(maxWindowSamples);
  let tensor = full;
  /** Position in the stream where the window in `tensor` ends, or null when there is none yet. */
  let tensorEnd: number | null = null;
  // One object for the ranges of all calls: nothing is allocated from hop to hop.
  const range = { first: 0, end: 0 };

  function compute(first: number, end: number): void {
    range.first = first;
    range.end = end;
    const begin = recent.bufferEnd() - tensor.windowSamples;
    frontend.computeFrames(recent.buffer, begin, tensor.windowSamples, range, tensor.data, layout);
  }

  /** How many frames the window moved on since `tensor` was computed, or null where no frame can be kept. */
  function framesMoved(windowSamples: number): number | null {
    if (tensorEnd === null || tensor.windowSamples !== windowSamples) return null;
    const moved = (recent.position() - tensorEnd) / frontend.hopLength;
    const { first, end } = tensor.interior;
    return Number.isInteger(moved) && moved < end - first ? moved : null;
  }

  return {
    reset() {
      recent.clear();
      tensorEnd = null;
    },
    push(samples) {
      recent.push(samples);
    },
    logMel(windowSamples) {
      checkWindow(windowSamples, frontend.minSamples, maxWindowSamples, recent.count());
      const moved = framesMoved(windowSamples);
      if (moved === null) {
        if (tensor.windowSamples !== windowSamples) {
          tensor = windowSamples === maxWindowSamples ? full : makeTensor(windowSamples);
        }
        compute(0, tensor.frames);
      } else if (moved > 0) {
        // Frames that reached over the old window's end, or reach over an end of the new one, are computed anew.
        const { first, end } = tensor.interior;
        // In NCFT each mel's row takes over the head of the next one at its end; those frames are computed below.
        tensor.data.copyWithin(0, layout === 'NCTF' ? moved * frontend.mels : moved);
        compute(0, first);
        compute(end - moved, tensor.frames);
      }
      tensorEnd = recent.position();
      return tensor;
    },
  };
}

interface Tensor extends LogMel {
  readonly windowSamples: number;
  readonly interior: { readonly first: number; readonly end: number };
}

function checkWindow(windowSamples: number, min: number, max: number, available: number): void {
  if (!Number.isInteger(windowSamples) || windowSamples < min) {
    throw new SoundpostError(
      'bad_window',
      `a window of ${windowSamples} samples is too short for this front end: it takes ${min}`,
    );
  }
  if (windowSamples > max) {
    throw new SoundpostError(
      'bad_window',
      `a window of ${windowSamples} samples is longer than the ${max} that are kept`,
    );
  }
  if (windowSamples > available) {
    throw new SoundpostError(
      'bad_window',
      `a window of ${windowSamples} samples cannot be filled: only ${available} came in since the last reset`,
    );
  }
}

/** The last samples of a stream, always in one piece: a buffer of twice their number that is moved when full. */
function createRecentSamples(capacity: number): {
  readonly buffer: Float32Array;
  /** Index in `buffer` after the last sample. */
  bufferEnd(): number;
  /** Samples that can be read, at most `capacity`. */
  count(): number;
  /** Position in the stream after the last sample; never goes back. */
  position(): number;
  push(samples: Float32Array): void;
  clear(): void;
} {
  const buffer = new Float32Array(2 * capacity);
  let end = 0;
  let position = 0;
  return {
    buffer,
    bufferEnd: () => end,
    count: () => Math.min(end, capacity),
    position: () => position,
    push(samples) {
      position += samples.length;
      const added = samples.length > capacity ? samples.subarray(samples.length - capacity) : samples;
      if (end + added.length > buffer.length) {
        const kept = capacity - added.length;
        buffer.copyWithin(0, end - kept, end);
        end = kept;
      }
      buffer.set(added, end);
      end += added.length;
    },
    clear() {
      end = 0;
    },
  };
}
