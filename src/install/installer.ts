import { copyFile, link, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { SelfTest } from '../convert/self-test.js';
import type { StartEngine } from '../inference/engine.js';
import { removeAbandonedCopies, removeOptimizedCopies } from '../inference/optimized-copy.js';
import { makeSelfTest, runSelfTest, writeSelfTest } from '../inference/self-test.js';
import { readSignature } from '../inference/read-signature.js';
import { currentModelId, FORMER_MODELS } from '../models/bundled.js';
import {
  catalogueEntry,
  licenceOf,
  modelUnknown,
  readCatalogue,
  type Catalogue,
  type CatalogueEntry,
} from '../models/catalogue.js';
import type { DownloadTuning } from './download.js';
import { writeDigests } from '../models/file-digests.js';
import { digestOfFile } from '../models/files.js';
import { numberLabels, type LabelEntry } from '../models/labels.js';
import { manifestSchema, modelIdSchema, type Manifest } from '../models/manifest.js';
import type { InstalledModel, ModelRegistry } from '../models/registry.js';
import { conversionShare, type ConvertCheckpoint } from './conversion.js';
import {
  checkpointName,
  networkName,
  obtainCheckpoint,
  obtainFromAddress,
  type SourceSettings,
} from './obtain.js';
import { declaredClasses, proposeManifest, type OnnxFacts } from './propose-manifest.js';
import {
  DOWNLOADS,
  forgetDownload,
  installAtomically,
  removeAtomically,
  removeLeftovers,
} from './staging.js';
import type { UpdateLock } from './update-lock.js';

/** How far an installation is. `share` is 0 … 1, null where the end is not known. */
export interface InstallProgress {
  step: 'downloading' | 'converting' | 'verifying';
  share: number | null;
  /** While downloading: bytes. */
  done?: number;
  total?: number | null;
}

export interface InstallOptions {
  onProgress?: (progress: InstallProgress) => void;
  signal?: AbortSignal | undefined;
}

/** A ready ONNX network at an address. */
export interface RemoteModel {
  url: string;
  sha256?: string | undefined;
  /** As in model.json; `onnx_sha256` may be left out. */
  manifest: Record<string, unknown>;
  /** Names of its labels, where they are not a set that ships with the program. */
  labels?: readonly string[] | undefined;
}

export interface Import {
  file: string;
  architecture: string;
  id: string;
  /**
   * The classes in the order of the network's output. Where left out, those of the released weights of this
   * architecture, mostly AudioSet's 527.
   */
  labels?: readonly LabelEntry[] | undefined;
  /** Where in the checkpoint the weights are, for instance `ema.weights`; found where left out. */
  stateDict?: string | undefined;
  title?: string | undefined;
}

/** A ready ONNX network on this machine. */
export interface OnnxImport extends Pick<Import, 'file' | 'id' | 'labels' | 'title'> {
  /** What the graph does not tell. */
  facts: OnnxFacts;
}

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

const AUDIOSET = 'audioset-527';

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
  const { registry, settings, convert, startEngine, threads, updateLock, log, tuning } = dependencies;
  const root = registry.installedFolder;
  const catalogue = () => readCatalogue(dependencies.bundledFolder);

  /** The model where it is there and sound; a broken one counts as absent, for it may be replaced. */
  async function present(id: string): Promise<InstalledModel | undefined> {
    return (await registry.list()).find(({ manifest }) => manifest.id === currentModelId(id));
  }

  /** The model where it is there, else what the catalogue says of it. Throws SoundpostError `model_unknown`. */
  async function find(
    id: string,
  ): Promise<{ model: InstalledModel } | { known: Catalogue; entry: CatalogueEntry }> {
    const models = await registry.list();
    const model = models.find(({ manifest }) => manifest.id === currentModelId(id));
    if (model !== undefined) return { model };
    const known = await catalogue();
    const ids = models.map(({ manifest }) => manifest.id);
    return { known, entry: catalogueEntry(known, id, ids) };
  }

  async function refusePresent(id: string): Promise<void> {
    if (!modelIdSchema.safeParse(id).success) {
      throw new SoundpostError(
        'invalid_id',
        `"${id}" cannot be the id of a model: letters, digits, ".", "_" and "-" only, at most 64.`,
      );
    }
    const there = await present(id);
    if (there === undefined) return;
    throw new SoundpostError(
      'model_exists',
      there.bundled
        ? `${id} stands for the bundled model, which cannot be replaced. Choose another id.`
        : `There is a model ${id} already. Remove it first ("npx soundpost models remove ${id}"), or choose another id.`,
    );
  }

  /** Fills the folder with `fill`, which gives the manifest; then the model has to show that it works. */
  async function install(
    id: string,
    options: InstallOptions,
    fill: (folder: string) => Promise<{ manifest: Manifest; selfTest?: SelfTest }>,
  ): Promise<InstalledModel> {
    const fillAndCheck = async (folder: string) => {
      const { manifest, selfTest } = await fill(folder);
      await writeFile(join(folder, 'model.json'), `${JSON.stringify(manifest, null, 2)}\n`);
      options.onProgress?.({ step: 'verifying', share: null });
      const staged = await registry.read(folder);
      const { signal } = options;
      const engine = await startEngine(staged, { threads, ...(signal === undefined ? {} : { signal }) });
      try {
        // What the converter made of the test sound, the process that will tag has to make of it as well.
        await writeSelfTest(folder, selfTest ?? (await makeSelfTest(engine)));
        await runSelfTest(engine);
      } finally {
        await engine.stop();
      }
      await writeDigests(folder, staged.manifest.onnx_sha256);
      if (signal?.aborted === true) throw new SoundpostError('aborted', `Installing ${id} was called off.`);
    };
    await updateLock.during(() => installAtomically(root, id, fillAndCheck), options.signal);
    log.info({ model: id }, `Installed the model ${id}`);
    return registry.get(id);
  }

  /** Converts into the folder and gives what the conversion adds to the manifest. */
  async function convertInto(
    folder: string,
    wanted: { checkpointPath: string; architecture: string; labels: number; stateDict?: string | undefined },
    { onProgress, signal }: InstallOptions,
  ) {
    onProgress?.({ step: 'converting', share: 0 });
    const conversion = await convert({
      ...wanted,
      outFolder: folder,
      onProgress: (progress) => onProgress?.({ step: 'converting', share: conversionShare(progress) }),
      ...(signal === undefined ? {} : { signal }),
    });
    const { architecture, family, input, output, parameters, onnxSha256, selfTest } = conversion;
    return { selfTest, made: { architecture, family, input, output, parameters, onnx_sha256: onnxSha256 } };
  }

  return {
    catalogue,

    async admit(wanted) {
      if ('id' in wanted) {
        await find(wanted.id);
      } else {
        await refusePresent(readDraft(wanted).id);
      }
    },

    async pull(id, options = {}) {
      const found = await find(id);
      if ('model' in found) return { model: found.model, installed: false };
      const { known, entry } = found;
      const labels = await registry.labelSet(entry.labels);
      options.onProgress?.({ step: 'downloading', share: null });
      const file = await obtainCheckpoint(entry, options.sha256, {
        ...obtaining(options),
        catalogue: known,
      });
      const model = await install(id, options, async (folder) => {
        const { made, selfTest } = await convertInto(
          folder,
          { checkpointPath: file.path, architecture: entry.architecture, labels: labels.length },
          options,
        );
        const manifest: Manifest = {
          id,
          title: entry.title,
          ...made,
          family: entry.family,
          labels: entry.labels,
          thresholds: null,
          metrics: { audioset_map: entry.audioset_map },
          parameters: entry.parameters,
          macs: entry.macs,
          licence: licenceOf(entry),
          source: { url: file.origin, sha256: file.sha256, bytes: file.bytes },
        };
        return { manifest, selfTest };
      });
      await file.discard();
      return { model, installed: true };
    },

    async pullRemote(remote, options = {}) {
      const draft = readDraft(remote);
      await refusePresent(draft.id);
      options.onProgress?.({ step: 'downloading', share: null });
      const file = await obtainFromAddress(remote.url, networkName(draft.id), remote.sha256 ?? null, {
        ...obtaining(options),
        catalogue: await catalogue(),
      });
      const manifest: Manifest = {
        ...draft,
        onnx_sha256: file.sha256,
        source: { url: file.origin, sha256: file.sha256, bytes: file.bytes },
      };
      const model = await install(draft.id, options, async (folder) => {
        // A second name for the same bytes, where the file system can do that.
        const onnxPath = join(folder, 'model.onnx');
        await link(file.path, onnxPath).catch(() => copyFile(file.path, onnxPath));
        if (remote.labels !== undefined) {
          await writeLabels(folder, numberLabels(remote.labels, 'the labels of the request'));
        }
        return { manifest };
      });
      await file.discard();
      return model;
    },

    async importCheckpoint(wanted, options = {}) {
      await refusePresent(wanted.id);
      const { size, sha256 } = await lookAt(wanted.file);
      const relative = (await catalogue()).models.find(
        ({ architecture }) => architecture.toLowerCase() === wanted.architecture.toLowerCase(),
      );
      const labelSet = relative?.labels ?? AUDIOSET;
      const labels = wanted.labels ?? (await registry.labelSet(labelSet));
      return install(wanted.id, options, async (folder) => {
        if (wanted.labels !== undefined) await writeLabels(folder, wanted.labels);
        const { made, selfTest } = await convertInto(
          folder,
          {
            checkpointPath: wanted.file,
            architecture: wanted.architecture,
            labels: labels.length,
            stateDict: wanted.stateDict,
          },
          options,
        );
        const manifest: Manifest = {
          id: wanted.id,
          title: wanted.title ?? `${wanted.id} (${made.architecture})`,
          ...made,
          family: relative?.family ?? made.family,
          labels: wanted.labels === undefined ? labelSet : LABELS_FILE,
          thresholds: null,
          metrics: {},
          macs: null,
          licence: 'unknown',
          source: { url: wanted.file, sha256, bytes: size },
        };
        return { manifest, selfTest };
      });
    },

    async importOnnx({ file, id, labels: given, title, facts }, options = {}) {
      await refusePresent(id);
      const { size, sha256 } = await lookAt(file);
      return install(id, options, async (folder) => {
        const onnxPath = join(folder, 'model.onnx');
        await copyFile(file, onnxPath);
        const signature = await readSignature(onnxPath, options.signal).catch((error: unknown) => {
          // What was opened is a copy in a folder that nobody knows.
          throw new SoundpostError(codeOf(error), messageOf(error).replaceAll(onnxPath, file), {
            cause: error,
          });
        });
        const labels = given === undefined ? setOfClasses(declaredClasses(signature)) : LABELS_FILE;
        if (given !== undefined) await writeLabels(folder, given);
        const count = given?.length ?? (await registry.labelSet(labels)).length;
        const manifest: Manifest = {
          id,
          title: title ?? id,
          family: 'own',
          architecture: 'own',
          ...(await proposeManifest(signature, count, facts)),
          labels,
          thresholds: null,
          metrics: {},
          parameters: null,
          macs: null,
          licence: 'unknown',
          source: { url: file, sha256, bytes: size },
          onnx_sha256: sha256,
        };
        return { manifest };
      });
    },

    async remove(id, inUse) {
      const [models, problems] = [await registry.list(), await registry.problems()];
      const found = [
        ...models.map(({ manifest, bundled }) => ({ id: manifest.id, bundled })),
        ...problems,
      ].filter((candidate) => candidate.id === id);
      const meant = currentModelId(id);
      // The id of a former bundled model stands for its successor.
      if (found.length === 0 && meant === id) {
        throw modelUnknown(id, {
          installed: models.filter(({ bundled }) => !bundled).map(({ manifest }) => manifest.id),
        });
      }
      // A folder that only has the name of the bundled model is not it, and may go.
      if (found.every(({ bundled }) => bundled)) {
        throw new SoundpostError('model_bundled', `${meant} ships with the program and cannot be removed.`);
      }
      // A broken model is of use to nobody, whatever the settings say.
      const works = models.some(({ manifest, bundled }) => manifest.id === id && !bundled);
      if (inUse.includes(id) && works) {
        throw new SoundpostError(
          'model_in_use',
          `${id} is in use: it is the model the service runs with. Change to another one first ("model/set"), then remove it.`,
        );
      }
      await updateLock.during(() => removeAtomically(root, id));
      await removeOptimizedCopies(dependencies.optimizedFolder, id);
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
      await removeAbandonedCopies(dependencies.optimizedFolder);
      for (const id of FORMER_MODELS) await removeOptimizedCopies(dependencies.optimizedFolder, id);
    },
  };

  function obtaining({ onProgress, signal }: InstallOptions) {
    return {
      root,
      settings,
      tuning,
      signal,
      onProgress: (done: number, total: number | null) =>
        onProgress?.({ step: 'downloading', share: total === null ? null : done / total, done, total }),
    };
  }
}

