import { SoundpostError } from '../common/errors.js';
import type { InstalledModel } from '../models/registry.js';
import type { Answering } from './answering.js';
import { embeddingOf, noEmbedding } from './embedding-kind.js';
import { embedSound, type Embedded } from './embed-sound.js';
import type { InferenceEngine, StartEngine } from './engine.js';
import type { EngineSeat } from './engine-seat.js';
import { headsFor, NO_HEADS, type HeadsInForce, type LearntHead } from './learnt-heads.js';

/**
 * Sounds of one's own, on the embedding of the model at work. The embedding is computed only while there are heads that
 * fit to the model, a sample is due, or sound is handed in. What is wished for outlives the engines: each is given it
 * before it answers its first window, as far as it fits to its model.
 */
export interface Learning {
  /**
   * From now on these are the learnt labels. Resolves to those that are applied, in the order of their scores, and those
   * that are not, with the reason; `PipelineEvents.headsChanged` tells of it as well, and whenever that changes.
   */
  setHeads(heads: readonly LearntHead[]): Promise<HeadsInForce>;
  /** Has a window every so many ms of each source carry the embeddings of what is new with it, see `WindowResult.embedding`; null: none. */
  setBackground(wanted: { everyMs: number } | null): void;
  /**
   * Embeddings of a piece of sound, see `embedSound`. Windows of the sources have their turn first, and none waits for
   * longer than one run. Throws what `embedSound` throws, and SoundpostError `inference_died` where no model is at work or
   * another one takes over meanwhile.
   */
  embed(sound: Float32Array, rateHz: number): Promise<Embedded>;
}

/** The part that the pipeline's own parts deal with. */
export interface LearningParts extends Learning {
  /** Starts engines that do what is wished for from their first window on. */
  readonly startEngine: StartEngine;
  /** An engine is at work from now on. */
  adopted(engine: InferenceEngine): void;
  /** Heads of an engine, in the order of their scores. */
  headsOf(engine: InferenceEngine): readonly LearntHead[];
  /** Whether a window is to carry its embedding; asked once for each. `endMs`: wall clock of its end. */
  isSampleDue(source: number, endMs: number): boolean;
}

export function createLearning(options: {
  startEngine: StartEngine;
  seat: () => Pick<EngineSeat, 'engine'>;
  answering: () => Pick<Answering, 'aside'>;
  /** The model that is to answer. */
  wanted: () => InstalledModel;
  /** The configured window; null: the model's own. */
  windowSeconds: number | null;
  onHeadsChanged: (model: InstalledModel, heads: HeadsInForce) => void;
}): LearningParts {
  let wished: readonly LearntHead[] = [];
  /** What each engine was given, and what it made of it. */
  const given = new WeakMap<InferenceEngine, readonly LearntHead[]>();
  const inForce = new WeakMap<InferenceEngine, HeadsInForce>();
  let everyMs: number | null = null;
  /** When the last sample of each source was taken. */
  const sampledAtMs: number[] = [];
  const atWork = () => options.seat().engine;

  function give(engine: InferenceEngine): Promise<HeadsInForce> {
    given.set(engine, wished);
    return engine.learn(wished, (heads) => {
      const before = inForce.get(engine) ?? NO_HEADS;
      inForce.set(engine, heads);
      if (engine === atWork() && !isNone(before, heads)) options.onHeadsChanged(engine.model, heads);
    });
  }

  function engineWithEmbedding(): InferenceEngine {
    const engine = atWork();
    if (engine === null) {
      throw new SoundpostError(
        'inference_died',
        'No model is at work just now: it is being started. Try again in a moment.',
      );
    }
    if (embeddingOf(engine.model.manifest) === null) throw noEmbedding(engine.model.manifest);
    return engine;
  }

  return {
    async startEngine(model, startOptions) {
      const engine = await options.startEngine(model, startOptions);
      if (wished.length === 0) return engine;
      try {
        await give(engine);
        return engine;
      } catch (error) {
        await engine.stop();
        throw error;
      }
    },
    adopted(engine) {
      // It may have changed while the engine was being started.
      const isUpToDate = given.get(engine) === wished || (!given.has(engine) && wished.length === 0);
      const heads = inForce.get(engine) ?? NO_HEADS;
      if (!isNone(heads)) options.onHeadsChanged(engine.model, heads);
      // Where it dies over it, its end tells.
      if (!isUpToDate) give(engine).catch(() => undefined);
    },
    headsOf: (engine) => (inForce.get(engine) ?? NO_HEADS).heads,
    isSampleDue(source, endMs) {
      if (everyMs === null) return false;
      // A clock that was set back has no say in how long ago that was.
      const agoMs = Math.abs(endMs - (sampledAtMs[source] ?? -Infinity));
      if (agoMs < everyMs - ROUNDING_MS) return false;
      sampledAtMs[source] = endMs;
      return true;
    },
    async setHeads(heads) {
      wished = [...heads];
      const engine = atWork();
      const expected = () => headsFor(options.wanted(), heads);
      // One that dies over it leaves the wish to the next one.
      return engine === null ? expected() : give(engine).catch(expected);
    },
    setBackground(wanted) {
      everyMs = wanted?.everyMs ?? null;
    },
    async embed(sound, rateHz) {
      const engine = engineWithEmbedding();
      const { windowSeconds } = options;
      return embedSound(engine, sound, rateHz, {
        windowSeconds,
        turn: (run) =>
          options.answering().aside((now) => {
            if (now === engine) return run();
            throw new SoundpostError(
              'inference_died',
              'Another model, or the same one started again, is at work by now. Try again.',
            );
          }),
      });
    },
  };
}

/** Windows end at whole samples. */
const ROUNDING_MS = 1;

const isNone = (...all: HeadsInForce[]) =>
  all.every(({ heads, refused }) => heads.length === 0 && refused.length === 0);
