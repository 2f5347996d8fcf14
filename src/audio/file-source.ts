import { basename } from 'node:path';
import { createBackoff } from '../common/backoff.js';
import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { openAudioFile, type AudioFile } from './decode.js';
import { createPlaybackClock } from './playback-clock.js';
import { tellOnce } from './pcm-reader.js';
import type { AudioSink, AudioSource } from './source.js';

export interface FileSourceOptions {
  /** `demo` is a file that came with the program. */
  kind?: 'file' | 'demo';
  path: string;
  /** Begins anew at the end, without a seam. */
  loop: boolean;
  /** As fast as it sounds, or as fast as the sink takes it. */
  speed: 1 | 'max';
  /** The audio track to take (1 is the first); the first where it is left out. */
  track?: number | undefined;
  /** The one channel of it to take (1 is the first); the mean of all channels where it is left out. */
  channel?: number | undefined;
  /** How much sound is handed over at a time; 0.1 where it is left out. */
  chunkSeconds?: number;
  log: Logger;
  /** The ffmpeg executable, for what is not WAV. */
  ffmpeg?: string;
}

const DEFAULT_CHUNK_SECONDS = 0.1;

const FIRST_LOOK_SECONDS = 2;
/** The waits before a looped recording that could not be opened again is tried once more. */
const REWIND_DELAYS = { firstMs: 500, maxMs: 30_000 };

/** After a pause of the machine or of the sink this much is caught up with in a burst. */
const MOST_BEHIND_MS = 500;

/**
 * A recording as a source: WAV from disk, anything else through ffmpeg, at the recording's own rate. It waits for
 * the sink's promise before it goes on. Real time is paced by the monotonic clock; the time stamps follow the wall
 * clock, even when that is set. With `speed: 'max'` they are the wall clock at the start plus the position.
 *
 * `start` throws what `openAudioFile` throws. A recording that fails later goes offline with the reason, and ends.
 */
export function createFileSource(options: FileSourceOptions): AudioSource {
  const { path, loop, log } = options;
  const stopping = new AbortController();
  let running: Promise<void> | undefined;
  let playing: AudioFile | undefined;
  let wake: () => void = () => undefined;

  return {
    kind: options.kind ?? 'file',
    realTime: false,
    async start(sink) {
      if (running !== undefined) throw new Error('a file source is started once');
      const opening = openAudioFile(path, {
        signal: stopping.signal,
        track: options.track,
        channel: options.channel,
        ffmpeg: options.ffmpeg,
      });
      // `stop` waits for this; whether it fails is told to the caller of `start`.
      running = opening.then(
        () => undefined,
        () => undefined,
      );
      playing = await opening;
      running = run(playing, sink);
    },
    async stop() {
      stopping.abort();
      wake();
      await running;
    },
    pids: () => playing?.pids() ?? [],
    counters: () => ({ overruns: 0, restarts: 0 }),
  };

  async function run(file: AudioFile, sink: AudioSink): Promise<void> {
    const warnOf = tellOnce((warning) => log.warn({ code: 'damaged_audio' }, warning));
    try {
      stopping.signal.throwIfAborted();
      sink.begin({ sampleRate: file.sampleRate, name: basename(path) });
      sink.status({ state: 'online' });
      await play(file, sink, () => warnOf(file));
      if (!stopping.signal.aborted) sink.end();
    } catch (error) {
      if (stopping.signal.aborted) return;
      log.error({ code: codeOf(error) }, `The recording stops: ${messageOf(error)}`);
      sink.status({ state: 'offline', code: codeOf(error), reason: messageOf(error) });
      sink.end();
    } finally {
      await file.close();
    }
  }

  async function play(file: AudioFile, sink: AudioSink, look: () => void): Promise<void> {
    const { signal } = stopping;
    const { sampleRate } = file;
    const clock = options.speed === 1 ? createPlaybackClock({ mostBehindMs: MOST_BEHIND_MS }) : null;
    const { chunkSeconds = DEFAULT_CHUNK_SECONDS } = options;
    const chunk = new Float32Array(Math.max(1, Math.round(sampleRate * chunkSeconds)));
    const startMs = Date.now();
    let position = 0;
    /** Where what is odd is looked for next: soon, and then at twice the length. A pipe may never end. */
    let lookAt = FIRST_LOOK_SECONDS * sampleRate;
    while (!signal.aborted) {
      const count = await fill(file, chunk, look);
      if (count > 0) {
        position += count;
        if (position >= lookAt) {
          look();
          lookAt *= 2;
        }
        let endMs = startMs + (position / sampleRate) * 1000;
        if (clock !== null) {
          const dueMs = clock.dueMs(count / sampleRate, performance.now());
          const waitMs = dueMs - performance.now();
          if (waitMs > 0) await pause(waitMs);
          endMs = Date.now() - (performance.now() - dueMs);
        }
        signal.throwIfAborted();
        // The sink may itself be at its end and never answer: then `stop` does not wait for it.
        await untilAborted(sink.chunk(count === chunk.length ? chunk : chunk.subarray(0, count), endMs));
      }
      if (count < chunk.length) return;
    }
  }

  /**
   * Waits, or until `stop`. A plain timer: registering at the abort signal for every chunk costs more than all that
   * is done with the chunk.
   */
  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Fills a chunk, across the seam where the recording is looped. */
  async function fill(file: AudioFile, chunk: Float32Array, atEnd: () => void): Promise<number> {
    let done = await file.read(chunk);
    while (done < chunk.length) {
      atEnd();
      if (!loop || stopping.signal.aborted) return done;
      await again(file);
      const count = await file.read(chunk.subarray(done));
      if (count === 0) throw new SoundpostError('audio_empty', `${path} has no sound any more`);
      done += count;
    }
    return done;
  }

  /** From the beginning again. Where the machine has no process or handle left for that, once it has. */
  async function again(file: AudioFile): Promise<void> {
    const delays = createBackoff(REWIND_DELAYS);
    for (;;) {
      try {
        await file.rewind();
        return;
      } catch (error) {
        if (codeOf(error) !== 'no_resources') throw error;
        log.warn({ code: 'no_resources' }, `${path} waits: ${messageOf(error)}`);
        await pause(delays.next());
        stopping.signal.throwIfAborted();
      }
    }
  }

  async function untilAborted(answer: void | Promise<void>): Promise<void> {
    if (answer === undefined) return;
    const { signal } = stopping;
    let abort: () => void = () => undefined;
    const aborted = new Promise<void>((resolve) => {
      abort = resolve;
      signal.addEventListener('abort', abort, { once: true });
    });
    await Promise.race([answer, aborted]);
    signal.removeEventListener('abort', abort);
  }
}
