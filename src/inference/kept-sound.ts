import { setImmediate as nextTurn } from 'node:timers/promises';
import { createRing, type Ring } from '../audio/ring.js';
import type { InferenceEngine } from './engine.js';
import { createModelStream, type ModelStream } from './model-stream.js';

/**
 * The last seconds of the sound at the capture rate, and the streams of the engines that live on it: the one at work
 * and, during a swap, the next.
 */
export interface KeptSound {
  /** Of the stream that plays, in Hz; 0 before there is any. */
  readonly captureRate: number;
  /** How many samples of it have come. */
  readonly position: number;
  /** Another stream of sound: what is kept of the one before is forgotten, and its engines' streams with it. */
  begin(captureRate: number): void;
  /** Mono samples at the capture rate, for all that live on them. */
  append(samples: Float32Array): void;
  /** How many seconds have to be kept for a swap: what the longest window needs. */
  keep(seconds: number): void;
  /**
   * Gives an engine its stream and fills it with the sound that is kept, in slices, so that the event loop stays
   * free. From the return on the stream receives every chunk. Null before there is any sound, and where the sound
   * starts anew meanwhile.
   */
  attach(engine: InferenceEngine): Promise<ModelStream | null>;
  /** Whether a stream still receives every chunk. */
  isLive(stream: ModelStream): boolean;
  detach(stream: ModelStream): void;
  /** No stream receives anything any more. */
  end(): void;
}

/** How much more than the longest window is kept, for windows that wait. */
const SLACK_SECONDS = 2;

/**
 * @param options.seconds how many to keep, as in `keep`
 * @param options.windowSeconds the configured window; null: the model's own
 */
export function createKeptSound(options: { seconds: number; windowSeconds: number | null }): KeptSound {
  const { windowSeconds } = options;
  const atLeastWindow = (wanted: number) => Math.max(wanted, windowSeconds ?? 0);
  let seconds = atLeastWindow(options.seconds);
  let ring: Ring | null = null;
  let captureRate = 0;
  const live = new Set<ModelStream>();
  /** Counts the streams of sound: what was begun for an earlier one is of no use for this one. */
  let generation = 0;

  const capacity = () => Math.ceil((seconds + SLACK_SECONDS) * captureRate);

  async function attach(engine: InferenceEngine): Promise<ModelStream | null> {
    if (ring === null) return null;
    const kept = ring;
    const begunFor = generation;
    const slice = new Float32Array(Math.ceil(captureRate / 2));
    for (;;) {
      let at = 0;
      const stream = await createModelStream({
        engine,
        captureRate,
        startPosition: () => (at = kept.oldest),
        windowSeconds,
        slackSeconds: SLACK_SECONDS,
        quality: 'live',
      });
      while (begunFor === generation && at >= kept.oldest && at < kept.position) {
        const part = slice.subarray(0, Math.min(slice.length, kept.position - at));
        kept.read(at, at + part.length, part);
        stream.append(part);
        at += part.length;
        if (at < kept.position) await nextTurn();
      }
      if (begunFor !== generation) return null;
      // The sound was faster than the slices: what was to come next is gone.
      if (at < kept.oldest) continue;
      live.add(stream);
      return stream;
    }
  }

  return {
    get captureRate() {
      return captureRate;
    },
    get position() {
      return ring?.position ?? 0;
    },
    begin(rate) {
      generation += 1;
      captureRate = rate;
      ring = createRing(capacity());
      live.clear();
    },
    append(samples) {
      ring?.append(samples);
      for (const stream of live) stream.append(samples);
    },
    keep(wanted) {
      seconds = atLeastWindow(wanted);
      ring?.resize(capacity());
    },
    attach,
    isLive: (stream) => live.has(stream),
    detach: (stream) => void live.delete(stream),
    end() {
      generation += 1;
      live.clear();
    },
  };
}
