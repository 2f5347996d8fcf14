import { setImmediate as nextTurn } from 'node:timers/promises';
import { messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { InstalledModel } from '../models/registry.js';
import type { InferenceEngine } from './engine.js';
import type { KeptSound } from './kept-sound.js';
import type { ModelStream } from './model-stream.js';

/** The engine at work, and its stream of the sound. */
export interface EngineSeat {
  /** Null while none is loaded, at the start and after one was lost. */
  readonly engine: InferenceEngine | null;
  /** Null until the engine has the sound that is kept. */
  readonly stream: ModelStream | null;
  /**
   * Makes an engine the one at work; between two windows only. The one before is left as it is.
   * @param primed the stream that it has been given already, or null
   */
  adopt(engine: InferenceEngine, primed: ModelStream | null): void;
  /** The sound has started anew: the engine at work gets a stream of it. */
  reconnect(): void;
  /** An engine failed or died: where it is the one at work it is forgotten and ended. */
  lost(engine: InferenceEngine, error: unknown): void;
  /** Takes the engine at work away for good, and returns it to be stopped. */
  vacate(): InferenceEngine | null;
}

export function createEngineSeat(options: {
  sound: Pick<KeptSound, 'attach' | 'isLive' | 'detach'>;
  /** Another engine is at work: that of this model. */
  onAdopted(model: InstalledModel): void;
  /** The engine at work can take windows. */
  onReady(): void;
  /** The engine at work is gone. */
  onLost(error: unknown): void;
  log: Logger;
}): EngineSeat {
  const { sound, log } = options;
  let current: InferenceEngine | null = null;
  let stream: ModelStream | null = null;
  let isVacated = false;

  function letGoOfStream(): void {
    if (stream !== null) sound.detach(stream);
    stream = null;
  }

  function connect(engine: InferenceEngine, primed: ModelStream | null): void {
    if (primed !== null && sound.isLive(primed)) {
      stream = primed;
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
        stream = attached;
        options.onReady();
      },
      (error: unknown) => lost(engine, error),
    );
  }

  function lost(engine: InferenceEngine, error: unknown): void {
    if (engine !== current || isVacated) return;
    current = null;
    letGoOfStream();
    engine.stop().catch((stopError: unknown) => {
      log.warn({ code: 'inference_stop' }, messageOf(stopError));
    });
    options.onLost(error);
  }

  return {
    get engine() {
      return current;
    },
    get stream() {
      return stream;
    },
    adopt(engine, primed) {
      letGoOfStream();
      current = engine;
      void engine.exited.then(async ({ reason }) => {
        // Where a window was being answered, its error says more.
        await nextTurn();
        lost(engine, new SoundpostError('inference_died', reason));
      });
      options.onAdopted(engine.model);
      connect(engine, primed);
    },
    reconnect() {
      letGoOfStream();
      if (current !== null) connect(current, null);
    },
    lost,
    vacate() {
      const engine = current;
      isVacated = true;
      current = null;
      stream = null;
      return engine;
    },
  };
}
