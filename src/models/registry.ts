import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { shortageOf } from '../common/shortage.js';
import { currentModelId, successorMessage } from './bundled.js';
import { modelUnknown, readCatalogue } from './catalogue.js';
import { checkDigests, DIGESTS_FILE } from './file-digests.js';
import { readSmallText } from './files.js';
import {
  readLabels,
  readLabelSet,
  readThresholds,
  withoutThresholds,
  withThresholds,
  type Label,
} from './labels.js';
import { parseManifest, type Manifest } from './manifest.js';

/** A model that is ready to be loaded. */
export interface InstalledModel {
  manifest: Manifest;
  labels: readonly Label[];
  /** Absolute path of the folder that holds model.json and model.onnx. */
  folder: string;
  onnxPath: string;
  /** Ships with the program: cannot be removed. */
  bundled: boolean;
}

/** A model folder that cannot be used, and why. */
export interface ModelProblem {
  /** The name of its folder. */
  id: string;
  folder: string;
  bundled: boolean;
  error: SoundpostError;
}

/** The models on this machine. Nothing is remembered between calls: the folders are the truth. */
export interface ModelRegistry {
  /** Every model that is ready to be loaded: the bundled ones first, then the installed ones by id. */
  list(): Promise<InstalledModel[]>;
  /** The folders that hold a broken model; they do not stand in the way of the others. */
  problems(): Promise<ModelProblem[]>;
  /**
   * One model. The id of a former bundled model stands for its successor, with a line in the log.
   * @throws SoundpostError `model_unknown`, with how to get it or what may have been meant; or what is wrong with its
   * folder.
   */
  get(id: string): Promise<InstalledModel>;
  /**
   * The model in a folder that is not (yet) one of the installed ones.
   * @throws SoundpostError that says what is wrong with it.
   */
  read(folder: string): Promise<InstalledModel>;
  /** The labels of a set that ships with the program. Throws SoundpostError `model_labels`. */
  labelSet(name: string): Promise<Label[]>;
  /** Where installed models go, `<data_dir>/models`. */
  readonly installedFolder: string;
}

const MANIFEST_BYTES = 1 << 20;
/** Beside the bundled models: the label sets that models name. */
const LABEL_SETS = 'labels';
/** Folders beside the bundled models that hold none: label sets and the demo recording. */
const NO_MODELS: readonly string[] = [LABEL_SETS, 'demo'];

/**
 * Reads models from `<bundledFolder>/<id>` and `<dataDir>/models/<id>`. A bundled id cannot be taken over by
 * an installed model: the bundled model is what the service falls back to, so it must stay what it was
 * shipped as; such a folder is reported as a problem. Names starting with a dot are left alone (an
 * installation under way).
 */
