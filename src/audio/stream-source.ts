import { setTimeout as sleep } from 'node:timers/promises';
import { createBackoff } from '../common/backoff.js';
import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { parseStreamAddress, SOUND_ALONE } from './address.js';
import { openWithFfmpeg, type FfmpegReader } from './ffmpeg.js';
import { startEgressProxy, type EgressProxy } from './egress-proxy.js';
import { createLiveness } from './liveness.js';
import { createPlaybackClock } from './playback-clock.js';
import { tellOnce, type PcmReader } from './pcm-reader.js';
import { beginningOfFile, beginningOfStream, playlistIn } from './playlist.js';
import { createEgressPolicy } from './egress-policy.js';
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

const CHUNK_SECONDS = 0.1;

/** Sound that came this long without a break was a success: the next attempt is a quick one again. */
const SUCCESS_SECONDS = 10;

/**
 * Streams often begin with a burst of what they kept, and a recording behind an address could be had all at once.
 * Sound is let through no faster than this, so that none of a burst is dropped and the delay it makes melts away.
 */
const FASTEST = 1.1;
const MOST_BEHIND_MS = 1_000;

/** How often what is odd about the sound is looked at. */
const LOOK_SECONDS = 2;

/** Music may pause; a camera that has its microphone switched off sends zeros for ever. */
const SILENCE_SECONDS = 30;

