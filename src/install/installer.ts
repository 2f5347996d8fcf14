import { join } from 'node:path';
import type { Logger } from '../common/log.js';
import type { StartEngine } from '../inference/engine.js';
import { removeAbandonedCopies, removeOptimizedCopies } from '../inference/optimized-copy.js';
import { FORMER_MODELS } from '../models/bundled.js';
import { readCatalogue, type Catalogue } from '../models/catalogue.js';
import { modelIdSchema } from '../models/manifest.js';
import type { InstalledModel, ModelRegistry } from '../models/registry.js';
import type { ConvertCheckpoint } from './conversion.js';
import type { DownloadTuning } from './download.js';
import { importCheckpoint, importOnnx, type Import, type OnnxImport } from './import.js';
import { checkpointName, networkName, type SourceSettings } from './obtain.js';
import type { InstallOptions } from './progress.js';
import { createPresence } from './presence.js';
import { createPulls, readDraft, type RemoteModel } from './pull.js';
import { createPutInPlace } from './put-in-place.js';
import { refuseRemoval } from './removal.js';
import { DOWNLOADS, forgetDownload, removeAtomically, removeLeftovers } from './staging.js';
import type { UpdateLock } from './update-lock.js';

/**
 * Brings models onto this machine and takes them off it. Whatever fails, the models that are there stay as they
 * are. Every method throws SoundpostError.
 */
export interface Installer {
  /** Whether a model of the catalogue, or one from an address, could be installed at all; rejects as its pull would. */
  admit(wanted: { id: string } | RemoteModel): Promise<void>;
  /** Downloads, converts, checks and installs a model of the catalogue. `installed` is false where it was there. */
  pull(
    id: string,
    options?: InstallOptions & { sha256?: string | undefined },
  ): Promise<{ model: InstalledModel; installed: boolean }>;
  /** Downloads, checks and installs a network that needs no conversion. */
  pullRemote(remote: RemoteModel, options?: InstallOptions): Promise<InstalledModel>;
  /** Converts, checks and installs a checkpoint that is on this machine. */
  importCheckpoint(wanted: Import, options?: InstallOptions): Promise<InstalledModel>;
  /**
   * Checks and installs an ONNX network that is on this machine, with a manifest that is proposed from its graph. Throws
   * `onnx_facts` where that does not tell enough.
   */
  importOnnx(wanted: OnnxImport, options?: InstallOptions): Promise<InstalledModel>;
  /**
   * @param inUse models that something depends on.
   * @throws `model_in_use`, `model_bundled`, `model_unknown`.
   */
  remove(id: string, inUse: readonly string[]): Promise<void>;
  /**
   * Removes what was left by installations that were cut short, and by models that no longer ship. Called once at the
   * start.
   */
  removeLeftovers(): Promise<void>;
  /** Removes what has come of the download of a model that nobody wants any more. */
  forgetDownload(id: string): Promise<void>;
  catalogue(): Promise<Catalogue>;
}

export function createInstaller(dependencies: {
  registry: ModelRegistry;
  /** Holds catalogue.json. */
  bundledFolder: string;
  settings: SourceSettings;
  convert: ConvertCheckpoint;
  startEngine: StartEngine;
  threads: number;
  /** Where copies of models that were optimised for this machine are kept; those of a removed model go with it. */
  optimizedFolder: string;
  /** Held while models are put in place and removed; not while they are downloaded, which can go on later. */
  updateLock: UpdateLock;
  log: Logger;
  tuning?: Partial<DownloadTuning>;
}): Installer {
  const { registry, settings, convert, optimizedFolder, updateLock, log } = dependencies;
  const root = registry.installedFolder;
  const catalogue = () => readCatalogue(dependencies.bundledFolder);
  const presence = createPresence(registry, catalogue);
  const putInPlace = createPutInPlace(dependencies);
  const pulls = createPulls({
    registry,
    catalogue,
    settings,
    convert,
    putInPlace,
    tuning: dependencies.tuning,
  });

  return {
    catalogue,

    async admit(wanted) {
      if ('id' in wanted) {
        await presence.find(wanted.id);
      } else {
        await presence.refuse(readDraft(wanted).id);
      }
    },

    async pull(id, options = {}) {
      const found = await presence.find(id);
      if ('model' in found) return { model: found.model, installed: false };
      return { model: await pulls.checkpoint(found.entry, found.known, options), installed: true };
    },

    async pullRemote(remote, options = {}) {
      const draft = readDraft(remote);
      await presence.refuse(draft.id);
      return pulls.network(remote, draft, options);
    },

    async importCheckpoint(wanted, options = {}) {
      await presence.refuse(wanted.id);
      return importCheckpoint(wanted, options, { registry, catalogue, convert, putInPlace });
    },

    async importOnnx(wanted, options = {}) {
      await presence.refuse(wanted.id);
      return importOnnx(wanted, options, { registry, putInPlace });
    },

    async remove(id, inUse) {
      const [models, problems] = [await registry.list(), await registry.problems()];
      refuseRemoval(id, models, problems, inUse);
      await updateLock.during(() => removeAtomically(root, id));
      await removeOptimizedCopies(optimizedFolder, id);
      log.info({ model: id }, `Removed the model ${id}`);
    },

    async forgetDownload(id) {
      if (!modelIdSchema.safeParse(id).success) return;
      // A network from somewhere else may have the id of a model of the catalogue.
      const entry = (await catalogue()).models.find((known) => known.id === id);
      const names = [networkName(id), ...(entry === undefined ? [] : [checkpointName(entry)])];
      for (const name of names) await forgetDownload(join(root, DOWNLOADS, name));
    },

    async removeLeftovers() {
      await updateLock.removeLeftover();
      for (const path of await removeLeftovers(root, Date.now())) {
        log.info({}, `Removed ${path}, left by an installation that was cut short`);
      }
      await removeAbandonedCopies(optimizedFolder);
      for (const id of FORMER_MODELS) await removeOptimizedCopies(optimizedFolder, id);
    },
  };
}
