import { createRequire } from 'node:module';
import type * as libFlac from 'libflacjs/dist/libflac.min.wasm.js';
import { SoundpostError } from '../common/errors.js';

/*
 * FLAC by libFLAC itself, compiled to WebAssembly (libflacjs). It is loaded where it is used, and that is a child: what
 * the encoder takes of memory goes back with the process.
 */

type LibFlac = typeof libFlac;

/** libFLAC's own default: the higher ones cost more and save 1 % of the bytes. */
const COMPRESSION = 5;
/** Samples that are handed over at a time. */
const BLOCK = 16_384;
/** Where the stream's facts lie: behind "fLaC" and the head of their block. */
const STREAMINFO_AT = 8;
const FRAME_SIZES_AT = STREAMINFO_AT + 4;
const MD5_AT = STREAMINFO_AT + 18;

/** A whole FLAC file of mono 16-bit samples, with the MD5 of the sound by which decoders check it. */
export async function encodeFlac(samples: Int16Array, sampleRateHz: number): Promise<Buffer> {
  const flac = await loadLibFlac();
  const parts: Uint8Array[] = [];
  let facts: { min_framesize: number; max_framesize: number; md5sum: string } | undefined;
  const encoder = flac.create_libflac_encoder(sampleRateHz, 1, 16, COMPRESSION, samples.length, false, 0);
  if (encoder === 0) throw failure('it cannot be made');
  try {
    const status = flac.init_encoder_stream(
      encoder,
      (bytes) => void parts.push(bytes.slice()),
      (streamInfo) => (facts = streamInfo),
    );
    if (status !== 0) throw failure(`it does not begin (status ${status})`);
    const block = new Int32Array(BLOCK);
    for (let at = 0; at < samples.length; at += BLOCK) {
      const piece = samples.subarray(at, at + BLOCK);
      block.set(piece);
      if (!flac.FLAC__stream_encoder_process_interleaved(encoder, block, piece.length)) {
        throw failure('it stopped in the middle');
      }
    }
    if (!flac.FLAC__stream_encoder_finish(encoder)) throw failure('it did not come to an end');
  } finally {
    flac.FLAC__stream_encoder_delete(encoder);
  }
  const file = Buffer.concat(parts);
  if (facts === undefined) throw failure('it says nothing of what it wrote');
  // It could not go back to the head of the file, where this belongs.
  file.writeUIntBE(facts.min_framesize, FRAME_SIZES_AT, 3);
  file.writeUIntBE(facts.max_framesize, FRAME_SIZES_AT + 3, 3);
  file.write(facts.md5sum, MD5_AT, 'hex');
  return file;
}

let loading: Promise<LibFlac> | null = null;

function loadLibFlac(): Promise<LibFlac> {
  loading ??= load();
  return loading;
}

async function load(): Promise<LibFlac> {
  const { fetch } = globalThis;
  // Where there is a fetch, it takes itself to be in a browser and asks for its WebAssembly by a path that is no URL.
  Reflect.deleteProperty(globalThis, 'fetch');
  try {
    const flac = createRequire(import.meta.url)('libflacjs/dist/libflac.min.wasm.js') as LibFlac;
    if (!flac.isReady()) await new Promise<void>((resolve) => flac.on('ready', () => resolve()));
    return flac;
  } finally {
    globalThis.fetch = fetch;
  }
}

function failure(how: string): SoundpostError {
  return new SoundpostError('internal', `The FLAC encoder (libflacjs) failed: ${how}`);
}
