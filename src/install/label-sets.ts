import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SoundpostError } from '../common/errors.js';
import type { LabelEntry } from '../models/labels.js';

/** The labels of AudioSet's clips (Gemmeke et al., "Audio Set", 2017): models/labels/audioset-527.json. */
export const AUDIOSET = 'audioset-527';

/** The label sets that are known by how many labels they have. */
const SETS_BY_SIZE: ReadonlyMap<number, string> = new Map([
  [527, AUDIOSET],
  // Its labels with times (Hershey et al., 2021), as the networks of EfficientSED know them: docs/models.md.
  [447, 'audioset-strong-447'],
]);

/** The labels of a model that has its own, in its folder. */
export const LABELS_FILE = 'labels.json';

/**
 * The label set of a network with so many classes, where it is known by their number. Throws SoundpostError
 * `onnx_facts` where it is not.
 */
export function setOfClasses(classes: number | undefined): string {
  const known = classes === undefined ? undefined : SETS_BY_SIZE.get(classes);
  if (known !== undefined) return known;
  const many = classes === undefined ? '' : ` has ${classes} classes and`;
  throw new SoundpostError(
    'onnx_facts',
    `The network${many} does not tell what they are: --labels FILE, with their names in the order of its output.`,
  );
}

/** Writes the labels of a model of its own into its folder. */
export async function writeLabels(folder: string, labels: readonly LabelEntry[]): Promise<void> {
  await writeFile(join(folder, LABELS_FILE), `${JSON.stringify(labels, null, 1)}\n`);
}
