import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { projectRoot } from '../../src/common/project.js';
import { findArchitecture } from '../../src/convert/architectures/index.js';
import { manifestInput } from '../../src/convert/convert.js';
import { buildNetwork } from '../../src/convert/network.js';
import { readOnnx } from '../../src/convert/read-onnx.js';
import { createWeights, type Tensor } from '../../src/convert/weights.js';
import { BUNDLED_MODEL } from '../../src/models/bundled.js';
import { parseManifest } from '../../src/models/manifest.js';
import { readGoldenArchitecture } from '../../test/support/golden-architectures.js';
import { syntheticParameters } from '../../test/support/synthetic.js';
import type { Subject } from './both-forms.js';

/** Networks of which a stream may be made, and one of each kind of which none can. */
export const NETWORKS = [
  ...['Cnn6', 'Cnn10', 'Cnn14', 'Cnn14_emb128', 'Cnn14_mel128', 'Cnn14_16k', 'Cnn14_8k', 'Cnn14_pruned'],
  ...['Cnn14_DecisionLevelMax', 'Cnn14_DecisionLevelAvg', 'Cnn14_DecisionLevelAtt'],
  ...['Cnn9_GMP_64x64', 'Cnn13_GMP_64x64', 'ResNet22', 'ResNet38', 'ResNet54', 'MobileNetV1', 'MobileNetV2'],
  ...['LeeNet11', 'LeeNet24', 'DaiNet19', 'Res1dNet31', 'Res1dNet51'],
  ...['Wavegram_Cnn14', 'Wavegram_Logmel_Cnn14', 'ConvNeXt-Tiny', BUNDLED_MODEL],
  ...['mn04', 'mn10', 'dymn04'],
] as const;

/**
 * The bundled model as it is, any other with the weights of its golden file: deep networks with weights that are merely
 * arbitrary make differences of a millionth large.
 */
export async function subjectOf(name: string): Promise<Subject> {
  if (name === BUNDLED_MODEL) {
    const folder = join(projectRoot(), 'models', name);
    const path = join(folder, 'model.json');
    const { input } = parseManifest(await readFile(path, 'utf8'), path);
    return { name, input, graph: readOnnx(await readFile(join(folder, 'model.onnx'))).graph };
  }
  const architecture = findArchitecture(name);
  const tensors = new Map<string, Tensor>();
  for (const { name: tensor, shape, data } of syntheticParameters(readGoldenArchitecture(name))) {
    tensors.set(tensor, { shape, data });
  }
  const { model } = buildNetwork(architecture, createWeights(tensors));
  return { name, input: manifestInput(architecture), graph: model.graph };
}
