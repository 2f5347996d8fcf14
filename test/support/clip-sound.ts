import { execFileSync } from 'node:child_process';

/** The samples of a mono FLAC file, by ffmpeg: Int16Array. */
export function decodeFlac(path: string): Int16Array {
  const raw = execFileSync('ffmpeg', ['-v', 'error', '-xerror', '-i', path, '-f', 's16le', '-'], {
    maxBuffer: 1 << 28,
  });
  return new Int16Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length));
}

/** The amplitude of a tone in samples[from] … samples[from + count - 1], by Goertzel; of whole samples, 32768 is 1. */
export function amplitudeOf(
  samples: Int16Array,
  hz: number,
  sampleRate: number,
  from: number,
  count: number,
): number {
  let [re, im] = [0, 0];
  for (let n = 0; n < count; n += 1) {
    const phase = (2 * Math.PI * hz * n) / sampleRate;
    const value = samples[from + n]! / 32_768;
    re += value * Math.cos(phase);
    im += value * Math.sin(phase);
  }
  return (2 * Math.hypot(re, im)) / count;
}

/** In which steps of `seconds` a tone is there, from the first to the last one. */
export function toneIn(
  samples: Int16Array,
  hz: number,
  sampleRate: number,
  above: number,
  seconds = 0.02,
): { from: number; to: number } | null {
  const step = Math.round(seconds * sampleRate);
  const steps = Array.from({ length: Math.floor(samples.length / step) }, (_, at) => at).filter(
    (at) => amplitudeOf(samples, hz, sampleRate, at * step, step) > above,
  );
  if (steps.length === 0) return null;
  return { from: steps[0]! * seconds, to: (steps.at(-1)! + 1) * seconds };
}
