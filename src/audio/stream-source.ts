import { setTimeout as sleep } from 'node:timers/promises';
import { createBackoff } from '../common/backoff.js';
import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { parseStreamAddress } from './address.js';
import { openWithFfmpeg } from './ffmpeg.js';
import { createPace } from './pace.js';
import type { PcmReader } from './pcm-reader.js';
import type { AudioSink, AudioSource, AudioStatus } from './source.js';

export interface StreamTiming {
  /** How long it may take until the first sound is there. */
  connectMs: number;
  /** A stream that delivers nothing for so long is taken for lost. */
  stallMs: number;
  /** The first wait before the next attempt; it doubles up to `maxRetryMs`. */
  firstRetryMs: number;
  maxRetryMs: number;
}

const DEFAULT_TIMING: StreamTiming = {
  connectMs: 20_000,
  stallMs: 10_000,
  firstRetryMs: 1_000,
  maxRetryMs: 60_000,
};

export interface StreamSourceOptions {
  /** See `parseStreamAddress`. */
  address: string;
  /** The one channel to take (1 is the first); the mean of all channels where it is left out. */
  channel?: number | undefined;
  log: Logger;
  timing?: Partial<StreamTiming>;
  /** The ffmpeg executable. */
  ffmpeg?: string;
}

const CHUNK_SECONDS = 0.1;

/** Sound that came this long without a break was a success: the next attempt is a quick one again. */
const SUCCESS_SECONDS = 10;

/**
 * Streams often begin with a burst of what they kept, and a recording behind an address could be had all at once.
 * Sound is let through no faster than this, so that none of a burst is dropped and the delay it makes melts away.
 */
const FASTEST = 1.1;
const MOST_BEHIND_MS = 1_000;

/**
 * A network stream through ffmpeg, at the stream's own rate, as mono. Where it ends, fails or stalls, it is offline
 * with the reason and tried again, with growing delays and without end; ffmpeg need not even be installed yet.
 * Credentials in the address are in no log, name or reason.
 *
 * Throws SoundpostError `bad_address`. Offline codes: `stream_ended`, `stream_failed`, `stream_stalled`,
 * `ffmpeg_missing`, `no_such_channel`.
 */
export function createStreamSource(options: StreamSourceOptions): AudioSource {
  const { log } = options;
  const address = parseStreamAddress(options.address);
  const timing = { ...DEFAULT_TIMING, ...options.timing };
  const delays = createBackoff({ firstMs: timing.firstRetryMs, maxMs: timing.maxRetryMs });
  const stopping = new AbortController();
  const { signal } = stopping;
  const stopped = () => signal.aborted;
  let running: Promise<void> | undefined;
  let restarts = 0;
  let reader: PcmReader | undefined;
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
    pids: () => reader?.pids() ?? [],
    counters: () => ({ overruns: 0, restarts }),
  };

  async function run(sink: AudioSink): Promise<void> {
    while (!stopped()) {
      const failure = await listen(sink);
      if (stopped()) return;
      report(sink, { state: 'offline', code: failure.code, reason: failure.message });
      const delayMs = delays.next();
      log.debug({ delayMs: Math.round(delayMs) }, 'Trying the stream again');
      await sleep(delayMs, undefined, { signal }).catch(() => undefined);
      if (!stopped()) restarts += 1;
    }
  }

  /** One connection, up to its end: why it ended. */
  async function listen(sink: AudioSink): Promise<SoundpostError> {
    const connection = new AbortController();
    const watch = (ms: number, what: string) =>
      setTimeout(() => connection.abort(new SoundpostError('stream_stalled', what)), ms);
    const abort = () => connection.abort(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    const watchdog = watch(timing.connectMs, `no sound came within ${timing.connectMs / 1000} s`);
    try {
      reader = await openWithFfmpeg(
        {
          url: address.url,
          protocols: address.protocols,
          options: address.options,
          live: true,
          name: address.shown,
          clean: address.clean,
          onLine: (line) => log.debug({ line }, 'ffmpeg says'),
          channel: options.channel,
          command: options.ffmpeg,
        },
        connection.signal,
      );
      clearTimeout(watchdog);
      log.info({}, `Listening to ${address.shown}, ${reader.sampleRate} Hz`);
      sink.begin({ sampleRate: reader.sampleRate, name: address.shown });
      await pass(reader, sink, connection, watch);
      const why = reader.warnings().at(-1);
      return new SoundpostError('stream_ended', why ?? `${address.shown} has ended`);
    } catch (error) {
      const code = codeOf(error);
      return code === 'stream_stalled' || code === 'ffmpeg_missing' || code === 'no_such_channel'
        ? new SoundpostError(code, messageOf(error))
        : new SoundpostError('stream_failed', address.clean(messageOf(error)));
    } finally {
      clearTimeout(watchdog);
      signal.removeEventListener('abort', abort);
      await reader?.close();
      reader = undefined;
    }
  }

  /** Hands the sound on until there is none. */
  async function pass(
    reader: PcmReader,
    sink: AudioSink,
    connection: AbortController,
    watch: (ms: number, what: string) => NodeJS.Timeout,
  ): Promise<void> {
    const { sampleRate } = reader;
    const chunk = new Float32Array(Math.max(1, Math.round(sampleRate * CHUNK_SECONDS)));
    const pace = createPace({ mostBehindMs: MOST_BEHIND_MS, speed: FASTEST });
    let heard = 0;
    for (;;) {
      const stalled = `it delivered nothing for ${timing.stallMs / 1000} s`;
      const watchdog = watch(timing.stallMs, stalled);
      const count = await reader.read(chunk).finally(() => clearTimeout(watchdog));
      if (count === 0) return;
      const seconds = count / sampleRate;
      const waitMs = pace.dueMs(seconds, performance.now()) - performance.now();
      if (waitMs > 1) await sleep(waitMs, undefined, { signal: connection.signal });
      if (heard < SUCCESS_SECONDS && heard + seconds >= SUCCESS_SECONDS) delays.reset();
      heard += seconds;
      report(sink, { state: 'online' });
      // A stream cannot wait, so neither does this.
      const answer = sink.chunk(count === chunk.length ? chunk : chunk.subarray(0, count), Date.now());
      answer?.catch((error: unknown) => {
        log.error({ code: codeOf(error) }, `The sound was not taken: ${messageOf(error)}`);
      });
    }
  }

  function report(sink: AudioSink, status: AudioStatus): void {
    const same =
      told?.state === status.state &&
      (status.state === 'online' || (told.state === 'offline' && told.reason === status.reason));
    if (same) return;
    told = status;
    if (status.state === 'offline')
      log.warn({ code: status.code }, `No sound from the stream: ${status.reason}`);
    sink.status(status);
  }
}
