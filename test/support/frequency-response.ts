import type { Section } from '../../src/audio/biquad.js';

/** The gain of sections in a row at a frequency, in dB, by the definition of their transfer function. */
export function gainDb(sections: readonly Section[], hz: number, sampleRateHz: number): number {
  const angle = (2 * Math.PI * hz) / sampleRateHz;
  const power = (c0: number, c1: number, c2: number): number =>
    (c0 + c1 * Math.cos(angle) + c2 * Math.cos(2 * angle)) ** 2 +
    (c1 * Math.sin(angle) + c2 * Math.sin(2 * angle)) ** 2;
  return sections.reduce(
    (sum, { b0, b1, b2, a1, a2 }) => sum + 10 * Math.log10(power(b0, b1, b2) / power(1, a1, a2)),
    0,
  );
}

/** Whether the poles of a section lie inside the unit circle: the triangle of stability. */
export function isStable({ a1, a2 }: Section): boolean {
  return Math.abs(a2) < 1 && Math.abs(a1) < 1 + a2;
}

/** A sine as samples. */
export function tone(sampleRateHz: number, hz: number, seconds: number, amplitude = 1): Float32Array {
  return Float32Array.from(
    { length: Math.round(seconds * sampleRateHz) },
    (_, i) => amplitude * Math.sin((2 * Math.PI * hz * i) / sampleRateHz),
  );
}
