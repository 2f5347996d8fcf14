import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { Config } from '../config/schema.js';
import type { StateStore } from '../config/state-store.js';
import type { Pipeline } from '../inference/pipeline.js';
import type { Installer } from '../install/installer.js';
import { licenceOf } from '../models/catalogue.js';
import type { ModelRegistry } from '../models/registry.js';
import type { ServiceControl } from '../mqtt/command-table.js';
import type { TaggingSettings } from '../tagging/watch.js';
import type { RateMeter } from '../telemetry/rate.js';
import type { Announcer } from './announcer.js';
import type { HealthReport } from '../common/health-file.js';
import { createInstallReporter } from './install-reporter.js';
import { modelSummary } from './model-summary.js';
import type { StateHolder } from './state.js';

/** What commands do to the service. Each change is applied, remembered, and then shown in `B/state`. */
export function createControl(options: {
  config: Config;
  registry: ModelRegistry;
  installer: Installer;
  pipeline: Pipeline;
  announcer: Announcer;
  state: StateHolder;
  store: StateStore;
  tagging: TaggingSettings;
  rate: RateMeter;
  health: () => HealthReport;
  /** Publishes `B/info` and resolves to it. */
  publishInfo: () => Promise<object>;
  onRestart: () => void;
  log: Logger;
}): ServiceControl & { stop(): void } {
  const { config, registry, installer, pipeline, announcer, state, store, rate, log } = options;
  let { tagging } = options;
  let resumeTimer: NodeJS.Timeout | null = null;

  const cancelResume = () => {
    if (resumeTimer !== null) clearTimeout(resumeTimer);
    resumeTimer = null;
  };

  const applyPause = (paused: boolean) => {
    cancelResume();
    pipeline.setPaused(paused);
    rate.reset();
    if (paused) announcer.close();
    state.change({ paused });
  };

  return {
    async setModel(id, signal) {
      const model = await registry.get(id);
      if (pipeline.ready && pipeline.model.manifest.id === id && state.now.model === id) {
        await store.set('model', id, config.model.id);
        return { model: id, load_ms: 0 };
      }
      const installed = await registry.list();
      pipeline.keep(Math.max(...installed.map(({ manifest }) => manifest.input.window_seconds)));
      const previous = state.now.model;
      state.change({ swap: { state: 'loading', model: id, progress: 0 } });
      try {
        const { loadMs } = await pipeline.swap(model, {
          signal,
          onProgress: (progress) => state.change({ swap: { state: 'loading', model: id, progress } }),
        });
        await store.set('model', id, config.model.id);
        await options.publishInfo();
        log.info({}, `Changed the model from ${previous ?? 'none'} to ${id}`);
        return { model: id, load_ms: Math.round(loadMs) };
      } catch (error) {
        const goesOn = state.now.model === null ? '' : `; ${state.now.model} goes on`;
        throw new SoundpostError(codeOf(error), `${messageOf(error)}${goesOn}`, { cause: error });
      } finally {
        state.change({ swap: { state: 'idle', model: null, progress: null } });
      }
    },

    async setRate(hz) {
      pipeline.setRate(hz);
      rate.reset();
      state.change({ rate_hz: hz, effective_rate_hz: hz });
      await store.set('rate_hz', hz, config.inference.rate_hz);
      return { rate_hz: hz, effective_rate_hz: state.now.effective_rate_hz };
    },

    async setPaused(paused, seconds) {
      applyPause(paused);
      if (paused && seconds !== undefined) {
        // A pause with an end is not remembered: after a restart nobody would end it.
        resumeTimer = setTimeout(() => applyPause(false), seconds * 1000);
        await store.set('paused', false, false);
        return { paused, seconds };
      }
      await store.set('paused', paused, false);
      return { paused };
    },

    async setThreshold(value, label) {
      if (label === undefined) {
        tagging = { ...tagging, threshold: value };
        announcer.update(tagging);
        state.change({ threshold: value });
        await store.set('threshold', value, config.tagging.threshold);
        return { threshold: value };
      }
      const name = announcer.nameOf(label);
      if (name === null) {
        throw new SoundpostError(
          'label_unknown',
          `${state.now.model ?? 'the model'} has no label or group "${label}": take a name as it is in B/tags`,
        );
      }
      tagging = { ...tagging, thresholds: { ...tagging.thresholds, [name]: value } };
      announcer.update(tagging);
      await store.set('thresholds', { ...tagging.thresholds }, config.tagging.thresholds);
      return { threshold: value, label: name };
    },

    info: () => options.publishInfo(),

    async models() {
      const [installed, problems, catalogue] = await Promise.all([
        registry.list(),
        registry.problems(),
        installer.catalogue(),
      ]);
      const here = new Set(installed.map(({ manifest }) => manifest.id));
      return {
        installed: installed.map((model) => ({ ...modelSummary(model), bundled: model.bundled })),
        broken: problems.map(({ id, error }) => ({ id, error: error.message })),
        available: catalogue.models
          .filter(({ id }) => !here.has(id))
          .map((entry) => ({
            id: entry.id,
            title: entry.title,
            family: entry.family,
            parameters: entry.parameters,
            macs: entry.macs,
            audioset_map: entry.audioset_map,
            bytes: entry.bytes ?? entry.approximate_bytes,
            licence: licenceOf(entry),
          })),
      };
    },

    async pullModel(request, signal) {
      const id = 'id' in request ? request.id : String(request.manifest['id']).slice(0, 64);
      const reporter = createInstallReporter(id, (swap) => state.change({ swap }));
      const work = { signal, onProgress: reporter.report };
      try {
        if ('id' in request) {
          const { model, installed } = await installer.pull(id, { ...work, sha256: request.sha256 });
          return { model: model.manifest.id, installed };
        }
        const model = await installer.pullRemote(request, work);
        return { model: model.manifest.id, installed: true };
      } finally {
        reporter.end();
        await options.publishInfo();
      }
    },

    async removeModel(id) {
      const running = pipeline.ready ? [pipeline.model.manifest.id] : [];
      const wished = store.get('model', config.model.id) ?? config.model.id;
      await installer.remove(id, [
        ...running,
        ...(state.now.model === null ? [] : [state.now.model]),
        wished,
      ]);
      await options.publishInfo();
      return { model: id, removed: true };
    },

    health: () => Promise.resolve({ ...options.health() }),

    stop: cancelResume,
  };
}
