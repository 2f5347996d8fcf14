import { SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { SOUND_ALONE, type StreamAddress } from './address.js';
import { openWithFfmpeg, type FfmpegReader } from './ffmpeg.js';
import { startEgressProxy, type EgressProxy } from './egress-proxy.js';
import { tellOnce } from './pcm-reader.js';
import { createEgressPolicy } from './egress-policy.js';
import type { AudioSink } from './source.js';
import { outOfReach, streamFailure } from './stream-failure.js';
import { passOn } from './stream-pass.js';
import { createTrackList } from './track-list.js';

/** Connects to one stream, one connection at a time. */
export interface StreamConnection {
  /**
   * One connection, up to its end, from whatever cause, or to the firing of `signal`.
   * @param withPicture whether a camera is asked for its picture too
   * @param onSound so many more seconds have come
   * @returns why it ended
   */
  listen(
    sink: AudioSink,
    withPicture: boolean,
    onSound: (seconds: number) => void,
    signal: AbortSignal,
  ): Promise<SoundpostError>;
  /** The track that is taken, for people; nothing where none was found. */
  details(): string | undefined;
  /** Ids of the processes that run now. */
  pids(): number[];
}

export function createStreamConnection(options: {
  address: StreamAddress;
  /** The address as it was given. */
  raw: string;
  /** See StreamSourceOptions. */
  track: number | undefined;
  channel: number | undefined;
  ffmpeg: string | undefined;
  /** See StreamTiming. */
  timing: { readonly connectMs: number; readonly stallMs: number; readonly burstMs: number };
  log: Logger;
}): StreamConnection {
  const { address, raw, timing, log } = options;
  const egress = createEgressPolicy(address.host ?? '');
  const tracks = createTrackList(options.track ?? 1);
  /** Says what is odd about the sound, once. */
  const warnOf = tellOnce((warning) => log.warn({ code: 'odd_sound' }, warning));
  let reader: FfmpegReader | undefined;
  let saidTooFast = false;

  function open(
    connection: AbortController,
    withPicture: boolean,
    proxy: EgressProxy | undefined,
  ): Promise<FfmpegReader> {
    const { url, protocols, host, shown, clean } = address;
    return openWithFfmpeg(
      {
        url,
        protocols,
        options: { ...address.options, ...(address.isRtsp && !withPicture ? SOUND_ALONE : {}) },
        secret: host !== null,
        env: proxy?.env,
        live: true,
        name: shown,
        clean,
        onLine: (line) => {
          log.debug({ line }, 'ffmpeg says');
          const target = /Redirecting to (\S+)$/.exec(line)?.[1];
          if (target === undefined || !URL.canParse(target)) return;
          // ffmpeg cannot be kept from following; it is ended before it plays what is there.
          egress.addressesOf(new URL(target).hostname).catch((error: unknown) => connection.abort(error));
        },
        onTrack: (description) => tracks.add(description),
        track: options.track,
        channel: options.channel,
        command: options.ffmpeg,
      },
      connection.signal,
    );
  }

  function sayListening({ sampleRate }: FfmpegReader, withPicture: boolean): void {
    const details = tracks.text();
    log.info(
      {},
      `Listening to ${address.shown}, ${sampleRate} Hz${details === undefined ? '' : `, ${details}`}${withPicture ? ', fetched together with its picture, without which it sends no sound' : ''}`,
    );
  }

  function onTooFast(): void {
    if (saidTooFast) return;
    saidTooFast = true;
    log.warn(
      { code: 'too_fast' },
      `${address.shown} sends faster than it sounds, like a recording and no live stream: it is held back and heard as fast as it sounds`,
    );
  }

  function onSilence(): void {
    log.warn(
      { code: 'digital_silence' },
      `${address.shown} is connected but silent, without even noise: is its microphone switched off?${tracks.others()}`,
    );
  }

  return {
    async listen(sink, withPicture, onSound, signal) {
      const connection = new AbortController();
      const watch = (ms: number, what: string) => {
        const stalled = () =>
          connection.abort(new SoundpostError('stream_stalled', `${what}${tracks.others()}`));
        const timer = setTimeout(stalled, ms);
        return () => clearTimeout(timer);
      };
      const abort = () => connection.abort(signal.reason);
      signal.addEventListener('abort', abort, { once: true });
      const connected = watch(timing.connectMs, `no sound came within ${timing.connectMs / 1000} s`);
      let proxy: EgressProxy | undefined;
      tracks.begin();
      try {
        // Behind a proxy of the user's own it is that proxy which decides where one may go.
        if (address.isHttp && !process.env['http_proxy']) proxy = await startEgressProxy(egress);
        reader = await open(connection, withPicture, proxy);
        connected();
        sayListening(reader, withPicture);
        sink.begin({ sampleRate: reader.sampleRate, name: address.shown });
        await passOn(reader, sink, {
          signal: connection.signal,
          watch: () => watch(timing.stallMs, `it delivered nothing for ${timing.stallMs / 1000} s`),
          burstSeconds: timing.burstMs / 1000,
          onTooFast,
          onSound,
          onSilence,
          lookAt: warnOf,
          log,
        });
        const why = proxy?.refusal() ?? reader.ending();
        return new SoundpostError('stream_ended', why ?? `${address.shown} has ended`);
      } catch (error) {
        const refusal = proxy?.refusal();
        if (refusal !== undefined) return outOfReach(address, refusal);
        return await streamFailure(error, { address, raw, egress }, connection.signal);
      } finally {
        connected();
        signal.removeEventListener('abort', abort);
        await reader?.close();
        reader = undefined;
        proxy?.close();
      }
    },
    details: () => tracks.text(),
    pids: () => reader?.pids() ?? [],
  };
}
