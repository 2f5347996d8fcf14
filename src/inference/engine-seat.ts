import { setImmediate as nextTurn } from 'node:timers/promises';
import { messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { InferenceEngine } from './engine.js';
import type { KeptSound } from './kept-sound.js';
import type { ModelStream } from './model-stream.js';

/** The engine at work, and its streams: one of the sound of each source. */
export interface EngineSeat {
  /** Null while none is loaded, at the start and after one was lost. */
  readonly engine: InferenceEngine | null;
  /** Its stream of a source; null until it has the sound that is kept. */
  streamOf(source: number): ModelStream | null;
  /**
   * Makes an engine the one at work; between two windows only. The one before is left as it is.
   * @param primed the streams that it has been given already, by source
   */
  adopt(engine: InferenceEngine, primed: readonly (ModelStream | null)[]): void;
  /** The sound of a source has started anew: the engine at work gets a stream of it. */
  reconnect(source: number): void;
  /** An engine failed or died: where it is the one at work it is forgotten and ended. */
  lost(engine: InferenceEngine, error: unknown): void;
  /** Takes the engine at work away for good, and returns it to be stopped. */
  vacate(): InferenceEngine | null;
}

export function createEngineSeat(options: {
  /** Of each source. */
  sounds: readonly Pick<KeptSound, 'attach' | 'isLive' | 'detach'>[];
  /** Another engine is at work. */
  onAdopted(engine: InferenceEngine): void;
  /** The engine at work can take windows. */
  onReady(): void;
  /** The engine at work is gone. */
  onLost(error: unknown): void;
  log: Logger;
}): EngineSeat {
  const { sounds, log } = options;
  let current: InferenceEngine | null = null;
  const streams: (ModelStream | null)[] = sounds.map(() => null);
  let isVacated = false;

  function letGoOfStream(source: number): void {
    const stream = streams[source];
    if (stream != null) sounds[source]!.detach(stream);
    streams[source] = null;
  }

  function letGoOfStreams(): void {
    for (const source of sounds.keys()) letGoOfStream(source);
  }

  function connect(engine: InferenceEngine, source: number, primed: ModelStream | null): void {
    const sound = sounds[source]!;
    if (primed !== null && sound.isLive(primed)) {
      streams[source] = primed;
      options.onReady();
      return;
    }
    sound.attach(engine).then(
      (attached) => {
        if (attached === null || !sound.isLive(attached)) return;
        if (engine !== current) {
          sound.detach(attached);
          return;
        }
        streams[source] = attached;
        options.onReady();
      },
      (error: unknown) => lost(engine, error),
    );
  }

  function lost(engine: InferenceEngine, error: unknown): void {
    if (engine !== current || isVacated) return;
    current = null;
    letGoOfStreams();
    engine.stop().catch((stopError: unknown) => {
      log.warn({ code: 'inference_stop' }, messageOf(stopError));
    });
    options.onLost(error);
  }

  return {
    get engine() {
      return current;
    },
    streamOf: (source) => streams[source] ?? null,
    adopt(engine, primed) {
      letGoOfStreams();
      current = engine;
      void engine.exited.then(async ({ reason }) => {
        // Where a window was being answered, its error says more.
        await nextTurn();
        lost(engine, new SoundpostError('inference_died', reason));
      });
      options.onAdopted(engine);
      for (const source of sounds.keys()) connect(engine, source, primed[source] ?? null);
    },
    reconnect(source) {
      letGoOfStream(source);
      if (current !== null) connect(current, source, null);
    },
    lost,
    vacate() {
      const engine = current;
      isVacated = true;
      current = null;
      streams.fill(null);
      return engine;
    },
  };
}
