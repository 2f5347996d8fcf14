import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findArchitecture } from '../../src/convert/architectures/index.js';
import { manifestInput, manifestOutput } from '../../src/convert/convert.js';
import { buildNetwork } from '../../src/convert/network.js';
import { writeOnnx } from '../../src/convert/onnx.js';
import { createWeights, type Tensor } from '../../src/convert/weights.js';
import type { Manifest } from '../../src/models/manifest.js';
import { readGoldenArchitecture } from './golden-architectures.js';
import { manifestRest } from './manifest-rest.js';
import { syntheticParameters } from './synthetic.js';

/** Installs a network of the literature with the weights of its golden file. Resolves to its id. */
export async function installSyntheticModel(
  dataDir: string,
  architectureName: string,
  windowSeconds: number,
): Promise<string> {
  const id = architectureName.toLowerCase();
  const folder = join(dataDir, 'models', id);
  await mkdir(folder, { recursive: true });
  const architecture = findArchitecture(architectureName);
  const tensors = new Map<string, Tensor>();
  for (const { name, shape, data } of syntheticParameters(readGoldenArchitecture(architectureName))) {
    tensors.set(name, { shape, data });
  }
  const { model, hasEmbedding, frames } = buildNetwork(architecture, createWeights(tensors));
  const { sha256 } = await writeOnnx(join(folder, 'model.onnx'), model);
  const manifest: Manifest = {
    id,
    title: `${architectureName} (for tests)`,
    family: architecture.family,
    architecture: architectureName,
    input: manifestInput(architecture, windowSeconds),
    output: manifestOutput(hasEmbedding, frames, windowSeconds),
    ...manifestRest(sha256),
  };
  const count = labelsOf(tensors);
  const labels = Array.from({ length: count }, (_, index) => ({ index, name: `Sound ${index}`, mid: null }));
  await writeFile(join(folder, 'labels.json'), JSON.stringify(labels));
  await writeFile(join(folder, 'model.json'), JSON.stringify(manifest));
  return id;
}

/** As many as the last layer has outputs. */
function labelsOf(tensors: ReadonlyMap<string, Tensor>): number {
  const head = [...tensors].filter(([name]) => name.startsWith('fc_audioset')).at(-1);
  return head?.[1].shape[0] ?? 0;
}
