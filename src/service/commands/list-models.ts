import type { Installer } from '../../install/installer.js';
import { licenceOf } from '../../models/catalogue.js';
import type { ModelRegistry } from '../../models/registry.js';
import type { CommandData } from '../../mqtt/command-specs.js';
import { modelSummary } from '../model-summary.js';

/** The models that are here, those that are here and broken, and those that may be installed. */
export async function listModels(
  registry: Pick<ModelRegistry, 'list' | 'problems'>,
  installer: Pick<Installer, 'catalogue'>,
): Promise<CommandData<'model/list'>> {
  const [installed, problems, catalogue] = await Promise.all([
    registry.list(),
    registry.problems(),
    installer.catalogue(),
  ]);
  const here = new Set(installed.map(({ manifest }) => manifest.id));
  return {
    installed: installed.map((model) => ({ ...modelSummary(model), bundled: model.bundled })),
    broken: problems.map(({ id, error }) => ({ id, error: error.message })),
    available: catalogue.models
      .filter(({ id }) => !here.has(id))
      .map((entry) => ({
        id: entry.id,
        title: entry.title,
        family: entry.family,
        parameters: entry.parameters,
        macs: entry.macs,
        audioset_map: entry.audioset_map,
        bytes: entry.bytes ?? entry.approximate_bytes,
        licence: licenceOf(entry),
      })),
  };
}
