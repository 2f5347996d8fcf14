import { SoundpostError } from '../../common/errors.js';
import type { Config } from '../../config/schema.js';
import type { StateStore } from '../../config/state-store.js';
import type { Pipeline } from '../../inference/pipeline.js';
import type { Installer } from '../../install/installer.js';
import type { PullRequest, ServiceControl } from '../../mqtt/command-table.js';
import { createInstallReporter } from '../install-reporter.js';
import type { PublishInfo } from '../info.js';
import type { StateHolder } from '../state.js';

/** The commands that install and remove models; their progress is `swap` in `B/state`. */
export function createModelInstalls(options: {
  config: Config;
  installer: Pick<Installer, 'admit' | 'pull' | 'pullRemote' | 'forgetDownload' | 'remove'>;
  pipeline: Pick<Pipeline, 'ready' | 'model'>;
  state: StateHolder;
  store: Pick<StateStore, 'get'>;
  publishInfo: PublishInfo;
}): Pick<ServiceControl, 'admitPull' | 'pullModel' | 'cancelPull' | 'removeModel'> {
  const { config, installer, pipeline, state, store, publishInfo } = options;
  /** The installation under way; there is one at a time. */
  let pulling: { id: string; cancel: AbortController } | null = null;

  return {
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
          if (installed) await publishInfo();
          return { model: model.manifest.id, installed };
        }
        const model = await installer.pullRemote(request, work);
        await publishInfo();
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
      const shown = state.now.model === null ? [] : [state.now.model];
      const wished = store.get('model', config.model.id) ?? config.model.id;
      await installer.remove(id, [...running, ...shown, wished]);
      await publishInfo();
      return { model: id, removed: true };
    },
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
