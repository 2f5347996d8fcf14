import { SoundpostError } from '../common/errors.js';
import { currentModelId } from '../models/bundled.js';
import { modelUnknown } from '../models/catalogue.js';
import type { ModelRegistry } from '../models/registry.js';

/**
 * Throws SoundpostError `model_unknown`, `model_bundled` or `model_in_use` where a model cannot be removed.
 * @param models those that are here and work
 * @param problems those that are here and are broken
 * @param inUse ids of models that something depends on
 */
export function refuseRemoval(
  id: string,
  models: Awaited<ReturnType<ModelRegistry['list']>>,
  problems: Awaited<ReturnType<ModelRegistry['problems']>>,
  inUse: readonly string[],
): void {
  const works = models.map(({ manifest, bundled }) => ({ id: manifest.id, bundled }));
  const found = [...works, ...problems].filter((candidate) => candidate.id === id);
  const meant = currentModelId(id);
  // The id of a former bundled model stands for its successor.
  if (found.length === 0 && meant === id) {
    throw modelUnknown(id, {
      installed: works.filter(({ bundled }) => !bundled).map((model) => model.id),
    });
  }
  // A folder that only has the name of the bundled model is not it, and may go.
  if (found.every(({ bundled }) => bundled)) {
    throw new SoundpostError('model_bundled', `${meant} ships with the program and cannot be removed.`);
  }
  // A broken model is of use to nobody, whatever the settings say.
  if (inUse.includes(id) && works.some((model) => model.id === id && !model.bundled)) {
    throw new SoundpostError(
      'model_in_use',
      `${id} is in use: it is the model the service runs with. Change to another one first ("model/set"), then remove it.`,
    );
  }
}
