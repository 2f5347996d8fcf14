import type { AudioStatus } from './source.js';

/** Default for `silenceSeconds`. */
export const SILENCE_SECONDS = 10;

/**
 * Whether sound arrives, as a state machine without clock or callbacks: time is counted in samples. Each
 * call returns the new status where it changed, else nothing.
 */
export interface Liveness {
  /** Samples at this rate (Hz) follow, after a gap or at the start. What is known of the status stays. */
  begin(sampleRate: number): void;
  /** Mono samples arrived. */
  chunk(samples: Float32Array): AudioStatus | undefined;
  /** Nothing arrives any more, and why. */
  fail(code: string, reason: string): AudioStatus | undefined;
  /** The last status, or nothing before the first. */
  status(): AudioStatus | undefined;
}

/**
 * Sound is online with the first chunk that is not digitally silent, and offline (`digital_silence`) once
 * every sample of `silenceSeconds` was the same. A real microphone always has noise: one constant value is a
 * muted or unplugged input, or a driver that pretends.
 */
export function createLiveness(options: { silenceSeconds?: number } = {}): Liveness {
  const silenceSeconds = options.silenceSeconds ?? SILENCE_SECONDS;
  let status: AudioStatus | undefined;
  let sampleRate = 0;
  let lastSample: number | undefined;
  /** Samples since the last change of value. */
  let constantSamples = 0;

  const change = (next: AudioStatus): AudioStatus | undefined => {
    const unchanged =
      status?.state === next.state &&
      (status.state === 'online' ||
        (next.state === 'offline' && status.code === next.code && status.reason === next.reason));
    if (unchanged) return undefined;
    status = next;
    return next;
  };

  return {
    begin(rate) {
      sampleRate = rate;
      lastSample = undefined;
      constantSamples = 0;
    },
    chunk(samples) {
      if (samples.length === 0) return undefined;
      const run = constantRunAtEnd(samples);
      const last = samples[samples.length - 1]!;
      const allConstant = run === samples.length;
      const varies = !allConstant || (lastSample !== undefined && !same(samples[0]!, lastSample));
      constantSamples = allConstant && !varies ? constantSamples + run : run;
      lastSample = last;
      if (constantSamples >= silenceSeconds * sampleRate) {
        const what = last === 0 ? 'only zeros' : 'only one constant value';
        return change({
          state: 'offline',
          code: 'digital_silence',
          reason: `the microphone delivers ${what}: muted or unplugged?`,
        });
      }
      return varies ? change({ state: 'online' }) : undefined;
    },
    fail: (code, reason) => change({ state: 'offline', code, reason }),
    status: () => status,
  };
}

/** How many samples at the end are equal. Live sound differs at once, so this looks at two or three. */
function constantRunAtEnd(samples: Float32Array): number {
  const last = samples[samples.length - 1]!;
  let start = samples.length - 1;
  while (start > 0 && same(samples[start - 1]!, last)) start -= 1;
  return samples.length - start;
}

/** Equal, also where both are not numbers: a driver that delivers nothing but those delivers no sound. */
function same(a: number, b: number): boolean {
  return a === b || (Number.isNaN(a) && Number.isNaN(b));
}
