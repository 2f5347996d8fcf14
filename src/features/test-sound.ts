/** The key of the sound that `testSound` makes, kept with what a model said of it. */
export const TEST_SOUND = 'tones-and-noise-1';

/**
 * A sound that is the same at any time on any machine, `count` samples at `sampleRate` Hz: a tone that climbs through
 * all bands, with noise whose level rises and falls; something for every filter.
 */
export function testSound(count: number, sampleRate: number): Float32Array {
  const samples = new Float32Array(count);
  let state = 7;
  let phase = 0;
  for (let n = 0; n < count; n += 1) {
    const position = n / count;
    const hz = 60 * (sampleRate / 2.2 / 60) ** position;
    phase += (2 * Math.PI * hz) / sampleRate;
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const noise = state / 2 ** 31 - 1;
    samples[n] = 0.2 * Math.sin(phase) + 0.1 * (1 + Math.sin(2 * Math.PI * 3 * position)) * noise;
  }
  return samples;
}
