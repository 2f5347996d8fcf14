import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { createLiveness } from './liveness.js';
import { createPace } from './pace.js';
import { createPlaybackClock } from './playback-clock.js';
import type { PcmReader } from './pcm-reader.js';
import type { AudioSink } from './source.js';

const CHUNK_SECONDS = 0.1;

/**
 * Streams often begin with a burst of what they kept, and a recording behind an address could be had all at once.
 * Sound is let through no faster than this, so that none of a burst is dropped and the delay it makes melts away.
 */
const FASTEST = 1.1;
const MOST_BEHIND_MS = 1_000;

/** No stream whose clock is right is faster than this in the long run. */
const LASTING_SPEED = 1.005;

/** How often what is odd about the sound is looked at. */
const LOOK_SECONDS = 2;

/** Music may pause; a camera that has its microphone switched off sends zeros for ever. */
const SILENCE_SECONDS = 30;

/** Monotonic time, ms. */
interface Time {
  readonly now: () => number;
  /** Rejects where `signal` fires. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

const REAL_TIME: Time = {
  now: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, undefined, { signal }),
};

/**
 * Hands the sound of a stream on until there is none, as fast as it sounds; see `FASTEST` and `createPace`. Rejects where reading does, and where `signal` fires in a wait.
 */
export async function passOn(
  reader: Pick<PcmReader, 'sampleRate' | 'read' | 'warnings'>,
  sink: Pick<AudioSink, 'chunk'>,
  options: {
    signal: AbortSignal;
    /** How far sound may be ahead of the clock until the stream is held to `LASTING_SPEED`. */
    burstSeconds: number;
    /** It is held to that; called once. */
    onTooFast: () => void;
    /** Watches over one read; returns what ends that. */
    watch: () => () => void;
    /** So many more seconds have come; they are handed on next. */
    onSound: (seconds: number) => void;
    /** For long there has been nothing, not even noise. */
    onSilence: () => void;
    /** To look now and then at what is odd about the sound. */
    lookAt: (reader: Pick<PcmReader, 'warnings'>) => void;
    log: Logger;
    time?: Time;
  },
): Promise<void> {
  const { sampleRate } = reader;
  const { signal, burstSeconds, onTooFast, log, time = REAL_TIME } = options;
  const chunk = new Float32Array(Math.max(1, Math.round(sampleRate * CHUNK_SECONDS)));
  const clock = createPlaybackClock({ mostBehindMs: MOST_BEHIND_MS, speed: FASTEST });
  const pace = createPace({ burstSeconds, speed: LASTING_SPEED, onTooFast, now: time.now });
  const liveness = createLiveness({ silenceSeconds: SILENCE_SECONDS });
  liveness.begin(sampleRate);
  let heard = 0;
  let lookedAt = 0;
  for (;;) {
    const count = await reader.read(chunk).finally(options.watch());
    if (count === 0) return;
    const samples = count === chunk.length ? chunk : chunk.subarray(0, count);
    const seconds = count / sampleRate;
    const nowMs = time.now();
    const waitMs = Math.max(clock.dueMs(seconds, nowMs) - nowMs, pace.take(seconds));
    // Nothing is read meanwhile: the pipe fills, ffmpeg waits, and with it the server.
    if (waitMs > 1) await time.sleep(waitMs, signal);
    options.onSound(seconds);
    if (liveness.chunk(samples)?.state === 'offline') options.onSilence();
    if (heard - lookedAt >= LOOK_SECONDS) {
      lookedAt = heard;
      options.lookAt(reader);
    }
    heard += seconds;
    // A stream cannot wait, so neither does this.
    sink.chunk(samples, Date.now())?.catch((error: unknown) => {
      log.error({ code: codeOf(error) }, `The sound was not taken: ${messageOf(error)}`);
    });
  }
}
