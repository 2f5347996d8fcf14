import { open, type FileHandle } from 'node:fs/promises';
import { messageOf, SoundpostError } from '../common/errors.js';
import { bytesOfFile, type ByteSource } from './byte-source.js';
import type { PcmReader } from './pcm-reader.js';
import { bytesPerFrame, createMixer } from './pcm.js';
import { chunkAfter, isChunk, parseWavHeader, type WavHeader } from './wav-header.js';

/** A PCM reader over a WAV file, which knows its length. */
export interface WavReader extends PcmReader {
  readonly frames: number;
  readonly durationSeconds: number;
}

/** How much is read at a time. */
const BUFFER_BYTES = 256 * 1024;
/** Of a pipe, which a live sound may come from: a read waits until it has all that it asked for. */
const PIPE_SECONDS = 0.1;

/** Chunks behind the samples; more are garbage that looks like chunks. */
const MOST_CHUNKS_BEHIND = 1000;

/** What a header does not announce is taken for sound where it lasts so long; less is the dirt of some program. */
const SOUND_SECONDS = 1;

/** Samples that lie in one piece. */
interface Stretch {
  offset: number;
  /** Null where they go on to the end. */
  bytes: number | null;
  /** What is odd about their being there. */
  warning?: string;
  /** Nothing that can be read follows. */
  isLast?: boolean;
}

/**
 * Opens a WAV file for reading from disk piece by piece, whatever its length. What can be read of a file that
 * is cut off is read, and so is sound that its header does not announce; `warnings` says so. Errors as
 * `parseWavHeader`, and `file_not_found`, `file_unreadable`, `audio_empty`, `no_such_channel`.
 *
 * @param channel the one channel to take (1 is the first); the mean of all where it is left out
 */
