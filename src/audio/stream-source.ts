import { setTimeout as sleep } from 'node:timers/promises';
import { createBackoff } from '../common/backoff.js';
import type { SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { parseStreamAddress } from './address.js';
import { createPictureChoice } from './picture-choice.js';
import type { AudioSink, AudioSource, AudioStatus } from './source.js';
import { createStreamConnection } from './stream-connection.js';

export interface StreamTiming {
  /** How long it may take until the first sound is there. */
  connectMs: number;
  /** A stream that delivers nothing for so long is taken for lost. */
  stallMs: number;
  /**
   * So much more sound than time may have passed, before a stream is taken for one that is faster than it sounds. Radio
   * and HLS begin with up to 30 s of what they kept.
   */
  burstMs: number;
  /** The first wait before the next attempt; it doubles up to `maxRetryMs`. */
  firstRetryMs: number;
  maxRetryMs: number;
}

const DEFAULT_TIMING: StreamTiming = {
  connectMs: 20_000,
  stallMs: 10_000,
  burstMs: 30_000,
  firstRetryMs: 1_000,
  maxRetryMs: 60_000,
};

export interface StreamSourceOptions {
  /** See `parseStreamAddress`. */
  address: string;
  /** The audio track to take (1 is the first); the first where it is left out. */
  track?: number | undefined;
  /** The one channel of it to take (1 is the first); the mean of all channels where it is left out. */
  channel?: number | undefined;
  log: Logger;
  /** How often it is tried before it ends; without end where it is left out. */
  attempts?: number;
  timing?: Partial<StreamTiming>;
  /** The ffmpeg executable. */
  ffmpeg?: string;
}

/** Sound that came this long without a break was a success: the next attempt is a quick one again. */
const SUCCESS_SECONDS = 10;

/**
 * A network stream through ffmpeg, at the stream's own rate, as mono. Where it ends, fails or stalls, it is offline
 * with the reason and tried again, with growing delays and without end; ffmpeg need not even be installed yet.
 * Credentials in the address are in no log, name or reason, and in no list of processes.
 *
 * A camera (RTSP) is asked for its sound alone. Some give none, or none for long, without their picture: after a
 * failure it is asked for both, and what has worked once is kept to.
 *
 * Throws SoundpostError `bad_address`. Offline codes: `stream_ended`, `stream_failed`, `stream_stalled`,
 * `ffmpeg_missing`, `no_such_track`, `no_such_channel`, `playlist`, `out_of_reach`.
 */
export function createStreamSource(options: StreamSourceOptions): AudioSource {
  const { log, track, channel, ffmpeg } = options;
  const address = parseStreamAddress(options.address);
  const timing = { ...DEFAULT_TIMING, ...options.timing };
  const delays = createBackoff({ firstMs: timing.firstRetryMs, maxMs: timing.maxRetryMs });
  const picture = createPictureChoice();
  const raw = options.address;
  const connection = createStreamConnection({ address, raw, track, channel, ffmpeg, timing, log });
  const stopping = new AbortController();
  const { signal } = stopping;
  const stopped = () => signal.aborted;
  let running: Promise<void> | undefined;
  let restarts = 0;
  let told: AudioStatus | undefined;

  return {
    kind: 'stream',
    realTime: true,
    start(sink) {
      if (running !== undefined) throw new Error('a stream source is started once');
      running = run(sink);
      return Promise.resolve();
    },
    async stop() {
      stopping.abort();
      await running;
    },
    details: () => connection.details(),
    pids: () => connection.pids(),
    counters: () => ({ overruns: 0, restarts }),
  };

  async function run(sink: AudioSink): Promise<void> {
    for (let attempt = 1; !stopped(); attempt += 1) {
      const { failure, heardSeconds } = await listen(sink);
      if (stopped()) return;
      const status: AudioStatus = { state: 'offline', code: failure.code, reason: failure.message };
      if (attempt === options.attempts) {
        report(sink, status);
        sink.end();
        return;
      }
      const delayMs = delays.next();
      const changes = address.isRtsp && picture.after(heardSeconds >= SUCCESS_SECONDS);
      report(sink, status, nextAttempt(failure.message, delayMs, changes));
      log.debug({ delayMs: Math.round(delayMs) }, 'Trying the stream again');
      await sleep(delayMs, undefined, { signal }).catch(() => undefined);
      if (!stopped()) restarts += 1;
    }
  }

  /** One connection, up to its end: why it ended, and how much was heard. */
  async function listen(sink: AudioSink): Promise<{ failure: SoundpostError; heardSeconds: number }> {
    let heardSeconds = 0;
    const onSound = (seconds: number) => {
      const before = heardSeconds;
      heardSeconds += seconds;
      if (before < SUCCESS_SECONDS && heardSeconds >= SUCCESS_SECONDS) delays.reset();
      report(sink, { state: 'online' });
    };
    const failure = await connection.listen(sink, picture.wanted, onSound, signal);
    return { failure, heardSeconds };
  }

  function nextAttempt(reason: string, delayMs: number, changes: boolean): string {
    const stop = /[.?]$/.test(reason) ? '' : '.';
    const how = changes ? `, ${picture.wanted ? 'with its picture' : 'its sound alone'}` : '';
    return `${stop} It is tried again in ${Math.ceil(delayMs / 1000)} s${how}, and then less and less often, down to once in ${timing.maxRetryMs / 1000} s`;
  }

  function report(sink: AudioSink, status: AudioStatus, next = ''): void {
    const same =
      told?.state === status.state &&
      (status.state === 'online' || (told.state === 'offline' && told.reason === status.reason));
    if (same) return;
    told = status;
    if (status.state === 'offline')
      log.warn({ code: status.code }, `No sound from the stream: ${status.reason}${next}`);
    sink.status(status);
  }
}
