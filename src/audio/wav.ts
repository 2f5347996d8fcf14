import { open, type FileHandle } from 'node:fs/promises';
import { messageOf, SoundpostError } from '../common/errors.js';
import type { PcmReader } from './pcm-reader.js';
import { bytesPerFrame, createMixer, type Encoding, type PcmFormat } from './pcm.js';

/** Bytes that can be read at any place: a file, or the beginning of a stream. */
export interface ByteSource {
  /** Infinity where it is not known. */
  readonly size: number;
  /** Fills `into` from `offset` on as far as there is data; returns how many bytes. */
  read(into: Uint8Array, offset: number): Promise<number>;
}

export interface WavHeader {
  format: PcmFormat;
  /** Where the samples begin, in bytes. */
  dataOffset: number;
  /** What the header says about their length; null where it was written before the length was known. */
  dataBytes: number | null;
}

/** A PCM reader over a WAV file, which knows its length. */
export interface WavReader extends PcmReader {
  readonly frames: number;
  readonly durationSeconds: number;
}

const PCM = 0x0001;
const IEEE_FLOAT = 0x0003;
const EXTENSIBLE = 0xfffe;

/** Bytes 2 to 15 of the SubFormat GUIDs that stand for a format tag (mmreg.h: KSDATAFORMAT_SUBTYPE_…). */
const TAG_GUID_TAIL = '000000001000800000aa00389b71';

const MAX_CHANNELS = 256;
const MIN_RATE = 100;
const MAX_RATE = 1_000_000;

/** The length in a RIFF header that is not complete, or whose true length is in the "ds64" chunk. */
const PLACEHOLDER = 0xffffffff;

/** Chunks before the samples; a file with more is garbage that happens to look like chunks. */
const MAX_CHUNKS = 1000;

/** How much is read from disk at a time. */
const BUFFER_BYTES = 256 * 1024;

/**
 * Reads a WAV header: RIFF, or RF64 and BW64 with 64-bit lengths (EBU Tech 3306); PCM of 8 to 32 bits, float32
 * and float64, plain or WAVE_FORMAT_EXTENSIBLE. Chunks it does not know are passed over.
 *
 * `name` is what the errors call the file. Throws SoundpostError `not_wav`, `wav_damaged`, `wav_unsupported`
 * (a WAV, but in an encoding that is not plain samples).
 */
export async function parseWavHeader(source: ByteSource, name: string): Promise<WavHeader> {
  const damaged = (what: string) =>
    new SoundpostError('wav_damaged', `${name} is a damaged WAV file: ${what}`);
  const bytes = new Uint8Array(40);
  const view = new DataView(bytes.buffer);

  if ((await source.read(bytes.subarray(0, 12), 0)) < 12 || !looksLikeWav(bytes)) {
    throw new SoundpostError('not_wav', `${name} is not a WAV file: it does not begin with RIFF … WAVE`);
  }
  if (idAt(bytes, 0) === 'RIFX') {
    throw new SoundpostError('wav_unsupported', `${name} is a big-endian WAV file (RIFX)`);
  }
  const riffBytes = view.getUint32(4, true);
  let longDataBytes: number | null = null;
  let format: PcmFormat | null = null;

  let at = 12;
  for (let chunks = 0; chunks < MAX_CHUNKS; chunks += 1) {
    if ((await source.read(bytes.subarray(0, 8), at)) < 8) {
      throw damaged(`it ends before its samples (no ${format === null ? '"fmt "' : '"data"'} chunk)`);
    }
    const id = idAt(bytes, 0);
    const size = view.getUint32(4, true);
    const body = at + 8;
    if (id === 'ds64') {
      if ((await source.read(bytes.subarray(0, 16), body)) < 16) throw damaged('its "ds64" chunk is cut off');
      longDataBytes = Number(view.getBigUint64(8, true));
    } else if (id === 'fmt ') {
      const length = await source.read(bytes.subarray(0, Math.min(size, 40)), body);
      if (length < 16) throw damaged('its "fmt " chunk is too short');
      format = parseFormat(view, length, name, damaged);
    } else if (id === 'data') {
      if (format === null) throw damaged('its samples come before their description ("fmt " chunk)');
      const stated = size === PLACEHOLDER ? (longDataBytes ?? size) : size;
      // Around no samples at all the length is 0 as well, but then the length of the whole is right.
      const complete = !isPlaceholder(riffBytes) && riffBytes + 8 >= source.size - 1;
      const unknown = stated === 0 ? !complete : isPlaceholder(stated) && body + stated > source.size;
      const dataBytes = unknown ? null : stated;
      return { format, dataOffset: body, dataBytes };
    }
    at = body + size + (size % 2);
  }
  throw damaged('it consists of too many chunks');
}

/**
 * Whether a length stands for "not known yet", which is what programs write that cannot go back to the header:
 * most of them 0xffffffff (some less their header), sox and arecord something at 2 GiB.
 */
function isPlaceholder(length: number): boolean {
  return (
    (length >= 0x7fff0000 && length <= 0x80000000) ||
    (length >= 0xffff0000 && length <= PLACEHOLDER) ||
    length > Number.MAX_SAFE_INTEGER
  );
}

/** Whether the first 12 bytes are those of a WAV file of any kind. */
export function looksLikeWav(head: Uint8Array): boolean {
  return ['RIFF', 'RF64', 'BW64', 'RIFX'].includes(idAt(head, 0)) && idAt(head, 8) === 'WAVE';
}

