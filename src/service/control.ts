import { collectGarbage } from '../common/collect-garbage.js';
import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import { didYouMean } from '../common/nearest.js';
import type { Logger } from '../common/log.js';
import type { Config } from '../config/schema.js';
import { persistence, type StateStore } from '../config/state-store.js';
import type { Pipeline } from '../inference/pipeline.js';
import type { Installer } from '../install/installer.js';
import type { UpdateLock } from '../install/update-lock.js';
import { licenceOf } from '../models/catalogue.js';
import type { ModelRegistry } from '../models/registry.js';
import type { PullRequest, ServiceControl } from '../mqtt/command-table.js';
import { describeUnknown } from '../tagging/unknown.js';
import type { TaggingSettings } from '../tagging/watch.js';
import type { RateMeter } from '../telemetry/rate.js';
import type { Announcer } from './announcer.js';
import type { HealthReport } from './health-file.js';
import { createInstallReporter } from './install-reporter.js';
import type { PublishInfo } from './info.js';
import type { InputControl } from './input.js';
import { modelSummary } from './model-summary.js';
import { labelNames } from './remembered.js';
import type { StateHolder } from './state.js';
import type { TelemetryLoop } from './telemetry.js';
import type { ThermalControl } from './thermal.js';

/** What commands do to the service. Each change is applied, remembered, and then shown in `B/state`. */
export function createControl(options: {
  config: Config;
  registry: ModelRegistry;
  installer: Installer;
  updateLock: UpdateLock;
  pipeline: Pipeline;
  announcer: Announcer;
  telemetry: TelemetryLoop;
  input: InputControl;
  state: StateHolder;
  store: StateStore;
  tagging: TaggingSettings;
  rate: RateMeter;
  thermal: Pick<ThermalControl, 'request'>;
  health: () => HealthReport;
  /** Publishes `B/info`, which has the thresholds in force too, and resolves to it. */
  publishInfo: PublishInfo;
  onRestart: () => void;
  /** A model was chosen and works. */
  onModelChosen?: () => Promise<void>;
  log: Logger;
}): ServiceControl & { stop(): void } {
  const {
    config,
    registry,
    installer,
    pipeline,
    announcer,
    telemetry,
    input,
    state,
    store,
    rate,
    thermal,
    log,
  } = options;
  let { tagging } = options;
  let resumeTimer: NodeJS.Timeout | null = null;
  /** The installation under way; there is one at a time. */
  let pulling: { id: string; cancel: AbortController } | null = null;

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

  const rememberModel = async (id: string) => {
    const saved = await store.set('model', id, config.model.id);
    await options.onModelChosen?.();
    return persistence(saved);
  };

  return {
    async setModel(wanted, signal) {
      const model = await registry.get(wanted);
      const { id } = model.manifest;
      if (pipeline.ready && pipeline.model.manifest.id === id && state.now.model === id) {
        pipeline.settleForModel();
        if (state.now.stand_in != null) state.change({ stand_in: null });
        return { model: id, load_ms: 0, ...(await rememberModel(id)) };
      }
      const installed = await registry.list();
      pipeline.keep(Math.max(...installed.map(({ manifest }) => manifest.input.window_seconds)));
      const previous = state.now.model;
      state.change({ swap: { state: 'loading', model: id, progress: 0 } });
      try {
        const { loadMs, remembered } = await options.updateLock.during(async () => {
          const swapped = await pipeline.swap(model, {
            signal,
            onProgress: (progress) => state.change({ swap: { state: 'loading', model: id, progress } }),
          });
          return { loadMs: swapped.loadMs, remembered: await rememberModel(id) };
        }, signal);
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

    async setRate(hz) {
      thermal.request(hz);
      rate.reset();
      const saved = await store.set('rate_hz', hz, config.inference.rate_hz);
      return { rate_hz: hz, effective_rate_hz: state.now.effective_rate_hz, ...persistence(saved) };
    },

    async setPaused(paused, seconds) {
      applyPause(paused);
      if (paused && seconds !== undefined) {
        // A pause with an end is not remembered: after a restart nobody would end it.
        resumeTimer = setTimeout(() => applyPause(false), seconds * 1000);
        const saved = await store.set('paused', false, false);
        return { paused, seconds, ...persistence(saved) };
      }
      const saved = await store.set('paused', paused, false);
      return { paused, ...persistence(saved) };
    },

    async setThreshold(value, label) {
      if (label === undefined) {
        tagging = { ...tagging, threshold: value };
        announcer.update(tagging);
        state.change({ threshold: value });
        const saved = await store.set('threshold', value, config.tagging.threshold);
        await options.publishInfo({ look: false });
        return { threshold: value, ...persistence(saved) };
      }
      // What is kept for a label of another model can be taken back as well.
      const kept = value === null && Object.hasOwn(tagging.thresholds, label) ? label : null;
      // While no model is at work nobody can say whether it has the label, as of those in the configuration.
      const name = announcer.nameOf(label) ?? kept ?? (pipeline.ready ? null : label);
      if (name === null) {
        const names = [...announcer.watched(), ...pipeline.model.labels].map((known) => known.name);
        throw new SoundpostError(
          'label_unknown',
          `${pipeline.model.manifest.id} has no label or group "${label}".${didYouMean(label, names)} Take a name as it is in B/tags.`,
        );
      }
      // The same label may be there by its MID or in another case.
      const others = Object.entries(tagging.thresholds).filter(
        ([key]) => (announcer.nameOf(key) ?? key) !== name,
      );
      const thresholds = Object.fromEntries(value === null ? others : [...others, [name, value]]);
      tagging = { ...tagging, thresholds };
      announcer.update(tagging);
      const saved = await store.set('thresholds', thresholds, config.tagging.thresholds);
      await options.publishInfo({ look: false });
      return { threshold: value, label: name, ...persistence(saved) };
    },

    async setLabels(labels) {
      const next = { ...tagging, labels };
      const asked = new Set(labels.flatMap((entry) => (typeof entry === 'string' ? [entry] : entry.labels)));
      const meaning = announcer.preview(next);
      // Thresholds may be kept for labels that another model has: those are not what was asked for.
      const unknown = (meaning?.unknown ?? []).filter(({ name }) => asked.has(name));
      if (labels.length > 0 && meaning?.items.length === 0) {
        throw new SoundpostError(
          'label_unknown',
          `${state.now.model ?? 'The model'} knows none of these labels: ${describeUnknown(unknown)}. Nothing was changed.`,
        );
      }
      announcer.update(next);
      tagging = next;
      state.change({ labels: labelNames(labels) });
      const saved = await store.set('labels', labels, config.tagging.labels);
      await options.publishInfo({ look: false });
      return { labels: announcer.watched(), unknown, ...persistence(saved) };
    },

    async setTelemetryInterval(seconds) {
      telemetry.setInterval(seconds);
      state.change({ telemetry_interval_seconds: seconds });
      const saved = await store.set('telemetry_interval', seconds, config.telemetry.interval_seconds);
      return { interval_seconds: seconds, ...persistence(saved) };
    },

    inputs: (signal) => input.list(signal),
    setInput: (device, signal) => input.choose(device, signal),
    restart: () => options.onRestart(),

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

    async admitPull(request) {
      refuseRemotePull(config.models.remote_pull, request);
      await installer.admit(request);
    },

    async pullModel(request, signal) {
      refuseRemotePull(config.models.remote_pull, request);
      const id = 'id' in request ? request.id : String(request.manifest['id']).slice(0, 64);
      const reporter = createInstallReporter(id, (swap) => state.change({ swap }));
      const cancel = new AbortController();
      pulling = { id, cancel };
      const work = { signal: AbortSignal.any([signal, cancel.signal]), onProgress: reporter.report };
      try {
        if ('id' in request) {
          const { model, installed } = await installer.pull(id, { ...work, sha256: request.sha256 });
          if (installed) await options.publishInfo();
          return { model: model.manifest.id, installed };
        }
        const model = await installer.pullRemote(request, work);
        await options.publishInfo();
        return { model: model.manifest.id, installed: true };
      } catch (error) {
        if (!cancel.signal.aborted) throw error;
        await installer.forgetDownload(id);
        throw new SoundpostError('aborted', `The installation of ${id} was called off ("model/cancel").`, {
          cause: error,
        });
      } finally {
        pulling = null;
        // After the model has been published: it is never offered again between the two.
        reporter.end();
      }
    },

    cancelPull() {
      const model = pulling?.id ?? null;
      pulling?.cancel.abort();
      return Promise.resolve({ cancelled: model !== null, model });
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

/** Throws SoundpostError `remote_pull_off` where the configuration does not let this be installed over MQTT. */
function refuseRemotePull(allowed: Config['models']['remote_pull'], request: PullRequest): void {
  if (allowed === 'any' || (allowed === 'catalogue' && 'id' in request)) return;
  throw new SoundpostError(
    'remote_pull_off',
    allowed === 'off'
      ? 'Nothing may be installed over MQTT here: models.remote_pull is "off". Install it on the device ("npx soundpost models pull"), or set that key to "catalogue".'
      : 'Only models of the catalogue may be installed over MQTT here: whoever sends an address chooses what runs on this device. Set models.remote_pull to "any" to allow it.',
  );
}
