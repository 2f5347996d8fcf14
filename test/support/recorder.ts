import type { AudioFormat, AudioSink, AudioStatus } from '../../src/audio/source.js';
import { createWaiting } from './waiting.js';

/** A sink that keeps what it gets, and lets a test wait for it. */
export interface Recorder extends AudioSink {
  /** All samples since the last `begin`. */
  readonly samples: number[];
  readonly formats: AudioFormat[];
  readonly statuses: AudioStatus[];
  /** Whether the source has said that it is at its end. */
  readonly ended: boolean;
  /** Wall clock of each chunk's last sample. */
  readonly endTimesMs: number[];
  /**
   * Resolves as soon as `condition` holds; it is asked again whenever the source says anything. Rejects after a minute,
   * with the condition and what had come by then.
   */
  until(condition: () => boolean): Promise<void>;
  /** The next status from now on that fits. */
  status(status: AudioStatus): void;
  nextStatus(state: AudioStatus['state'], code?: string): Promise<AudioStatus>;
}

/** `keep` limits how many samples are kept after each `begin`, for sources that are faster than real time. */
export function createRecorder(keep = 1_000_000): Recorder {
  let ended = false;
  const { wake, until: whenHeard } = createWaiting();
  const formats: AudioFormat[] = [];
  const statuses: AudioStatus[] = [];
  const endTimesMs: number[] = [];
  const samples: number[] = [];
  const heard = () =>
    `${samples.length} samples, ${formats.length} beginnings, ${statuses.length} statuses, the last one ${JSON.stringify(statuses.at(-1))}, ${ended ? 'ended' : 'not ended'}`;
  const until = (condition: () => boolean) =>
    whenHeard(condition, () => `${String(condition)}; there were ${heard()}`, 60);
  return {
    samples,
    formats,
    statuses,
    endTimesMs,
    get ended() {
      return ended;
    },
    until,
    begin(format) {
      formats.push(format);
      samples.length = 0;
      wake();
    },
    chunk(chunk, endTimeMs) {
      if (samples.length < keep) {
        samples.push(...chunk);
        endTimesMs.push(endTimeMs);
      }
      wake();
    },
    status(status) {
      statuses.push(status);
      wake();
    },
    end() {
      ended = true;
      wake();
    },
    async nextStatus(state, code) {
      const from = statuses.length;
      const fits = (status: AudioStatus) =>
        status.state === state &&
        (code === undefined || (status.state === 'offline' && status.code === code));
      const found = () => statuses.slice(from).find(fits);
      await until(() => found() !== undefined);
      return found()!;
    },
  };
}
