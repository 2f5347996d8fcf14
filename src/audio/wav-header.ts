import { SoundpostError } from '../common/errors.js';
import type { ByteSource } from './byte-source.js';
import type { Encoding, PcmFormat } from './pcm.js';

export interface WavHeader {
  format: PcmFormat;
  /** Where the samples begin, in bytes. */
  dataOffset: number;
  /** What the header says about their length; null where it was written before the length was known. */
  dataBytes: number | null;
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

/** In a pipe nothing tells whether a chunk fits: one of an unknown name that is longer than this is none. */
const LONGEST_ODD_CHUNK = 2 ** 26;

/** Chunks that are met with in WAV files. Any other name of four characters may be one, these certainly are. */
const KNOWN_CHUNKS = new Set(
  'fmt |data|fact|LIST|INFO|bext|iXML|axml|chna|ds64|JUNK|junk|PAD |FLLR|cue |smpl|inst|PEAK|DISP|id3 |ID3 |afsp|levl|link|umid|minf|elm1|regn|cart|acid|_PMX|wavl|slnt|plst|note|labl|ltxt'.split(
    '|',
  ),
);

/**
 * Reads a WAV header: RIFF, or RF64 and BW64 with 64-bit lengths (EBU Tech 3306); PCM of 8 to 32 bits, float32
 * and float64, plain or WAVE_FORMAT_EXTENSIBLE. Chunks it does not know are passed over. Where fields contradict each
 * other, those that decide win: the number of channels and the bits of a sample, over the block size and the bytes a
 * second that follow from them.
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

  let end = 12;
  let isOdd = false;
  for (let chunks = 0; chunks < MAX_CHUNKS; chunks += 1) {
    const chunk = await chunkAfter(source, end, isOdd);
    if (chunk === null) {
      throw damaged(`it ends before its samples (no ${format === null ? '"fmt "' : '"data"'} chunk)`);
    }
    const { id, size, body } = chunk;
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
      const mayReachBeyond = body + stated > source.size || source.size === Infinity;
      const unknown = stated === 0 ? !complete : isPlaceholder(stated) && mayReachBeyond;
      const dataBytes = unknown ? null : stated;
      return { format, dataOffset: body, dataBytes };
    }
    end = body + size;
    isOdd = size % 2 === 1;
  }
  throw damaged('it consists of too many chunks');
}

/** A chunk: its name, the length it announces, and where its content begins. */
export interface Chunk {
  id: string;
  size: number;
  body: number;
}

/**
 * The chunk that follows one which ended at `end`. Chunks of an odd length are followed by a byte that fills up, which
 * some programs forget: where nothing that could be a chunk lies behind that byte, one may lie in its place.
 *
 * Null where the file ends. What is returned need not be a chunk: see `isChunk`.
 */
export async function chunkAfter(source: ByteSource, end: number, isOdd: boolean): Promise<Chunk | null> {
  const bytes = new Uint8Array(9);
  const view = new DataView(bytes.buffer);
  const there = await source.read(bytes, end);
  const chunkAt = (skip: number): Chunk | null =>
    there < skip + 8
      ? null
      : { id: idAt(bytes, skip), size: view.getUint32(skip + 4, true), body: end + skip + 8 };
  const padded = chunkAt(isOdd ? 1 : 0);
  if (!isOdd) return padded;
  const unpadded = chunkAt(0);
  const likeliest = [padded, unpadded].filter((chunk) => chunk !== null && isChunk(chunk, source));
  return likeliest.find((chunk) => KNOWN_CHUNKS.has(chunk!.id)) ?? likeliest[0] ?? padded;
}

/** Whether what lies in the place of a chunk can be one: its name is text, and it fits into the file. */
export function isChunk({ id, size, body }: Chunk, source: ByteSource): boolean {
  const most = source.size === Infinity ? LONGEST_ODD_CHUNK : source.size + 1 - body;
  return KNOWN_CHUNKS.has(id) || (/^[\x20-\x7e]{4}$/.test(id) && size <= most);
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
  const bytes = sampleBytes(
    tag,
    bits,
    blockAlign / channels,
    view.getUint32(8, true) / sampleRate / channels,
  );
  if (tag === PCM && bytes === 8) {
    throw new SoundpostError('wav_unsupported', `${name} is a WAV file with integers of 64 bits`);
  }
  const encoding = encodingOf(tag, bytes);
  if (encoding === null) throw damaged(`its header says ${bits} bits a sample`);
  return { sampleRate, channels, encoding };
}

/**
 * How many bytes one sample takes. The bits say it, rounded up to whole bytes (12 bits sit left-justified in 16), as
 * ffmpeg and sox read it, whatever block size and bytes a second say. The one exception: 17 to 24 bits may sit in 32,
 * which is so where those two say it with one voice.
 */
function sampleBytes(tag: number, bits: number, blockBytes: number, rateBytes: number): number {
  const byBits = Math.ceil(bits / 8);
  return tag === PCM && byBits === 3 && blockBytes === 4 && rateBytes === 4 ? 4 : byBits;
}

function encodingOf(tag: number, bytes: number): Encoding | null {
  if (tag === IEEE_FLOAT) return bytes === 4 ? 'f32' : bytes === 8 ? 'f64' : null;
  return ({ 1: 'u8', 2: 's16', 3: 's24', 4: 's32' } as const)[bytes] ?? null;
}

function idAt(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + 4));
}
