import { isErrorCode } from '../common/error-codes.js';
import { SoundpostError } from '../common/errors.js';
import { createLevelMeter, type Level } from './level.js';
import type { Shaper } from './shaper.js';
import type { AudioSource, AudioStatus } from './source.js';

/** What was heard of a source. */
export interface Heard {
  /** The device, file or address. */
  name: string;
  /** Hz */
  sampleRate: number;
  seconds: number;
  level: Level;
  /** Codec and track, where the source knows them. */
  details: string | undefined;
}

/**
 * Starts a source, listens until `seconds` of sound have come in one piece or the source ends, and stops it again.
 * What is measured is the sound after `shaper`, where one is given.
 *
 * Throws what `start` throws; and where less came within `deadlineMs`, or nothing before the end, SoundpostError with
 * the source's own reason, or `no_sound`.
 */
export async function hear(
  source: AudioSource,
  options: { seconds: number; deadlineMs: number; shaper?: Shaper },
): Promise<Heard> {
  const { shaper } = options;
  const meter = createLevelMeter();
  const state = { name: '', sampleRate: 0, samples: 0, isOver: false };
  let offline: Extract<AudioStatus, { state: 'offline' }> | undefined;
  let finish: () => void = () => undefined;
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const deadline = setTimeout(() => finish(), options.deadlineMs);
  try {
    await source.start({
      begin(format) {
        Object.assign(state, format, { samples: 0 });
        meter.take();
        shaper?.begin(format.sampleRate);
      },
      chunk(samples) {
        if (state.isOver) return;
        meter.add(shaper?.process(samples) ?? samples);
        state.samples += samples.length;
        if (state.samples >= options.seconds * state.sampleRate) finish();
      },
      status: (status) => (offline = status.state === 'offline' ? status : offline),
      end: () => finish(),
    });
    await finished;
    state.isOver = true;
    const level = meter.take();
    if (level === null) {
      throw new SoundpostError(
        offline !== undefined && isErrorCode(offline.code) ? offline.code : 'no_sound',
        offline?.reason ?? `no sound came within ${options.deadlineMs / 1000} s`,
      );
    }
    const { name, sampleRate, samples } = state;
    return { name, sampleRate, seconds: samples / sampleRate, level, details: source.details?.() };
  } finally {
    clearTimeout(deadline);
    await source.stop();
  }
}
