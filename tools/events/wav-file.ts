/** Mono samples, −1 … 1, as a WAV file of 16 bits. */
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
