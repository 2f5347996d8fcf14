import { setImmediate as nextTurn } from 'node:timers/promises';
import { SoundpostError } from '../common/errors.js';
import type { InstalledModel } from '../models/registry.js';
import type { Answering } from './answering.js';
import type { InferenceEngine } from './engine.js';
import type { EngineKeeper } from './engine-keeper.js';
import type { EngineSeat } from './engine-seat.js';
import type { KeptSound } from './kept-sound.js';
import type { ModelStream } from './model-stream.js';

export interface SwapOptions {
  signal?: AbortSignal;
  /** Told of each step with the share that is done, 0 … 1. */
  onProgress?: (progress: number) => void;
}

/**
 * Swaps engines: starts a second process with the model, feeds it the last seconds of each source, lets it answer once
 * for each, and has it take over between two windows, for all sources at once. Until then the engine at work goes on;
 * on any error it simply stays.
 */
export interface HotSwap {
  /**
   * Swaps because somebody wants the model: an attempt of our own makes way for it. Throws a SoundpostError: `busy`
   * while another swap runs, `aborted` where it was called off, else what is wrong with the model.
   * @returns how long the model took to load, ms
   */
  to(model: InstalledModel, options: SwapOptions): Promise<{ loadMs: number }>;
  /** Tries a model of our own accord: for it nobody who wants another model has to wait. Throws as `to` does. */
  attempt(model: InstalledModel): Promise<void>;
  /** Calls off what runs. Resolves when it is over. */
  stop(): Promise<unknown>;
}

export function createHotSwap(options: {
  keeper: Pick<EngineKeeper, 'launch' | 'want'>;
  /** Of each source. */
  sounds: readonly Primable[];
  seat: Pick<EngineSeat, 'engine' | 'adopt'>;
  answering: Pick<Answering, 'betweenWindows'>;
}): HotSwap {
  const { keeper, sounds, seat, answering } = options;
  /** `yields`: an attempt of our own. */
  let running: { abort: AbortController; settled: Promise<unknown>; yields: boolean } | null = null;

  async function change(
    model: InstalledModel,
    { signal: callerSignal, onProgress }: SwapOptions,
    yields: boolean,
  ): Promise<{ loadMs: number }> {
    if (running !== null) {
      throw new SoundpostError('busy', 'another model is being loaded: try again when it is done');
    }
    const abort = new AbortController();
    const signal = callerSignal ? AbortSignal.any([callerSignal, abort.signal]) : abort.signal;
    const work = loadAndSwitch(model, signal, onProgress ?? (() => undefined));
    running = { abort, settled: Promise.allSettled([work]), yields };
    try {
      return await work;
    } catch (error) {
      if (!signal.aborted) throw error;
      throw new SoundpostError('aborted', `loading ${model.manifest.id} was given up`, { cause: error });
    } finally {
      running = null;
    }
  }

  async function loadAndSwitch(
    model: InstalledModel,
    signal: AbortSignal,
    onProgress: (progress: number) => void,
  ): Promise<{ loadMs: number }> {
    onProgress(0.1);
    const engine = await keeper.launch(model, signal);
    /** By source. */
    const streams: (ModelStream | null)[] = [];
    // A network that hangs would keep a swap that was called off.
    const giveUp = () => {
      if (engine !== seat.engine) void engine.stop();
    };
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      onProgress(0.7);
      // One after the other: the engine at work goes on meanwhile, and a machine has few cores.
      for (const [source, sound] of sounds.entries()) streams.push(await prime(engine, source, sound));
      onProgress(0.9);
      const old = await takeOver(engine, streams, signal);
      onProgress(1);
      await old?.stop();
      return { loadMs: engine.loadMs };
    } catch (error) {
      if (engine !== seat.engine) {
        for (const [source, stream] of streams.entries()) if (stream !== null) sounds[source]!.detach(stream);
        await engine.stop();
      }
      throw error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  /** Between two windows, puts a primed engine to work. Resolves to the one before it. */
  function takeOver(
    engine: InferenceEngine,
    streams: readonly (ModelStream | null)[],
    signal: AbortSignal,
  ): Promise<InferenceEngine | null> {
    let end: string | null = null;
    void engine.exited.then(({ reason }) => (end = reason));
    return new Promise((resolve, reject) => {
      answering.betweenWindows(() => {
        if (signal.aborted || end !== null) {
          reject(new SoundpostError('inference_died', `the inference process ended: ${end ?? 'called off'}`));
          return;
        }
        const old = seat.engine;
        keeper.want(engine.model);
        seat.adopt(engine, streams);
        resolve(old);
      });
    });
  }

  return {
    async to(model, swapOptions) {
      while (running?.yields === true) {
        running.abort.abort();
        await running.settled;
        await nextTurn();
      }
      return change(model, swapOptions, false);
    },
    async attempt(model) {
      await change(model, {}, true);
    },
    stop() {
      running?.abort.abort();
      return running?.settled ?? Promise.resolve();
    },
  };
}

type Primable = Pick<KeptSound, 'attach' | 'detach' | 'position'>;

/** Lets a new engine answer the latest window of a source once: the last check, and its features are warm afterwards. */
async function prime(engine: InferenceEngine, source: number, sound: Primable): Promise<ModelStream | null> {
  const stream = await sound.attach(engine);
  if (stream === null) return null;
  const { position } = sound;
  const request = stream.request(position, position);
  if (typeof request !== 'object') return stream;
  try {
    await engine.infer({ ...request, source });
    return stream;
  } catch (error) {
    sound.detach(stream);
    throw error;
  }
}
