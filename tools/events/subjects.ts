import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { readArchitectureTensors } from '../../src/bench/models/architecture-tensors.js';
import { makeSyntheticModel } from '../../src/bench/models/synthetic-model.js';
import { codeOf, messageOf, SoundpostError } from '../../src/common/errors.js';
import { silentLogger } from '../../src/common/log.js';
import { projectRoot } from '../../src/common/project.js';
import { findArchitecture } from '../../src/convert/architectures/index.js';
import { readCatalogue } from '../../src/models/catalogue.js';
import { writeDigests } from '../../src/models/file-digests.js';
import { parseManifest, type Manifest } from '../../src/models/manifest.js';
import { createRegistry } from '../../src/models/registry.js';

/** A model that is measured. */
export interface MeasuredModel {
  name: string;
  /** Holds model.json, model.onnx and what the manifest names. */
  folder: string;
  manifest: Manifest;
  /** Names of its labels. */
  labels: ReadonlySet<string>;
  /** Its weights mean nothing: what it costs can be measured, what it says cannot. */
  synthetic: boolean;
}

interface SubjectOptions {
  /** Reference material, with models and checkpoints that do not come with the program. */
  materialFolder: string;
  program: string;
  /** Where models are converted to. */
  workFolder: string;
  signal: AbortSignal;
  progress: (message: string) => void;
}

/** Real checkpoints in the reference material: the file, and the architecture that it is of. */
const CHECKPOINTS: Readonly<Record<string, { file: string; architecture: string }>> = {
  mn04_as: { file: 'mn04_as_mAP_432.pt', architecture: 'mn04' },
};

/**
 * The model of a name: a folder, one that comes with the program, one of the reference material (converted now where
 * it is a checkpoint), or an architecture of the converter with synthetic weights.
 * @returns why it is left out, where there is none.
 */
export async function findSubject(
  name: string,
  options: SubjectOptions,
): Promise<MeasuredModel | { skipped: string }> {
  const { materialFolder } = options;
  const folders = [
    ...(name.includes('/') ? [resolve(name)] : []),
    join(projectRoot(), 'models', name),
    join(materialFolder, name),
  ];
  for (const folder of folders) {
    if (await exists(join(folder, 'model.json'))) return readSubject(name, folder);
  }
  const checkpoint = CHECKPOINTS[name];
  if (checkpoint !== undefined) {
    const path = join(materialFolder, 'checkpoints', checkpoint.file);
    if (!(await exists(path))) return { skipped: `${path} is not there` };
    options.progress(`converting ${checkpoint.file}`);
    return readSubject(name, await importCheckpoint(name, path, checkpoint.architecture, options));
  }
  return makeSynthetic(name, options).catch((error: unknown) => {
    if (codeOf(error) !== 'architecture_unknown') throw error;
    return { skipped: `there is no such model or architecture` };
  });
}

async function readSubject(name: string, folder: string, synthetic = false): Promise<MeasuredModel> {
  const registry = createRegistry({
    bundledFolder: join(projectRoot(), 'models'),
    dataDir: folder,
    log: silentLogger,
  });
  const { manifest, labels } = await registry.read(folder);
  return { name, folder, manifest, labels: new Set(labels.map((label) => label.name)), synthetic };
}

/** As a user does it. */
async function importCheckpoint(
  id: string,
  checkpoint: string,
  architecture: string,
  { program, workFolder, signal }: SubjectOptions,
): Promise<string> {
  const dataDir = join(workFolder, 'library');
  const line = [program, 'models', 'import', checkpoint, '--architecture', architecture, '--id', id];
  try {
    await promisify(execFile)(process.execPath, line, {
      env: { ...process.env, SOUNDPOST_DATA_DIR: dataDir },
      signal,
    });
  } catch (error) {
    signal.throwIfAborted();
    const { stderr } = error as { stderr?: string };
    throw new SoundpostError(
      'bench_failed',
      `${checkpoint} cannot be converted: ${stderr?.trim() ?? messageOf(error)}`,
    );
  }
  return join(dataDir, 'models', id);
}

async function makeSynthetic(
  name: string,
  { workFolder, signal, progress }: SubjectOptions,
): Promise<MeasuredModel> {
  const architecture = findArchitecture(name);
  const bundledFolder = join(projectRoot(), 'models');
  const [shapes, catalogue] = await Promise.all([
    readArchitectureTensors(bundledFolder),
    readCatalogue(bundledFolder),
  ]);
  const tensors = shapes.get(architecture.name);
  if (tensors === undefined)
    throw new SoundpostError('architecture_unknown', `nothing is known of ${name}'s weights`);
  progress(`making ${architecture.name} with synthetic weights`);
  const registry = createRegistry({ bundledFolder, dataDir: workFolder, log: silentLogger });
  const released = catalogue.models.find((entry) => entry.architecture === architecture.name);
  const labelSetName = released?.labels ?? 'audioset-527';
  const labelSet = { name: labelSetName, labels: await registry.labelSet(labelSetName) };
  // A model's folder is called as its id.
  const folder = join(await mkdtemp(join(workFolder, 'synthetic-')), architecture.name);
  await mkdir(folder);
  const { model } = await makeSyntheticModel({ architecture, tensors, labelSet, folder, signal });
  await writeFile(join(folder, 'model.json'), JSON.stringify(model.manifest));
  return readSubject(name, folder, true);
}

/** What may be different about a copy of a model. */
export interface Change {
  id: string;
  /** Without its frames it is as coarse as its window. */
  withoutFrames?: boolean;
  contextSeconds?: number | undefined;
  lookbackSeconds?: number | undefined;
}

/**
 * Installs a copy of a model into `<dataDir>/models` under another id, since a bundled one cannot be taken over.
 * @returns its manifest
 */
export async function installCopy(
  subject: MeasuredModel,
  dataDir: string,
  change: Change,
): Promise<Manifest> {
  const folder = join(dataDir, 'models', change.id);
  await mkdir(folder, { recursive: true });
  for (const name of await readdir(subject.folder)) {
    const path = join(subject.folder, name);
    if ((await stat(path)).isFile() && /\.(json|onnx)$/.test(name)) await copyFile(path, join(folder, name));
  }
  const path = join(folder, 'model.json');
  const manifest = parseManifest(await readFile(path, 'utf8'), path);
  manifest.id = change.id;
  if (change.withoutFrames === true) manifest.output.frames = null;
  else if (manifest.output.frames !== null) {
    const { frames } = manifest.output;
    manifest.output.frames = {
      ...frames,
      context_seconds: change.contextSeconds ?? frames.context_seconds,
      lookback_seconds: change.lookbackSeconds ?? frames.lookback_seconds,
    };
  }
  await writeFile(path, JSON.stringify(manifest, null, 2));
  await writeDigests(folder);
  return parseManifest(await readFile(path, 'utf8'), path);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
