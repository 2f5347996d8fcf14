import type { Encoding } from '../../src/audio/pcm.js';

export interface WavRecipe {
  encoding: Encoding;
  sampleRate: number;
  /** Channels of equal length, each in [-1, 1). */
  channels: readonly (readonly number[])[];
  /** WAVE_FORMAT_EXTENSIBLE. */
  extensible?: boolean;
  /** RF64 with the lengths in a "ds64" chunk. */
  rf64?: boolean;
  /** Chunks between the format and the samples: an id and a body. */
  chunksBefore?: readonly (readonly [string, Buffer])[];
  chunksAfter?: readonly (readonly [string, Buffer])[];
  /** What the header says instead of the truth. */
  dataBytes?: number;
  riffBytes?: number;
}

const BYTES: Record<Encoding, number> = { u8: 1, s16: 2, s24: 3, s32: 4, f32: 4, f64: 8 };

/** The smallest difference between two values of an encoding. */
export const STEP: Record<Encoding, number> = {
  u8: 2 ** -7,
  s16: 2 ** -15,
  s24: 2 ** -23,
  s32: 2 ** -31,
  f32: 2 ** -24,
  f64: 2 ** -53,
};

/** Writes a WAV file as it should be, or as the recipe says otherwise. */
export function makeWav(recipe: WavRecipe): Buffer {
  const { encoding, sampleRate, channels } = recipe;
  const bytes = BYTES[encoding];
  const frames = channels[0]!.length;
  const data = Buffer.alloc(frames * channels.length * bytes);
  for (let frame = 0; frame < frames; frame += 1) {
    channels.forEach((samples, channel) => {
      write(encoding, data, (frame * channels.length + channel) * bytes, samples[frame]!);
    });
  }
  const tag = encoding.startsWith('f') ? 3 : 1;
  const format = Buffer.alloc(recipe.extensible ? 40 : 16);
  format.writeUInt16LE(recipe.extensible ? 0xfffe : tag, 0);
  format.writeUInt16LE(channels.length, 2);
  format.writeUInt32LE(sampleRate, 4);
  format.writeUInt32LE(sampleRate * channels.length * bytes, 8);
  format.writeUInt16LE(channels.length * bytes, 12);
  format.writeUInt16LE(bytes * 8, 14);
  if (recipe.extensible) {
    format.writeUInt16LE(22, 16);
    format.writeUInt16LE(bytes * 8, 18);
    format.writeUInt16LE(tag, 24);
    Buffer.from('000000001000800000aa00389b71', 'hex').copy(format, 26);
  }
  const stated = recipe.dataBytes ?? (recipe.rf64 ? 0xffffffff : data.length);
  const body = [
    chunk('fmt ', format),
    ...(recipe.chunksBefore ?? []).map(([id, content]) => chunk(id, content)),
    chunk('data', data, stated),
    ...(recipe.chunksAfter ?? []).map(([id, content]) => chunk(id, content)),
  ];
  if (recipe.rf64) {
    const ds64 = Buffer.alloc(28);
    ds64.writeBigUInt64LE(BigInt(data.length), 8);
    ds64.writeBigUInt64LE(BigInt(frames), 16);
    body.unshift(chunk('ds64', ds64));
  }
  const length = body.reduce((sum, part) => sum + part.length, 4);
  const head = Buffer.from('RIFF\0\0\0\0WAVE');
  if (recipe.rf64) head.write('RF64');
  head.writeUInt32LE(recipe.riffBytes ?? (recipe.rf64 ? 0xffffffff : length), 4);
  return Buffer.concat([head, ...body]);
}

function chunk(id: string, content: Buffer, stated = content.length): Buffer {
  const head = Buffer.alloc(8);
  head.write(id, 'latin1');
  head.writeUInt32LE(stated, 4);
  return Buffer.concat([head, content, Buffer.alloc(content.length % 2)]);
}

function write(encoding: Encoding, into: Buffer, at: number, value: number): void {
  const scaled = Math.round(value / STEP[encoding]);
  switch (encoding) {
    case 'u8':
      into.writeUInt8(scaled + 128, at);
      break;
    case 's16':
      into.writeInt16LE(scaled, at);
      break;
    case 's24':
      into.writeIntLE(scaled, at, 3);
      break;
    case 's32':
      into.writeInt32LE(scaled, at);
      break;
    case 'f32':
      into.writeFloatLE(value, at);
      break;
    case 'f64':
      into.writeDoubleLE(value, at);
      break;
  }
}

/** Mono samples as a WAV file of 16 bits; 1 is 32767, and what is louder is clipped. */
export function encodeWav(samples: Float32Array, sampleRate: number): Buffer {
  const HEADER_BYTES = 44;
  const data = samples.length * 2;
  const file = Buffer.alloc(HEADER_BYTES + data);
  file.write('RIFF', 0, 'latin1');
  file.writeUInt32LE(HEADER_BYTES - 8 + data, 4);
  file.write('WAVEfmt ', 8, 'latin1');
  file.writeUInt32LE(16, 16);
  file.writeUInt16LE(1, 20);
  file.writeUInt16LE(1, 22);
  file.writeUInt32LE(sampleRate, 24);
  file.writeUInt32LE(sampleRate * 2, 28);
  file.writeUInt16LE(2, 32);
  file.writeUInt16LE(16, 34);
  file.write('data', 36, 'latin1');
  file.writeUInt32LE(data, 40);
  samples.forEach((sample, index) => {
    const value = Math.max(-1, Math.min(1, sample));
    file.writeInt16LE(Math.round(value * 32_767), HEADER_BYTES + 2 * index);
  });
  return file;
}

/** `count` samples of a sine. */
export function sine(count: number, frequencyHz: number, sampleRate: number, amplitude = 0.5): number[] {
  return Array.from(
    { length: count },
    (_, i) => amplitude * Math.sin((2 * Math.PI * frequencyHz * i) / sampleRate),
  );
}
