import { join } from 'node:path';
import { codeOf, SoundpostError } from '../common/errors.js';
import { didYouMean } from '../common/nearest.js';
import { projectRoot } from '../common/project.js';
import { readCatalogue } from '../models/catalogue.js';
import type { Label } from '../models/labels.js';
import type { ModelRegistry } from '../models/registry.js';
import { recommendedThreshold } from '../tagging/watch.js';
import type { CommandContext } from './context.js';
import { openRegistry } from './models.js';
import { clip, table } from './table.js';
import { originNames, thresholdText } from './thresholds.js';

/** A row stays within 80 columns; no label of AudioSet is longer. */
const NAME_WIDTH = 40;

/**
 * `soundpost models labels ID [SEARCH]`: the labels of a model, installed or of the catalogue, each with the threshold
 * that holds where the settings name none.
 */
export async function modelsLabelsCommand(
  context: CommandContext,
  [id = '', search = '']: string[],
): Promise<number> {
  const all = await labelsOf(openRegistry(context), id);
  const wanted = search.trim().toLowerCase();
  const labels = all.filter(
    ({ name, mid }) => name.toLowerCase().includes(wanted) || mid?.toLowerCase() === wanted,
  );
  if (labels.length === 0) {
    const hint = didYouMean(
      search,
      all.map(({ name }) => name),
    );
    throw new SoundpostError(
      'label_unknown',
      `${id} has no label with "${search}" in its name.${hint} "npx soundpost models labels ${id}" lists all ${all.length}.`,
    );
  }
  const found = labels.map((label) => ({ ...label, ...recommendedThreshold(label) }));
  if (context.json) {
    const list = found.map(({ index, name, mid, threshold, from }) => ({
      index,
      name,
      mid,
      threshold,
      from,
    }));
    context.stdout.write(`${JSON.stringify({ id, labels: list })}\n`);
    return 0;
  }
  context.stdout.write(
    table([
      ['INDEX', 'LABEL', 'THRESHOLD', 'FROM'],
      ...found.map(({ index, name, threshold, from }) => [
        String(index).padStart(5),
        clip(name, NAME_WIDTH),
        thresholdText(threshold),
        originNames[from],
      ]),
    ]),
  );
  return 0;
}

/** Those of an installed model, or of one that could be installed. */
async function labelsOf(registry: ModelRegistry, id: string): Promise<readonly Label[]> {
  try {
    return (await registry.get(id)).labels;
  } catch (error) {
    if (codeOf(error) !== 'model_unknown') throw error;
    const { models } = await readCatalogue(join(projectRoot(), 'models'));
    const entry = models.find((candidate) => candidate.id === id);
    if (entry === undefined) throw error;
    return registry.labelSet(entry.labels);
  }
}