function parseFormat(
  view: DataView,
  length: number,
  name: string,
  damaged: (what: string) => SoundpostError,
): PcmFormat {
  let tag = view.getUint16(0, true);
  const channels = view.getUint16(2, true);
  const sampleRate = view.getUint32(4, true);
  const blockAlign = view.getUint16(12, true);
  const bits = view.getUint16(14, true);
  if (tag === EXTENSIBLE) {
    if (length < 40) throw damaged('its extensible "fmt " chunk is too short');
    const tail = Buffer.from(view.buffer, view.byteOffset + 26, 14).toString('hex');
    tag = tail === TAG_GUID_TAIL ? view.getUint16(24, true) : EXTENSIBLE;
  }
  if (tag !== PCM && tag !== IEEE_FLOAT) {
    throw new SoundpostError(
      'wav_unsupported',
      `${name} is a WAV file with compressed or unusual samples (format 0x${tag.toString(16)})`,
    );
  }
  if (channels < 1 || channels > MAX_CHANNELS) throw damaged(`its header says ${channels} channels`);
  if (sampleRate < MIN_RATE || sampleRate > MAX_RATE) throw damaged(`its header says ${sampleRate} Hz`);
  // Samples of 12 or 20 bits sit left-justified in the next larger container, which the block size tells.
  const bytes = blockAlign / channels;
  if (bits < 1 || bits > bytes * 8) {
    throw damaged(`its header says ${bits} bits a sample, and ${blockAlign} bytes for ${channels} of them`);
  }
  const encoding = encodingOf(tag, bytes);
  if (encoding === null) {
    throw damaged(`its header says ${bytes} bytes a ${tag === PCM ? 'PCM' : 'float'} sample`);
  }
  return { sampleRate, channels, encoding };
}

function encodingOf(tag: number, bytes: number): Encoding | null {
  if (tag === IEEE_FLOAT) return bytes === 4 ? 'f32' : bytes === 8 ? 'f64' : null;
  return ({ 1: 'u8', 2: 's16', 3: 's24', 4: 's32' } as const)[bytes] ?? null;
}

function idAt(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + 4));
}

/**
 * Opens a WAV file for reading from disk piece by piece, whatever its length. What can be read of a file that
 * is cut off is read, and `warnings` says so. Errors as `parseWavHeader`, and `file_not_found`,
 * `file_unreadable`, `audio_empty`, `no_such_channel`.
 *
 * @param channel the one channel to take (1 is the first); the mean of all where it is left out
 */
export async function openWav(path: string, channel?: number): Promise<WavReader> {
  const file = await openFile(path);
  try {
    return await readerOver(file, path, channel);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readerOver(file: FileHandle, path: string, channel?: number): Promise<WavReader> {
  const { size } = await file.stat();
  if (size === 0) throw new SoundpostError('audio_empty', `${path} is empty (0 bytes)`);
  const source: ByteSource = {
    size,
    async read(into, offset) {
      let done = 0;
      while (done < into.length) {
        const { bytesRead } = await file.read(into, done, into.length - done, offset + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return done;
    },
  };
  const { format, dataOffset, dataBytes } = await parseWavHeader(source, path);
  const frameBytes = bytesPerFrame(format);
  const there = Math.max(0, size - dataOffset);
  const frames = Math.floor(Math.min(there, dataBytes ?? there) / frameBytes);
  if (frames === 0) throw new SoundpostError('audio_empty', `${path} has a WAV header but no samples`);
  const durationSeconds = frames / format.sampleRate;

  const warnings: string[] = [];
  if (dataBytes !== null && dataBytes > there) {
    const announced = dataBytes / frameBytes / format.sampleRate;
    warnings.push(
      `${path} is cut off: its header announces ${seconds(announced)}, ${seconds(durationSeconds)} are there`,
    );
  } else if ((dataBytes ?? there) % frameBytes !== 0) {
    warnings.push(`${path} ends in the middle of a sample, which is left out`);
  }

  const mixer = createMixer(format, path, channel);
  const bytes = new Uint8Array(Math.max(1, Math.floor(BUFFER_BYTES / frameBytes)) * frameBytes);
  const view = new DataView(bytes.buffer);
  /** Frames of the file that were handed out; frames in the buffer, and how many of those were. */
  let position = 0;
  let buffered = 0;
  let used = 0;

  return {
    sampleRate: format.sampleRate,
    frames,
    durationSeconds,
    warnings: () => [...warnings, ...mixer.warnings()],
    async read(out) {
      let done = 0;
      while (done < out.length && position < frames) {
        if (used === buffered) {
          const wanted = Math.min(bytes.length, (frames - position) * frameBytes);
          const got = await source.read(bytes.subarray(0, wanted), dataOffset + position * frameBytes);
          used = 0;
          buffered = Math.floor(got / frameBytes);
          if (buffered === 0) {
            // The file has become shorter since it was opened.
            warnings.push(`${path} became shorter while it was read`);
            position = frames;
            break;
          }
        }
        const count = Math.min(out.length - done, buffered - used);
        mixer.mix(view, used * frameBytes, count, out, done);
        used += count;
        position += count;
        done += count;
      }
      return done;
    },
    rewind() {
      position = 0;
      buffered = 0;
      used = 0;
      return Promise.resolve();
    },
    pids: () => [],
    close: () => file.close(),
  };
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
