/** Full scale of 16 bits; dividing by it is what `createMixer` does with integers, so that they come back exactly. */
const FULL_SCALE = 0x8000;
const HIGHEST = FULL_SCALE - 1;

/** Samples in [-1, 1) as 16-bit integers into `out` from `at` on; what is beyond full scale is cut off. */
export function toInt16(samples: Float32Array, out: Int16Array, at: number): void {
  for (let index = 0; index < samples.length; index += 1) {
    const value = samples[index]! * FULL_SCALE;
    // Cut off first: the array would wrap what does not fit. Its own conversion goes towards zero.
    out[at + index] =
      value >= HIGHEST ? HIGHEST : value <= -FULL_SCALE ? -FULL_SCALE : value < 0 ? value - 0.5 : value + 0.5;
  }
}

/** 16-bit integers as samples in [-1, 1). */
export function toFloat32(samples: Int16Array): Float32Array {
  const out = new Float32Array(samples.length);
  for (let index = 0; index < samples.length; index += 1) out[index] = samples[index]! / FULL_SCALE;
  return out;
}
