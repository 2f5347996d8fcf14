import { collectGarbage } from '../../common/collect-garbage.js';
import { codeOf, messageOf, SoundpostError } from '../../common/errors.js';
import type { Logger } from '../../common/log.js';
import type { Config } from '../../config/schema.js';
import { persistence, type StateStore } from '../../config/state-store.js';
import type { Pipeline } from '../../inference/pipeline.js';
import type { UpdateLock } from '../../install/update-lock.js';
import type { InstalledModel, ModelRegistry } from '../../models/registry.js';
import type { ServiceControl } from '../../mqtt/command-table.js';
import type { PublishInfo } from '../info.js';
import type { StateHolder } from '../state.js';

/** The command that changes the model at work. What fails leaves the one before at work, and says so. */
export function createModelChoice(options: {
  config: Config;
  registry: Pick<ModelRegistry, 'get' | 'list'>;
  updateLock: Pick<UpdateLock, 'during'>;
  pipeline: Pick<Pipeline, 'ready' | 'model' | 'settleForModel' | 'keep' | 'swap'>;
  state: StateHolder;
  store: Pick<StateStore, 'set'>;
  publishInfo: PublishInfo;
  /** A model was chosen and works. */
  onModelChosen?: (() => Promise<void>) | undefined;
  log: Logger;
}): Pick<ServiceControl, 'setModel'> {
  const { config, registry, pipeline, state, store, log } = options;

  async function remember(id: string) {
    const saved = await store.set('model', id, config.model.id);
    await options.onModelChosen?.();
    return persistence(saved);
  }

  function isAtWork(id: string): boolean {
    return pipeline.ready && pipeline.model.manifest.id === id && state.now.model === id;
  }

  /** Holds the update lock until the new model is remembered: an update starts the service anew. */
  function swapAndRemember(model: InstalledModel, signal: AbortSignal) {
    const { id } = model.manifest;
    return options.updateLock.during(async () => {
      const { loadMs } = await pipeline.swap(model, {
        signal,
        onProgress: (progress) => state.change({ swap: { state: 'loading', model: id, progress } }),
      });
      return { loadMs, remembered: await remember(id) };
    }, signal);
  }

  return {
    async setModel(wanted, signal) {
      const model = await registry.get(wanted);
      const { id } = model.manifest;
      if (isAtWork(id)) {
        pipeline.settleForModel();
        if (state.now.stand_in != null) state.change({ stand_in: null });
        return { model: id, load_ms: 0, ...(await remember(id)) };
      }
      const installed = await registry.list();
      pipeline.keep(Math.max(...installed.map(({ manifest }) => manifest.input.window_seconds)));
      const previous = state.now.model;
      state.change({ swap: { state: 'loading', model: id, progress: 0 } });
      try {
        const { loadMs, remembered } = await swapAndRemember(model, signal);
        await options.publishInfo();
        // The sound that was kept for the old model, and its resampler.
        collectGarbage();
        log.info({}, `Changed the model from ${previous ?? 'none'} to ${id}`);
        return { model: id, load_ms: Math.round(loadMs), ...remembered };
      } catch (error) {
        const goesOn = state.now.model === null ? '' : `; ${state.now.model} goes on`;
        throw new SoundpostError(codeOf(error), `${messageOf(error)}${goesOn}`, { cause: error });
      } finally {
        state.change({ swap: { state: 'idle', model: null, progress: null } });
      }
    },
  };
}
