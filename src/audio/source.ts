/** Where sound can come from. */
export type SourceKind = 'microphone' | 'file' | 'stream' | 'demo';

/** What a source delivers from now on. */
export interface AudioFormat {
  /** Hz, of the mono float32 samples in the chunks that follow. */
  sampleRate: number;
  /** The device, file or address, for people. */
  name: string;
}

/** Whether sound arrives. */
export type AudioStatus = { state: 'online' } | { state: 'offline'; code: string; reason: string };

/**
 * What a source talks to. A source calls `begin` before its first chunk and again whenever sound comes back
 * after a gap (another device, a restart): what follows does not join what came before.
 */
export interface AudioSink {
  begin(format: AudioFormat): void;
  /**
   * Mono samples in [-1, 1], about 200 ms or less. `samples` belongs to the source and is only valid until
   * the call returns (or its promise resolves): copy what must stay. `endTimeMs` is the wall clock
   * (ms since the epoch) of the last sample. A source that can wait (`realTime` false) awaits the promise
   * before it goes on: that is the back-pressure for files.
   */
  chunk(samples: Float32Array, endTimeMs: number): void | Promise<void>;
  status(status: AudioStatus): void;
  /** A finite source has delivered its last chunk. */
  end(): void;
}

/** A place sound comes from. It has a life cycle: `start` once, `stop` leaves nothing behind. */
export interface AudioSource {
  readonly kind: SourceKind;
  /** True where sound cannot wait: windows that are not served in time are dropped and counted. */
  readonly realTime: boolean;
  /** Resolves once the source is at work (not: once it has sound; a missing microphone is retried). */
  start(sink: AudioSink): Promise<void>;
  stop(): Promise<void>;
  /** What it hears, more precisely than the name does (codec, track), for people; nothing where that is not known. */
  details?(): string | undefined;
  /** Ids of the processes it runs now, for the count of memory. */
  pids?(): number[];
  /** Counts since the start, for telemetry. */
  counters(): { overruns: number; restarts: number };
}

const LONGEST_CHUNK_SECONDS = 0.2;
const SHORTEST_CHUNK_SECONDS = 0.05;

/**
 * How much sound a source hands over at a time where `rateHz` windows a second are wanted: a fifth of a hop, so that
 * windows come evenly. Every chunk wakes the service, and waking a process that rests costs more than what is done
 * with the sound: at 1 Hz chunks of 200 ms instead of 100 ms save a fifth of the service process's CPU time.
 */
export function chunkSecondsFor(rateHz: number): number {
  return Math.min(LONGEST_CHUNK_SECONDS, Math.max(SHORTEST_CHUNK_SECONDS, 0.2 / rateHz));
}