export function createRegistry(options: {
  bundledFolder: string;
  dataDir: string;
  log: Logger;
}): ModelRegistry {
  const bundledFolder = resolve(options.bundledFolder);
  const installedFolder = resolve(options.dataDir, 'models');
  /** Label sets ship with the program and do not change under it. */
  const labelSets = new Map<string, Promise<Label[]>>();
  /** What has been said already, so that a folder that stays broken is not logged at every look. */
  const reported = new Map<string, string>();

  async function scan(): Promise<{ models: InstalledModel[]; problems: ModelProblem[] }> {
    const models: InstalledModel[] = [];
    const problems: ModelProblem[] = [];
    const bundledIds = new Set<string>();
    for (const root of [bundledFolder, installedFolder]) {
      const bundled = root === bundledFolder;
      for (const id of await foldersIn(root)) {
        if (bundled && NO_MODELS.includes(id)) continue;
        if (bundled) bundledIds.add(id);
        const folder = join(root, id);
        try {
          if (!bundled && bundledIds.has(currentModelId(id))) {
            throw new SoundpostError(
              'model_shadowed',
              `${folder} has the id of a bundled model, which cannot be replaced. Give the model another id: rename the folder and change "id" in its model.json.`,
            );
          }
          models.push(await readModel(folder, bundled));
        } catch (error) {
          // Models do not go away by that.
          if (codeOf(error) === 'no_resources') throw error;
          problems.push({ id, folder, bundled, error: asSoundpostError(error, folder) });
        }
      }
    }
    report(problems);
    return { models, problems };
  }

  async function readModel(folder: string, bundled: boolean): Promise<InstalledModel> {
    // First of all: what is wrong in a damaged file is no use to anybody.
    await checkDigests(folder);
    const manifestPath = join(folder, 'model.json');
    const text = await readSmallText(manifestPath, MANIFEST_BYTES, 'model_manifest');
    const manifest = parseManifest(text, manifestPath);
    if (manifest.id !== basename(folder)) {
      throw new SoundpostError(
        'model_manifest',
        `${manifestPath}: "id" is "${manifest.id}", but the folder is called "${basename(folder)}". Make them the same.`,
      );
    }
    const onnxPath = join(folder, 'model.onnx');
    const found = await stat(onnxPath).catch(() => undefined);
    if (found?.isFile() !== true) {
      throw new SoundpostError(
        'model_unreadable',
        `The model ${manifest.id} has no network: ${onnxPath} is missing. Install the model again.`,
      );
    }
    return { manifest, labels: await readModelLabels(manifest, folder), folder, onnxPath, bundled };
  }

  async function readModelLabels(manifest: Manifest, folder: string): Promise<Label[]> {
    // A name with ".json" is a file of the model's own, any other the name of a label set.
    const labels = manifest.labels.endsWith('.json')
      ? withoutThresholds(await readLabels(join(folder, manifest.labels)))
      : await findLabelSet(manifest.labels, join(folder, 'model.json'));
    if (manifest.thresholds === null) return labels;
    const thresholds = await readThresholds(join(folder, manifest.thresholds), labels.length);
    return withThresholds(labels, thresholds, { own: 'model', rest: 'model' });
  }

  async function findLabelSet(name: string, manifestPath: string): Promise<Label[]> {
    const path = join(bundledFolder, LABEL_SETS, `${name}.json`);
    let set = labelSets.get(name);
    if (set === undefined) {
      set = checkDigests(join(bundledFolder, LABEL_SETS)).then(() => readLabelSet(path));
      labelSets.set(name, set);
    }
    try {
      return await set;
    } catch (error) {
      labelSets.delete(name);
      if (await stat(path).catch(() => undefined)) throw error;
      const files = await readdir(join(bundledFolder, LABEL_SETS)).catch((): string[] => []);
      const known = files
        .filter((file) => file.endsWith('.json') && file !== DIGESTS_FILE)
        .map((file) => file.slice(0, -'.json'.length));
      throw new SoundpostError(
        'model_labels',
        `${manifestPath}: there is no label set "${name}". Known sets: ${known.join(', ') || 'none'}; a file of labels beside the manifest must end in .json.`,
      );
    }
  }

  function report(problems: readonly ModelProblem[]): void {
    const broken = new Set(problems.map((problem) => problem.folder));
    for (const folder of reported.keys()) if (!broken.has(folder)) reported.delete(folder);
    for (const { folder, id, error } of problems) {
      if (reported.get(folder) === error.message) continue;
      reported.set(folder, error.message);
      options.log.warn({ code: error.code, model: id }, error.message);
    }
  }

  return {
    installedFolder,
    read: (folder) => readModel(resolve(folder), false),
    labelSet: (name) => findLabelSet(name, bundledFolder),
    list: async () => (await scan()).models,
    problems: async () => (await scan()).problems,
    async get(wanted) {
      const id = currentModelId(wanted);
      if (id !== wanted) options.log.info({ model: id }, successorMessage(wanted));
      const { models, problems } = await scan();
      const model = models.find((candidate) => candidate.manifest.id === id);
      if (model !== undefined) return model;
      const problem = problems.find((candidate) => candidate.id === id);
      if (problem !== undefined) throw problem.error;
      throw modelUnknown(id, {
        installed: models.map(({ manifest }) => manifest.id),
        // A catalogue that cannot be read is no reason to say less of the model.
        catalogue: await readCatalogue(bundledFolder).catch(() => undefined),
      });
    },
  };
}

/**
 * Names of the folders in a folder, sorted; none where it does not exist or cannot be read. Throws SoundpostError
 * `no_resources` for want of file handles.
 */
async function foldersIn(root: string): Promise<string[]> {
  const entries = await readdir(root, { withFileTypes: true }).catch((error: unknown) => {
    const shortage = shortageOf(`The models in ${root} cannot be listed`, error);
    if (shortage !== null) throw shortage;
    return [];
  });
  return entries
    .filter((entry) => (entry.isDirectory() || entry.isSymbolicLink()) && !entry.name.startsWith('.'))
    .map((entry) => entry.name)
    .sort();
}

function asSoundpostError(error: unknown, folder: string): SoundpostError {
  if (error instanceof SoundpostError) return error;
  return new SoundpostError('model_unreadable', `${folder} cannot be read: ${messageOf(error)}`, {
    cause: error,
  });
}