export async function openWav(path: string, channel?: number): Promise<WavReader> {
  const file = await openFile(path);
  try {
    return await readerOverFile(file, path, channel);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Reads a WAV from a source that only goes forward. Its length is not known before its end. Throws as `openWav`;
 * `rewind` throws SoundpostError `not_rewindable`.
 */
export async function readWavForward(source: ByteSource, name: string, channel?: number): Promise<PcmReader> {
  const header = await parseWavHeader(source, name);
  const frameBytes = bytesPerFrame(header.format);
  const reader = createReader(source, header, name, channel);
  const probe = new Uint8Array(frameBytes);
  if ((await source.read(probe, header.dataOffset)) < frameBytes) throw noSamples(name);
  return {
    ...reader,
    rewind: () =>
      Promise.reject(new SoundpostError('not_rewindable', `${name} cannot be played from its start again`)),
    close: () => Promise.resolve(),
  };
}

async function readerOverFile(file: FileHandle, path: string, channel?: number): Promise<WavReader> {
  const { size } = await file.stat();
  if (size === 0) throw new SoundpostError('audio_empty', `${path} is empty (0 bytes)`);
  const source = bytesOfFile(file, size);
  const header = await parseWavHeader(source, path);
  const { format } = header;
  const frameBytes = bytesPerFrame(format);
  const stretches = await stretchesOf(source, header, path);
  const frames = stretches.reduce((sum, { bytes }) => sum + Math.floor((bytes ?? 0) / frameBytes), 0);
  if (frames === 0) throw noSamples(path);
  return {
    ...createReader(source, header, path, channel),
    frames,
    durationSeconds: frames / format.sampleRate,
    close: () => file.close(),
  };
}

/** All the samples of a file, with their lengths as they are. */
async function stretchesOf(source: ByteSource, header: WavHeader, name: string): Promise<Stretch[]> {
  const found: Stretch[] = [];
  let next: Stretch | null = firstStretch(header);
  while (next !== null && found.length < MOST_CHUNKS_BEHIND) {
    const there = Math.max(0, source.size - next.offset);
    found.push({ ...next, bytes: Math.min(there, next.bytes ?? there) });
    next = await stretchAfter(source, header, next, name);
  }
  return found;
}

function firstStretch({ dataOffset, dataBytes }: WavHeader): Stretch {
  return { offset: dataOffset, bytes: dataBytes };
}

/**
 * More samples behind those that ended: a further "data" chunk (of two, sox reads the first and ffmpeg the last), or sound that no header
 * announces (its length has wrapped at 4 GiB, or was written too early). Null where there are none.
 */
async function stretchAfter(
  source: ByteSource,
  { format }: WavHeader,
  before: Stretch,
  name: string,
): Promise<Stretch | null> {
  if (before.bytes === null || before.isLast === true) return null;
  const secondBytes = bytesPerFrame(format) * format.sampleRate;
  let end = before.offset + before.bytes;
  let isOdd = before.bytes % 2 === 1;
  for (let chunks = 0; chunks < MOST_CHUNKS_BEHIND; chunks += 1) {
    const chunk = await chunkAfter(source, end, isOdd);
    if (chunk === null) return null;
    if (!isChunk(chunk, source)) {
      // Behind other chunks it is no sound: that lies in one piece.
      return chunks === 0 ? unannounced(source, end, before.bytes, secondBytes, name) : null;
    }
    if (chunk.id === 'data') {
      const there = Math.max(0, source.size - chunk.body);
      const bytes = source.size === Infinity ? chunk.size : Math.min(chunk.size, there);
      return {
        offset: chunk.body,
        bytes,
        warning: `${name} has more than one "data" chunk; they are read one after the other, ${seconds(bytes / secondBytes)} of it after the first`,
      };
    }
    end = chunk.body + chunk.size;
    isOdd = chunk.size % 2 === 1;
  }
  return null;
}

/** What lies behind the samples and is no chunk, if it is sound: long enough, and not only zeros. */
async function unannounced(
  source: ByteSource,
  offset: number,
  announced: number,
  secondBytes: number,
  name: string,
): Promise<Stretch | null> {
  const second = new Uint8Array(Math.ceil(SOUND_SECONDS * secondBytes));
  const there = await source.read(second, offset);
  // Recorders reserve room on the card ahead of the sound, and fill sectors up.
  if (second.subarray(0, there).every((byte) => byte === 0)) return null;
  if (there < second.length) {
    return {
      offset,
      bytes: 0,
      isLast: true,
      warning: `${name} goes on for ${there} bytes behind its samples; they are left out`,
    };
  }
  return {
    offset,
    bytes: source.size === Infinity ? null : source.size - offset,
    isLast: true,
    warning: `${name} holds more sound than the ${seconds(announced / secondBytes)} that its header announces; it is read to its end`,
  };
}

/** Hands out the samples of a WAV. `close` and `rewind` are those of a file. */
function createReader(source: ByteSource, header: WavHeader, name: string, channel?: number): PcmReader {
  const { format } = header;
  const frameBytes = bytesPerFrame(format);
  const mixer = createMixer(format, name, channel);
  const most = Math.floor(BUFFER_BYTES / frameBytes);
  const atOnce = source.size === Infinity ? Math.ceil(PIPE_SECONDS * format.sampleRate) : most;
  const bytes = new Uint8Array(Math.max(1, Math.min(most, atOnce)) * frameBytes);
  const view = new DataView(bytes.buffer);
  const warnings = new Set<string>();
  /** Where it is: in which samples, and how many bytes of them were read. */
  let stretch: Stretch | null = firstStretch(header);
  let read = 0;
  /** Frames in the buffer, and how many of those were handed out. */
  let buffered = 0;
  let used = 0;

  /** Fills the buffer; false at the end. */
  const fill = async (): Promise<boolean> => {
    while (stretch !== null) {
      const left = Math.floor(((stretch.bytes ?? Infinity) - read) / frameBytes) * frameBytes;
      const wanted = Math.min(bytes.length, left);
      const got = wanted === 0 ? 0 : await source.read(bytes.subarray(0, wanted), stretch.offset + read);
      read += got;
      used = 0;
      buffered = Math.floor(got / frameBytes);
      if (got < wanted) noteEnd(stretch, got % frameBytes !== 0);
      if (buffered > 0) return true;
      if ((stretch.bytes ?? 0) % frameBytes !== 0 && got === wanted) warnings.add(middleOfSample(name));
      const next: Stretch | null = got < wanted ? null : await stretchAfter(source, header, stretch, name);
      if (next?.warning !== undefined) warnings.add(next.warning);
      stretch = next;
      read = 0;
    }
    return false;
  };

  /** The source has ended inside of a stretch. */
  const noteEnd = ({ offset, bytes: announced }: Stretch, inSample: boolean) => {
    if (announced === null) {
      if (inSample) warnings.add(middleOfSample(name));
    } else if (source.size !== Infinity && offset + announced <= source.size) {
      warnings.add(`${name} became shorter while it was read`);
    } else {
      const [wanted, there] = [announced, read].map((length) => length / frameBytes / format.sampleRate);
      warnings.add(
        `${name} is cut off: its header announces ${seconds(wanted!)}, ${seconds(there!)} are there`,
      );
    }
  };

  return {
    sampleRate: format.sampleRate,
    warnings: () => [...warnings, ...mixer.warnings()],
    async read(out) {
      let done = 0;
      while (done < out.length) {
        if (used === buffered && !(await fill())) break;
        const count = Math.min(out.length - done, buffered - used);
        mixer.mix(view, used * frameBytes, count, out, done);
        used += count;
        done += count;
      }
      return done;
    },
    rewind() {
      stretch = firstStretch(header);
      read = 0;
      buffered = 0;
      used = 0;
      return Promise.resolve();
    },
    pids: () => [],
    close: () => Promise.resolve(),
  };
}

function middleOfSample(name: string): string {
  return `${name} ends in the middle of a sample, which is left out`;
}

function noSamples(name: string): SoundpostError {
  return new SoundpostError('audio_empty', `${name} has a WAV header but no samples`);
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (error) {
    throw fileError(path, error);
  }
}

/** What went wrong with opening or reading a file, for people. */
export function fileError(path: string, error: unknown): SoundpostError {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new SoundpostError('file_not_found', `${path} does not exist`, { cause: error });
  }
  const why =
    code === 'EACCES' || code === 'EPERM'
      ? 'this user may not read it'
      : code === 'EISDIR'
        ? 'it is a folder'
        : messageOf(error);
  return new SoundpostError('file_unreadable', `${path} cannot be read: ${why}`, { cause: error });
}

function seconds(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} s`;
}
