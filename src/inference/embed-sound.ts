import { setImmediate as nextTurn } from 'node:timers/promises';
import { createStreamResampler } from '../audio/resample.js';
import { SoundpostError } from '../common/errors.js';
import { windowStep } from '../models/manifest.js';
import { embeddingOf, noEmbedding, type EmbeddingKind } from './embedding-kind.js';
import { ASIDE } from './embedding-use.js';
import type { InferenceEngine, InferenceResult } from './engine.js';
import { cutFrames, endOfFrames } from './frame-cut.js';
import { fullWindowSeconds } from './full-window.js';

/** An embedding, and the stretch of sound that it is of: ms since the beginning of that. */
export interface EmbeddedPiece {
  readonly startMs: number;
  readonly endMs: number;
  /** Float32Array, [features]. */
  readonly embedding: Float32Array;
}

/** Embeddings of a piece of sound, in order. */
export interface Embedded {
  /** SHA-256 of the network: they are of use for no other. */
  readonly modelSha256: string;
  /** Whether they are of frames, which do not overlap, or of whole windows, which do. */
  readonly kind: EmbeddingKind;
  readonly pieces: readonly EmbeddedPiece[];
}

/** From one window to the next. Frames are looked at once more as far back as they are in live sound. */
const HOP_SECONDS = 1;
/** Sound is resampled in such slices, between which others have their turn. */
const SLICE_SECONDS = 0.5;
/** Pushes the last samples out of the resampler. */
const FLUSH_SECONDS = 0.1;

/**
 * Embeddings of a whole piece of sound through the front end and the windows that live sound goes through: full windows
 * a second apart, the last one ending with the sound; what is shorter than a window is one window of its own length,
 * filled up with silence where the network takes full ones only. Times of the pieces are ms since its beginning.
 *
 * @param sound Float32Array, mono, at `rateHz`
 * @param options.windowSeconds the configured window; null: the model's own
 * @param options.turn does one run when it may be done
 * Throws SoundpostError `no_embedding`, `audio_too_short`, `bad_request` for sound that holds what is no number, and what
 * `turn` and the engine throw.
 */
export async function embedSound(
  engine: InferenceEngine,
  sound: Float32Array,
  rateHz: number,
  options: {
    windowSeconds: number | null;
    turn: (run: () => Promise<InferenceResult>) => Promise<InferenceResult>;
  },
): Promise<Embedded> {
  const { manifest } = engine.model;
  const { input } = manifest;
  const output = embeddingOf(manifest);
  if (output === null) throw noEmbedding(manifest);
  const seconds = sound.length / rateHz;
  if (seconds < input.min_seconds) {
    throw new SoundpostError(
      'audio_too_short',
      `The sound lasts ${seconds.toFixed(2)} s; ${manifest.id} needs at least ${input.min_seconds} s.`,
    );
  }
  if (!sound.every((sample) => Number.isFinite(sample))) {
    throw new SoundpostError('bad_request', 'The sound holds samples that are no numbers.');
  }
  const rate = input.sample_rate;
  const samples = await resampled(sound, rateHz, rate);
  const spec = output.kind === 'frames' ? manifest.output.frames : null;
  const pieces: EmbeddedPiece[] = [];
  /** Up to which second frames have been taken. */
  let taken = 0;

  for (const { start, end, isLast, padded } of windowsOf(engine, samples.length, options.windowSeconds)) {
    const window = { startSeconds: start / rate, endSeconds: end / rate };
    const cut = spec === null ? null : cutFrames(spec, window, taken, isLast);
    if (spec !== null && cut === null) continue;
    const part = new Float32Array(padded);
    part.set(samples.subarray(start, end));
    const result = await options.turn(() =>
      engine.infer({
        source: ASIDE,
        samples: part,
        reset: true,
        windowSamples: padded,
        frames: cut === null ? undefined : { from: cut.from, to: cut.to },
        embeddings: true,
      }),
    );
    const { embeddings, pieces: count } = result;
    if (embeddings === null) continue;
    const hop = spec?.hop_seconds ?? window.endSeconds - window.startSeconds;
    const first = cut === null ? window.startSeconds : cut.gridSeconds - (cut.fresh - cut.from) * hop;
    // Of what is looked at once more, the newest word counts.
    while (cut !== null && pieces.length > 0 && middleMs(pieces.at(-1)!) >= first * 1000) pieces.pop();
    for (let at = 0; at < count; at += 1) {
      const startSeconds = first + at * hop;
      // In the silence that fills a window up is nothing.
      if (startSeconds >= window.endSeconds) break;
      pieces.push({
        startMs: startSeconds * 1000,
        endMs: (startSeconds + hop) * 1000,
        embedding: embeddings.slice((at * embeddings.length) / count, ((at + 1) * embeddings.length) / count),
      });
    }
    if (cut !== null) taken = endOfFrames(cut, count - (cut.fresh - cut.from), window.endSeconds);
  }
  return { modelSha256: manifest.onnx_sha256, kind: output.kind, pieces };
}

const middleMs = ({ startMs, endMs }: EmbeddedPiece) => (startMs + endMs) / 2;

/** Where windows lie in so many samples; `padded` is the length of what the network is given. */
function* windowsOf(
  engine: InferenceEngine,
  total: number,
  windowSeconds: number | null,
): Generator<{ start: number; end: number; isLast: boolean; padded: number }> {
  const { input } = engine.model.manifest;
  const step = windowStep(input);
  const toStep = (samples: number) => samples - (samples % step);
  const full = toStep(
    Math.round(
      fullWindowSeconds({ manifest: engine.model.manifest, fixedWindow: engine.fixedWindow }, windowSeconds) *
        input.sample_rate,
    ),
  );
  if (total < full) {
    const end = engine.fixedWindow ? total : toStep(total);
    yield { start: 0, end, isLast: true, padded: engine.fixedWindow ? full : end };
    return;
  }
  const hop = Math.round(HOP_SECONDS * input.sample_rate);
  for (let end = full; end < total; end += hop) {
    yield { start: end - full, end, isLast: false, padded: full };
  }
  yield { start: total - full, end: total, isLast: true, padded: full };
}

async function resampled(sound: Float32Array, from: number, to: number): Promise<Float32Array> {
  const resampler = await createStreamResampler(from, to, 'best');
  if (from === to) return sound;
  const result = new Float32Array(Math.round((sound.length * to) / from));
  const slice = Math.ceil(SLICE_SECONDS * from);
  let done = 0;
  const take = (part: Float32Array) => {
    const fits = part.subarray(0, result.length - done);
    result.set(fits, done);
    done += fits.length;
  };
  for (let at = 0; at < sound.length; at += slice) {
    take(resampler.process(sound.subarray(at, at + slice)));
    await nextTurn();
  }
  take(resampler.process(new Float32Array(Math.ceil(FLUSH_SECONDS * from))));
  return result;
}
