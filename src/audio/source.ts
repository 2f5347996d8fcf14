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
   * Mono samples in [-1, 1], about 100 ms or less. `samples` belongs to the source and is only valid until
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
  /** Ids of the processes it runs now, for the count of memory. */
  pids?(): number[];
  /** Counts since the start, for telemetry. */
  counters(): { overruns: number; restarts: number };
}
