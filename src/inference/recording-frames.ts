import { decodeChunks, type DecodedChunk, type DecodeOptions } from '../audio/decode.js';
import { SoundpostError } from '../common/errors.js';
import type { InferenceEngine } from './engine.js';
import { createModelStream, type ModelStream } from './model-stream.js';
import { newFramesOf, type NewFrames } from './new-frames.js';
import { createScheduler, type Scheduler } from './scheduler.js';

/** One inference on a recording; times are seconds since its beginning. */
export interface RecordingHop {
  /** Of the window. */
  endSeconds: number;
  /** Float32Array, [labels], 0 … 1: what the window holds. */
  scores: Float32Array;
  /** The sound that is new with it; null where no frame of it is final yet. */
  fresh: NewFrames | null;
}

/** Sound is handed over in such pieces, so that a window is asked for while all of it is kept. */
const PIECE_SECONDS = 0.2;
const SLACK_SECONDS = 1;
/** Pushes the last samples out of the resampler. */
const FLUSH_SECONDS = 0.1;

/**
 * Hears a recording as the service would: an inference every 1/rate seconds, each piece of sound told of once, in
 * frames where the model has them. At the end nothing is waited for any more: the last hop has all that is left.
 *
 * @returns how long the recording is, and what was odd about the file
 *
 * Throws what `decodeChunks` and the engine throw, and SoundpostError `audio_too_short`.
 */
export async function* framesOfRecording(
  engine: InferenceEngine,
  path: string,
  options: DecodeOptions & { rateHz: number; windowSeconds: number | null },
): AsyncGenerator<RecordingHop, { durationSeconds: number; warnings: string[] }, void> {
  const chunks = decodeChunks(path, options);
  try {
    return yield* framesOfChunks(engine, chunks, { ...options, name: path });
  } finally {
    // Where the engine fails the file is still open.
    await chunks.return([]);
  }
}

async function* framesOfChunks(
  engine: InferenceEngine,
  chunks: AsyncGenerator<DecodedChunk, string[], void>,
  options: { name: string; rateHz: number; windowSeconds: number | null },
): AsyncGenerator<RecordingHop, { durationSeconds: number; warnings: string[] }, void> {
  const { input } = engine.model.manifest;
  let stream: ModelStream | null = null;
  let scheduler: Scheduler | null = null;
  let captureRate = input.sample_rate;
  let position = 0;
  /** Up to which second frames have been told of, and how many windows were answered. */
  const told = { taken: 0, windows: 0 };

  const answer = async (at: number, isLast: boolean): Promise<RecordingHop | null> => {
    const request = stream!.request(at, told.taken * captureRate, { isLast });
    if (typeof request === 'string') return null;
    const result = await engine.infer(request);
    const fresh = newFramesOf(engine.model.manifest, request, result, told.taken);
    if (fresh !== null) told.taken = fresh.endSeconds;
    told.windows += 1;
    return { endSeconds: request.endSeconds, scores: result.scores, fresh };
  };

  let warnings: string[];
  for (;;) {
    const next = await chunks.next();
    if (next.done === true) {
      warnings = next.value;
      break;
    }
    const { samples, sampleRate } = next.value;
    if (stream === null || scheduler === null) {
      captureRate = sampleRate;
      stream = await createModelStream({
        engine,
        captureRate,
        startPosition: () => 0,
        windowSeconds: options.windowSeconds,
        slackSeconds: SLACK_SECONDS,
        quality: 'live',
      });
      const { windowSeconds } = stream;
      const minSeconds = Math.min(input.min_seconds, windowSeconds);
      scheduler = createScheduler({ sampleRate, rateHz: options.rateHz, minSeconds, windowSeconds });
    }
    const piece = Math.ceil(PIECE_SECONDS * captureRate);
    for (let from = 0; from < samples.length; from += piece) {
      const part = samples.subarray(from, from + piece);
      stream.append(part);
      position += part.length;
      for (const due of scheduler.due(position)) {
        const hop = await answer(due, false);
        if (hop !== null) yield hop;
      }
    }
  }

  const durationSeconds = position / captureRate;
  if (stream !== null) {
    // Silence that no window reaches: the last one ends with the recording.
    stream.append(new Float32Array(Math.ceil(FLUSH_SECONDS * captureRate)));
    let last = await answer(position, true);
    if (last === null && told.windows === 0 && engine.fixedWindow && durationSeconds >= input.min_seconds) {
      // The network takes nothing but full windows: silence fills this one up.
      const full = Math.ceil(stream.windowSeconds * captureRate);
      stream.append(new Float32Array(Math.max(0, full - position)));
      last = await answer(full, true);
    }
    if (last !== null) yield last;
  }
  if (told.windows === 0) {
    throw new SoundpostError(
      'audio_too_short',
      `${options.name} lasts ${durationSeconds.toFixed(2)} s; ${engine.model.manifest.id} needs at least ${input.min_seconds} s`,
    );
  }
  return { durationSeconds, warnings };
}
