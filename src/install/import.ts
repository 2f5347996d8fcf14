import { copyFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import { readSignature } from '../inference/read-signature.js';
import type { Catalogue } from '../models/catalogue.js';
import { digestOfFile } from '../models/files.js';
import type { LabelEntry } from '../models/labels.js';
import type { Manifest } from '../models/manifest.js';
import type { InstalledModel, ModelRegistry } from '../models/registry.js';
import { convertInto, type ConvertCheckpoint } from './conversion.js';
import { AUDIOSET, LABELS_FILE, setOfClasses, writeLabels } from './label-sets.js';
import type { InstallOptions } from './progress.js';
import { declaredClasses, proposeManifest, type OnnxFacts } from './propose-manifest.js';
import type { PutInPlace } from './put-in-place.js';

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
 * Converts, checks and installs a checkpoint that is on this machine. Throws SoundpostError
 * `checkpoint_unreadable`, those of the conversion, and those of `PutInPlace`.
 */
export async function importCheckpoint(
  wanted: Import,
  options: InstallOptions,
  dependencies: {
    registry: Pick<ModelRegistry, 'labelSet'>;
    catalogue: () => Promise<Catalogue>;
    convert: ConvertCheckpoint;
    putInPlace: PutInPlace;
  },
): Promise<InstalledModel> {
  const { registry, catalogue, convert, putInPlace } = dependencies;
  const { file, id, architecture, stateDict, labels: own } = wanted;
  const { size, sha256 } = await lookAt(file);
  const relative = (await catalogue()).models.find(
    (known) => known.architecture.toLowerCase() === architecture.toLowerCase(),
  );
  const labelSet = relative?.labels ?? AUDIOSET;
  const labels = (own ?? (await registry.labelSet(labelSet))).length;
  return putInPlace(id, options, async (folder) => {
    if (own !== undefined) await writeLabels(folder, own);
    const request = { checkpointPath: file, architecture, labels, stateDict };
    const { made, selfTest } = await convertInto(convert, folder, request, options);
    const manifest: Manifest = {
      id,
      title: wanted.title ?? `${id} (${made.architecture})`,
      ...made,
      family: relative?.family ?? made.family,
      labels: own === undefined ? labelSet : LABELS_FILE,
      thresholds: null,
      metrics: {},
      macs: null,
      licence: 'unknown',
      source: { url: file, sha256, bytes: size },
    };
    return { manifest, selfTest };
  });
}

/**
 * Checks and installs an ONNX network that is on this machine, with a manifest that is proposed from its graph. Throws
 * SoundpostError `checkpoint_unreadable`, `onnx_facts`, those of `readSignature`, and those of `PutInPlace`.
 */
export async function importOnnx(
  { file, id, labels: given, title, facts }: OnnxImport,
  options: InstallOptions,
  dependencies: { registry: Pick<ModelRegistry, 'labelSet'>; putInPlace: PutInPlace },
): Promise<InstalledModel> {
  const { registry, putInPlace } = dependencies;
  const { size, sha256 } = await lookAt(file);
  return putInPlace(id, options, async (folder) => {
    const onnxPath = join(folder, 'model.onnx');
    await copyFile(file, onnxPath);
    const signature = await readSignature(onnxPath, options.signal).catch((error: unknown) => {
      // What was opened is a copy in a folder that nobody knows.
      throw new SoundpostError(codeOf(error), messageOf(error).replaceAll(onnxPath, file), { cause: error });
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