/** Reasons that are told as they are; all others are `stream_failed`. */
const OWN_CODES = new Set([
  'stream_stalled',
  'ffmpeg_missing',
  'no_such_track',
  'no_such_channel',
  'playlist',
]);

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
  const { log } = options;
  const address = parseStreamAddress(options.address);
  const timing = { ...DEFAULT_TIMING, ...options.timing };
  const delays = createBackoff({ firstMs: timing.firstRetryMs, maxMs: timing.maxRetryMs });
  const picture = createPictureChoice();
  const egress = createEgressPolicy(address.host ?? '');
  const stopping = new AbortController();
  const { signal } = stopping;
  const stopped = () => signal.aborted;
  /** Says what is odd about the sound, once. */
  const warnOf = tellOnce((warning) => log.warn({ code: 'odd_sound' }, warning));
  let running: Promise<void> | undefined;
  let restarts = 0;
  let reader: FfmpegReader | undefined;
  let told: AudioStatus | undefined;
  let tracks: string[] = [];

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
    details: () => trackText(),
    pids: () => reader?.pids() ?? [],
    counters: () => ({ overruns: 0, restarts }),
  };

  /** `track 1 of 2 (aac (LC), 48000 Hz, stereo)`, or nothing where no track was found. */
  function trackText(): string | undefined {
    const track = options.track ?? 1;
    const description = tracks[track - 1];
    return description === undefined ? undefined : `track ${track} of ${tracks.length} (${description})`;
  }

  async function run(sink: AudioSink): Promise<void> {
    for (let attempt = 1; !stopped(); attempt += 1) {
      const { failure, heardSeconds } = await listen(sink);
      if (stopped()) return;
      if (attempt === options.attempts) {
        report(sink, { state: 'offline', code: failure.code, reason: failure.message });
        sink.end();
        return;
      }
      const delayMs = delays.next();
      const changes = address.isRtsp && picture.after(heardSeconds >= SUCCESS_SECONDS);
      const next = `${/[.?]$/.test(failure.message) ? '' : '.'} It is tried again in ${Math.ceil(delayMs / 1000)} s${changes ? `, ${picture.wanted ? 'with its picture' : 'its sound alone'}` : ''}, and then less and less often, down to once in ${timing.maxRetryMs / 1000} s`;
      report(sink, { state: 'offline', code: failure.code, reason: failure.message }, next);
      log.debug({ delayMs: Math.round(delayMs) }, 'Trying the stream again');
      await sleep(delayMs, undefined, { signal }).catch(() => undefined);
      if (!stopped()) restarts += 1;
    }
  }

  /** One connection, up to its end: why it ended, and how much was heard. */
  async function listen(sink: AudioSink): Promise<{ failure: SoundpostError; heardSeconds: number }> {
    const connection = new AbortController();
    const watch = (ms: number, what: string) =>
      setTimeout(() => connection.abort(new SoundpostError('stream_stalled', `${what}${otherTracks()}`)), ms);
    const abort = () => connection.abort(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    const watchdog = watch(timing.connectMs, `no sound came within ${timing.connectMs / 1000} s`);
    const progress = { heardSeconds: 0 };
    let proxy: EgressProxy | undefined;
    tracks = [];
    try {
      // Behind a proxy of the user's own it is that proxy which decides where one may go.
      if (address.isHttp && !process.env['http_proxy']) proxy = await startEgressProxy(egress);
      reader = await open(connection, proxy);
      clearTimeout(watchdog);
      const details = trackText();
      log.info(
        {},
        `Listening to ${address.shown}, ${reader.sampleRate} Hz${details === undefined ? '' : `, ${details}`}${picture.wanted ? ', fetched together with its picture, without which it sends no sound' : ''}`,
      );
      sink.begin({ sampleRate: reader.sampleRate, name: address.shown });
      await pass(reader, sink, connection, watch, progress);
      const why = proxy?.refusal() ?? reader.ending();
      return {
        failure: new SoundpostError('stream_ended', why ?? `${address.shown} has ended`),
        ...progress,
      };
    } catch (error) {
      return { failure: await failureOf(error, proxy?.refusal(), connection.signal), ...progress };
    } finally {
      clearTimeout(watchdog);
      signal.removeEventListener('abort', abort);
      await reader?.close();
      reader = undefined;
      proxy?.close();
    }
  }

  function open(connection: AbortController, proxy: EgressProxy | undefined): Promise<FfmpegReader> {
    const { host } = address;
    return openWithFfmpeg(
      {
        url: address.url,
        protocols: address.protocols,
        options: { ...address.options, ...(address.isRtsp && !picture.wanted ? SOUND_ALONE : {}) },
        secret: host !== null,
        env: proxy?.env,
        live: true,
        name: address.shown,
        clean: address.clean,
        onLine: (line) => {
          log.debug({ line }, 'ffmpeg says');
          const target = /Redirecting to (\S+)$/.exec(line)?.[1];
          if (target === undefined || !URL.canParse(target)) return;
          // ffmpeg cannot be kept from following; it is ended before it plays what is there.
          egress.addressesOf(new URL(target).hostname).catch((error: unknown) => connection.abort(error));
        },
        onTrack: (description) => tracks.push(description),
        track: options.track,
        channel: options.channel,
        command: options.ffmpeg,
      },
      connection.signal,
    );
  }

  /** Where one audio track is mute, another may not be: cameras list the way back, to their loudspeaker, as one. */
  function otherTracks(): string {
    if (tracks.length < 2) return '';
    return `; it has ${tracks.length} audio tracks, try another with audio.track (now ${options.track ?? 1})`;
  }

  async function failureOf(
    error: unknown,
    refusal: string | undefined,
    lookSignal: AbortSignal,
  ): Promise<SoundpostError> {
    if (refusal !== undefined) return new SoundpostError('out_of_reach', `${address.shown}: ${refusal}`);
    const code = codeOf(error);
    // A server that refuses need not be asked once more.
    const isOther = code === 'not_audio' && /Invalid data|no sound/.test(messageOf(error));
    if (isOther && !lookSignal.aborted) {
      const text =
        address.host === null
          ? await beginningOfFile(options.address)
          : address.isHttp
            ? await beginningOfStream(address.url, egress, lookSignal)
            : '';
      const playlist = playlistIn(text);
      if (playlist !== null) {
        const entry = playlist.entry === null ? '' : ` (${address.clean(playlist.entry)})`;
        return new SoundpostError(
          'playlist',
          `${address.shown} is a playlist, not a stream: set audio.url to the address in it${entry}`,
        );
      }
    }
    if (code === 'out_of_reach') return new SoundpostError(code, `${address.shown}: ${messageOf(error)}`);
    return OWN_CODES.has(code)
      ? new SoundpostError(code, messageOf(error))
      : new SoundpostError('stream_failed', advised(address.clean(messageOf(error))));
  }

  /** Hands the sound on until there is none. */
  async function pass(
    reader: PcmReader,
    sink: AudioSink,
    connection: AbortController,
    watch: (ms: number, what: string) => NodeJS.Timeout,
    progress: { heardSeconds: number },
  ): Promise<void> {
    const { sampleRate } = reader;
    const chunk = new Float32Array(Math.max(1, Math.round(sampleRate * CHUNK_SECONDS)));
    const clock = createPlaybackClock({ mostBehindMs: MOST_BEHIND_MS, speed: FASTEST });
    const liveness = createLiveness({ silenceSeconds: SILENCE_SECONDS });
    liveness.begin(sampleRate);
    let lookedAt = 0;
    for (;;) {
      const stalled = `it delivered nothing for ${timing.stallMs / 1000} s`;
      const watchdog = watch(timing.stallMs, stalled);
      const count = await reader.read(chunk).finally(() => clearTimeout(watchdog));
      if (count === 0) return;
      const seconds = count / sampleRate;
      const waitMs = clock.dueMs(seconds, performance.now()) - performance.now();
      if (waitMs > 1) await sleep(waitMs, undefined, { signal: connection.signal });
      const heard = progress.heardSeconds;
      if (heard < SUCCESS_SECONDS && heard + seconds >= SUCCESS_SECONDS) delays.reset();
      progress.heardSeconds += seconds;
      report(sink, { state: 'online' });
      if (liveness.chunk(count === chunk.length ? chunk : chunk.subarray(0, count))?.state === 'offline') {
        log.warn(
          { code: 'digital_silence' },
          `${address.shown} is connected but silent, without even noise: is its microphone switched off?${otherTracks()}`,
        );
      }
      if (heard - lookedAt >= LOOK_SECONDS) {
        lookedAt = heard;
        warnOf(reader);
      }
      // A stream cannot wait, so neither does this.
      const answer = sink.chunk(count === chunk.length ? chunk : chunk.subarray(0, count), Date.now());
      answer?.catch((error: unknown) => {
        log.error({ code: codeOf(error) }, `The sound was not taken: ${messageOf(error)}`);
      });
    }
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

/** What went wrong, with what to do about it where that is known. */
function advised(message: string): string {
  if (/\b401\b|authorization failed/i.test(message)) {
    return `${message}. Are the user name and the password in the address right, with special characters percent-encoded ("@" as %40)?`;
  }
  if (/\b404\b/.test(message)) return `${message}. Is the path of the address right?`;
  return message;
}

/** Whether a camera is asked for its picture too. Pure. */
interface PictureChoice {
  readonly wanted: boolean;
  /** A connection is over; `worked`: it gave sound for long enough. True where the next one is made otherwise. */
  after(worked: boolean): boolean;
}

/** Begins without the picture and changes after every failure; a way that has worked gets a second chance. */
export function createPictureChoice(): PictureChoice {
  let wanted = false;
  /** Failures that the present way is still forgiven. */
  let forgiven = 0;
  return {
    get wanted() {
      return wanted;
    },
    after(worked) {
      if (worked) {
        forgiven = 1;
        return false;
      }
      if (forgiven > 0) {
        forgiven -= 1;
        return false;
      }
      wanted = !wanted;
      return true;
    },
  };
}
