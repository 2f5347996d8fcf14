import { open, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { codeOf, SoundpostError } from '../common/errors.js';
import { openWithFfmpeg } from './ffmpeg.js';
import type { PcmReader } from './pcm-reader.js';
import { openPipe, pipeAt } from './pipe.js';
import { beginningOfFile, playlistIn } from './playlist.js';
import { looksLikeWav } from './wav-header.js';
import { fileError, openWav } from './wav.js';

/** A whole recording. */
export interface DecodedAudio {
  /** Hz: the recording's own. */
  sampleRate: number;
  /** Mono. */
  samples: Float32Array;
  durationSeconds: number;
  /** What is odd about it, for people. */
  warnings: string[];
}

export interface AudioFile extends PcmReader {
  /** null where it is only known after the end. */
  readonly durationSeconds: number | null;
}

export interface DecodeOptions {
  signal?: AbortSignal | undefined;
  /** The audio track to take (1 is the first); the first where it is left out. */
  track?: number | undefined;
  /** The one channel of it to take (1 is the first); the mean of all channels where it is left out. */
  channel?: number | undefined;
  /** The ffmpeg executable. */
  ffmpeg?: string | undefined;
}

/** Two GiB as float32; longer recordings are for `decodeChunks`. */
const MOST_SAMPLES = 2 ** 29;

/**
 * Opens a recording for reading piece by piece: WAV by itself, everything else, and WAV with compressed samples,
 * through ffmpeg. `-` is the standard input; what can be read only once (a named pipe, too) cannot be rewound.
 *
 * Throws SoundpostError `file_not_found`, `file_unreadable`, `audio_empty`, `wav_damaged`, `not_audio`, `playlist`,
 * `ffmpeg_missing`, `no_such_track`, `no_such_channel`, `usage` (the standard input is a terminal); its message names the file. An abort throws the signal's reason.
 */
export async function openAudioFile(path: string, options: DecodeOptions = {}): Promise<AudioFile> {
  options.signal?.throwIfAborted();
  const pipe = await pipeAt(path);
  if (pipe !== null) return { ...(await openPipe(pipe, options)), durationSeconds: null };
  const wav = await isWav(path);
  // A WAV has one track. ffmpeg says so where another is asked for.
  if (wav && (options.track ?? 1) === 1) {
    try {
      return await openWav(path, options.channel);
    } catch (error) {
      if (codeOf(error) !== 'wav_unsupported') throw error;
    }
  }
  try {
    const reader = await openWithFfmpeg(
      // An absolute path behind "file:" cannot be taken for an option or for another protocol.
      {
        url: `file:${resolve(path)}`,
        protocols: 'file',
        name: path,
        track: options.track,
        channel: options.channel,
        command: options.ffmpeg,
      },
      options.signal,
    );
    return { ...reader, durationSeconds: null };
  } catch (error) {
    if (codeOf(error) === 'not_audio' && playlistIn(await beginningOfFile(path)) !== null) {
      throw new SoundpostError(
        'playlist',
        `${path} is a playlist, not a recording: name the recordings in it`,
      );
    }
    if (codeOf(error) !== 'ffmpeg_missing' || wav || !/\.wav$/i.test(path)) throw error;
    throw new SoundpostError('not_audio', `${path} is not a WAV file, in spite of its name`, {
      cause: error,
    });
  }
}

/** Decodes a whole recording. Throws as `openAudioFile`, and `audio_too_long` beyond 2 GiB of samples. */
export async function decodeFile(path: string, options: DecodeOptions = {}): Promise<DecodedAudio> {
  const file = await openAudioFile(path, options);
  try {
    const parts: Float32Array[] = [];
    let length = 0;
    // One sample more than announced: a WAV is then read in one go, and its end is seen.
    let wanted = Math.ceil((file.durationSeconds ?? 30) * file.sampleRate) + 1;
    for (;;) {
      const tooLong = length + wanted > MOST_SAMPLES;
      if (tooLong) {
        throw new SoundpostError('audio_too_long', `${path} is too long to be read as a whole`);
      }
      options.signal?.throwIfAborted();
      const part = new Float32Array(wanted);
      const count = await file.read(part);
      parts.push(part.subarray(0, count));
      length += count;
      if (count < wanted) break;
      wanted = 30 * file.sampleRate;
    }
    const samples = parts.length === 1 ? parts[0]! : join(parts, length);
    return {
      sampleRate: file.sampleRate,
      samples,
      durationSeconds: length / file.sampleRate,
      warnings: file.warnings(),
    };
  } finally {
    await file.close();
  }
}

/** A piece of a recording. */
export interface DecodedChunk {
  /** Hz */
  sampleRate: number;
  /** Mono; a view that is valid until the next chunk is asked for. */
  samples: Float32Array;
  /** Where the piece begins, in samples since the beginning of the recording. */
  position: number;
}

/**
 * A recording of any length in pieces of `chunkSeconds` (the last one is shorter); throws as `openAudioFile`.
 * Returns the warnings.
 */
export async function* decodeChunks(
  path: string,
  options: DecodeOptions & { chunkSeconds?: number } = {},
): AsyncGenerator<DecodedChunk, string[], void> {
  const file = await openAudioFile(path, options);
  try {
    const { sampleRate } = file;
    const buffer = new Float32Array(Math.max(1, Math.round(sampleRate * (options.chunkSeconds ?? 1))));
    let position = 0;
    for (;;) {
      options.signal?.throwIfAborted();
      const count = await file.read(buffer);
      if (count > 0) yield { sampleRate, samples: buffer.subarray(0, count), position };
      position += count;
      if (count < buffer.length) return file.warnings();
    }
  } finally {
    await file.close();
  }
}

/** Looks at the first bytes; a file that cannot be read or has none is an error already here. */
async function isWav(path: string): Promise<boolean> {
  try {
    const about = await stat(path);
    if (about.isDirectory())
      throw new SoundpostError('file_unreadable', `${path} is a folder, not a recording`);
    // What is not on a disk can only be read once, so not looked into: ffmpeg reads it.
    if (!about.isFile()) return false;
    if (about.size === 0) throw new SoundpostError('audio_empty', `${path} is empty (0 bytes)`);
    const file = await open(path, 'r');
    try {
      const head = new Uint8Array(12);
      const { bytesRead } = await file.read(head, 0, 12, 0);
      return bytesRead === 12 && looksLikeWav(head);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw error instanceof SoundpostError ? error : fileError(path, error);
  }
}

function join(parts: readonly Float32Array[], length: number): Float32Array {
  const all = new Float32Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