const LABELS_FILE = 'labels.json';

/** The label set of a network with so many classes: AudioSet's are known by their number. */
function setOfClasses(classes: number | undefined): string {
  if (classes === 527) return AUDIOSET;
  if (classes === 447) return 'audioset-strong-447';
  const many = classes === undefined ? '' : ` has ${classes} classes and`;
  throw new SoundpostError(
    'onnx_facts',
    `The network${many} does not tell what they are: --labels FILE, with their names in the order of its output.`,
  );
}

async function writeLabels(folder: string, labels: readonly LabelEntry[]): Promise<void> {
  await writeFile(join(folder, LABELS_FILE), `${JSON.stringify(labels, null, 1)}\n`);
}

/** The manifest of a request; the digest in it is that of the file. */
function readDraft({ manifest, sha256, labels }: RemoteModel): Manifest {
  const result = manifestSchema.safeParse({
    onnx_sha256: sha256 ?? '0'.repeat(64),
    ...manifest,
    ...(labels === undefined ? {} : { labels: LABELS_FILE }),
    thresholds: null,
  });
  if (!result.success) {
    const lines = result.error.issues
      .slice(0, 8)
      .map(({ path, message }) => `manifest.${path.join('.')}: ${message}`);
    throw new SoundpostError('invalid_request', `${lines.join('; ')}.`);
  }
  if (sha256 !== undefined && result.data.onnx_sha256 !== sha256) {
    throw new SoundpostError('invalid_request', 'manifest.onnx_sha256 and sha256 are both given and differ.');
  }
  if (labels === undefined && result.data.labels.endsWith('.json')) {
    throw new SoundpostError(
      'invalid_request',
      `manifest.labels: a file cannot be sent; name a label set such as ${AUDIOSET}, or send "labels": a list of names.`,
    );
  }
  return result.data;
}

async function lookAt(file: string): Promise<{ size: number; sha256: string }> {
  try {
    const found = await stat(file);
    if (!found.isFile()) throw new Error('it is not a plain file');
    return { size: found.size, sha256: await digestOfFile(file, 'sha256') };
  } catch (error) {
    throw new SoundpostError('checkpoint_unreadable', `${file} cannot be read: ${messageOf(error)}.`, {
      cause: error,
    });
  }
}
